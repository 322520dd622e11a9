//! A simulated forwarder with its clients: real connections, negotiated and encrypted, over a simulated network.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antiphon_netsim::{HostId, LinkConfig, Machine, Network, PeerId, Simulation, SocketId};
use antiphon_peer_connection::{
    Certificate, CertificateParams, ClockAnchor, Datagram, Direction, EncodingId, Event, Frame, IoEvent, IoRequest,
    Local, MediaKind, Output, PeerConnection, Rng, RtcConfiguration, RtcRtpEncodingParameters, RtcRtpTransceiverInit,
    RtcSessionDescription, TransceiverId, Transmit, TransmitBuf,
};
use antiphon_sfu::Router;
use antiphon_sfu::router::{
    Config, ConsumerConfig, ConsumerId, FIRST_ESTIMATE, PeerKey, ProducerConfig, ProducerId, Request,
};

/// The encodings of a publisher: bytes of each picture, at 25 pictures a second 100, 400 and 1400 kbit/s.
pub(crate) const LAYERS: [(&str, usize); 3] = [("a", 500), ("b", 2000), ("c", 7000)];
/// Between two pictures.
pub(crate) const FRAME: Duration = Duration::from_millis(40);

/// One certificate for all: making one takes longer than a handshake.
fn certificate() -> Arc<Certificate> {
    static MADE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let make = || Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
    Arc::clone(MADE.get_or_init(make))
}

fn connection(now: Instant, seed: u64, output: Output) -> PeerConnection {
    let mut configuration = RtcConfiguration {
        certificates: vec![certificate()],
        ..RtcConfiguration::default()
    };
    configuration.settings.receive_output = output;
    configuration.settings.media.start_bitrate = FIRST_ESTIMATE;
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
    PeerConnection::new(configuration, now, anchor, Rng::from_u64(seed)).unwrap()
}

/// The connections of one host: of a forwarder many and a router, of a client one.
pub(crate) struct Hub {
    address: IpAddr,
    pub(crate) connections: Vec<PeerConnection>,
    pub(crate) router: Option<Router>,
    owners: BTreeMap<u32, usize>,
    told: VecDeque<(usize, Event)>,
}

pub(crate) fn key(place: usize) -> PeerKey {
    PeerKey(place as u64)
}

impl Hub {
    pub(crate) fn new(address: IpAddr, router: Option<Router>) -> Self {
        Self {
            address,
            connections: Vec::new(),
            router,
            owners: BTreeMap::new(),
            told: VecDeque::new(),
        }
    }

    /// Hands on what has come, and does what the router asks.
    fn forward(&mut self, now: Instant) {
        for place in 0..self.connections.len() {
            while let Some(event) = self.connections[place].poll_event() {
                if !self.is_kept(now, place, &event) {
                    self.told.push_back((place, event));
                }
            }
        }
        let Some(router) = &mut self.router else { return };
        while let Some(request) = router.poll_request(now) {
            match request {
                Request::KeyFrame {
                    peer,
                    transceiver,
                    ssrc,
                } => _ = self.connections[peer.0 as usize].request_key_frame_of(transceiver, ssrc),
                Request::DirectKeyFrame { .. } => unreachable!("all producers have a peer"),
                Request::Desire { peer, bitrate } => {
                    self.connections[peer.0 as usize].set_desired_bitrate(now, Some(bitrate));
                }
                Request::Reports {
                    consumer,
                    peer,
                    encoding,
                } => {
                    if let Some(reported) = self.connections[peer.0 as usize].reported(encoding) {
                        router.set_reported(consumer, reported).unwrap();
                    }
                }
            }
        }
    }

