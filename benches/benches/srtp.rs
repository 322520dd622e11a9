//! SRTP protect and unprotect, each profile, 160 and 1200 bytes of payload, header parse and replay check included.
//!
//! Each iteration handles a new packet: the sequence number moves on, so that index guess and replay window do their work.
//! Before criterion's figures come the ratios to the bare primitives, as medians of interleaved rounds: those hold on a busy
//! machine too. `cargo bench --bench srtp -- ratios` prints them alone.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use antiphon_crypto::{AeadAlgorithm, Provider, ring_provider, rust_provider, sha1};
use antiphon_sansio::TransmitBuf;
use antiphon_srtp::{Profile, Receiver, Sender};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};

const HEADER: usize = 12;
/// Room for the longest tag.
const TAG: usize = 16;

fn pair(profile: Profile, provider: Provider) -> (Sender, Receiver) {
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    (
        Sender::new(profile, &key, &salt, provider).unwrap(),
        Receiver::new(profile, &key, &salt, provider).unwrap(),
    )
}

fn header(sequence: u16) -> [u8; HEADER] {
    let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header
}

/// What each of a round's contestants works on: packets of its own, few enough for the first-level cache.
struct Batch {
    packets: Vec<Vec<u8>>,
    sequence: u16,
}

impl Batch {
    const SIZE: usize = 12;

    fn new(payload: usize) -> Self {
        Self {
            packets: vec![vec![0; HEADER + payload + TAG]; Self::SIZE],
            sequence: 0,
        }
    }

