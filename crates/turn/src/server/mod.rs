//! The server's state machine (RFC 8656).

mod allocate;
mod allocation;
mod authentication;
mod binding;
mod config;
mod nonce;
mod permission;
mod policy;
mod rate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use antiphon_sansio::{Bytes, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{
    AttributeType, Check, Class, HEADER_LEN, Key, Message, MessageBuilder, Method, TransactionId, is_stun,
};
use zeroize::Zeroizing;

pub use binding::BehaviourSockets;
pub use config::{ServerAnswer, ServerConfig, ServerCounters, ServerRequest, TimeLimited};
pub use policy::PeerPolicy;
pub use rate::Rate;

use crate::channel_data::{CHANNEL_HEADER_LEN, parse_channel_data};
use crate::login::prepared;
use allocate::{Pending, Reservation};
use allocation::Allocation;
use authentication::{Caller, Challenge, Denial, OFFERED, Refusal};
use nonce::{ANNOUNCING_LEN, NonceSource};
use rate::{Meter, RateLimit, Seen};

/// The most datagrams that wait to be sent; later ones are dropped, as a network would drop them.
pub const MAX_QUEUE: usize = 4096;

/// The most bytes that wait to be sent.
pub const MAX_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// An answer to a source that may be forged has at most this many tenths of its request's length, wherever the RFCs leave a choice
/// (V16): XOR-MAPPED-ADDRESS of an IPv6 client alone makes it that much.
pub const MAX_GAIN_TENTHS: usize = 22;

/// The longest datagram that is relayed, in bytes.
pub const MAX_RELAYED: usize = 1500;

/// Failed logins of one client: address and port.
const CLIENT_FAILURES: Rate = Rate {
    per_second: 1,
    burst: 5,
};

/// What waits to be sent: a ChannelData header if there is one, the data, padding.
struct Outgoing {
    path: Path,
    header: Option<[u8; CHANNEL_HEADER_LEN]>,
    data: Bytes,
}

impl Outgoing {
    /// RFC 8656 §12.5: over a stream ChannelData is padded.
    fn padding(&self) -> usize {
        match (self.header, self.path.local) {
            (Some(_), Local::Tcp(_)) => self.data.len().next_multiple_of(4) - self.data.len(),
            _ => 0,
        }
    }

    fn len(&self) -> usize {
        self.header.map_or(0, |header| header.len()) + self.data.len() + self.padding()
    }
}

/// A TURN server without sockets. Datagrams of clients and of relayed sockets both go to
/// [`handle_datagram`](Self::handle_datagram); the driver opens relayed sockets when [`poll_io`](Self::poll_io) says so.
///
/// What it keeps is bounded by the configuration's limits; whoever has not logged in makes it keep nothing.
pub struct Server {
    config: ServerConfig,
    users: BTreeMap<String, Zeroizing<String>>,
    /// SHA-256 of name and realm, for USERHASH.
    userhashes: BTreeMap<[u8; 32], String>,
    behaviour: Option<BehaviourSockets>,
    nonces: NonceSource,
    strangers: RateLimit,
    failures: RateLimit,
    /// Failed logins of one client: address and port.
    client_failures: RateLimit,
    /// Failed logins for one user from one address.
    resident_failures: RateLimit,
    /// Who logged in from which address.
    residents: Seen,
    /// Failed logins with a nonce that proves nothing about their source.
    unproven: RateLimit,
    allocations: BTreeMap<Path, Allocation>,
    /// Whose a relayed socket is.
    relays: BTreeMap<Local, Path>,
    /// The relayed addresses, for clients whose peers are clients of ours.
    relayed: BTreeMap<SocketAddr, Local>,
    expiries: BTreeSet<(Instant, Path)>,
    per_user: BTreeMap<String, Use>,
    per_source: BTreeMap<u128, usize>,
    relayed_in_all: Meter,
    pending: Vec<Pending>,
    reservations: BTreeMap<[u8; 8], Reservation>,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    io: VecDeque<ServerRequest>,
    counters: ServerCounters,
    rng: Rng,
    next_request: u32,
    draining: bool,
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

/// What one user has of the server.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    allocations: usize,
    relayed: Meter,
}

/// What of a request its answer repeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) id: TransactionId,
    method: Method,
    fingerprint: bool,
}

impl Asked {
    pub(super) fn in_request(message: &Message<'_>) -> Self {
        Self {
            id: message.transaction_id(),
            method: message.method(),
            fingerprint: message.has_fingerprint(),
        }
    }
}

