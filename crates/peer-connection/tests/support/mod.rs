//! Two whole peers over a simulated network, with signalling that works at once.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use antiphon_jsep::JsepError;
use antiphon_netsim::{HostId, LinkConfig, Machine, Network, PeerId, Simulation, SocketId};
use antiphon_peer_connection::{
    Certificate, CertificateParams, ClockAnchor, DataChannelId, Datagram, Error, Event, IoEvent, IoRequest, Local,
    Message, PeerConnection, Rng, RtcConfiguration, RtcPeerConnectionState, RtcSessionDescription, RtcStats, Transmit,
    TransmitBuf,
};
use antiphon_turn::{PeerPolicy, ServerAnswer, ServerConfig, ServerRequest};

/// A peer on a host with one address.
pub(crate) struct Peer {
    pub(crate) pc: PeerConnection,
    address: IpAddr,
    /// Whom it has ever sent something.
    pub(crate) sent_to: BTreeSet<SocketAddr>,
    /// The first two bytes of the header extensions of all RTP that it has sent, as they went over the wire.
    pub(crate) extension_tags: BTreeSet<[u8; 2]>,
    /// The largest datagram that it has sent.
    pub(crate) largest: usize,
    /// What it has sent so far.
    pub(crate) sent: Sent,
    /// Whether ICE's datagrams do not reach it any more.
    deaf_to_checks: bool,
}

/// Datagrams of ICE, and the bytes of all others: data (in DTLS) and media (in SRTP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) stun_datagrams: u64,
    pub(crate) dtls_bytes: u64,
    pub(crate) srtp_bytes: u64,
}

impl Sent {
    /// RFC 7983 §7.
    fn count(&mut self, datagram: &[u8]) {
        let len = datagram.len() as u64;
        match datagram.first() {
            Some(0..=3) => self.stun_datagrams += 1,
            Some(20..=63) => self.dtls_bytes += len,
            Some(128..=191) => self.srtp_bytes += len,
            other => panic!("what is {other:?}?"),
        }
    }
}

impl Peer {
    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.pc.poll_transmit(now, out)?;
        self.sent_to.insert(transmit.path.remote);
        for packet in transmit.datagrams(out) {
            self.largest = self.largest.max(packet.len());
            self.extension_tags.extend(extension_tag(packet));
            // What goes to a TURN server is framed; here everything is told by its first byte.
            if !is_channel_data(packet) {
                self.sent.count(packet);
            }
        }
        Some(transmit)
    }

    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        while let Some(request) = self.pc.poll_io() {
            match request {
                IoRequest::ListInterfaces { .. } => self.pc.handle_io(now, IoEvent::Interfaces(vec![self.address])),
                IoRequest::BindUdp { request, addr, .. } => {
                    let event = match network.bind(host, addr) {
                        Some(socket) => IoEvent::UdpBound {
                            request,
                            local: socket.local(),
                            addr: network.address(socket),
                        },
                        None => IoEvent::Failed {
                            request,
                            reason: "the address is taken".into(),
                        },
                    };
                    self.pc.handle_io(now, event);
                }
                IoRequest::Resolve { request, .. } | IoRequest::ResolveMdns { request, .. } => {
                    self.pc.handle_io(now, IoEvent::Resolved { request, addrs: vec![] });
                }
                IoRequest::Close(Local::Socket(id)) => network.close(SocketId(id)),
                other => {
                    if let Some(request) = other.awaits() {
                        let reason = "not in this network".to_owned();
                        self.pc.handle_io(now, IoEvent::Failed { request, reason });
                    }
                }
            }
        }
    }
}

/// RFC 8656 §12.4.
fn is_channel_data(packet: &[u8]) -> bool {
    matches!(packet.first(), Some(64..=79))
}

/// "Defined by profile" of an RTP packet with a header extension (RFC 3550 §5.3.1, RFC 5761 §4).
fn extension_tag(packet: &[u8]) -> Option<[u8; 2]> {
    let (&first, &second) = (packet.first()?, packet.get(1)?);
    let is_rtp = first >> 6 == 2 && !(64..=95).contains(&(second & 0x7f));
    let at = 12 + 4 * usize::from(first & 0x0f);
    (is_rtp && first & 0x10 != 0)
        .then(|| packet.get(at..)?.first_chunk().copied())
        .flatten()
}

