//! What a DTLS record costs beside the bare AEAD of the same provider, and a handshake of both ends: rounds that take turns, so
//! that a machine which does other things meanwhile slows all of them alike. Medians of all rounds.
//!
//! `cargo run --release -p antiphon-benches --example dtls_rounds`
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use antiphon_crypto::{AeadAlgorithm, AeadKey, ring_provider};
use antiphon_dtls::{
    Certificate, CertificateParams, Config, Connection, Event, Fingerprint, HashAlgorithm, NamedGroup, Role, Versions,
};
use antiphon_sansio::{BytesMut, Rng, TransmitBuf};

const SIZE: usize = 1200;
const BATCH: usize = 128;
const ROUNDS: usize = 600;
const HANDSHAKE_ROUNDS: usize = 300;

struct Identity {
    certificate: Arc<Certificate>,
    fingerprint: Fingerprint,
}

struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
}

impl Pair {
    fn new(identity: &Identity, versions: Versions, group: NamedGroup) -> Self {
        let now = Instant::now();
        let end = |role, seed| {
            let mut config = Config::new(identity.certificate.clone());
            config.versions = versions;
            config.groups = vec![group];
            let mut connection = Connection::new(config, role, now, Rng::from_u64(seed));
            connection.set_remote_fingerprints(now, vec![identity.fingerprint.clone()]);
            connection
        };
        Self {
            client: end(Role::Client, 1),
            server: end(Role::Server, 2),
            now,
        }
    }

