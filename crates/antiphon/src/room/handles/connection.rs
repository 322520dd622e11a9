//! A peer's connection, as mediasoup 1.x has it: the server always offers.

use std::sync::Arc;

use antiphon_peer_connection::{RtcSessionDescription, RtcSignalingState};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::peer::Peer;
use crate::room::error::Error;
use crate::room::events::Events;
use crate::room::facts::{CloseReason, ConnectionFacts, ConnectionNews};
use crate::room::link::Link;
use crate::room::options::TransportOptions;
use crate::room::state::{ConnectionSettings, State};

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct RtcPeerConnectionOptions {
    /// Whose it is. A peer has one.
    pub peer: Peer,
    /// Which candidates are offered.
    pub transport_options: TransportOptions,
    /// Whether the client speaks Plan B: one section for all sound, and one for all pictures. It may then send any number of tracks of a
    /// kind that it may send one of.
    pub use_plan_b: bool,
    /// The most that the client may send of each track, in bits a second; `None`: as much as the path carries.
    pub max_bitrate: Option<u64>,
    /// The RIDs of the simulcast layers that the client is asked to send of its pictures, the smallest first. Empty: one stream, unless
    /// the client offers more by itself. Plan B has none.
    pub simulcast: Vec<String>,
    /// Whether the client gets the tracks of the others. Without it the client only sends, and has no senders. Default true.
    pub subscribe: bool,
}

impl RtcPeerConnectionOptions {
    /// For this peer, and otherwise as usual.
    pub fn new(peer: &Peer) -> Self {
        Self {
            peer: peer.clone(),
            transport_options: TransportOptions::default(),
            use_plan_b: false,
            max_bitrate: None,
            simulcast: Vec::new(),
            subscribe: true,
        }
    }
}

/// What an offer lets the client send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferOptions {
    /// How many tracks of sound. Default 1.
    pub offer_to_receive_audio: u8,
    /// How many tracks of pictures. Default 1.
    pub offer_to_receive_video: u8,
}

impl Default for OfferOptions {
    fn default() -> Self {
        Self {
            offer_to_receive_audio: 1,
            offer_to_receive_video: 1,
        }
    }
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RtcPeerConnectionEvent {
    /// The signalling state is another one.
    SignalingStateChange(RtcSignalingState),
    /// The room has something new for the client, or takes something away: it is time for an offer. Several changes within 500 ms are
    /// told once; nothing is told while an exchange is under way, and again after it what is still needed.
    NegotiationNeeded,
    /// The connection is closed, and its peer with it; and why, if it was not the application.
    Close(Option<CloseReason>),
}

impl RtcPeerConnectionEvent {
    fn of(news: ConnectionNews) -> Self {
        match news {
            ConnectionNews::Signaling(state) => Self::SignalingStateChange(state),
            ConnectionNews::NegotiationNeeded => Self::NegotiationNeeded,
            ConnectionNews::Close(reason) => Self::Close(reason),
        }
    }
}

/// The server's end of the connection with one client. It makes all offers; the client answers. A client that takes none
/// ([`Self::answer_offer`]) makes one itself.
#[derive(Clone, Debug)]
pub struct RtcPeerConnection {
    facts: Arc<ConnectionFacts>,
    peer: Peer,
}

impl RtcPeerConnection {
    /// Makes the connection of a peer.
    ///
    /// # Errors
    /// [`Error::SecondConnection`] if the peer has one, [`Error::Closed`] if the peer is closed.
    pub async fn new(options: RtcPeerConnectionOptions) -> Result<Self, Error> {
        let peer = options.peer;
        let settings = ConnectionSettings {
            transport: options.transport_options,
            use_plan_b: options.use_plan_b,
            max_bitrate: options.max_bitrate,
            simulcast: options.simulcast,
            subscribe: options.subscribe,
        };
        let id = peer.id();
        let call = peer.link().call(move |state| state.connect(id, settings).boxed());
        let facts = call.await.unwrap_or(Err(Error::Closed("room")))?;
        Ok(Self { facts, peer })
    }

    /// Whose it is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events<RtcPeerConnectionEvent> {
        self.facts.news.listen(RtcPeerConnectionEvent::of)
    }

    /// Takes what the client can, by an offer of its own that is made for this alone, and makes the transport. Once, and before anything
    /// else. When it returns, every track of the room has a sender to the peer, so the first offer describes all of them.
    ///
    /// # Errors
    /// [`Error::CapabilitiesSet`] the second time, [`Error::Capabilities`] if it is not SDP, [`Error::Closed`].
    pub async fn set_capabilities(&self, sdp: impl Into<String>) -> Result<(), Error> {
        if self.closed() {
            return Err(Error::Closed("connection"));
        }
        self.peer.set_capabilities(sdp).await.map(|_| ())
    }

    /// Makes an offer of everything that the room has for the client, and lets it send as many tracks as `options` say. Until its answer
    /// is set, or [`Self::reset`], no other can be made.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::InvalidState`] unless the state is stable, [`Error::NoCapabilities`], [`Error::TooMany`] tracks,
    /// [`Error::Closed`].
    pub async fn create_offer(&self, options: OfferOptions) -> Result<RtcSessionDescription, Error> {
        let peer = self.peer.id();
        let (audio, video) = (options.offer_to_receive_audio, options.offer_to_receive_video);
        self.call(move |state| state.create_offer(peer, audio, video).boxed())
            .await
    }

