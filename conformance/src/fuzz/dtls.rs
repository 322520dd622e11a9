//! DTLS datagrams, handshake messages, and two connections whose crypto lets everything pass.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antiphon_crypto::null_provider;
use antiphon_dtls::{Certificate, Config, Connection, Event, HashAlgorithm, NamedGroup, Role, SrtpProfile, Versions};
use antiphon_netsim::Machine;
use antiphon_sansio::{BytesMut, Datagram, Rng, Transmit, TransmitBuf};

use super::pair::{self, End};

/// A throw-away key, the same in every run.
const CERTIFICATE: &str = include_str!("../../fixtures/fuzz/certificate.pem");

fn certificate() -> Arc<Certificate> {
    static PARSED: OnceLock<Arc<Certificate>> = OnceLock::new();
    PARSED
        .get_or_init(|| Arc::new(Certificate::from_pem(CERTIFICATE).expect("the fixture is sound")))
        .clone()
}

/// ML-KEM has no null: it is as slow as ever, and takes nearly all the time of a run. One run in sixteen has it.
fn groups(seldom: bool) -> Vec<NamedGroup> {
    let mut groups = NamedGroup::ALL.to_vec();
    groups.retain(|group| seldom || *group != NamedGroup::X25519MlKem768);
    groups
}

fn connection(role: Role, versions: Versions, with_kem: bool) -> Dtls {
    let certificate = certificate();
    let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
    let mut config = Config::new(certificate);
    config.provider = null_provider();
    config.srtp_profiles = vec![SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80];
    config.mtu = 300;
    config.versions = versions;
    config.groups = groups(with_kem);
    let label = if role == Role::Client { "client" } else { "server" };
    let mut connection = Connection::new(config, role, Rng::from_u64(1).fork(label));
    connection.set_remote_fingerprints(vec![fingerprint]);
    Dtls {
        connection,
        ended: false,
    }
}

pub(super) fn decode_record(data: &[u8]) {
    let now = antiphon_netsim::start();
    for (role, versions) in [
        (Role::Client, Versions::Dtls12),
        (Role::Server, Versions::Dtls12),
        (Role::Client, Versions::Dtls12And13),
        (Role::Server, Versions::Dtls12And13),
    ] {
        let mut end = connection(role, versions, data.len().is_multiple_of(16));
        let mut out = TransmitBuf::new(16 * 1200, 1200);
        for _ in 0..2 {
            end.connection.handle_packet(now, BytesMut::from(data).into());
            out.clear();
            while end.poll_transmit(now, &mut out).is_some() {
                out.clear();
            }
            while end.poll_event().is_some() {}
        }
    }
}

/// First byte: the role, whether messages come one to a datagram, whether DTLS 1.3 is allowed, and ML-KEM. Then messages: type, two bytes of length, body.
pub(super) fn decode_handshake(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let now = antiphon_netsim::start();
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let versions = if choice & 4 == 0 {
        Versions::Dtls12
    } else {
        Versions::Dtls12And13
    };
    let mut end = connection(role, versions, choice & 8 != 0);
    let mut out = TransmitBuf::new(16 * 1200, 1200);
    let mut datagram = Vec::new();
    for sequence in 0..16u8 {
        let Some((&[kind, high, low], after)) = rest.split_first_chunk::<3>() else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (body, after) = after.split_at(len);
        rest = after;
        let [_, high, low] = [0, (len >> 8) as u8, len as u8];
        let mut message = vec![kind, 0, high, low, 0, sequence, 0, 0, 0, 0, high, low];
        message.extend_from_slice(body);
        // Epoch 0, as everything before ChangeCipherSpec is (RFC 6347 §4.1).
        datagram.extend_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence]);
        datagram.extend_from_slice(&(message.len() as u16).to_be_bytes());
        datagram.append(&mut message);
        if choice & 2 == 0 {
            end.connection.handle_packet(now, BytesMut::from(&datagram[..]).into());
            datagram.clear();
        }
    }
    end.connection.handle_packet(now, BytesMut::from(&datagram[..]).into());
    while end.poll_transmit(now, &mut out).is_some() {
        out.clear();
    }
    while end.poll_event().is_some() {}
}

pub(super) fn machine(data: &[u8]) {
    both_ends(data, Versions::Dtls12);
}

pub(super) fn machine_13(data: &[u8]) {
    both_ends(data, Versions::Dtls13);
}

fn both_ends(data: &[u8], versions: Versions) {
    let now = antiphon_netsim::start();
    let ends = [Role::Client, Role::Server].map(|role| connection(role, versions, data.len().is_multiple_of(16)));
    pair::run(now, ends, &|_, _| (), data);
}

struct Dtls {
    connection: Connection,
    ended: bool,
}

impl Machine for Dtls {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.connection.handle_packet(now, datagram.into());
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.connection.poll_transmit(now, out)?;
        Some(pair::whole(out.finish()))
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.connection.poll_event();
        self.ended |= matches!(event, Some(Event::Closed | Event::Failed(_)));
        event
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    fn close(&mut self, _now: Instant) {
        self.connection.close();
    }

    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl End for Dtls {
    fn act(&mut self, _now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        match action % 7 {
            0 | 1 => {
                let mut out = TransmitBuf::new(1200, 1200);
                let (front, back) = self.connection.overhead();
                out.begin(front, back);
                out.put_zeros(usize::from(argument) * 4).fill(argument);
                self.connection.seal(&mut out).ok()?;
                let range = out.finish();
                return Some(out.bytes(range).to_vec());
            }
            2 => self.connection.set_mtu(256 + usize::from(argument) * 4),
            3 => self.connection.set_rtt(Duration::from_millis(u64::from(argument))),
            4 if argument > 200 => self.connection.close(),
            4 => {
                // Changing our mind about who the peer is may end the connection, no more.
                let other = certificate().fingerprint(HashAlgorithm::Sha384);
                self.connection.set_remote_fingerprints(vec![other]);
            }
            5 => {
                // Refused before the handshake is complete, and by DTLS 1.2.
                let _ = self.connection.update_keys();
            }
            _ => {
                let _ = self
                    .connection
                    .export_keying_material("EXTRACTOR-fuzz", None, usize::from(argument));
            }
        }
        None
    }
}
