//! A router without connections: what it asks, what it tells, and to whom packets go.

#[path = "../common/mod.rs"]
mod common;
mod direct;
mod pipes;
mod told;
mod world;

use std::time::Duration;

use antiphon_peer_connection::{Event as Told, MediaKind, PeerEnd, RtcPeerConnectionState};
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{Closed, Error, Event, FIRST_ESTIMATE, PeerKey};
use antiphon_sfu::speakers::{LoudestOptions, VolumeOptions};
use common::{FRAME, VP8, Vp8, codec, packet, simulcast};
use world::*;

#[test]
fn each_consumer_gets_its_own_layer_under_its_own_payload_type() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let ids: Vec<_> = (1..=3)
        .map(|peer| world.consume(producer, peer, MediaKind::Video))
        .collect();
    for ((_, encoding), bps) in ids.iter().zip([60_000, 200_000, 9_000_000]) {
        let peer = PeerKey(ids.iter().position(|(_, own)| own == encoding).unwrap() as u64 + 1);
        let event = Told::TargetBitrate {
            encoding: *encoding,
            bps,
        };
        assert!(world.tell(peer, &event), "nobody else need hear it");
        world.router.set_estimate(world.now, peer, Some(bps));
    }
    let mut encodings = simulcast();
    for _ in 0..300 {
        world.step(camera, &mut encodings);
    }
    let layers = ids.iter().map(|(id, _)| world.router.consumer(*id).unwrap().layer);
    assert_eq!(
        layers.map(|layer| layer.unwrap().encoding).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    for peer in 1..=3 {
        let got = world.sent_to(peer);
        assert!(is_whole(&got) && got.iter().all(|packet| packet.payload_type == 120));
    }
    let estimates = ids.iter().map(|(id, _)| world.router.consumer(*id).unwrap().estimate);
    assert_eq!(estimates.collect::<Vec<_>>(), [60_000, 200_000, 9_000_000].map(Some));
    let events = world.events();
    for (id, _) in &ids {
        let own = |event: &&Event| matches!(event, Event::LayerChanged { consumer, .. } if consumer == id);
        assert_eq!(
            events.iter().filter(own).count(),
            1,
            "told once, for nobody asked before"
        );
    }
}

#[test]
fn what_all_want_is_asked_for_once_and_a_flood_changes_nothing() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let mut encodings = simulcast();
    let consumers: Vec<_> = (1..=50)
        .map(|peer| world.consume(producer, peer, MediaKind::Video))
        .collect();
    for _ in 0..60 {
        world.step(camera, &mut encodings);
    }
    let before = world.router.producer(producer).unwrap().key_frames_asked;
    // Ten seconds in which one of them asks with each frame, and all ask together once.
    for (peer, (_, encoding)) in (1..).zip(&consumers) {
        world.tell(PeerKey(peer), &Told::KeyFrameRequested(*encoding));
    }
    assert_eq!(world.asked.len(), 1);
    for _ in 0..300 {
        for _ in 0..20 {
            world.tell(PeerKey(1), &Told::KeyFrameRequested(consumers[0].1));
        }
        world.step(camera, &mut encodings);
    }
    let asked = world.router.producer(producer).unwrap().key_frames_asked - before;
    assert!((2..=8).contains(&asked), "{asked}");
    let stats = world.router.consumer(consumers[0].0).unwrap();
    assert!(stats.key_frames_unheard > 5000, "{stats:?}");
}

#[test]
fn a_source_that_gives_no_key_frame_is_asked_again_until_nobody_waits() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, _) = world.consume(producer, 1, MediaKind::Video);
    let mut source = Vp8::new(0, (640, 360), 900);
    for packet in source.frame(world.now, false) {
        world.show(camera, &packet);
    }
    assert_eq!(world.asked, [source.ssrc]);
    let end = world.now + Duration::from_millis(2600);
    world.run_to(end);
    assert_eq!(world.asked.len(), 6, "each half second");
    world.router.pause_consumer(world.now, consumer).unwrap();
    let end = world.now + Duration::from_secs(5);
    world.run_to(end);
    assert_eq!((world.asked.len(), world.router.poll_timeout()), (6, None));
}

