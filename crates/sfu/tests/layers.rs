//! Layers chosen, switched and written anew, by codec.

mod common;

use antiphon_media::extension::Kind;
use antiphon_media::extension::dependency::Stream;
use antiphon_rtp::payload::{vp8, vp9};
use antiphon_sfu::{ConsumerConfig, Descriptors, Layer, Wish};
use common::{Av1, FRAME, Inter, Vp9, Way, payload, simulcast};

fn vp8_of(packet: &antiphon_media::Packet) -> vp8::Descriptor {
    vp8::Descriptor::parse(&payload(packet)).unwrap().0
}

fn vp9_of(bytes: &[u8]) -> vp9::Descriptor<'_> {
    vp9::Descriptor::parse(bytes).unwrap().0
}

#[test]
fn simulcast_is_switched_at_key_frames_and_nobody_sees_the_seam() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings = simulcast();
    let mut had = Vec::new();
    for step in 0..240 {
        match step {
            60 => way.consumer.set_wish(Wish {
                level: 0,
                ..Wish::default()
            }),
            120 => way.consumer.set_wish(Wish {
                level: 1,
                ..Wish::default()
            }),
            180 => way.consumer.set_wish(Wish::default()),
            _ => {}
        }
        way.step(&mut encodings);
        if let Some(layer) = way.consumer.layer()
            && had.last() != Some(&layer.encoding)
        {
            had.push(layer.encoding);
        }
    }
    assert_eq!(had, [2, 0, 1, 2]);
    assert!(way.is_smooth());
    // Each picture has the next number, and each of temporal layer 0 the next index; where a picture begins, its first
    // packet is there.
    let mut pictures: Vec<(u16, u8, u8)> = Vec::new();
    for packet in &way.got {
        let descriptor = vp8_of(packet);
        let Some(vp8::PictureId::Long(id)) = descriptor.picture_id else {
            panic!()
        };
        let picture = (
            id,
            descriptor.tl0_picture_index.unwrap(),
            descriptor.temporal_layer.unwrap().0,
        );
        if pictures.last() != Some(&picture) {
            assert!(descriptor.starts_frame());
            pictures.push(picture);
        }
    }
    for pair in pictures.windows(2) {
        let ((before, base, _), (after, next_base, layer)) = (pair[0], pair[1]);
        assert_eq!(after, before.wrapping_add(1) & 0x7fff);
        assert_eq!(next_base, base.wrapping_add(u8::from(layer == 0)));
    }
    assert!(way.got.iter().all(|packet| packet.ssrc == 0 && packet.rid.is_none()));
    // One more than the wishes: it began with the smallest, whose key frame came first.
    assert_eq!(way.consumer.counts().switches, 4);
}

#[test]
fn a_key_frame_is_asked_of_the_layer_that_is_waited_for_once_and_again_after_half_a_second() {
    let mut way = Way::new(&["a", "b", "c"], ConsumerConfig::default());
    let mut encodings = simulcast();
    for _ in 0..30 {
        way.step(&mut encodings);
    }
    way.consumer.set_wish(Wish {
        level: 0,
        ..Wish::default()
    });
    let mut asked = Vec::new();
    for _ in 0..40 {
        way.step(&mut encodings);
        // This publisher does not listen.
        asked.append(&mut way.asked);
    }
    assert_eq!(asked, [100, 100, 100], "1.3 seconds");
    assert_eq!(
        way.consumer.layer().map(|layer| layer.encoding),
        Some(2),
        "until then the other goes on"
    );
    // Many consumers want it: the source hears it once.
    for _ in 0..5 {
        way.producer.want_key_frame(1);
    }
    let polls = [
        way.producer.poll_key_frame(way.now),
        way.producer.poll_key_frame(way.now),
    ];
    assert_eq!(polls.iter().flatten().filter(|ssrc| **ssrc == 101).count(), 1);
    assert!(way.producer.poll_timeout().is_some_and(|at| at > way.now));
}

