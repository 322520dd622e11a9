//! The relaying itself (RFC 8656 §11 and §12): each run of datagrams is looked up and asked about once.

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_sansio::{Bytes, Path};
use antiphon_stun::{AddressFamily, AttributeType, Message};

use super::outbox::Head;
use super::rate::Meter;
use super::run::Run;
use super::state::{MAX_RELAYED, Server};

impl Server {
    /// RFC 8656 §11.2. What does not fit is dropped without a word.
    pub(super) fn send_indication(&mut self, now: Instant, client: Path, message: &Message<'_>, whole: &Bytes) {
        let understood = message.unknown_required().next().is_none()
            && (self.config.dont_fragment || message.get(AttributeType::DONT_FRAGMENT).is_none());
        match (message.xor_peer_address(), message.data()) {
            (Some(peer), Some(data)) if understood => {
                let data = whole.slice_ref(data);
                self.relay_to_peer(now, client, peer, Run::one(data));
            }
            _ => self.counters.not_permitted += 1,
        }
    }

    pub(super) fn channel_data(&mut self, now: Instant, client: Path, number: u16, run: Run) {
        let allocation = self.allocations.get(&client);
        match allocation.and_then(|allocation| allocation.peer_of(now, number)) {
            Some(peer) => self.relay_to_peer(now, client, peer, run),
            None => self.counters.not_permitted += run.count() as u64,
        }
    }

    fn relay_to_peer(&mut self, now: Instant, client: Path, peer: SocketAddr, mut run: Run) {
        let relay = self
            .allocations
            .get(&client)
            .filter(|allocation| allocation.is_permitted(now, peer.ip()))
            .and_then(|allocation| allocation.relay_of(AddressFamily::of(peer.ip())));
        let Some(relay) = relay.filter(|_| peer.port() != 0) else {
            self.counters.not_permitted += run.count() as u64;
            return;
        };
        self.counters.overflow += run.leave_out_longer(MAX_RELAYED) as u64;
        // Only at our own addresses can there be a client of ours.
        let other = match self.config.relay_addrs.contains(&peer.ip()) {
            true => self.relayed.get(&peer).and_then(|local| self.relays.get(local)),
            false => None,
        };
        let (count, bytes) = match other.copied() {
            // The peer is a client of ours: no network, and no NAT that would have to turn it around.
            Some(other) => {
                self.keep_within_rates(now, client, &mut run, true);
                let passed = (run.count(), run.data_len());
                self.relay_back(now, other, relay.addr, run, false);
                passed
            }
            // The policy again: the permission of an own address is for relayed ports alone (V17).
            None if !self.may_send(peer.ip()) => {
                self.counters.denied_peers += run.count() as u64;
                (0, 0)
            }
            None => {
                let path = Path {
                    local: relay.local,
                    remote: peer,
                };
                self.keep_within_rates(now, client, &mut run, true);
                self.push(path, Head::None, run)
            }
        };
        self.counters.to_peers += count as u64;
        self.counters.bytes_to_peers += bytes as u64;
    }

    /// A peer's datagrams, RFC 8656 §11.3 and §12.7.
    pub(super) fn relay_to_client(&mut self, now: Instant, client: Path, peer: SocketAddr, run: Run) {
        self.relay_back(now, client, peer, run, true);
    }

    /// `in_all`: whether it counts for the whole server. What comes from another client is counted already.
    fn relay_back(&mut self, now: Instant, client: Path, peer: SocketAddr, mut run: Run, in_all: bool) {
        let allocation = self.allocations.get(&client);
        let Some(allocation) = allocation.filter(|allocation| allocation.is_permitted(now, peer.ip())) else {
            self.counters.not_permitted += run.count() as u64;
            return;
        };
        let head = match allocation.channel_of(now, peer) {
            Some(number) => Head::Channel(number),
            None => Head::Data(peer),
        };
        self.counters.overflow += run.leave_out_longer(MAX_RELAYED) as u64;
        self.keep_within_rates(now, client, &mut run, in_all);
        let (count, bytes) = self.push(client, head, run);
        self.counters.to_clients += count as u64;
        self.counters.bytes_to_clients += bytes as u64;
    }

    /// Leaves of the run what the caps on what is relayed let through, and counts it. `in_all`: for the whole server
    /// too.
    fn keep_within_rates(&mut self, now: Instant, client: Path, run: &mut Run, in_all: bool) {
        let config = &self.config;
        if config.max_bps_allocation.is_none() && config.max_bps_user.is_none() && config.max_bps_total.is_none() {
            return;
        }
        let mut passed = 0;
        while passed < run.count() && self.is_within_rates(now, client, run.data(passed).len(), in_all) {
            passed += 1;
        }
        // The time is the same for all: what follows the first that is over is over too, and by the same cap.
        for index in passed + 1..run.count() {
            let _ = self.is_within_rates(now, client, run.data(index).len(), in_all);
        }
        run.truncate(passed);
    }

    /// Whether the caps let one more datagram of this allocation through; counts it if they do, and otherwise by which
    /// cap it is over.
    fn is_within_rates(&mut self, now: Instant, client: Path, bytes: usize, in_all: bool) -> bool {
        let config = &self.config;
        let Some(allocation) = self.allocations.get_mut(&client) else {
            return false;
        };
        let has_room = |cap: Option<u64>, meter: &Meter| cap.is_none() || meter.has_room(now);
        // The name is looked for only where it matters: this runs for each datagram.
        let mut of_user = match config.max_bps_user {
            Some(_) => self.per_user.get_mut(allocation.caller.quota_name()),
            None => None,
        };
        let counter = if !has_room(config.max_bps_allocation, &allocation.relayed) {
            Some(&mut self.counters.over_allocation_rate)
        } else if of_user.as_ref().is_some_and(|used| !used.relayed.has_room(now)) {
            Some(&mut self.counters.over_user_rate)
        } else if in_all && !has_room(config.max_bps_total, &self.relayed_in_all) {
            Some(&mut self.counters.over_total_rate)
        } else {
            None
        };
        if let Some(counter) = counter {
            *counter += 1;
            self.counters.bytes_over_rate += bytes as u64;
            return false;
        }
        if let Some(cap) = config.max_bps_allocation {
            allocation.relayed.add(now, bytes, cap);
        }
        if let (Some(cap), Some(used)) = (config.max_bps_user, &mut of_user) {
            used.relayed.add(now, bytes, cap);
        }
        if let (Some(cap), true) = (config.max_bps_total, in_all) {
            self.relayed_in_all.add(now, bytes, cap);
        }
        true
    }
}
