//! What went wrong in other forwarders, each with the name of the report.

mod common;

use std::time::Duration;

use antiphon_media::Packet;
use antiphon_media::extension::Kind;
use antiphon_sfu::{ConsumerConfig, Descriptors, Layer, MAX_ENCODINGS, Wish};
use common::{Av1, FRAME, H264, Inter, Vp8, Vp9, Way, packet, payload, rid, simulcast};

#[test]
fn livekit_4594_every_rid_of_vp9_simulcast_is_a_level_of_its_own() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings: Vec<Vp9> = (0u8..3)
        .map(|place| Vp9 {
            rid: Some(rid(["a", "b", "c"][usize::from(place)])),
            ssrc: 900 + u32::from(place),
            layers: 1,
            ..Vp9::new(Inter::Never, true)
        })
        .collect();
    for level in [2, 0, 1] {
        way.consumer.set_wish(Wish {
            level,
            ..Wish::default()
        });
        for _ in 0..20 {
            let asked = std::mem::take(&mut way.asked);
            for encoding in &mut encodings {
                for mut packet in encoding.frame(way.now, asked.contains(&encoding.ssrc)) {
                    // They cost what their place says.
                    packet.payload = [&packet.payload[..], &vec![7; (encoding.ssrc as usize - 899) * 300]]
                        .concat()
                        .into();
                    way.show(&packet);
                }
            }
            way.now += FRAME;
        }
        assert_eq!(way.producer.layers().levels().len(), 3);
        assert_eq!(
            way.consumer.layer().map(|layer| (layer.encoding, layer.spatial)),
            Some((level, 0))
        );
    }
    assert!(way.is_smooth());
}

#[test]
fn mediasoup_1821_a_pinned_layer_of_k_svc_that_stopped_is_left_and_taken_again() {
    let mut way = Way::new(&[], ConsumerConfig::default());
    let mut source = Vp9::new(Inter::Key, true);
    way.consumer.set_wish(Wish {
        level: 2,
        ..Wish::default()
    });
    let mut longest = Duration::ZERO;
    let mut last = None;
    for step in 0..240 {
        // The sender has no bits for the highest layer any more; later it has again.
        source.layers = if (80..160).contains(&step) { 2 } else { 3 };
        let key = way.asked.drain(..).count() > 0 || step == 0;
        for packet in source.frame(way.now, key) {
            if way.show(&packet).is_some() {
                longest = longest.max(way.now - last.replace(way.now).unwrap_or(way.now));
            }
        }
        way.now += FRAME;
        if step == 159 {
            assert_eq!(way.consumer.layer().map(|layer| layer.spatial), Some(1));
        }
    }
    assert_eq!(way.consumer.layer().map(|layer| layer.spatial), Some(2));
    assert!(longest < Duration::from_millis(1000), "{longest:?}");
}

#[test]
fn mediasoup_1821_a_pinned_encoding_that_stopped_is_left_too() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings = simulcast();
    way.consumer.set_wish(Wish {
        level: 0,
        ..Wish::default()
    });
    for _ in 0..40 {
        way.step(&mut encodings);
    }
    assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(0));
    // The pinned one is gone, and all that is left is larger.
    for _ in 0..120 {
        way.step(&mut encodings[1..]);
    }
    assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(1));
    for _ in 0..40 {
        way.step(&mut encodings);
    }
    assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(0));
    // All silent at once is a still picture, and no reason to go anywhere.
    way.now += Duration::from_secs(30);
    for _ in 0..10 {
        way.step(&mut encodings);
    }
    assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(0));
    assert!(way.got.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
}