#[test]
fn temporal_layers_of_vp8_are_thinned_at_once_and_come_back_where_y_allows() {
    let mut way = Way::new(&["a"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone()];
    for step in 0..120 {
        match step {
            40 => way.consumer.set_wish(Wish {
                temporal: 0,
                ..Wish::default()
            }),
            80 => way.consumer.set_wish(Wish::default()),
            _ => {}
        }
        way.step(&mut encodings);
    }
    assert!(way.got.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    let layers: Vec<u8> = way
        .got
        .iter()
        .step_by(2)
        .map(|packet| vp8_of(packet).temporal_layer.unwrap().0)
        .collect();
    let thin = layers
        .windows(6)
        .position(|six| six == [0; 6])
        .expect("only the base for a while");
    assert!(thin <= 40 && layers[thin + 12..].contains(&2));
    let ids: Vec<u16> = way
        .got
        .iter()
        .step_by(2)
        .map(|packet| match vp8_of(packet).picture_id {
            Some(vp8::PictureId::Long(id)) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    // Timestamps are those of the source.
    assert_eq!(
        way.got.last().map(|packet| packet.timestamp),
        Some(encodings[0].timestamp)
    );
}

#[test]
fn short_picture_ids_go_on_as_long_ones_and_widths_may_change() {
    let mut way = Way::new(&["a", "b"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone(), simulcast()[1].clone()];
    encodings[0].long = false;
    for step in 0..400 {
        match step {
            100 => way.consumer.set_wish(Wish {
                level: 0,
                ..Wish::default()
            }),
            300 => encodings[0].long = true,
            _ => {}
        }
        way.step(&mut encodings);
    }
    let ids: Vec<u16> = way
        .got
        .iter()
        .step_by(2)
        .map(|packet| match vp8_of(packet).picture_id {
            Some(vp8::PictureId::Long(id)) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(ids.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7fff), "{ids:?}");
    assert!(way.is_smooth());
}

#[test]
fn what_ends_within_a_picture_leaves_a_number_free() {
    let mut way = Way::new(&["a"], ConsumerConfig::default());
    let mut encoding = simulcast()[0].clone();
    let mut last = 0;
    for (shown, within) in [(2, false), (1, true), (2, false)] {
        for packet in encoding.frame(way.now, true).iter().take(shown) {
            last = way.show(packet).unwrap().sequence;
        }
        way.consumer.interrupt();
        way.now += FRAME;
        let mut next = encoding.frame(way.now, true);
        let written = way.show(&next.remove(0)).unwrap();
        // Half a picture must not look like all of it, or the receiver gives it to its decoder.
        assert_eq!(written.sequence - last, 1 + u64::from(within));
        last = way.show(&next.remove(0)).unwrap().sequence;
    }
}

#[test]
fn late_packets_and_repairs_find_their_numbers_across_a_switch() {
    let mut way = Way::new(&["a", "b"], ConsumerConfig::default());
    let mut encodings = [simulcast()[0].clone(), simulcast()[1].clone()];
    for _ in 0..20 {
        way.step(&mut encodings);
    }
    way.consumer.set_wish(Wish {
        temporal: 0,
        ..Wish::default()
    });
    let mut kept = Vec::new();
    // One packet in seven is late by many frames; the layers above are left out meanwhile.
    let mut expected = Vec::new();
    for frame in 0..40 {
        let key = way.asked.drain(..).any(|ssrc| ssrc == 101);
        for packet in encodings[1].frame(way.now, key) {
            if packet.sequence % 7 == 0 {
                kept.push(packet);
            } else if let Some(written) = way.show(&packet) {
                expected.push((packet.sequence, written.sequence));
            }
        }
        for packet in encodings[0].frame(way.now, frame == 20) {
            way.show(&packet);
        }
        if frame == 20 {
            way.consumer.set_wish(Wish {
                level: 0,
                ..Wish::default()
            });
        }
        way.now += FRAME;
    }
    let switched = way.got.iter().map(|packet| packet.sequence).max();
    let before = way.consumer.counts();
    for packet in &kept {
        if let Some(written) = way.show(packet) {
            // Between those of its neighbours.
            let below = expected
                .iter()
                .filter(|(theirs, _)| *theirs < packet.sequence)
                .map(|(_, ours)| *ours)
                .max();
            let above = expected
                .iter()
                .filter(|(theirs, _)| *theirs > packet.sequence)
                .map(|(_, ours)| *ours)
                .min();
            assert!(below.is_none_or(|below| below < written.sequence));
            assert!(above.is_none_or(|above| above > written.sequence));
            assert!(switched > Some(written.sequence));
            let is_base = vp8::Descriptor::parse(&packet.payload)
                .unwrap()
                .0
                .temporal_layer
                .unwrap()
                .0
                == 0;
            assert_eq!(written.payload.is_empty(), !is_base, "what is not wanted is filled");
        }
    }
    let after = way.consumer.counts();
    assert!(after.forwarded > before.forwarded && after.filled > before.filled);
    let mut numbers: Vec<u64> = way.got.iter().map(|packet| packet.sequence).collect();
    numbers.sort_unstable();
    assert!(
        numbers.windows(2).all(|pair| pair[0] != pair[1]),
        "no number was given twice"
    );
}

fn spatial_of(way: &Way) -> Vec<(u8, u8, bool)> {
    let layer = |packet: &antiphon_media::Packet| {
        let bytes = payload(packet);
        let layer = vp9_of(&bytes).layer.unwrap();
        (layer.spatial, layer.temporal, packet.marker)
    };
    way.got.iter().map(layer).collect()
}

/// Frames of VP9; a key frame when one is asked for.
fn vp9_frames(way: &mut Way, source: &mut Vp9, frames: usize) {
    for _ in 0..frames {
        let key = way.asked.drain(..).count() > 0 || source.frame == 0;
        for packet in source.frame(way.now, key) {
            way.show(&packet);
        }
        way.now += FRAME;
    }
}

#[test]
fn vp9_svc_goes_down_at_any_picture_and_up_at_key_frames_and_the_marker_is_on_the_highest() {
    for flexible in [true, false] {
        let mut way = Way::new(&[], ConsumerConfig::default());
        let mut source = Vp9::new(Inter::Always, flexible);
        vp9_frames(&mut way, &mut source, 40);
        let layers = spatial_of(&way);
        assert_eq!(
            layers[layers.len() - 3..]
                .iter()
                .map(|layer| (layer.0, layer.2))
                .collect::<Vec<_>>(),
            [(0, false), (1, false), (2, true)]
        );
        let asked = way.consumer.counts().key_frames_wanted;
        way.consumer.set_wish(Wish {
            level: 1,
            ..Wish::default()
        });
        way.got.clear();
        vp9_frames(&mut way, &mut source, 40);
        assert_eq!(
            way.consumer.counts().key_frames_wanted,
            asked,
            "no key frame is needed to go down"
        );
        let layers = spatial_of(&way);
        assert!(
            layers
                .iter()
                .all(|(spatial, _, marker)| *spatial < 2 && *marker == (*spatial == 1)),
            "{layers:?}"
        );
        way.consumer.set_wish(Wish {
            level: 2,
            temporal: 0,
            ..Wish::default()
        });
        way.got.clear();
        vp9_frames(&mut way, &mut source, 40);
        let layers = spatial_of(&way);
        let up = layers.iter().position(|layer| layer.0 == 2).expect("it comes back");
        assert!(
            layers[up..]
                .iter()
                .all(|(spatial, temporal, marker)| *temporal == 0 && *marker == (*spatial == 2)),
            "{layers:?}"
        );
        assert!(way.consumer.counts().key_frames_wanted > asked);
        way.got.clear();
        way.consumer.set_wish(Wish::default());
        vp9_frames(&mut way, &mut source, 8);
        assert!(spatial_of(&way).iter().any(|layer| layer.1 == 1), "U lets it go up");
        assert!(way.is_smooth());
    }
}

#[test]
fn vp9_without_prediction_between_layers_goes_on_as_one_layer() {
    for inter in [Inter::Key, Inter::Never] {
        let mut way = Way::new(&[], ConsumerConfig::default());
        let mut source = Vp9::new(inter, true);
        vp9_frames(&mut way, &mut source, 30);
        let layers = spatial_of(&way);
        let last = &layers[layers.len() - 10..];
        assert!(last.iter().all(|layer| layer.0 == 2 && layer.2), "{last:?}");
        let lowest = |way: &Way| way.producer.layers().levels()[0].bitrate(u8::MAX);
        assert!(lowest(&way) > 0 && way.producer.layers().levels()[2].bitrate(u8::MAX) < 6 * lowest(&way));
        // Down is a key frame too: the consumer does not have the layer below.
        way.consumer.set_wish(Wish {
            level: 0,
            ..Wish::default()
        });
        let wanted = way.consumer.counts().key_frames_wanted;
        way.got.clear();
        vp9_frames(&mut way, &mut source, 30);
        assert!(way.consumer.counts().key_frames_wanted > wanted);
        let layers = spatial_of(&way);
        let down = layers.iter().position(|layer| layer.0 == 0).expect("it comes");
        assert!(layers[down..].iter().all(|layer| layer.0 == 0 && layer.2));
        assert!(way.is_smooth());
    }
}

#[test]
fn av1_goes_on_by_decode_targets_and_the_receiver_is_told_which() {
    let mut way = Way::new(
        &[],
        ConsumerConfig {
            descriptors: Descriptors::Always,
        },
    );
    let mut source = Av1::new();
    let mut receiver = Stream::default();
    let mut frames = |way: &mut Way, count: usize| {
        let mut got = Vec::new();
        for _ in 0..count {
            let key = way.asked.drain(..).count() > 0;
            for packet in source.frame(way.now, key) {
                if let Some(written) = way.show(&packet) {
                    let others = written.extensions.others.borrow();
                    let descriptor = receiver.read(others.get(Kind::DependencyDescriptor).unwrap()).unwrap();
                    let frame = receiver.resolve(&descriptor).unwrap();
                    got.push((frame.spatial, frame.temporal, written.marker, receiver.active_targets()));
                }
            }
            way.now += FRAME;
        }
        got
    };
    let all = frames(&mut way, 20);
    assert_eq!(
        all[36..],
        [
            (0, 0, false, 0b1111),
            (1, 0, true, 0b1111),
            (0, 1, false, 0b1111),
            (1, 1, true, 0b1111)
        ]
    );
    assert_eq!(
        way.consumer.layer(),
        Some(Layer {
            encoding: 0,
            spatial: 1,
            temporal: u8::MAX
        })
    );
    // Fewer frames: from the next frame on that lets it.
    way.consumer.set_wish(Wish {
        temporal: 0,
        ..Wish::default()
    });
    let thin = frames(&mut way, 20);
    assert!(
        thin[4..]
            .iter()
            .all(|frame| frame.1 == 0 && frame.3 == 0b0101 && frame.2 == (frame.0 == 1)),
        "{thin:?}"
    );
    way.consumer.set_wish(Wish::default());
    let back = frames(&mut way, 20);
    assert!(back.iter().any(|frame| frame.1 == 1 && frame.3 == 0b1111));
    // The lower spatial layer, without a key frame, and the higher again with one.
    let wanted = way.consumer.counts().key_frames_wanted;
    way.consumer.set_wish(Wish {
        level: 0,
        ..Wish::default()
    });
    let low = frames(&mut way, 20);
    assert!(
        low[4..]
            .iter()
            .all(|frame| frame.0 == 0 && frame.2 && frame.3 == 0b0011),
        "{low:?}"
    );
    assert_eq!(way.consumer.counts().key_frames_wanted, wanted);
    way.consumer.set_wish(Wish::default());
    let high = frames(&mut way, 20);
    assert_eq!(high.last().map(|frame| (frame.0, frame.3)), Some((1, 0b1111)));
    assert!(way.consumer.counts().key_frames_wanted > wanted);
    assert!(way.is_smooth());
    let sizes: Vec<u32> = way
        .producer
        .layers()
        .levels()
        .iter()
        .map(|level| level.resolution.unwrap().width)
        .collect();
    assert_eq!(sizes, [320, 640]);
}

#[test]
fn levels_are_ordered_by_their_pictures_whatever_their_rids_say() {
    let mut way = Way::new(&["c", "b", "a"], ConsumerConfig::default());
    let mut encodings = simulcast();
    for encoding in &mut encodings {
        for packet in encoding.frame(way.now, true) {
            way.show(&packet);
        }
    }
    for _ in 0..40 {
        way.step(&mut encodings);
    }
    let levels = way.producer.layers().levels();
    let widths: Vec<u32> = levels.iter().map(|level| level.resolution.unwrap().width).collect();
    assert_eq!(widths, [320, 640, 1280]);
    let rids: Vec<String> = levels.iter().map(|level| level.rid.unwrap().to_string()).collect();
    assert_eq!(rids, ["a", "b", "c"]);
    // 2000 bytes of media in two packets a frame, 30 a second, and a little for headers.
    let rate = levels[2].bitrate(u8::MAX);
    assert!((450_000..600_000).contains(&rate), "{rate}");
    assert!(levels[2].bitrate(0) * 3 < rate && levels[2].temporal == 3);
}

#[test]
fn timestamps_go_on_by_the_clocks_of_capture_and_never_back() {
    use std::time::Duration;
    for (captured_ms, expected) in [
        // Captured 33 ms after the last frame of the other encoding, and came with it.
        (Some(33), 2970),
        // An older picture: one tick after.
        (Some(-40), 1),
        // What it says cannot be: by arrival.
        (Some(-500), 2970),
        // No more than it came later, and a little: 33 + 25 ms.
        (Some(400), 5220),
        (None, 2970),
    ] {
        let mut way = Way::new(&["a", "b"], ConsumerConfig::default());
        let mut encodings = [simulcast()[0].clone(), simulcast()[1].clone()];
        for _ in 0..20 {
            way.step(&mut encodings);
        }
        assert_eq!(way.consumer.layer().map(|layer| layer.encoding), Some(1));
        way.consumer.set_wish(Wish {
            level: 0,
            ..Wish::default()
        });
        let last = way.now - FRAME;
        let before = way.got.last().unwrap().timestamp;
        let mut key = encodings[0].frame(way.now, true);
        for packet in &mut key {
            packet.captured = captured_ms.map(|ms: i64| match ms {
                0.. => last + Duration::from_millis(ms as u64),
                _ => last - Duration::from_millis(ms.unsigned_abs()),
            });
        }
        let first = way.show(&key[0]).expect("it begins here");
        let second = way.show(&key[1]).unwrap();
        let passed = first.timestamp.wrapping_sub(before);
        assert_eq!(
            (passed, second.timestamp),
            (expected, first.timestamp),
            "{captured_ms:?}"
        );
    }
}
