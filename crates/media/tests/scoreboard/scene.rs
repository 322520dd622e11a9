//! Calls over a bottleneck, run on the virtual clock, and what is seen of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_netsim::{BottleneckId, Capacity, Crossing, HostId, Limit, LinkConfig, Network, PeerId, Simulation};
use antiphon_sansio::{Path, Rng};

use super::end::{End, Terms};

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
    /// Where its packets come from, at the bottleneck.
    pub(crate) source: SocketAddr,
    /// What was seen of it, each [`STEP`].
    pub(crate) seen: Vec<Seen>,
}

/// What a look at a flow shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Seconds from the beginning of the scene.
    pub(crate) at: f64,
    /// What the session says may be sent, in bits a second.
    pub(crate) target: f64,
    /// Whole frames of video that have come so far.
    pub(crate) frames: u64,
}

/// Calls that share a bottleneck there, and one back.
pub(crate) struct Scene {
    pub(crate) simulation: Simulation<End>,
    pub(crate) start: Instant,
    pub(crate) forward: BottleneckId,
    pub(crate) back: BottleneckId,
    /// What the way there carries, over the whole scene.
    pub(crate) capacity: Capacity,
    pub(crate) flows: Vec<Flow>,
    /// What became of the packets on the way there.
    pub(crate) crossings: Vec<Crossing>,
    rng: Rng,
}

impl Scene {
    /// A scene without flows; `there` must have a rate.
    pub(crate) fn new(seed: u64, there: LinkConfig, back: LinkConfig) -> Self {
        let mut network = Network::new(seed);
        let capacity = there.rate.clone().unwrap_or_else(|| 1_000_000_000.into());
        let forward = network.add_bottleneck(there);
        let back = network.add_bottleneck(back);
        network.watch(forward);
        Self {
            start: network.now(),
            simulation: Simulation::with_max_datagram(network, 1472),
            forward,
            back,
            capacity,
            flows: Vec::new(),
            crossings: Vec::new(),
            rng: Rng::from_u64(seed).fork("scene"),
        }
    }

    /// One flow over a bottleneck, with nothing in the way of what comes back.
    pub(crate) fn single(seed: u64, there: LinkConfig, owd: Duration, terms: &Terms) -> Self {
        let mut scene = Self::new(seed, there, nothing());
        scene.add(owd, terms);
        scene
    }

    /// Adds a flow of media that begins now.
    pub(crate) fn add(&mut self, owd: Duration, terms: &Terms) -> usize {
        let number = self.flows.len();
        let rng = self.rng.fork_numbered("flow", number as u64);
        let network = &mut self.simulation.network;
        let hosts = [network.add_host(), network.add_host()];
        let sockets = [0, 1].map(|end| {
            let address = SocketAddr::from(([10, 1 + end as u8, (number / 250) as u8, (number % 250) as u8 + 1], 9));
            network.bind(hosts[end], address).expect("a free address")
        });
        network.lead_through(hosts[0], hosts[1], self.forward);
        network.lead_through(hosts[1], hosts[0], self.back);
        let addresses = sockets.map(|socket| network.address(socket));
        let paths = [0, 1].map(|end| Path {
            local: sockets[end].local(),
            remote: addresses[1 - end],
        });
        let now = network.now();
        let sender = self
            .simulation
            .add(hosts[0], End::sender(now, terms, paths[0], 2 * owd, &rng));
        let receiver = self.simulation.add(hosts[1], End::receiver(now, terms, paths[1], &rng));
        self.flows.push(Flow {
            sender,
            receiver,
            hosts,
            source: addresses[0],
            seen: Vec::new(),
        });
        self.delay(number, owd);
        number
    }

    /// The delay of a flow's own links, each way.
    pub(crate) fn delay(&mut self, flow: usize, owd: Duration) {
        let [here, there] = self.flows[flow].hosts;
        let link = LinkConfig {
            delay: owd,
            ..LinkConfig::default()
        };
        self.simulation.network.connect(here, there, link);
    }

    /// Seconds from the beginning.
    pub(crate) fn now(&self) -> f64 {
        (self.simulation.now() - self.start).as_secs_f64()
    }

    /// The sending end of a flow, to be changed.
    pub(crate) fn sender(&mut self, flow: usize, change: impl FnOnce(&mut End)) {
        let peer = self.flows[flow].sender;
        self.simulation.call(peer, |end, _| change(end));
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
            let sender = self.simulation.peer(flow.sender);
            let target = sender.session.target_bitrate().map_or(0.0, |target| target as f64);
            let frames = self.simulation.peer(flow.receiver).frames;
            flow.seen.push(Seen {
                at: now,
                target,
                frames,
            });
        }
        let crossings = self.simulation.network.take_crossings(self.forward);
        self.crossings.extend(crossings);
    }
}

/// A link that does nothing.
pub(crate) fn nothing() -> LinkConfig {
    LinkConfig {
        delay: Duration::ZERO,
        ..LinkConfig::default()
    }
}
