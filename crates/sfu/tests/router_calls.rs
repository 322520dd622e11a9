//! Any calls of a router, in any order.

mod common;

use std::time::{Duration, Instant};

use antiphon_jsep::{Config as Signalling, Negotiator, TransceiverInit};
use antiphon_media::extension::AudioLevel;
use antiphon_peer_connection::{Codec, Event as Told, MediaKind, RtcPeerConnectionState, TransceiverId};
use antiphon_sansio::Rng;
use antiphon_sfu::Descriptors;
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{
    Config, ConsumerConfig, ConsumerId, Format, PeerKey, PipeConfig, ProducerConfig, ProducerId, Router,
};
use antiphon_sfu::speakers::LoudestOptions;
use common::{Vp8, codec, packet, rid};
use proptest::collection::vec;
use proptest::prelude::*;

/// Something that a host does with a router.
#[derive(Clone, Debug)]
enum Call {
    AddPeer(u8, bool),
    RemovePeer(u8),
    Produce(u8, u8, bool),
    Consume(prop::sample::Index, u8, u8),
    Pipe(prop::sample::Index, u8, u8),
    ProduceDirect(bool, u8),
    ConsumeDirect(prop::sample::Index),
    HandIn(prop::sample::Index, u8, bool),
    AskDirect(prop::sample::Index, u8),
    Format(prop::sample::Index, u8),
    Fetch(u8),
    Close(bool, prop::sample::Index),
    Pause(bool, bool, prop::sample::Index),
    Claim(prop::sample::Index, u8, u8, Option<u8>, u64),
    Estimate(u8, Option<u32>),
    KeyFrame(u8, u8),
    Ended(u8, u8),
    State(u8, bool),
    Loudest(Option<usize>, bool),
    Packets(u8, u8, u16, bool, Vec<u8>, Option<u8>),
    Wait(u16),
}

fn call() -> impl Strategy<Value = Call> {
    use prop::sample::Index;
    prop_oneof![
        (0u8..5, any::<bool>()).prop_map(|(peer, on)| Call::AddPeer(peer, on)),
        (0u8..5).prop_map(Call::RemovePeer),
        (0u8..5, 0u8..8, any::<bool>()).prop_map(|(peer, place, sound)| Call::Produce(peer, place, sound)),
        (any::<Index>(), 0u8..5, 0u8..8).prop_map(|(producer, peer, place)| Call::Consume(producer, peer, place)),
        (any::<Index>(), 0u8..5, 0u8..8).prop_map(|(producer, peer, place)| Call::Pipe(producer, peer, place)),
        (any::<bool>(), 0u8..4).prop_map(|(sound, rids)| Call::ProduceDirect(sound, rids)),
        any::<Index>().prop_map(Call::ConsumeDirect),
        (any::<Index>(), 0u8..3, any::<bool>()).prop_map(|(which, source, key)| Call::HandIn(which, source, key)),
        (any::<Index>(), 0u8..4).prop_map(|(which, source)| Call::AskDirect(which, source)),
        (any::<Index>(), 0u8..4).prop_map(|(which, rids)| Call::Format(which, rids)),
        (0u8..9).prop_map(Call::Fetch),
        (any::<bool>(), any::<Index>()).prop_map(|(producer, which)| Call::Close(producer, which)),
        (any::<bool>(), any::<bool>(), any::<Index>())
            .prop_map(|(producer, on, which)| Call::Pause(producer, on, which)),
        (
            any::<Index>(),
            0u8..5,
            0u8..4,
            prop::option::of(0u8..4),
            prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
        )
            .prop_map(|(which, level, priority, floor, over)| Call::Claim(which, level, priority, floor, over)),
        (0u8..5, prop::option::of(any::<u32>())).prop_map(|(peer, bps)| Call::Estimate(peer, bps)),
        (0u8..5, 0u8..8).prop_map(|(peer, place)| Call::KeyFrame(peer, place)),
        (0u8..5, 0u8..8).prop_map(|(peer, place)| Call::Ended(peer, place)),
        (0u8..5, any::<bool>()).prop_map(|(peer, on)| Call::State(peer, on)),
        (prop::option::of(0usize..4), any::<bool>()).prop_map(|(count, on)| Call::Loudest(count, on)),
        (
            0u8..5,
            0u8..8,
            any::<u16>(),
            any::<bool>(),
            vec(any::<u8>(), 0..12),
            prop::option::of(any::<u8>())
        )
            .prop_map(|(peer, place, sequence, key, body, level)| Call::Packets(
                peer, place, sequence, key, body, level
            )),
        (0u16..900).prop_map(Call::Wait),
    ]
}

