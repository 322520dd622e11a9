//! Two forwarders with a pipe between: who watches at the far one gets of it what he would at the near one. Twenty seeds, and a pipe that
//! loses two packets of a hundred each way.

use std::time::{Duration, Instant};

use antiphon_netsim::{HostId, LinkConfig, Network, PeerId, Simulation};
use antiphon_peer_connection::{
    Direction, EncodingId, Event, MediaKind, Output, RtcRtpEncodingParameters, RtcRtpTransceiverInit, TransceiverId,
};
use antiphon_sfu::Router;
use antiphon_sfu::router::{Config, ConsumerConfig, ConsumerId, PipeConfig, ProducerConfig, ProducerId};

use super::SECOND;
use super::hub::{FRAME, Hub, LAYERS, Shown, exchange, join, key, link, picture};

const SEEDS: std::ops::Range<u64> = 0..20;

/// One end of a connection: whose it is, and its place there.
type End = (PeerId, usize);

struct Watcher {
    end: End,
    consumer: ConsumerId,
    shown: Shown,
    sizes: Vec<(Instant, usize)>,
}

struct Span {
    net: Simulation<Hub>,
    near: PeerId,
    far: PeerId,
    far_host: HostId,
    publisher: PeerId,
    camera: TransceiverId,
    /// The producer at either forwarder, and the pipe between.
    producer: ProducerId,
    out: ProducerId,
    pipe: ConsumerId,
    /// Both ends of each connection.
    links: Vec<[End; 2]>,
    watchers: Vec<Watcher>,
    asked: Vec<EncodingId>,
    /// How often each encoding was asked for a key frame.
    key_frames: [usize; 3],
    number: u32,
}

fn simulcast() -> RtcRtpTransceiverInit {
    RtcRtpTransceiverInit {
        track_id: Some("camera".into()),
        send_encodings: LAYERS
            .iter()
            .map(|(rid, _)| RtcRtpEncodingParameters::layer(*rid))
            .collect(),
        ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    }
}

fn produce(net: &mut Simulation<Hub>, (hub, place): End) -> ProducerId {
    net.call(hub, |own, now| {
        let router = own.router.as_mut().unwrap();
        router.add_peer(now, key(place), false).unwrap();
        let transceiver = own.connections[place].transceivers().next().unwrap();
        router.produce(ProducerConfig::of(key(place), transceiver)).unwrap()
    })
}

impl Span {
    /// Two forwarders, a pipe over such a link, and a publisher at the near one.
    fn new(seed: u64, between: LinkConfig) -> Self {
        let mut network = Network::new(seed);
        let [near_host, far_host, publisher_host] = [(); 3].map(|()| network.add_host());
        network.connect(near_host, publisher_host, link(20_000_000));
        network.connect(near_host, far_host, between);
        let mut net = Simulation::with_max_datagram(network, 1400);
        let forwarder = |now, last| Hub::new([10, 0, 0, last].into(), Some(Router::new(Config::default(), now)));
        let now = net.now();
        let near = net.add(near_host, forwarder(now, 1));
        let far = net.add(far_host, forwarder(now, 2));
        let publisher = net.add(publisher_host, Hub::new([10, 0, 0, 3].into(), None));
        let place = join(&mut net, [near, publisher], Output::Packets);
        let camera = net.call(publisher, |own, _| {
            own.connections[0]
                .add_transceiver(MediaKind::Video, simulcast())
                .unwrap()
        });
        exchange(&mut net, (publisher, 0), (near, place));
        let producer = produce(&mut net, (near, place));
        let mut links = vec![[(near, place), (publisher, 0)]];
        // The far end of the pipe is a peer of the far router that sends packets, as a publisher does.
        let to = join(&mut net, [far, near], Output::Packets);
        let at = net.peer(near).connections.len() - 1;
        let pipe = net.call(near, |own, now| {
            let across = own.connections[at]
                .add_transceiver(MediaKind::Video, simulcast())
                .unwrap();
            let router = own.router.as_mut().unwrap();
            router.add_peer(now, key(at), false).unwrap();
            let config = PipeConfig::of(key(at), own.connections[at].transceiver(across).unwrap());
            router.pipe(now, producer, config).unwrap()
        });
        exchange(&mut net, (near, at), (far, to));
        links.push([(near, at), (far, to)]);
        let out = produce(&mut net, (far, to));
        Self {
            net,
            near,
            far,
            far_host,
            publisher,
            camera,
            producer,
            out,
            pipe,
            links,
            watchers: Vec::new(),
            asked: Vec::new(),
            key_frames: [0; 3],
            number: 0,
        }
    }

