//! Every header extension that has a type: what is written is read, as long as was said, and no bytes make a reader panic.

use antiphon_rtp::extension::dependency::{
    Chains, DependencyDescriptor, DescriptorError, Differences, FrameStart, Indication, Indications, Resolution,
    Rewriter, Stream, Structure, Template,
};
use antiphon_rtp::extension::{
    Carried, Chromaticity, ColorSpace, CorruptionDetection, Extension, FrameDescription, FrameLayer, FrameMarking,
    FrameTrackingId, GenericFrameDescriptor, HdrMetadata, InbandComfortNoise, Kind, Layer, Map, NtpTimestamp,
    OwnedOthers, SubframeFlags, Values, VideoContentType, VideoLayersAllocation, VideoTiming, is_well_formed,
};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_sansio::Writer;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Written, read again, in a packet and by itself.
fn holds<T: Extension + PartialEq + std::fmt::Debug>(extension: &T) {
    let mut buffer = [0xee; 300];
    let mut out = Writer::new(&mut buffer);
    extension.write(&mut out).unwrap();
    let data = out.finish().to_vec();
    assert_eq!(data.len(), extension.written_len());
    let kind = extension.kind();
    assert!(T::KINDS.contains(&kind) && is_well_formed(kind, &data));
    assert_eq!(T::parse(kind, &data).as_ref(), Some(extension));
    for short in 0..data.len() {
        let mut out = Writer::new(&mut buffer[..short]);
        assert!(extension.write(&mut out).is_err(), "no room for it");
    }

    // Beside another, under identifiers of both forms, and carried on.
    for id in [3, 200] {
        let mut map = Map::default();
        map.insert(id, kind);
        map.insert(7, Kind::AudioLevel);
        let mut others = OwnedOthers::default();
        assert!(others.put(extension));
        let values = Values {
            others: others.borrow(),
            ..Values::default()
        };
        let mut buffer = [0; 400];
        let mut out = Writer::new(&mut buffer);
        Header::default().write(&[], &values, &map, &mut out).unwrap();
        let packet = Packet::parse(out.finish()).unwrap();
        let read = packet.values(&map);
        assert_eq!(read, values);
        assert_eq!(read.others.read::<T>().as_ref(), Some(extension));
        let carried = Carried::of(&read);
        let mut next = Values::default();
        carried.put(&mut next);
        assert_eq!(next, values);
    }
}

/// A difference of a frame, and one of a template.
fn indication() -> impl Strategy<Value = Indication> {
    prop_oneof![
        Just(Indication::NotPresent),
        Just(Indication::Discardable),
        Just(Indication::Switch),
        Just(Indication::Required),
    ]
}

prop_compose! {
    fn layer()(rates in vec(prop_oneof![0u32..1 << 14, 1 << 14..=u32::MAX], 1..=4)) -> Layer {
        Layer::new(&rates)
    }
}

/// A structure whose steps between templates, targets and chains are such that it can be written.
fn structure() -> impl Strategy<Value = Structure> {
    let first = (0u8..64, 1u8..=32, any::<u8>(), vec(0u8..3, 0..40), any::<bool>());
    first.prop_flat_map(|(id, targets, chains, steps, sizes)| {
        let template = (
            vec(indication(), usize::from(targets)),
            vec(1u16..=16, 0..5),
            vec(0u8..16, 32),
        );
        let templates = vec(template, steps.len() + 1);
        let protected = vec(0..=(chains % targets), usize::from(targets));
        let sizes = vec((1u32..=65536, 1u32..=65536), if sizes { 8 } else { 0 });
        (templates, protected, sizes).prop_map(move |(templates, mut protected, sizes)| {
            // The highest chain has a target, else there are fewer.
            match protected.first_mut() {
                Some(first) if chains % 3 > 0 => *first = chains % targets,
                _ => protected.clear(),
            }
            let count = protected.iter().max().map_or(0, |last| usize::from(*last) + 1);
            let (mut spatial, mut temporal) = (0, 0);
            let mut all = Vec::new();
            for (index, (indications, differences, chains)) in templates.into_iter().enumerate() {
                match index.checked_sub(1).map(|before| steps[before]) {
                    Some(1) if temporal < 7 => temporal += 1,
                    Some(2) if spatial < 7 => (spatial, temporal) = (spatial + 1, 0),
                    _ => {}
                }
                all.push(Template {
                    spatial,
                    temporal,
                    indications: Indications::new(indications),
                    differences: Differences::new(differences),
                    chains: Chains::new(chains.into_iter().take(count)),
                });
            }
            let sizes = sizes.into_iter().take(usize::from(spatial) + 1);
            let sizes: Vec<_> = sizes.map(|(width, height)| Resolution { width, height }).collect();
            Structure::new(id, targets, &protected, &all, &sizes).expect("it can be written")
        })
    })
}