    fn headers(&mut self) {
        for packet in &mut self.packets {
            packet[..HEADER].copy_from_slice(&header(self.sequence));
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    /// Nanoseconds for each packet.
    fn time(&mut self, mut work: impl FnMut(&mut [u8])) -> f64 {
        let started = Instant::now();
        for packet in &mut self.packets {
            work(black_box(packet));
        }
        started.elapsed().as_nanos() as f64 / Self::SIZE as f64
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

const ROUNDS: usize = 3000;

fn ratio(what: &str, ours: &mut [f64], bare: &mut [f64]) {
    let mut ratios: Vec<f64> = ours.iter().zip(bare.iter()).map(|(ours, bare)| ours / bare).collect();
    println!(
        "{what:<62} {:7.0} ns {:7.0} ns  ratio {:.3}, median of the rounds' own ratios {:.3}",
        median(ours),
        median(bare),
        median(ours) / median(bare),
        median(&mut ratios)
    );
}

/// Protect and unprotect beside seal and open of the same provider, over the same bytes at the same place in memory.
fn gcm_ratios(provider: Provider, profile: Profile, algorithm: AeadAlgorithm, payload: usize) {
    let key = provider.aead(algorithm, &vec![1; algorithm.key_len()]).unwrap();
    let (mut sender, mut receiver) = pair(profile, provider);
    let (mut ours, mut bare) = (Batch::new(payload), Batch::new(payload));
    let mut samples = [const { Vec::new() }; 4];
    let len = HEADER + payload;
    for _ in 0..ROUNDS {
        ours.headers();
        bare.headers();
        samples[0].push(ours.time(|packet| {
            black_box(sender.protect_rtp_slice(packet, len).unwrap());
        }));
        let mut nonce = [3; 12];
        samples[1].push(bare.time(|packet| {
            nonce[11] += 1;
            let (header, body) = packet.split_at_mut(HEADER);
            let (data, tag) = body.split_at_mut(payload);
            tag.copy_from_slice(&key.seal(&nonce, header, data));
        }));
        samples[2].push(ours.time(|packet| {
            black_box(receiver.unprotect_rtp_slice(packet).unwrap());
        }));
        let mut nonce = [3; 12];
        samples[3].push(bare.time(|packet| {
            nonce[11] += 1;
            let (header, body) = packet.split_at_mut(HEADER);
            black_box(key.open(&nonce, header, body).unwrap());
        }));
    }
    let [protect, seal, unprotect, open] = &mut samples;
    let name = format!("{} {} {payload} B", provider.name(), profile.name());
    ratio(&format!("{name}: protect / seal"), protect, seal);
    ratio(&format!("{name}: unprotect / open"), unprotect, open);
}

/// Protect and unprotect beside SHA-1 over the packet plus AES-CTR over the payload.
fn counter_mode_ratios(provider: Provider, profile: Profile, payload: usize) {
    let cipher = provider.aes_ctr(&vec![1; profile.key_len()]).unwrap();
    let (mut sender, mut receiver) = pair(profile, provider);
    let (mut ours, mut bare) = (Batch::new(payload), Batch::new(payload));
    let mut samples = [const { Vec::new() }; 4];
    let len = HEADER + payload;
    let tag = profile.overhead_rtp();
    for _ in 0..ROUNDS {
        ours.headers();
        bare.headers();
        samples[0].push(ours.time(|packet| {
            black_box(sender.protect_rtp_slice(&mut packet[..len + tag], len).unwrap());
        }));
        samples[1].push(bare.time(|packet| {
            black_box(sha1(&[&packet[..len]]));
        }));
        samples[2].push(bare.time(|packet| cipher.apply(&[3; 16], &mut packet[HEADER..len])));
        samples[3].push(ours.time(|packet| {
            black_box(receiver.unprotect_rtp_slice(&mut packet[..len + tag]).unwrap());
        }));
    }
    let [protect, hash, ctr, unprotect] = &mut samples;
    println!(
        "{:<62} {:7.0} ns {:7.0} ns",
        format!("SHA-1 alone, AES-CTR alone, {payload} B"),
        median(&mut hash.clone()),
        median(&mut ctr.clone())
    );
    let mut sum: Vec<f64> = hash.iter().zip(ctr.iter()).map(|(hash, ctr)| hash + ctr).collect();
    let name = format!("{} {} {payload} B", provider.name(), profile.name());
    ratio(&format!("{name}: protect / sum"), protect, &mut sum);
    ratio(&format!("{name}: unprotect / sum"), unprotect, &mut sum);
}

fn ratios() {
    for payload in [1200, 160] {
        for provider in [ring_provider(), rust_provider()] {
            gcm_ratios(provider, Profile::AeadAes128Gcm, AeadAlgorithm::Aes128Gcm, payload);
        }
        gcm_ratios(
            ring_provider(),
            Profile::AeadAes256Gcm,
            AeadAlgorithm::Aes256Gcm,
            payload,
        );
        counter_mode_ratios(ring_provider(), Profile::Aes128CmSha1_80, payload);
        counter_mode_ratios(ring_provider(), Profile::Aes256CmSha1_80, payload);
    }
}

fn srtp(c: &mut Criterion) {
    for profile in Profile::ALL {
        for payload in [160, 1200] {
            let mut group = c.benchmark_group(format!("srtp/{}/{payload}", profile.name()));
            group.throughput(Throughput::Bytes(payload as u64));
            let size = HEADER + payload;

            // In place in a batch buffer, as the stack sends; writing the header is in the figure, copying a payload is not.
            let (mut sender, _) = pair(profile, ring_provider());
            let mut buffer = vec![0; size + TAG];
            let mut sequence = 0u16;
            group.bench_function("protect", |b| {
                b.iter(|| {
                    buffer[..HEADER].copy_from_slice(&header(sequence));
                    sequence = sequence.wrapping_add(1);
                    sender.protect_rtp_slice(black_box(&mut buffer), size).unwrap()
                });
            });

            let (mut sender, _) = pair(profile, ring_provider());
            let mut out = TransmitBuf::new(2000, 2000);
            let body = vec![0; payload];
            let mut sequence = 0u16;
            group.bench_function("protect with a copy", |b| {
                b.iter(|| {
                    out.clear();
                    out.begin(0, TAG);
                    out.put_slice(&header(sequence));
                    out.put_slice(&body);
                    sequence = sequence.wrapping_add(1);
                    sender.protect_rtp(black_box(&mut out)).unwrap();
                    out.finish()
                });
            });

            let (mut sender, mut receiver) = pair(profile, ring_provider());
            let mut sequence = 0u16;
            group.bench_function("unprotect", |b| {
                b.iter_batched_ref(
                    || {
                        let mut packet = vec![0; size + profile.overhead_rtp()];
                        packet[..HEADER].copy_from_slice(&header(sequence));
                        sequence = sequence.wrapping_add(1);
                        sender.protect_rtp_slice(&mut packet, size).unwrap();
                        packet
                    },
                    |packet| receiver.unprotect_rtp_slice(black_box(packet)).unwrap(),
                    BatchSize::SmallInput,
                );
            });
            group.finish();
        }
    }
}

criterion_group!(benches, srtp);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |what: &str| arguments.iter().any(|argument| argument == what);
    // `cargo test --benches` and listing want no figures.
    if !asked("--test") && !asked("--list") {
        ratios();
    }
    if !asked("ratios") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
