//! From a publisher over a forwarder to a watcher, three whole peers and two descriptions each: what arrives with a frame is what
//! both ends of both hops negotiated. And what descriptions alone say of a stream.

use std::time::Duration;

use crate::support::Pair;
use antiphon_netsim::LinkConfig;
use antiphon_peer_connection::extension::{
    Carried, ColorSpace, Kind, PlayoutDelay, VideoContentType, VideoLayersAllocation, VideoOrientation,
};
use antiphon_peer_connection::{
    Bytes, Event, Frame, MediaCapabilities, MediaKind, MediaStreamTrack, Output, Packet, RtcConfiguration,
    TransceiverId,
};

const ALLOW_MIXED: &str = "a=extmap-allow-mixed\r\n";

/// A hop: its first peer sends a picture to its second. Its offer is changed on the way.
fn hop(seed: u64, ends: [&MediaCapabilities; 2], change: impl Fn(&str) -> String) -> (Pair, [TransceiverId; 2]) {
    let addresses = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
    let mut pair = Pair::with_each(seed, LinkConfig::default(), addresses, |at| {
        let mut configuration = RtcConfiguration::default();
        configuration.settings.capabilities = ends[at].clone().into();
        configuration
    });
    let track = MediaStreamTrack {
        kind: MediaKind::Video,
        id: "camera".into(),
        stream_ids: vec!["stream".into()],
    };
    let from = pair.call(0, |pc, _| pc.add_track(track)).unwrap();
    pair.call(0, |pc, now| pc.set_local_description(now, None)).unwrap();
    let mut offer = pair.pc(0).local_description().unwrap();
    offer.sdp = change(&offer.sdp);
    pair.answer(1, offer);
    let to = pair.log[1].iter().find_map(|event| match event {
        Event::Track { transceiver, .. } => Some(*transceiver),
        _ => None,
    });
    pair.connect();
    (pair, [from, to.expect("a track")])
}

/// VP8 of several packets: a frame tag, and of a key frame its size (RFC 6386 §9.1).
fn picture(key_frame: bool) -> Bytes {
    let mut data = vec![7; 3000];
    data[0] = if key_frame { 0x10 } else { 0x11 };
    data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]);
    data.into()
}

/// What a browser may say of a picture. Of a key frame it is too much for the one-byte form.
fn said(key_frame: bool) -> Carried {
    let mut said = Carried {
        audio_level: None,
        video_orientation: Some(VideoOrientation {
            back_camera: true,
            flipped: false,
            quarter_turns: 3,
        }),
        playout_delay: Some(PlayoutDelay { min: 1, max: 40 }),
        capture_time: Some(0x1234_5678_9abc_def0),
        ..Carried::default()
    };
    assert!(said.others.put(&VideoContentType(1)));
    assert!(said.others.put(&ColorSpace {
        primaries: 1,
        transfer: 1,
        matrix: 1,
        range: 1,
        ..ColorSpace::default()
    }));
    assert!(said.others.put(&VideoLayersAllocation::default()));
    let descriptor: Vec<u8> = (0..if key_frame { 90 } else { 5 }).collect();
    said.others.set(Kind::DependencyDescriptor, &descriptor);
    said
}

/// What a forwarder takes, and offered whole: the allocation of layers has no identifier in offers of its own, which would be too many.
fn forwarding() -> MediaCapabilities {
    let mut all = MediaCapabilities::forwarding();
    for extension in &mut all.video_extensions {
        if extension.uri.ends_with("/video-layers-allocation00") {
            extension.id = 1;
        }
    }
    all
}

