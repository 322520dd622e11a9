//! Handshakes with the system's OpenSSL in both roles: every suite that it can be asked for, certificates of every kind,
//! with and without fragmentation. Needs the `openssl` command; prints one line per case and fails if one fails.
//!
//! `cargo run -p antiphon-dtls --example openssl_peer`

// A crate that knows no socket and no clock meets a program that does: this file is the driver.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, missing_docs)]

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_dtls::{
    Certificate, CertificateParams, CipherSuite, Config, Connected, Connection, Event, Fingerprint, HashAlgorithm,
    KeyAlgorithm, NamedGroup, Role, SrtpProfile, Versions,
};
use antiphon_sansio::{Rng, TransmitBuf};
use bytes::BytesMut;

type Outcome<T> = Result<T, Box<dyn Error>>;

const TO_OPENSSL: &[u8] = b"hello from antiphon\n";
const FROM_OPENSSL: &[u8] = b"hello from openssl\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// The peer's certificate files.
struct Identity {
    name: &'static str,
    certificate: PathBuf,
    key: PathBuf,
    fingerprint: Fingerprint,
}

/// Our certificate.
struct Own {
    name: &'static str,
    certificate: Arc<Certificate>,
}

struct Case<'a> {
    role: Role,
    suite: CipherSuite,
    openssl_cipher: &'a str,
    own: &'a Own,
    identity: &'a Identity,
    profile: SrtpProfile,
    group: NamedGroup,
    mtu: usize,
    /// We offer DTLS 1.3 beside 1.2, which OpenSSL 3.0 does not have: two datagrams of ClientHello, and a fall-back.
    with_13: bool,
}

const ECDSA: [(CipherSuite, &str); 3] = [
    (CipherSuite::EcdheEcdsaAes128GcmSha256, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (CipherSuite::EcdheEcdsaAes256GcmSha384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
];
const RSA: [(CipherSuite, &str); 3] = [
    (CipherSuite::EcdheRsaAes128GcmSha256, "ECDHE-RSA-AES128-GCM-SHA256"),
    (CipherSuite::EcdheRsaAes256GcmSha384, "ECDHE-RSA-AES256-GCM-SHA384"),
    (
        CipherSuite::EcdheRsaChacha20Poly1305Sha256,
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

fn main() -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("antiphon-openssl-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = run_all(&folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn run_all(folder: &Path) -> Outcome<()> {
    let ec = |curve| ["-newkey", "ec", "-pkeyopt", curve];
    let theirs = [
        identity(folder, "P-256", &ec("ec_paramgen_curve:P-256"))?,
        identity(folder, "P-384", &ec("ec_paramgen_curve:P-384"))?,
        identity(folder, "Ed25519", &["-newkey", "ed25519"])?,
        identity(folder, "RSA-2048", &["-newkey", "rsa:2048"])?,
    ];
    let own = [
        own("P-256", KeyAlgorithm::EcdsaP256)?,
        own("P-384", KeyAlgorithm::EcdsaP384)?,
        own("Ed25519", KeyAlgorithm::Ed25519)?,
        own_rsa(folder)?,
    ];
    let cases = cases(&own, &theirs);
    println!("| we are | suite | group | SRTP | our certificate | theirs | MTU | outcome |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut failures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let outcome = run(case, index as u64);
        let shown = match &outcome {
            Ok(bytes) => format!("ok: {bytes} bytes of keys equal, data both ways"),
            Err(_) => "FAILED".to_owned(),
        };
        let label = format!(
            "{:?} | {} | {:?} | {:?} | {} | {} | {}{}",
            case.role,
            case.openssl_cipher,
            case.group,
            case.profile,
            case.own.name,
            case.identity.name,
            case.mtu,
            if case.with_13 { ", 1.3 on offer" } else { "" }
        );
        println!("| {label} | {shown} |");
        if let Err(error) = outcome {
            failures.push(format!("{label}: {error}"));
        }
    }
    println!("{} of {} cases passed", cases.len() - failures.len(), cases.len());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n").into())
    }
}

/// Each suite with each certificate that can sign for it, in both roles; the end that signs no key exchange shows each
/// certificate in turn. Then, one by one, what else may differ.
fn cases<'a>(own: &'a [Own; 4], theirs: &'a [Identity; 4]) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for role in [Role::Client, Role::Server] {
        let usual = |suite: (CipherSuite, &'static str), server: usize, client: usize| {
            let (ours, openssl) = match role {
                Role::Client => (client, server),
                Role::Server => (server, client),
            };
            Case {
                role,
                suite: suite.0,
                openssl_cipher: suite.1,
                own: &own[ours],
                identity: &theirs[openssl],
                profile: SrtpProfile::AeadAes128Gcm,
                group: NamedGroup::X25519,
                mtu: 1200,
                with_13: false,
            }
        };
        // OpenSSL 3.0's DTLS server has no cipher for its own Ed25519 key, whoever the client is: it looks for the version
        // number of TLS 1.2 before it allows one. As DTLS client it does take and show Ed25519.
        let signers = if role == Role::Client { 0..2 } else { 0..3 };
        for suite in ECDSA {
            for server in signers.clone() {
                cases.push(usual(suite, server, cases.len() % 4));
            }
        }
        for suite in RSA {
            cases.push(usual(suite, 3, cases.len() % 4));
        }
        let plain = || usual(ECDSA[0], 0, 0);
        for profile in [SrtpProfile::Aes128CmSha1_80, SrtpProfile::AeadAes256Gcm] {
            cases.push(Case { profile, ..plain() });
        }
        for group in [NamedGroup::Secp256r1, NamedGroup::Secp384r1] {
            cases.push(Case { group, ..plain() });
        }
        cases.push(Case {
            with_13: true,
            ..plain()
        });
        for mtu in [256, 512] {
            cases.push(Case { mtu, ..plain() });
        }
    }
    cases
}

fn own(name: &'static str, algorithm: KeyAlgorithm) -> Outcome<Own> {
    let certificate = Certificate::generate(&CertificateParams {
        algorithm,
        ..Default::default()
    })?;
    Ok(Own {
        name,
        certificate: Arc::new(certificate),
    })
}

/// An RSA key comes by PEM only, as OpenSSL writes it.
fn own_rsa(folder: &Path) -> Outcome<Own> {
    let made = identity(folder, "own-rsa", &["-newkey", "rsa:2048"])?;
    let pem = std::fs::read_to_string(made.certificate)? + &std::fs::read_to_string(made.key)?;
    Ok(Own {
        name: "RSA-2048",
        certificate: Arc::new(Certificate::from_pem(&pem)?),
    })
}

fn identity(folder: &Path, name: &'static str, kind: &[&str]) -> Outcome<Identity> {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=openssl"])
        .args(kind)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into());
    }
    let der = pem::parse(std::fs::read(&certificate)?)?;
    Ok(Identity {
        name,
        certificate,
        key,
        fingerprint: Fingerprint::of(HashAlgorithm::Sha256, der.contents()),
    })
}

