//! What a router tells of what went on: sums, switches, runs and scores.

use std::time::Duration;

use crate::common::{FRAME, Vp8, simulcast};
use crate::world::*;
use antiphon_media::{Packet, Reported};
use antiphon_peer_connection::MediaKind;
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{Config, Error, Event, MAX_EVENTS, PeerKey, ProducerConfig, Router};

#[test]
fn what_nobody_takes_is_bounded() {
    let mut world = World::new();
    let limits = Config {
        max_peers: 2,
        max_producers: 1,
        max_consumers: 1,
    };
    world.router = Router::new(limits, world.now);
    world.router.add_peer(world.now, PUBLISHER, true).unwrap();
    let (producer, _) = world.produce(MediaKind::Video);
    let transceiver = world.transceiver();
    let another = ProducerConfig {
        peer: PUBLISHER,
        transceiver,
        kind: MediaKind::Video,
        codecs: Vec::new(),
        rids: Vec::new(),
        paused: false,
    };
    assert_eq!(world.router.produce(another), Err(Error::Full));
    let (consumer, _) = world.consume(producer, 1, MediaKind::Video);
    let config = world.config(PeerKey(1), MediaKind::Video);
    assert_eq!(world.router.consume(world.now, producer, config), Err(Error::Full));
    assert_eq!(world.router.add_peer(world.now, PeerKey(2), true), Err(Error::Full));
    for _ in 0..MAX_EVENTS {
        world.router.pause_consumer(world.now, consumer).unwrap();
        world.router.resume_consumer(world.now, consumer).unwrap();
    }
    assert_eq!(world.events().len(), MAX_EVENTS);
    assert_eq!(world.router.events_dropped(), MAX_EVENTS as u64);
}

#[test]
fn sums_keep_what_is_closed_and_every_switch_has_its_cause() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, _) = world.consume(producer, 1, MediaKind::Video);
    let mut encodings = simulcast();
    let mut run = |world: &mut World, bps: u64, steps: usize| {
        world.router.set_estimate(world.now, PeerKey(1), Some(bps));
        let before = world.router.totals().switches;
        for _ in 0..steps {
            world.step(camera, &mut encodings);
        }
        let now = world.router.totals().switches;
        [
            now.up - before.up,
            now.down - before.down,
            now.claimed - before.claimed,
            now.source - before.source,
        ]
    };
    let at_first = run(&mut world, 9_000_000, 300);
    assert_eq!(at_first[1..3], [0, 0], "{at_first:?}");
    let down = run(&mut world, 60_000, 100);
    assert!(down[1] > 0 && down[0] == 0 && down[2] == 0, "{down:?}");
    let up = run(&mut world, 9_000_000, 900);
    assert!(up[0] > 0 && up[1] == 0 && up[2] == 0, "{up:?}");
    let shares = world.router.shares();
    assert_eq!((shares.peers, shares.estimate), (1, 9_000_000));
    assert!(shares.given > 0 && shares.given <= shares.desired, "{shares:?}");
    let claim = Claim {
        level: 0,
        ..Claim::default()
    };
    world.router.set_claim(world.now, consumer, claim).unwrap();
    let claimed = run(&mut world, 9_000_000, 100);
    assert_eq!(claimed, [0, 0, 1, 0]);

    let before = world.router.totals();
    assert_eq!(before.sent, world.sent.len() as u64);
    let bytes: usize = world.sent.iter().map(|(_, packet)| packet.payload.len()).sum();
    assert_eq!(before.sent_bytes, bytes as u64);
    assert!(
        before.packets > before.sent && before.left_out > 0 && before.key_frames_asked > 0,
        "{before:?}"
    );
    world.router.close_producer(producer).unwrap();
    assert_eq!(world.router.totals(), before);
    world.router.remove_peer(PeerKey(1));
    assert_eq!(world.router.totals(), before);
    assert_eq!(world.router.shares(), Default::default());
}

