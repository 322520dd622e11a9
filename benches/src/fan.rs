//! One packet that goes on to many receivers, in memory: what a forwarder pays for each, whatever its sockets are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use antiphon_peer_connection::{
    Direction, MediaKind, Output, Packet, RtcConfiguration, RtcRtpTransceiverInit, TransceiverId, TransmitBuf,
    extension,
};
use antiphon_sfu::Router;
use antiphon_sfu::router::{Config, ConsumerConfig, PeerKey, ProducerConfig, ProducerId};
use bytes::Bytes;

use crate::cost::thread_cpu;
use crate::pair::{Pair, buffer};

/// Bytes of payload of each packet: with the header, its extensions and the tag a datagram of about 1200.
pub const PAYLOAD: usize = 1150;
/// The bandwidth estimate stays here, in bits a second: it is not what is measured.
const BITRATE: u64 = 50_000_000;
/// Between two packets of the stream, on average.
pub const INTERVAL: Duration = Duration::from_millis(1);
/// Packets that come together, as those of a frame do.
pub const BURST: usize = 10;

/// What a forwarder and its viewers negotiate in these benches: video with all header extensions and feedback, and an estimate that
/// holds nothing up.
pub fn configuration() -> RtcConfiguration {
    let mut configuration = RtcConfiguration::default();
    configuration.settings.receive_output = Output::Packets;
    let media = &mut configuration.settings.media;
    (media.min_bitrate, media.start_bitrate, media.max_bitrate) = (BITRATE, BITRATE, BITRATE);
    // What is sent goes nowhere, so nobody reports of it.
    media.circuit_breakers = false;
    configuration
}

/// How the forwarder's transceivers begin.
pub fn send_only() -> RtcRtpTransceiverInit {
    RtcRtpTransceiverInit::new(Direction::SendOnly)
}

/// The peer whose packets go through a router; the others are numbered from 0.
const PUBLISHER: PeerKey = PeerKey(u64::MAX);

/// How packets go to the receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The packet as it is, to one after the other.
    Plain,
    /// Through a router as a driver does it: first what came together, to all; then each receiver has its turn.
    Routed,
    /// Through a router where every packet comes alone, and each receiver has its turn after it.
    Alone,
}

/// A packet as it came from a publisher.
pub fn packet(payload_type: u8, received: Instant) -> Packet {
    Packet {
        ssrc: 7,
        rid: None,
        payload_type,
        sequence: 1000,
        timestamp: 90_000,
        marker: false,
        payload: Bytes::from(vec![0x55; PAYLOAD]),
        front: None,
        key_frame: false,
        extensions: extension::Carried::default(),
        contributors: None,
        received,
        captured: None,
    }
}

/// The packet that comes after `packet`: ten make a frame.
pub fn next(packet: &mut Packet, received: Instant) {
    packet.sequence += 1;
    packet.marker = packet.sequence % 10 == 9;
    packet.timestamp = (packet.sequence / 10 * 3000) as u32;
    packet.received = received;
}

