//! Classes of weaknesses that WebRTC stacks have had (docs/vulnerabilities.md), each with what shows the defence. Some more of a
//! class stand where they are at home: every name begins with its class.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_crypto::{
    AeadAlgorithm, AeadKey, AesCtr, AuthError, BlockCipher, CryptoError, CryptoProvider, CtrHmac, Hash, KeyExchange,
    Mac, Provider, Secret, SignatureScheme, SigningKey, ring_provider,
};
use antiphon_dtls::{AddressValidation, Certificate, CertificateParams, HashAlgorithm, KeyLog, NamedGroup, Role};
use antiphon_sansio::{Rng, TransmitBuf};
use bytes::BytesMut;
use common::{DELAY, Pair, config, config_with, delivered, is_13};

for_both_versions! {
    v03_no_nonce_comes_twice
    v04_a_gigabyte_of_early_data_takes_no_memory
    v05_every_message_of_a_real_handshake_changed_everywhere
    v16_an_unvalidated_client_gets_at_most_three_times_its_bytes_whatever_it_sends
    v25_nothing_secret_is_logged_or_printed
    v27_nothing_that_must_be_random_repeats
    v29_no_key_exchange_for_an_address_that_nobody_validated
}

const MINUTE: Duration = Duration::from_secs(60);

/// Every nonce that was sealed with, by key.
type Nonces = Arc<Mutex<BTreeMap<u64, Vec<[u8; 12]>>>>;

/// ring, watched: what it is asked for is counted.
#[derive(Debug, Default)]
struct Watched {
    nonces: Nonces,
    keys: AtomicU64,
    exchanges: AtomicU64,
    encapsulations: AtomicU64,
}

/// A provider lives as long as the program.
fn watched() -> &'static Watched {
    Box::leak(Box::default())
}

struct WatchedKey {
    key: Box<dyn AeadKey>,
    number: u64,
    nonces: Nonces,
}

impl AeadKey for WatchedKey {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; 16] {
        self.nonces.lock().unwrap().entry(self.number).or_default().push(*nonce);
        self.key.seal(nonce, aad, data)
    }

    fn open_detached(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8; 16]) -> Result<(), AuthError> {
        self.key.open_detached(nonce, aad, data, tag)
    }
}