impl Server {
    /// A server without allocations.
    pub fn new(mut config: ServerConfig, now: Instant, rng: Rng) -> Self {
        let mut rng = rng;
        let users: BTreeMap<_, _> = std::mem::take(&mut config.users)
            .into_iter()
            .map(|(name, password)| (prepared(&name), Zeroizing::new(prepared(&password))))
            .collect();
        // Names that expire are not known beforehand, so their hashes are not either.
        let anonymity = config.time_limited.is_none();
        let userhashes = users
            .keys()
            .filter(|_| anonymity)
            .map(|name| {
                let hash = antiphon_crypto::sha256(&[name.as_bytes(), b":", config.realm.as_bytes()]);
                (hash, name.clone())
            })
            .collect();
        Self {
            nonces: NonceSource::new(now, config.nonce_lifetime, anonymity, &mut rng),
            strangers: RateLimit::new(config.stranger_rate, now, &mut rng),
            failures: RateLimit::new(config.failure_rate, now, &mut rng),
            client_failures: RateLimit::for_clients(CLIENT_FAILURES, now, &mut rng),
            resident_failures: RateLimit::new(config.failure_rate, now, &mut rng),
            residents: Seen::new(&mut rng),
            unproven: RateLimit::new(config.failure_rate, now, &mut rng),
            config,
            users,
            userhashes,
            behaviour: None,
            allocations: BTreeMap::new(),
            relays: BTreeMap::new(),
            relayed: BTreeMap::new(),
            expiries: BTreeSet::new(),
            per_user: BTreeMap::new(),
            per_source: BTreeMap::new(),
            relayed_in_all: Meter::default(),
            pending: Vec::new(),
            reservations: BTreeMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            io: VecDeque::new(),
            counters: ServerCounters::default(),
            rng,
            next_request: 0,
            draining: false,
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

    /// From now on no allocation is made; those that exist go on.
    pub fn set_draining(&mut self) {
        self.draining = true;
    }

    /// Whether this client has an allocation.
    pub fn has_allocation(&self, client: &Path) -> bool {
        self.allocations.contains_key(client)
    }

    /// A datagram of a client, or of a peer on a relayed socket; over a stream, one whole message.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.expire(now);
        let Datagram { path, mut data, .. } = datagram;
        if let Some(&client) = self.relays.get(&path.local) {
            self.relay_to_client(now, client, path.remote, data.freeze());
        } else if let Local::Relay(_) = path.local {
            // A socket that was closed a moment ago.
            self.counters.not_permitted += 1;
        } else if let Some((number, len)) = parse_channel_data(&data) {
            let _header = data.split_to(CHANNEL_HEADER_LEN);
            data.truncate(len);
            self.channel_data(now, path, number, data.freeze());
        } else if is_stun(&data) {
            let data = data.freeze();
            match Message::parse(&data) {
                Ok(message) if message.check_fingerprint() != Check::Invalid => {
                    self.message(now, path, &message, &data);
                }
                _ => self.counters.malformed += 1,
            }
        } else {
            self.counters.malformed += 1;
        }
    }

    fn message(&mut self, now: Instant, client: Path, message: &Message<'_>, whole: &Bytes) {
        match (message.class(), message.method()) {
            (Class::Request, Method::BINDING) => self.binding(now, client, message),
            (Class::Request, Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND) => {
                match self.authenticate(now, client, message) {
                    Ok(caller) => {
                        if let Err(refusal) = self.request(now, client, message, &caller) {
                            self.refuse(now, client, message, &refusal, Some(&caller));
                        }
                    }
                    Err(Denial::Refusal(refusal)) => self.refuse(now, client, message, &refusal, None),
                    Err(Denial::Silence) => {}
                }
            }
            (Class::Indication, Method::SEND) => self.send_indication(now, client, message, whole),
            // A keepalive.
            (Class::Indication, Method::BINDING) => {}
            // RFC 8489 §6.3: a method that makes no sense here is dropped.
            _ => self.counters.malformed += 1,
        }
    }

    fn request(&mut self, now: Instant, client: Path, message: &Message<'_>, caller: &Caller) -> Result<(), Refusal> {
        if message.unknown_required().next().is_some() {
            return Err(Refusal::new(420, "Unknown Attribute"));
        }
        match message.method() {
            Method::ALLOCATE => self.allocate(now, client, message, caller),
            Method::REFRESH => self.refresh(now, client, message, caller),
            Method::CREATE_PERMISSION => self.create_permission(now, client, message, caller),
            Method::CHANNEL_BIND => self.channel_bind(now, client, message, caller),
            _ => Err(authentication::BAD_REQUEST),
        }
    }

    fn push(&mut self, path: Path, header: Option<[u8; CHANNEL_HEADER_LEN]>, data: Bytes) -> bool {
        let item = Outgoing { path, header, data };
        let fits = self.queue.len() < MAX_QUEUE && self.queued_bytes + item.len() <= MAX_QUEUE_BYTES;
        if fits {
            self.queued_bytes += item.len();
            self.queue.push_back(item);
        } else {
            self.counters.overflow += 1;
        }
        fits
    }

    fn refuse(
        &mut self,
        now: Instant,
        client: Path,
        message: &Message<'_>,
        refusal: &Refusal,
        caller: Option<&Caller>,
    ) {
        let realm = self.config.realm.clone();
        let algorithms = match refusal.challenge {
            Challenge::No => false,
            Challenge::First => self.has_room_for_algorithms(client, message),
            Challenge::Again => true,
        };
        let nonce = (refusal.challenge != Challenge::No).then(|| self.nonces.issue(now, client.remote, algorithms));
        let unknown: Vec<AttributeType> = match refusal.unserved {
            Some(kind) => vec![kind],
            None => message.unknown_required().take(8).collect(),
        };
        self.respond(client, message, caller, Class::Error, |builder| {
            // Words for who logged in: what anybody can have sent to anybody is short (V16).
            builder.error_code(refusal.code, if caller.is_some() { refusal.reason } else { "" });
            if let Some(nonce) = &nonce {
                builder.realm(&realm).nonce(nonce.as_bytes());
            }
            if algorithms {
                builder.put(AttributeType::PASSWORD_ALGORITHMS, &OFFERED);
            }
            if refusal.code == 420 {
                builder.unknown_attributes(&unknown);
            }
        });
    }

    /// How long an answer to this client may be, so that nobody gains much by forging its address.
    fn room_for_answer(&self, client: Path, request_len: usize) -> usize {
        // Who finished a TCP handshake, or logged in, is there.
        if matches!(client.local, Local::Tcp(_)) || self.allocations.contains_key(&client) {
            usize::MAX
        } else {
            request_len * MAX_GAIN_TENTHS / 10
        }
    }

    /// Whether a challenge with PASSWORD-ALGORITHMS, and the nonce that announces them, is not too long for this request.
    fn has_room_for_algorithms(&self, client: Path, message: &Message<'_>) -> bool {
        let attribute = |len: usize| 4 + len.next_multiple_of(4);
        let fingerprint = if message.has_fingerprint() { attribute(4) } else { 0 };
        let challenge = attribute(4) + attribute(self.config.realm.len()) + attribute(ANNOUNCING_LEN);
        let len = HEADER_LEN + challenge + attribute(OFFERED.len()) + fingerprint;
        len <= self.room_for_answer(client, message.as_bytes().len())
    }

    fn respond(
        &mut self,
        client: Path,
        message: &Message<'_>,
        caller: Option<&Caller>,
        class: Class,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) {
        let sign = caller.map(|caller| (&caller.key, caller.sha256));
        self.write(client, Asked::in_request(message), class, sign, fill);
    }

    fn write(
        &mut self,
        to: Path,
        asked: Asked,
        class: Class,
        sign: Option<(&Key, bool)>,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) {
        let mut buffer = [0; 2048];
        let mut builder = MessageBuilder::new(&mut buffer, class, asked.method, asked.id);
        fill(&mut builder);
        match sign {
            Some((key, true)) => _ = builder.integrity_sha256(key),
            Some((key, false)) => _ = builder.integrity(key),
            None => {}
        }
        // For who sent one: it is part of what makes an answer longer than its request (V16).
        if asked.fingerprint {
            builder.fingerprint();
        }
        if let Ok(len) = builder.finish() {
            self.push(to, None, Bytes::copy_from_slice(&buffer[..len]));
        }
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let allocations = self.expiries.first().map(|(at, _)| *at);
        let pending = self.pending.iter().map(|pending| pending.deadline);
        let reservations = self.reservations.values().map(|reservation| reservation.expires);
        allocations.into_iter().chain(pending).chain(reservations).min()
    }

    /// What the server needs of the driver.
    pub fn poll_io(&mut self) -> Option<ServerRequest> {
        self.io.pop_front()
    }

    /// Writes the next datagram as a segment of its own. `path.local` is the client's socket or a relayed one.
    pub fn poll_transmit(&mut self, _now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        while let Some(item) = self.queue.pop_front() {
            out.set_path_room(0, 0);
            if !out.begin(0, 0) {
                self.queue.push_front(item);
                return None;
            }
            self.queued_bytes -= item.len();
            if item.len() > out.remaining() {
                out.rollback();
                self.counters.overflow += 1;
                continue;
            }
            if let Some(header) = &item.header {
                out.put_slice(header);
            }
            out.put_slice(&item.data);
            out.put_zeros(item.padding());
            return Some(Transmit {
                path: item.path,
                range: out.finish(),
                segment_size: None,
                ecn: Ecn::NotEct,
            });
        }
        None
    }

    /// A client's TCP or TLS connection is gone, and with it the allocation made over it (RFC 8656 §3.1).
    pub fn handle_closed(&mut self, _now: Instant, local: Local) {
        let clients: Vec<Path> = self.allocations.keys().filter(|c| c.local == local).copied().collect();
        for client in clients {
            self.free(client);
        }
        self.drop_pending(|pending| pending.client.local == local);
    }

    /// Ends every allocation.
    pub fn close(&mut self, _now: Instant) {
        self.draining = true;
        self.queue.clear();
        self.queued_bytes = 0;
        let clients: Vec<Path> = self.allocations.keys().copied().collect();
        for client in clients {
            self.free(client);
        }
        self.drop_pending(|_| true);
        for reservation in std::mem::take(&mut self.reservations).into_values() {
            self.io.push_back(ServerRequest::Close(reservation.relay.local));
        }
    }
}
