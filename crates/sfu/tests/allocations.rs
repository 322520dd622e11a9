//! No allocation for a packet, whatever is written anew in it, and bounded memory for a consumer.

mod common;

use antiphon_media::Packet;
use antiphon_netsim::Counting;
use antiphon_sfu::{Consumer, ConsumerConfig, Descriptors, Wish};
use common::{Av1, FRAME, Inter, Vp9, producer, simulcast};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Shows all packets to consumers that wish different things; gives how many went on, and the allocations for all but
/// the first ones.
fn allocations(packets: &[Packet], first: usize) -> (usize, usize) {
    let mut producer = producer(&["a", "b", "c"]);
    let mut consumers: Vec<Consumer> = (0..6)
        .map(|place| {
            let mut consumer = Consumer::new(ConsumerConfig {
                descriptors: if place % 2 == 0 {
                    Descriptors::Always
                } else {
                    Descriptors::Never
                },
            });
            consumer.set_wish(Wish {
                level: place / 2,
                temporal: 1,
                bitrate: (place > 3).then_some(500_000),
            });
            consumer
        })
        .collect();
    // What comes from a socket is shared memory; a vector becomes it when it is cloned first.
    packets.iter().for_each(|packet| drop(packet.payload.clone()));
    let (mut passed, mut before) = (0, 0);
    for (index, packet) in packets.iter().enumerate() {
        if index == first {
            before = Counting::here().allocations;
        }
        let now = packet.received;
        let Some(facts) = producer.take(now, packet) else {
            continue;
        };
        for consumer in &mut consumers {
            passed += usize::from(consumer.take(now, packet, &facts, producer.layers()).is_some());
            if let Some(encoding) = consumer.poll_key_frame(now) {
                producer.want_key_frame(encoding);
            }
        }
        let _ = producer.poll_key_frame(now);
    }
    (passed, Counting::here().allocations - before)
}

#[test]
fn a_packet_takes_no_memory_of_its_own() {
    let mut now = antiphon_netsim::start();
    let mut encodings = simulcast();
    let (mut vp8, mut vp9, mut av1) = (Vec::new(), Vec::new(), Vec::new());
    let (mut svc, mut descriptors) = (Vp9::new(Inter::Always, false), Av1::new());
    for step in 0..400 {
        for encoding in &mut encodings {
            vp8.extend(encoding.frame(now, step % 50 == 0));
        }
        vp9.extend(svc.frame(now, step % 50 == 0));
        // A new structure is kept, so there is one at the beginning alone.
        av1.extend(descriptors.frame(now, step == 0));
        now += FRAME;
    }
    for (name, packets) in [("VP8", vp8), ("VP9", vp9), ("AV1", av1)] {
        let (passed, allocated) = allocations(&packets, packets.len() / 2);
        assert!(passed > packets.len(), "{name}: {passed} of {}", packets.len());
        assert_eq!(allocated, 0, "{name}");
    }
}

#[test]
fn a_consumer_is_small() {
    let bytes = std::mem::size_of::<Consumer>();
    println!("{bytes} bytes a consumer");
    assert!(bytes <= 6 * 1024, "{bytes}");
}
