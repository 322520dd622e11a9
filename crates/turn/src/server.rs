//! The server's state machine (RFC 8656): requests, permissions, channels, and the relaying itself.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Dscp, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{
    AddressFamily, AttributeType, Check, Class, HEADER_LEN, Key, Message, MessageBuilder, Method, TransactionId,
    is_stun,
};
use zeroize::Zeroizing;

use crate::allocation::{Allocation, Bound};
use crate::channel_data::{CHANNEL_HEADER_LEN, CHANNEL_NUMBERS, channel_header, parse_channel_data};
use crate::nonce::NonceSource;
use crate::policy::PeerPolicy;

/// The most datagrams that wait to be sent; later ones are dropped, as a network would drop them.
pub const MAX_QUEUE: usize = 1024;

/// The longest datagram that is relayed, in bytes.
pub const MAX_RELAYED: usize = 1500;

/// The UDP number of REQUESTED-TRANSPORT.
const UDP: u8 = 17;

/// How long the driver may take to open a relayed socket.
const BIND_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server needs to know.
#[derive(Clone)]
pub struct ServerConfig {
    /// The realm of the credentials.
    pub realm: String,
    /// Names and passwords.
    pub users: Vec<(String, Zeroizing<String>)>,
    /// Addresses on which sockets are opened to relay, at most one of each family.
    pub relay_addrs: Vec<IpAddr>,
    /// To whom it relays.
    pub policy: PeerPolicy,
    /// The most allocations in all.
    pub max_allocations: usize,
    /// The most allocations of one user.
    pub max_allocations_per_user: usize,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// The longest lifetime of an allocation that is granted.
    pub max_lifetime: Duration,
}

impl ServerConfig {
    /// A realm with nobody in it, relaying on these addresses.
    pub fn new(realm: impl Into<String>, relay_addrs: Vec<IpAddr>) -> Self {
        Self {
            realm: realm.into(),
            users: Vec::new(),
            relay_addrs,
            policy: PeerPolicy::default(),
            max_allocations: 10_000,
            max_allocations_per_user: 100,
            nonce_lifetime: Duration::from_secs(3600),
            max_lifetime: Duration::from_secs(3600),
        }
    }

    /// Adds a user.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), Zeroizing::new(password.into())));
        self
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What the server asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerRequest {
    /// Open a UDP socket on a free port of this address.
    BindRelay {
        /// Names the request in the answer.
        request: u32,
        /// The address.
        ip: IpAddr,
    },
    /// Close this relayed socket.
    Close(Local),
}

/// The driver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerAnswer {
    /// The socket is open.
    Bound {
        /// The request's number.
        request: u32,
        /// The driver's name for it, used for no other socket.
        local: Local,
        /// Its address as peers see it.
        addr: SocketAddr,
    },
    /// It could not be opened.
    Failed {
        /// The request's number.
        request: u32,
    },
}

/// What a server did and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerCounters {
    /// Not STUN, not ChannelData, or malformed.
    pub malformed: u64,
    /// Requests refused for want of good credentials.
    pub unauthorized: u64,
    /// Peers refused by the policy.
    pub denied_peers: u64,
    /// Datagrams dropped for want of a permission, a channel or an allocation.
    pub not_permitted: u64,
    /// Datagrams dropped because the queue was full or they were too long.
    pub overflow: u64,
    /// Datagrams relayed from clients to peers.
    pub to_peers: u64,
    /// Datagrams relayed from peers to clients.
    pub to_clients: u64,
}

/// An Allocate request that waits for its socket.
#[derive(Debug)]
struct Pending {
    request: u32,
    client: Path,
    id: TransactionId,
    username: String,
    key: Key,
    lifetime: Duration,
    deadline: Instant,
}

/// Who sent a request, as its credentials prove.
struct Caller {
    username: String,
    key: Key,
}

struct Refusal {
    code: u16,
    reason: &'static str,
    /// With REALM and NONCE.
    challenge: bool,
}