/// A payload of VP8 with a descriptor as browsers write it (RFC 7741 §4.2): picture id of 15 bits, TL0PICIDX, a temporal layer.
fn vp8(number: u64) -> Bytes {
    let (frame, place) = (number / 10, number % 10);
    let [high, low] = (0x8000 | frame as u16 & 0x7fff).to_be_bytes();
    let start = if place == 0 { 0x10 } else { 0 };
    let mut payload = vec![0x80 | start, 0xe0, high, low, frame as u8, 0x00];
    // A frame tag: the first frame is a key frame of 640x360 pixels, and no other is.
    let key = number < 10;
    payload.extend([u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    payload.resize(PAYLOAD, 0x55);
    payload.into()
}

struct Receiver {
    /// The forwarder's end, and the viewer's.
    pair: Pair,
    transceiver: TransceiverId,
}

impl Receiver {
    /// Takes what its connection has to send, and does nothing with it. How many datagrams that was.
    fn drain(&mut self, now: Instant, out: &mut TransmitBuf) -> usize {
        let forwarder = &mut self.pair.peers[0];
        let mut sent = 0;
        if !out.has_room() {
            out.clear();
        }
        while let Some(transmit) = forwarder.poll_transmit(now, out) {
            sent += transmit.datagrams(out).count();
            if !out.has_room() {
                out.clear();
            }
        }
        while let Some(event) = forwarder.poll_event() {
            black_box(event);
        }
        black_box(forwarder.poll_timeout());
        sent
    }
}

/// A router, and the transceiver whose packets it takes.
struct Routing {
    router: Router,
    from: TransceiverId,
}

impl Routing {
    fn new(now: Instant, receivers: &[Receiver]) -> Self {
        let mut router = Router::new(Config::default(), now);
        let own = |receiver: &Receiver| receiver.pair.peers[0].transceiver(receiver.transceiver).cloned();
        let first = own(&receivers[0]).expect("its transceiver");
        router.add_peer(now, PUBLISHER, true).expect("room for it");
        let producer: ProducerId = router
            .produce(ProducerConfig {
                peer: PUBLISHER,
                transceiver: first.id(),
                kind: MediaKind::Video,
                codecs: first.send().map(|send| send.codecs.clone()).unwrap_or_default(),
                rids: Vec::new(),
                paused: false,
            })
            .expect("a producer");
        for (place, receiver) in (0..).zip(receivers) {
            let transceiver = own(receiver).expect("its transceiver");
            let config = ConsumerConfig::of(PeerKey(place), receiver.transceiver, &transceiver);
            router.add_peer(now, PeerKey(place), true).expect("room for it");
            router.consume(now, producer, config).expect("a consumer");
        }
        Self {
            router,
            from: first.id(),
        }
    }
}

/// A forwarder's connections, each with the viewer at its other end. The media itself goes nowhere: viewers that took it would push the
/// forwarder's memory out of the processor's caches, and they are other machines.
pub struct Fan {
    way: Way,
    receivers: Vec<Receiver>,
    routing: Routing,
    packet: Packet,
    now: Instant,
    out: TransmitBuf,
    /// Between the viewers and us, outside of what is measured.
    aside: TransmitBuf,
}

impl Fan {
    /// Connects so many receivers.
    ///
    /// # Panics
    /// If they do not connect.
    pub fn new(receivers: usize, way: Way) -> Self {
        let begin = Instant::now();
        let (mut latest, mut aside) = (begin, buffer());
        let mut payload_type = None;
        let receivers: Vec<Receiver> = (0..receivers)
            .map(|number| {
                let mut pair = Pair::new([configuration(), configuration()], begin, number as u64);
                let forwarder = &mut pair.peers[0];
                let transceiver = forwarder.add_transceiver(MediaKind::Video, send_only());
                let transceiver = transceiver.expect("a transceiver");
                pair.describe(begin, [str::to_owned; 2]);
                let mut now = begin;
                pair.connect(&mut now, &mut aside);
                latest = latest.max(now);
                payload_type = pair.peers[0].payload_type(transceiver, "VP8");
                Receiver { pair, transceiver }
            })
            .collect();
        let mut packet = packet(payload_type.expect("VP8 is negotiated"), latest);
        // The first packet of a frame comes first.
        packet.sequence = u64::MAX;
        Self {
            way,
            routing: Routing::new(latest, &receivers),
            receivers,
            packet,
            now: latest,
            out: buffer(),
            aside,
        }
    }

    /// The next packets, which come together.
    fn burst(&mut self) -> Vec<Packet> {
        self.now += INTERVAL * BURST as u32;
        let packets = (0..BURST).map(|_| {
            let number = self.packet.sequence.wrapping_add(1);
            self.packet.sequence = number;
            self.packet.marker = number % 10 == 9;
            self.packet.timestamp = (number / 10 * 3000) as u32;
            self.packet.received = self.now;
            self.packet.payload = vp8(number);
            self.packet.clone()
        });
        packets.collect()
    }

    /// Forwards [`BURST`] packets, each to every receiver; what processor time that took, and how many datagrams it made. Timers are
    /// not counted.
    pub fn forward(&mut self) -> (Duration, usize) {
        for receiver in &mut self.receivers {
            receiver.pair.settle(self.now, &mut self.aside);
        }
        let burst = self.burst();
        let Self {
            way,
            receivers,
            routing,
            out,
            now,
            ..
        } = self;
        let together = if *way == Way::Routed { BURST } else { 1 };
        let (start, mut sent) = (thread_cpu(), 0);
        for packets in burst.chunks(together) {
            if *way == Way::Plain {
                for receiver in &mut *receivers {
                    // One that cannot take it would show in the number of datagrams.
                    _ = black_box(receiver.pair.peers[0].send_rtp(*now, receiver.transceiver, &packets[0]));
                }
            } else {
                let from = routing.from;
                routing
                    .router
                    .handle_packets(*now, PUBLISHER, from, packets, |peer, encoding, packet| {
                        let receiver = &mut receivers[peer.0 as usize];
                        receiver.pair.peers[0].send_rtp(*now, encoding, packet).is_ok()
                    });
            }
            for receiver in &mut *receivers {
                sent += receiver.drain(*now, out);
            }
        }
        (thread_cpu() - start, sent)
    }
}