#[test]
fn mediasoup_1536_dependency_descriptors_go_on_only_where_they_shall() {
    for (descriptors, spatial, expected) in [
        (Descriptors::Never, 2, false),
        (Descriptors::Always, 2, true),
        (Descriptors::Always, 1, true),
        // Chromium shows nothing of two spatial layers without (so one goes on), and freezes less without where there is one.
        (Descriptors::Needed, 2, true),
        (Descriptors::Needed, 1, false),
    ] {
        let mut way = Way::new(&[], ConsumerConfig { descriptors });
        let mut source = Av1::new();
        if spatial == 1 {
            source.structure = common::l1t2();
        }
        for _ in 0..30 {
            let key = way.asked.drain(..).count() > 0;
            for packet in source.frame(way.now, key) {
                way.show(&packet);
            }
            way.now += FRAME;
        }
        let has = |packet: &Packet| {
            packet
                .extensions
                .others
                .borrow()
                .get(Kind::DependencyDescriptor)
                .is_some()
        };
        let highest = u8::from(expected && spatial == 2);
        assert_eq!(way.consumer.layer().map(|layer| layer.spatial), Some(highest));
        assert!(way.consumer.counts().key_frames_wanted < 4);
        assert!(
            way.got.len() > 25 && way.got.iter().all(|packet| has(packet) == expected),
            "{descriptors:?}"
        );
    }
}

#[test]
fn mediasoup_1536_a_stream_with_descriptors_goes_on_through_losses_with_few_key_frames() {
    for (descriptors, spatial) in [
        (Descriptors::Never, 1),
        (Descriptors::Always, 1),
        (Descriptors::Always, 2),
    ] {
        let mut way = Way::new(&[], ConsumerConfig { descriptors });
        let mut source = Av1::new();
        if spatial == 1 {
            source.structure = common::l1t2();
        }
        // The first key frame is lost, and with it what says how to read the others.
        let _lost = source.frame(way.now, true);
        let (mut number, mut lost, mut longest) = (0, 0, Duration::ZERO);
        let mut last = None;
        for _ in 0..1800 {
            let key = way.asked.drain(..).count() > 0;
            for packet in source.frame(way.now, key) {
                number += 1;
                // Two of a hundred, and never the key frames that were asked for.
                if number % 50 == 17 && !key {
                    lost += 1;
                } else if way.show(&packet).is_some() {
                    longest = longest.max(way.now - last.replace(way.now).unwrap_or(way.now));
                }
            }
            way.now += FRAME;
        }
        let counts = way.consumer.counts();
        assert!(
            lost > 30 && longest <= FRAME * 3,
            "{descriptors:?} {spatial}: {longest:?}"
        );
        assert!(counts.key_frames_wanted <= 3, "{descriptors:?} {spatial}: {counts:?}");
        // What was lost before us stays a hole, for the receiver to ask for; nothing else is missing.
        let holes: u64 = way
            .got
            .windows(2)
            .map(|pair| pair[1].sequence - pair[0].sequence - 1)
            .sum();
        assert!(holes <= lost, "{descriptors:?} {spatial}: {holes} holes of {lost}");
        assert!(way.got.len() as u64 + lost >= number - 10, "{descriptors:?} {spatial}");
    }
}

#[test]
fn mediasoup_999_the_key_frame_that_is_waited_for_is_not_dropped_for_its_timestamp() {
    // Whatever the clocks of the encodings say, the first key frame is taken, and time goes on from there.
    for skew in [-2000i64, -100, -74, -1, 0, 1, 74, 100, 2000] {
        let mut way = Way::new(&["a", "b"], ConsumerConfig::default());
        let mut encodings = [simulcast()[0].clone(), simulcast()[1].clone()];
        for _ in 0..20 {
            way.step(&mut encodings);
        }
        way.consumer.set_wish(Wish {
            level: 0,
            ..Wish::default()
        });
        let wanted = way.consumer.counts().key_frames_wanted;
        for step in 0..20 {
            let asked = std::mem::take(&mut way.asked);
            for encoding in &mut encodings {
                for mut packet in encoding.frame(way.now, asked.contains(&encoding.ssrc)) {
                    if encoding.ssrc == 100 {
                        packet.captured = packet.captured.map(|at| match skew {
                            0.. => at + Duration::from_millis(skew as u64),
                            _ => at - Duration::from_millis(skew.unsigned_abs()),
                        });
                    }
                    way.show(&packet);
                }
            }
            way.now += FRAME;
            if step == 3 {
                assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(0), "{skew}");
            }
        }
        assert_eq!(way.consumer.counts().key_frames_wanted, wanted + 1);
        assert!(way.is_smooth(), "{skew}");
    }
}