impl Refusal {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            challenge: false,
        }
    }

    const fn challenge(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            challenge: true,
        }
    }
}

/// A TURN server without sockets. Datagrams of clients and of relayed sockets both go to
/// [`handle_datagram`](Self::handle_datagram); the driver opens relayed sockets when [`poll_io`](Self::poll_io) says so.
pub struct Server {
    config: ServerConfig,
    nonces: NonceSource,
    allocations: Vec<Allocation>,
    pending: Vec<Pending>,
    queue: VecDeque<(Path, Vec<u8>)>,
    io: VecDeque<ServerRequest>,
    counters: ServerCounters,
    rng: Rng,
    next_request: u32,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("allocations", &self.allocations.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without allocations.
    pub fn new(config: ServerConfig, now: Instant, rng: Rng) -> Self {
        let mut rng = rng;
        let nonces = NonceSource::new(now, config.nonce_lifetime, &mut rng);
        Self {
            config,
            nonces,
            allocations: Vec::new(),
            pending: Vec::new(),
            queue: VecDeque::new(),
            io: VecDeque::new(),
            counters: ServerCounters::default(),
            rng,
            next_request: 0,
        }
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// What it did and refused.
    pub fn counters(&self) -> ServerCounters {
        self.counters
    }

    /// A datagram of a client, or of a peer on a relayed socket.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.expire(now);
        let Datagram { path, data, .. } = datagram;
        if let Some(index) = self.allocations.iter().position(|a| a.relay == path.local) {
            self.relay_to_client(now, index, path.remote, &data);
        } else if let Some((number, len)) = parse_channel_data(&data) {
            self.channel_data(now, path, number, &data[CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + len]);
        } else if is_stun(&data) {
            match Message::parse(&data) {
                Ok(message) if message.check_fingerprint() != Check::Invalid => self.message(now, path, &message),
                _ => self.counters.malformed += 1,
            }
        } else {
            self.counters.malformed += 1;
        }
    }

    fn message(&mut self, now: Instant, client: Path, message: &Message<'_>) {
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => {
                self.respond(client, message, None, Class::Success, |builder| {
                    builder.xor_mapped_address(client.remote);
                });
            }
            (Class::Request, _) => {
                if let Err(refusal) = self.request(now, client, message) {
                    self.refuse(now, client, message, &refusal, None);
                }
            }
            (Class::Indication, Method::SEND) => self.send_indication(now, client, message),
            _ => self.counters.malformed += 1,
        }
    }

    fn request(&mut self, now: Instant, client: Path, message: &Message<'_>) -> Result<(), Refusal> {
        let caller = self.authenticate(now, client, message)?;
        let outcome = if message.unknown_required().next().is_some()
            // RFC 8656 §7.2: what we cannot promise we do not understand.
            || message.get(AttributeType::DONT_FRAGMENT).is_some()
            || message.get(AttributeType::EVEN_PORT).is_some()
            || message.get(AttributeType::RESERVATION_TOKEN).is_some()
        {
            Err(Refusal::new(420, "Unknown Attribute"))
        } else {
            match message.method() {
                Method::ALLOCATE => self.allocate(now, client, message, &caller),
                Method::REFRESH => self.refresh(now, client, message, &caller),
                Method::CREATE_PERMISSION => self.create_permission(now, client, message, &caller),
                Method::CHANNEL_BIND => self.channel_bind(now, client, message, &caller),
                _ => Err(Refusal::new(400, "Bad Request")),
            }
        };
        if let Err(refusal) = outcome {
            self.refuse(now, client, message, &refusal, Some(&caller.key));
        }
        Ok(())
    }

