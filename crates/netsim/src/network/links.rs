//! The links between hosts, and what waits at them.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::{Hop, InFlight, Network, Site, Way};
use crate::ids::{BottleneckId, HostId};
use crate::link::{Arrival, Crossing, Dropped, Link, LinkConfig, Refused};
use crate::packet::{Packet, Transport};
use crate::tcp::REPAIR;

impl Network {
    /// What every link is like that was not set by [`Self::set_link`], those in use included.
    pub fn set_default_link(&mut self, config: LinkConfig) {
        self.settle();
        self.default_link = config;
        // Made anew, with the same dice from the start, when next used.
        self.links.retain(|_, link| link.explicit || !link.is_idle());
        let busy: Vec<_> = self.links.iter().filter(|(_, link)| !link.explicit).collect();
        let busy: Vec<_> = busy.into_iter().map(|(ends, _)| *ends).collect();
        for (from, to) in busy {
            self.set_way(Way::Own(from, to), self.default_link.clone());
        }
    }

    /// Sets the link from one host to another (or to the node that the other is behind). What is on its way stays so; what waits in
    /// the queue leaves as the new figures say.
    pub fn set_link(&mut self, from: HostId, to: HostId, config: LinkConfig) {
        self.settle();
        let site = self.site(to);
        if self.links.contains_key(&(from, site)) {
            self.set_way(Way::Own(from, site), config);
        } else {
            let link = self.make_link(from, site, config);
            self.links.insert((from, site), link);
        }
        if let Some(link) = self.links.get_mut(&(from, site)) {
            link.explicit = true;
        }
    }

    /// Sets both directions between two hosts.
    pub fn connect(&mut self, a: HostId, b: HostId, config: LinkConfig) {
        self.set_link(a, b, config.clone());
        self.set_link(b, a, config);
    }

    /// Adds a link that several pairs of hosts may share, in one direction.
    pub fn add_bottleneck(&mut self, config: LinkConfig) -> BottleneckId {
        let number = self.bottlenecks.len() as u32;
        let rng = self.rng.fork_numbered("bottleneck", u64::from(number));
        self.bottlenecks.push(Link::new(config, rng, self.now));
        BottleneckId(number)
    }

    /// Sets what a shared link is like from now on, as [`Self::set_link`].
    pub fn set_bottleneck(&mut self, bottleneck: BottleneckId, config: LinkConfig) {
        self.settle();
        self.set_way(Way::Shared(bottleneck), config);
    }

    /// Leads what one host sends to another (or to the node that the other is behind) over a shared link, after their own.
    pub fn lead_through(&mut self, from: HostId, to: HostId, bottleneck: BottleneckId) {
        let site = self.site(to);
        self.through.insert((from, site), bottleneck);
    }

    /// Begins to remember what becomes of each packet at a shared link.
    pub fn watch(&mut self, bottleneck: BottleneckId) {
        if let Some(link) = self.link_mut(Way::Shared(bottleneck)) {
            link.watch();
        }
    }

    /// What became of the packets at a shared link, in order, since the last time.
    pub fn take_crossings(&mut self, bottleneck: BottleneckId) -> Vec<Crossing> {
        self.settle();
        self.link_mut(Way::Shared(bottleneck))
            .map(Link::take_crossings)
            .unwrap_or_default()
    }

    fn site(&self, host: HostId) -> Site {
        match self.hosts[host.0 as usize].behind {
            Some(node) => Site::Node(node),
            None => Site::Host(host),
        }
    }

    fn make_link(&self, from: HostId, to: Site, config: LinkConfig) -> Link<Hop> {
        let number = match to {
            Site::Host(host) => u64::from(host.0),
            Site::Node(node) => u64::from(node.0) | 1 << 31,
        };
        let rng = self.rng.fork_numbered("link", u64::from(from.0) << 32 | number);
        Link::new(config, rng, self.now)
    }

    fn link(&self, way: Way) -> Option<&Link<Hop>> {
        match way {
            Way::Own(from, to) => self.links.get(&(from, to)),
            Way::Shared(BottleneckId(number)) => self.bottlenecks.get(number as usize),
        }
    }

    fn link_mut(&mut self, way: Way) -> Option<&mut Link<Hop>> {
        match way {
            Way::Own(from, to) => self.links.get_mut(&(from, to)),
            Way::Shared(BottleneckId(number)) => self.bottlenecks.get_mut(number as usize),
        }
    }