    fn is_kept(&mut self, now: Instant, place: usize, event: &Event) -> bool {
        let Some(router) = &mut self.router else { return false };
        let connections = &mut self.connections;
        match event {
            Event::Packet { transceiver, packet } => {
                router.handle_packet(now, key(place), *transceiver, packet, |peer, encoding, packet| {
                    let sent = connections[peer.0 as usize].send_rtp(now, encoding, packet);
                    sent.is_ok()
                })
            }
            Event::SignalingStateChange(_) => {
                for transceiver in connections[place].transceivers() {
                    router.renegotiated(now, key(place), transceiver);
                }
                false
            }
            event => {
                let is_kept = router.handle_event(now, key(place), event);
                if matches!(event, Event::TargetBitrate { .. }) {
                    router.set_estimate(now, key(place), connections[place].media_bitrate());
                }
                is_kept
            }
        }
    }
}

impl Machine for Hub {
    type Event = (usize, Event);

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Local::Socket(socket) = datagram.path.local else {
            return;
        };
        if let Some(place) = self.owners.get(&socket) {
            self.connections[*place].handle_datagram(now, datagram);
        }
        self.forward(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for connection in &mut self.connections {
            if connection.poll_timeout().is_some_and(|at| at <= now) {
                connection.handle_timeout(now);
            }
        }
        if let Some(router) = &mut self.router {
            router.handle_timeout(now);
        }
        self.forward(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let mut connections = self.connections.iter_mut();
        connections.find_map(|connection| connection.poll_transmit(now, out))
    }

    fn poll_event(&mut self) -> Option<(usize, Event)> {
        self.told.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.connections.iter().filter_map(PeerConnection::poll_timeout);
        let router = self.router.as_ref().and_then(Router::poll_timeout);
        connections.chain(router).min()
    }

    fn close(&mut self, now: Instant) {
        for connection in &mut self.connections {
            connection.close(now);
        }
    }

    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        self.forward(now);
        for (place, connection) in self.connections.iter_mut().enumerate() {
            while let Some(request) = connection.poll_io() {
                let event = match request {
                    IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(vec![self.address]),
                    IoRequest::BindUdp { request, addr, .. } => {
                        let socket = network.bind(host, addr).expect("a free port");
                        if let Local::Socket(id) = socket.local() {
                            self.owners.insert(id, place);
                        }
                        IoEvent::UdpBound {
                            request,
                            local: socket.local(),
                            addr: network.address(socket),
                        }
                    }
                    IoRequest::Close(Local::Socket(id)) => {
                        network.close(SocketId(id));
                        continue;
                    }
                    other => match other.awaits() {
                        Some(request) => IoEvent::Failed {
                            request,
                            reason: "not in this network".into(),
                        },
                        None => continue,
                    },
                };
                connection.handle_io(now, event);
            }
        }
    }
}

/// Who gets what is published, and what came of it.
pub(crate) struct Watcher {
    id: PeerId,
    host: HostId,
    /// The place of its connection at the forwarder.
    pub(crate) place: usize,
    /// Of the first camera.
    pub(crate) consumer: ConsumerId,
    /// When each frame of the first camera came, its bytes, and whether it is a key frame.
    pub(crate) frames: Vec<(Instant, usize, bool)>,
    /// What it could show of each camera.
    pub(crate) shown: Vec<Shown>,
}

/// What a decoder makes of the frames of one camera: each needs the one before it of its encoding, but for key frames.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    /// When each picture was shown.
    pub(crate) at: Vec<Instant>,
    /// The frame that the next one has to follow: its size, which is that of its encoding, and its number.
    last: Option<(usize, u32)>,
    /// When a key frame was asked for, as browsers do in such a case.
    asked: Option<Instant>,
}

/// A browser that can show nothing asks so often.
const ASKS: Duration = Duration::from_millis(200);

impl Shown {
    /// Whether a key frame is to be asked for.
    pub(crate) fn take(&mut self, now: Instant, frame: &Frame) -> bool {
        let number = u32::from_be_bytes(frame.data[11..15].try_into().unwrap());
        let size = frame.data.len();
        if frame.key_frame || self.last == Some((size, number.wrapping_sub(1))) {
            self.last = Some((size, number));
            self.at.push(now);
            return false;
        }
        self.last = None;
        let asks = self.asked.is_none_or(|at| now - at >= ASKS);
        if asks {
            self.asked = Some(now);
        }
        asks
    }
}

