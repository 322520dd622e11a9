//! SRTP protect and unprotect, each profile, 160-byte and 1200-byte packets, header included.
//!
//! Each iteration handles a new packet: the sequence number moves on, so that index guess and replay window do their work.
#![allow(missing_docs)]

use std::hint::black_box;

use antiphon_crypto::ring_provider;
use antiphon_sansio::TransmitBuf;
use antiphon_srtp::{Profile, Receiver, Sender};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn pair(profile: Profile) -> (Sender, Receiver) {
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    (
        Sender::new(profile, &key, &salt, ring_provider()).unwrap(),
        Receiver::new(profile, &key, &salt, ring_provider()).unwrap(),
    )
}

fn header(sequence: u16) -> [u8; 12] {
    let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header
}

fn srtp(c: &mut Criterion) {
    for profile in Profile::ALL {
        for size in [160, 1200] {
            let mut group = c.benchmark_group(format!("srtp/{}/{size}", profile.name()));
            group.throughput(Throughput::Bytes(size as u64));

            // In place in a batch buffer, as the stack sends; writing the header is in the figure, copying a payload is not.
            let (mut sender, _) = pair(profile);
            let mut buffer = vec![0; size + 16];
            let mut sequence = 0u16;
            group.bench_function("protect", |b| {
                b.iter(|| {
                    buffer[..12].copy_from_slice(&header(sequence));
                    sequence = sequence.wrapping_add(1);
                    sender.protect_rtp_slice(black_box(&mut buffer), size).unwrap()
                });
            });

            let (mut sender, _) = pair(profile);
            let mut out = TransmitBuf::new(2000, 2000);
            let payload = vec![0; size - 12];
            let mut sequence = 0u16;
            group.bench_function("protect with a copy", |b| {
                b.iter(|| {
                    out.clear();
                    out.begin(0, 16);
                    out.put_slice(&header(sequence));
                    out.put_slice(&payload);
                    sequence = sequence.wrapping_add(1);
                    sender.protect_rtp(black_box(&mut out)).unwrap();
                    out.finish()
                });
            });

            let (mut sender, mut receiver) = pair(profile);
            let mut sequence = 0u16;
            group.bench_function("unprotect", |b| {
                b.iter_batched_ref(
                    || {
                        let mut packet = vec![0; size + profile.overhead_rtp()];
                        packet[..12].copy_from_slice(&header(sequence));
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
criterion_main!(benches);
