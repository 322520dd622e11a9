//! The hook of encoded transforms: whole frames are changed on their way, and what is known of them stays.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use antiphon_media::extension::{self, dependency};
use antiphon_media::{
    Codec, Config, Event, Frame, FrameMetadata, FrameTransform, Kind, ReceiverConfig, SenderConfig, Transformed,
};
use antiphon_sansio::Writer;
use common::*;

/// Hides every byte but the first, and drops each tenth frame; wants a key frame after each drop.
struct Veil {
    seen: Arc<AtomicU32>,
    drops: bool,
    wants: bool,
}

impl FrameTransform for Veil {
    fn transform(&mut self, frame: &Frame, _: &FrameMetadata<'_>) -> Transformed {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        self.wants = self.drops && number % 10 == 9;
        if self.wants {
            return Transformed::Dropped;
        }
        let mut data = frame.data.to_vec();
        data.iter_mut().skip(1).for_each(|byte| *byte ^= 0xa5);
        Transformed::Changed(data.into())
    }

    fn wants_key_frame(&mut self) -> bool {
        std::mem::take(&mut self.wants)
    }
}

fn veil(drops: bool) -> (Arc<AtomicU32>, Option<Box<dyn FrameTransform>>) {
    let seen = Arc::new(AtomicU32::new(0));
    let veil = Veil {
        seen: Arc::clone(&seen),
        drops,
        wants: false,
    };
    (seen, Some(Box::new(veil)))
}

fn vp9() -> Codec {
    Codec {
        name: "VP9".into(),
        ..vp8(true, true)
    }
}

/// A frame that only says whether it is a key frame: in the first byte of VP8, in the descriptor of VP9.
fn vp9_picture(number: u32, key: bool) -> Frame {
    // RFC 9628's bitstream: frame marker 2, profile 0, shown, then error resilience; a key frame has its sync code and size.
    let mut data = picture(number, 3000, key).data.to_vec();
    if key {
        data[..10].copy_from_slice(&[0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0xf0, 0x00]);
    } else {
        data[0] = 0x86;
    }
    // No superframe's mark at the end.
    if let Some(last) = data.last_mut() {
        *last = 0;
    }
    Frame::new(96, number * 3000, data)
}

#[test]
fn what_one_end_hides_the_other_finds() {
    for codec in [vp8(true, true), vp9()] {
        let mut pair = Pair::new(1, Config::default());
        let config = sender("v", Kind::Video, 1000, codec.clone());
        let id = pair.ends[0].add_sender(pair.now, config).unwrap();
        let to = pair.ends[1]
            .add_receiver(receiver("v", Kind::Video, codec.clone(), vec![]))
            .unwrap();
        let (hidden, transform) = veil(false);
        pair.ends[0].set_sender_transform(id, transform).unwrap();
        let mut sent: Vec<Frame> = Vec::new();
        let mut play = |pair: &mut Pair, count: u32| {
            for _ in 0..count {
                let number = sent.len() as u32;
                let key = number.is_multiple_of(10);
                let frame = if codec.name == "VP9" {
                    vp9_picture(number, key)
                } else {
                    picture(number, 3000, key)
                };
                pair.ends[0].send_frame(pair.now, id, frame.clone()).unwrap();
                sent.push(frame);
                pair.run(40 * MS);
            }
        };
        // Nobody takes the veil away: other bytes, of the same frames.
        play(&mut pair, 20);
        let (found, transform) = veil(false);
        pair.ends[1].set_receiver_transform(to, transform).unwrap();
        play(&mut pair, 20);
        pair.ends[1].set_receiver_transform(to, None).unwrap();
        pair.ends[0].set_sender_transform(id, None).unwrap();
        play(&mut pair, 5);
        let came: Vec<_> = pair.frames().map(|(frame, _)| frame.clone()).collect();
        assert_eq!(came.len(), 45, "{}", codec.name);
        for (number, (got, sent)) in came.iter().zip(&sent).enumerate() {
            assert_eq!(got.data == sent.data, number >= 20, "{number} of {}", codec.name);
            assert_eq!(got.key_frame, number.is_multiple_of(10), "{number} of {}", codec.name);
        }
        assert_eq!(
            (hidden.load(Ordering::Relaxed), found.load(Ordering::Relaxed)),
            (40, 20)
        );
    }
}

#[test]
fn a_transform_drops_frames_and_asks_for_key_frames() {
    let mut pair = Pair::new(1, Config::default());
    let id = pair.ends[0]
        .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(true, true)))
        .unwrap();
    let to = pair.ends[1]
        .add_receiver(receiver("v", Kind::Video, vp8(true, true), vec![]))
        .unwrap();
    let asked = |pair: &Pair| {
        let events = pair.events[0].iter();
        events
            .filter(|event| matches!(event, Event::KeyFrameRequested { .. }))
            .count()
    };
    let play = |pair: &mut Pair, from: u32, count: u32| {
        for number in from..from + count {
            pair.ends[0]
                .send_frame(pair.now, id, picture(number, 3000, number.is_multiple_of(5)))
                .unwrap();
            pair.run(100 * MS);
        }
    };
    // The peer's: it asks over the network.
    pair.ends[1].set_receiver_transform(to, veil(true).1).unwrap();
    play(&mut pair, 0, 40);
    assert_eq!((pair.frames().count(), asked(&pair)), (36, 4));
    pair.ends[1].set_receiver_transform(to, None).unwrap();
    // Our own: the encoder is asked at once.
    pair.ends[0].set_sender_transform(id, veil(true).1).unwrap();
    play(&mut pair, 40, 20);
    assert_eq!(asked(&pair), 6);
    assert_eq!(pair.ends[0].stats().outbound[0].frames.refused, 2);
    assert_eq!(pair.ends[0].set_sender_transform(id, None), Ok(()));
    pair.ends[0].remove_sender(id).unwrap();
    assert!(pair.ends[0].set_sender_transform(id, veil(true).1).is_err());
}