#[test]
fn mediasoup_316_if_all_layers_are_too_dear_the_cheapest_is_sent() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings = simulcast();
    (encodings[1].bytes, encodings[2].bytes) = (1500, 6000);
    let budget = |bitrate| Wish {
        bitrate: Some(bitrate),
        ..Wish::default()
    };
    way.consumer.set_wish(budget(10_000));
    for _ in 0..60 {
        way.step(&mut encodings);
    }
    assert_eq!(
        way.consumer.layer(),
        Some(Layer {
            encoding: 0,
            spatial: 0,
            temporal: 0
        })
    );
    assert!(way.got.iter().any(|packet| !packet.payload.is_empty()));
    // And what is learnt is used: within seconds each has what fits.
    for (bitrate, encoding) in [(140_000, 0), (500_000, 1), (2_000_000, 2), (500_000, 1), (0, 0)] {
        way.consumer.set_wish(budget(bitrate));
        for _ in 0..150 {
            way.step(&mut encodings);
        }
        assert_eq!(
            way.consumer.layer().map(|layer| layer.encoding),
            Some(encoding),
            "{bitrate}"
        );
    }
    assert!(way.got.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
}

#[test]
fn a_budget_that_swings_around_a_layer_does_not_switch_with_it() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings = simulcast();
    for _ in 0..40 {
        way.step(&mut encodings);
    }
    let cost = way.producer.layers().levels()[1].bitrate(u8::MAX);
    let before = way.consumer.counts().switches;
    for step in 0..900u64 {
        // Ten per cent up and down, each second: 30 seconds.
        let swing = if step / 30 % 2 == 0 { 90 } else { 110 };
        way.consumer.set_wish(Wish {
            bitrate: Some(cost * swing / 100),
            ..Wish::default()
        });
        way.step(&mut encodings);
    }
    assert!(
        way.consumer.counts().switches - before <= 3,
        "{:?}",
        way.consumer.counts()
    );
}

#[test]
fn pulsebeam_the_ladder_is_read_from_the_structure_that_goes_on() {
    let mut way = Way::new(&[], ConsumerConfig::default());
    let mut source = Av1::new();
    for _ in 0..40 {
        let key = way.asked.drain(..).count() > 0;
        for packet in source.frame(way.now, key) {
            way.show(&packet);
        }
        way.now += FRAME;
    }
    let structure = common::l2t2();
    let levels = way.producer.layers().levels();
    assert_eq!(levels.len(), structure.resolutions().len());
    for (level, size) in levels.iter().zip(structure.resolutions()) {
        assert_eq!(
            level.resolution.map(|own| (own.width, own.height)),
            Some((size.width, size.height))
        );
        assert_eq!(level.temporal, 2);
    }
    // The upper one needs the lower one: both count.
    assert!(levels[1].bitrate(1) > levels[0].bitrate(1) * 19 / 10 && levels[1].bitrate(0) < levels[1].bitrate(1));
}

#[test]
fn livekit_4739_layers_and_rids_out_of_bounds_are_counted_and_harm_nobody() {
    let mut way = Way::new(&["a"], ConsumerConfig::default());
    let mut encodings: Vec<Vp8> = (0u16..6).map(|place| Vp8::new(place, (320, 180), 400)).collect();
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    assert_eq!(way.producer.layers().levels().len(), MAX_ENCODINGS);
    assert!(way.producer.dropped().encodings > 0);
    // Spatial layers to the seventh, which nobody knows a size of.
    let mut way = Way::new(&[], ConsumerConfig::default());
    let mut source = Vp9::new(Inter::Always, true);
    source.layers = 8;
    for step in 0..20 {
        for packet in source.frame(way.now, step == 0) {
            way.show(&packet);
        }
        way.now += FRAME;
    }
    assert_eq!(way.producer.layers().levels().len(), antiphon_sfu::MAX_SPATIAL);
    assert!(way.consumer.layer().is_some_and(|layer| layer.spatial == 3));
    way.consumer.set_wish(Wish {
        level: 200,
        temporal: 200,
        bitrate: Some(u64::MAX / 100),
    });
    for packet in source.frame(way.now, true) {
        way.show(&packet);
    }
    assert!(way.is_smooth());
}

