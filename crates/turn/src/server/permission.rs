//! Permissions and channels (RFC 8656 §9, §10 and §12).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::Path;
use antiphon_stun::{AddressFamily, Class, Message};

use super::allocation::Bound;
use super::policy::PeerPolicy;
use super::request::{BAD_REQUEST, Caller, Refusal};
use super::state::Server;
use crate::channel_data::OLDER_CHANNEL_NUMBERS;

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
    pub(super) fn may_send(&self, ip: IpAddr) -> bool {
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
}
