//! No allocation for a packet, whatever is written anew in it, and bounded memory for a consumer.

mod common;

use antiphon_jsep::{Config as Signalling, Negotiator, TransceiverInit};
use antiphon_media::Packet;
use antiphon_netsim::Counting;
use antiphon_peer_connection::{Codec, MediaKind, TransceiverId};
use antiphon_sansio::Rng;
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{Config, ConsumerConfig as RouterConsumer, PeerKey, PipeConfig, ProducerConfig, Router};
use antiphon_sfu::{Consumer, ConsumerConfig, Descriptors, Wish};
use common::{Av1, FRAME, Inter, Vp9, producer, simulcast};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Shows all packets to consumers that wish different things; gives how many went on, and the allocations for all but
/// the first ones.
fn allocations(packets: &[Packet], first: usize) -> (usize, usize) {
    let mut producer = producer(&["a", "b", "c"]);
    let mut consumers: Vec<Consumer> = (0..6)
        .map(|place| {
            let mut consumer = Consumer::new(ConsumerConfig {
                descriptors: if place % 2 == 0 {
                    Descriptors::Always
                } else {
                    Descriptors::Never
                },
            });
            consumer.set_wish(Wish {
                level: place / 2,
                temporal: 1,
                bitrate: (place > 3).then_some(500_000),
            });
            consumer
        })
        .collect();
    // What comes from a socket is shared memory; a vector becomes it when it is cloned first.
    packets.iter().for_each(|packet| drop(packet.payload.clone()));
    let (mut passed, mut before) = (0, 0);
    for (index, packet) in packets.iter().enumerate() {
        if index == first {
            before = Counting::here().allocations;
        }
        let now = packet.received;
        let Some(facts) = producer.take(now, packet) else {
            continue;
        };
        for consumer in &mut consumers {
            passed += usize::from(consumer.take(now, packet, &facts, producer.layers()).is_some());
            if let Some(encoding) = consumer.poll_key_frame(now) {
                producer.want_key_frame(encoding);
            }
        }
        let _ = producer.poll_key_frame(now);
    }
    (passed, Counting::here().allocations - before)
}

#[test]
fn a_packet_takes_no_memory_of_its_own() {
    let mut now = antiphon_netsim::start();
    let mut encodings = simulcast();
    let (mut vp8, mut vp9, mut av1) = (Vec::new(), Vec::new(), Vec::new());
    let (mut svc, mut descriptors) = (Vp9::new(Inter::Always, false), Av1::new());
    for step in 0..400 {
        for encoding in &mut encodings {
            vp8.extend(encoding.frame(now, step % 50 == 0));
        }
        vp9.extend(svc.frame(now, step % 50 == 0));
        // A new structure is kept, so there is one at the beginning alone.
        av1.extend(descriptors.frame(now, step == 0));
        now += FRAME;
    }
    for (name, packets) in [("VP8", vp8), ("VP9", vp9), ("AV1", av1)] {
        let (passed, allocated) = allocations(&packets, packets.len() / 2);
        assert!(passed > packets.len(), "{name}: {passed} of {}", packets.len());
        assert_eq!(allocated, 0, "{name}");
    }
}

/// A router with a producer and so many consumers of sound or pictures.
fn router(kind: MediaKind, consumers: u64) -> (Router, TransceiverId) {
    let mut names = Negotiator::new(Signalling::default(), Rng::from_u64(1));
    let mut transceiver = || names.add_transceiver(kind, TransceiverInit::default());
    let codec = |payload_type: u8, name: &str| Codec {
        payload_type,
        name: name.into(),
        clock_rate: if name == "opus" { 48_000 } else { 90_000 },
        channels: None,
        parameters: String::new(),
        sender_parameters: String::new(),
        feedback: Vec::new(),
        rtx: None,
    };
    let codecs = vec![codec(96, "VP8"), codec(98, "VP9"), codec(111, "opus")];
    let now = antiphon_netsim::start();
    let mut router = Router::new(Config::default(), now);
    let (from, publisher) = (transceiver(), PeerKey(0));
    router.add_peer(now, publisher, true).unwrap();
    let producer = router.produce(ProducerConfig {
        peer: publisher,
        transceiver: from,
        kind,
        codecs: codecs.clone(),
        rids: ["a", "b", "c"].map(common::rid).to_vec(),
        paused: false,
    });
    for place in 1..=consumers {
        let peer = PeerKey(place);
        router.add_peer(now, peer, true).unwrap();
        let config = RouterConsumer {
            peer,
            encoding: transceiver().into(),
            kind,
            codecs: codecs.clone(),
            descriptors: Descriptors::Needed,
            takes_descriptors: true,
            paused: false,
            claim: Claim::default(),
        };
        router.consume(now, producer.unwrap(), config).unwrap();
        router.set_estimate(now, peer, Some(150_000 * place));
    }
    // And one that gets all of it.
    let far = PeerKey(consumers + 1);
    router.add_peer(now, far, true).unwrap();
    let pipe = PipeConfig {
        peer: far,
        transceiver: transceiver(),
        kind,
        codecs,
        rids: ["a", "b", "c"].map(common::rid).to_vec(),
        paused: false,
    };
    router.pipe(now, producer.unwrap(), pipe).unwrap();
    (router, from)
}

#[test]
fn a_packet_goes_through_a_router_without_memory_of_its_own() {
    let start = antiphon_netsim::start();
    let (mut simulcast, mut sound) = (simulcast(), Vec::new());
    let mut pictures = Vec::new();
    for step in 0..400u32 {
        let now = start + FRAME * step;
        for encoding in &mut simulcast {
            pictures.extend(encoding.frame(now, step % 50 == 0));
        }
        sound.push(common::packet(now, 5, 111, step.into(), vec![7; 60]));
    }
    for (kind, packets) in [(MediaKind::Video, pictures), (MediaKind::Audio, sound)] {
        let (mut router, from) = router(kind, 6);
        packets.iter().for_each(|packet| drop(packet.payload.clone()));
        let (mut passed, mut before) = (0, 0);
        let runs = || packets.chunk_by(|one, next| one.received == next.received);
        let half = runs().count() / 2;
        for (index, run) in runs().enumerate() {
            if index == half {
                before = Counting::here().allocations;
            }
            let now = run[0].received;
            router.handle_packets(now, PeerKey(0), from, run, |_, _, _| {
                passed += 1;
                true
            });
            while router.poll_request(now).is_some() || router.poll_event().is_some() {}
            if router.poll_timeout().is_some_and(|at| at <= now) {
                router.handle_timeout(now);
            }
        }
        let allocated = Counting::here().allocations - before;
        assert!(passed > packets.len(), "{kind:?}: {passed} of {}", packets.len());
        assert_eq!(allocated, 0, "{kind:?}");
    }
}

#[test]
fn a_consumer_is_small() {
    let bytes = std::mem::size_of::<Consumer>();
    println!("{bytes} bytes a consumer");
    assert!(bytes <= 6 * 1024, "{bytes}");
}
