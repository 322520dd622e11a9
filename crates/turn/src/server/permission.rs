//! Permissions, channels, and the relaying itself (RFC 8656 §9 to §12).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{Bytes, Path};
use antiphon_stun::{AddressFamily, AttributeType, Class, HEADER_LEN, Message, MessageBuilder, Method, TransactionId};

use super::allocation::Bound;
use super::policy::PeerPolicy;
use super::rate::Meter;
use super::request::{BAD_REQUEST, Caller, Refusal};
use super::state::{MAX_RELAYED, Server};
use crate::channel_data::{OLDER_CHANNEL_NUMBERS, channel_header};

const CAPACITY: Refusal = Refusal::new(508, "Insufficient Capacity");

impl Server {
    /// Whether this client may relay to this address (V17).
    fn check_peer(&mut self, client: Path, peer: SocketAddr) -> Result<(), Refusal> {
        let family = AddressFamily::of(peer.ip());
        let relay = self
            .allocations
            .get(&client)
            .and_then(|allocation| allocation.relay_of(family));
        if relay.is_none() {
            return Err(Refusal::new(443, "Peer Address Family Mismatch"));
        }
        // Two clients of ours may be each other's peers, whatever network our relayed addresses are in: their datagrams
        // never leave the server.
        if !self.may_send(peer.ip()) && !self.config.relay_addrs.contains(&peer.ip()) {
            self.counters.denied_peers += 1;
            return Err(Refusal::new(403, "Forbidden"));
        }
        Ok(())
    }

    /// Whether a datagram may leave for this address. The server's own machine is closed unless loopback is open; its address
    /// in a private network counts as one of that network.
    fn may_send(&self, ip: IpAddr) -> bool {
        let policy = &self.config.policy;
        let own = self.config.relay_addrs.contains(&ip) || self.config.own_addrs.contains(&ip);
        let is_public = PeerPolicy::default().allows(ip);
        policy.allows(ip) && !(own && is_public && !policy.allow_loopback)
    }

    pub(super) fn create_permission(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        self.own(client, caller)?;
        // RFC 8656 §10.2: all or none.
        let peers: Option<Vec<SocketAddr>> = message.xor_peer_addresses().collect();
        let peers = peers.filter(|peers| !peers.is_empty()).ok_or(BAD_REQUEST)?;
        for peer in &peers {
            self.check_peer(client, *peer)?;
        }
        let allocation = self.allocations.get_mut(&client);
        let installed = allocation.is_some_and(|allocation| peers.iter().all(|peer| allocation.permit(now, peer.ip())));
        if !installed {
            return Err(CAPACITY);
        }
        self.respond(client, message, Some(caller), Class::Success, |_| {});
        Ok(())
    }

    pub(super) fn channel_bind(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        self.own(client, caller)?;
        let (Some(number), Some(peer)) = (message.channel_number(), message.xor_peer_address()) else {
            return Err(BAD_REQUEST);
        };
        if !OLDER_CHANNEL_NUMBERS.contains(&number) {
            return Err(BAD_REQUEST);
        }
        self.check_peer(client, peer)?;
        let Some(allocation) = self.allocations.get_mut(&client) else {
            return Ok(());
        };
        match allocation.bind(now, number, peer) {
            Bound::Yes if allocation.permit(now, peer.ip()) => {}
            Bound::Conflict => return Err(BAD_REQUEST),
            Bound::Yes | Bound::TooMany => return Err(CAPACITY),
        }
        self.respond(client, message, Some(caller), Class::Success, |_| {});
        Ok(())
    }

    /// RFC 8656 §11.2. What does not fit is dropped without a word.
    pub(super) fn send_indication(&mut self, now: Instant, client: Path, message: &Message<'_>, whole: &Bytes) {
        let understood = message.unknown_required().next().is_none()
            && (self.config.dont_fragment || message.get(AttributeType::DONT_FRAGMENT).is_none());
        match (message.xor_peer_address(), message.data()) {
            (Some(peer), Some(data)) if understood => {
                let data = whole.slice_ref(data);
                self.relay_to_peer(now, client, peer, data);
            }
            _ => self.counters.not_permitted += 1,
        }
    }