/// A router that is driven by a list of calls, and what is true of it after each.
struct Driven {
    router: Router,
    now: Instant,
    transceivers: Vec<TransceiverId>,
    producers: Vec<ProducerId>,
    consumers: Vec<ConsumerId>,
    sources: Vec<Vp8>,
}

impl Driven {
    fn new() -> Self {
        let mut names = Negotiator::new(Signalling::default(), Rng::from_u64(1));
        let mut transceiver = || names.add_transceiver(MediaKind::Video, TransceiverInit::default());
        let now = antiphon_netsim::start();
        let limits = Config {
            max_peers: 4,
            max_producers: 6,
            max_consumers: 10,
        };
        Self {
            router: Router::new(limits, now),
            now,
            transceivers: (0..8).map(|_| transceiver()).collect(),
            producers: Vec::new(),
            consumers: Vec::new(),
            sources: (0..3).map(|place| Vp8::new(place, (320, 180), 300)).collect(),
        }
    }

    fn codecs(&self) -> Vec<Codec> {
        [(96, "VP8"), (98, "VP9"), (111, "opus")]
            .map(|(payload_type, name)| codec(payload_type, name))
            .to_vec()
    }

    fn format(&self, sound: bool, rids: u8) -> Format {
        let names = &["a", "b", "c"][..usize::from(rids)];
        Format {
            kind: Self::kind(sound),
            codecs: self.codecs(),
            rids: names.iter().map(|name| rid(name)).collect(),
        }
    }

    fn kind(sound: bool) -> MediaKind {
        if sound { MediaKind::Audio } else { MediaKind::Video }
    }

