//! Allocate and Refresh (RFC 8656 §7 and §8), quotas, and the end of allocations.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::Path;
use antiphon_stun::{AddressFamily, AttributeType, Class, Message};

use super::allocation::{Allocation, Pending, Relayed, Reservation};
use super::config::{ServerAnswer, ServerRequest};
use super::rate::source_key;
use super::request::{Asked, BAD_REQUEST, Caller, Refusal};
use super::state::Server;

/// The UDP number of REQUESTED-TRANSPORT.
const UDP: u8 = 17;

/// How long the driver may take to open a relayed socket.
const BIND_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a reserved port waits for its allocation (RFC 8656 §7.2: 30 seconds at least).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);

/// The most requests that wait for sockets.
const MAX_PENDING: usize = 1024;

/// The most ports that wait for their allocation.
const MAX_RESERVATIONS: usize = 256;

pub(super) const MISMATCH: Refusal = Refusal::new(437, "Allocation Mismatch");
const CAPACITY: Refusal = Refusal::new(508, "Insufficient Capacity");
const FAMILY: Refusal = Refusal::new(440, "Address Family not Supported");
const QUOTA: Refusal = Refusal::new(486, "Allocation Quota Reached");

/// What an Allocate request asks for.
enum Wanted {
    Reserved([u8; 8]),
    Even { and_next: bool },
    Any,
}

impl Server {
    /// RFC 8656 §7.2.
    pub(super) fn allocate(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let asked = Asked::in_request(message);
        if let Some(allocation) = self.allocations.get(&client) {
            // Our answer was lost: the same again.
            if allocation.made_by.id == asked.id {
                self.allocated(now, client);
                return Ok(());
            }
            return Err(MISMATCH);
        }
        if self.pending.iter().any(|pending| pending.client == client) {
            return Ok(());
        }
        match message.requested_transport() {
            Some(UDP) => {}
            Some(_) => return Err(Refusal::new(442, "Unsupported Transport Protocol")),
            None => return Err(BAD_REQUEST),
        }
        if !self.config.dont_fragment && message.get(AttributeType::DONT_FRAGMENT).is_some() {
            return Err(Refusal::unserved(AttributeType::DONT_FRAGMENT));
        }
        let (wanted, families) = self.wanted(message)?;
        let (relays, missing) = self.relay_addresses(&families)?;
        if self.draining || self.pending.len() >= MAX_PENDING {
            return Err(CAPACITY);
        }
        self.charge(now, client, caller)?;
        let mut pending = Pending {
            client,
            caller: caller.clone(),
            asked,
            lifetime: self.lifetime(message),
            deadline: now + BIND_TIMEOUT,
            waiting: Vec::new(),
            relays: Vec::new(),
            missing,
            token: None,
        };
        if let Wanted::Reserved(token) = wanted {
            // RFC 8656 §7.2: 508 for a token that is not there; it is its user's alone.
            match self.reservations.get(&token) {
                Some(reservation) if reservation.username == caller.username => {}
                _ => {
                    self.uncharge(client, caller);
                    return Err(CAPACITY);
                }
            }
            pending
                .relays
                .extend(self.reservations.remove(&token).map(|reservation| reservation.relay));
            self.finish(now, pending);
            return Ok(());
        }
        for (family, ip) in relays {
            self.next_request = self.next_request.wrapping_add(1);
            let request = self.next_request;
            self.io.push_back(match wanted {
                Wanted::Even { and_next } => ServerRequest::BindEven { request, ip, and_next },
                _ => ServerRequest::BindRelay { request, ip },
            });
            pending.waiting.push((request, family));
        }
        self.pending.push(pending);
        Ok(())
    }

    /// The addresses to bind for these families, and the family that we have none of.
    #[allow(clippy::type_complexity)]
    fn relay_addresses(
        &self,
        families: &[AddressFamily],
    ) -> Result<(Vec<(AddressFamily, IpAddr)>, Option<(AddressFamily, u16)>), Refusal> {
        let mut missing = None;
        let mut relays = Vec::new();
        for &family in families {
            let mut ours = self.config.relay_addrs.iter();
            match ours.find(|ip| AddressFamily::of(**ip) == family) {
                Some(&ip) => relays.push((family, ip)),
                None => missing = Some((family, FAMILY.code)),
            }
        }
        if relays.is_empty() {
            return Err(FAMILY);
        }
        Ok((relays, missing))
    }

