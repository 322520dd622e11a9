//! Pipes: all of a producer, for another router.

use std::time::Duration;

use crate::common::{AV1, Av1, FRAME, Vp8, codec, packet, payload, rid, simulcast};
use crate::world::*;
use antiphon_media::Packet;
use antiphon_media::extension::AudioLevel;
use antiphon_peer_connection::{EncodingId, Event as Told, MediaKind, RtcPeerConnectionState, TransceiverId};
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{Closed, ConsumerId, Error, Event, PeerKey, PipeConfig, ProducerId};
use antiphon_sfu::speakers::LoudestOptions;

const FAR: PeerKey = PeerKey(50);

fn pipe_config(world: &mut World, kind: MediaKind, rids: &[&str]) -> PipeConfig {
    PipeConfig {
        peer: FAR,
        transceiver: world.transceiver(),
        kind,
        codecs: vec![codec(120, "VP8"), codec(109, "opus"), codec(46, "AV1")],
        rids: rids.iter().map(|name| rid(name)).collect(),
        paused: false,
    }
}

fn pipe(world: &mut World, producer: ProducerId, kind: MediaKind, rids: &[&str]) -> (ConsumerId, TransceiverId) {
    world.router.add_peer(world.now, FAR, true).unwrap();
    let config = pipe_config(world, kind, rids);
    let transceiver = config.transceiver;
    (world.router.pipe(world.now, producer, config).unwrap(), transceiver)
}

/// What crossed on the encoding of this name.
fn crossed<'a>(world: &'a World, transceiver: TransceiverId, name: Option<&str>) -> Vec<&'a Packet> {
    let own = EncodingId {
        transceiver,
        rid: name.map(rid),
    };
    let of = |(way, _): &(&EncodingId, _)| **way == own;
    let both = world.ways.iter().zip(&world.sent).filter(of);
    both.map(|(_, (_, packet))| packet).collect()
}

#[test]
fn every_encoding_crosses_as_it_came_whatever_the_connection_carries() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["a", "b", "c"]);
    let (beside, _) = world.consume(producer, 1, MediaKind::Video);
    world.router.set_estimate(world.now, FAR, Some(10_000));
    let mut encodings = simulcast();
    let mut came: Vec<Packet> = Vec::new();
    for _ in 0..60 {
        world.run_to(world.now + FRAME);
        let run: Vec<Packet> = encodings
            .iter_mut()
            .flat_map(|own| own.frame(world.now, false))
            .collect();
        world.show_run(camera, &run);
        came.extend(run);
    }
    for encoding in &encodings {
        let name = encoding.rid.unwrap();
        let got = crossed(&world, transceiver, Some(&name.to_string()));
        let own: Vec<_> = came.iter().filter(|packet| packet.rid == Some(name)).collect();
        assert_eq!(got.len(), own.len(), "{name}");
        for (got, own) in got.into_iter().zip(own) {
            assert_eq!(got.payload_type, 120);
            assert_eq!(
                (got.ssrc, got.sequence, got.timestamp, got.marker, got.rid),
                (own.ssrc, own.sequence, own.timestamp, own.marker, own.rid)
            );
            assert_eq!((payload(got), &got.extensions), (payload(own), &own.extensions));
        }
    }
    let stats = world.router.consumer(consumer).unwrap();
    assert!(stats.is_pipe && stats.is_on && stats.layer.is_none(), "{stats:?}");
    assert_eq!(
        (stats.sent, stats.counts.forwarded),
        (came.len() as u64, came.len() as u64)
    );
    assert!(
        world.router.consumer(beside).unwrap().sent == 0,
        "there was no key frame"
    );
    let totals = world.router.totals();
    assert_eq!((totals.packets, totals.sent), (came.len() as u64, came.len() as u64));
    // The path is asked whether it carries all of it.
    let rates: u64 = encodings.iter().map(|own| own.bytes as u64 * 8 * 1000 / 33).sum();
    assert!(world.desired[&FAR] >= rates, "{:?} of {rates}", world.desired);
    let claimed = world.router.set_claim(world.now, consumer, Claim::default());
    assert_eq!(claimed, Err(Error::Pipe));
}

