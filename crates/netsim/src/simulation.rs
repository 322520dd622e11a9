//! Whole machines on a network, driven by its clock and checked against the laws.

use std::time::{Duration, Instant};

use antiphon_sansio::TransmitBuf;

use crate::ids::HostId;
use crate::machine::{Checked, Machine};
use crate::network::Network;

/// More steps than this at one instant are taken for a hot loop (law 2).
pub const MAX_STEPS_PER_INSTANT: usize = 100_000;

/// A machine in a [`Simulation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(usize);

#[derive(Debug)]
struct Peer<M: Machine> {
    host: HostId,
    machine: Checked<M>,
    events: Vec<M::Event>,
    /// What `poll_timeout` said after the last drain. It is pure (law 2), so it says that until the machine is called again.
    due: Option<Instant>,
}

/// Machines on a network, driven by its clock. Every call is checked against the laws.
#[derive(Debug)]
pub struct Simulation<M: Machine> {
    /// The network, to be set up and changed as the simulation goes.
    pub network: Network,
    peers: Vec<Peer<M>>,
    out: TransmitBuf,
    steps_now: usize,
}

impl<M: Machine> Simulation<M> {
    /// Datagrams of at most 1200 bytes.
    pub fn new(network: Network) -> Self {
        Self::with_max_datagram(network, 1200)
    }

    /// Datagrams of at most `max_datagram` bytes of UDP payload.
    pub fn with_max_datagram(network: Network, max_datagram: usize) -> Self {
        Self {
            network,
            peers: Vec::new(),
            out: TransmitBuf::new(16 * max_datagram, max_datagram),
            steps_now: 0,
        }
    }

    /// Puts a machine on a host. A host has one machine.
    pub fn add(&mut self, host: HostId, machine: M) -> PeerId {
        assert!(
            self.peers.iter().all(|peer| peer.host != host),
            "the host has a machine already"
        );
        let machine = Checked::new(machine);
        self.peers.push(Peer {
            host,
            due: machine.poll_timeout(),
            machine,
            events: Vec::new(),
        });
        PeerId(self.peers.len() - 1)
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.network.now()
    }

    /// The host of a machine.
    pub fn host(&self, peer: PeerId) -> HostId {
        self.peers[peer.0].host
    }

    /// A machine, to look at.
    pub fn peer(&self, peer: PeerId) -> &M {
        &self.peers[peer.0].machine
    }

    /// A hash of what a machine has sent; see [`Checked::transcript`].
    pub fn transcript(&self, peer: PeerId) -> u64 {
        self.peers[peer.0].machine.transcript()
    }

    /// Calls a machine, then serves and drains it.
    pub fn call<T>(&mut self, peer: PeerId, call: impl FnOnce(&mut M, Instant) -> T) -> T {
        let now = self.now();
        let result = call(&mut self.peers[peer.0].machine, now);
        self.drain(peer.0);
        result
    }

    /// Takes the events of a machine that came since the last time.
    pub fn take_events(&mut self, peer: PeerId) -> Vec<M::Event> {
        std::mem::take(&mut self.peers[peer.0].events)
    }

    /// Events of a machine that nobody has taken.
    pub fn events(&self, peer: PeerId) -> &[M::Event] {
        &self.peers[peer.0].events
    }

    fn drain(&mut self, at: usize) {
        let now = self.network.now();
        let peer = &mut self.peers[at];
        loop {
            peer.machine.serve_io(now, &mut self.network, peer.host);
            let mut quiet = true;
            self.out.clear();
            while let Some(transmit) = peer.machine.poll_transmit(now, &mut self.out) {
                quiet = false;
                self.network.transmit(&self.out, &transmit);
                if !self.out.has_room() {
                    self.out.clear();
                }
            }
            while let Some(event) = peer.machine.poll_event() {
                quiet = false;
                peer.events.push(event);
            }
            if quiet {
                break;
            }
        }
        peer.machine.drained();
        peer.due = peer.machine.poll_timeout();
    }

    /// When something happens next.
    pub fn next_event(&self) -> Option<Instant> {
        let timers = self.peers.iter().filter_map(|peer| peer.due);
        timers.chain(self.network.next_event()).min()
    }

    /// Goes to the next moment at which something happens, and lets it happen. `false` if nothing ever will.
    pub fn step(&mut self) -> bool {
        let Some(next) = self.next_event() else { return false };
        if next > self.now() {
            self.network.advance_to(next);
            self.steps_now = 0;
        }
        self.steps_now += 1;
        assert!(
            self.steps_now <= MAX_STEPS_PER_INSTANT,
            "law 2: a hot loop, time does not advance"
        );
        let now = self.now();
        while let Some((host, event)) = self.network.receive_tcp() {
            if let Some(at) = self.peers.iter().position(|peer| peer.host == host) {
                self.peers[at].machine.handle_tcp(now, event);
                self.drain(at);
            }
        }
        while let Some(delivery) = self.network.receive() {
            // Without a machine on the host the datagram goes nowhere.
            if let Some(at) = self.peers.iter().position(|peer| peer.host == delivery.host) {
                self.peers[at].machine.handle_datagram(now, delivery.datagram);
                self.drain(at);
            }
        }
        for at in 0..self.peers.len() {
            if self.peers[at].due.is_some_and(|due| due <= now) {
                self.peers[at].machine.handle_timeout(now);
                self.drain(at);
            }
        }
        true
    }

    /// Steps until `done` says so. `false` if `limit` of virtual time passes first, or nothing happens any more.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now() + limit;
        loop {
            if done(self) {
                return true;
            }
            match self.next_event() {
                Some(next) if next <= end => {
                    self.step();
                }
                _ => {
                    self.network.advance_to(end);
                    return false;
                }
            }
        }
    }

    /// Lets `duration` of virtual time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Closes every machine and drains it.
    pub fn close_all(&mut self) {
        let now = self.now();
        for at in 0..self.peers.len() {
            self.peers[at].machine.close(now);
            self.drain(at);
        }
    }
}
