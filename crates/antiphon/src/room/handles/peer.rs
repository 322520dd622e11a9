//! A peer of a room, what it sends to the room, and what the room sends to it.

use std::sync::Arc;

use antiphon_jsep::{MediaCapabilities, MediaKind};
use antiphon_peer_connection::Packet;
use futures_util::FutureExt;

use super::transport::Transport;
use crate::room::dump::PeerDump;
use crate::room::error::Error;
use crate::room::events::Events;
use crate::room::facts::{
    Delivery, PeerFacts, PeerNews, Received, ReceiverFacts, ReceiverNews, RtpParameters, SenderDelivery, SenderFacts,
    SenderNews,
};
use crate::room::link::Link;
use crate::room::state::State;
use crate::router::Scores;

/// What happens to a peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The peer has told what it can: what it has of the room's codecs.
    Capabilities(Arc<MediaCapabilities>),
    /// Its connection has a transport.
    NewTransport(Transport),
    /// It sends a track to the room.
    NewRtpReceiver(RtpReceiver),
    /// It gets a track of another peer.
    NewRtpSender(RtpSender),
    /// What the application says of it is this text now.
    DetailsChange(Arc<str>),
    /// It has said this on its node ([`Peer::say`]). Peers of this node tell it to other nodes only.
    Said(Arc<str>),
    /// The peer is closed.
    Close,
}

/// Somebody in a room.
#[derive(Clone, Debug)]
pub struct Peer {
    facts: Arc<PeerFacts>,
    link: Link<State>,
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for Peer {}

impl Peer {
    pub(super) fn new(facts: Arc<PeerFacts>, link: Link<State>) -> Self {
        Self { facts, link }
    }

    pub(super) fn link(&self) -> &Link<State> {
        &self.link
    }

    /// Its number, which no other object of the server has.
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// The name that it was made with.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// The node that its client is connected to, if that is another one of the cluster. Such a peer comes and goes as that node says:
    /// here it has no capabilities and no connection, and cannot be closed.
    pub fn node(&self) -> Option<&str> {
        Some(self.facts.remote.as_ref()?.node.as_str())
    }

    /// What the application says of it, on all nodes; empty if it has said nothing.
    pub fn details(&self) -> Arc<str> {
        self.facts.details.get()
    }