/// A child that does not outlive us, and what it prints.
struct Openssl {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Openssl {
    fn start(case: &Case<'_>, port: u16, material: usize) -> Outcome<Self> {
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("openssl");
        match case.role {
            Role::Client => command.args([
                "s_server",
                "-accept",
                &address,
                "-Verify",
                "1",
                "-mtu",
                &case.mtu.to_string(),
            ]),
            Role::Server => command.args(["s_client", "-connect", &address, "-mtu", &case.mtu.to_string()]),
        };
        let profile = match case.profile {
            SrtpProfile::Aes128CmSha1_80 => "SRTP_AES128_CM_SHA1_80",
            other => other.name(),
        };
        let mut child = command
            .args(["-dtls1_2", "-use_srtp", profile, "-cipher", case.openssl_cipher])
            // In TLS 1.2 the list also says which curves certificates may be on (RFC 8422 §5.1), so it names all.
            .args(["-groups", "X25519:P-256:P-384"])
            .args([
                "-keymatexport",
                "EXTRACTOR-dtls_srtp",
                "-keymatexportlen",
                &material.to_string(),
            ])
            .arg("-cert")
            .arg(&case.identity.certificate)
            .arg("-key")
            .arg(&case.identity.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>),
            child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>),
        ];
        for mut stream in streams.into_iter().flatten() {
            let output = output.clone();
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut chunk) {
                    if let Ok(mut output) = output.lock() {
                        output.extend_from_slice(&chunk[..len]);
                    }
                }
            });
        }
        Ok(Self { child, output })
    }

    fn says(&self, text: &[u8]) -> bool {
        self.output
            .lock()
            .is_ok_and(|output| output.windows(text.len()).any(|window| window == text))
    }

    fn everything(&self) -> String {
        self.output
            .lock()
            .map(|output| String::from_utf8_lossy(&output).into_owned())
            .unwrap_or_default()
    }
}

