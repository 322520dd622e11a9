//! Producers and consumers without a peer.

use crate::common::{FRAME, VP8, codec, packet, rid, simulcast};
use crate::world::*;
use antiphon_media::Packet;
use antiphon_media::extension::AudioLevel;
use antiphon_peer_connection::MediaKind;
use antiphon_sfu::router::{
    Closed, Config, ConsumerConfig, ConsumerId, Direct, Error, Event, Format, MAX_DIRECT, PeerKey, ProducerId, Request,
    Router,
};
use antiphon_sfu::speakers::LoudestOptions;

fn format(kind: MediaKind, rids: &[&str]) -> Format {
    Format {
        kind,
        codecs: vec![codec(VP8, "VP8"), codec(OPUS, "opus")],
        rids: rids.iter().map(|name| rid(name)).collect(),
    }
}

/// All that waits, by consumer.
fn fetch(router: &mut Router) -> (Vec<Format>, Vec<Packet>) {
    let (mut formats, mut packets) = (Vec::new(), Vec::new());
    while let Some((_, direct)) = router.poll_direct() {
        match direct {
            Direct::Format(format) => formats.push(format),
            Direct::Packet(packet) => packets.push(packet),
        }
    }
    (formats, packets)
}

/// A second router that gets what a consumer of the first one fetches, and its own consumer.
struct Behind {
    router: Router,
    producer: ProducerId,
    consumer: ConsumerId,
    got: Vec<Packet>,
}

impl Behind {
    fn new(world: &mut World, format: Format, config: ConsumerConfig) -> Self {
        let mut router = Router::new(Config::default(), world.now);
        let producer = router.produce_direct(format).unwrap();
        router.add_peer(world.now, config.peer, true).unwrap();
        let consumer = router.consume(world.now, producer, config).unwrap();
        Self {
            router,
            producer,
            consumer,
            got: Vec::new(),
        }
    }

    /// Carries over what waits, and asks back.
    fn carry(&mut self, world: &mut World, from: ConsumerId) {
        let (_, packets) = fetch(&mut world.router);
        let got = &mut self.got;
        let taken = self
            .router
            .handle_direct(world.now, self.producer, &packets, |_, _, packet| {
                got.push(packet.clone());
                true
            });
        taken.unwrap();
        while self.router.poll_timeout().is_some_and(|at| at <= world.now) {
            self.router.handle_timeout(world.now);
        }
        while let Some(request) = self.router.poll_request(world.now) {
            if let Request::DirectKeyFrame { producer, ssrc } = request {
                assert_eq!(producer, self.producer);
                world.router.request_direct_key_frame(world.now, from, ssrc).unwrap();
            }
        }
        world.serve();
    }
}

#[test]
fn who_fetches_gets_all_and_who_is_behind_that_one_layer_of_it() {
    let mut world = World::new();
    let (producer, camera) = world.produce(MediaKind::Video);
    let own = world.router.format(producer).unwrap();
    let from = world.router.consume_direct(world.now, producer).unwrap();
    assert_eq!(fetch(&mut world.router).0, std::slice::from_ref(&own), "first of all");
    let config = world.config(PeerKey(1), MediaKind::Video);
    let mut behind = Behind::new(&mut world, own, config);
    behind.router.set_estimate(world.now, PeerKey(1), Some(200_000));
    let mut encodings = simulcast();
    for _ in 0..200 {
        world.step(camera, &mut encodings);
        behind.carry(&mut world, from);
    }
    let stats = world.router.consumer(from).unwrap();
    let came = world.router.producer(producer).unwrap();
    assert_eq!((stats.sent, stats.refused, stats.peer), (came.packets, 0, None));
    assert!(stats.is_pipe && stats.is_on);
    let stats = behind.router.consumer(behind.consumer).unwrap();
    assert_eq!(stats.layer.map(|layer| layer.encoding), Some(1));
    assert!(behind.got.len() > 150 && behind.got[0].key_frame);
    assert!(is_whole(&behind.got.iter().collect::<Vec<_>>()));
    // It was asked for by the one behind, of the encodings that it went through.
    assert!((1..=3).contains(&came.key_frames_asked), "{}", came.key_frames_asked);
    let stats = behind.router.producer(behind.producer).unwrap();
    assert_eq!(
        (stats.packets, stats.peer, stats.layers.levels().len()),
        (came.packets, None, 3)
    );
    // A pause leaves no hole, and ends with a key frame.
    world.router.pause_consumer(world.now, from).unwrap();
    for _ in 0..10 {
        world.step(camera, &mut encodings);
        behind.carry(&mut world, from);
    }
    let before = behind.got.len();
    world.router.resume_consumer(world.now, from).unwrap();
    for _ in 0..10 {
        world.step(camera, &mut encodings);
        behind.carry(&mut world, from);
    }
    assert!(behind.got.len() > before && behind.got[before].key_frame);
    assert!(is_whole(&behind.got.iter().collect::<Vec<_>>()));
}