#[test]
fn what_the_far_end_takes_goes_and_the_rest_does_not() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (some, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["c", "a"]);
    let (one, single) = pipe(&mut world, producer, MediaKind::Video, &[]);
    let mut encodings = simulcast();
    for _ in 0..20 {
        world.step(camera, &mut encodings);
    }
    let count = |name| crossed(&world, transceiver, Some(name)).len();
    assert_eq!([count("a"), count("b"), count("c")], [40, 0, 40]);
    assert_eq!(world.router.consumer(some).unwrap().counts.left_out, 40);
    let got = crossed(&world, single, None);
    assert!(got.len() == 40 && got.iter().all(|packet| packet.ssrc == 100));
    assert_eq!(world.router.consumer(one).unwrap().sent, 40);
    // A source without names goes where its place is.
    let mut unnamed = Vp8::new(0, (320, 180), 300);
    (unnamed.rid, unnamed.ssrc) = (None, 7);
    let (producer, camera) = world.produce_with(MediaKind::Video, &[]);
    let (_, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["x", "y"]);
    world.step(camera, std::slice::from_mut(&mut unnamed));
    assert_eq!(crossed(&world, transceiver, Some("x")).len(), 2);
}

#[test]
fn the_far_end_asks_for_key_frames_encoding_by_encoding_and_not_without_end() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["a", "b", "c"]);
    let mut encodings = simulcast();
    for _ in 0..30 {
        world.step(camera, &mut encodings);
    }
    assert_eq!(
        world.router.producer(producer).unwrap().key_frames_asked,
        0,
        "nobody has asked"
    );
    let ask = |world: &mut World, name| {
        assert!(world.tell(FAR, &Told::KeyFrameRequested((transceiver, rid(name)).into())));
    };
    ask(&mut world, "b");
    ask(&mut world, "b");
    assert_eq!(world.asked, [101]);
    ask(&mut world, "c");
    assert_eq!(world.asked, [101, 102]);
    for _ in 0..300 {
        ask(&mut world, "a");
        world.step(camera, &mut encodings);
    }
    let asked = world.router.producer(producer).unwrap().key_frames_asked;
    assert!((5..=10).contains(&asked), "{asked}");
    assert!(world.router.consumer(consumer).unwrap().key_frames_unheard > 200);
    // Of a source that gives none it is asked again without it.
    for packet in encodings[1].frame(world.now, false) {
        world.show(camera, &packet);
    }
    ask(&mut world, "b");
    let end = world.now + Duration::from_secs(2);
    world.asked.clear();
    world.run_to(end);
    assert!(
        world.asked.iter().filter(|ssrc| **ssrc == 101).count() >= 3,
        "{:?}",
        world.asked
    );
}

#[test]
fn a_pause_leaves_no_hole_and_ends_with_key_frames() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["a", "b", "c"]);
    let mut encodings = simulcast();
    for whose in [true, false, true] {
        for _ in 0..20 {
            world.step(camera, &mut encodings);
        }
        let (now, router) = (world.now, &mut world.router);
        match whose {
            true => router.pause_consumer(now, consumer).unwrap(),
            false => router.pause_producer(now, producer).unwrap(),
        }
        let before = world.sent.len();
        for _ in 0..20 {
            world.step(camera, &mut encodings);
        }
        assert_eq!(world.sent.len(), before);
        let (now, router) = (world.now, &mut world.router);
        match whose {
            true => router.resume_consumer(now, consumer).unwrap(),
            false => router.resume_producer(now, producer).unwrap(),
        }
        world.serve();
        let mut asked = world.asked.clone();
        asked.sort_unstable();
        assert_eq!(asked, [100, 101, 102], "at once, of each");
        world.step(camera, &mut encodings);
        world.step(camera, &mut encodings);
        for name in ["a", "b", "c"] {
            let all = crossed(&world, transceiver, Some(name));
            assert!(is_whole(&all), "{name}");
            assert!(all[all.len() - 4].key_frame, "{name} goes on with a key frame");
        }
    }
    for _ in 0..20 {
        world.step(camera, &mut encodings);
    }
    // A circuit breaker held back one of them.
    world.tell(FAR, &Told::SendingRestarted((transceiver, rid("b")).into()));
    assert_eq!(world.asked, [101]);
}