    pub(super) fn channel_data(&mut self, now: Instant, client: Path, number: u16, data: Bytes) {
        let allocation = self.allocations.get(&client);
        match allocation.and_then(|allocation| allocation.peer_of(now, number)) {
            Some(peer) => self.relay_to_peer(now, client, peer, data),
            None => self.counters.not_permitted += 1,
        }
    }

    fn relay_to_peer(&mut self, now: Instant, client: Path, peer: SocketAddr, data: Bytes) {
        let relay = self
            .allocations
            .get(&client)
            .filter(|allocation| allocation.is_permitted(now, peer.ip()))
            .and_then(|allocation| allocation.relay_of(AddressFamily::of(peer.ip())));
        let Some(relay) = relay.filter(|_| peer.port() != 0) else {
            self.counters.not_permitted += 1;
            return;
        };
        if data.len() > MAX_RELAYED {
            self.counters.overflow += 1;
            return;
        }
        let bytes = data.len() as u64;
        let other = self
            .relayed
            .get(&peer)
            .and_then(|local| self.relays.get(local))
            .copied();
        let sent = match other {
            // The peer is a client of ours: no network, and no NAT that would have to turn it around.
            Some(other) => {
                let passes = self.is_within_rates(now, client, data.len(), true);
                if passes {
                    self.relay_inside(now, other, relay.addr, data);
                }
                passes
            }
            // The policy again: the permission of an own address is for relayed ports alone (V17).
            None if !self.may_send(peer.ip()) => {
                self.counters.denied_peers += 1;
                false
            }
            None => {
                let path = Path {
                    local: relay.local,
                    remote: peer,
                };
                self.is_within_rates(now, client, data.len(), true) && self.push(path, None, data)
            }
        };
        if sent {
            self.counters.to_peers += 1;
            self.counters.bytes_to_peers += bytes;
        }
    }

    /// A peer's datagram, RFC 8656 §11.3 and §12.7.
    pub(super) fn relay_to_client(&mut self, now: Instant, client: Path, peer: SocketAddr, data: Bytes) {
        self.relay_back(now, client, peer, data, true);
    }

    /// A datagram of another client, whose part of it is counted for the whole server already.
    fn relay_inside(&mut self, now: Instant, client: Path, peer: SocketAddr, data: Bytes) {
        self.relay_back(now, client, peer, data, false);
    }

    fn relay_back(&mut self, now: Instant, client: Path, peer: SocketAddr, data: Bytes, in_all: bool) {
        let allocation = self.allocations.get(&client);
        let Some(allocation) = allocation.filter(|allocation| allocation.is_permitted(now, peer.ip())) else {
            self.counters.not_permitted += 1;
            return;
        };
        if data.len() > MAX_RELAYED {
            self.counters.overflow += 1;
            return;
        }
        let bytes = data.len() as u64;
        let channel = allocation.channel_of(now, peer);
        if !self.is_within_rates(now, client, data.len(), in_all) {
            return;
        }
        let sent = match channel {
            Some(number) => self.push(client, Some(channel_header(number, data.len())), data),
            None => {
                let id = TransactionId::random(&mut self.rng);
                let mut buffer = vec![0; HEADER_LEN + 24 + 4 + data.len().next_multiple_of(4)];
                let mut builder = MessageBuilder::new(&mut buffer, Class::Indication, Method::DATA, id);
                builder
                    .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                    .put(AttributeType::DATA, &data);
                let Ok(len) = builder.finish() else { return };
                buffer.truncate(len);
                self.push(client, None, buffer.into())
            }
        };
        if sent {
            self.counters.to_clients += 1;
            self.counters.bytes_to_clients += bytes;
        }
    }

    /// Whether the caps on what is relayed let one more datagram of this allocation through; counts it if they do. `in_all`:
    /// for the whole server too.
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