impl CryptoProvider for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(WatchedKey {
            key: ring_provider().aead(algorithm, key)?,
            number: self.keys.fetch_add(1, Ordering::Relaxed),
            nonces: self.nonces.clone(),
        }))
    }

    fn aes_ctr(&self, key: &[u8]) -> Result<Box<dyn AesCtr>, CryptoError> {
        ring_provider().aes_ctr(key)
    }

    fn block_cipher(&self, key: &[u8]) -> Result<Box<dyn BlockCipher>, CryptoError> {
        ring_provider().block_cipher(key)
    }

    fn ctr_hmac_sha1(&self, encryption: &[u8], authentication: &[u8]) -> Result<Box<dyn CtrHmac>, CryptoError> {
        ring_provider().ctr_hmac_sha1(encryption, authentication)
    }

    fn mac(&self, hash: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
        ring_provider().mac(hash, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        ring_provider().hash(algorithm)
    }

    fn start_exchange(&self, group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        ring_provider().start_exchange(group, rng)
    }

    fn respond(&self, group: NamedGroup, peer: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, Secret), CryptoError> {
        let count = if group == NamedGroup::X25519MlKem768 {
            &self.encapsulations
        } else {
            &self.exchanges
        };
        count.fetch_add(1, Ordering::Relaxed);
        ring_provider().respond(group, peer, rng)
    }

    fn signing_key(&self, pkcs8: &[u8]) -> Result<SigningKey, CryptoError> {
        ring_provider().signing_key(pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), AuthError> {
        ring_provider().verify_signature(scheme, public_key, message, signature)
    }
}

fn number(nonce: [u8; 12]) -> u128 {
    nonce.into_iter().fold(0, |number, byte| number << 8 | u128::from(byte))
}

/// V3: over a whole session, with loss, repetitions and renewed keys: under one key every nonce is the one before plus one.
fn v03_no_nonce_comes_twice() {
    for suite in antiphon_dtls::CipherSuite::ALL {
        let provider = watched();
        let end = || {
            let mut config = config();
            config.provider = provider as Provider;
            config.cipher_suites = vec![suite];
            config.mtu = 300;
            config.handshake_timeout = 10 * MINUTE;
            config
        };
        if (suite.version() == antiphon_dtls::ProtocolVersion::Dtls13) != is_13() || suite.name().contains("_RSA_") {
            continue;
        }
        let mut pair = Pair::new(end(), end(), 3);
        let mut rng = Rng::from_u64(3);
        let mut rough = |_: Role, _: usize, d: &[u8]| if rng.unit() < 0.2 { vec![] } else { delivered(d) };
        pair.run(10 * MINUTE, &mut rough, Pair::both_connected);
        pair.check();
        for _ in 0..5 {
            for role in [Role::Client, Role::Server] {
                if is_13() {
                    pair.end(role).connection.update_keys().unwrap();
                }
                for _ in 0..100 {
                    pair.end(role).seal(b"data").unwrap();
                }
            }
            pair.run(MINUTE, &mut rough, |_| false);
        }
        let nonces = provider.nonces.lock().unwrap();
        let sealed: usize = nonces.values().map(Vec::len).sum();
        assert!(sealed > 1000, "{sealed}");
        // 1.3 hides the number of a record in the nonce by an XOR: against the first, which has number 0, it shows. In 1.2 with
        // AES-GCM it stands there, epoch and all; with ChaCha20 the epoch is hidden like the rest.
        for (key, nonces) in nonces.iter() {
            let first = number(nonces[0]);
            for (count, nonce) in nonces.iter().enumerate() {
                assert_eq!(number(*nonce) ^ first, count as u128, "{suite:?}, key {key}");
            }
        }
    }
}

/// V3 on the wire: 2^20 records of DTLS 1.2, and the explicit nonce is always epoch and sequence number.
#[test]
fn v03_nonces_strictly_increase() {
    let mut pair = Pair::new(config(), config(), 1);
    pair.connect();
    let mut out = TransmitBuf::new(2048, 2048);
    let mut last = 0;
    for _ in 0..1 << 20 {
        assert!(out.begin(21, 17));
        out.put_u8(0);
        pair.client.connection.seal(&mut out).unwrap();
        let range = out.finish();
        let bytes = out.bytes(range);
        let nonce = u64::from_be_bytes(bytes[13..21].try_into().unwrap());
        assert_eq!(nonce.to_be_bytes(), bytes[3..11]);
        assert!(nonce > last);
        last = nonce;
        out.clear();
    }
}

/// Memory of this process in bytes, where the system tells.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

/// V4: records of epochs that have no keys yet, in front of and in the middle of a handshake.
fn v04_a_gigabyte_of_early_data_takes_no_memory() {
    let mut pair = Pair::new(config(), config(), 1);
    let hello = pair.client.transmit(pair.now);
    let mut early = if is_13() {
        vec![0x2f, 0, 0, 4, 0x93]
    } else {
        vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0x93]
    };
    early.resize(early.len() + 1171, 0xaa);
    let now = pair.now;
    let flood = |pair: &mut Pair| {
        for _ in 0..1 << 18 {
            for role in [Role::Client, Role::Server] {
                pair.end(role)
                    .connection
                    .handle_packet(now, BytesMut::from(&early[..]).into());
            }
        }
    };
    let before = resident();
    flood(&mut pair);
    for datagram in &hello {
        pair.server
            .connection
            .handle_packet(now, BytesMut::from(&datagram[..]).into());
    }
    flood(&mut pair);
    let after = resident();
    // Other tests run beside this one.
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after < before + (64 << 20), "{before} became {after} bytes");
    }
    for role in [Role::Client, Role::Server] {
        let stats = pair.end(role).connection.stats();
        let dropped = stats.dropped_overflow + stats.dropped_epoch + stats.dropped_forged + stats.dropped_replayed;
        assert!(dropped > (1 << 19) - 100, "{stats:?}");
    }
    // And the handshake completes all the same: the client repeats its hello.
    pair.run(MINUTE, |_, _, d| delivered(d), Pair::both_connected);
    pair.check();
}

