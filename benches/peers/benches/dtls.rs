//! DTLS: whole handshakes, both ends and every signature counted; each end checks the other's certificate. Then records beside the
//! bare AEAD of the same provider, copied into the segment and cut from a batch in the same way.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_bench_peers::{Contender, compare};
use antiphon_crypto::{AeadAlgorithm, AeadKey, ring_provider};
use antiphon_dtls::{
    Certificate, CertificateParams, CipherSuite, Config, Connection, Event, Fingerprint, HashAlgorithm, NamedGroup,
    Role, Versions,
};
use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use criterion::{Criterion, criterion_group, criterion_main};
use dimpl::{Dtls, DtlsCertificate, Output};

const ROUNDS: usize = 301;
const SIZE: usize = 1200;
const BATCH: usize = 128;
const RECORD_ROUNDS: usize = 601;

/// Both ends of a connection, client first, when each says that it is connected.
fn ours(
    identity: &(Arc<Certificate>, Fingerprint),
    versions: Versions,
    group: NamedGroup,
    suite: CipherSuite,
    out: &mut TransmitBuf,
) -> [Connection; 2] {
    let now = Instant::now();
    let end = |role, seed| {
        let mut config = Config::new(identity.0.clone());
        config.versions = versions;
        config.groups = vec![group];
        config.cipher_suites = vec![suite];
        let mut connection = Connection::new(config, role, Rng::from_u64(seed));
        connection.set_remote_fingerprints(vec![identity.1.clone()]);
        connection
    };
    let mut ends = [end(Role::Client, 1), end(Role::Server, 2)];
    let mut connected = 0;
    while connected < 2 {
        for from in [0, 1] {
            let [client, server] = &mut ends;
            let (from, to) = if from == 0 { (client, server) } else { (server, client) };
            while from.poll_transmit(now, out).is_some() {
                let range = out.finish();
                to.handle_packet(now, BytesMut::from(out.bytes(range)).into());
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
    ends
}

fn theirs(config: &Arc<dimpl::Config>, certificate: &DtlsCertificate, thirteen: bool, buffer: &mut [u8]) {
    let now = Instant::now();
    let make = if thirteen { Dtls::new_13 } else { Dtls::new_12 };
    let mut ends = [
        make(config.clone(), certificate.clone(), now),
        make(config.clone(), certificate.clone(), now),
    ];
    ends[0].set_active(true);
    ends[0].handle_timeout(now).unwrap();
    ends[1].handle_timeout(now).unwrap();
    let mut connected = [false; 2];
    for _ in 0..40 {
        for from in [0, 1] {
            let [client, server] = &mut ends;
            let (source, sink) = if from == 0 { (client, server) } else { (server, client) };
            loop {
                match source.poll_output(buffer) {
                    Output::Packet(packet) => sink.handle_packet(packet).unwrap(),
                    Output::Connected => connected[from] = true,
                    Output::PeerCert(der) => assert_eq!(der, &certificate.certificate[..]),
                    Output::Timeout(_) => break,
                    _ => {}
                }
            }
        }
        if connected == [true; 2] {
            black_box(ends);
            return;
        }
    }
    panic!("no connection");
}

fn handshakes(c: &mut Criterion) {
    let certificate = Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
    let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
    let identity = &(certificate, fingerprint);
    let generated = &dimpl::certificate::generate_self_signed_certificate().unwrap();
    let config = &Arc::new(
        dimpl::Config::builder()
            .kx_groups(&[dimpl::NamedGroup::X25519])
            .use_server_cookie(false)
            .build()
            .unwrap(),
    );
    let mut rows = Vec::new();
    for (name, versions, group, suite) in [
        (
            "antiphon-dtls 1.2, X25519",
            Versions::Dtls12,
            NamedGroup::X25519,
            CipherSuite::EcdheEcdsaAes128GcmSha256,
        ),
        (
            "antiphon-dtls 1.3, X25519",
            Versions::Dtls13,
            NamedGroup::X25519,
            CipherSuite::Aes128GcmSha256,
        ),
        (
            "antiphon-dtls 1.3, X25519MLKEM768",
            Versions::Dtls13,
            NamedGroup::X25519MlKem768,
            CipherSuite::Aes128GcmSha256,
        ),
    ] {
        let mut out = TransmitBuf::new(1500, 1500);
        rows.push(Contender::timed(name, move || {
            black_box(ours(identity, versions, group, suite, &mut out));
        }));
    }
    for (name, thirteen) in [
        ("dimpl 1.2, X25519, no cookie", false),
        ("dimpl 1.3, X25519, no cookie", true),
    ] {
        let mut buffer = vec![0; 4096];
        rows.push(Contender::timed(name, move || {
            theirs(config, generated, thirteen, &mut buffer)
        }));
    }
    compare(c, "dtls/handshake, both ends", 1, 0, ROUNDS, rows);
}

/// Datagrams as a driver has them: cut from one batch, whose memory is taken again when all of them have been dropped.
fn datagrams(batch: &mut BytesMut, records: &[Vec<u8>]) -> Vec<BytesMut> {
    batch.reserve(records.iter().map(Vec::len).sum());
    for record in records {
        batch.extend_from_slice(record);
    }
    records.iter().map(|record| batch.split_to(record.len())).collect()
}

/// The work of one round: 1200 bytes into a segment, made a record by `seal`, `BATCH` times.
fn sealing(room: (usize, usize), len: usize, mut seal: impl FnMut(&mut TransmitBuf)) -> impl FnMut() {
    let payload = vec![7; len];
    let mut out = TransmitBuf::new(1500, 1500);
    move || {
        for _ in 0..BATCH {
            out.clear();
            out.begin(room.0, room.1);
            out.put_slice(&payload);
            seal(&mut out);
            black_box(out.finish());
        }
    }
}

/// One round: `open` takes each of the datagrams, and its outcome is kept, as a queue would keep it.
fn opening<T>(datagrams: Vec<BytesMut>, mut open: impl FnMut(BytesMut) -> T) -> Duration {
    let mut opened = Vec::with_capacity(datagrams.len());
    let start = Instant::now();
    for datagram in datagrams {
        opened.push(open(datagram));
    }
    let took = start.elapsed();
    black_box(opened);
    took
}

/// What a record adds to the AEAD. One of DTLS 1.3 encrypts its content type with the data, so the AEAD beside it has one byte more;
/// the plaintexts begin where the record's do, so that the same bytes lie across the same cache lines.
fn records(c: &mut Criterion) {
    let certificate = Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
    let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
    let identity = &(certificate, fingerprint);
    let key: &dyn AeadKey = &*ring_provider().aead(AeadAlgorithm::Aes128Gcm, &[1; 16]).unwrap();
    let (nonce, aad) = (&[2; 12], &[3; 13]);
    for (version, versions, suite, front, len, aad) in [
        (
            "1.2",
            Versions::Dtls12,
            CipherSuite::EcdheEcdsaAes128GcmSha256,
            21,
            SIZE,
            &aad[..],
        ),
        (
            "1.3",
            Versions::Dtls13,
            CipherSuite::Aes128GcmSha256,
            5,
            SIZE + 1,
            &aad[..5],
        ),
    ] {
        let mut out = TransmitBuf::new(1500, 1500);
        let connected = |out: &mut TransmitBuf| ours(identity, versions, NamedGroup::X25519, suite, out);
        let [mut client, _server] = connected(&mut out);
        let rows = vec![
            Contender::timed(
                "the bare AEAD",
                sealing((front, 16), len, |out| {
                    let tag = key.seal(nonce, aad, out.body_mut());
                    out.append(&tag);
                }),
            ),
            Contender::timed(
                "antiphon-dtls",
                sealing(client.overhead(), SIZE, |out| client.seal(out).unwrap()),
            ),
        ];
        let group = format!("dtls/{version} record sealed");
        compare(c, &group, BATCH as u64, SIZE as u64, RECORD_ROUNDS, rows);

        let [mut client, mut server] = connected(&mut out);
        let (mut bare_batch, mut batch) = (BytesMut::new(), BytesMut::new());
        let mut sealed = vec![7; front + len];
        let tag = key.seal(nonce, aad, &mut sealed[front..]);
        sealed.extend_from_slice(&tag);
        let sealed = vec![sealed; BATCH];
        let rows = vec![
            Contender::new("the bare AEAD", move || {
                opening(datagrams(&mut bare_batch, &sealed), |mut data| {
                    let plain = key.open(nonce, aad, &mut data[front..]).unwrap();
                    data.truncate(front + plain);
                    data
                })
            }),
            Contender::new("antiphon-dtls", move || {
                let now = Instant::now();
                let records: Vec<Vec<u8>> = (0..BATCH)
                    .map(|_| {
                        let room = client.overhead();
                        out.clear();
                        out.begin(room.0, room.1);
                        out.put_slice(&[7; SIZE]);
                        client.seal(&mut out).unwrap();
                        let range = out.finish();
                        out.bytes(range).to_vec()
                    })
                    .collect();
                opening(datagrams(&mut batch, &records), |datagram| {
                    server.handle_packet(now, datagram.into());
                    match server.poll_event() {
                        Some(Event::ApplicationData(packet)) if packet.data.len() == SIZE => packet.data,
                        other => panic!("{other:?}"),
                    }
                })
            }),
        ];
        let group = format!("dtls/{version} record opened");
        compare(c, &group, BATCH as u64, SIZE as u64, RECORD_ROUNDS, rows);
    }
}

criterion_group!(benches, handshakes, records);
criterion_main!(benches);
