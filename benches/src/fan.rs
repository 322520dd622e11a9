//! One packet that goes on to many receivers, in memory: what a forwarder pays for each, whatever its sockets are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use antiphon_peer_connection::{
    Direction, MediaKind, Output, Packet, RtcConfiguration, RtcRtpTransceiverInit, TransceiverId, TransmitBuf,
    extension,
};
use bytes::Bytes;

use crate::cost::thread_cpu;
use crate::pair::{Pair, buffer};

/// Bytes of payload of each packet: with the header, its extensions and the tag a datagram of about 1200.
pub const PAYLOAD: usize = 1150;
/// The bandwidth estimate stays here, in bits a second: it is not what is measured.
const BITRATE: u64 = 50_000_000;
/// Between two packets of the stream.
pub const INTERVAL: Duration = Duration::from_millis(1);
/// After the last of them, so that all have left.
const REST: Duration = Duration::from_millis(5);
/// Packets that come together: nobody looks at timers meanwhile.
pub const BURST: usize = 10;

/// What a forwarder and its viewers negotiate in these benches: video with all header extensions and feedback, and an estimate that
/// holds nothing up.
pub fn configuration() -> RtcConfiguration {
    let mut configuration = RtcConfiguration::default();
    configuration.settings.receive_output = Output::Packets;
    let media = &mut configuration.settings.media;
    (media.min_bitrate, media.start_bitrate, media.max_bitrate) = (BITRATE, BITRATE, BITRATE);
    configuration
}

/// How the forwarder's transceivers begin.
pub fn send_only() -> RtcRtpTransceiverInit {
    RtcRtpTransceiverInit::new(Direction::SendOnly)
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

struct Receiver {
    /// The forwarder's end, and the viewer's.
    pair: Pair,
    transceiver: TransceiverId,
}

/// A forwarder's connections, each with the viewer at its other end. The media itself goes nowhere: viewers that took it would push the
/// forwarder's memory out of the processor's caches, and they are other machines.
pub struct Fan {
    receivers: Vec<Receiver>,
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
    pub fn new(receivers: usize) -> Self {
        let begin = Instant::now();
        let (mut latest, mut aside) = (begin, buffer());
        let mut payload_type = None;
        let receivers = (0..receivers)
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
        Self {
            receivers,
            packet: packet(payload_type.expect("VP8 is negotiated"), latest),
            now: latest,
            out: buffer(),
            aside,
        }
    }

    /// Forwards [`BURST`] packets, one after the other, each to every receiver; what processor time that took, and how many
    /// datagrams it made. Timers are not counted.
    pub fn forward(&mut self) -> (Duration, usize) {
        for receiver in &mut self.receivers {
            receiver.pair.settle(self.now, &mut self.aside);
        }
        let (start, mut sent) = (thread_cpu(), 0);
        for n in 0..=BURST {
            // What waits for others to leave with it has its turn at the end.
            let is_last = n == BURST;
            self.now += if is_last { REST } else { INTERVAL };
            if !is_last {
                next(&mut self.packet, self.now);
            }
            for Receiver { pair, transceiver } in &mut self.receivers {
                let forwarder = &mut pair.peers[0];
                if !is_last {
                    // One that cannot take it would show in the number of datagrams.
                    _ = black_box(forwarder.send_rtp(self.now, *transceiver, &self.packet));
                }
                if !self.out.has_room() {
                    self.out.clear();
                }
                while let Some(transmit) = forwarder.poll_transmit(self.now, &mut self.out) {
                    sent += transmit.datagrams(&self.out).count();
                }
                while let Some(event) = forwarder.poll_event() {
                    black_box(event);
                }
                black_box(forwarder.poll_timeout());
            }
        }
        (thread_cpu() - start, sent)
    }
}
