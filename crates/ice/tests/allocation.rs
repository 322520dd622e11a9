//! A hundred connections at rest: asking for consent, and giving it, allocates nothing.

mod checked;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_ice::{Config, ConnectionState, Event, IoEvent, IoRequest, Role};
use antiphon_netsim::{Checked, Counting, Machine};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use checked::AgentMachine;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocates.
fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let (count, result) = Counting::during(work);
    (count.allocations, result)
}

const PEERS: usize = 100;

/// One server with a hundred agents on one port, and their hundred peers. Even numbers are the server's.
struct World {
    now: Instant,
    agents: Vec<Checked<AgentMachine>>,
    out: TransmitBuf,
    counted: usize,
    consent_checks: usize,
    counting: bool,
}

fn address(n: usize) -> SocketAddr {
    if n.is_multiple_of(2) {
        SocketAddr::from(([10, 0, 0, 1], 3478))
    } else {
        SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 5000))
    }
}

impl World {
    fn new() -> Self {
        let now = antiphon_netsim::start();
        let agents = (0..2 * PEERS).map(|n| {
            let config = Config {
                role: if n.is_multiple_of(2) {
                    Role::Controlled
                } else {
                    Role::Controlling
                },
                shared_sockets: n.is_multiple_of(2),
                ..Config::default()
            };
            checked::agent(config, Rng::from_u64(n as u64))
        });
        Self {
            now,
            agents: agents.collect(),
            out: TransmitBuf::new(64 * 1024, 1200),
            counted: 0,
            consent_checks: 0,
            counting: false,
        }
    }

    fn connect(&mut self) {
        for n in 0..self.agents.len() {
            self.agents[n].gather(self.now);
            while let Some(request) = self.agents[n].poll_io() {
                let addr = address(n);
                let answer = match request {
                    IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(vec![addr.ip()]),
                    IoRequest::BindUdp { request, .. } => IoEvent::UdpBound {
                        request,
                        local: Local::Socket(0),
                        addr,
                    },
                    other => unreachable!("{other:?}"),
                };
                self.agents[n].handle_io(self.now, answer);
            }
        }
        for n in 0..self.agents.len() {
            let credentials = self.agents[n ^ 1].local_credentials().clone();
            self.agents[n].set_remote_credentials(self.now, credentials);
            while let Some(event) = self.agents[n ^ 1].poll_event() {
                if let Event::LocalCandidate(candidate) = event {
                    self.agents[n].add_remote_candidate(self.now, candidate);
                }
            }
            self.agents[n].end_of_remote_candidates(self.now);
        }
        self.run_for(Duration::from_secs(60));
    }

    fn count(&mut self, allocations: usize) {
        if self.counting {
            self.counted += allocations;
        }
    }

    /// What one agent sends goes to its own peer: in one-port mode the driver knows it by its five-tuple.
    fn flush(&mut self, n: usize) {
        loop {
            self.out.clear();
            let (agent, now, out) = (&mut self.agents[n], self.now, &mut self.out);
            let (made, transmit) = allocations(|| agent.poll_transmit(now, out));
            self.count(made);
            let Some(transmit) = transmit else { return };
            let datagram = Datagram {
                path: Path {
                    local: Local::Socket(0),
                    remote: address(n),
                },
                ecn: Ecn::NotEct,
                data: BytesMut::from(self.out.bytes(transmit.range)),
            };
            let agent = &mut self.agents[n ^ 1];
            let (made, ()) = allocations(|| agent.handle_datagram(now, datagram));
            assert!(agent.received.is_empty());
            self.count(made);
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.agents.iter().filter_map(Machine::poll_timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for n in 0..self.agents.len() {
                let agent = &mut self.agents[n];
                if agent.poll_timeout().is_some_and(|at| at <= now) {
                    let (made, ()) = allocations(|| agent.handle_timeout(now));
                    self.count(made);
                    self.consent_checks += 1;
                }
            }
            for _ in 0..4 {
                for n in 0..self.agents.len() {
                    self.flush(n);
                }
            }
            for agent in &mut self.agents {
                while agent.poll_event().is_some() {}
                agent.drained();
            }
        }
        self.now = end;
    }
}

#[test]
fn consent_costs_no_allocation() {
    let mut world = World::new();
    world.connect();
    let connected = |agent: &Checked<AgentMachine>| agent.state() == ConnectionState::Completed;
    assert!(world.agents.iter().all(connected));
    let asked = |world: &World| -> u64 {
        let stats = world.agents.iter().map(|agent| agent.stats().pairs);
        stats
            .map(|pairs| pairs.iter().map(|pair| pair.consent_requests_sent).sum::<u64>())
            .sum()
    };
    let before = asked(&world);
    world.counting = true;
    world.run_for(Duration::from_secs(60));
    world.counting = false;
    let checks = asked(&world) - before;
    assert!(checks >= 10 * 2 * PEERS as u64, "{checks} consent checks");
    assert!(world.agents.iter().all(connected));
    println!(
        "{checks} consent checks, asked and answered: {} allocations",
        world.counted
    );
    assert_eq!(world.counted, 0);
}
