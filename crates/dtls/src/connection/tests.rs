//! What takes a look inside, or messages that a well-behaved peer does not send.

use std::sync::Arc;

use super::*;
use crate::certificate::{Certificate, CertificateParams};
use crate::config::Versions;
use crate::record::UnifiedHeader;
use crate::record::epoch::LAST_BLOCKS;
use antiphon_crypto::HashAlgorithm;
use bytes::BytesMut;

struct Pair {
    now: Instant,
    ends: [Connection; 2],
    events: [Vec<Event>; 2],
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Pair {
    #[allow(clippy::disallowed_methods)]
    fn new(versions: Versions) -> Self {
        let now = antiphon_netsim::start();
        let certificate = Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
        let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
        let ends = [Role::Client, Role::Server].map(|role| {
            let mut config = Config::new(certificate.clone());
            config.versions = versions;
            let rng = Rng::from_u64(1).fork(&format!("{role:?}"));
            let mut connection = Connection::new(config, role, rng);
            connection.set_remote_fingerprints(vec![fingerprint.clone()]);
            connection
        });
        Self {
            now,
            ends,
            events: [vec![], vec![]],
        }
    }

    fn connected(versions: Versions) -> Self {
        let mut pair = Self::new(versions);
        pair.run();
        for events in &mut pair.events {
            assert!(matches!(events.as_slice(), [Event::Connected(_)]), "{events:?}");
            events.clear();
        }
        pair
    }

    /// Carries datagrams to and fro until there are no more.
    fn run(&mut self) {
        let mut out = TransmitBuf::new(2048, 2048);
        let mut quiet = 0;
        while quiet < 2 {
            quiet += 1;
            for from in [CLIENT, SERVER] {
                while self.ends[from].poll_transmit(self.now, &mut out).is_some() {
                    quiet = 0;
                    let range = out.finish();
                    self.ends[1 - from].handle_packet(self.now, BytesMut::from(out.bytes(range)).into());
                    out.clear();
                }
                while let Some(event) = self.ends[from].poll_event() {
                    self.events[from].push(event);
                }
            }
        }
    }

    fn seal(&mut self, from: usize, data: &[u8]) -> Result<BytesMut, Error> {
        let mut out = TransmitBuf::new(2048, 2048);
        let (front, back) = self.ends[from].overhead();
        out.begin(front, back);
        out.put_slice(data);
        self.ends[from].seal(&mut out)?;
        let range = out.finish();
        Ok(BytesMut::from(out.bytes(range)))
    }

    fn data_passes(&mut self) {
        for from in [CLIENT, SERVER] {
            let record = self.seal(from, b"still there").unwrap();
            self.ends[1 - from].handle_packet(self.now, record.into());
            let event = self.ends[1 - from].poll_event();
            assert!(matches!(event, Some(Event::ApplicationData(packet)) if packet.data[..] == *b"still there"));
        }
    }
}

#[test]
fn the_mark_of_a_datagram_comes_with_its_data() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut pair = Pair::connected(versions);
        for ecn in [Ecn::Ce, Ecn::NotEct, Ecn::Ect0, Ecn::Ect1] {
            // Alone in its datagram, and two of them.
            let mut data = pair.seal(CLIENT, b"one").unwrap();
            pair.ends[SERVER].handle_packet(pair.now, Packet { ecn, data });
            data = pair.seal(CLIENT, b"two").unwrap();
            data.extend_from_slice(&pair.seal(CLIENT, b"three").unwrap());
            pair.ends[SERVER].handle_packet(pair.now, Packet { ecn, data });
            for expected in ["one", "two", "three"] {
                let event = pair.ends[SERVER].poll_event();
                let Some(Event::ApplicationData(packet)) = event else {
                    panic!("{event:?}");
                };
                assert_eq!((packet.ecn, &packet.data[..]), (ecn, expected.as_bytes()));
            }
        }
    }
}

#[test]
fn mend02_padding_goes_out_and_the_peer_never_sees_it() {
    let mut pair = Pair::connected(Versions::Dtls13);
    assert!(pair.ends[CLIENT].can_pad());
    for padding in [0, 1, 1000] {
        let mut out = TransmitBuf::new(2048, 2048);
        let (front, back) = pair.ends[CLIENT].overhead();
        out.begin(front, back);
        out.put_slice(b"a small probe");
        pair.ends[CLIENT].seal_padded(&mut out, padding).unwrap();
        assert_eq!(out.body().len(), front + b"a small probe".len() + padding + back);
        let range = out.finish();
        pair.ends[SERVER].handle_packet(pair.now, BytesMut::from(out.bytes(range)).into());
        let event = pair.ends[SERVER].poll_event();
        assert!(matches!(event, Some(Event::ApplicationData(packet)) if packet.data[..] == *b"a small probe"));
    }
    // DTLS 1.2 has none, and sends nothing instead.
    let mut pair = Pair::connected(Versions::Dtls12);
    let mut out = TransmitBuf::new(2048, 2048);
    let (front, back) = pair.ends[CLIENT].overhead();
    out.begin(front, back);
    out.put_slice(b"a small probe");
    assert!(!pair.ends[CLIENT].can_pad());
    assert!(pair.ends[CLIENT].seal_padded(&mut out, 1000).is_err());
    assert_eq!(out.body(), b"a small probe");
}