fn written(descriptor: &DependencyDescriptor, newest: Option<&Structure>) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let mut out = Writer::new(&mut buffer);
    descriptor.write(newest, &mut out).unwrap();
    out.finish().to_vec()
}

proptest! {
    #[test]
    fn small_ones(number: u8, short: u16, long: u32, without_level: bool, level in 0u8..128, ntp: u64, flags: [bool; 5],
                  temporal_id in 0u8..8, layer: Option<(u8, Option<u8>)>) {
        holds(&VideoContentType(number));
        holds(&FrameTrackingId::Short(short));
        holds(&FrameTrackingId::Long(long));
        holds(&InbandComfortNoise { without_level, level });
        holds(&NtpTimestamp::Ntp64(ntp));
        holds(&NtpTimestamp::Ntp56(ntp >> 8));
        let [start, end, independent, discardable, base_layer_sync] = flags;
        holds(&FrameMarking {
            start, end, independent, discardable, base_layer_sync, temporal_id,
            layer: layer.map(|(layer_id, tl0_picture_index)| FrameLayer { layer_id, tl0_picture_index }),
        });
    }

    #[test]
    fn video_timing(flags: Option<u8>, times: [u16; 6]) {
        let [encode_start, encode_finish, packetization_complete, pacer_exit, network1, network2] = times;
        holds(&VideoTiming { flags, encode_start, encode_finish, packetization_complete, pacer_exit, network1, network2 });
    }

    #[test]
    fn color_space(numbers: [u8; 3], range in 0u8..4, horizontal_siting in 0u8..4, vertical_siting in 0u8..4, hdr: Option<[u16; 12]>) {
        let [primaries, transfer, matrix] = numbers;
        let hdr = hdr.map(|n| {
            let colour = |at: usize| Chromaticity { x: n[at], y: n[at + 1] };
            HdrMetadata {
                luminance_max: n[0], luminance_min: n[1], red: colour(2), green: colour(4), blue: colour(6), white: colour(8),
                max_content_light_level: n[10], max_frame_average_light_level: n[11],
            }
        });
        holds(&ColorSpace { primaries, transfer, matrix, range, horizontal_siting, vertical_siting, hdr });
    }

    #[test]
    fn corruption_detection(high_bits: bool, index in 0u8..128, samples in vec(any::<u8>(), 0..=13), deviation: u8, thresholds in (0u8..16, 0u8..16)) {
        let mut message = CorruptionDetection::default();
        (message.high_bits, message.index) = (high_bits, index);
        if !samples.is_empty() {
            message.deviation = deviation;
            (message.luma_threshold, message.chroma_threshold) = thresholds;
            message.set_samples(&samples);
        }
        holds(&message);
    }

    #[test]
    fn generic_frame_descriptor(end: bool, first: bool, last: bool, old: bool, frame: Option<(u8, u8, u16)>,
                                size: Option<(u16, u16)>, differences in vec(0u16..1 << 14, 0..=8)) {
        let frame = frame.map(|(temporal, spatial_layers, frame_id)| {
            let mut frame = FrameDescription::default();
            (frame.temporal_layer, frame.spatial_layers, frame.frame_id) = (temporal & 7, spatial_layers, frame_id);
            frame.resolution = size.filter(|_| differences.is_empty());
            differences.iter().for_each(|difference| assert!(frame.add_difference(*difference)));
            frame
        });
        let flags = if old { SubframeFlags::Parts { first, last } } else { SubframeFlags::Discardable(first) };
        holds(&GenericFrameDescriptor { end, flags, frame });
    }

    #[test]
    fn video_layers_allocation(stream in 0u8..4, streams in 1u8..=4, layers in vec(((0u8..4, 0u8..4), layer()), 1..10),
                               size: Option<(u32, u32, u8)>) {
        let mut all = VideoLayersAllocation::new(stream, streams);
        for ((stream, spatial), mut layer) in layers {
            layer.resolution = size.map(|(width, height, max_framerate)| antiphon_rtp::extension::Resolution {
                width: width % 65536 + 1,
                height: height % 65536 + 1,
                max_framerate,
            });
            all.set_layer(stream % streams, spatial, Some(layer));
        }
        holds(&all);
        holds(&VideoLayersAllocation::default());
    }

    #[test]
    fn dependency_descriptor(structure in structure(), attached: bool, frame: (bool, bool, u8, u16), active: Option<u32>,
                             indications in option::of(vec(indication(), 32)), differences in option::of(vec(1u16..=4096, 0..16)),
                             chains in option::of(vec(any::<u8>(), 32))) {
        let (start, end, template, frame_number) = frame;
        let template = template % structure.templates().len() as u8;
        let targets = usize::from(structure.target_count());
        let count = usize::from(structure.chain_count());
        let descriptor = DependencyDescriptor {
            frame: FrameStart { start, end, template_id: (structure.id() + template) % 64, frame_number },
            structure: attached.then(|| Box::new(structure.clone())),
            active_targets: active.map(|active| active & structure.all_targets()),
            indications: indications.map(|all| Indications::new(all.into_iter().take(targets))),
            differences: differences.map(Differences::new),
            chains: chains.map(|all| Chains::new(all.into_iter().take(count))),
        };
        let newest = (!attached).then_some(&structure);
        let bytes = written(&descriptor, newest);
        prop_assert_eq!(bytes.len(), descriptor.written_len(newest));
        prop_assert_eq!(FrameStart::parse(&bytes), Some(descriptor.frame));
        prop_assert_eq!(DependencyDescriptor::parse(&bytes, newest), Ok(descriptor.clone()));
        // Padding is ignored (§A.8.3), and what is cut off is missed.
        let padded = [&bytes[..], &[0; 3]].concat();
        prop_assert_eq!(DependencyDescriptor::parse(&padded, newest), Ok(descriptor.clone()));
        for short in 0..bytes.len().min(60) {
            prop_assert!(DependencyDescriptor::parse(&bytes[..short], newest).as_ref() != Ok(&descriptor) || short == 3);
        }
        let frame = descriptor.resolve(newest).unwrap();
        prop_assert_eq!(frame.number, frame_number);
        prop_assert!(frame.is_for(u32::MAX) == (frame.indications.targets() != 0));
        if !attached {
            prop_assert_eq!(DependencyDescriptor::parse(&bytes, None), Err(DescriptorError::NoStructure));
        }
    }

    #[test]
    fn a_rewritten_descriptor_says_the_same_of_the_frame(structure in structure(), targets: u32, shift: u16, numbers in vec(any::<u8>(), 1..20)) {
        let (mut stream, mut receiver, mut rewriter) = (Stream::default(), Stream::default(), Rewriter::default());
        rewriter.select(targets);
        rewriter.shift(shift);
        let mut descriptor = DependencyDescriptor { structure: Some(Box::new(structure.clone())), ..DependencyDescriptor::default() };
        for (number, choice) in (0u16..).map(|n| n.wrapping_add(0xfff0)).zip(numbers) {
            descriptor.frame = FrameStart {
                start: true,
                end: true,
                template_id: (structure.id() + choice % structure.templates().len() as u8) % 64,
                frame_number: number,
            };
            let bytes = written(&descriptor, Some(&structure));
            let read = stream.read(&bytes).unwrap();
            let mut buffer = vec![0; 2000];
            let mut out = Writer::new(&mut buffer);
            rewriter.rewrite(&read, &stream, &mut out).unwrap();
            let again = receiver.read(out.finish()).unwrap();
            prop_assert_eq!(again.frame.frame_number, number.wrapping_add(shift));
            prop_assert_eq!(receiver.active_targets(), targets & structure.all_targets());
            let (was, is) = (stream.resolve(&read).unwrap(), receiver.resolve(&again).unwrap());
            prop_assert_eq!((was.indications, was.differences, was.chains), (is.indications, is.differences, is.chains));
            descriptor.structure = None;
        }
    }

    #[test]
    fn no_bytes_panic(data in vec(any::<u8>(), 0..255), structure in structure()) {
        for kind in Kind::ALL {
            let _ = is_well_formed(kind, &data);
        }
        let mut stream = Stream::default();
        for newest in [None, Some(&structure)] {
            if let Ok(descriptor) = DependencyDescriptor::parse(&data, newest) {
                prop_assert!(descriptor.resolve(newest).is_some());
                let bytes = written(&descriptor, newest);
                prop_assert_eq!(DependencyDescriptor::parse(&bytes, newest), Ok(descriptor));
            }
        }
        let _ = stream.read(&data);
        let mut others = OwnedOthers::default();
        for kind in Kind::ALL {
            others.set(kind, &data);
            prop_assert!(others.len() <= OwnedOthers::MAX_LEN);
        }
        others.remove(Kind::VideoTiming);
        prop_assert_eq!(others.borrow().get(Kind::VideoTiming), None);
    }
}