#[test]
fn who_is_paused_gets_nothing_and_misses_no_number() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (first, _) = world.consume(producer, 1, MediaKind::Video);
    let (_second, _) = world.consume(producer, 2, MediaKind::Video);
    let mut encodings = simulcast();
    for _ in 0..60 {
        world.step(camera, &mut encodings);
    }
    world.events();
    world.router.pause_consumer(world.now, first).unwrap();
    let before = (world.sent_to(1).len(), world.sent_to(2).len());
    for _ in 0..30 {
        world.step(camera, &mut encodings);
    }
    assert_eq!(world.sent_to(1).len(), before.0);
    assert_eq!(
        world.events(),
        [
            Event::ConsumerPaused(first),
            Event::LayerChanged {
                consumer: first,
                layer: None
            }
        ]
    );
    world.router.resume_consumer(world.now, first).unwrap();
    world.serve();
    assert_eq!(world.asked.len(), 1, "at once");
    world.router.resume_consumer(world.now, first).unwrap();
    for _ in 0..30 {
        world.step(camera, &mut encodings);
    }
    let got = world.sent_to(1);
    assert!(got.len() > before.0 + 40 && is_whole(&got));
    assert!(got[before.0].key_frame);
    assert!(is_whole(&world.sent_to(2)));

    // A consumer of a paused producer begins when that is resumed.
    world.router.pause_producer(world.now, producer).unwrap();
    let (third, _) = world.consume(producer, 3, MediaKind::Video);
    for _ in 0..30 {
        world.step(camera, &mut encodings);
    }
    assert!(world.sent_to(3).is_empty() && !world.router.consumer(third).unwrap().is_on);
    assert!(world.asked.is_empty(), "nobody waits");
    world.router.resume_producer(world.now, producer).unwrap();
    for _ in 0..10 {
        world.step(camera, &mut encodings);
    }
    assert!(world.sent_to(3).first().unwrap().key_frame && is_whole(&world.sent_to(1)));
}

#[test]
fn sound_goes_on_as_it_is() {
    let mut world = World::new();
    let (producer, microphone) = world.produce(MediaKind::Audio);
    let (first, _) = world.consume(producer, 1, MediaKind::Audio);
    world.consume(producer, 2, MediaKind::Audio);
    for number in 0..40u64 {
        match number {
            10 => world.router.pause_consumer(world.now, first).unwrap(),
            20 => world.router.resume_consumer(world.now, first).unwrap(),
            _ => {}
        }
        // One is lost before us, and comes late.
        if number != 30 {
            world.show(microphone, &packet(world.now, 1, OPUS, number, vec![number as u8; 20]));
        }
        if number == 32 {
            world.show(microphone, &packet(world.now, 1, OPUS, 30, vec![30; 20]));
            // From before the pause: too late for one, a repetition for the other.
            world.show(microphone, &packet(world.now, 1, OPUS, 12, vec![12; 20]));
        }
        world.run_to(world.now + Duration::from_millis(20));
    }
    let numbers = |peer| {
        let got = world.sent_to(peer);
        got.iter()
            .map(|packet| (packet.sequence, packet.payload[0]))
            .collect::<Vec<_>>()
    };
    let mut one: Vec<(u64, u8)> = (0..10).chain(20..40).zip(0..).map(|(what, at)| (at, what)).collect();
    let late = one.remove(20);
    one.insert(22, late);
    assert_eq!(numbers(1), one);
    assert!(numbers(2).contains(&(12, 12)) && numbers(2).len() == 41);
    assert!(world.sent.iter().all(|(_, packet)| packet.payload_type == 109));
    assert!(world.asked.is_empty(), "sound has no key frames");
}