#[test]
fn renegotiation_is_refused_and_the_session_goes_on() {
    for asking in [CLIENT, SERVER] {
        let mut pair = Pair::connected(Versions::Dtls12);
        let kind = if asking == CLIENT {
            MessageType::CLIENT_HELLO
        } else {
            MessageType::HELLO_REQUEST
        };
        let layer = &mut pair.ends[asking].layer;
        layer.flight.begin(false);
        layer.send_unrecorded(kind, Vec::new());
        let mut out = TransmitBuf::new(2048, 2048);
        assert!(pair.ends[asking].poll_transmit(pair.now, &mut out).is_some());
        let range = out.finish();
        pair.ends[1 - asking].handle_packet(pair.now, BytesMut::from(out.bytes(range)).into());
        assert_eq!(
            pair.ends[1 - asking].layer.pending_alerts(),
            [Alert::warning(AlertDescription::NO_RENEGOTIATION)]
        );
        pair.run();
        assert!(pair.events.iter().all(Vec::is_empty), "{:?}", pair.events);
        pair.data_passes();
    }
}

/// RFC 9325 §4.4, RFC 9147 §4.5.3: rather no session than one whose key has done too much.
#[test]
fn a_worn_key_that_cannot_be_renewed_closes_the_connection() {
    for versions in [Versions::Dtls12, Versions::Dtls13] {
        let mut pair = Pair::connected(versions);
        // Three blocks for the first, two for the second.
        let epochs = &mut pair.ends[CLIENT].layer.epochs;
        epochs.write(epochs.sending()).unwrap().pretend_worn(LAST_BLOCKS + 5);
        assert!(pair.seal(CLIENT, b"the last but one").is_ok());
        assert!(pair.seal(CLIENT, b"the last").is_ok());
        assert_eq!(pair.seal(CLIENT, b"one too many").err(), Some(Error::Exhausted));
        assert_eq!(pair.seal(CLIENT, b"after the end").err(), Some(Error::NotConnected));
        pair.run();
        assert!(matches!(
            pair.events[CLIENT].as_slice(),
            [Event::Failed(Error::Exhausted)]
        ));
        assert!(
            matches!(
                pair.events[SERVER].as_slice(),
                [Event::Failed(Error::PeerAlert(AlertDescription::INTERNAL_ERROR))]
            ),
            "{:?}",
            pair.events[SERVER]
        );
    }
}

/// A path that is dead for minutes: the renewal of keys is asked for until somebody hears it.
#[test]
fn a_key_update_outlives_any_outage() {
    let mut pair = Pair::connected(Versions::Dtls13);
    pair.ends[CLIENT].update_keys().unwrap();
    let mut out = TransmitBuf::new(2048, 2048);
    for _ in 0..100 {
        while pair.ends[CLIENT].poll_transmit(pair.now, &mut out).is_some() {
            out.finish();
            out.clear();
        }
        pair.now = pair.ends[CLIENT].poll_timeout().expect("it goes on");
        pair.ends[CLIENT].handle_timeout(pair.now);
    }
    pair.run();
    assert_eq!(pair.ends[CLIENT].poll_timeout(), None);
    assert_eq!(pair.ends[CLIENT].layer.epochs.sending(), 4);
    pair.data_passes();
}

/// RFC 9147 §4: every form of the unified header that may come, and the one that may not.
#[test]
fn unified_headers_of_every_form() {
    for short_number in [false, true] {
        for with_length in [false, true] {
            for with_connection_id in [false, true] {
                let mut pair = Pair::connected(Versions::Dtls13);
                let mut first = 0b0010_0000 | 3;
                first |= if with_connection_id { 0b1_0000 } else { 0 };
                first |= if short_number { 0 } else { 0b1000 };
                first |= if with_length { 0b100 } else { 0 };
                let epochs = &mut pair.ends[CLIENT].layer.epochs;
                let record = epochs.write(epochs.sending()).unwrap().seal_with(first, b"any form");
                if with_length && !with_connection_id {
                    // Another record may follow in the datagram.
                    let mut both = record.clone();
                    both.extend_from_slice(&pair.seal(CLIENT, b"the next").unwrap());
                    pair.ends[SERVER].handle_packet(pair.now, both.into());
                } else {
                    pair.ends[SERVER].handle_packet(pair.now, record.into());
                }
                let mut data = Vec::new();
                while let Some(Event::ApplicationData(packet)) = pair.ends[SERVER].poll_event() {
                    data.push(packet.data.to_vec());
                }
                let form = format!("{first:08b}");
                match (with_connection_id, with_length) {
                    (true, _) => {
                        assert_eq!(data, [b""; 0], "{form}");
                        assert_eq!(pair.ends[SERVER].stats().dropped_malformed, 1, "{form}");
                    }
                    (false, true) => assert_eq!(data, [b"any form", b"the next"], "{form}"),
                    (false, false) => assert_eq!(data, [b"any form"], "{form}"),
                }
                pair.data_passes();
            }
        }
    }
    assert_eq!(UnifiedHeader::bytes(3, 0x1234, 0x100), [0x2f, 0x12, 0x34, 1, 0]);
}