#[test]
fn a_late_packet_does_not_bring_back_an_old_structure() {
    let template = Template {
        indications: Indications::new([Indication::Required, Indication::Required]),
        ..Template::default()
    };
    let structure = |id, targets| Structure::new(id, targets, &[], &[template], &[]).unwrap();
    let packet = |number, structure: &Structure, attached: bool, active| {
        let descriptor = DependencyDescriptor {
            frame: FrameStart {
                template_id: structure.id(),
                frame_number: number,
                ..FrameStart::default()
            },
            structure: attached.then(|| Box::new(structure.clone())),
            active_targets: active,
            ..DependencyDescriptor::default()
        };
        written(&descriptor, Some(structure))
    };
    let (first, second) = (structure(0, 2), structure(1, 1));
    let mut stream = Stream::default();
    assert_eq!(
        stream.read(&packet(9, &first, false, None)),
        Err(DescriptorError::NoStructure)
    );
    stream.read(&packet(65535, &first, true, None)).unwrap();
    assert_eq!((stream.structure(), stream.active_targets()), (Some(&first), 0b11));
    stream.read(&packet(0, &first, false, Some(0b01))).unwrap();
    assert_eq!(stream.active_targets(), 0b01);
    stream.read(&packet(65535, &first, false, Some(0b10))).unwrap();
    assert_eq!(stream.active_targets(), 0b01, "said before that");
    stream.read(&packet(2, &second, true, None)).unwrap();
    stream.read(&packet(1, &first, true, None)).unwrap();
    assert_eq!((stream.structure(), stream.active_targets()), (Some(&second), 0b1));
    assert_eq!(
        stream.read(&packet(1, &first, false, None)),
        Err(DescriptorError::UnknownTemplate)
    );
    assert_eq!(stream.read(&[0, 1]), Err(DescriptorError::Malformed));
}

#[test]
fn what_libwebrtc_sends() {
    // Of a Chromium 156: the key frame of L1T1, and L2T2's first spatial layers.
    let mut stream = Stream::default();
    let key = [0x80, 0, 1, 0x80, 0, 0, 0x40];
    assert!(stream.read(&key).is_err(), "cut short");
    // An allocation of one stream with three temporal layers, and of no layer.
    let allocation = [0x01, 0x80, 0x64, 0xc8, 0x01, 0xac, 0x02];
    let read = VideoLayersAllocation::parse(Kind::VideoLayersAllocation, &allocation).unwrap();
    assert_eq!(read.layer(0, 0).unwrap().kbps(), [100, 200, 300]);
    assert_eq!(read.written_len(), allocation.len());
    assert_eq!(
        VideoLayersAllocation::parse(Kind::VideoLayersAllocation, &[0]),
        Some(VideoLayersAllocation::default())
    );
}