#[test]
fn one_estimate_is_shared_by_priority_and_what_is_left_goes_to_the_others() {
    let mut world = World::new();
    let (first, camera) = world.produce(MediaKind::Video);
    let (second, screen) = world.produce(MediaKind::Video);
    let (one, _) = world.consume(first, 1, MediaKind::Video);
    let (two, _) = world.consume(second, 1, MediaKind::Video);
    let peer = PeerKey(1);
    let claim = Claim {
        priority: 5,
        ..Claim::default()
    };
    world.router.set_claim(world.now, two, claim).unwrap();
    // Of 97, 242 and 485 kbit/s: the largest for one of them, the smallest for the other.
    world.router.set_estimate(world.now, peer, Some(720_000));
    let (mut cameras, mut screens) = (simulcast(), simulcast());
    for source in &mut screens {
        source.ssrc += 50;
    }
    let mut run = |world: &mut World, frames: usize| {
        for _ in 0..frames {
            let asked = std::mem::take(&mut world.asked);
            for (transceiver, encodings) in [(camera, &mut cameras), (screen, &mut screens)] {
                for encoding in encodings {
                    for packet in encoding.frame(world.now, asked.contains(&encoding.ssrc)) {
                        world.show(transceiver, &packet);
                    }
                }
            }
            world.run_to(world.now + FRAME);
        }
    };
    let layers = |world: &World| {
        [one, two].map(|id| {
            let stats = world.router.consumer(id).unwrap();
            stats.layer.map(|layer| layer.encoding)
        })
    };
    run(&mut world, 300);
    assert_eq!(layers(&world), [Some(0), Some(2)]);
    world.router.close_consumer(two).unwrap();
    run(&mut world, 200);
    assert_eq!(
        world.router.consumer(one).unwrap().layer.map(|layer| layer.encoding),
        Some(2)
    );
    // What does not fit at all is starved, and the most important goes on all the same.
    let (three, _) = world.consume(second, 1, MediaKind::Video);
    world.router.set_claim(world.now, one, claim).unwrap();
    world.router.set_estimate(world.now, peer, Some(30_000));
    run(&mut world, 60);
    let stats = [one, three].map(|id| world.router.consumer(id).unwrap());
    assert!(stats[0].is_on && stats[1].is_starved && !stats[1].is_on, "{stats:?}");
    assert_eq!(stats[0].layer.map(|layer| layer.encoding), Some(0));
    world.router.set_estimate(world.now, peer, Some(3_000_000));
    run(&mut world, 400);
    assert!(world.router.consumer(three).unwrap().is_on);
}

#[test]
fn connections_are_told_what_would_be_enough_for_all_that_goes_on_to_them() {
    let mut world = World::new();
    let (producer, from) = world.produce(MediaKind::Video);
    let mut encodings = simulcast();
    encodings[2].bytes = 30_000;
    for peer in [1, 2] {
        let (id, _) = world.consume(producer, peer, MediaKind::Video);
        if peer == 2 {
            let small = Claim {
                level: 0,
                ..Claim::default()
            };
            world.router.set_claim(world.now, id, small).unwrap();
        }
    }
    for _ in 0..100 {
        world.step(from, &mut encodings);
    }
    // The largest takes 7.3 Mbit/s, and a sixth is to be free beside it; whatever the estimate is.
    let desired = world.desired[&PeerKey(1)];
    assert!((8_000_000..9_500_000).contains(&desired), "{desired}");
    // Nobody is told less than what somebody who comes later may need at once.
    assert_eq!(world.desired[&PeerKey(2)], 5_000_000);
}