    /// Says something else of it, at most 1024 bytes, which programs on all nodes hear ([`PeerEvent::DetailsChange`]).
    ///
    /// # Errors
    /// [`Error::Cluster`] if it is too long, [`Error::Elsewhere`] for a peer of another node, [`Error::Closed`] once it is.
    pub async fn set_details(&self, details: impl Into<String>) -> Result<(), Error> {
        let (peer, details) = (self.facts.id, details.into());
        let call = self.link.call(move |state| state.set_details(peer, details).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Says something in its name to programs on other nodes of the cluster ([`PeerEvent::Said`]), at most 8192 bytes. They hear it once, or
    /// not at all if the bus loses it. Without a cluster there is nobody to hear it.
    ///
    /// # Errors
    /// [`Error::Cluster`] if it is too long, if 64 texts wait, or while the bus is away; [`Error::Elsewhere`] for a peer of another node;
    /// [`Error::Closed`] once it is.
    pub async fn say(&self, text: impl Into<String>) -> Result<(), Error> {
        let (peer, text) = (self.facts.id, text.into());
        let call = self.link.call(move |state| state.say(peer, text).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events<PeerEvent> {
        let link = self.link.clone();
        self.facts.news.listen(move |news| match news {
            PeerNews::Capabilities(capabilities) => PeerEvent::Capabilities(capabilities),
            PeerNews::NewTransport(facts) => PeerEvent::NewTransport(Transport::new(facts, link.clone())),
            PeerNews::NewReceiver(facts) => PeerEvent::NewRtpReceiver(RtpReceiver::new(facts, link.clone())),
            PeerNews::NewSender(facts) => PeerEvent::NewRtpSender(RtpSender::new(facts, link.clone())),
            PeerNews::Details(details) => PeerEvent::DetailsChange(details),
            PeerNews::Said(text) => PeerEvent::Said(text),
            PeerNews::Close => PeerEvent::Close,
        })
    }

    /// Takes what the client can, by an offer of its own that is made for this alone: what it has of the room's codecs. Once, and before
    /// its first offer. When it returns, every track of the room has a sender to this peer.
    ///
    /// # Errors
    /// [`Error::CapabilitiesSet`] the second time, [`Error::Capabilities`] if it is not SDP, [`Error::Closed`].
    pub async fn set_capabilities(&self, sdp: impl Into<String>) -> Result<Arc<MediaCapabilities>, Error> {
        let (peer, sdp) = (self.facts.id, sdp.into());
        let call = self
            .link
            .call(move |state| async move { state.set_capabilities(peer, &sdp).await }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// What it has of the room's codecs; `None` before it has told.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn capabilities(&self) -> Result<Option<Arc<MediaCapabilities>>, Error> {
        self.ask(State::capabilities).await
    }

    /// The transports of its connection: one, once its capabilities are set.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn transports(&self) -> Result<Vec<Transport>, Error> {
        let all = self.ask(State::transports).await?;
        Ok(all
            .into_iter()
            .map(|facts| Transport::new(facts, self.link.clone()))
            .collect())
    }

    /// What it sends to the room.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn rtp_receivers(&self) -> Result<Vec<RtpReceiver>, Error> {
        let all = self.ask(State::receivers).await?;
        Ok(all
            .into_iter()
            .map(|facts| RtpReceiver::new(facts, self.link.clone()))
            .collect())
    }

    /// What the room sends to it: one sender for each receiver of every other peer.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn rtp_senders(&self) -> Result<Vec<RtpSender>, Error> {
        let all = self.ask(State::senders).await?;
        Ok(all
            .into_iter()
            .map(|facts| RtpSender::new(facts, self.link.clone()))
            .collect())
    }

    /// How all that the room sends to it does, of all at once: for who shows it, every second or two.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn deliveries(&self) -> Result<Vec<SenderDelivery>, Error> {
        let peer = self.facts.id;
        let call = self
            .link
            .call(move |state| async move { state.deliveries(peer).await }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// All that is known of it now.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn dump(&self) -> Result<PeerDump, Error> {
        self.ask(State::dump_peer).await
    }

    /// Closes it, and with it its connection and its senders to others. Nothing happens if it is closed, or of another node.
    pub async fn close(&self) {
        let peer = self.facts.id;
        // What is closed stays so.
        _ = self.link.call(move |state| state.dismiss(peer).boxed()).await;
    }

    async fn ask<T: Send + 'static>(&self, look: fn(&State, u64) -> Result<T, Error>) -> Result<T, Error> {
        let peer = self.facts.id;
        let call = self.link.call(move |state| async move { look(state, peer) }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }
}

/// What happens to a receiver.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RtpReceiverEvent {
    /// The client sends the same track in another way.
    ParametersChange(Arc<RtpParameters>),
    /// The client does not send the track any more, or is gone.
    Close,
}

/// A track that a peer sends to the room. It is there from the answer that says so to the one that does not, and has its parameters from
/// the beginning.
#[derive(Clone, Debug)]
pub struct RtpReceiver {
    facts: Arc<ReceiverFacts>,
    link: Link<State>,
}

impl RtpReceiver {
    pub(super) fn new(facts: Arc<ReceiverFacts>, link: Link<State>) -> Self {
        Self { facts, link }
    }

    /// Its number, which no other object of the server has.
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// Whether it is sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.facts.kind
    }

