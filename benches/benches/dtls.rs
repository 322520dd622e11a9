//! DTLS: whole handshakes, both ends and every signature counted, and single records beside the bare AEAD.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use antiphon_crypto::{AeadAlgorithm, ring_provider};
use antiphon_dtls::{
    Certificate, CertificateParams, CipherSuite, Config, Connection, Event, Fingerprint, HashAlgorithm, NamedGroup,
    Role, Versions,
};
use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SIZE: usize = 1200;

struct Pair {
    client: Connection,
    server: Connection,
    now: Instant,
}

/// What both ends keep from call to call.
struct Identity {
    certificate: Arc<Certificate>,
    fingerprint: Fingerprint,
}

impl Identity {
    fn new() -> Self {
        let certificate = Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
        let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
        Self {
            certificate,
            fingerprint,
        }
    }
}

impl Pair {
    fn new(identity: &Identity, versions: Versions, group: NamedGroup, suite: CipherSuite) -> Self {
        let now = Instant::now();
        let end = |role, seed| {
            let mut config = Config::new(identity.certificate.clone());
            config.versions = versions;
            config.groups = vec![group];
            config.cipher_suites = vec![suite];
            let mut connection = Connection::new(config, role, Rng::from_u64(seed));
            connection.set_remote_fingerprints(vec![identity.fingerprint.clone()]);
            connection
        };
        Self {
            client: end(Role::Client, 1),
            server: end(Role::Server, 2),
            now,
        }
    }

    /// Runs the handshake to its end at both ends.
    fn connect(&mut self, out: &mut TransmitBuf) {
        out.clear();
        let mut connected = 0;
        while connected < 2 {
            for from_client in [true, false] {
                let (from, to) = if from_client {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                while from.poll_transmit(self.now, out).is_some() {
                    let range = out.finish();
                    to.handle_packet(self.now, BytesMut::from(out.bytes(range)).into());
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
    }
}

fn handshakes(c: &mut Criterion) {
    let identity = Identity::new();
    let mut out = TransmitBuf::new(1500, 1500);
    let mut group = c.benchmark_group("dtls/handshake, both ends");
    for (name, versions, named_group, suite) in [
        (
            "1.2 X25519",
            Versions::Dtls12,
            NamedGroup::X25519,
            CipherSuite::EcdheEcdsaAes128GcmSha256,
        ),
        (
            "1.3 X25519",
            Versions::Dtls13,
            NamedGroup::X25519,
            CipherSuite::Aes128GcmSha256,
        ),
        (
            "1.3 X25519MLKEM768",
            Versions::Dtls13,
            NamedGroup::X25519MlKem768,
            CipherSuite::Aes128GcmSha256,
        ),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut pair = Pair::new(&identity, versions, named_group, suite);
                pair.connect(&mut out);
                black_box(pair.client.stats())
            });
        });
    }
    group.finish();
}

fn records(c: &mut Criterion) {
    let identity = Identity::new();
    let mut group = c.benchmark_group(format!("dtls/record/{SIZE}"));
    group.throughput(Throughput::Bytes(SIZE as u64));

    let key = ring_provider().aead(AeadAlgorithm::Aes128Gcm, &[1; 16]).unwrap();
    let mut data = vec![0; SIZE];
    group.bench_function("bare AES-128-GCM seal", |b| {
        b.iter(|| key.seal(&[2; 12], &[3; 13], black_box(&mut data)));
    });

    for (name, versions, suite) in [
        ("1.2", Versions::Dtls12, CipherSuite::EcdheEcdsaAes128GcmSha256),
        ("1.3", Versions::Dtls13, CipherSuite::Aes128GcmSha256),
    ] {
        let mut out = TransmitBuf::new(1500, 1500);
        let payload = [0; SIZE];
        let connect = |out: &mut TransmitBuf| {
            let mut pair = Pair::new(&identity, versions, NamedGroup::X25519, suite);
            pair.connect(out);
            pair
        };
        let seal = |connection: &mut Connection, out: &mut TransmitBuf| {
            out.clear();
            let (front, back) = connection.overhead();
            out.begin(front, back);
            out.put_slice(&payload);
            connection.seal(out).unwrap();
            out.finish()
        };

        let mut pair = connect(&mut out);
        let mut sealed = 0u32;
        group.bench_function(format!("{name} seal, with a copy"), |b| {
            b.iter(|| {
                // Fresh keys before these are worn out: nobody acknowledges the renewal here.
                sealed += 1;
                if sealed.is_multiple_of(1 << 22) {
                    pair = connect(&mut out);
                }
                black_box(seal(&mut pair.client, &mut out))
            });
        });

        let mut pair = connect(&mut out);
        group.bench_function(format!("{name} open"), |b| {
            b.iter_batched(
                || {
                    let range = seal(&mut pair.client, &mut out);
                    BytesMut::from(out.bytes(range))
                },
                |datagram| {
                    pair.server.handle_packet(pair.now, datagram.into());
                    match pair.server.poll_event() {
                        Some(Event::ApplicationData(packet)) => packet.data,
                        other => panic!("{other:?}"),
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, handshakes, records);
criterion_main!(benches);
