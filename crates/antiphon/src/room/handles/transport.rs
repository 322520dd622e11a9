//! The transport of a peer's connection.

use std::sync::Arc;

use antiphon_peer_connection::{RtcDtlsTransportState, RtcIceConnectionState};
use futures_util::FutureExt;

use crate::room::dump::TransportDump;
use crate::room::error::Error;
use crate::room::events::Events;
use crate::room::facts::{TransportFacts, TransportNews};
use crate::room::link::Link;
use crate::room::state::State;

/// What happens to a transport.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TransportEvent {
    /// ICE has another state.
    IceStateChange(RtcIceConnectionState),
    /// DTLS has another state.
    DtlsStateChange(RtcDtlsTransportState),
    /// Another pair of addresses is in use: ours and the client's, as the values of candidate attributes (RFC 8839 §5.1).
    IceSelectedTupleChange {
        /// Our end of the pair.
        local: String,
        /// The client's end of the pair.
        remote: String,
    },
    /// The transport is closed, and its peer with it.
    Close,
}

impl TransportEvent {
    fn of(news: TransportNews) -> Self {
        match news {
            TransportNews::Ice(state) => Self::IceStateChange(state),
            TransportNews::Dtls(state) => Self::DtlsStateChange(state),
            TransportNews::Tuple(local, remote) => Self::IceSelectedTupleChange { local, remote },
            TransportNews::Close => Self::Close,
        }
    }
}

/// What carries everything between the room and one client: ICE, DTLS and SRTP. It is made by `set_capabilities`.
#[derive(Clone, Debug)]
pub struct Transport {
    facts: Arc<TransportFacts>,
    link: Link<State>,
}

impl Transport {
    pub(super) fn new(facts: Arc<TransportFacts>, link: Link<State>) -> Self {
        Self { facts, link }
    }

    /// Its number, which no other object of the server has.
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events<TransportEvent> {
        self.facts.news.listen(TransportEvent::of)
    }

    /// The most that the client may send of each track, in bits a second: it is asked to (`b=TIAS`) by the next offer, which
    /// `negotiationneeded` makes.
    ///
    /// # Errors
    /// [`Error::Closed`] once the peer is.
    pub async fn set_max_bitrate(&self, max_bitrate: Option<u64>) -> Result<(), Error> {
        let peer = self.facts.peer.id;
        let set = move |state: &mut State| state.set_max_bitrate(peer, max_bitrate);
        let call = self.link.call(move |state| async move { set(state) }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Restarts ICE: the next offer, which `negotiationneeded` makes, has another user name fragment and password.
    ///
    /// # Errors
    /// [`Error::Closed`] once the peer is.
    pub async fn change_ufrag_pwd(&self) -> Result<(), Error> {
        let peer = self.facts.peer.id;
        let call = self.link.call(move |state| state.restart_ice(peer).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// All that is known of it now.
    ///
    /// # Errors
    /// [`Error::Closed`] once the peer is.
    pub async fn dump(&self) -> Result<TransportDump, Error> {
        let peer = self.facts.peer.id;
        let call = self.link.call(move |state| state.dump_transport(peer).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }
}