#[test]
fn who_will_tell_what_arrives_begins_with_the_smallest_and_asks_for_no_other() {
    let mut world = World::new();
    let (producer, from) = world.produce(MediaKind::Video);
    let mut encodings = simulcast();
    encodings[2].bytes = 6000;
    for _ in 0..60 {
        world.step(from, &mut encodings);
    }
    assert!(world.asked.is_empty());
    let mut join = |world: &mut World, peer: u64, feedback: &[&str]| {
        world.router.add_peer(world.now, PeerKey(peer), true).unwrap();
        let mut config = world.config(PeerKey(peer), MediaKind::Video);
        config.codecs[0].feedback = feedback.iter().map(|way| (*way).to_owned()).collect();
        let id = world.router.consume(world.now, producer, config).unwrap();
        world.serve();
        let asked = world.asked.clone();
        for _ in 0..40 {
            world.step(from, &mut encodings);
        }
        let layer = world.router.consumer(id).unwrap().layer;
        (asked, layer.map(|layer| layer.encoding))
    };
    // Of 97, 242 and 1455 kbit/s, where 300 are taken to be there.
    for (peer, way) in [(1, "transport-cc"), (2, "ack ccfb"), (3, "goog-remb")] {
        let (asked, layer) = join(&mut world, peer, &["nack", way]);
        assert_eq!((asked, layer), (vec![101], Some(1)), "{way}");
    }
    // Of whose path nobody will ever say anything: all that there is.
    assert_eq!(join(&mut world, 4, &["nack", "nack pli"]), (vec![102], Some(2)));
    world
        .router
        .set_estimate(world.now, PeerKey(1), Some(FIRST_ESTIMATE * 10));
    world.serve();
    assert_eq!(world.asked, [102]);
}

#[test]
fn the_sound_of_the_loudest_goes_on_alone_and_nobody_misses_the_rest() {
    let mut world = World::new();
    let voices: Vec<_> = (0..6).map(|_| world.produce(MediaKind::Audio)).collect();
    for (producer, _) in &voices {
        world.consume(*producer, 1, MediaKind::Audio);
    }
    let loudest = LoudestOptions {
        count: 2,
        ..LoudestOptions::default()
    };
    world.router.set_loudest(Some(loudest));
    world.router.set_volumes(Some(VolumeOptions::default()));
    for number in 0..200u64 {
        for (place, (_, microphone)) in (0u32..).zip(&voices) {
            let mut made = packet(world.now, place, OPUS, number, vec![0; 30]);
            // Two speak, others are quiet; in the second half two others speak.
            let speaks = (number < 100) == (place < 2) && place < 4;
            made.extensions.audio_level = Some(antiphon_media::extension::AudioLevel {
                below_overload: if speaks { 20 } else { 80 },
                voice: speaks,
            });
            world.show(*microphone, &made);
        }
        world.run_to(world.now + Duration::from_millis(20));
    }
    let of = |source: u32| {
        let got = world.sent_to(1);
        got.into_iter()
            .filter(|packet| packet.ssrc == source)
            .collect::<Vec<_>>()
    };
    for source in 0..4 {
        let got = of(source);
        assert!((90..130).contains(&got.len()), "{source}: {}", got.len());
        assert!(is_whole(&got), "{source}: no number is missing");
    }
    assert!(of(4).len() < 10 && of(5).len() < 10);
    let told = world.events();
    let volumes = |place: usize| {
        told.iter().any(|event| match event {
            Event::Volumes(list) => list.iter().any(|own| own.producer == voices[place].0),
            _ => false,
        })
    };
    assert!(volumes(0) || volumes(1), "{told:?}");
    assert!(volumes(2) || volumes(3), "{told:?}");
}

#[test]
fn who_does_not_take_the_codec_is_told_of_once() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, _) = world.consume(producer, 1, MediaKind::Video);
    let mut encodings = [Vp8::new(0, (640, 360), 900)];
    for _ in 0..30 {
        world.step(camera, &mut encodings);
    }
    let comes = |world: &World| world.router.producer(producer).unwrap().payload_type;
    assert_eq!(comes(&world), Some(VP8));
    world.events();
    for number in 0..5 {
        let mut other = packet(
            world.now,
            encodings[0].ssrc,
            98,
            encodings[0].sequence + number,
            vec![0x8c; 40],
        );
        other.rid = encodings[0].rid;
        world.show(camera, &other);
    }
    encodings[0].sequence += 5;
    let payload_type = 98;
    assert_eq!(world.events(), [Event::CodecForeign { consumer, payload_type }]);
    assert_eq!(comes(&world), Some(payload_type));
    world.asked.clear();
    for packet in encodings[0].frame(world.now, false) {
        world.show(camera, &packet);
    }
    assert_eq!(world.asked.len(), 1, "what it had does not fit any more");

    let peer = PeerKey(2);
    world.router.add_peer(world.now, peer, true).unwrap();
    let mut config = world.config(peer, MediaKind::Video);
    config.codecs = vec![codec(100, "AV1")];
    let (now, router) = (world.now, &mut world.router);
    assert_eq!(router.consume(now, producer, config.clone()), Err(Error::NoCodec));
    config.kind = MediaKind::Audio;
    assert_eq!(router.consume(now, producer, config.clone()), Err(Error::Kind));
    // Before it is negotiated nobody can say.
    config.kind = MediaKind::Video;
    config.codecs.clear();
    assert!(router.consume(now, producer, config.clone()).is_ok());
    assert_eq!(
        router.consume(now, producer, config.clone()),
        Err(Error::ConsumerExists)
    );
    config.peer = PeerKey(99);
    assert_eq!(router.consume(now, producer, config), Err(Error::NoPeer));
}