fn run(case: &Case<'_>, seed: u64) -> Outcome<usize> {
    let mut config = Config::new(case.own.certificate.clone());
    config.cipher_suites = vec![CipherSuite::Aes128GcmSha256, case.suite];
    if case.with_13 {
        config.versions = Versions::Dtls12And13;
    }
    config.mtu = case.mtu;
    config.groups.sort_by_key(|group| *group != case.group);
    let material = 2 * (case.profile.key_len() + case.profile.salt_len());

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (mut openssl, mut peer): (Openssl, Option<SocketAddr>);
    match case.role {
        Role::Client => {
            // A port that was free a moment ago.
            let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
            openssl = Openssl::start(case, port, material)?;
            let began = Instant::now();
            while !openssl.says(b"ACCEPT") && began.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            peer = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        Role::Server => {
            openssl = Openssl::start(case, socket.local_addr()?.port(), material)?;
            peer = None;
        }
    }

    let began = Instant::now();
    let mut connection = Connection::new(config, case.role, Rng::from_u64(seed));
    connection.set_remote_fingerprints(vec![case.identity.fingerprint.clone()]);
    let mut out = TransmitBuf::new(4096, 1500);
    let mut connected: Option<Box<Connected>> = None;
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let now = Instant::now();
        if now - began > PATIENCE {
            return Err(format!("timed out, {connection:?}\n{}", openssl.everything()).into());
        }
        while let Some(peer) = peer.filter(|_| connection.poll_transmit(Instant::now(), &mut out).is_some()) {
            let range = out.finish();
            socket.send_to(out.bytes(range), peer)?;
            out.clear();
        }
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Connected(with) => {
                    connected = Some(with);
                    let (front, back) = connection.overhead();
                    out.begin(front, back);
                    out.put_slice(TO_OPENSSL);
                    connection.seal(&mut out)?;
                    let range = out.finish();
                    socket.send_to(out.bytes(range), peer.ok_or("no peer")?)?;
                    out.clear();
                    openssl
                        .child
                        .stdin
                        .as_mut()
                        .ok_or("no stdin")?
                        .write_all(FROM_OPENSSL)?;
                }
                Event::ApplicationData(data) => received.extend_from_slice(&data.data),
                other => return Err(format!("{other:?}\n{}", openssl.everything()).into()),
            }
        }
        if let Some(connected) = &connected
            && received == FROM_OPENSSL
            && openssl.says(TO_OPENSSL)
        {
            let expected = keying_material(case.role, connected)?;
            if !openssl.says(expected.as_bytes()) {
                return Err(format!("keying material differs, expected {expected}\n{}", openssl.everything()).into());
            }
            if connected.cipher_suite != case.suite || connected.group != case.group {
                return Err(format!("agreed on {connected:?}").into());
            }
            break;
        }
        let wait = connection
            .poll_timeout()
            .map_or(PATIENCE, |at| at.saturating_duration_since(now));
        socket.set_read_timeout(Some(wait.clamp(Duration::from_millis(1), Duration::from_millis(50))))?;
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            peer.get_or_insert(from);
            connection.handle_packet(Instant::now(), BytesMut::from(&buffer[..len]).into());
        }
        connection.handle_timeout(Instant::now());
    }
    // close_notify: OpenSSL answers with its own.
    connection.close();
    while let Some(peer) = peer.filter(|_| connection.poll_transmit(Instant::now(), &mut out).is_some()) {
        let range = out.finish();
        socket.send_to(out.bytes(range), peer)?;
        out.clear();
    }
    Ok(material)
}

/// The keys as OpenSSL prints them: client key, server key, client salt, server salt.
fn keying_material(role: Role, connected: &Connected) -> Outcome<String> {
    let keys = connected.srtp.as_ref().ok_or("no SRTP profile was agreed on")?;
    let (client, server) = match role {
        Role::Client => (
            (&keys.local_key, &keys.local_salt),
            (&keys.remote_key, &keys.remote_salt),
        ),
        Role::Server => (
            (&keys.remote_key, &keys.remote_salt),
            (&keys.local_key, &keys.local_salt),
        ),
    };
    let parts = [client.0, server.0, client.1, server.1];
    Ok(parts
        .iter()
        .flat_map(|part| part.as_bytes())
        .map(|byte| format!("{byte:02X}"))
        .collect())
}