/// V5: in each state, the message that comes next with one byte changed or its end cut off, at every place of it. Nothing
/// panics, nobody is connected who should not be, and what is not fatal changes nothing.
fn v05_every_message_of_a_real_handshake_changed_everywhere() {
    let certificates = [common::certificate(), common::certificate()];
    let new = || {
        let mut pair = Pair::new(
            config_with(certificates[0].clone()),
            config_with(certificates[1].clone()),
            1,
        );
        for end in [&mut pair.client, &mut pair.server] {
            end.connection.set_mtu(1500);
        }
        pair
    };
    let mut sizes = Vec::new();
    new().run(
        MINUTE,
        |role, index, d| {
            sizes.push((role, index, d.len()));
            delivered(d)
        },
        Pair::both_connected,
    );
    let (mut connected, mut failed) = (0, 0);
    for (role, index, size) in sizes {
        // Every place of what decides, and places here and there of long keys.
        let step = if size > 400 { 5 } else { 2 };
        for at in (0..size).step_by(step) {
            let mut pair = new();
            pair.run(
                MINUTE,
                |who, number, d| {
                    if (who, number) != (role, index) {
                        return delivered(d);
                    }
                    // ECDSA signatures are random, and so is the length of their DER.
                    let at = at.min(d.len() - 1);
                    let mut changed = d.to_vec();
                    changed[at] ^= 1 << (at % 8);
                    let cut = d[..at].to_vec();
                    vec![(DELAY / 2, changed), (DELAY * 3 / 4, cut), (DELAY, d.to_vec())]
                },
                |pair| pair.both_connected() || pair.client.failed.is_some() || pair.server.failed.is_some(),
            );
            if pair.both_connected() {
                pair.check();
                connected += 1;
            } else {
                assert!(pair.client.data.is_empty() && pair.server.data.is_empty());
                failed += 1;
            }
        }
    }
    assert!(connected > 100 && failed > 0, "{connected} connected, {failed} failed");
}

/// V16: a client that repeats its hello, sends it in crumbs or adds noise. What the server sends never exceeds three times
/// what it got.
fn v16_an_unvalidated_client_gets_at_most_three_times_its_bytes_whatever_it_sends() {
    for seed in 0..30 {
        let mut server = config();
        server.address_validation = AddressValidation::AmplificationLimit;
        let mut client = config();
        client.mtu = 256 + 60 * seed as usize % 1200;
        let mut pair = Pair::new(client, server, seed);
        let mut rng = Rng::from_u64(seed);
        let hello = pair.client.transmit(pair.now);
        let (mut received, mut sent) = (0, 0);
        for _ in 0..60 {
            let datagram = match rng.below(4) {
                0 => vec![22; rng.below(40) as usize],
                1 => hello[0].clone(),
                _ => hello[rng.below(hello.len() as u32) as usize].clone(),
            };
            received += datagram.len();
            pair.server
                .connection
                .handle_packet(pair.now, BytesMut::from(&datagram[..]).into());
            pair.now += Duration::from_millis(u64::from(rng.below(500)));
            pair.server.connection.handle_timeout(pair.now);
            sent += pair.server.transmit(pair.now).iter().map(Vec::len).sum::<usize>();
            assert!(sent <= 3 * received, "seed {seed}: {sent} bytes for {received}");
        }
    }
}

/// Everything that `tracing` is told, as text.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<String>>);

