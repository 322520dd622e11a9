//! A router without connections, and a publisher that is a script.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::{AV1, FRAME, VP8, Vp8, codec, rid};
use antiphon_jsep::{Config as Signalling, Negotiator, TransceiverInit};
use antiphon_media::{Packet, Reported};
use antiphon_peer_connection::{EncodingId, Event as Told, MediaKind, TransceiverId};
use antiphon_sansio::Rng;
use antiphon_sfu::Descriptors;
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{
    Config, ConsumerConfig, ConsumerId, Event, PeerKey, ProducerConfig, ProducerId, Request, Router,
};

pub(crate) const OPUS: u8 = 111;
pub(crate) const PUBLISHER: PeerKey = PeerKey(7);

/// Packets that were handed out: to whom, and what.
pub(crate) type Sent = Vec<(PeerKey, Packet)>;

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) now: Instant,
    pub(crate) names: Negotiator,
    pub(crate) sent: Sent,
    /// On which encoding each of them was to go.
    pub(crate) ways: Vec<EncodingId>,
    /// Sources that were asked for a key frame.
    pub(crate) asked: Vec<u32>,
    /// What each connection was told that it could send.
    pub(crate) desired: BTreeMap<PeerKey, u64>,
    /// What each consumer's receiver has reported.
    pub(crate) reported: Option<Reported>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            router: Router::new(Config::default(), antiphon_netsim::start()),
            now: antiphon_netsim::start(),
            names: Negotiator::new(Signalling::default(), Rng::from_u64(1)),
            sent: Vec::new(),
            ways: Vec::new(),
            asked: Vec::new(),
            desired: BTreeMap::new(),
            reported: None,
        };
        world.router.add_peer(world.now, PUBLISHER, true).unwrap();
        world
    }

    pub(crate) fn transceiver(&mut self) -> TransceiverId {
        self.names.add_transceiver(MediaKind::Video, TransceiverInit::default())
    }

    pub(crate) fn produce(&mut self, kind: MediaKind) -> (ProducerId, TransceiverId) {
        self.produce_with(kind, &["a", "b", "c"])
    }

    pub(crate) fn produce_with(&mut self, kind: MediaKind, rids: &[&str]) -> (ProducerId, TransceiverId) {
        let mut codecs = vec![codec(VP8, "VP8"), codec(OPUS, "opus"), codec(98, "VP9")];
        // Of one encoding there may be layers.
        codecs.extend(rids.is_empty().then(|| codec(AV1, "AV1")));
        let transceiver = self.transceiver();
        let config = ProducerConfig {
            peer: PUBLISHER,
            transceiver,
            kind,
            codecs,
            rids: rids.iter().map(|name| rid(name)).collect(),
            paused: false,
        };
        (self.router.produce(config).unwrap(), transceiver)
    }

    pub(crate) fn config(&mut self, peer: PeerKey, kind: MediaKind) -> ConsumerConfig {
        ConsumerConfig {
            peer,
            encoding: self.transceiver().into(),
            kind,
            codecs: vec![codec(120, "VP8"), codec(109, "opus")],
            descriptors: Descriptors::Needed,
            takes_descriptors: false,
            paused: false,
            claim: Claim::default(),
        }
    }

    pub(crate) fn consume(&mut self, producer: ProducerId, peer: u64, kind: MediaKind) -> (ConsumerId, EncodingId) {
        let peer = PeerKey(peer);
        self.router.add_peer(self.now, peer, true).unwrap();
        let config = self.config(peer, kind);
        let encoding = config.encoding;
        (self.router.consume(self.now, producer, config).unwrap(), encoding)
    }

    /// A packet of the publisher comes; what the router asks for is noted.
    pub(crate) fn show(&mut self, transceiver: TransceiverId, packet: &Packet) {
        self.show_run(transceiver, std::slice::from_ref(packet));
    }

    /// Packets of the publisher come together.
    pub(crate) fn show_run(&mut self, transceiver: TransceiverId, packets: &[Packet]) {
        let mut packets = packets.to_vec();
        packets.iter_mut().for_each(|packet| packet.received = self.now);
        let (sent, ways) = (&mut self.sent, &mut self.ways);
        let taken = self
            .router
            .handle_packets(self.now, PUBLISHER, transceiver, &packets, |peer, encoding, packet| {
                ways.push(encoding);
                sent.push((peer, packet.clone()));
                true
            });
        assert!(taken);
        self.serve();
    }

    pub(crate) fn serve(&mut self) {
        while let Some(request) = self.router.poll_request(self.now) {
            match request {
                Request::KeyFrame { peer, ssrc, .. } => {
                    assert_eq!(peer, PUBLISHER);
                    self.asked.push(ssrc);
                }
                Request::DirectKeyFrame { ssrc, .. } => self.asked.push(ssrc),
                Request::Desire { peer, bitrate } => _ = self.desired.insert(peer, bitrate),
                Request::Reports { consumer, .. } => {
                    if let Some(reported) = self.reported {
                        self.router.set_reported(consumer, reported).unwrap();
                    }
                }
            }
        }
        assert!(self.router.poll_timeout().is_none_or(|at| at > self.now), "law 2");
    }

    /// A frame of each encoding; those that were asked give key frames.
    pub(crate) fn step(&mut self, transceiver: TransceiverId, encodings: &mut [Vp8]) {
        self.run_to(self.now);
        let asked = std::mem::take(&mut self.asked);
        for encoding in encodings {
            for packet in encoding.frame(self.now, asked.contains(&encoding.ssrc)) {
                self.show(transceiver, &packet);
            }
        }
        self.run_to(self.now + FRAME);
    }

    /// Time passes, and nothing else happens.
    pub(crate) fn run_to(&mut self, end: Instant) {
        while let Some(at) = self.router.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.router.handle_timeout(self.now);
            self.serve();
        }
        self.now = end;
        self.serve();
    }

    pub(crate) fn tell(&mut self, peer: PeerKey, event: &Told) -> bool {
        let kept = self.router.handle_event(self.now, peer, event);
        self.serve();
        kept
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.router.poll_event()).collect()
    }

    pub(crate) fn sent_to(&self, peer: u64) -> Vec<&Packet> {
        let own = self.sent.iter().filter(|(to, _)| *to == PeerKey(peer));
        own.map(|(_, packet)| packet).collect()
    }
}

/// No number is missing.
pub(crate) fn is_whole(packets: &[&Packet]) -> bool {
    packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1)
}