/// What of it comes with the frames that a watcher gets, a key frame and the next.
fn watched(publisher: &MediaCapabilities, watcher: &MediaCapabilities, mixed: bool) -> Vec<Carried> {
    let forwarder = forwarding().with_dependency_descriptor();
    let as_it_is = |offer: &str| offer.to_owned();
    let (mut near, [camera, inlet]) = hop(1, [publisher, &forwarder], as_it_is);
    let (mut far, [outlet, _]) = hop(2, [&forwarder, watcher], |offer| {
        assert!(offer.contains(ALLOW_MIXED));
        if mixed {
            offer.to_owned()
        } else {
            offer.replace(ALLOW_MIXED, "")
        }
    });
    near.call(1, |pc, _| pc.set_receive_output(inlet, Output::Packets))
        .unwrap();
    let vp8 = near.pc(0).payload_type(camera, "VP8").unwrap();
    for number in 0..2 {
        let key_frame = number == 0;
        let mut frame = Frame::new(vp8, number * 3600, picture(key_frame));
        frame.extensions = said(key_frame);
        near.call(0, |pc, now| pc.send_frame(now, camera, frame)).unwrap();
        near.run_for(Duration::from_millis(40));
        let packets: Vec<Packet> = near.log[1]
            .drain(..)
            .filter_map(|event| match event {
                Event::Packet { packet, .. } => Some(packet),
                _ => None,
            })
            .collect();
        assert!(packets.len() >= 3, "{}", packets.len());
        for packet in packets {
            far.call(0, |pc, now| pc.send_rtp(now, outlet, &packet)).unwrap();
        }
        far.run_for(Duration::from_millis(40));
    }
    far.run_for(Duration::from_millis(500));
    let frames: Vec<Carried> = far.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::Frame { frame, .. } => Some(frame.extensions.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(frames.len(), 2);
    frames
}

#[test]
fn a_forwarded_frame_carries_what_both_hops_negotiated() {
    let default = MediaCapabilities::default();
    let all = forwarding().with_dependency_descriptor();
    let forwarding = forwarding();
    let whole = [said(true), said(false)];
    let without = |kind| {
        let mut said = whole.clone();
        said.iter_mut().for_each(|said| said.others.remove(kind));
        said
    };
    assert_eq!(watched(&all, &all, true), whole);
    // A descriptor of dependencies is asked for, at both hops.
    let no_descriptor = without(Kind::DependencyDescriptor);
    assert_eq!(watched(&all, &forwarding, true), no_descriptor);
    assert_eq!(watched(&forwarding, &all, true), no_descriptor);
    // One alone, of those that the default has not.
    let mut turned = MediaCapabilities::default();
    turned.video_extensions.extend(
        forwarding
            .video_extensions
            .iter()
            .filter(|own| own.uri == "urn:3gpp:video-orientation")
            .cloned(),
    );
    let orientation = Carried {
        video_orientation: whole[0].video_orientation,
        ..Carried::default()
    };
    assert_eq!(watched(&all, &turned, true), [orientation.clone(), orientation]);
    // None.
    let nothing = [Carried::default(), Carried::default()];
    assert_eq!(watched(&all, &default, true), nothing);
    assert_eq!(watched(&default, &all, true), nothing);
}

#[test]
fn who_does_not_take_both_forms_gets_what_the_one_byte_form_can_carry() {
    let all = forwarding().with_dependency_descriptor();
    let mut expected = [said(true), said(false)];
    // RFC 8285 §4.2: of a key frame it is longer than 16 bytes.
    expected[0].others.remove(Kind::DependencyDescriptor);
    assert_eq!(watched(&all, &all, false), expected);
}

/// RFC 6184 §8.1: a sender may say its parameter sets in the description alone.
#[test]
fn parameter_sets_of_the_description_alone_make_a_key_frame_whole() {
    let capabilities = MediaCapabilities::default();
    let said = ";sprop-parameter-sets=Z2QAHqzZQKAv+XARAAADAAEAAAMAPA8WLQ==,aOvjyyLA";
    let (mut pair, [from, _]) = hop(3, [&capabilities, &capabilities], |offer| {
        let mut sdp = String::new();
        for line in offer.lines() {
            sdp += line;
            if line.starts_with("a=fmtp:") && line.contains("packetization-mode=1;profile-level-id=42e01f") {
                sdp += said;
            }
            sdp += "\r\n";
        }
        assert!(sdp.contains(said));
        sdp
    });
    let h264 = pair.pc(0).payload_type(from, "H264").unwrap();
    let picture = [&[0, 0, 0, 1, 0x65, 0x88, 0x84][..], &[0xaa; 3000]].concat();
    let frame = Frame::new(h264, 0, picture.clone());
    pair.call(0, |pc, now| pc.send_frame(now, from, frame)).unwrap();
    pair.run_for(Duration::from_millis(500));
    let got: Vec<&Frame> = pair.log[1]
        .iter()
        .filter_map(|event| match event {
            Event::Frame { frame, .. } => Some(frame),
            _ => None,
        })
        .collect();
    assert_eq!(got.len(), 1);
    let sequence = [
        0x67, 0x64, 0, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f,
        0x16, 0x2d,
    ];
    let set = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    let code = [0, 0, 0, 1];
    let whole = [&code[..], &sequence, &code, &set, &picture].concat();
    assert!(got[0].key_frame && got[0].data == whole, "{:02x?}", &got[0].data[..64]);
    let size = got[0].facts.resolution.expect("the set has it");
    assert_eq!((size.width, size.height), (640, 360));
}