#[test]
fn livekit_4690_padding_of_a_source_goes_on_to_nobody_and_leaves_no_hole() {
    let mut way = Way::new(&["a"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone()];
    for step in 0..30 {
        way.step(&mut encodings);
        if step % 3 == 0 {
            let mut padding = packet(way.now, 100, common::VP8, encodings[0].sequence, Vec::new());
            padding.rid = Some(rid("a"));
            padding.timestamp = encodings[0].timestamp;
            encodings[0].sequence += 1;
            assert!(way.show(&padding).is_none());
        }
    }
    assert!(way.is_smooth() && way.got.iter().all(|packet| !payload(packet).is_empty()));
}

#[test]
fn who_publishes_h264_without_key_frames_is_seen_all_the_same() {
    let mut way = Way::new(&[], ConsumerConfig::default());
    for number in 0..120u64 {
        // A slice that is no key frame: an encoder that refreshes the picture by and by.
        let mut made = packet(way.now, 5, H264, number, vec![0x61, 0x88, 1, 2, 3]);
        made.timestamp = number as u32 * 2970;
        made.marker = true;
        way.show(&made);
        way.now += FRAME;
    }
    let first = way.got.first().expect("it begins").sequence;
    assert!((55..70).contains(&first), "{first}");
    assert_eq!(way.got.len() as u64, 120 - first);
}

#[test]
fn a_publisher_that_begins_anew_goes_on_in_the_same_stream() {
    let mut way = Way::new(&["a"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone()];
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    // Another source under the same name, with other numbers, and later the same with a jump. Its first frame is lost.
    encodings[0].ssrc = 4242;
    let _lost = encodings[0].frame(way.now, true);
    encodings[0].sequence = 3;
    encodings[0].timestamp = 99;
    encodings[0].picture = 5;
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    encodings[0].sequence += 40_000;
    encodings[0].picture = 3;
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    assert!(way.got.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    assert!(
        way.got
            .windows(2)
            .all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 90_000)
    );
}

#[test]
fn encodings_without_rids_are_known_by_their_place_in_the_description() {
    let mut way = Way::new(&[], ConsumerConfig::default());
    let mut encodings = simulcast();
    for (place, encoding) in (0u8..).zip(&mut encodings) {
        encoding.rid = None;
        way.producer.place_source(encoding.ssrc, place);
    }
    way.producer.place_source(7, 200);
    for level in [2, 0, 1] {
        way.consumer.set_wish(Wish {
            level,
            ..Wish::default()
        });
        for _ in 0..10 {
            way.step(&mut encodings);
        }
        assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(level));
    }
    // A source that nobody spoke of is none of them, and the fourth encoding.
    let mut other = Vp8::new(3, (160, 90), 100);
    other.rid = None;
    for packet in other.frame(way.now, true) {
        way.show(&packet);
    }
    assert_eq!(way.producer.layers().levels().len(), 4);
    assert!(way.is_smooth());
}

#[test]
fn what_was_missed_at_the_end_of_a_layer_keeps_its_number_when_the_next_begins() {
    let mut way = Way::new(&["a", "b"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone(), simulcast()[1].clone()];
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    way.consumer.set_wish(Wish {
        temporal: 0,
        ..Wish::default()
    });
    // A frame of the lowest layer is lost, those behind it are left out, and then the other encoding begins.
    let mut missed = Vec::new();
    for _ in 0..4 {
        for packet in encodings[1].frame(way.now, false) {
            let is_base = packet.payload[4] >> 6 == 0 && packet.payload[5] >> 6 == 0;
            if is_base {
                missed.push(packet);
            } else {
                way.show(&packet);
            }
        }
        way.now += FRAME;
    }
    way.consumer.set_wish(Wish {
        level: 0,
        ..Wish::default()
    });
    for packet in encodings[0].frame(way.now, true) {
        way.show(&packet);
    }
    for packet in &missed {
        way.show(packet);
    }
    let mut numbers: Vec<u64> = way.got.iter().map(|packet| packet.sequence).collect();
    numbers.sort_unstable();
    assert!(
        !missed.is_empty() && numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
}