#[test]
fn another_format_is_told_before_what_comes_of_it() {
    let mut world = World::new();
    let producer = world
        .router
        .produce_direct(format(MediaKind::Video, &["a", "b", "c"]))
        .unwrap();
    let consumer = world.router.consume_direct(world.now, producer).unwrap();
    let mut encodings = simulcast();
    let run: Vec<Packet> = encodings
        .iter_mut()
        .flat_map(|own| own.frame(world.now, true))
        .collect();
    let hand_in = |world: &mut World, run: &[Packet]| {
        world
            .router
            .handle_direct(world.now, producer, run, |_, _, _| panic!("no peer has part in it"))
    };
    hand_in(&mut world, &run).unwrap();
    let other = format(MediaKind::Video, &["a", "b"]);
    world.router.set_format(world.now, producer, other.clone()).unwrap();
    let sound = format(MediaKind::Audio, &[]);
    assert_eq!(world.router.set_format(world.now, producer, sound), Err(Error::Kind));
    let run: Vec<Packet> = encodings[..2]
        .iter_mut()
        .flat_map(|own| own.frame(world.now, true))
        .collect();
    hand_in(&mut world, &run).unwrap();
    let (formats, packets) = fetch(&mut world.router);
    assert_eq!(
        (formats, packets.len()),
        (vec![other], 4),
        "what was before could not be read"
    );
    assert_eq!(world.router.consumer(consumer).unwrap().refused, 6);
    assert!(
        packets
            .iter()
            .all(|packet| packet.payload_type == VP8 && packet.rid.is_some())
    );
}

#[test]
fn what_nobody_fetches_is_bounded_and_the_oldest_goes() {
    let mut world = World::new();
    let producer = world.router.produce_direct(format(MediaKind::Audio, &[])).unwrap();
    let consumer = world.router.consume_direct(world.now, producer).unwrap();
    for number in 0..MAX_DIRECT as u64 + 10 {
        let made = packet(world.now, 5, OPUS, number, vec![7; 60]);
        world
            .router
            .handle_direct(world.now, producer, &[made], |_, _, _| true)
            .unwrap();
    }
    assert_eq!(world.router.consumer(consumer).unwrap().refused, 10);
    assert_eq!(world.router.totals().refused, 10);
    let (_, packets) = fetch(&mut world.router);
    assert_eq!((packets.len(), packets[0].sequence), (MAX_DIRECT, 10));
    // Of several consumers each gets its own.
    let second = world.router.consume_direct(world.now, producer).unwrap();
    let made = packet(world.now, 5, OPUS, 5000, vec![7; 60]);
    world
        .router
        .handle_direct(world.now, producer, &[made], |_, _, _| true)
        .unwrap();
    let mut whose: Vec<ConsumerId> = Vec::new();
    while let Some((id, direct)) = world.router.poll_direct() {
        if let Direct::Packet(_) = direct {
            whose.push(id);
        }
    }
    whose.sort_unstable();
    assert_eq!(whose, [consumer, second]);
}

