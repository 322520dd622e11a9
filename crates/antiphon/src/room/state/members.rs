//! What a room keeps of each peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use antiphon_jsep::{MediaCapabilities, MediaKind, Transceiver, TransceiverId};
use antiphon_peer_connection::RtcSessionDescription;
use tokio::sync::oneshot;

use crate::handle::PeerHandle;
use crate::room::dialect::Dialect;
use crate::room::error::Error;
use crate::room::facts::{
    CloseReason, ConnectionFacts, ConnectionNews, PeerFacts, PeerNews, Received, ReceiverFacts, ReceiverNews,
    RtpParameters, SenderFacts, SenderNews, TransportFacts, TransportNews,
};
use crate::room::negotiation::Negotiation;
use crate::room::options::TransportOptions;
use crate::router::{Consumer, Producer};

/// A peer.
pub(super) struct Member {
    pub(super) facts: Arc<PeerFacts>,
    /// Where it lives, among the room's sites.
    pub(super) site: usize,
    /// What it has of the room's codecs, once it has said so.
    pub(super) capabilities: Option<Arc<MediaCapabilities>>,
    pub(super) connection: Option<Connection>,
    pub(super) receivers: BTreeMap<u64, Receiver>,
    pub(super) senders: BTreeMap<u64, Sender>,
}

impl Member {
    pub(super) fn new(facts: Arc<PeerFacts>, site: usize) -> Self {
        Self {
            facts,
            site,
            capabilities: None,
            connection: None,
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
        }
    }

    pub(super) fn connection_mut(&mut self) -> Result<&mut Connection, Error> {
        self.connection.as_mut().ok_or(Error::Closed("connection"))
    }

    /// Its transport, which is there once the capabilities are set.
    pub(super) fn transport(&self) -> Result<&Transport, Error> {
        let connection = self.connection.as_ref().ok_or(Error::Closed("connection"))?;
        connection.transport.as_ref().ok_or(Error::NoCapabilities)
    }

    /// The same, to change it.
    pub(super) fn transport_mut(&mut self) -> Result<&mut Transport, Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed("connection"))?;
        connection.transport.as_mut().ok_or(Error::NoCapabilities)
    }

    /// When its program is to be told that negotiation is needed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.connection.as_ref()?.negotiation.poll_timeout()
    }

    /// Closes everything that is the peer's, and then tells the end of each.
    pub(super) fn end(&mut self, reason: Option<CloseReason>) {
        self.facts.news.close();
        for sender in self.senders.values() {
            sender.facts.news.close();
        }
        for receiver in self.receivers.values() {
            receiver.facts.news.close();
        }
        if let Some(connection) = &mut self.connection {
            connection.facts.news.close();
            if let Some(transport) = &connection.transport {
                transport.facts.news.close();
            }
        }
        for sender in self.senders.values() {
            sender.facts.news.tell(SenderNews::Close);
        }
        for receiver in self.receivers.values() {
            receiver.end();
        }
        if let Some(connection) = &mut self.connection {
            if let Some(transport) = &connection.transport {
                transport.facts.news.tell(TransportNews::Close);
            }
            connection.negotiation.close();
            let state = connection.negotiation.state();
            connection.facts.news.tell(ConnectionNews::Signaling(state));
            connection.facts.news.tell(ConnectionNews::Close(reason));
        }
        self.facts.news.tell(PeerNews::Close);
    }
}

/// How a peer's connection was asked for.
#[derive(Clone, Debug)]
pub(in crate::room) struct ConnectionSettings {
    pub(in crate::room) transport: TransportOptions,
    pub(in crate::room) use_plan_b: bool,
    pub(in crate::room) max_bitrate: Option<u64>,
    pub(in crate::room) simulcast: Vec<String>,
    /// Whether it gets the tracks of others.
    pub(in crate::room) subscribe: bool,
}

/// A peer's connection.
pub(super) struct Connection {
    pub(super) facts: Arc<ConnectionFacts>,
    pub(super) settings: ConnectionSettings,
    pub(super) negotiation: Negotiation,
    pub(super) dialect: Dialect,
    pub(super) transport: Option<Transport>,
    /// The offer of the exchange that is under way: as it was made, and as the client gets it.
    pub(super) offer: Option<(RtcSessionDescription, RtcSessionDescription)>,
    /// Who waits until the candidates stand in the offer.
    pub(super) gathering: Option<oneshot::Sender<()>>,
}

/// What a connection has once the peer's capabilities are known.
pub(super) struct Transport {
    pub(super) facts: Arc<TransportFacts>,
    pub(super) handle: PeerHandle,
    /// The sections that the client may send on.
    pub(super) receiving: Vec<Receiving>,
}

