//! The primitives under SRTP and DTLS, for both providers.
#![allow(missing_docs)]

use antiphon_crypto::{AeadAlgorithm, HashAlgorithm, ring_provider, rust_provider};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn primitives(c: &mut Criterion) {
    for provider in [ring_provider(), rust_provider()] {
        for size in [160, 1200] {
            let mut group = c.benchmark_group(format!("crypto/{}/{size}", provider.name()));
            group.throughput(Throughput::Bytes(size as u64));
            let mut data = vec![7; size];
            for (name, algorithm) in [
                ("aes-128-gcm", AeadAlgorithm::Aes128Gcm),
                ("aes-256-gcm", AeadAlgorithm::Aes256Gcm),
                ("chacha20-poly1305", AeadAlgorithm::ChaCha20Poly1305),
            ] {
                let key = provider.aead(algorithm, &vec![1; algorithm.key_len()]).unwrap();
                group.bench_function(format!("{name} seal"), |b| {
                    b.iter(|| key.seal(black_box(&[3; 12]), &[4; 12], &mut data));
                });
            }
            let key = provider.aes_ctr(&[1; 16]).unwrap();
            group.bench_function("aes-128-ctr", |b| b.iter(|| key.apply(black_box(&[3; 16]), &mut data)));
            let mac = provider.mac(HashAlgorithm::Sha1, &[1; 20]);
            group.bench_function("hmac-sha1", |b| b.iter(|| mac.sign(black_box(&[&data]))));
            group.finish();
        }
    }
}

criterion_group!(benches, primitives);
criterion_main!(benches);