#[test]
fn a_peer_that_leaves_takes_its_own_along() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (first, _) = world.consume(producer, 1, MediaKind::Video);
    let (second, _) = world.consume(producer, 2, MediaKind::Video);
    let mut encodings = simulcast();
    world.step(camera, &mut encodings);
    world.events();
    world.tell(PeerKey(1), &Told::PeerEnded(PeerEnd::Silence));
    assert!(world.events().is_empty(), "it may come back");
    world.tell(PeerKey(1), &Told::PeerEnded(PeerEnd::CloseNotify));
    let cause = Closed::Peer;
    assert_eq!(world.events(), [Event::ConsumerClosed { consumer: first, cause }]);
    world.tell(PUBLISHER, &Told::TrackEnded(camera));
    let closed = [
        Event::ProducerClosed {
            producer,
            cause: Closed::Transceiver,
        },
        Event::ConsumerClosed {
            consumer: second,
            cause: Closed::Producer,
        },
    ];
    assert_eq!(world.events(), closed);
    let unknown = packet(world.now, 1, VP8, 1, vec![0]);
    let taken = world
        .router
        .handle_packet(world.now, PUBLISHER, camera, &unknown, |_, _, _| panic!("to nobody"));
    assert!(!taken);
    let (copied, camera) = world.produce(MediaKind::Video);
    world.router.set_copied(copied, true).unwrap();
    let taken = world
        .router
        .handle_packet(world.now, PUBLISHER, camera, &unknown, |_, _, _| panic!("to nobody"));
    assert!(!taken, "the application gets it too");
    world.router.remove_peer(PUBLISHER);
    world.router.remove_peer(PeerKey(2));
    assert!(world.router.is_empty());
    assert_eq!(world.router.dump().consumers, []);
}

#[test]
fn who_is_not_connected_yet_is_sent_nothing() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let peer = PeerKey(1);
    world.router.add_peer(world.now, peer, false).unwrap();
    let config = world.config(peer, MediaKind::Video);
    let consumer = world.router.consume(world.now, producer, config).unwrap();
    let mut encodings = simulcast();
    for _ in 0..20 {
        world.step(camera, &mut encodings);
    }
    assert!(world.sent.is_empty() && world.asked.is_empty());
    world.tell(peer, &Told::ConnectionStateChange(RtcPeerConnectionState::Connected));
    assert_eq!(world.asked.len(), 1, "at once");
    for _ in 0..20 {
        world.step(camera, &mut encodings);
    }
    assert!(world.sent[0].1.key_frame);
    let sent = world.router.consumer(consumer).unwrap().sent;
    // Between two paths all goes on; after them nothing does.
    world.tell(peer, &Told::ConnectionStateChange(RtcPeerConnectionState::Disconnected));
    world.step(camera, &mut encodings);
    assert!(world.router.consumer(consumer).unwrap().sent > sent);
    world.tell(peer, &Told::ConnectionStateChange(RtcPeerConnectionState::Failed));
    assert!(!world.router.consumer(consumer).unwrap().is_on);
}