    /// RFC 8489 §9.2.4.
    fn authenticate(&mut self, now: Instant, client: Path, message: &Message<'_>) -> Result<Caller, Refusal> {
        const UNAUTHORIZED: Refusal = Refusal::challenge(401, "Unauthorized");
        if !message.has_integrity() {
            self.counters.unauthorized += 1;
            return Err(UNAUTHORIZED);
        }
        let (Some(username), Some(realm), Some(nonce)) = (message.username(), message.realm(), message.nonce()) else {
            return Err(Refusal::new(400, "Bad Request"));
        };
        if !self.nonces.is_fresh(now, client.remote, nonce) {
            return Err(Refusal::challenge(438, "Stale Nonce"));
        }
        let user = self.config.users.iter().find(|(name, _)| name == username);
        let caller = user
            .filter(|_| realm == self.config.realm)
            .map(|(name, password)| Caller {
                username: name.clone(),
                key: Key::long_term(name, realm, password),
            });
        match caller {
            Some(caller) if message.check_integrity(&caller.key).is_valid() => Ok(caller),
            _ => {
                self.counters.unauthorized += 1;
                Err(UNAUTHORIZED)
            }
        }
    }

    /// RFC 8656 §7.2.
    fn allocate(&mut self, now: Instant, client: Path, message: &Message<'_>, caller: &Caller) -> Result<(), Refusal> {
        let id = message.transaction_id();
        if let Some(index) = self.allocations.iter().position(|a| a.client == client) {
            // Our answer was lost: the same again.
            if self.allocations[index].made_by == id {
                self.allocated(now, index);
                return Ok(());
            }
            return Err(Refusal::new(437, "Allocation Mismatch"));
        }
        if self.pending.iter().any(|pending| pending.client == client) {
            return Ok(());
        }
        match message.requested_transport() {
            Some(UDP) => {}
            Some(_) => return Err(Refusal::new(442, "Unsupported Transport Protocol")),
            None => return Err(Refusal::new(400, "Bad Request")),
        }
        let family = match message.requested_address_family() {
            None => AddressFamily::V4,
            Some(Some(family)) => family,
            Some(None) => return Err(Refusal::new(440, "Address Family not Supported")),
        };
        let relay = self
            .config
            .relay_addrs
            .iter()
            .find(|ip| AddressFamily::of(**ip) == family);
        let Some(&ip) = relay else {
            return Err(Refusal::new(440, "Address Family not Supported"));
        };
        let of_user = self
            .allocations
            .iter()
            .filter(|a| a.username == caller.username)
            .count()
            + self.pending.iter().filter(|p| p.username == caller.username).count();
        if of_user >= self.config.max_allocations_per_user {
            return Err(Refusal::new(486, "Allocation Quota Reached"));
        }
        if self.allocations.len() + self.pending.len() >= self.config.max_allocations {
            return Err(Refusal::new(508, "Insufficient Capacity"));
        }
        self.next_request += 1;
        let request = self.next_request;
        self.io.push_back(ServerRequest::BindRelay { request, ip });
        self.pending.push(Pending {
            request,
            client,
            id,
            username: caller.username.clone(),
            key: caller.key.clone(),
            lifetime: self.lifetime(message),
            deadline: now + BIND_TIMEOUT,
        });
        Ok(())
    }

    /// Ten minutes at least, if more than none is asked for (RFC 8656 §7.2).
    fn lifetime(&self, message: &Message<'_>) -> Duration {
        let wanted = Duration::from_secs(u64::from(message.lifetime().unwrap_or(600)));
        wanted.max(Duration::from_secs(600)).min(self.config.max_lifetime)
    }