/// What stands on a host: a peer, or a TURN server.
pub(crate) enum Host {
    Peer(Box<Peer>),
    Turn(Box<antiphon_turn::Server>),
}

impl Machine for Host {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        match self {
            Self::Peer(peer) if peer.deaf_to_checks && matches!(datagram.data.first(), Some(0..=3)) => {}
            Self::Peer(peer) => peer.pc.handle_datagram(now, datagram),
            Self::Turn(server) => server.handle_datagram(now, datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Peer(peer) => peer.pc.handle_timeout(now),
            Self::Turn(server) => server.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        match self {
            Self::Peer(peer) => peer.poll_transmit(now, out),
            Self::Turn(server) => {
                // What a relay hands on grows by its framing.
                out.set_max_segment(1400);
                server.poll_transmit(out)
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Peer(peer) => peer.pc.poll_event(),
            Self::Turn(_) => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Peer(peer) => peer.pc.poll_timeout(),
            Self::Turn(server) => server.poll_timeout(),
        }
    }

    fn close(&mut self, now: Instant) {
        match self {
            Self::Peer(peer) => peer.pc.close(now),
            Self::Turn(server) => server.close(),
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.pc.is_closed())
    }

    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        match self {
            Self::Peer(peer) => peer.serve_io(now, network, host),
            Self::Turn(server) => {
                while let Some(request) = server.poll_io() {
                    match request {
                        ServerRequest::BindRelay { request, ip } => {
                            let socket = network.bind(host, SocketAddr::new(ip, 0)).unwrap();
                            let answer = ServerAnswer::Bound {
                                request,
                                local: socket.local(),
                                addr: network.address(socket),
                            };
                            server.handle_io(now, answer);
                        }
                        ServerRequest::Close(Local::Socket(id)) => network.close(SocketId(id)),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// One certificate for all tests: making one takes longer than a handshake.
fn certificate(at: usize) -> Arc<Certificate> {
    static MADE: OnceLock<[Arc<Certificate>; 2]> = OnceLock::new();
    let make = || Arc::new(Certificate::generate(&CertificateParams::default()).unwrap());
    Arc::clone(&MADE.get_or_init(|| [make(), make()])[at])
}

/// Two peers, and what each of them was told.
pub(crate) struct Pair {
    pub(crate) net: Simulation<Host>,
    pub(crate) ids: [PeerId; 2],
    pub(crate) log: [Vec<Event>; 2],
    /// Whether candidates are trickled; otherwise only descriptions carry them.
    pub(crate) trickle: bool,
    /// Whether a NegotiationNeeded starts an exchange by itself.
    pub(crate) automatic: bool,
}

impl Pair {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, LinkConfig::default(), RtcConfiguration::default)
    }

    pub(crate) fn with_link(seed: u64, link: LinkConfig) -> Self {
        Self::with(seed, link, RtcConfiguration::default)
    }

    pub(crate) fn with(seed: u64, link: LinkConfig, configuration: impl Fn() -> RtcConfiguration) -> Self {
        let addresses = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        Self::with_each(seed, link, addresses, |_| configuration())
    }

    /// Two peers with addresses and configurations of their own.
    pub(crate) fn with_each(
        seed: u64,
        link: LinkConfig,
        addresses: [IpAddr; 2],
        configuration: impl Fn(usize) -> RtcConfiguration,
    ) -> Self {
        let mut network = Network::new(seed);
        let hosts = [network.add_host(), network.add_host()];
        network.connect(hosts[0], hosts[1], link);
        let now = network.now();
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
        let mut net = Simulation::with_max_datagram(network, 1400);
        let ids = [0, 1].map(|at| {
            let rng = Rng::from_u64(seed).fork_numbered("peer", at as u64);
            let mut configuration = configuration(at);
            if configuration.certificates.is_empty() {
                configuration.certificates = vec![certificate(at)];
            }
            let pc = PeerConnection::new(configuration, now, anchor, rng).unwrap();
            let peer = Peer {
                pc,
                address: addresses[at],
                sent_to: BTreeSet::new(),
                extension_tags: BTreeSet::new(),
                largest: 0,
                sent: Sent::default(),
                deaf_to_checks: false,
            };
            net.add(hosts[at], Host::Peer(Box::new(peer)))
        });
        Self {
            net,
            ids,
            log: [Vec::new(), Vec::new()],
            trickle: true,
            automatic: false,
        }
    }

    /// Adds a TURN server at `TURN`, with one user.
    pub(crate) fn add_turn_server(&mut self) {
        let host = self.net.network.add_host();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        self.net.network.bind(host, SocketAddr::new(ip, 3478)).unwrap();
        let mut config = ServerConfig::new("example.org", vec![ip]).user("alice", "secret");
        config.policy = PeerPolicy {
            allow_private: true,
            ..PeerPolicy::default()
        };
        let server = antiphon_turn::Server::new(config, self.net.now(), Rng::from_u64(99));
        self.net.add(host, Host::Turn(Box::new(server)));
    }

    fn peer(&self, at: usize) -> &Peer {
        match self.net.peer(self.ids[at]) {
            Host::Peer(peer) => peer,
            Host::Turn(_) => unreachable!("the first two are peers"),
        }
    }

    pub(crate) fn pc(&self, at: usize) -> &PeerConnection {
        &self.peer(at).pc
    }

    /// Whom `at` has ever sent something.
    pub(crate) fn sent_to(&self, at: usize) -> &BTreeSet<SocketAddr> {
        &self.peer(at).sent_to
    }

    /// The largest datagram that `at` has sent.
    pub(crate) fn largest(&self, at: usize) -> usize {
        self.peer(at).largest
    }

    /// What `at` has sent so far.
    pub(crate) fn sent(&self, at: usize) -> Sent {
        self.peer(at).sent
    }

    /// From now on no check and no answer to one reaches `at`.
    pub(crate) fn deafen_to_checks(&mut self, at: usize) {
        self.net.call(self.ids[at], |host, _| match host {
            Host::Peer(peer) => peer.deaf_to_checks = true,
            Host::Turn(_) => unreachable!("the first two are peers"),
        });
    }

    /// Takes the address of `at` away, and gives it another one; `noticed` is how long its system takes to say so.
    pub(crate) fn move_to(&mut self, at: usize, address: IpAddr, noticed: Duration) {
        let host = self.net.host(self.ids[at]);
        let before = self.peer(at).address;
        self.net.network.remove_address(host, before);
        self.net.network.add_address(host, address);
        self.net.call(self.ids[at], |host, _| match host {
            Host::Peer(peer) => peer.address = address,
            Host::Turn(_) => unreachable!("the first two are peers"),
        });
        self.run_for(noticed);
        self.call(at, |pc, now| pc.handle_io(now, IoEvent::Interfaces(vec![address])));
    }

    /// What tags the header extensions had that `at` has sent.
    pub(crate) fn extension_tags(&self, at: usize) -> &BTreeSet<[u8; 2]> {
        &self.peer(at).extension_tags
    }

    /// The addresses that `at` receives on.
    pub(crate) fn addresses(&self, at: usize) -> Vec<SocketAddr> {
        let report = self.pc(at).get_stats(self.net.now());
        let candidates = report.entries.iter().filter_map(|entry| match entry {
            RtcStats::LocalCandidate(stats) => Some(stats),
            _ => None,
        });
        candidates
            .map(|stats| {
                format!("{}:{}", stats.address.as_ref().unwrap(), stats.port)
                    .parse()
                    .unwrap()
            })
            .collect()
    }

    pub(crate) fn call<T>(&mut self, at: usize, call: impl FnOnce(&mut PeerConnection, Instant) -> T) -> T {
        self.net.call(self.ids[at], |host, now| match host {
            Host::Peer(peer) => call(&mut peer.pc, now),
            Host::Turn(_) => unreachable!("the first two are peers"),
        })
    }

    /// One exchange: `at` offers.
    pub(crate) fn negotiate(&mut self, at: usize) {
        self.call(at, |pc, now| pc.set_local_description(now, None)).unwrap();
        let offer = self.pc(at).local_description().unwrap();
        self.answer(1 - at, offer);
    }

    /// The other half of an exchange.
    pub(crate) fn answer(&mut self, at: usize, offer: RtcSessionDescription) {
        self.call(at, |pc, now| pc.set_remote_description(now, offer)).unwrap();
        self.call(at, |pc, now| pc.set_local_description(now, None)).unwrap();
        let answer = self.pc(at).local_description().unwrap();
        self.call(1 - at, |pc, now| pc.set_remote_description(now, answer))
            .unwrap();
        self.signal();
    }

    /// Carries candidates over, and logs the events.
    pub(crate) fn signal(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..2 {
                for event in self.net.take_events(self.ids[at]) {
                    quiet = false;
                    if let Event::IceCandidate(candidate) = &event
                        && self.trickle
                        && !self.pc(1 - at).is_closed()
                    {
                        let candidate = candidate.clone();
                        let added = self.call(1 - at, |pc, now| pc.add_ice_candidate(now, candidate));
                        // The other end may not have heard of this generation, or section, and never will.
                        assert!(
                            matches!(
                                added,
                                Ok(())
                                    | Err(Error::Signaling(
                                        JsepError::CandidateGeneration | JsepError::CandidateSection
                                    ))
                            ),
                            "{added:?}"
                        );
                    }
                    if event == Event::NegotiationNeeded && self.automatic {
                        self.negotiate(at);
                    }
                    self.log[at].push(event);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Runs with signalling until `done` says so.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.net.now() + limit;
        loop {
            self.signal();
            if done(self) {
                return true;
            }
            match self.net.next_event() {
                Some(next) if next <= end => {
                    self.net.step();
                }
                _ => {
                    self.net.network.advance_to(end);
                    return done(self);
                }
            }
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    pub(crate) fn is(&self, state: RtcPeerConnectionState) -> bool {
        (0..2).all(|at| self.pc(at).connection_state() == state)
    }

    pub(crate) fn connect(&mut self) {
        let connected = self.run_until(Duration::from_secs(60), |pair| {
            pair.is(RtcPeerConnectionState::Connected)
        });
        assert!(connected, "{:?} {:?}", self.states(0), self.states(1));
    }

    pub(crate) fn states(&self, at: usize) -> impl std::fmt::Debug {
        let pc = self.pc(at);
        (
            pc.signaling_state(),
            pc.ice_connection_state(),
            pc.dtls_state(),
            pc.connection_state(),
        )
    }

    /// Whether the log of `at` has such an event.
    pub(crate) fn told(&self, at: usize, what: impl Fn(&Event) -> bool) -> bool {
        self.log[at].iter().any(what)
    }

    pub(crate) fn count(&self, at: usize, what: impl Fn(&Event) -> bool) -> usize {
        self.log[at].iter().filter(|event| what(event)).count()
    }

    /// The channel that the peer of `at` opened with this label.
    pub(crate) fn incoming(&self, at: usize, label: &str) -> Option<DataChannelId> {
        self.log[at].iter().find_map(|event| match event {
            Event::DataChannel(id) if self.pc(at).data_channel(*id)?.label == label => Some(*id),
            _ => None,
        })
    }

    /// Waits until the channel of `from` is open at both ends; gives the other end's name for it.
    pub(crate) fn open(&mut self, from: usize, channel: DataChannelId) -> DataChannelId {
        let label = self.pc(from).data_channel(channel).unwrap().label;
        let opened = self.run_until(Duration::from_secs(120), |pair| {
            pair.told(from, |event| *event == Event::DataChannelOpen(channel))
                && pair
                    .incoming(1 - from, &label)
                    .is_some_and(|other| pair.told(1 - from, |event| *event == Event::DataChannelOpen(other)))
        });
        assert!(opened, "{label}: {:?} {:?}", self.states(0), self.states(1));
        self.incoming(1 - from, &label).unwrap()
    }

    /// Sends a message and waits until the other end has it.
    pub(crate) fn exchange(&mut self, from: usize, channel: DataChannelId, to: DataChannelId, message: Message) {
        let sent = message.clone();
        self.call(from, |pc, now| pc.send(now, channel, sent)).unwrap();
        let mut got = None;
        self.run_until(Duration::from_secs(60), |pair| {
            got = pair.call(1 - from, |pc, now| pc.read(now, to));
            got.is_some()
        });
        assert!(got == Some(message), "the message did not arrive as it was sent");
    }
}