    /// Who sends it.
    pub fn peer(&self) -> Peer {
        Peer::new(self.facts.peer.clone(), self.link.clone())
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events<RtpReceiverEvent> {
        self.facts.news.listen(|news| match news {
            ReceiverNews::Parameters(parameters) => RtpReceiverEvent::ParametersChange(parameters),
            ReceiverNews::Close => RtpReceiverEvent::Close,
        })
    }

    /// How it was negotiated.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn rtp_parameters(&self) -> Result<Arc<RtpParameters>, Error> {
        let (peer, receiver) = (self.facts.peer.id, self.facts.id);
        let look = move |state: &mut State| state.receiver_parameters(peer, receiver);
        let call = self.link.call(move |state| async move { look(state) }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// How well each of its encodings arrives, from the smallest picture: 0, it has stopped, to 10; `None` before that is known.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn scores(&self) -> Result<Scores, Error> {
        let (peer, receiver) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| async move { state.receiver_scores(peer, receiver).await }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Asks the client for a key frame of it.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn request_key_frame(&self) -> Result<(), Error> {
        let (peer, receiver) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| state.request_key_frame(peer, receiver).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// The packets that come from now on (mediasoup's `rtpraw`), with the encryption and retransmissions undone. The client is asked for
    /// a key frame, so that they can be decoded soon. While somebody listens each packet is handed over besides being forwarded; one who
    /// is too slow loses the oldest.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn packets(&self) -> Result<Events<Packet>, Error> {
        let packets = self.facts.packets.listen(|received| match received {
            Received::Packet(packet) => Some(packet),
            Received::Close => None,
        });
        let (peer, receiver) = (self.facts.peer.id, self.facts.id);
        let call = self.link.call(move |state| state.take_packets(peer, receiver).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))?;
        Ok(packets.while_some())
    }
}

/// What happens to a sender.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RtpSenderEvent {
    /// It is negotiated, or negotiated anew.
    ParametersChange(Arc<RtpParameters>),
    /// It begins to send, or it stops.
    ActiveChange(bool),
    /// Its receiver, or its peer, is gone.
    Close,
}

/// A track of another peer that the room sends to a peer. It is made by itself for each receiver of the others, and is described in the
/// next offer to its peer.
#[derive(Clone, Debug)]
pub struct RtpSender {
    facts: Arc<SenderFacts>,
    link: Link<State>,
}

impl RtpSender {
    pub(super) fn new(facts: Arc<SenderFacts>, link: Link<State>) -> Self {
        Self { facts, link }
    }

    /// Its number, which no other object of the server has.
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// Whether it is sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.facts.receiver.kind
    }

    /// Who gets it.
    pub fn peer(&self) -> Peer {
        Peer::new(self.facts.peer.clone(), self.link.clone())
    }

    /// What it forwards.
    pub fn associated_rtp_receiver(&self) -> RtpReceiver {
        RtpReceiver::new(self.facts.receiver.clone(), self.link.clone())
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens to it from now on.
    pub fn events(&self) -> Events<RtpSenderEvent> {
        self.facts.news.listen(|news| match news {
            SenderNews::Parameters(parameters) => RtpSenderEvent::ParametersChange(parameters),
            SenderNews::Active(active) => RtpSenderEvent::ActiveChange(active),
            SenderNews::Close => RtpSenderEvent::Close,
        })
    }

    /// How it was negotiated: its mid and stream tell the client's page which track it is. Empty before that.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn rtp_parameters(&self) -> Result<Arc<RtpParameters>, Error> {
        self.ask(|state, peer, sender| Ok(state.sender(peer, sender)?.0)).await
    }

    /// Whether it sends: it is negotiated in a codec that the client has, and not disabled.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn active(&self) -> Result<bool, Error> {
        self.ask(|state, peer, sender| Ok(state.sender(peer, sender)?.1)).await
    }

    /// Which layer goes on to the client, and how well it arrives there.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn delivery(&self) -> Result<Delivery, Error> {
        let (peer, sender) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| async move { state.delivery(peer, sender).await }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// The layers that it sends at most (mediasoup 3's `setPreferredLayers`): the highest level, from 0 for the smallest picture, and the
    /// highest temporal layer. `u8::MAX`, as at the beginning, is all. Without an exchange; of sound it changes nothing.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn set_preferred_layers(&self, level: u8, temporal: u8) -> Result<(), Error> {
        let (peer, sender) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| state.prefer(peer, sender, level, temporal).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Lets it send again, without an exchange. `emit`: whether listeners hear of it.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn enable(&self, emit: bool) -> Result<(), Error> {
        self.switch(true, emit).await
    }

    /// Lets it send no more, without an exchange. `emit`: whether listeners hear of it.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Closed`] once it, or its peer, is.
    pub async fn disable(&self, emit: bool) -> Result<(), Error> {
        self.switch(false, emit).await
    }

    async fn switch(&self, enabled: bool, emit: bool) -> Result<(), Error> {
        let (peer, sender) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| state.enable(peer, sender, enabled, emit).boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    async fn ask<T: Send + 'static>(&self, look: fn(&State, u64, u64) -> Result<T, Error>) -> Result<T, Error> {
        let (peer, sender) = (self.facts.peer.id, self.facts.id);
        let call = self
            .link
            .call(move |state| async move { look(state, peer, sender) }.boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }
}