    /// An answer of the driver.
    pub fn handle_io(&mut self, now: Instant, answer: ServerAnswer) {
        let (request, bound) = match answer {
            ServerAnswer::Bound { request, local, addr } => (request, Some((local, addr))),
            ServerAnswer::Failed { request } => (request, None),
        };
        let Some(index) = self.pending.iter().position(|pending| pending.request == request) else {
            if let Some((local, _)) = bound {
                self.io.push_back(ServerRequest::Close(local));
            }
            return;
        };
        let pending = self.pending.swap_remove(index);
        match bound {
            Some((relay, relayed)) => {
                self.allocations.push(Allocation::new(
                    pending.client,
                    pending.username,
                    pending.key,
                    relay,
                    relayed,
                    now + pending.lifetime,
                    pending.id,
                ));
                self.allocated(now, self.allocations.len() - 1);
            }
            None => {
                let key = pending.key;
                self.write(
                    pending.client,
                    pending.id,
                    Method::ALLOCATE,
                    Some(&key),
                    Class::Error,
                    |builder| {
                        builder.error_code(508, "Insufficient Capacity");
                    },
                );
            }
        }
    }

    fn allocated(&mut self, now: Instant, index: usize) {
        let allocation = &self.allocations[index];
        let (client, id, key, relayed) = (
            allocation.client,
            allocation.made_by,
            allocation.key.clone(),
            allocation.relayed,
        );
        let lifetime = allocation.expires.saturating_duration_since(now).as_secs() as u32;
        self.write(client, id, Method::ALLOCATE, Some(&key), Class::Success, |builder| {
            builder
                .xor_address(AttributeType::XOR_RELAYED_ADDRESS, relayed)
                .xor_mapped_address(client.remote)
                .lifetime(lifetime);
        });
    }

    /// The caller's allocation (RFC 8656 §5: by five-tuple, and only for who made it).
    fn own(&self, client: Path, caller: &Caller) -> Result<usize, Refusal> {
        let index = self
            .allocations
            .iter()
            .position(|a| a.client == client)
            .ok_or(Refusal::new(437, "Allocation Mismatch"))?;
        if self.allocations[index].username != caller.username {
            return Err(Refusal::new(441, "Wrong Credentials"));
        }
        Ok(index)
    }

    fn refresh(&mut self, now: Instant, client: Path, message: &Message<'_>, caller: &Caller) -> Result<(), Refusal> {
        let index = self.own(client, caller)?;
        let lifetime = if message.lifetime() == Some(0) {
            let allocation = self.allocations.swap_remove(index);
            self.io.push_back(ServerRequest::Close(allocation.relay));
            Duration::ZERO
        } else {
            let lifetime = self.lifetime(message);
            self.allocations[index].expires = now + lifetime;
            lifetime
        };
        self.respond(client, message, Some(&caller.key), Class::Success, |builder| {
            builder.lifetime(lifetime.as_secs() as u32);
        });
        Ok(())
    }

    /// Whether this allocation may relay to this address (V17).
    fn check_peer(&mut self, index: usize, peer: SocketAddr) -> Result<(), Refusal> {
        let relayed = self.allocations[index].relayed;
        if peer.is_ipv4() != relayed.is_ipv4() {
            return Err(Refusal::new(443, "Peer Address Family Mismatch"));
        }
        if !self.may_reach(peer.ip()) {
            self.counters.denied_peers += 1;
            return Err(Refusal::new(403, "Forbidden"));
        }
        Ok(())
    }

    /// Our own relayed addresses are reachable whatever network they are in: two clients may meet on one server. Their ports
    /// are checked for each datagram.
    fn may_reach(&self, ip: IpAddr) -> bool {
        self.allocations.iter().any(|a| a.relayed.ip() == ip) || self.config.policy.allows(ip)
    }

    fn create_permission(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let index = self.own(client, caller)?;
        // RFC 8656 §10.2: all or none.
        let peers: Option<Vec<SocketAddr>> = message.xor_peer_addresses().collect();
        let peers = peers
            .filter(|peers| !peers.is_empty())
            .ok_or(Refusal::new(400, "Bad Request"))?;
        for peer in &peers {
            self.check_peer(index, *peer)?;
        }
        for peer in &peers {
            if !self.allocations[index].permit(now, peer.ip()) {
                return Err(Refusal::new(508, "Insufficient Capacity"));
            }
        }
        self.respond(client, message, Some(&caller.key), Class::Success, |_| {});
        Ok(())
    }

