//! Two connections without sockets, and what lies between them: a wire that takes no time and loses nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_peer_connection::{
    BytesMut, ClockAnchor, Datagram, Ecn, Event, IoEvent, IoRequest, Local, Path, PeerConnection, Rng,
    RtcConfiguration, RtcPeerConnectionState, RtcSessionDescription, TransmitBuf,
};

const ADDRESSES: [&str; 2] = ["10.0.0.1:1000", "10.0.0.2:1000"];
/// Between two looks at the timers while a pair connects.
const STEP: Duration = Duration::from_millis(5);

/// Two connections and the wire between them.
pub struct Pair {
    /// The one that offers, and the one that answers.
    pub peers: [PeerConnection; 2],
    /// What is on its way, and from whom.
    wire: VecDeque<(usize, BytesMut)>,
}

/// The address of each end.
///
/// # Panics
/// For an end other than 0 and 1.
pub fn address(end: usize) -> SocketAddr {
    ADDRESSES[end].parse().expect("an address")
}

/// Whence a datagram comes to an end from the other one.
pub fn path_from(other: usize) -> Path {
    Path {
        local: Local::Socket(0),
        remote: address(other),
    }
}

/// A buffer for what a connection sends, as a driver has it.
pub fn buffer() -> TransmitBuf {
    TransmitBuf::new(65_536, 1_500)
}

fn serve(pc: &mut PeerConnection, now: Instant, address: SocketAddr) {
    while let Some(request) = pc.poll_io() {
        match request {
            IoRequest::ListInterfaces { .. } => pc.handle_io(now, IoEvent::Interfaces(vec![address.ip()])),
            IoRequest::BindUdp { request, .. } => {
                let (local, addr) = (Local::Socket(0), address);
                pc.handle_io(now, IoEvent::UdpBound { request, local, addr });
            }
            _ => {}
        }
    }
}

impl Pair {
    /// Two new connections. The same seed makes the same pair.
    ///
    /// # Panics
    /// If a configuration is refused.
    pub fn new(configurations: [RtcConfiguration; 2], now: Instant, seed: u64) -> Self {
        let mut seed = seed * 2;
        let peers = configurations.map(|configuration| {
            seed += 1;
            let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
            PeerConnection::new(configuration, now, anchor, Rng::from_u64(seed)).expect("a connection")
        });
        Self {
            peers,
            wire: VecDeque::new(),
        }
    }

    /// Offer and answer, each as `edit` gives it on; says what the answer was before.
    ///
    /// # Panics
    /// If a description is refused.
    pub fn describe(&mut self, now: Instant, edit: [fn(&str) -> String; 2]) -> String {
        let [offerer, answerer] = &mut self.peers;
        let described = |pc: &mut PeerConnection| {
            pc.set_local_description(now, None).expect("a description of our own");
            pc.local_description().expect("it was just set").sdp
        };
        let offer = described(offerer);
        answerer
            .set_remote_description(now, RtcSessionDescription::offer(edit[0](&offer)))
            .expect("the offer is taken");
        let answer = described(answerer);
        offerer
            .set_remote_description(now, RtcSessionDescription::answer(edit[1](&answer)))
            .expect("the answer is taken");
        answer
    }

    /// Lets both talk until they are connected; the clock goes on meanwhile.
    ///
    /// # Panics
    /// If they do not connect within a minute of their time.
    pub fn connect(&mut self, now: &mut Instant, out: &mut TransmitBuf) {
        let end = *now + Duration::from_secs(60);
        let connected = |pc: &PeerConnection| pc.connection_state() == RtcPeerConnectionState::Connected;
        while !self.peers.iter().all(connected) {
            assert!(*now < end, "they do not connect");
            self.settle(*now, out);
            *now += STEP;
        }
        self.settle(*now, out);
    }

    /// Timers that are due, and all that both ends have to say to each other now. Events go nowhere, but for candidates.
    pub fn settle(&mut self, now: Instant, out: &mut TransmitBuf) {
        for peer in &mut self.peers {
            if peer.poll_timeout().is_some_and(|at| at <= now) {
                peer.handle_timeout(now);
            }
        }
        loop {
            for end in 0..2 {
                serve(&mut self.peers[end], now, address(end));
                out.clear();
                while let Some(transmit) = self.peers[end].poll_transmit(now, out) {
                    let datagrams = transmit.datagrams(out).map(|datagram| (end, BytesMut::from(datagram)));
                    self.wire.extend(datagrams);
                    out.clear();
                }
                while let Some(event) = self.peers[end].poll_event() {
                    if let Event::IceCandidate(candidate) = event {
                        // One that comes before the description is kept, or said again with it.
                        _ = self.peers[1 - end].add_ice_candidate(now, candidate);
                    }
                }
            }
            if self.wire.is_empty() {
                return;
            }
            while let Some((from, data)) = self.wire.pop_front() {
                let (path, ecn) = (path_from(from), Ecn::NotEct);
                self.peers[1 - from].handle_datagram(now, Datagram { path, ecn, data });
            }
        }
    }
}