    fn take(&mut self, call: Call) {
        let (router, now) = (&mut self.router, self.now);
        let peer = |peer: u8| PeerKey(peer.into());
        let transceiver = |place: u8| self.transceivers[usize::from(place)];
        match call {
            Call::AddPeer(key, on) => _ = router.add_peer(now, peer(key), on),
            Call::RemovePeer(key) => router.remove_peer(peer(key)),
            Call::Produce(key, place, sound) => {
                let config = ProducerConfig {
                    peer: peer(key),
                    transceiver: transceiver(place),
                    kind: Self::kind(sound),
                    codecs: self.codecs(),
                    rids: ["a", "b"].map(rid).to_vec(),
                    paused: place == 7,
                };
                self.producers.extend(self.router.produce(config));
            }
            Call::Consume(which, key, place) => {
                if self.producers.is_empty() {
                    return;
                }
                let producer = *which.get(&self.producers);
                let kind = router.producer(producer).map_or(MediaKind::Video, |own| own.kind);
                let config = ConsumerConfig {
                    peer: peer(key),
                    encoding: transceiver(place).into(),
                    kind,
                    codecs: self.codecs(),
                    descriptors: Descriptors::Always,
                    takes_descriptors: true,
                    paused: place == 6,
                    claim: Claim::default(),
                };
                self.consumers.extend(self.router.consume(now, producer, config));
            }
            Call::Pipe(which, key, place) => {
                if self.producers.is_empty() {
                    return;
                }
                let producer = *which.get(&self.producers);
                let kind = router.producer(producer).map_or(MediaKind::Video, |own| own.kind);
                let names = &["a", "b", "c"][..usize::from(place) % 4];
                let config = PipeConfig {
                    peer: peer(key),
                    transceiver: transceiver(place),
                    kind,
                    codecs: self.codecs(),
                    rids: names.iter().map(|name| rid(name)).collect(),
                    paused: place == 6,
                };
                self.consumers.extend(self.router.pipe(now, producer, config));
            }
            Call::ProduceDirect(sound, rids) => {
                let format = self.format(sound, rids);
                self.producers.extend(self.router.produce_direct(format));
            }
            Call::ConsumeDirect(which) if !self.producers.is_empty() => {
                let producer = *which.get(&self.producers);
                self.consumers.extend(router.consume_direct(now, producer));
            }
            Call::HandIn(which, source, is_key) if !self.producers.is_empty() => {
                let run = self.sources[usize::from(source)].frame(now, is_key);
                let producer = *which.get(&self.producers);
                _ = router.handle_direct(now, producer, &run, |_, _, _| is_key);
            }
            Call::AskDirect(which, source) if !self.consumers.is_empty() => {
                let ssrc = 100 + u32::from(source);
                _ = router.request_direct_key_frame(now, *which.get(&self.consumers), ssrc);
            }
            Call::Format(which, rids) if !self.producers.is_empty() => {
                let format = self.format(rids == 3, rids);
                _ = self.router.set_format(now, *which.get(&self.producers), format);
            }
            Call::Fetch(count) => {
                for _ in 0..count {
                    _ = router.poll_direct();
                }
            }
            Call::Close(true, which) if !self.producers.is_empty() => {
                _ = router.close_producer(*which.get(&self.producers));
            }
            Call::Close(false, which) if !self.consumers.is_empty() => {
                _ = router.close_consumer(*which.get(&self.consumers));
            }
            Call::Pause(true, on, which) if !self.producers.is_empty() => {
                let id = *which.get(&self.producers);
                let _ = if on {
                    router.pause_producer(now, id)
                } else {
                    router.resume_producer(now, id)
                };
            }
            Call::Pause(false, on, which) if !self.consumers.is_empty() => {
                let id = *which.get(&self.consumers);
                let _ = if on {
                    router.pause_consumer(now, id)
                } else {
                    router.resume_consumer(now, id)
                };
            }
            Call::Claim(which, level, priority, floor, overshoot) if !self.consumers.is_empty() => {
                let claim = Claim {
                    level,
                    temporal: level,
                    priority,
                    floor,
                    overshoot,
                };
                _ = router.set_claim(now, *which.get(&self.consumers), claim);
            }
            Call::Estimate(key, bps) => router.set_estimate(now, peer(key), bps.map(u64::from)),
            Call::KeyFrame(key, place) => {
                let told: Told = Told::KeyFrameRequested(transceiver(place).into());
                router.handle_event(now, peer(key), &told);
                let told: Told = Told::KeyFrameRequested((transceiver(place), rid("b")).into());
                router.handle_event(now, peer(key), &told);
            }
            Call::Ended(key, place) => {
                let told: Told = Told::TrackEnded(transceiver(place));
                router.handle_event(now, peer(key), &told);
            }
            Call::State(key, on) => {
                let state = if on {
                    RtcPeerConnectionState::Connected
                } else {
                    RtcPeerConnectionState::Failed
                };
                let told: Told = Told::ConnectionStateChange(state);
                router.handle_event(now, peer(key), &told);
            }
            Call::Loudest(count, on) => {
                router.set_loudest(count.map(|count| LoudestOptions {
                    count,
                    ..LoudestOptions::default()
                }));
                router.set_dominance(on);
            }
            Call::Packets(key, place, sequence, is_key, body, level) => {
                let mut packets = self.sources[usize::from(place) % 3].frame(now, is_key);
                let mut made = packet(
                    now,
                    u32::from(place),
                    [111, 96, 98][usize::from(place) % 3],
                    sequence.into(),
                    body,
                );
                made.extensions.audio_level = level.map(|below_overload| AudioLevel {
                    below_overload,
                    voice: true,
                });
                packets.push(made);
                let together = if is_key { packets.len() } else { 1 };
                for run in packets.chunks(together) {
                    router.handle_packets(now, peer(key), transceiver(place), run, |_, _, _| sequence % 3 > 0);
                }
            }
            Call::Wait(millis) => {
                self.now += Duration::from_millis(millis.into());
                self.router.handle_timeout(self.now);
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        for _ in 0..100 {
            if self.router.poll_request(self.now).is_none() {
                break;
            }
        }
        assert!(
            self.router.poll_request(self.now).is_none(),
            "law 1: requests without end"
        );
        let events = std::iter::from_fn(|| self.router.poll_event()).count();
        assert!(events <= 200, "{events} events of one call");
        if self.router.poll_timeout().is_some_and(|at| at <= self.now) {
            self.router.handle_timeout(self.now);
            while self.router.poll_request(self.now).is_some() {}
            while self.router.poll_event().is_some() {}
        }
        let next = self.router.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "law 2: {next:?}");
        let dump = self.router.dump();
        assert!(dump.peers <= 4 && dump.producers.len() <= 6 && dump.consumers.len() <= 10);
        for consumer in &dump.consumers {
            let producer = dump.producers.iter().find(|own| own.id == consumer.producer);
            let producer = producer.expect("a consumer has a producer");
            assert!(!consumer.is_on || !consumer.paused && !producer.paused && !consumer.is_starved);
        }
        let of_all: usize = dump.producers.iter().map(|own| own.consumers).sum();
        assert_eq!(of_all, dump.consumers.len());
    }
}

proptest! {
    #[test]
    fn no_calls_harm_a_router(calls in vec(call(), 0..150)) {
        let mut driven = Driven::new();
        for call in calls {
            driven.take(call);
            driven.drain();
        }
        for key in 0..5 {
            driven.router.remove_peer(PeerKey(key));
        }
        for producer in std::mem::take(&mut driven.producers) {
            _ = driven.router.close_producer(producer);
        }
        prop_assert!(driven.router.is_empty() && driven.router.dump().consumers.is_empty());
        prop_assert!(driven.router.poll_direct().is_none());
    }
}
