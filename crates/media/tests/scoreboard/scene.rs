//! Calls over a bottleneck, run on the virtual clock, and what is seen of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_netsim::{
    BottleneckId, Bulk, Capacity, Crossing, HostId, Limit, LinkConfig, Network, PeerId, Simulation, SocketId,
    TcpControl, Transfer,
};
use antiphon_sansio::{Path, Rng};

use super::board;
use super::end::{Contender, End, Peer, Terms, contender};

/// How often the calls are looked at.
pub(crate) const STEP: Duration = Duration::from_millis(20);
/// The queue of all links of which nothing else is said.
const QUEUE: Duration = Duration::from_millis(300);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Rates in bits a second from these seconds on.
pub(crate) fn steps(steps: &[(f64, f64)]) -> Capacity {
    let steps: Vec<_> = steps.iter().map(|step| (at(step.0), step.1 as u64)).collect();
    Capacity::steps(&steps)
}

/// A bottleneck of this capacity, without delay of its own, and a queue of 300 ms.
pub(crate) fn bottleneck(rate: impl Into<Capacity>) -> LinkConfig {
    LinkConfig {
        delay: Duration::ZERO,
        rate: Some(rate.into()),
        queue: Limit::time(QUEUE),
        ..LinkConfig::default()
    }
}

/// A flow of media.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) sender: PeerId,
    pub(crate) receiver: PeerId,
    pub(crate) hosts: [HostId; 2],
    /// Where the packets of its two ends come from, at the bottlenecks.
    pub(crate) sources: [SocketAddr; 2],
    /// What was seen of it, each [`STEP`].
    pub(crate) seen: Vec<Seen>,
}

/// What a look at a flow shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Seconds from the beginning of the scene.
    pub(crate) at: f64,
    /// What the session says may be sent in all, in bits a second.
    pub(crate) target: f64,
    /// Whole frames of video that have come so far.
    pub(crate) frames: u64,
}

/// What a run of a row gives.
pub(crate) type Outcome = board::Outcome<Scene>;
/// A row of the scoreboard.
pub(crate) type Row = board::Row<Scene>;

/// Calls that share a bottleneck there, and one back.
pub(crate) struct Scene {
    pub(crate) simulation: Simulation<Peer>,
    pub(crate) start: Instant,
    pub(crate) forward: BottleneckId,
    pub(crate) back: BottleneckId,
    /// What the way there carries, over the whole scene.
    pub(crate) capacity: Capacity,
    pub(crate) flows: Vec<Flow>,
    /// Where the packets of bulk transfers come from.
    pub(crate) bulks: Vec<SocketAddr>,
    /// What became of the packets on the way there, and on the way back.
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) returning: Vec<Crossing>,
    /// The delay of the two bottlenecks, there and back.
    delays: Duration,
    pub(crate) rng: Rng,
}

impl Scene {
    /// A scene without flows; `there` must have a rate.
    pub(crate) fn new(seed: u64, there: LinkConfig, back: LinkConfig) -> Self {
        let mut network = Network::new(seed);
        let capacity = there.rate.clone().unwrap_or_else(|| 1_000_000_000.into());
        let delays = there.delay + back.delay;
        let forward = network.add_bottleneck(there);
        let back = network.add_bottleneck(back);
        network.watch(forward);
        network.watch(back);
        Self {
            start: network.now(),
            simulation: Simulation::with_max_datagram(network, 1472),
            forward,
            back,
            capacity,
            flows: Vec::new(),
            bulks: Vec::new(),
            delays,
            crossings: Vec::new(),
            returning: Vec::new(),
            rng: Rng::from_u64(seed).fork("scene"),
        }
    }

    /// One flow over a bottleneck, with nothing in the way of what comes back.
    pub(crate) fn single(seed: u64, there: LinkConfig, owd: Duration, terms: &Terms) -> Self {
        let mut scene = Self::new(seed, there, nothing());
        scene.add(owd, terms);
        scene
    }

    /// Two new hosts on the two sides, their sockets, and the paths between them.
    fn hosts(&mut self, owd: Duration) -> ([HostId; 2], [Path; 2], [SocketAddr; 2]) {
        let number = self.flows.len() + self.bulks.len() + 1;
        let network = &mut self.simulation.network;
        let hosts = [network.add_host(), network.add_host()];
        let sockets: [SocketId; 2] = [0, 1].map(|end| {
            let address = SocketAddr::from(([10, 1 + end as u8, 0, number as u8], 9));
            network.bind(hosts[end], address).expect("a free address")
        });
        network.lead_through(hosts[0], hosts[1], self.forward);
        network.lead_through(hosts[1], hosts[0], self.back);
        let addresses = sockets.map(|socket| network.address(socket));
        let paths = [0, 1].map(|end| Path {
            local: sockets[end].local(),
            remote: addresses[1 - end],
        });
        self.link(hosts, owd);
        (hosts, paths, addresses)
    }