    fn channel_bind(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let index = self.own(client, caller)?;
        let (Some(number), Some(peer)) = (message.channel_number(), message.xor_peer_address()) else {
            return Err(Refusal::new(400, "Bad Request"));
        };
        if !CHANNEL_NUMBERS.contains(&number) {
            return Err(Refusal::new(400, "Bad Request"));
        }
        self.check_peer(index, peer)?;
        let allocation = &mut self.allocations[index];
        match allocation.bind(now, number, peer) {
            Bound::Yes if allocation.permit(now, peer.ip()) => {}
            Bound::Conflict => return Err(Refusal::new(400, "Bad Request")),
            Bound::Yes | Bound::TooMany => return Err(Refusal::new(508, "Insufficient Capacity")),
        }
        self.respond(client, message, Some(&caller.key), Class::Success, |_| {});
        Ok(())
    }

    fn send_indication(&mut self, now: Instant, client: Path, message: &Message<'_>) {
        let allocation = self.allocations.iter().position(|a| a.client == client);
        match (allocation, message.xor_peer_address(), message.data()) {
            (Some(index), Some(peer), Some(data)) if message.unknown_required().next().is_none() => {
                self.relay_to_peer(now, index, peer, data);
            }
            _ => self.counters.not_permitted += 1,
        }
    }

    fn channel_data(&mut self, now: Instant, client: Path, number: u16, data: &[u8]) {
        let index = self.allocations.iter().position(|a| a.client == client);
        let found = index.and_then(|index| Some((index, self.allocations[index].peer_of(now, number)?)));
        match found {
            Some((index, peer)) => self.relay_to_peer(now, index, peer, data),
            None => self.counters.not_permitted += 1,
        }
    }

    fn relay_to_peer(&mut self, now: Instant, index: usize, peer: SocketAddr, data: &[u8]) {
        let allocation = &self.allocations[index];
        let permitted = allocation.is_permitted(now, peer.ip());
        // The policy again: the permission of an own address is for relayed ports alone (V17).
        let allowed = self.config.policy.allows(peer.ip()) || self.allocations.iter().any(|a| a.relayed == peer);
        if !permitted || !allowed || peer.port() == 0 {
            self.counters.not_permitted += 1;
            return;
        }
        let path = Path {
            local: allocation.relay,
            remote: peer,
        };
        if self.push(path, data.to_vec()) {
            self.counters.to_peers += 1;
        }
    }

    fn relay_to_client(&mut self, now: Instant, index: usize, peer: SocketAddr, data: &[u8]) {
        let allocation = &self.allocations[index];
        if !allocation.is_permitted(now, peer.ip()) || data.len() > MAX_RELAYED {
            self.counters.not_permitted += 1;
            return;
        }
        let client = allocation.client;
        let message = match allocation.channel_of(now, peer) {
            Some(number) => {
                let mut message = channel_header(number, data.len()).to_vec();
                message.extend_from_slice(data);
                // RFC 8656 §12.5: over a stream ChannelData is padded.
                if let Local::Tcp(_) = client.local {
                    message.resize(message.len().next_multiple_of(4), 0);
                }
                message
            }
            None => {
                let id = TransactionId::random(&mut self.rng);
                let mut buffer = vec![0; HEADER_LEN + 24 + 4 + data.len().next_multiple_of(4)];
                let mut builder = MessageBuilder::new(&mut buffer, Class::Indication, Method::DATA, id);
                builder
                    .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
                    .put(AttributeType::DATA, data);
                let Ok(len) = builder.finish() else { return };
                buffer.truncate(len);
                buffer
            }
        };
        if self.push(client, message) {
            self.counters.to_clients += 1;
        }
    }

    fn push(&mut self, path: Path, data: Vec<u8>) -> bool {
        let fits = self.queue.len() < MAX_QUEUE && data.len() <= MAX_RELAYED + 64;
        if fits {
            self.queue.push_back((path, data));
        } else {
            self.counters.overflow += 1;
        }
        fits
    }

