//! What HTTP knows of the sessions of WHIP and WHEP.

use antiphon::RtcIceCandidateInit;
use tokio::sync::{mpsc, oneshot};

use crate::server::media::{LayerChoice, TrackLayers};

/// Which side of the house a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Endpoint {
    /// `/whip`: it publishes.
    Whip,
    /// `/whep`: it watches.
    Whep,
}

impl Endpoint {
    /// The path under which it is served.
    pub(in crate::server) fn path(self) -> &'static str {
        match self {
            Self::Whip => "/whip",
            Self::Whep => "/whep",
        }
    }
}

/// A session that HTTP can reach.
#[derive(Debug)]
pub(in crate::server) struct Resource {
    pub(in crate::server) endpoint: Endpoint,
    /// Whether it takes part in a room.
    pub(in crate::server) in_room: bool,
    /// The entity tag of its ICE session (RFC 9725 §4.3.1).
    pub(in crate::server) etag: String,
    /// The user name fragment of the client's offer, to tell trickle from restart.
    pub(in crate::server) ufrag: Option<String>,
    pub(in crate::server) requests: mpsc::Sender<Order>,
}

/// What a request over HTTP wants of a session.
#[derive(Debug)]
pub(in crate::server) enum Order {
    /// Take these candidates, and whether they are all; the answer is whether each was taken.
    Candidates(Vec<RtcIceCandidateInit>, bool, oneshot::Sender<bool>),
    /// Watch at most these layers.
    Choose(LayerChoice),
    /// Tell which layers there are.
    Layers(oneshot::Sender<Vec<TrackLayers>>),
    /// End, and say when the farewell is said.
    Close(oneshot::Sender<()>),
}
