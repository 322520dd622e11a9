//! Links, sockets and simulations.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Local, Path, Transmit, TransmitBuf};
use proptest::prelude::*;

use crate::*;

mod bulk;
mod nat;
mod pipe;
mod queues;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn two_hosts(seed: u64, config: LinkConfig) -> (Network, SocketId, SocketId) {
    let mut network = Network::new(seed);
    network.set_default_link(config);
    let (a, b) = (network.add_host(), network.add_host());
    let a = network.bind(a, address("10.0.0.1:1000")).unwrap();
    let b = network.bind(b, address("10.0.0.2:2000")).unwrap();
    (network, a, b)
}

/// Sends numbered packets a millisecond apart and says when each arrived.
fn arrivals(seed: u64, config: LinkConfig, count: u32, size: usize) -> (Vec<(u32, Duration)>, Stats) {
    let (mut network, a, b) = two_hosts(seed, config);
    let (start, to) = (network.now(), network.address(b));
    let mut seen = Vec::new();
    for n in 0..count {
        let mut data = vec![0; size];
        data[..4].copy_from_slice(&n.to_be_bytes());
        network.send(a, to, Ecn::Ect0, &data);
        network.advance(Duration::from_millis(1));
        take(&mut network, start, &mut seen);
    }
    while let Some(next) = network.next_event() {
        network.advance_to(next);
        take(&mut network, start, &mut seen);
    }
    (seen, network.stats())
}

fn take(network: &mut Network, start: Instant, seen: &mut Vec<(u32, Duration)>) {
    while let Some(delivery) = network.receive() {
        let n = u32::from_be_bytes(delivery.datagram.data[..4].try_into().unwrap());
        seen.push((n, network.now() - start));
    }
}

#[test]
fn a_clean_link_delays_and_does_nothing_else() {
    let (seen, stats) = arrivals(1, LinkConfig::default(), 100, 100);
    let expected: Vec<_> = (0..100)
        .map(|n| (n, Duration::from_millis(u64::from(n) + 10)))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!((stats.sent, stats.delivered), (100, 100));
}

#[test]
fn the_same_seed_gives_the_same_and_another_another() {
    let config = LinkConfig::lossy(Duration::from_millis(30), 0.1);
    assert_eq!(
        arrivals(7, config.clone(), 500, 50),
        arrivals(7, config.clone(), 500, 50)
    );
    assert_ne!(arrivals(7, config.clone(), 500, 50).0, arrivals(8, config, 500, 50).0);
}

#[test]
fn impairments_happen_about_as_often_as_asked() {
    let config = LinkConfig {
        loss: 0.2,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.05,
        ..LinkConfig::default()
    };
    let (_, stats) = arrivals(3, config, 10_000, 100);
    assert!((1_800..2_200).contains(&stats.lost), "{stats:?}");
    assert!((650..950).contains(&stats.duplicated), "{stats:?}");
    assert!((700..1_050).contains(&stats.reordered), "{stats:?}");
    assert!((330..550).contains(&stats.corrupted), "{stats:?}");
    assert_eq!(stats.delivered, stats.sent - stats.lost + stats.duplicated);
}

#[test]
fn bursts_lose_runs() {
    let config = LinkConfig {
        burst_start: 0.01,
        burst_end: 0.2,
        ..LinkConfig::default()
    };
    let (seen, stats) = arrivals(4, config, 10_000, 10);
    let gaps = seen.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 1).count() as u64;
    assert!(stats.lost > 2 * gaps && gaps > 20, "{gaps} gaps, {} lost", stats.lost);
}

#[test]
fn jitter_alone_keeps_the_order() {
    let config = LinkConfig {
        jitter: Duration::from_millis(50),
        ..LinkConfig::default()
    };
    let (seen, _) = arrivals(5, config, 300, 10);
    assert!(seen.is_sorted());
}