/// A section that the client may send on.
pub(super) struct Receiving {
    pub(super) transceiver: TransceiverId,
    pub(super) kind: MediaKind,
    /// Whether the last offer let it send.
    pub(super) open: bool,
}

/// What a peer sends to the room.
pub(super) struct Receiver {
    pub(super) facts: Arc<ReceiverFacts>,
    pub(super) parameters: Arc<RtpParameters>,
    /// Where it comes in. A track of another node does so while somebody here gets it.
    pub(super) intake: Option<Intake>,
    /// What of it is at other sites of the room.
    pub(super) crossed: BTreeMap<usize, Crossed>,
    /// Whether its packets come to the room's task too.
    pub(super) tapped: bool,
}

/// Where a track comes in: a section of a connection.
pub(super) struct Intake {
    pub(super) handle: PeerHandle,
    pub(super) transceiver: TransceiverId,
    pub(super) producer: Producer,
}

/// A track at another site than the one where it comes in.
pub(super) struct Crossed {
    /// What carries it there.
    pub(super) pipe: Consumer,
    /// What it is there.
    pub(super) producer: Producer,
    /// Whether it crosses now: somebody there lets it go on.
    pub(super) is_on: bool,
}

impl Receiver {
    pub(super) fn transceiver(&self) -> Option<TransceiverId> {
        Some(self.intake.as_ref()?.transceiver)
    }

    /// What it is at a site, which is that of its peer or another.
    pub(super) fn at(&self, own: usize, site: usize) -> Option<&Producer> {
        match own == site {
            true => Some(&self.intake.as_ref()?.producer),
            false => self.crossed.get(&site).map(|crossed| &crossed.producer),
        }
    }

    /// Whether the client goes on to send the same: it names a track by its id or by SSRCs.
    pub(super) fn is_same(&self, parameters: &RtpParameters) -> bool {
        self.parameters.track == parameters.track && self.parameters.ssrcs == parameters.ssrcs
    }

    pub(super) fn end(&self) {
        self.facts.packets.tell(Received::Close);
        self.facts.news.tell(ReceiverNews::Close);
    }
}

/// What the room sends to a peer.
pub(super) struct Sender {
    pub(super) facts: Arc<SenderFacts>,
    /// Its place in the connection, from the first offer that names it.
    pub(super) transceiver: Option<TransceiverId>,
    pub(super) parameters: Arc<RtpParameters>,
    /// Whether the application lets it send.
    pub(super) enabled: bool,
    /// The level and the temporal layer that it is to send at most.
    pub(super) preferred: (u8, u8),
    /// Whether the peer has a codec for it.
    pub(super) decodable: bool,
    /// Whether the last exchange gave it a section that sends.
    pub(super) agreed: bool,
    /// It forwards, once client and room have agreed on it and its track comes in.
    pub(super) consumer: Option<Consumer>,
}

impl Sender {
    pub(super) fn active(&self) -> bool {
        self.enabled && self.consumer.is_some()
    }
}

/// What an exchange has made of one transceiver.
pub(super) struct Row {
    pub(super) id: TransceiverId,
    pub(super) receives: Option<RtpParameters>,
    pub(super) sends: Option<RtpParameters>,
}

impl Row {
    pub(super) fn of(transceiver: &Transceiver) -> Self {
        let mid = transceiver.mid().map(str::to_owned);
        let receives = transceiver.receive().map(|receive| RtpParameters {
            mid: mid.clone(),
            codecs: receive.codecs.clone(),
            header_extensions: receive.extensions.clone(),
            ssrcs: receive.streams.iter().map(|stream| stream.ssrc).collect(),
            rids: receive.simulcast.iter().map(|layer| layer.rid.clone()).collect(),
            track: transceiver.remote_track().map(str::to_owned),
            streams: transceiver.remote_streams().to_vec(),
        });
        let own = transceiver.sender();
        let sends = transceiver.send().filter(|send| !send.codecs.is_empty());
        let sends = sends.map(|send| RtpParameters {
            mid,
            codecs: send.codecs.clone(),
            header_extensions: send.extensions.clone(),
            ssrcs: own.encodings.iter().map(|encoding| encoding.ssrc).collect(),
            rids: Vec::new(),
            track: own.track.clone(),
            streams: own.streams.clone(),
        });
        let stopped = transceiver.stopped();
        Self {
            id: transceiver.id(),
            receives: receives.filter(|_| !stopped),
            sends: sends.filter(|_| !stopped),
        }
    }
}