    /// Somebody watches at the far forwarder, over a link of so many bits a second.
    fn watch(&mut self, rate: u64) -> usize {
        let host = self.net.network.add_host();
        self.net.network.connect(self.far_host, host, link(rate));
        let last = 10 + self.watchers.len() as u8;
        let id = self.net.add(host, Hub::new([10, 0, 0, last].into(), None));
        let place = join(&mut self.net, [self.far, id], Output::Frames);
        let out = self.out;
        let consumer = self.net.call(self.far, |own, now| {
            let router = own.router.as_mut().unwrap();
            router.add_peer(now, key(place), false).unwrap();
            let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
            let to = own.connections[place].add_transceiver(MediaKind::Video, init).unwrap();
            let config = ConsumerConfig::of(key(place), to, own.connections[place].transceiver(to).unwrap());
            router.consume(now, out, config).unwrap()
        });
        exchange(&mut self.net, (self.far, place), (id, 0));
        self.links.push([(self.far, place), (id, 0)]);
        self.watchers.push(Watcher {
            end: (id, 0),
            consumer,
            shown: Shown::default(),
            sizes: Vec::new(),
        });
        self.watchers.len() - 1
    }

    fn run(&mut self, duration: Duration) {
        let end = self.net.now() + duration;
        while self.net.now() < end {
            self.publish();
            self.net.run_for(FRAME);
            self.hear();
        }
    }

    fn publish(&mut self) {
        self.number += 1;
        let (asked, number, camera) = (std::mem::take(&mut self.asked), self.number, self.camera);
        self.net.call(self.publisher, |own, now| {
            let pc = &mut own.connections[0];
            for (encoding, (_, bytes)) in pc.encodings(camera).unwrap().into_iter().zip(LAYERS) {
                let (true, Some(codec)) = (encoding.is_wanted(), &encoding.codec) else {
                    continue;
                };
                let is_key = number == 1 || asked.contains(&encoding.id);
                let frame = picture(codec.payload_type, 0, number, is_key, bytes);
                pc.send_frame(now, encoding.id, frame).unwrap();
            }
        });
    }

    fn hear(&mut self) {
        let now = self.net.now();
        for id in [self.near, self.far, self.publisher] {
            for (place, event) in self.net.take_events(id) {
                match event {
                    Event::KeyFrameRequested(encoding) => {
                        let names = LAYERS.map(|(rid, _)| rid);
                        let rid = encoding.rid.unwrap().to_string();
                        self.key_frames[names.iter().position(|name| *name == rid).unwrap()] += 1;
                        self.asked.push(encoding);
                    }
                    Event::IceCandidate(candidate) => self.carry((id, place), candidate),
                    _ => {}
                }
            }
        }
        for at in 0..self.watchers.len() {
            let end = self.watchers[at].end;
            for (_, event) in self.net.take_events(end.0) {
                match event {
                    Event::Frame { frame, transceiver, .. } => {
                        let watcher = &mut self.watchers[at];
                        watcher.sizes.push((now, frame.data.len()));
                        if watcher.shown.take(now, &frame) {
                            self.net.call(end.0, |own, _| {
                                own.connections[0].request_key_frame(transceiver).unwrap();
                            });
                        }
                    }
                    Event::IceCandidate(candidate) => self.carry(end, candidate),
                    _ => {}
                }
            }
        }
    }

    fn carry(&mut self, from: End, candidate: Option<antiphon_peer_connection::RtcIceCandidateInit>) {
        let mut links = self.links.iter();
        let other = links.find_map(|[one, two]| match from {
            own if own == *one => Some(*two),
            own if own == *two => Some(*one),
            _ => None,
        });
        let (id, place) = other.expect("a connection has two ends");
        self.net.call(id, |own, now| {
            // Descriptions carry candidates too; one of an older generation is of no use.
            let _ = own.connections[place].add_ice_candidate(now, candidate);
        });
    }

    fn near<T>(&mut self, call: impl FnOnce(&mut Router, Instant) -> T) -> T {
        self.net
            .call(self.near, |own, now| call(own.router.as_mut().unwrap(), now))
    }

    fn far<T>(&mut self, call: impl FnOnce(&mut Router, Instant) -> T) -> T {
        self.net
            .call(self.far, |own, now| call(own.router.as_mut().unwrap(), now))
    }