#[test]
fn a_limited_rate_queues_drops_and_marks() {
    // 1000 bytes a millisecond offered, half of it carried: IP headers count.
    let config = LinkConfig {
        rate: Some(4_000_000.into()),
        queue: Limit::bytes(20_000),
        aqm: Aqm::Threshold(Duration::from_millis(5)),
        ..LinkConfig::default()
    };
    let (mut network, a, b) = two_hosts(6, config);
    let to = network.address(b);
    for _ in 0..100 {
        network.send(a, to, Ecn::Ect1, &[0; 972]);
        network.advance(Duration::from_millis(1));
    }
    network.advance(Duration::from_secs(1));
    let (mut count, mut marked) = (0u32, 0u32);
    while let Some(delivery) = network.receive() {
        count += 1;
        marked += u32::from(delivery.datagram.ecn == Ecn::Ce);
    }
    // 20 queued, one leaves every 2 ms.
    assert!((68..=72).contains(&count), "{count}");
    assert_eq!(network.stats().queue_dropped, 100 - u64::from(count));
    assert!(marked > 50, "{marked}");
}

#[test]
fn mtu_and_addresses() {
    let (mut network, a, b) = two_hosts(1, LinkConfig::default());
    let to = network.address(b);
    network.send(a, to, Ecn::NotEct, &[0; 1472]);
    network.send(a, to, Ecn::NotEct, &[0; 1473]);
    network.send(a, address("10.0.0.9:1"), Ecn::NotEct, &[0]);
    network.advance(Duration::from_millis(10));
    let delivery = network.receive().unwrap();
    assert_eq!(delivery.datagram.path.local, b.local());
    assert_eq!(delivery.datagram.path.remote, address("10.0.0.1:1000"));
    assert!(network.receive().is_none());
    assert_eq!((network.stats().too_big, network.stats().unroutable), (1, 1));

    network.send(a, to, Ecn::NotEct, &[0]);
    network.close(b);
    network.advance(Duration::from_millis(10));
    assert!(network.receive().is_none(), "closed while it was on its way");
    let host = network.add_host();
    let again = network.bind(host, to).unwrap();
    assert_ne!(again, b);
    assert_eq!(network.bind(host, to), None, "taken");
    let free = network.bind(host, address("10.0.0.3:0")).unwrap();
    assert_eq!(network.address(free), address("10.0.0.3:49152"));
}

/// The smallest network address translation: ports kept, anybody may answer.
#[derive(Debug)]
struct FullCone {
    public: IpAddr,
    inside: Option<IpAddr>,
}

impl Node for FullCone {
    fn addresses(&self) -> Vec<IpAddr> {
        vec![self.public]
    }

    fn outbound(&mut self, _now: Instant, mut packet: Packet) -> Option<Packet> {
        self.inside = Some(packet.source.ip());
        packet.source.set_ip(self.public);
        Some(packet)
    }

    fn inbound(&mut self, _now: Instant, mut packet: Packet) -> Option<Packet> {
        packet.destination.set_ip(self.inside?);
        Some(packet)
    }
}

#[test]
fn a_node_translates_and_shields() {
    let (mut network, a, b) = two_hosts(1, LinkConfig::default());
    let node = network.add_node(Box::new(FullCone {
        public: address("192.0.2.1:0").ip(),
        inside: None,
    }));
    network.place(network.owner(b), Some(node));
    // `b` is behind the node now: its own address is not reachable, and nothing has opened the node's yet.
    network.send(a, address("10.0.0.2:2000"), Ecn::NotEct, b"direct");
    network.send(a, address("192.0.2.1:2000"), Ecn::NotEct, b"early");
    network.advance(Duration::from_millis(10));
    assert!(network.receive().is_none());

    network.send(b, address("10.0.0.1:1000"), Ecn::NotEct, b"out");
    network.advance(Duration::from_millis(10));
    let out = network.receive().unwrap().datagram;
    assert_eq!(out.path.remote, address("192.0.2.1:2000"));
    network.send(a, out.path.remote, Ecn::NotEct, b"back");
    network.advance(Duration::from_millis(10));
    let back = network.receive().unwrap().datagram;
    assert_eq!((back.path.local, &back.data[..]), (b.local(), &b"back"[..]));
}

/// Sends a number every 20 ms until told to stop; echoes nothing. Says what it hears.
#[derive(Debug)]
struct Ticker {
    path: Path,
    next: Option<Instant>,
    due: u32,
    sent: u32,
    heard: Vec<u32>,
    closed: bool,
    misbehave: Misbehave,
}

#[derive(Debug, PartialEq, Eq)]
enum Misbehave {
    No,
    /// Leaves an expired deadline standing.
    Stale,
    /// Goes on after it was closed.
    Undead,
}

impl Ticker {
    fn new(now: Instant, local: SocketId, remote: SocketAddr, misbehave: Misbehave) -> Self {
        Self {
            path: Path {
                local: local.local(),
                remote,
            },
            next: Some(now),
            due: 0,
            sent: 0,
            heard: Vec::new(),
            closed: false,
            misbehave,
        }
    }
}