#[test]
fn a_run_goes_on_as_its_packets_do_one_by_one() {
    let run = |together: bool| {
        let mut world = World::new();
        let (camera, transceiver) = world.produce(MediaKind::Video);
        for peer in 1..=3 {
            world.consume(camera, peer, MediaKind::Video);
        }
        let mut encodings = simulcast();
        for _ in 0..10 {
            world.step(transceiver, &mut encodings);
        }
        world.sent.clear();
        for _ in 0..10 {
            let frames = encodings.iter_mut().map(|encoding| encoding.frame(world.now, false));
            let packets: Vec<Packet> = frames.flatten().collect();
            assert!(packets.len() > encodings.len(), "frames of several packets");
            for run in packets.chunks(if together { packets.len() } else { 1 }) {
                world.show_run(transceiver, run);
            }
            world.run_to(world.now + FRAME);
        }
        std::mem::take(&mut world.sent)
    };
    let (alone, together) = (run(false), run(true));
    let of = |sent: &Sent, peer: u64| -> Vec<(u64, u32, Vec<u8>)> {
        let own = sent.iter().filter(|(to, _)| *to == PeerKey(peer));
        own.map(|(_, packet)| (packet.sequence, packet.timestamp, crate::common::payload(packet)))
            .collect()
    };
    for peer in 1..=3 {
        let own = of(&together, peer);
        assert!(own.len() >= 20, "{} packets", own.len());
        assert_eq!(own, of(&alone, peer));
    }
    // All of a run that is for one goes to it before the next one has its turn.
    let turns = together.chunk_by(|one, next| one.0 == next.0).count();
    let turns_alone = alone.chunk_by(|one, next| one.0 == next.0).count();
    assert!(
        turns <= 3 * 10 && turns < turns_alone,
        "{turns} turns, {turns_alone} one by one"
    );
}

#[test]
fn what_is_lost_on_its_way_here_has_a_lower_score_and_what_stops_has_none() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let mut encodings = simulcast();
    let run = |world: &mut World, encodings: &mut [Vp8], seconds: u32, loses: bool| {
        for _ in 0..30 * seconds {
            for encoding in encodings.iter_mut() {
                for packet in encoding.frame(world.now, false) {
                    if !(loses && packet.ssrc == 101 && packet.sequence % 10 == 0) {
                        world.show(camera, &packet);
                    }
                }
            }
            world.run_to(world.now + FRAME);
        }
    };
    let scores = |world: &World| world.router.producer(producer).unwrap().scores;
    let told = |world: &mut World| {
        let own = |event| match event {
            Event::ProducerScore { producer: id, scores } if id == producer => Some(scores),
            _ => None,
        };
        world.events().into_iter().filter_map(own).collect::<Vec<_>>()
    };
    run(&mut world, &mut encodings, 5, false);
    assert_eq!(scores(&world), [Some(10), Some(10), Some(10), None]);
    assert!(told(&mut world).is_empty(), "that all is well is not told");
    run(&mut world, &mut encodings, 30, true);
    assert_eq!(scores(&world), [Some(10), Some(6), Some(10), None]);
    assert_eq!(told(&mut world), [scores(&world)], "told once, for nobody asked before");
    run(&mut world, &mut encodings[..2], 4, false);
    assert_eq!(scores(&world)[2], Some(0), "it has stopped");
    run(&mut world, &mut encodings, 30, false);
    assert_eq!(scores(&world), [Some(10), Some(10), Some(10), None]);
    world.run_to(world.now + Duration::from_secs(10));
    assert_eq!(scores(&world), [Some(0), Some(0), Some(0), None]);
    assert_eq!(
        world.router.poll_timeout(),
        None,
        "where nothing comes nothing is judged"
    );
}

#[test]
fn what_a_receiver_reports_is_the_score_of_its_consumer() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let (consumer, _) = world.consume(producer, 1, MediaKind::Video);
    let mut encodings = simulcast();
    let mut run = |world: &mut World, seconds: u32, lost: i64| {
        for _ in 0..seconds {
            for _ in 0..30 {
                world.step(camera, &mut encodings);
            }
            let before = world.reported.unwrap_or_default();
            world.reported = Some(Reported {
                received: before.received + 60 - lost.unsigned_abs(),
                lost: before.lost + lost,
                resent: 0,
            });
        }
    };
    let told = |world: &mut World| {
        let own = |event| match event {
            Event::ConsumerScore { consumer: id, score } if id == consumer => Some(score),
            _ => None,
        };
        world.events().into_iter().filter_map(own).collect::<Vec<_>>()
    };
    let score = |world: &World| world.router.consumer(consumer).unwrap().score;
    assert_eq!(score(&world), None);
    run(&mut world, 5, 0);
    assert_eq!((score(&world), told(&mut world)), (Some(10), vec![]));
    run(&mut world, 30, 6);
    assert_eq!((score(&world), told(&mut world)), (Some(6), vec![6]));
    run(&mut world, 30, 0);
    assert_eq!(score(&world), Some(10));
    world.router.close_consumer(consumer).unwrap();
    assert_eq!(
        world.router.set_reported(consumer, Reported::default()),
        Err(Error::NoConsumer)
    );
    assert_eq!(told(&mut world), [], "of one that is closed nothing is told");
}
