//! Two machines and the link between them, for those that know no addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};

use crate::link::{Dropped, Link, LinkConfig};
use crate::machine::{Checked, Machine};
use crate::packet::{Packet, Transport};
use crate::simulation::MAX_STEPS_PER_INSTANT;
use crate::start::start;
use crate::stats::Stats;

/// Looks at what the end of this number sends before the link does; `false` drops it.
pub type Filter = Box<dyn FnMut(usize, &[u8]) -> bool>;

/// Two machines, the link between them, and a virtual clock that begins at [`start`]. Every call is checked against the laws.
///
/// The ends are 0 and 1. What they send is at most 1200 bytes, without room in front or behind, unless [`Self::out`] is told
/// otherwise.
pub struct Pipe<M: Machine> {
    /// The virtual time; a test may move it forward.
    pub now: Instant,
    /// The machines. A test that calls one directly sees what follows after [`Self::drain`], or the next step.
    pub ends: [Checked<M>; 2],
    /// What each has said, in order; a test may take them away.
    pub events: [Vec<M::Event>; 2],
    /// What the ends write into: its largest segment and its room are the path's.
    pub out: TransmitBuf,
    /// Looks at each packet before the link does.
    pub filter: Option<Filter>,
    links: [Link<()>; 2],
    stats: [Stats; 2],
    on_their_way: BTreeMap<(Instant, u64), (usize, Packet)>,
    next_number: u64,
    /// Links whose figures a test may have changed.
    changed: [bool; 2],
    rng: Rng,
    steps_now: usize,
}

impl<M: Machine + fmt::Debug> fmt::Debug for Pipe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("ends", &self.ends)
            .field("events", &self.events)
            .field("on_their_way", &self.on_their_way.len())
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Pipe<M> {
    /// Joins two machines by a link that is the same both ways. Each way has dice of its own.
    pub fn new(seed: u64, link: LinkConfig, ends: [M; 2]) -> Self {
        let (now, rng) = (start(), Rng::from_u64(seed).fork("pipe"));
        Self {
            now,
            ends: ends.map(Checked::new),
            events: [Vec::new(), Vec::new()],
            out: TransmitBuf::new(64 * 1024, 1200),
            filter: None,
            links: [0, 1].map(|end| Link::new(link.clone(), rng.fork_numbered("link", end), now)),
            stats: [Stats::default(); 2],
            on_their_way: BTreeMap::new(),
            next_number: 0,
            changed: [false; 2],
            rng: rng.fork("order"),
            steps_now: 0,
        }
    }

    /// What the link does to the packets that `from` sends, to be changed as the test goes.
    pub fn link(&mut self, from: usize) -> &mut LinkConfig {
        self.depart();
        self.changed[from] = true;
        self.links[from].config_mut(self.now)
    }

    /// What became of the packets that `from` has sent.
    pub fn stats(&self, from: usize) -> Stats {
        self.stats[from]
    }

    /// Takes what both ends have to send and to say, and sends it on its way.
    pub fn drain(&mut self) {
        self.depart();
        for end in 0..2 {
            self.drain_end(end);
        }
    }

    fn drain_end(&mut self, end: usize) {
        loop {
            let mut quiet = true;
            self.out.clear();
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut self.out) {
                quiet = false;
                let packets: Vec<Vec<u8>> = transmit.datagrams(&self.out).map(<[u8]>::to_vec).collect();
                for data in packets {
                    self.send(end, transmit.ecn, data);
                }
                self.out.clear();
            }
            while let Some(event) = self.ends[end].poll_event() {
                quiet = false;
                self.events[end].push(event);
            }
            if quiet {
                break;
            }
        }
        self.ends[end].drained();
    }

    /// Sends `data` as if `from` had: through the filter and over the link.
    pub fn send(&mut self, from: usize, ecn: Ecn, data: Vec<u8>) {
        self.stats[from].sent += 1;
        if let Some(filter) = &mut self.filter
            && !filter(from, &data)
        {
            self.stats[from].lost += 1;
            return;
        }
        let packet = Packet {
            source: address(from),
            destination: address(1 - from),
            ecn,
            transport: Transport::Udp,
            data,
        };
        self.depart();
        self.links[from].offer(self.now, packet, ());
        self.collect(from);
    }

    /// Lets packets leave the links until now.
    fn depart(&mut self) {
        for from in 0..2 {
            if std::mem::take(&mut self.changed[from]) {
                self.links[from].changed();
            }
            self.links[from].depart(self.now);
            self.collect(from);
        }
    }

    fn collect(&mut self, from: usize) {
        let outcome = std::mem::take(self.links[from].outcome());
        let stats = &mut self.stats[from];
        stats.duplicated += outcome.duplicated;
        for refused in outcome.refused {
            match refused.reason {
                Dropped::Loss => stats.lost += 1,
                Dropped::Queue => stats.queue_dropped += 1,
                Dropped::TooBig => stats.too_big += 1,
            }
        }
        for arrival in outcome.arrivals {
            stats.reordered += u64::from(arrival.reordered);
            stats.corrupted += u64::from(arrival.corrupted);
            let key = (arrival.at, self.next_number);
            self.next_number += 1;
            self.on_their_way.insert(key, (1 - from, arrival.packet));
        }
    }

    /// Hands `data` to the end `to` at once, past the link.
    pub fn deliver(&mut self, to: usize, ecn: Ecn, data: &[u8]) {
        let datagram = Datagram {
            path: Path {
                local: Local::Socket(0),
                remote: address(1 - to),
            },
            ecn,
            data: BytesMut::from(data),
        };
        self.ends[to].handle_datagram(self.now, datagram);
    }

    /// When something happens next; right after a [`Self::drain`].
    pub fn next_event(&self) -> Option<Instant> {
        let arrival = self.on_their_way.keys().next().map(|(at, _)| *at);
        let departures = self.links.iter();
        let departures = departures.filter_map(|link| Some(link.next_departure()? + link.floor()));
        let timers = self.ends.iter().filter_map(Machine::poll_timeout);
        timers.chain(departures).chain(arrival).min()
    }

    /// Drains both ends, goes to the next moment at which something happens, and lets it happen. `false` if nothing ever will.
    pub fn step(&mut self) -> bool {
        self.drain();
        let Some(next) = self.next_event() else { return false };
        if next > self.now {
            self.now = next;
            self.steps_now = 0;
        }
        self.steps_now += 1;
        assert!(
            self.steps_now <= MAX_STEPS_PER_INSTANT,
            "law 2: a hot loop, time does not advance"
        );
        self.depart();
        while let Some(entry) = self.on_their_way.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, packet) = entry.remove();
            self.stats[1 - to].delivered += 1;
            self.deliver(to, packet.ecn, &packet.data);
            // Law 1: what comes at one moment is handled with and without draining in between.
            if self.rng.below(2) == 0 {
                self.drain_end(to);
            }
        }
        self.drain();
        for end in 0..2 {
            if self.ends[end].poll_timeout().is_some_and(|due| due <= self.now) {
                self.ends[end].handle_timeout(self.now);
                self.drain_end(end);
            }
        }
        true
    }

    /// Steps until `done` says so. `false` if `limit` of virtual time passes first, or nothing happens any more; then the time is
    /// the end of the limit.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            // It may have called the ends.
            self.drain();
            if self.next_event().is_none_or(|next| next > end) {
                self.now = self.now.max(end);
                return false;
            }
            self.step();
        }
    }

    /// Lets `duration` of virtual time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }
}

/// Only IP headers are counted from it: those of IPv4 and UDP, 28 bytes.
fn address(end: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1 + end as u8), 9))
}
