//! SCTP chunks, and two associations.

use std::time::{Duration, Instant};

use antiphon_netsim::Machine;
use antiphon_sansio::{self as sansio, Bytes, Datagram, Ecn, Rng, Transmit, TransmitBuf};
use antiphon_sctp::chunk::Chunk;
use antiphon_sctp::packet::{self, Packet};
use antiphon_sctp::{Association, Config, Event, SendOptions};

use super::pair::{self, End};

pub(super) fn decode(data: &[u8]) {
    let Ok(parsed) = Packet::parse(data) else { return };
    let _ = parsed.checksum_is_correct();
    let mut count = 0;
    for chunk in parsed.chunks() {
        count += 1;
        assert!(count <= data.len(), "the walk ends");
        let Ok(chunk) = chunk else { continue };
        let _ = format!("{chunk:?}");
        // What was read is written so that it is read the same.
        let mut written = Vec::new();
        chunk.write(&mut written);
        let (again, len) = Chunk::parse(&written).expect("our own chunk parses");
        assert_eq!((&again, len), (&chunk, written.len()));
    }
}

/// A right checksum; the verification tag stays, and is mostly right.
#[allow(clippy::ptr_arg, reason = "a `Repair`, and others change the length")]
pub(super) fn seal(_to: usize, packet: &mut Vec<u8>) {
    if packet.len() >= 12 {
        packet::seal(packet);
    }
}

/// Small limits, so that few operations reach them.
pub(super) fn config() -> Config {
    Config {
        max_packet: 600,
        probe_up_to: 900,
        probe_after: 0,
        ecn: true,
        max_added_streams: 30,
        receive_buffer: 16 * 1024,
        send_buffer: 64 * 1024,
        max_receive_message: 8 * 1024,
        streams: 16,
        ..Config::default()
    }
}

pub(super) fn machine(data: &[u8]) {
    let now = antiphon_netsim::start();
    let rng = Rng::from_u64(1);
    // Chunks of both kinds, packets with and without checksums, messages whole and in pieces.
    let config = Config {
        interleaving: data.len().is_multiple_of(2),
        zero_checksum: data.len().is_multiple_of(3),
        partial_delivery: data.len().is_multiple_of(5),
        ..config()
    };
    let mut ends = ["first", "second"].map(|name| Sctp {
        association: Association::new(config.clone(), now, rng.fork(name)),
    });
    ends[0].association.connect(now);
    pair::run(now, ends, &seal, data);
}

#[derive(Debug)]
struct Sctp {
    association: Association,
}

impl Machine for Sctp {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        // Now and then the path marks a packet.
        let ecn = if datagram.data.len().is_multiple_of(3) {
            Ecn::Ce
        } else {
            datagram.ecn
        };
        let data = datagram.data;
        self.association.handle_packet(now, sansio::Packet { ecn, data });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let outgoing = self.association.poll_transmit(now, out)?;
        Some(Transmit {
            ecn: outgoing.ecn,
            ..pair::whole(out.finish())
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.association.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.association.close(now);
    }
}

impl End for Sctp {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let association = &mut self.association;
        let stream = u16::from(argument % 20);
        match action % 12 {
            0 => association.connect(now),
            1..=4 => {
                let options = SendOptions {
                    unordered: argument & 0x20 != 0,
                    max_retransmits: (argument & 0x40 != 0).then_some(u16::from(action % 3)),
                    lifetime: (argument & 0x80 != 0).then_some(Duration::from_millis(100)),
                };
                let len = [0, 1, 500, 2_000, 9_000][usize::from(action % 5)];
                let _ = association.send(now, stream, 51, Bytes::from(vec![argument; len]), options);
            }
            5 => while association.read(now, stream).is_some() {},
            6 => (0..20).for_each(|stream| while association.read(now, stream).is_some() {}),
            7 => association.reset_stream(stream),
            8 => association.set_max_packet(512 + 4 * usize::from(argument % 20)),
            9 => association.set_rtt(Duration::from_millis(u64::from(argument))),
            10 => association.close(now),
            _ if argument > 250 => association.abort(),
            _ if argument > 200 => association.path_changed(),
            _ if argument > 150 => association.set_probe_up_to(4 * usize::from(argument)),
            _ if argument > 100 => association.add_streams(u16::from(argument % 7)),
            _ => association.request_streams(u16::from(argument % 7)),
        }
        None
    }
}