    /// Which sockets the request wants, and of which families; what excludes what (RFC 8656 §7.2, items 5 to 8).
    fn wanted(&self, message: &Message<'_>) -> Result<(Wanted, Vec<AddressFamily>), Refusal> {
        let requested = message.get(AttributeType::REQUESTED_ADDRESS_FAMILY).is_some();
        let additional = message.get(AttributeType::ADDITIONAL_ADDRESS_FAMILY);
        let even = message.get(AttributeType::EVEN_PORT).is_some();
        if message.get(AttributeType::RESERVATION_TOKEN).is_some() {
            let token = message.reservation_token().ok_or(BAD_REQUEST)?;
            if even || requested || additional.is_some() {
                return Err(BAD_REQUEST);
            }
            let family = self
                .reservations
                .get(&token)
                .map(|reservation| AddressFamily::of(reservation.relay.addr.ip()))
                .ok_or(CAPACITY)?;
            return Ok((Wanted::Reserved(token), vec![family]));
        }
        let wanted = match (even, message.even_port()) {
            (false, _) => Wanted::Any,
            (true, Some(and_next)) => Wanted::Even { and_next },
            (true, None) => return Err(BAD_REQUEST),
        };
        let families = match (requested, additional) {
            (true, Some(_)) => return Err(BAD_REQUEST),
            (true, None) => match message.requested_address_family() {
                Some(Some(family)) => vec![family],
                Some(None) => return Err(FAMILY),
                None => return Err(BAD_REQUEST),
            },
            // RFC 8656 §18.11: only IPv6 can be additional, and no port can be reserved beside it.
            (false, Some([2, _, _, _])) => {
                if matches!(wanted, Wanted::Even { and_next: true }) {
                    return Err(BAD_REQUEST);
                }
                vec![AddressFamily::V4, AddressFamily::V6]
            }
            (false, Some(_)) => return Err(BAD_REQUEST),
            (false, None) => vec![AddressFamily::V4],
        };
        Ok((wanted, families))
    }

    /// Counts one allocation for its user and its source, or says that they have enough (V18).
    fn charge(&mut self, now: Instant, client: Path, caller: &Caller) -> Result<(), Refusal> {
        let source = source_key(client.remote.ip());
        let of_user = self
            .per_user
            .get(caller.quota_name())
            .map_or(0, |used| used.allocations);
        let of_source = self.per_source.get(&source).copied().unwrap_or(0);
        if of_user >= self.config.max_allocations_per_user || of_source >= self.config.max_allocations_per_address {
            self.counters.over_quota += 1;
            return Err(QUOTA);
        }
        if self.allocations.len() + self.pending.len() >= self.config.max_allocations {
            self.counters.over_quota += 1;
            return Err(CAPACITY);
        }
        // Who has no allocation any more is remembered until what was relayed would have passed at the capped rate: otherwise a new
        // allocation would begin with a new second's worth.
        let most = self.config.max_allocations.saturating_mul(2);
        if self.per_user.len() > most {
            self.per_user
                .retain(|_, used| used.allocations > 0 || !used.relayed.is_clear(now));
        }
        if self.per_user.len() > most {
            self.per_user.retain(|_, used| used.allocations > 0);
        }
        self.per_user
            .entry(caller.quota_name().to_owned())
            .or_default()
            .allocations += 1;
        self.per_source.insert(source, of_source + 1);
        Ok(())
    }