/// A room: one who publishes, and those who watch.
pub(crate) struct Room {
    net: Simulation<Hub>,
    hub: PeerId,
    hub_host: HostId,
    publisher: PeerId,
    publisher_host: HostId,
    cameras: Vec<TransceiverId>,
    layers: &'static [(&'static str, usize)],
    /// Of the first camera, and of all.
    pub(crate) producer: ProducerId,
    producers: Vec<ProducerId>,
    pub(crate) watchers: Vec<Watcher>,
    /// Encodings that were asked for a key frame, all that were so far, and pictures so far.
    asked: Vec<EncodingId>,
    pub(crate) key_frames_asked: usize,
    /// How many cameras send.
    pub(crate) publishing: usize,
    /// How many encodings each of them has.
    pub(crate) encodings: usize,
    number: u32,
    hosts: u8,
}

/// A link of so many bits a second, 20 ms long.
pub(crate) fn link(rate: u64) -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(20),
        rate: Some(rate.into()),
        queue: antiphon_netsim::Limit::time(Duration::from_millis(300)),
        ..LinkConfig::default()
    }
}

impl Room {
    /// A room with a publisher, whose own link carries all that it has.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, 1, &LAYERS)
    }

    /// The same with so many cameras of such encodings.
    pub(crate) fn with(seed: u64, cameras: usize, layers: &'static [(&'static str, usize)]) -> Self {
        let mut network = Network::new(seed);
        let (hub_host, publisher_host) = (network.add_host(), network.add_host());
        network.connect(hub_host, publisher_host, link(20_000_000));
        let mut net = Simulation::with_max_datagram(network, 1400);
        let router = Router::new(Config::default(), net.now());
        let hub = net.add(hub_host, Hub::new([10, 0, 0, 1].into(), Some(router)));
        let publisher = net.add(publisher_host, Hub::new([10, 0, 0, 2].into(), None));
        let place = join(&mut net, [hub, publisher], Output::Packets);
        let cameras = net.call(publisher, |own, _| {
            let add = |number| {
                let encodings = layers.iter().map(|(rid, _)| RtcRtpEncodingParameters::layer(*rid));
                let init = RtcRtpTransceiverInit {
                    track_id: Some(format!("camera {number}")),
                    send_encodings: encodings.collect(),
                    ..RtcRtpTransceiverInit::new(Direction::SendOnly)
                };
                own.connections[0].add_transceiver(MediaKind::Video, init).unwrap()
            };
            (0..cameras).map(add).collect()
        });
        exchange(&mut net, (publisher, 0), (hub, place));
        let producers: Vec<ProducerId> = net.call(hub, |own, now| {
            let router = own.router.as_mut().unwrap();
            router.add_peer(now, key(place), false).unwrap();
            let configs = own.connections[place].transceivers();
            let configs = configs.map(|transceiver| ProducerConfig::of(key(place), transceiver));
            configs.map(|config| router.produce(config).unwrap()).collect()
        });
        Self {
            net,
            hub,
            hub_host,
            publisher,
            publisher_host,
            cameras,
            layers,
            producer: producers[0],
            producers,
            watchers: Vec::new(),
            asked: Vec::new(),
            key_frames_asked: 0,
            publishing: usize::MAX,
            encodings: usize::MAX,
            number: 0,
            hosts: 2,
        }
    }

    /// Somebody watches, over a link of so many bits a second.
    pub(crate) fn watch(&mut self, rate: u64) -> usize {
        self.watch_over(link(rate))
    }

    /// Somebody watches, over such a link.
    pub(crate) fn watch_over(&mut self, link: LinkConfig) -> usize {
        let host = self.net.network.add_host();
        self.net.network.connect(self.hub_host, host, link);
        self.hosts += 1;
        let id = self.net.add(host, Hub::new([10, 0, 0, self.hosts].into(), None));
        let place = join(&mut self.net, [self.hub, id], Output::Frames);
        let producers = self.producers.clone();
        let consumers: Vec<ConsumerId> = self.net.call(self.hub, |own, now| {
            let router = own.router.as_mut().unwrap();
            router.add_peer(now, key(place), false).unwrap();
            let consume = |producer| {
                let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
                let to = own.connections[place].add_transceiver(MediaKind::Video, init).unwrap();
                let transceiver = own.connections[place].transceiver(to).unwrap();
                let config = ConsumerConfig::of(key(place), to, transceiver);
                router.consume(now, producer, config).unwrap()
            };
            producers.into_iter().map(consume).collect()
        });
        exchange(&mut self.net, (self.hub, place), (id, 0));
        self.watchers.push(Watcher {
            id,
            host,
            place,
            consumer: consumers[0],
            frames: Vec::new(),
            shown: vec![Shown::default(); consumers.len()],
        });
        self.watchers.len() - 1
    }

    /// The link of the publisher to the forwarder is like this from now on.
    pub(crate) fn set_uplink(&mut self, config: LinkConfig) {
        self.net.network.set_link(self.publisher_host, self.hub_host, config);
    }

    /// The link of a watcher to the forwarder is like this from now on.
    pub(crate) fn set_way_back(&mut self, watcher: usize, config: LinkConfig) {
        let host = self.watchers[watcher].host;
        self.net.network.set_link(host, self.hub_host, config);
    }

    /// Publishes for so long.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            self.publish();
            self.net.run_for(FRAME);
            self.hear();
        }
    }

    fn publish(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.number += 1;
        let (cameras, layers, number) = (self.cameras.clone(), self.layers, self.number);
        let (publishing, encodings) = (self.publishing, self.encodings);
        self.net.call(self.publisher, |own, now| {
            let pc = &mut own.connections[0];
            for (place, camera) in cameras.into_iter().enumerate().take(publishing) {
                for (encoding, (rid, bytes)) in pc.encodings(camera).unwrap().into_iter().zip(layers).take(encodings) {
                    let (true, Some(codec)) = (encoding.is_wanted(), &encoding.codec) else {
                        continue;
                    };
                    let is_named = |own: &EncodingId| *own == encoding.id;
                    let key_frame = number == 1 || asked.iter().any(is_named);
                    let frame = picture(codec.payload_type, place as u8, number, key_frame, *bytes);
                    pc.send_frame(now, encoding.id, frame)
                        .unwrap_or_else(|error| panic!("{rid}: {error}"));
                }
            }
        });
    }

    /// Takes what was told, and carries candidates over.
    fn hear(&mut self) {
        let ids: Vec<PeerId> = self.watchers.iter().map(|watcher| watcher.id).collect();
        let now = self.now();
        for (_, event) in self.net.take_events(self.publisher) {
            match event {
                Event::KeyFrameRequested(encoding) => {
                    self.key_frames_asked += 1;
                    self.asked.push(encoding);
                }
                Event::IceCandidate(candidate) => self.candidate((self.hub, 0), candidate),
                _ => {}
            }
        }
        for (at, id) in ids.into_iter().enumerate() {
            for (_, event) in self.net.take_events(id) {
                match event {
                    Event::Frame { frame, transceiver, .. } => {
                        let camera = usize::from(frame.data[10]);
                        if self.watchers[at].shown[camera].take(now, &frame) {
                            self.net.call(id, |own, _| {
                                own.connections[0].request_key_frame(transceiver).unwrap();
                            });
                        }
                        if camera == 0 {
                            let came = (now, frame.data.len(), frame.key_frame);
                            self.watchers[at].frames.push(came);
                        }
                    }
                    Event::IceCandidate(candidate) => {
                        self.candidate((self.hub, self.watchers[at].place), candidate);
                    }
                    _ => {}
                }
            }
        }
        for (place, event) in self.net.take_events(self.hub) {
            if let Event::IceCandidate(candidate) = event {
                let watcher = self.watchers.iter().find(|watcher| watcher.place == place);
                let other = watcher.map_or(self.publisher, |watcher| watcher.id);
                self.candidate((other, 0), candidate);
            }
        }
    }

    fn candidate(
        &mut self,
        (id, place): (PeerId, usize),
        candidate: Option<antiphon_peer_connection::RtcIceCandidateInit>,
    ) {
        self.net.call(id, |own, now| {
            // Descriptions carry candidates too; one of an older generation is of no use.
            let _ = own.connections[place].add_ice_candidate(now, candidate);
        });
    }

    pub(crate) fn now(&self) -> Instant {
        self.net.now()
    }

    pub(crate) fn router<T>(&mut self, call: impl FnOnce(&mut Router, Instant) -> T) -> T {
        self.net
            .call(self.hub, |own, now| call(own.router.as_mut().unwrap(), now))
    }

    /// The connection of the forwarder to a watcher.
    pub(crate) fn to(&mut self, watcher: usize) -> &PeerConnection {
        let place = self.watchers[watcher].place;
        &self.net.peer(self.hub).connections[place]
    }

    /// A watcher says that it cannot decode.
    pub(crate) fn complain(&mut self, watcher: usize) {
        self.net.call(self.watchers[watcher].id, |own, _| {
            let transceiver = own.connections[0].transceivers().next().unwrap().id();
            own.connections[0].request_key_frame(transceiver).unwrap();
        });
    }

    /// A watcher hangs up, and the forwarder closes its end.
    pub(crate) fn leave(&mut self, watcher: usize) {
        let Watcher { id, place, .. } = self.watchers[watcher];
        self.net.call(id, |own, now| own.connections[0].close(now));
        self.net.call(self.hub, |own, now| {
            own.connections[place].close(now);
            own.router.as_mut().unwrap().remove_peer(key(place));
        });
    }
}