    /// Takes the one offer of a client that takes none of ours, and answers it: for WHIP (RFC 9725), whose clients send, and for WHEP,
    /// whose clients get what `watched` sends now, a peer of the same room. The offer says what the client can, so
    /// [`Self::set_capabilities`] is not called, and no other exchange follows. What comes back has all of our candidates. After an
    /// error the connection is of no more use.
    ///
    /// # Errors
    /// [`Error::OfferFromClient`] if the connection [subscribes](RtcPeerConnectionOptions::subscribe) or speaks Plan B;
    /// [`Error::CapabilitiesSet`] the second time, [`Error::Capabilities`] and [`Error::Connection`] with what is wrong with the offer,
    /// [`Error::NothingInCommon`], [`Error::TooMany`] tracks, [`Error::Closed`], also where `watched` is closed.
    pub async fn answer_offer(
        &self,
        sdp: impl Into<String>,
        watched: Option<&Peer>,
    ) -> Result<RtcSessionDescription, Error> {
        let (peer, sdp) = (self.peer.id(), sdp.into());
        let watched = watched.map(Peer::id);
        let set = self.call(move |state| state.answer_offer(peer, sdp, watched).boxed());
        let gathered = set.await?;
        gathered.await.map_err(|_| Error::Closed("exchange"))?;
        self.local_description().await?.ok_or(Error::Closed("exchange"))
    }

    /// Says that there is no offer of the client's to answer: it never makes one. For programs that ask.
    ///
    /// # Errors
    /// [`Error::InvalidState`] with the state, [`Error::Closed`].
    pub async fn create_answer(&self) -> Result<RtcSessionDescription, Error> {
        let peer = self.peer.id();
        self.call(move |state| async move { state.create_answer(peer) }.boxed())
            .await
    }

    /// Sets the offer that [`Self::create_offer`] made; an empty text stands for it. It returns when our candidates are known, so that
    /// [`Self::local_description`] has all of them.
    ///
    /// # Errors
    /// [`Error::InvalidState`] with the type and the state, [`Error::Modified`], [`Error::Closed`].
    pub async fn set_local_description(&self, description: RtcSessionDescription) -> Result<(), Error> {
        let peer = self.peer.id();
        let set = self.call(move |state| state.set_local_description(peer, description).boxed());
        let gathered = set.await?;
        gathered.await.map_err(|_| Error::Closed("exchange"))
    }

    /// Our offer, pending or agreed on, with the candidates; `None` before there is one. `serialize` makes the text of it that goes to
    /// the client.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn local_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        let peer = self.peer.id();
        self.call(move |state| async move { state.local_description(peer).await }.boxed())
            .await
    }

    /// Takes the client's answer. Tracks that it sends have receivers then, and other peers senders; those that it sends no more are
    /// closed. After a wrong answer the exchange is still under way: another may be set, or [`Self::reset`] ends it.
    ///
    /// # Errors
    /// [`Error::OfferFromClient`], [`Error::InvalidState`] with the type and the state, [`Error::Connection`] with what is wrong with
    /// the answer, [`Error::Closed`].
    pub async fn set_remote_description(&self, description: RtcSessionDescription) -> Result<(), Error> {
        let peer = self.peer.id();
        self.call(move |state| state.set_remote_description(peer, description).boxed())
            .await
    }

    /// The client's last answer; `None` before there is one.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn remote_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        let peer = self.peer.id();
        self.call(move |state| async move { state.remote_description(peer).await }.boxed())
            .await
    }

    /// Where the exchange stands.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn signaling_state(&self) -> Result<RtcSignalingState, Error> {
        let peer = self.peer.id();
        let (state, _) = self
            .call(move |state| async move { state.signaling(peer) }.boxed())
            .await?;
        Ok(state)
    }

    /// Gives up the exchange that is under way, after a wrong answer or none: the state is stable then, and another offer can be made.
    /// What the offer was to tell the client is told by the next; [`RtcPeerConnectionEvent::NegotiationNeeded`] reminds of it.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn reset(&self) -> Result<(), Error> {
        let peer = self.peer.id();
        self.call(move |state| state.reset(peer).boxed()).await
    }

    /// Restarts ICE: the next offer, which [`RtcPeerConnectionEvent::NegotiationNeeded`] asks for, has another user name fragment and
    /// password.
    ///
    /// # Errors
    /// [`Error::NoCapabilities`] before there is a transport, [`Error::Closed`].
    pub async fn restart_ice(&self) -> Result<(), Error> {
        let peer = self.peer.id();
        self.call(move |state| state.restart_ice(peer).boxed()).await
    }

    /// Closes it, and its peer with it. Listeners hear of `error`, if there is one. Nothing happens if it is closed.
    pub async fn close(&self, error: Option<&str>) {
        let (peer, reason) = (
            self.peer.id(),
            error.map(|text| CloseReason::Application(text.to_owned())),
        );
        // What is closed stays so.
        _ = self.call(move |state| state.close_peer(peer, reason).boxed()).await;
    }

    async fn call<T: Send + 'static>(
        &self,
        visit: impl for<'a> FnOnce(&'a mut State) -> BoxFuture<'a, Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        if self.closed() {
            return Err(Error::Closed("connection"));
        }
        let link: &Link<State> = self.peer.link();
        link.call(visit).await.unwrap_or(Err(Error::Closed("room")))
    }
}