    fn uncharge(&mut self, client: Path, caller: &Caller) {
        let source = source_key(client.remote.ip());
        match self.per_user.get_mut(caller.quota_name()) {
            Some(used) if used.allocations > 1 || self.config.max_bps_user.is_some() => {
                used.allocations = used.allocations.saturating_sub(1);
            }
            _ => _ = self.per_user.remove(caller.quota_name()),
        }
        match self.per_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.per_source.remove(&source),
        }
    }

    /// Ten minutes at least, if more than none is asked for (RFC 8656 §7.2).
    fn lifetime(&self, message: &Message<'_>) -> Duration {
        let wanted = Duration::from_secs(u64::from(message.lifetime().unwrap_or(600)));
        wanted.max(Duration::from_secs(600)).min(self.config.max_lifetime)
    }

    /// An answer of the driver.
    pub fn handle_io(&mut self, now: Instant, answer: ServerAnswer) {
        let (request, bound) = match answer {
            ServerAnswer::Bound { request, local, addr } => (request, vec![Relayed { local, addr }]),
            ServerAnswer::BoundPair { request, even, next } => {
                let pair = [even, next].map(|(local, addr)| Relayed { local, addr });
                (request, pair.to_vec())
            }
            ServerAnswer::Failed { request } => (request, Vec::new()),
        };
        let position = self
            .pending
            .iter()
            .position(|pending| pending.waiting.iter().any(|(waiting, _)| *waiting == request));
        let Some(position) = position else {
            // Too late: nobody waits for it any more.
            for relay in bound {
                self.io.push_back(ServerRequest::Close(relay.local));
            }
            return;
        };
        let pending = &mut self.pending[position];
        let waiting = pending.waiting.iter().position(|(waiting, _)| *waiting == request);
        let family = waiting.map(|at| pending.waiting.swap_remove(at).1);
        let mut bound = bound.into_iter();
        match (bound.next(), family) {
            (Some(relay), _) => pending.relays.push(relay),
            (None, Some(family)) => pending.missing = Some((family, CAPACITY.code)),
            (None, None) => {}
        }
        if let Some(next) = bound.next() {
            let username = pending.caller.username.clone();
            let token = self.rng.array();
            if self.reservations.len() < MAX_RESERVATIONS {
                self.pending[position].token = Some(token);
                let expires = now + RESERVATION_LIFETIME;
                let reservation = Reservation {
                    relay: next,
                    username,
                    expires,
                };
                self.reservations.insert(token, reservation);
            } else {
                self.io.push_back(ServerRequest::Close(next.local));
            }
        }
        if self.pending[position].waiting.is_empty() {
            let pending = self.pending.swap_remove(position);
            self.finish(now, pending);
        }
    }

    /// Every socket that could be had is there.
    fn finish(&mut self, now: Instant, mut pending: Pending) {
        let (client, caller) = (pending.client, pending.caller);
        if pending.relays.is_empty() {
            self.uncharge(client, &caller);
            let sign = Some((&caller.key, caller.sha256));
            self.write(client, pending.asked, Class::Error, sign, |builder| {
                builder.error_code(CAPACITY.code, CAPACITY.reason);
            });
            return;
        }
        pending.relays.sort_by_key(|relay| relay.addr.is_ipv6());
        for relay in &pending.relays {
            self.relays.insert(relay.local, client);
            self.relayed.insert(relay.addr, relay.local);
        }
        let expires = now + pending.lifetime;
        let mut allocation = Allocation::new(caller, pending.relays, expires, pending.asked);
        allocation.missing = pending.missing;
        allocation.token = pending.token;
        allocation.ends = self.config.max_age.map(|age| now + age);
        allocation.expires = allocation.ends.map_or(expires, |ends| ends.min(expires));
        self.expiries.insert((allocation.expires, client));
        self.allocations.insert(client, allocation);
        self.counters.allocated += 1;
        self.allocated(now, client);
    }

    /// The good answer to Allocate.
    fn allocated(&mut self, now: Instant, client: Path) {
        let Some(allocation) = self.allocations.get(&client) else {
            return;
        };
        let (caller, relays) = (allocation.caller.clone(), allocation.relays.clone());
        let (asked, token, missing) = (allocation.made_by, allocation.token, allocation.missing);
        let lifetime = allocation.expires.saturating_duration_since(now).as_secs() as u32;
        let sign = Some((&caller.key, caller.sha256));
        self.write(client, asked, Class::Success, sign, |builder| {
            for relay in &relays {
                builder.xor_address(AttributeType::XOR_RELAYED_ADDRESS, relay.addr);
            }
            builder.lifetime(lifetime).xor_mapped_address(client.remote);
            if let Some(token) = &token {
                builder.put(AttributeType::RESERVATION_TOKEN, token);
            }
            if let Some((family, code)) = missing {
                // RFC 8656 §18.12: family (8), reserved (13), class (3), number (8).
                let value = [family.number(), 0, (code / 100) as u8, (code % 100) as u8];
                builder.put(AttributeType::ADDRESS_ERROR_CODE, &value);
            }
        });
    }

    /// Whether the caller has an allocation here, and it is the caller's.
    pub(super) fn own(&self, client: Path, caller: &Caller) -> Result<(), Refusal> {
        match self.allocations.get(&client) {
            None => Err(MISMATCH),
            Some(allocation) if allocation.caller.username != caller.username => {
                Err(Refusal::new(441, "Wrong Credentials"))
            }
            Some(_) => Ok(()),
        }
    }

    /// RFC 8656 §8.2.
    pub(super) fn refresh(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        self.own(client, caller)?;
        let family = match message.get(AttributeType::REQUESTED_ADDRESS_FAMILY) {
            None => None,
            Some(_) => Some(message.requested_address_family().flatten().ok_or(BAD_REQUEST)?),
        };
        let granted = self.lifetime(message);
        let Some(allocation) = self.allocations.get_mut(&client) else {
            return Ok(());
        };
        if family.is_some_and(|family| allocation.relay_of(family).is_none()) {
            return Err(Refusal::new(443, "Peer Address Family Mismatch"));
        }
        let lifetime = if message.lifetime() != Some(0) {
            self.expiries.remove(&(allocation.expires, client));
            let expires = now + granted;
            allocation.expires = allocation.ends.map_or(expires, |ends| ends.min(expires));
            self.expiries.insert((allocation.expires, client));
            allocation.expires.saturating_duration_since(now)
        } else {
            match family.and_then(|family| allocation.relay_of(family)) {
                // One of two families: the other stays.
                Some(relay) if allocation.relays.len() > 1 => {
                    allocation.relays.retain(|other| *other != relay);
                    self.free_relay(relay);
                }
                _ => self.free(client),
            }
            Duration::ZERO
        };
        self.respond(client, message, Some(caller), Class::Success, |builder| {
            builder.lifetime(lifetime.as_secs() as u32);
        });
        Ok(())
    }

    fn free_relay(&mut self, relay: Relayed) {
        self.relays.remove(&relay.local);
        self.relayed.remove(&relay.addr);
        self.io.push_back(ServerRequest::Close(relay.local));
    }

    /// Ends an allocation.
    pub(super) fn free(&mut self, client: Path) {
        let Some(allocation) = self.allocations.remove(&client) else {
            return;
        };
        self.expiries.remove(&(allocation.expires, client));
        self.uncharge(client, &allocation.caller);
        for relay in allocation.relays {
            self.free_relay(relay);
        }
    }

    /// Ends the allocations of these clients.
    pub(super) fn free_all(&mut self, doomed: impl Fn(&Path) -> bool) {
        let mut clients: Vec<Path> = self
            .allocations
            .keys()
            .filter(|client| doomed(client))
            .copied()
            .collect();
        // The map's own order is none to rely on.
        clients.sort_unstable();
        for client in clients {
            self.free(client);
        }
    }

    /// Gives up requests that wait for sockets; those that come later are closed.
    pub(super) fn drop_pending(&mut self, doomed: impl Fn(&Pending) -> bool) {
        let mut index = 0;
        while index < self.pending.len() {
            if !doomed(&self.pending[index]) {
                index += 1;
                continue;
            }
            let pending = self.pending.swap_remove(index);
            self.uncharge(pending.client, &pending.caller);
            for relay in pending.relays {
                self.io.push_back(ServerRequest::Close(relay.local));
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, client)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.free(client);
        }
        if self.pending.iter().any(|pending| pending.deadline <= now) {
            self.drop_pending(|pending| pending.deadline <= now);
        }
        if self.reservations.values().any(|reservation| reservation.expires <= now) {
            let io = &mut self.io;
            self.reservations.retain(|_, reservation| {
                let keep = reservation.expires > now;
                if !keep {
                    io.push_back(ServerRequest::Close(reservation.relay.local));
                }
                keep
            });
        }
    }
}
