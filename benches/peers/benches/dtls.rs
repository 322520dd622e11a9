//! DTLS: whole handshakes, both ends and every signature counted; each end checks the other's certificate.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use antiphon_bench_peers::{Contender, compare};
use antiphon_dtls::{
    Certificate, CertificateParams, CipherSuite, Config, Connection, Event, Fingerprint, HashAlgorithm, NamedGroup,
    Role, Versions,
};
use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use criterion::{Criterion, criterion_group, criterion_main};
use dimpl::{Dtls, DtlsCertificate, Output};

const ROUNDS: usize = 301;

fn ours(
    identity: &(Arc<Certificate>, Fingerprint),
    versions: Versions,
    group: NamedGroup,
    suite: CipherSuite,
    out: &mut TransmitBuf,
) {
    let now = Instant::now();
    let end = |role, seed| {
        let mut config = Config::new(identity.0.clone());
        config.versions = versions;
        config.groups = vec![group];
        config.cipher_suites = vec![suite];
        let mut connection = Connection::new(config, role, now, Rng::from_u64(seed));
        connection.set_remote_fingerprints(now, vec![identity.1.clone()]);
        connection
    };
    let mut ends = [end(Role::Client, 1), end(Role::Server, 2)];
    let mut connected = 0;
    while connected < 2 {
        for from in [0, 1] {
            let [client, server] = &mut ends;
            let (from, to) = if from == 0 { (client, server) } else { (server, client) };
            while from.poll_transmit(now, out) {
                let range = out.finish();
                to.handle_datagram(now, BytesMut::from(out.bytes(range)));
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
    black_box(ends);
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
            ours(identity, versions, group, suite, &mut out)
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

criterion_group!(benches, handshakes);
criterion_main!(benches);