/// Notes what it is told of each frame.
struct Witness(Arc<Mutex<Log>>);

/// What was told of each frame, and what it depends on.
type Log = Vec<(Told, Vec<u64>)>;

/// SSRC, timestamp, codec, size, layers, whether it was received, whether it was captured, its id.
type Told = (
    u32,
    u32,
    String,
    Option<(u32, u32)>,
    [Option<u8>; 2],
    bool,
    bool,
    Option<u64>,
);

impl FrameTransform for Witness {
    fn transform(&mut self, _: &Frame, metadata: &FrameMetadata<'_>) -> Transformed {
        let told = (
            metadata.synchronization_source,
            metadata.rtp_timestamp,
            metadata.mime_type(),
            metadata.resolution.map(|size| (size.width, size.height)),
            [metadata.spatial_index, metadata.temporal_index],
            metadata.receive_time.is_some(),
            metadata.capture_time.is_some(),
            metadata.frame_id,
        );
        self.0.lock().unwrap().push((told, metadata.dependencies().to_vec()));
        Transformed::Unchanged
    }
}

/// The descriptor of a picture of one layer: a key frame brings the structure, and others depend on the one before.
fn descriptor(structure: &dependency::Structure, number: u16) -> Vec<u8> {
    let key = number == 65_530;
    let own = dependency::DependencyDescriptor {
        frame: dependency::FrameStart {
            start: true,
            end: true,
            template_id: u8::from(!key),
            frame_number: number,
        },
        structure: key.then(|| Box::new(structure.clone())),
        ..Default::default()
    };
    let mut bytes = [0; 64];
    let mut out = Writer::new(&mut bytes);
    own.write((!key).then_some(structure), &mut out).unwrap();
    out.finish().to_vec()
}

fn structure() -> dependency::Structure {
    let template = |differences: &[u16]| dependency::Template {
        indications: dependency::Indications::new([dependency::Indication::Switch]),
        differences: dependency::Differences::new(differences.iter().copied()),
        chains: dependency::Chains::new([u8::from(!differences.is_empty())]),
        ..Default::default()
    };
    dependency::Structure::new(0, 1, &[0], &[template(&[]), template(&[1])], &[]).unwrap()
}

#[test]
fn what_is_known_of_a_frame_is_told_at_both_ends() {
    let mut pair = Pair::new(1, Config::default());
    let mut map = extensions();
    map.insert(9, extension::Kind::DependencyDescriptor);
    let sender = SenderConfig {
        extensions: map.clone(),
        ..sender("v", Kind::Video, 1000, vp8(true, true))
    };
    let receiver = ReceiverConfig {
        extensions: map,
        ..receiver("v", Kind::Video, vp8(true, true), vec![])
    };
    let id = pair.ends[0].add_sender(pair.now, sender).unwrap();
    let to = pair.ends[1].add_receiver(receiver).unwrap();
    let told = [(); 2].map(|()| Arc::new(Mutex::new(Log::new())));
    let witness = |at: usize| Some(Box::new(Witness(Arc::clone(&told[at]))) as Box<dyn FrameTransform>);
    pair.ends[0].set_sender_transform(id, witness(0)).unwrap();
    pair.ends[1].set_receiver_transform(to, witness(1)).unwrap();
    let structure = structure();
    for number in 0..30u32 {
        let mut frame = Frame {
            captured: Some(pair.now),
            ..picture(number, 3000, number == 0)
        };
        if number == 0 {
            let mut data = frame.data.to_vec();
            data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
            frame.data = data.into();
        }
        let described = descriptor(&structure, 65_530u16.wrapping_add(number as u16));
        frame
            .extensions
            .others
            .set(extension::Kind::DependencyDescriptor, &described);
        pair.ends[0].send_frame(pair.now, id, frame).unwrap();
        pair.run(100 * MS);
    }
    let [sent, came] = told.map(|told| told.lock().unwrap().clone());
    assert_eq!((sent.len(), came.len()), (30, 30));
    for (number, ((sent, _), (came, depends_on))) in sent.iter().zip(&came).enumerate() {
        let (ssrc, timestamp, codec, size, layers, received, captured, frame_id) = sent;
        assert_eq!((*ssrc, codec.as_str(), *layers), (1000, "video/VP8", [Some(0); 2]));
        assert_eq!(*size, Some((640, 360)), "of the newest key frame");
        assert!(!received && *captured && came.5);
        // The same frame, as the wire has it.
        assert_eq!((came.0, came.1, &came.2, came.3), (*ssrc, *timestamp, codec, *size));
        let numbered = 0x1_0000 + 65_530 + number as u64;
        assert_eq!((*frame_id, came.7), (Some(numbered), Some(numbered)));
        let expected: &[u64] = if number == 0 { &[] } else { &[numbered - 1] };
        assert_eq!(depends_on, expected);
    }
    assert!(!came[0].0.6 && came[29].0.6, "reports tell when it was captured");
}