    fn connect(mut self, out: &mut TransmitBuf) -> Self {
        out.clear();
        let mut connected = 0;
        while connected < 2 {
            for from_client in [true, false] {
                let (from, to) = if from_client {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                while from.poll_transmit(self.now, out) {
                    let range = out.finish();
                    to.handle_datagram(self.now, BytesMut::from(out.bytes(range)));
                    out.clear();
                }
                while let Some(event) = from.poll_event() {
                    match event {
                        Event::Connected(_) => connected += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        self
    }
}

/// Nanoseconds for each of a batch.
fn timed(batch: usize, mut body: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..batch {
        body();
    }
    began.elapsed().as_nanos() as f64 / batch as f64
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Segments of 1200 bytes as SCTP leaves them, each made a record.
fn seal_with(out: &mut TransmitBuf, payload: &[u8], room: (usize, usize), seal: &mut dyn FnMut(&mut TransmitBuf)) {
    out.clear();
    out.begin(room.0, room.1);
    out.put_slice(payload);
    seal(out);
    black_box(out.finish());
}

/// Datagrams as a driver has them: cut from one batch.
fn datagrams(batch: &mut BytesMut, records: impl Iterator<Item = Vec<u8>>) -> Vec<BytesMut> {
    let records: Vec<_> = records.collect();
    // Takes the memory of the last batch again, all of which has been dropped.
    batch.reserve(records.iter().map(Vec::len).sum());
    for record in &records {
        batch.extend_from_slice(record);
    }
    records.iter().map(|record| batch.split_to(record.len())).collect()
}

fn main() {
    let certificate = Arc::new(Certificate::generate(&CertificateParams::default()).expect("a certificate"));
    let identity = Identity {
        fingerprint: certificate.fingerprint(HashAlgorithm::Sha256),
        certificate,
    };
    let mut out = TransmitBuf::new(1500, 1500);
    let mut batch = BytesMut::new();
    let payload = vec![7; SIZE];
    let key: Box<dyn AeadKey> = ring_provider().aead(AeadAlgorithm::Aes128Gcm, &[1; 16]).expect("a key");
    let mut pairs = [Versions::Dtls12, Versions::Dtls13]
        .map(|versions| Pair::new(&identity, versions, NamedGroup::X25519).connect(&mut out));
    for pair in &pairs {
        assert!(pair.client.overhead().0 > 0, "AES-128-GCM in either version");
    }

    // A record of DTLS 1.3 encrypts its content type behind the data.
    let longer = vec![7; SIZE + 1];
    let mut times: [Vec<f64>; 10] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(timed(BATCH, || {
            seal_with(&mut out, &payload, (21, 16), &mut |out| {
                let tag = key.seal(&[2; 12], &[3; 13], out.body_mut());
                out.append(&tag);
            });
        }));
        times[8].push(timed(BATCH, || {
            seal_with(&mut out, &longer, (5, 16), &mut |out| {
                let tag = key.seal(&[2; 12], &[3; 5], out.body_mut());
                out.append(&tag);
            });
        }));
        for (at, pair) in pairs.iter_mut().enumerate() {
            let room = pair.client.overhead();
            times[1 + at].push(timed(BATCH, || {
                seal_with(&mut out, &payload, room, &mut |out| {
                    pair.client.seal(out).expect("sealed")
                });
            }));
        }
        times[7].push(timed(BATCH, || {
            seal_with(&mut out, &payload, (13, 16), &mut |out| out.append(&[0; 16]));
        }));

        // Behind as many bytes as the header has, so that the same bytes lie across the same cache lines.
        for (at, front, plain) in [(3, 21, &payload), (9, 5, &longer)] {
            let bare = (0..BATCH).map(|_| {
                let mut data = vec![0; front];
                data.extend_from_slice(plain);
                let tag = key.seal(&[2; 12], &[3; 13], &mut data[front..]);
                data.extend_from_slice(&tag);
                data
            });
            let bare = datagrams(&mut batch, bare);
            let mut next = bare.into_iter();
            let mut opened = Vec::with_capacity(BATCH);
            times[at].push(timed(BATCH, || {
                if let Some(mut data) = next.next() {
                    let len = key.open(&[2; 12], &[3; 13], &mut data[front..]).expect("opened");
                    data.truncate(len);
                    opened.push(Some(data));
                }
            }));
            black_box(opened);
        }
        for (at, pair) in pairs.iter_mut().enumerate() {
            let mut records = Vec::new();
            for _ in 0..BATCH {
                let room = pair.client.overhead();
                out.clear();
                out.begin(room.0, room.1);
                out.put_slice(&payload);
                pair.client.seal(&mut out).expect("sealed");
                let range = out.finish();
                records.push(out.bytes(range).to_vec());
            }
            let mut next = datagrams(&mut batch, records.into_iter()).into_iter();
            let mut opened = Vec::with_capacity(BATCH);
            times[4 + at].push(timed(BATCH, || {
                if let Some(data) = next.next() {
                    pair.server.handle_datagram(pair.now, data);
                    opened.push(pair.server.poll_event());
                }
            }));
            assert!(matches!(opened.last(), Some(Some(Event::ApplicationData(data))) if data.len() == SIZE));
        }
    }
    let medians = times
        .each_mut()
        .map(|samples| if samples.is_empty() { 0.0 } else { median(samples) });
    println!(
        "AES-128-GCM by ring, {SIZE} bytes, {ROUNDS} rounds of {BATCH}; the copy into the segment, {:.0} ns, is in each seal",
        medians[7]
    );
    // Beside the AEAD over what the record encrypts: one byte more in DTLS 1.3, which costs more than the byte.
    for (name, at, bare) in [
        ("seal, the bare AEAD", 0, 0),
        ("seal, DTLS 1.2", 1, 0),
        ("seal, the bare AEAD, one byte more", 8, 8),
        ("seal, DTLS 1.3", 2, 8),
        ("open, the bare AEAD", 3, 3),
        ("open, DTLS 1.2", 4, 3),
        ("open, the bare AEAD, one byte more", 9, 9),
        ("open, DTLS 1.3", 5, 9),
    ] {
        let ratio = medians[at] / medians[bare];
        println!("{name:36} {:6.0} ns  {ratio:5.2} of the bare AEAD", medians[at]);
    }

    let kinds = [
        ("1.2 X25519", Versions::Dtls12, NamedGroup::X25519),
        ("1.3 X25519", Versions::Dtls13, NamedGroup::X25519),
        ("1.3 X25519MLKEM768", Versions::Dtls13, NamedGroup::X25519MlKem768),
    ];
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..HANDSHAKE_ROUNDS {
        for (at, (_, versions, group)) in kinds.iter().enumerate() {
            times[at].push(timed(4, || {
                black_box(Pair::new(&identity, *versions, *group).connect(&mut out));
            }));
        }
    }
    for ((name, ..), samples) in kinds.iter().zip(&mut times) {
        let time = median(samples) / 1000.0;
        println!(
            "handshake {name:20} {time:6.0} us for both ends, {:6.0} a second",
            1e6 / time
        );
    }
}
