//! What HTTP knows of the sessions of WHIP and WHEP.

use antiphon::RtcIceCandidateInit;
use tokio::sync::{mpsc, oneshot};

use super::watching::{LayerChoice, TrackLayers};

/// Which side of the house a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/whip`: it publishes.
    Whip,
    /// `/whep`: it watches.
    Whep,
}

impl Endpoint {
    /// The path under which it is served.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Whip => "/whip",
            Self::Whep => "/whep",
        }
    }
}

/// A session that HTTP can reach.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) endpoint: Endpoint,
    /// The entity tag of its ICE session (RFC 9725 §4.3.1).
    pub(super) etag: String,
    /// The user name fragment of the client's offer, to tell trickle from restart.
    pub(super) ufrag: Option<String>,
    pub(super) requests: mpsc::Sender<Order>,
}

/// What a request over HTTP wants of a session.
#[derive(Debug)]
pub(super) enum Order {
    /// Take these candidates, and whether they are all; the answer is whether each was taken.
    Candidates(Vec<RtcIceCandidateInit>, bool, oneshot::Sender<bool>),
    /// Watch at most these layers.
    Choose(LayerChoice),
    /// Tell which layers there are.
    Layers(oneshot::Sender<Vec<TrackLayers>>),
    /// End, and say when the farewell is said.
    Close(oneshot::Sender<()>),
}