impl Machine for Ticker {
    type Event = u32;

    fn handle_datagram(&mut self, _now: Instant, datagram: Datagram) {
        if let (false, Ok(bytes)) = (self.closed, datagram.data[..].try_into()) {
            self.heard.push(u32::from_be_bytes(bytes));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.due += 1;
            if self.misbehave != Misbehave::Stale {
                self.next = Some(now + Duration::from_millis(20));
            }
        }
    }

    fn poll_transmit(&mut self, _now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        if self.sent == self.due || !out.begin(0, 0) {
            return None;
        }
        out.put_u32(self.sent);
        self.sent += 1;
        Some(Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
        })
    }

    fn poll_event(&mut self) -> Option<u32> {
        (!self.heard.is_empty()).then(|| self.heard.remove(0))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn close(&mut self, _now: Instant) {
        self.closed = true;
        if self.misbehave != Misbehave::Undead {
            self.next = None;
        }
    }

    fn is_terminated(&self) -> bool {
        self.closed
    }
}

fn tickers(seed: u64, misbehave: Misbehave) -> (Simulation<Ticker>, PeerId, PeerId) {
    let mut network = Network::new(seed);
    network.set_default_link(LinkConfig::lossy(Duration::from_millis(40), 0.1));
    let (a, b) = (network.add_host(), network.add_host());
    let at_a = network.bind(a, address("[2001:db8::1]:1")).unwrap();
    let at_b = network.bind(b, address("[2001:db8::2]:2")).unwrap();
    let now = network.now();
    let one = Ticker::new(now, at_a, network.address(at_b), misbehave);
    let two = Ticker::new(now, at_b, network.address(at_a), Misbehave::No);
    let mut simulation = Simulation::new(network);
    let one = simulation.add(a, one);
    let two = simulation.add(b, two);
    (simulation, one, two)
}

#[test]
fn machines_run_on_the_virtual_clock() {
    let run = |seed| {
        let (mut simulation, one, two) = tickers(seed, Misbehave::No);
        assert!(simulation.run_until(Duration::from_secs(60), |s| s.events(two).len() >= 100));
        assert!(!simulation.run_until(Duration::from_secs(1), |_| false));
        simulation.close_all();
        simulation.run_for(Duration::from_secs(1));
        assert_eq!(simulation.next_event(), None);
        (
            simulation.take_events(one),
            simulation.take_events(two),
            simulation.transcript(one),
        )
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
#[should_panic(expected = "law 2")]
fn a_stale_deadline_is_found() {
    let (mut simulation, ..) = tickers(1, Misbehave::Stale);
    simulation.run_for(Duration::from_secs(1));
}

#[test]
#[should_panic(expected = "law 6")]
fn a_timer_after_the_end_is_found() {
    let (mut simulation, ..) = tickers(1, Misbehave::Undead);
    simulation.run_for(Duration::from_secs(1));
    simulation.close_all();
}

#[test]
fn what_is_not_a_socket_goes_nowhere() {
    let mut network = Network::new(1);
    let mut out = TransmitBuf::new(100, 100);
    assert!(out.begin(0, 0));
    out.put_slice(&[1; 10]);
    let transmit = Transmit {
        path: Path {
            local: Local::Tcp(0),
            remote: address("10.0.0.1:1"),
        },
        range: out.finish(),
        segment_size: Some(4),
        ecn: Ecn::NotEct,
    };
    network.transmit(&out, &transmit);
    assert_eq!((network.stats().sent, network.stats().unroutable), (3, 3));
}

proptest! {
    /// Every packet is accounted for.
    #[test]
    fn packets_add_up(seed: u64, loss in 0.0..0.5, duplicate in 0.0..0.5, reorder in 0.0..0.5, rate in prop::option::of(50_000u64..5_000_000)) {
        let config = LinkConfig { loss, duplicate, reorder, rate: rate.map(Capacity::from), queue: Limit::bytes(5_000), ..LinkConfig::default() };
        let (seen, stats) = arrivals(seed, config, 200, 100);
        prop_assert_eq!(seen.len() as u64, stats.delivered);
        prop_assert_eq!(stats.delivered, stats.sent - stats.lost - stats.queue_dropped + stats.duplicated);
    }
}