    fn set_way(&mut self, way: Way, config: LinkConfig) {
        let now = self.now;
        if let Some(link) = self.link_mut(way) {
            link.set(now, config);
            link.depart(now);
        }
        self.collect(now, way);
    }

    /// A packet enters the link from one host to a site.
    pub(super) fn enter(&mut self, from: HostId, to: Site, packet: Packet) {
        if !self.links.contains_key(&(from, to)) {
            let config = if to == Site::Host(from) {
                LinkConfig::loopback()
            } else {
                self.default_link.clone()
            };
            let link = self.make_link(from, to, config);
            self.links.insert((from, to), link);
        }
        let then = self.through.get(&(from, to)).copied();
        self.offer(self.now, Way::Own(from, to), packet, Hop { to, then });
    }

    fn offer(&mut self, now: Instant, way: Way, packet: Packet, hop: Hop) {
        if let Some(link) = self.link_mut(way) {
            link.offer(now, packet, hop);
        }
        self.collect(now, way);
    }

    /// Before this nothing arrives of what waits in queues or goes to a bottleneck. Nobody need wake up for what they do before.
    pub(super) fn next_from_queues(&self) -> Option<Instant> {
        let floor = |way: Way| self.link(way).map_or(Duration::ZERO, Link::floor);
        let departures = self.departures.iter().map(|(way, at)| *at + floor(*way));
        let hops = self.hops.iter().take(1);
        let hops = hops.map(|((at, _), (_, hop))| hop.then.map_or(*at, |then| *at + floor(Way::Shared(then))));
        departures.chain(hops).min()
    }

    /// When a packet next leaves a queue, or comes to a bottleneck.
    fn next_on_the_way(&self) -> Option<Instant> {
        let departure = self.departures.values().min();
        let hop = self.hops.keys().next().map(|(at, _)| at);
        departure.into_iter().chain(hop).min().copied()
    }

    /// Lets packets leave queues and come to bottlenecks until now.
    pub(super) fn settle(&mut self) {
        while let Some(at) = self.next_on_the_way().filter(|at| *at <= self.now) {
            let leaves = self.departures.iter().find(|(_, departure)| **departure == at);
            if let Some((&way, _)) = leaves {
                if let Some(link) = self.link_mut(way) {
                    link.depart(at);
                }
                self.collect(at, way);
            } else if let Some((_, (packet, Hop { to, then: Some(next) }))) = self.hops.pop_first() {
                self.offer(at, Way::Shared(next), packet, Hop { to, then: None });
            }
        }
    }

    /// Takes what has become of the packets at a link.
    fn collect(&mut self, now: Instant, way: Way) {
        let Some(link) = self.link_mut(way) else { return };
        let next = link.next_departure();
        let outcome = std::mem::take(link.outcome());
        match next {
            Some(at) => self.departures.insert(way, at),
            None => self.departures.remove(&way),
        };
        self.stats.duplicated += outcome.duplicated;
        for refused in outcome.refused {
            self.refuse(now, way, refused);
        }
        for arrival in outcome.arrivals {
            self.stats.corrupted += u64::from(arrival.corrupted);
            self.stats.reordered += u64::from(arrival.reordered);
            self.fly(way, arrival);
        }
    }

    /// What UDP loses is lost; what TCP loses it mends.
    fn refuse(&mut self, now: Instant, way: Way, refused: Refused<Hop>) {
        let Refused { packet, tag, reason } = refused;
        if packet.transport != Transport::Udp {
            let Some(link) = self.link_mut(way) else { return };
            let at = now + link.config().delay + REPAIR;
            let mended = Arrival {
                at,
                packet,
                tag,
                corrupted: false,
                reordered: false,
            };
            self.fly(way, mended);
            return;
        }
        match reason {
            Dropped::Loss => self.stats.lost += 1,
            Dropped::Queue => self.stats.queue_dropped += 1,
            Dropped::TooBig => self.stats.too_big += 1,
        }
    }

    fn fly(&mut self, way: Way, arrival: Arrival<Hop>) {
        let Arrival {
            mut at, packet, tag, ..
        } = arrival;
        if packet.transport != Transport::Udp
            && let Some(link) = self.link_mut(way)
        {
            // What is late holds up the rest: nothing of TCP overtakes.
            at = at.max(link.last_tcp);
            link.last_tcp = at;
        }
        let number = self.next_number;
        self.next_number += 1;
        if tag.then.is_some() {
            self.hops.insert((at, number), (packet, tag));
            return;
        }
        self.arrivals.push(Reverse((at, number)));
        self.in_flight.insert(number, InFlight { packet, to: tag.to });
    }
}