    fn link(&mut self, hosts: [HostId; 2], owd: Duration) {
        let link = LinkConfig {
            delay: owd,
            ..LinkConfig::default()
        };
        self.simulation.network.connect(hosts[0], hosts[1], link);
    }

    /// Adds a flow of media that begins now.
    pub(crate) fn add(&mut self, owd: Duration, terms: &Terms) -> usize {
        let number = self.flows.len();
        let rng = self.rng.fork_numbered("flow", number as u64);
        let (hosts, paths, addresses) = self.hosts(owd);
        let now = self.simulation.now();
        let rtt = 2 * owd + self.delays;
        let [sender, receiver] = if let Some(Contender::Stack(make)) = contender() {
            make(now, terms, paths, &rng).map(Peer::Foreign)
        } else {
            let mut sender = End::new(now, terms, paths[0], rtt, &rng.fork("sender"));
            sender.send(now, terms, &rng);
            let mut receiver = End::new(now, terms, paths[1], rtt, &rng.fork("receiver"));
            receiver.receive(terms);
            [sender, receiver].map(|end| Peer::Call(Box::new(end)))
        };
        let sender = self.simulation.add(hosts[0], sender);
        let receiver = self.simulation.add(hosts[1], receiver);
        self.flows.push(Flow {
            sender,
            receiver,
            hosts,
            sources: addresses,
            seen: Vec::new(),
        });
        number
    }

    /// Lets the receiver of a flow send too.
    pub(crate) fn answer(&mut self, flow: usize, terms: &Terms) {
        let rng = self.rng.fork_numbered("answer", flow as u64);
        let Flow { sender, receiver, .. } = self.flows[flow];
        self.simulation.call(sender, |peer, _| peer.call_mut().receive(terms));
        self.simulation
            .call(receiver, |peer, now| peer.call_mut().send(now, terms, &rng));
    }

    /// Adds bulk transfers, whose times count from now. Returns their number.
    pub(crate) fn bulk(&mut self, owd: Duration, rules: TcpControl, transfers: Vec<Transfer>) -> usize {
        let (hosts, paths, addresses) = self.hosts(owd);
        let now = self.simulation.now();
        let sender = Bulk::sender(now, paths[0], rules, transfers);
        self.simulation.add(hosts[0], Peer::Bulk(Box::new(sender)));
        let receiver = Bulk::receiver(now, paths[1]);
        self.simulation.add(hosts[1], Peer::Bulk(Box::new(receiver)));
        self.bulks.push(addresses[0]);
        self.bulks.len() - 1
    }

    /// The delay of a flow's own links, each way.
    pub(crate) fn delay(&mut self, flow: usize, owd: Duration) {
        self.link(self.flows[flow].hosts, owd);
    }

    /// The delay of a flow's own link on the way there.
    pub(crate) fn delay_there(&mut self, flow: usize, owd: Duration) {
        let [here, there] = self.flows[flow].hosts;
        let link = LinkConfig {
            delay: owd,
            ..LinkConfig::default()
        };
        self.simulation.network.set_link(here, there, link);
    }

    /// Seconds from the beginning.
    pub(crate) fn now(&self) -> f64 {
        (self.simulation.now() - self.start).as_secs_f64()
    }

    /// The sending end of a flow, to be changed.
    pub(crate) fn sender(&mut self, flow: usize, change: impl FnOnce(&mut End, Instant)) {
        let peer = self.flows[flow].sender;
        self.simulation.call(peer, |peer, now| change(peer.call_mut(), now));
    }

    /// Runs until so many seconds from the beginning.
    pub(crate) fn run(&mut self, until: f64) {
        let end = self.start + at(until);
        while self.simulation.now() < end {
            let step = STEP.min(end - self.simulation.now());
            self.simulation.run_for(step);
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.now();
        for flow in &mut self.flows {
            let target = self.simulation.peer(flow.sender).target();
            let target = target.map_or(0.0, |target| target as f64);
            let frames = self.simulation.peer(flow.receiver).frames();
            flow.seen.push(Seen {
                at: now,
                target,
                frames,
            });
        }
        let crossings = self.simulation.network.take_crossings(self.forward);
        self.crossings.extend(crossings);
        let returning = self.simulation.network.take_crossings(self.back);
        self.returning.extend(returning);
    }
}

/// A link that does nothing.
pub(crate) fn nothing() -> LinkConfig {
    LinkConfig {
        delay: Duration::ZERO,
        ..LinkConfig::default()
    }
}
