//! What the server keeps, and how it answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use antiphon_sansio::{Bytes, Local, Path, Rng};
use antiphon_stun::{AttributeType, Class, HEADER_LEN, Key, Message, MessageBuilder};
use foldhash::fast::FixedState;
use zeroize::Zeroizing;

use super::allocation::{Allocation, Pending, Reservation};
use super::config::{BehaviourSockets, ServerConfig, ServerCounters, ServerRequest};
use super::nonce::{ANNOUNCING_LEN, NonceSource};
use super::outbox::{Head, Outbox};
use super::rate::{Meter, Rate, RateLimit, Seen};
use super::request::{Asked, Caller, Challenge, OFFERED, Refusal};
use super::run::Run;
use crate::login::prepared;

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

/// How often strangers are answered, and how often a login may fail (V16, V18).
pub(super) struct Limits {
    pub(super) strangers: RateLimit,
    pub(super) failures: RateLimit,
    /// Failed logins of one client: address and port.
    pub(super) client_failures: RateLimit,
    /// Failed logins for one user from one address.
    pub(super) resident_failures: RateLimit,
    /// Who logged in from which address.
    pub(super) residents: Seen,
    /// Failed logins with a nonce that proves nothing about their source.
    pub(super) unproven: RateLimit,
}

impl Limits {
    fn new(config: &ServerConfig, now: Instant, rng: &mut Rng) -> Self {
        Self {
            strangers: RateLimit::new(config.stranger_rate, now, rng),
            failures: RateLimit::new(config.failure_rate, now, rng),
            client_failures: RateLimit::for_clients(CLIENT_FAILURES, now, rng),
            resident_failures: RateLimit::new(config.failure_rate, now, rng),
            residents: Seen::new(rng),
            unproven: RateLimit::new(config.failure_rate, now, rng),
        }
    }
}

/// A TURN server without sockets. Datagrams of clients and of relayed sockets both go to
/// [`handle_datagram`](Self::handle_datagram); the driver opens relayed sockets when [`poll_io`](Self::poll_io) says so.
///
/// What it keeps is bounded by the configuration's limits; whoever has not logged in makes it keep nothing.
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) users: BTreeMap<String, Zeroizing<String>>,
    /// SHA-256 of name and realm, for USERHASH.
    pub(super) userhashes: BTreeMap<[u8; 32], String>,
    pub(super) behaviour: Option<BehaviourSockets>,
    pub(super) nonces: NonceSource,
    pub(super) limits: Limits,
    /// These three are asked for each run of datagrams, by whoever has logged in: their hashes have a secret seed.
    pub(super) allocations: HashMap<Path, Allocation, FixedState>,
    /// Whose a relayed socket is.
    pub(super) relays: HashMap<Local, Path, FixedState>,
    /// The relayed addresses, for clients whose peers are clients of ours.
    pub(super) relayed: HashMap<SocketAddr, Local, FixedState>,
    pub(super) expiries: BTreeSet<(Instant, Path)>,
    pub(super) per_user: BTreeMap<String, Use>,
    pub(super) per_source: BTreeMap<u128, usize>,
    pub(super) relayed_in_all: Meter,
    pub(super) pending: Vec<Pending>,
    pub(super) reservations: BTreeMap<[u8; 8], Reservation>,
    pub(super) outbox: Outbox,
    pub(super) io: VecDeque<ServerRequest>,
    pub(super) counters: ServerCounters,
    pub(super) rng: Rng,
    pub(super) next_request: u32,
    pub(super) draining: bool,
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
pub(super) struct Use {
    pub(super) allocations: usize,
    pub(super) relayed: Meter,
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
            limits: Limits::new(&config, now, &mut rng),
            config,
            users,
            userhashes,
            behaviour: None,
            allocations: HashMap::with_hasher(FixedState::with_seed(rng.u64())),
            relays: HashMap::with_hasher(FixedState::with_seed(rng.u64())),
            relayed: HashMap::with_hasher(FixedState::with_seed(rng.u64())),
            expiries: BTreeSet::new(),
            per_user: BTreeMap::new(),
            per_source: BTreeMap::new(),
            relayed_in_all: Meter::default(),
            pending: Vec::new(),
            reservations: BTreeMap::new(),
            outbox: Outbox::new(&mut rng),
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

    /// Has these datagrams sent, as far as there is room; how many there was room for, and their bytes of data.
    pub(super) fn push(&mut self, path: Path, head: Head, run: Run) -> (usize, usize) {
        let count = run.count();
        let taken = self.outbox.push(path, head, run);
        self.counters.overflow += (count - taken.0) as u64;
        taken
    }

    pub(super) fn refuse(
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
    pub(super) fn room_for_answer(&self, client: Path, request_len: usize) -> usize {
        // Who finished a TCP handshake, or logged in, is there.
        if matches!(client.local, Local::Tcp(_)) || self.allocations.contains_key(&client) {
            usize::MAX
        } else {
            request_len * MAX_GAIN_TENTHS / 10
        }
    }

    /// Whether a challenge with PASSWORD-ALGORITHMS, and the nonce that announces them, is not too long for this
    /// request.
    fn has_room_for_algorithms(&self, client: Path, message: &Message<'_>) -> bool {
        let attribute = |len: usize| 4 + len.next_multiple_of(4);
        let fingerprint = if message.has_fingerprint() { attribute(4) } else { 0 };
        let challenge = attribute(4) + attribute(self.config.realm.len()) + attribute(ANNOUNCING_LEN);
        let len = HEADER_LEN + challenge + attribute(OFFERED.len()) + fingerprint;
        len <= self.room_for_answer(client, message.as_bytes().len())
    }

    pub(super) fn respond(
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

    pub(super) fn write(
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
            let message = Bytes::copy_from_slice(&buffer[..len]);
            self.push(to, Head::None, Run::one(message));
        }
    }
}