/// A picture of a camera, of VP8 as far as its header goes.
pub(crate) fn picture(payload_type: u8, camera: u8, number: u32, key_frame: bool, bytes: usize) -> Frame {
    let [low, high] = (bytes as u16 / 10).to_le_bytes();
    let mut data = vec![u8::from(!key_frame), 0, 0, 0x9d, 0x01, 0x2a, low, high, low, high];
    data.push(camera);
    data.extend(number.to_be_bytes());
    data.resize(bytes, number as u8);
    Frame::new(payload_type, number * 3600, data)
}

/// A connection at either end. The place of that at the forwarder.
pub(crate) fn join(net: &mut Simulation<Hub>, [hub, client]: [PeerId; 2], output: Output) -> usize {
    let place = net.call(hub, |own, now| {
        own.connections
            .push(connection(now, 1000 + own.connections.len() as u64, output));
        own.connections.len() - 1
    });
    net.call(client, |own, now| {
        own.connections
            .push(connection(now, 5000 + place as u64, Output::Frames));
    });
    place
}

pub(crate) fn exchange(net: &mut Simulation<Hub>, offerer: (PeerId, usize), answerer: (PeerId, usize)) {
    let mut describe = |(id, place): (PeerId, usize)| -> RtcSessionDescription {
        net.call(id, |own, now| {
            own.connections[place].set_local_description(now, None).unwrap();
        });
        net.peer(id).connections[place].local_description().unwrap()
    };
    let offer = describe(offerer);
    net.call(answerer.0, |own, now| {
        own.connections[answerer.1].set_remote_description(now, offer).unwrap();
    });
    let mut describe = |(id, place): (PeerId, usize)| -> RtcSessionDescription {
        net.call(id, |own, now| {
            own.connections[place].set_local_description(now, None).unwrap();
        });
        net.peer(id).connections[place].local_description().unwrap()
    };
    let answer = describe(answerer);
    net.call(offerer.0, |own, now| {
        own.connections[offerer.1].set_remote_description(now, answer).unwrap();
    });
}