    fn refuse(&mut self, now: Instant, client: Path, message: &Message<'_>, refusal: &Refusal, key: Option<&Key>) {
        let nonce = refusal.challenge.then(|| self.nonces.issue(now, client.remote));
        let realm = self.config.realm.clone();
        let unknown: Vec<AttributeType> = message.unknown_required().take(8).collect();
        self.respond(client, message, key, Class::Error, |builder| {
            builder.error_code(refusal.code, refusal.reason);
            if let Some(nonce) = &nonce {
                builder.realm(&realm).nonce(nonce.as_bytes());
            }
            if refusal.code == 420 {
                builder.unknown_attributes(&unknown);
            }
        });
    }

    fn respond(
        &mut self,
        client: Path,
        message: &Message<'_>,
        key: Option<&Key>,
        class: Class,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) {
        self.write(client, message.transaction_id(), message.method(), key, class, fill);
    }

    fn write(
        &mut self,
        client: Path,
        id: TransactionId,
        method: Method,
        key: Option<&Key>,
        class: Class,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) {
        let mut buffer = [0; 1024];
        let mut builder = MessageBuilder::new(&mut buffer, class, method, id);
        fill(&mut builder);
        if let Some(key) = key {
            builder.integrity(key);
        }
        builder.fingerprint();
        if let Ok(len) = builder.finish() {
            self.push(client, buffer[..len].to_vec());
        }
    }

    fn expire(&mut self, now: Instant) {
        self.pending.retain(|pending| pending.deadline > now);
        let mut index = 0;
        while index < self.allocations.len() {
            if self.allocations[index].expires <= now {
                let allocation = self.allocations.swap_remove(index);
                self.io.push_back(ServerRequest::Close(allocation.relay));
            } else {
                index += 1;
            }
        }
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let allocations = self.allocations.iter().map(|allocation| allocation.expires);
        allocations
            .chain(self.pending.iter().map(|pending| pending.deadline))
            .min()
    }

    /// What the server needs of the driver.
    pub fn poll_io(&mut self) -> Option<ServerRequest> {
        self.io.pop_front()
    }

    /// Writes the next datagram as a segment of its own. `path.local` is the client's socket or a relayed one.
    pub fn poll_transmit(&mut self, _now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        while let Some((path, data)) = self.queue.pop_front() {
            out.set_path_room(0, 0);
            if !out.begin(0, 0) {
                self.queue.push_front((path, data));
                return None;
            }
            if data.len() > out.remaining() {
                out.rollback();
                self.counters.overflow += 1;
                continue;
            }
            out.put_slice(&data);
            return Some(Transmit {
                path,
                range: out.finish(),
                segment_size: None,
                ecn: Ecn::NotEct,
                dscp: Dscp::default(),
            });
        }
        None
    }

    /// A client's TCP or TLS connection is gone, and with it the allocation made over it (RFC 8656 §3.1).
    pub fn handle_closed(&mut self, _now: Instant, local: Local) {
        self.pending.retain(|pending| pending.client.local != local);
        while let Some(index) = self.allocations.iter().position(|a| a.client.local == local) {
            let allocation = self.allocations.swap_remove(index);
            self.io.push_back(ServerRequest::Close(allocation.relay));
        }
    }

    /// From now on no allocation is made; those that exist go on.
    pub fn set_draining(&mut self) {
        self.config.max_allocations = 0;
    }

    /// Whether this client has an allocation.
    pub fn has_allocation(&self, client: &Path) -> bool {
        self.allocations.iter().any(|a| a.client == *client)
    }

    /// Ends every allocation.
    pub fn close(&mut self, _now: Instant) {
        self.pending.clear();
        self.queue.clear();
        for allocation in self.allocations.drain(..) {
            self.io.push_back(ServerRequest::Close(allocation.relay));
        }
    }
}