#[test]
fn they_end_with_each_other_and_are_no_peers() {
    let mut world = World::new();
    let (of_peer, _) = world.produce(MediaKind::Video);
    let producer = world.router.produce_direct(format(MediaKind::Video, &[])).unwrap();
    let consumer = world.router.consume_direct(world.now, producer).unwrap();
    let (other, encoding) = world.consume(producer, 1, MediaKind::Video);
    let refused = world.router.handle_direct(world.now, of_peer, &[], |_, _, _| true);
    assert_eq!(refused, Err(Error::HasPeer));
    let (now, router) = (world.now, &mut world.router);
    assert_eq!(
        router.set_format(now, of_peer, format(MediaKind::Video, &[])),
        Err(Error::HasPeer)
    );
    assert_eq!(router.request_direct_key_frame(now, other, 1), Err(Error::HasPeer));
    assert_eq!(router.set_claim(now, consumer, Default::default()), Err(Error::Pipe));
    // A source that was never seen has no key frames.
    router.request_direct_key_frame(now, consumer, 1).unwrap();
    assert_eq!(
        router
            .poll_request(now)
            .map(|request| matches!(request, Request::Desire { .. })),
        Some(true)
    );
    world.events();
    world.tell(
        PeerKey(1),
        &antiphon_peer_connection::Event::TrackEnded(encoding.transceiver),
    );
    let closed = |consumer, cause| Event::ConsumerClosed { consumer, cause };
    assert_eq!(world.events(), [closed(other, Closed::Transceiver)]);
    world.router.close_producer(producer).unwrap();
    let ended = Event::ProducerClosed {
        producer,
        cause: Closed::Asked,
    };
    assert_eq!(world.events(), [ended, closed(consumer, Closed::Producer)]);
    assert!(world.router.poll_direct().is_none(), "what waited is gone with it");
    let gone = world.router.handle_direct(world.now, producer, &[], |_, _, _| true);
    assert_eq!(gone, Err(Error::NoProducer));
    assert_eq!(world.router.consume_direct(world.now, producer), Err(Error::NoProducer));
    let limits = Config {
        max_producers: 1,
        max_consumers: 1,
        ..Config::default()
    };
    let mut router = Router::new(limits, world.now);
    let producer = router.produce_direct(format(MediaKind::Video, &[])).unwrap();
    assert!(!router.is_empty());
    assert_eq!(router.produce_direct(format(MediaKind::Video, &[])), Err(Error::Full));
    router.consume_direct(world.now, producer).unwrap();
    assert_eq!(router.consume_direct(world.now, producer), Err(Error::Full));
}

#[test]
fn sound_that_is_handed_in_is_heard_and_judged_with_the_others() {
    let mut world = World::new();
    world.router.set_dominance(true);
    world.router.set_loudest(Some(LoudestOptions {
        count: 1,
        ..LoudestOptions::default()
    }));
    let loud = world.router.produce_direct(format(MediaKind::Audio, &[])).unwrap();
    let (quiet, microphone) = world.produce_with(MediaKind::Audio, &[]);
    let (of_quiet, _) = world.consume(quiet, 1, MediaKind::Audio);
    let fetched = world.router.consume_direct(world.now, quiet).unwrap();
    for number in 0..200 {
        let mut made = packet(world.now, 9, OPUS, number, vec![1]);
        let mut level = |below_overload| {
            made.extensions.audio_level = Some(AudioLevel {
                below_overload,
                voice: true,
            });
            made.clone()
        };
        let (of_loud, of_quiet) = (level(10), level(60));
        let (now, router) = (world.now, &mut world.router);
        router.handle_direct(now, loud, &[of_loud], |_, _, _| true).unwrap();
        world.show(microphone, &of_quiet);
        world.run_to(world.now + FRAME);
    }
    assert_eq!(world.router.dominant(), Some(loud));
    assert!(world.router.consumer(of_quiet).unwrap().sent < 100);
    assert_eq!(world.router.consumer(fetched).unwrap().sent, 200);
}