impl tracing::Subscriber for Collected {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        attributes.record(&mut Fields(self));
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Fields(self));
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Fields(self));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields<'a>(&'a Collected);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        use std::fmt::Write as _;
        let mut text = self.0.0.lock().unwrap();
        let _ = writeln!(text, "{field}={value:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// V25: a session with a failed twin, everything logged and everything printed that can be: of no secret are there four bytes in a
/// row, neither in hexadecimal nor as a list. The key log is off unless asked for.
fn v25_nothing_secret_is_logged_or_printed() {
    let collected = Collected::default();
    let secrets = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(collected.clone(), || {
        let (mut client, server) = (config(), config());
        assert!(client.key_log.is_none());
        let sink = secrets.clone();
        client.key_log = Some(KeyLog::new(move |line| {
            let secret = line.rsplit(' ').next().unwrap().to_owned();
            sink.lock().unwrap().push(secret);
        }));
        let certificate = client.certificate.clone();
        let printed = format!("{client:?} {server:?}");
        let mut pair = Pair::new(client, server, 1);
        pair.connect();
        if is_13() {
            pair.client.connection.update_keys().unwrap();
            pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
        }
        let connected = pair.client.connected.clone().unwrap();
        let exported = pair
            .client
            .connection
            .export_keying_material("EXPORTER-x", None, 32)
            .unwrap();
        let keys = connected.srtp.clone().unwrap();
        let text = format!(
            "{printed} {:?} {connected:?} {exported:?} {certificate:?} {keys:?}",
            pair.client.connection
        );
        let known = [
            &keys.local_key,
            &keys.remote_key,
            &keys.local_salt,
            &keys.remote_salt,
            &exported,
        ];
        secrets
            .lock()
            .unwrap()
            .extend(known.map(|secret| hex(secret.as_bytes())));
        collected.0.lock().unwrap().push_str(&text);
        // One that fails says more.
        let mut failing = Pair::new(config(), config(), 2);
        failing
            .client
            .connection
            .set_remote_fingerprints(vec![common::certificate().fingerprint(HashAlgorithm::Sha256)]);
        failing.run(MINUTE, |_, _, d| delivered(d), |_| false);
        assert!(failing.client.failed.is_some());
    });
    let text = collected.0.lock().unwrap().to_lowercase();
    assert!(text.contains("redacted") && text.contains("connected"), "{text}");
    let secrets = secrets.lock().unwrap();
    assert!(secrets.len() >= 6);
    for secret in secrets.iter() {
        for at in (0..secret.len() - 8).step_by(2) {
            let four = &secret[at..at + 8];
            assert!(!text.contains(four), "{four} of a secret in {text}");
            let list: Vec<String> = (0..8)
                .step_by(2)
                .map(|digit| u8::from_str_radix(&four[digit..digit + 2], 16).unwrap().to_string())
                .collect();
            assert!(!text.contains(&list.join(", ")), "{list:?} of a secret in {text}");
        }
    }
}

/// V27: randoms, cookies, keys of exchanges and serial numbers: none twice, and their bits even.
fn v27_nothing_that_must_be_random_repeats() {
    let certificates = [common::certificate(), common::certificate()];
    let mut seen = BTreeSet::new();
    let mut ones = 0u32;
    let parent = Rng::from_u64(77);
    for n in 0..200u64 {
        let mut pair = Pair::new(
            config_with(certificates[0].clone()),
            config_with(certificates[1].clone()),
            0,
        );
        let rng = parent.fork_numbered("connection", n);
        pair.client.connection =
            antiphon_dtls::Connection::new(config_with(certificates[0].clone()), Role::Client, rng);
        let hello = &pair.client.transmit(pair.now)[0];
        let random: [u8; 32] = hello[27..59].try_into().unwrap();
        ones += random.iter().map(|byte| byte.count_ones()).sum::<u32>();
        for word in random.chunks(8) {
            assert!(seen.insert(word.to_vec()), "eight bytes came twice");
        }
    }
    // 51200 bits; six standard deviations are 679.
    assert!(ones.abs_diff(25_600) < 680, "{ones}");
    let serials: BTreeSet<Vec<u8>> = (0..20)
        .map(|_| {
            let der = Certificate::generate(&CertificateParams::default())
                .unwrap()
                .der()
                .to_vec();
            // Behind both sequences and the version: INTEGER.
            let at = der.windows(5).position(|w| w == [0xa0, 3, 2, 1, 2]).unwrap() + 5;
            assert_eq!(der[at], 2);
            let serial = der[at + 2..at + 2 + usize::from(der[at + 1])].to_vec();
            assert!(serial.len() >= 8, "RFC 5280 §4.1.2.2 wants much, not little");
            serial
        })
        .collect();
    assert_eq!(serials.len(), 20);
}

/// V29: what a ClientHello from nowhere costs: no encapsulation before the address is validated, and with cookies no key exchange
/// of any kind.
fn v29_no_key_exchange_for_an_address_that_nobody_validated() {
    for validation in [AddressValidation::AmplificationLimit, AddressValidation::Cookie] {
        let provider = watched();
        let mut server = config();
        server.provider = provider as Provider;
        server.address_validation = validation;
        let mut pair = Pair::new(config(), server, 1);
        let hello = pair.client.transmit(pair.now);
        for _ in 0..100 {
            for datagram in &hello {
                pair.server
                    .connection
                    .handle_packet(pair.now, BytesMut::from(&datagram[..]).into());
            }
            let _ = pair.server.transmit(pair.now);
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(count(&provider.encapsulations), 0);
        if is_13() || validation == AddressValidation::Cookie {
            assert_eq!(count(&provider.exchanges), 0);
        } else {
            assert_eq!(count(&provider.exchanges), 1, "one, and not one for each repetition");
        }
        // The same server, once the client has answered.
        let mut server = config();
        server.provider = provider as Provider;
        server.address_validation = validation;
        Pair::new(config(), server, 2).connect();
        assert_eq!(count(&provider.encapsulations), u64::from(is_13()));
    }
}
