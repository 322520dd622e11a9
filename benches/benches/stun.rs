//! STUN: a connectivity check and its answer are parsed, checked and built; one request with long-term credentials.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::SocketAddr;

use antiphon_stun::{AttributeType, Class, Key, Message, MessageBuilder, Method, TransactionId, is_stun};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ID: TransactionId = TransactionId([7; 12]);

/// What an agent of ours sends as a check (RFC 8445 §7.2.2): 92 bytes.
fn check(buffer: &mut [u8], key: &Key) -> usize {
    let mut builder = MessageBuilder::new(buffer, Class::Request, Method::BINDING, ID);
    builder
        .ice_username("theirs01", "ours")
        .put_u64(AttributeType::ICE_CONTROLLING, 0x1234_5678_9abc_def0)
        .priority(1_853_824_767)
        .integrity(key)
        .fingerprint();
    builder.finish().unwrap()
}

fn answer(buffer: &mut [u8], key: &Key, mapped: SocketAddr) -> usize {
    let mut builder = MessageBuilder::new(buffer, Class::Success, Method::BINDING, ID);
    builder.xor_mapped_address(mapped).integrity(key).fingerprint();
    builder.finish().unwrap()
}

/// A Refresh with everything that a server asks for (RFC 8489 §9.2.3).
fn refresh(buffer: &mut [u8], key: &Key) -> usize {
    let mut builder = MessageBuilder::new(buffer, Class::Request, Method::REFRESH, ID);
    builder
        .lifetime(600)
        .username("alice")
        .realm("example.org")
        .nonce(b"obMatJos2gAAA000000001234567890abcdef12345678")
        .integrity(key);
    builder.finish().unwrap()
}

fn stun(c: &mut Criterion) {
    let key = Key::short_term("VOkJxbRl1RmTxUk/WvJxBt");
    let mapped = "192.0.2.1:32853".parse().unwrap();
    let mut buffer = [0; 256];
    let mut request = [0; 256];
    let len = check(&mut request, &key);
    let request = &request[..len];

    let mut group = c.benchmark_group("stun");
    group.throughput(Throughput::Elements(1));
    group.bench_function("is_stun", |b| b.iter(|| is_stun(black_box(request))));
    group.bench_function("parse a check", |b| {
        b.iter(|| Message::parse(black_box(request)).unwrap().class());
    });
    group.bench_function("parse a check and read what an agent reads", |b| {
        b.iter(|| {
            let message = Message::parse(black_box(request)).unwrap();
            black_box((
                message.transaction_id(),
                message.username(),
                message.priority(),
                message.ice_controlling(),
                message.use_candidate(),
                message.nomination(),
            ));
        });
    });
    group.bench_function("parse a check, its integrity and its fingerprint", |b| {
        b.iter(|| {
            let message = Message::parse(black_box(request)).unwrap();
            assert!(message.check_integrity(&key).is_valid() && message.check_fingerprint().is_valid());
        });
    });
    group.bench_function("fingerprint of a check alone", |b| {
        b.iter(|| Message::parse(black_box(request)).unwrap().check_fingerprint());
    });
    group.bench_function("build a check", |b| b.iter(|| check(black_box(&mut buffer), &key)));
    group.bench_function("build an answer", |b| {
        b.iter(|| answer(black_box(&mut buffer), &key, black_box(mapped)));
    });
    let long_term = Key::long_term("alice", "example.org", "secret");
    group.bench_function("build a Refresh with long-term credentials", |b| {
        b.iter(|| refresh(black_box(&mut buffer), &long_term));
    });
    let mut request = [0; 256];
    let len = refresh(&mut request, &long_term);
    group.bench_function("parse a Refresh and check its integrity", |b| {
        b.iter(|| {
            Message::parse(black_box(&request[..len]))
                .unwrap()
                .check_integrity(&long_term)
        });
    });
    group.bench_function("a long-term key", |b| {
        b.iter(|| Key::long_term(black_box("alice"), "example.org", "secret"));
    });
    group.finish();
}

criterion_group!(benches, stun);
criterion_main!(benches);