    /// How many pictures a watcher showed in the last `seconds`, and the longest that one stood still.
    fn shown(&self, watcher: usize, seconds: u32) -> (usize, Duration) {
        let since = self.net.now() - SECOND * seconds;
        let at = self.watchers[watcher].shown.at.iter().filter(|at| **at > since);
        let at: Vec<Instant> = at.copied().collect();
        let stood = at.windows(2).map(|pair| pair[1] - pair[0]).max();
        (at.len(), stood.unwrap_or(Duration::MAX))
    }
}

/// What carries all three encodings, and loses some of it.
fn between() -> LinkConfig {
    LinkConfig {
        loss: 0.02,
        ..link(20_000_000)
    }
}

#[test]
fn each_gets_his_layer_at_the_far_end_of_a_pipe_that_loses() {
    for seed in SEEDS {
        let mut span = Span::new(seed, between());
        for rate in [200_000, 1_000_000, 4_000_000] {
            span.watch(rate);
        }
        span.run(SECOND * 12);
        let asked = span.key_frames;
        span.run(SECOND * 6);
        for (watcher, (_, bytes)) in LAYERS.iter().enumerate() {
            let consumer = span.watchers[watcher].consumer;
            let layer = span.far(|router, _| router.consumer(consumer).unwrap().layer);
            assert_eq!(layer.map(|layer| layer.encoding), Some(watcher as u8), "seed {seed}");
            // What is lost between comes a second time, from the near end of the pipe.
            let (shown, stood) = span.shown(watcher, 6);
            assert!(shown >= 147, "seed {seed}, {watcher}: {shown} pictures of 150");
            assert!(stood <= Duration::from_millis(300), "seed {seed}, {watcher}: {stood:?}");
            let since = span.net.now() - SECOND * 6;
            let mut sizes = span.watchers[watcher].sizes.iter().filter(|(at, _)| *at > since);
            assert!(sizes.all(|(_, size)| size == bytes), "seed {seed}, {watcher}");
        }
        let more: Vec<_> = span
            .key_frames
            .iter()
            .zip(asked)
            .map(|(now, then)| now - then)
            .collect();
        assert!(
            more.iter().sum::<usize>() <= 1,
            "seed {seed}: {more:?} while nobody moved"
        );
        let (pipe, producer) = (span.pipe, span.producer);
        let stats = span.near(|router, _| router.consumer(pipe).unwrap());
        let came = span.near(|router, _| router.producer(producer).unwrap().packets);
        assert!(
            stats.refused == 0 && stats.counts.left_out == 0,
            "seed {seed}: {stats:?}"
        );
        assert!(stats.sent <= came, "seed {seed}: it crosses once");
    }
}

#[test]
fn what_all_at_the_far_end_want_is_asked_for_once() {
    for seed in SEEDS {
        let mut span = Span::new(seed, between());
        for _ in 0..4 {
            span.watch(4_000_000);
        }
        span.run(SECOND * 10);
        let asked = span.key_frames;
        // All of them at once, as where a packet was lost before all of them.
        let ids: Vec<PeerId> = span.watchers.iter().map(|watcher| watcher.end.0).collect();
        for id in ids {
            span.net.call(id, |own, _| {
                let transceiver = own.connections[0].transceivers().next().unwrap().id();
                own.connections[0].request_key_frame(transceiver).unwrap();
            });
        }
        span.run(SECOND);
        let more: Vec<_> = span
            .key_frames
            .iter()
            .zip(asked)
            .map(|(now, then)| now - then)
            .collect();
        assert_eq!(more, [0, 0, 1], "seed {seed}");
    }
}

#[test]
fn a_pipe_that_nobody_wants_is_paused_and_goes_on_without_a_hole() {
    let mut span = Span::new(1, between());
    let watcher = span.watch(4_000_000);
    span.run(SECOND * 8);
    let pipe = span.pipe;
    span.near(|router, now| router.pause_consumer(now, pipe).unwrap());
    span.run(SECOND);
    let sent = span.near(|router, _| router.consumer(pipe).unwrap().sent);
    span.run(SECOND * 3);
    assert_eq!(span.near(|router, _| router.consumer(pipe).unwrap().sent), sent);
    assert_eq!(span.shown(watcher, 3).0, 0);
    span.near(|router, now| router.resume_consumer(now, pipe).unwrap());
    span.run(SECOND);
    span.run(SECOND * 4);
    let (shown, stood) = span.shown(watcher, 4);
    assert!(shown >= 97 && stood <= Duration::from_millis(300), "{shown}, {stood:?}");
}
