//! Any packets, in any order.

mod common;

use std::time::Duration;

use antiphon_media::extension::Kind;
use antiphon_rtp::payload::vp8;
use antiphon_sfu::{Consumer, ConsumerConfig, Descriptors, Wish};
use common::{Av1, Inter, Vp8, Vp9, packet, payload, producer, rid};
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens to a frame on its way, and what the consumer wishes.
#[derive(Clone, Debug)]
struct Step {
    encoding: u8,
    key: bool,
    lost: u8,
    level: u8,
    temporal: u8,
    bitrate: Option<u64>,
    millis: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (
        0u8..5,
        prop::bool::weighted(0.2),
        any::<u8>(),
        0u8..4,
        0u8..3,
        prop::option::of(0u64..3_000_000),
        0u8..80,
    )
        .prop_map(|(encoding, key, lost, level, temporal, bitrate, millis)| Step {
            encoding,
            key,
            lost,
            level,
            temporal,
            bitrate,
            millis,
        })
}

proptest! {
    #[test]
    fn numbers_of_what_goes_on_rise_where_those_of_the_source_do(steps in vec(step(), 1..120), descriptor: bool) {
        let mut now = antiphon_netsim::start();
        let mut producer = producer(&["a", "b", "c"]);
        let mut consumer = Consumer::new(ConsumerConfig { descriptors: if descriptor { Descriptors::Always } else { Descriptors::Never } });
        let mut simulcast = [Vp8::new(0, (320, 180), 300), Vp8::new(1, (640, 360), 600), Vp8::new(2, (1280, 720), 900)];
        let mut newest: Option<(u64, u32)> = None;
        let mut picture: Option<u16> = None;
        for step in steps {
            consumer.set_wish(Wish { level: step.level, temporal: step.temporal, bitrate: step.bitrate });
            let Some(source) = simulcast.get_mut(usize::from(step.encoding) % 3) else { continue };
            for (index, packet) in (0u8..).zip(source.frame(now, step.key)) {
                if step.lost & 1 << index != 0 && step.lost & 0x80 != 0 {
                    continue;
                }
                let Some(facts) = producer.take(now, &packet) else { continue };
                let Some(written) = consumer.take(now, &packet, &facts, producer.layers()) else { continue };
                if let Some((sequence, timestamp)) = newest {
                    prop_assert!(written.sequence > sequence);
                    prop_assert!(written.timestamp.wrapping_sub(timestamp) as i32 >= 0);
                }
                newest = Some((written.sequence, written.timestamp));
                let bytes = payload(&written);
                let (read, _) = vp8::Descriptor::parse(&bytes).unwrap();
                let Some(vp8::PictureId::Long(id)) = read.picture_id else { panic!() };
                prop_assert!(picture.is_none_or(|before| id.wrapping_sub(before) & 0x7fff < 0x4000));
                picture = Some(id);
                // Behind the descriptor nothing changes.
                let (_, len) = vp8::Descriptor::parse(&bytes).unwrap();
                let (_, before) = vp8::Descriptor::parse(&packet.payload).unwrap();
                prop_assert_eq!(&bytes[len..], &packet.payload[before..]);
            }
            let _ = consumer.poll_key_frame(now);
            now += Duration::from_millis(step.millis.into());
        }
    }

    #[test]
    fn layers_that_come_in_any_order_have_one_number_each(
        steps in vec(step(), 1..60), swaps in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60), av1: bool,
        inter in prop_oneof![Just(Inter::Always), Just(Inter::Key), Just(Inter::Never)], flexible: bool,
    ) {
        let mut now = antiphon_netsim::start();
        let mut producer = producer(&[]);
        let mut consumer = Consumer::new(ConsumerConfig { descriptors: if av1 { Descriptors::Always } else { Descriptors::Never } });
        let (mut vp9, mut dd) = (Vp9::new(inter, flexible), Av1::new());
        let mut packets = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let key = step.key || index == 0;
            let frame = if av1 { dd.frame(now, key) } else { vp9.frame(now, key) };
            packets.extend(frame.into_iter().map(|packet| (step.clone(), packet)));
            now += Duration::from_millis(step.millis.into());
        }
        for (one, other) in swaps {
            let (one, other) = (one.index(packets.len()), other.index(packets.len()));
            packets.swap(one, other);
        }
        let mut given = std::collections::BTreeMap::new();
        for (step, packet) in packets {
            consumer.set_wish(Wish { level: step.level, temporal: step.temporal, bitrate: step.bitrate });
            let Some(facts) = producer.take(packet.received, &packet) else { continue };
            if let Some(written) = consumer.take(packet.received, &packet, &facts, producer.layers()) {
                prop_assert!(given.insert(written.sequence, packet.sequence).is_none());
            }
        }
        let theirs: Vec<u64> = given.values().copied().collect();
        prop_assert!(theirs.windows(2).all(|pair| pair[0] < pair[1]), "{theirs:?}");
    }

    #[test]
    fn no_bytes_harm_anybody(
        packets in vec((0u32..5, 0u8..7, any::<u16>(), any::<u32>(), any::<bool>(), vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40), 0u8..4), 0..80),
    ) {
        let mut now = antiphon_netsim::start();
        let mut producer = producer(&["a", "b"]);
        let mut consumers = [Descriptors::Never, Descriptors::Always].map(|descriptors| Consumer::new(ConsumerConfig { descriptors }));
        for (ssrc, which, sequence, timestamp, marker, body, descriptor, wish) in packets {
            let payload_type = [96, 98, 45, 102, 96, 98, 7][usize::from(which)];
            let mut made = packet(now, ssrc, payload_type, sequence.into(), body);
            made.rid = (which > 2).then(|| rid(["a", "b", "c", "d", "e"][ssrc as usize]));
            made.timestamp = timestamp;
            made.marker = marker;
            if !descriptor.is_empty() {
                made.extensions.others.set(Kind::DependencyDescriptor, &descriptor);
            }
            let Some(facts) = producer.take(now, &made) else { continue };
            for consumer in &mut consumers {
                consumer.set_wish(Wish { level: wish, temporal: wish, bitrate: (wish == 3).then_some(sequence.into()) });
                let _ = consumer.take(now, &made, &facts, producer.layers());
                if let Some(encoding) = consumer.poll_key_frame(now) {
                    producer.want_key_frame(encoding);
                }
                let _ = (consumer.poll_timeout(), consumer.layer());
            }
            let _ = producer.poll_key_frame(now);
            now += Duration::from_millis(u64::from(which) * 40);
        }
    }
}
