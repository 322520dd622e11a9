//! What the operator of a server decides, and what passes between the server and its driver.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_sansio::{ClockAnchor, Local};
use zeroize::Zeroizing;

use super::policy::PeerPolicy;
use super::rate::Rate;

/// Credentials that expire, made by somebody who shares a secret with the server ("TURN REST API",
/// draft-uberti-behave-turn-rest): the username is `EXPIRY` or `EXPIRY:NAME` with the expiry in seconds of Unix time, the
/// password is the Base64 of HMAC-SHA1(secret, username).
#[derive(Clone)]
pub struct TimeLimited {
    /// The shared secret.
    pub secret: Zeroizing<String>,
    /// Wall-clock time, for the expiry.
    pub clock: ClockAnchor,
}

/// What a server needs to know.
#[derive(Clone)]
pub struct ServerConfig {
    /// The realm of the credentials.
    pub realm: String,
    /// Names and passwords.
    pub users: Vec<(String, Zeroizing<String>)>,
    /// Takes credentials that expire, besides `users`. An expired one makes no allocation; one that it made may go on.
    pub time_limited: Option<TimeLimited>,
    /// Addresses on which sockets are opened to relay, as peers see them, at most one of each family.
    pub relay_addrs: Vec<IpAddr>,
    /// Other addresses of the server's machine. To them, and to `relay_addrs`, nothing is sent unless the policy allows
    /// loopback: a client could otherwise reach behind the machine's firewall. Other clients' relayed addresses are reached
    /// inside the server.
    pub own_addrs: Vec<IpAddr>,
    /// To whom it relays.
    pub policy: PeerPolicy,
    /// The driver's relayed sockets set DF on every datagram, so DONT-FRAGMENT can be promised (RFC 8656 §18.9).
    pub dont_fragment: bool,
    /// The most allocations in all.
    pub max_allocations: usize,
    /// The most allocations of one user.
    pub max_allocations_per_user: usize,
    /// The most allocations from one address (of IPv6: from one /64).
    pub max_allocations_per_address: usize,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// The longest lifetime of an allocation that is granted at once; refreshing extends it.
    pub max_lifetime: Duration,
    /// How long an allocation may live in all, however often it is refreshed.
    pub max_age: Option<Duration>,
    /// With behaviour sockets: every answer to Binding has every attribute that RFC 5780 §6.1 asks for, though it then is up to
    /// 3.4 times as long as its request, over IPv6 5.8 times. Otherwise they are added as far as an answer of 2.2 times the length
    /// goes ([`MAX_GAIN_TENTHS`](crate::MAX_GAIN_TENTHS)): over IPv4 OTHER-ADDRESS always, RESPONSE-ORIGIN for requests of
    /// 28 bytes (CHANGE-REQUEST makes them that long), over IPv6 OTHER-ADDRESS for requests of 32.
    pub whole_discovery: bool,
    /// Answers to strangers, for each address: Binding, challenges, errors.
    pub stranger_rate: Rate,
    /// Failed logins, for each address (of IPv6: for each /64). Beyond it, passwords from there are looked at only of users who
    /// logged in from there within a day, each of whom has as many failures again; of credentials that expire, whose passwords
    /// nobody guesses; and of whoever has an allocation. No failure is answered then.
    ///
    /// One client (address and port) has 5 failures at once and one a second, so a single guesser behind a NAT does not use up
    /// what the address has.
    pub failure_rate: Rate,
    /// Relayed data of one allocation, both directions together, in bits a second; what is over is dropped. `None`: no limit.
    pub max_bps_allocation: Option<u64>,
    /// Of all allocations of one user together.
    pub max_bps_user: Option<u64>,
    /// Of the whole server.
    pub max_bps_total: Option<u64>,
}

impl ServerConfig {
    /// A realm with nobody in it, relaying on these addresses.
    pub fn new(realm: impl Into<String>, relay_addrs: Vec<IpAddr>) -> Self {
        Self {
            realm: realm.into(),
            users: Vec::new(),
            time_limited: None,
            relay_addrs,
            own_addrs: Vec::new(),
            policy: PeerPolicy::default(),
            dont_fragment: false,
            max_allocations: 10_000,
            max_allocations_per_user: 100,
            max_allocations_per_address: 1000,
            nonce_lifetime: Duration::from_secs(3600),
            max_lifetime: Duration::from_secs(3600),
            max_age: None,
            whole_discovery: false,
            stranger_rate: Rate {
                per_second: 200,
                burst: 400,
            },
            failure_rate: Rate {
                per_second: 10,
                burst: 100,
            },
            max_bps_allocation: None,
            max_bps_user: None,
            max_bps_total: None,
        }
    }

    /// Adds a user.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), Zeroizing::new(password.into())));
        self
    }

    /// Takes credentials that expire.
    pub fn shared_secret(mut self, secret: impl Into<String>, clock: ClockAnchor) -> Self {
        self.time_limited = Some(TimeLimited {
            secret: Zeroizing::new(secret.into()),
            clock,
        });
        self
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .field("time_limited", &self.time_limited.is_some())
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
        /// The address, as peers see it.
        ip: IpAddr,
    },
    /// Open a UDP socket on a free even port of this address (EVEN-PORT).
    BindEven {
        /// Names the request in the answer.
        request: u32,
        /// The address, as peers see it.
        ip: IpAddr,
        /// Open one on the next port too, and answer with both.
        and_next: bool,
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
    /// Both sockets of [`ServerRequest::BindEven`] are open.
    BoundPair {
        /// The request's number.
        request: u32,
        /// The socket with the even port, and its address.
        even: (Local, SocketAddr),
        /// The socket with the port above it, and its address.
        next: (Local, SocketAddr),
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
    /// Binding requests that were answered.
    pub bindings: u64,
    /// Allocations that were made.
    pub allocated: u64,
    /// Not STUN, not ChannelData, or malformed.
    pub malformed: u64,
    /// Requests refused for want of good credentials.
    pub unauthorized: u64,
    /// Requests with a nonce that was stale or not ours.
    pub stale_nonces: u64,
    /// Requests dropped because their source sent too many, or failed to log in too often.
    pub throttled: u64,
    /// Allocations refused by a quota.
    pub over_quota: u64,
    /// Peers refused by the policy.
    pub denied_peers: u64,
    /// Datagrams dropped for want of a permission, a channel or an allocation.
    pub not_permitted: u64,
    /// Datagrams dropped because the queue was full or they were too long.
    pub overflow: u64,
    /// Datagrams dropped because their allocation had relayed as much as it may.
    pub over_allocation_rate: u64,
    /// Datagrams dropped because the allocations of their user had.
    pub over_user_rate: u64,
    /// Datagrams dropped because the server had.
    pub over_total_rate: u64,
    /// The payloads of these three in bytes.
    pub bytes_over_rate: u64,
    /// Datagrams relayed from clients to peers.
    pub to_peers: u64,
    /// Datagrams relayed from peers to clients.
    pub to_clients: u64,
    /// Their payloads in bytes.
    pub bytes_to_peers: u64,
    /// Their payloads in bytes.
    pub bytes_to_clients: u64,
}

/// The four UDP sockets of NAT behaviour discovery (RFC 5780 §6): two addresses, each with the same two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BehaviourSockets {
    /// First address and first port; first address, second port; second address, first port; both second.
    pub sockets: [(Local, SocketAddr); 4],
}