#[test]
fn sound_crosses_whole_and_the_quiet_ones_too() {
    let mut world = World::new();
    world.router.set_loudest(Some(LoudestOptions {
        count: 1,
        ..LoudestOptions::default()
    }));
    let talkers: Vec<_> = (0..3).map(|_| world.produce_with(MediaKind::Audio, &[])).collect();
    let pipes: Vec<_> = talkers
        .iter()
        .map(|(producer, _)| pipe(&mut world, *producer, MediaKind::Audio, &[]))
        .collect();
    let heard: Vec<_> = talkers
        .iter()
        .map(|(producer, _)| world.consume(*producer, 1, MediaKind::Audio).0)
        .collect();
    for number in 0..200 {
        for (place, (_, microphone)) in talkers.iter().enumerate() {
            let mut made = packet(world.now, 500 + place as u32, OPUS, number, vec![1, 2, 3]);
            made.extensions.audio_level = Some(AudioLevel {
                below_overload: 20 + 30 * place as u8,
                voice: true,
            });
            world.show(*microphone, &made);
        }
        world.run_to(world.now + Duration::from_millis(20));
    }
    for (place, (pipe, transceiver)) in pipes.iter().enumerate() {
        let got = crossed(&world, *transceiver, None);
        assert!(got.len() == 200 && is_whole(&got), "{place}: {}", got.len());
        let level = got[0].extensions.audio_level.unwrap().below_overload;
        assert_eq!((level, got[0].payload_type), (20 + 30 * place as u8, 109));
        assert_eq!(world.router.consumer(*pipe).unwrap().sent, 200);
    }
    let sent = heard.iter().map(|id| world.router.consumer(*id).unwrap().sent);
    let sent: Vec<u64> = sent.collect();
    assert!(sent[0] == 200 && sent[1] < 100 && sent[2] < 100, "{sent:?}");
}

#[test]
fn layers_cross_whole_with_their_descriptors() {
    let mut world = World::new();
    let (producer, camera) = world.produce_with(MediaKind::Video, &[]);
    let (_, transceiver) = pipe(&mut world, producer, MediaKind::Video, &[]);
    let mut svc = Av1::new();
    let mut came = Vec::new();
    for step in 0..30 {
        let run = svc.frame(world.now, step % 10 == 0);
        world.show_run(camera, &run);
        came.extend(run);
        world.run_to(world.now + FRAME);
    }
    let got = crossed(&world, transceiver, None);
    assert_eq!(got.len(), came.len());
    assert!(came.iter().all(|packet| packet.payload_type == AV1));
    for (got, came) in got.into_iter().zip(&came) {
        assert_eq!(
            (got.payload_type, got.sequence, &got.extensions),
            (46, came.sequence, &came.extensions)
        );
        assert_eq!(payload(got), payload(came));
    }
}

#[test]
fn a_pipe_ends_with_what_it_hangs_on_and_waits_for_what_it_needs() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let unknown = pipe_config(&mut world, MediaKind::Video, &["a"]);
    assert_eq!(world.router.pipe(world.now, producer, unknown), Err(Error::NoPeer));
    world.router.add_peer(world.now, FAR, false).unwrap();
    let config = pipe_config(&mut world, MediaKind::Video, &["a", "b", "c"]);
    let first = world.router.pipe(world.now, producer, config.clone()).unwrap();
    let again = world.router.pipe(world.now, producer, config);
    assert_eq!(again, Err(Error::ConsumerExists));
    let sound = pipe_config(&mut world, MediaKind::Audio, &[]);
    assert_eq!(world.router.pipe(world.now, producer, sound), Err(Error::Kind));
    let mut encodings = simulcast();
    world.step(camera, &mut encodings);
    assert!(world.sent.is_empty(), "it is not connected");
    world.tell(FAR, &Told::ConnectionStateChange(RtcPeerConnectionState::Connected));
    world.step(camera, &mut encodings);
    assert_eq!(world.sent.len(), 6);
    let (second, transceiver) = pipe(&mut world, producer, MediaKind::Video, &["a"]);
    let (third, _) = pipe(&mut world, producer, MediaKind::Video, &["a"]);
    world.events();
    let closed = |consumer, cause| Event::ConsumerClosed { consumer, cause };
    world.tell(FAR, &Told::TrackEnded(transceiver));
    assert_eq!(world.events(), [closed(second, Closed::Transceiver)]);
    world.router.close_consumer(third).unwrap();
    assert_eq!(world.events(), [closed(third, Closed::Asked)]);
    world.router.close_producer(producer).unwrap();
    let ended = world.events();
    assert!(ended.contains(&closed(first, Closed::Producer)), "{ended:?}");
    let (producer, _) = world.produce(MediaKind::Video);
    let (fourth, _) = pipe(&mut world, producer, MediaKind::Video, &["a"]);
    world.events();
    world.router.remove_peer(FAR);
    assert_eq!(world.events(), [closed(fourth, Closed::Peer)]);
}
