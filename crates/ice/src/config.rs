//! What an agent is told before it starts.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroize;

use crate::contacts::ContactBudget;
use crate::error::{CredentialsError, UrlError};
use crate::filter::{AddressRange, NatMapping, NetworkTypes, TcpCandidates};

/// Who nominates (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nominates the pair that is used. The offerer, unless only the other end is lite.
    Controlling,
    /// Follows the other end's choice.
    Controlled,
}

impl Role {
    /// The other role.
    pub fn opposite(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

/// Which candidates may be used (W3C `RTCIceTransportPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportPolicy {
    /// All of them.
    #[default]
    All,
    /// Relayed ones only: the peer never learns our address.
    Relay,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// Tells us our address.
    Stun,
    /// Relays for us.
    Turn,
}

/// The URL of a STUN or TURN server (RFC 7064, RFC 7065): `stun:host:port`, `turn:host:port?transport=udp`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    /// Whether it tells us our address or relays for us.
    pub kind: ServerKind,
    /// The transport by which it is reached.
    pub transport: ServerTransport,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// The port: 3478, or 5349 with TLS, unless the URL says otherwise.
    pub port: u16,
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // Blanks around it, and one behind the colon, are a habit of people who type: nothing else can be meant.
        let (scheme, rest) = text.trim().split_once(':').ok_or(UrlError::Scheme)?;
        let rest = rest.trim_start();
        let (kind, secure) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (ServerKind::Stun, false),
            "stuns" => (ServerKind::Stun, true),
            "turn" => (ServerKind::Turn, false),
            "turns" => (ServerKind::Turn, true),
            _ => return Err(UrlError::Scheme),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let stream = match query {
            None => secure,
            // RFC 7064 §3.1: a stun URL has no query.
            Some(_) if kind == ServerKind::Stun => return Err(UrlError::Query),
            Some("transport=udp") => false,
            Some("transport=tcp") => true,
            Some(_) => return Err(UrlError::Query),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(UrlError::Host)?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(UrlError::Host);
                }
                match after {
                    "" => (host, None),
                    _ => (host, Some(after.strip_prefix(':').ok_or(UrlError::Host)?)),
                }
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let plausible = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || host.len() > crate::candidate::MAX_NAME_LEN || !host.bytes().all(plausible) {
            return Err(UrlError::Host);
        }
        let port = match port {
            None => {
                if secure {
                    5349
                } else {
                    3478
                }
            }
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(UrlError::Port),
            },
        };
        let transport = match (secure, stream) {
            (true, true) => ServerTransport::Tls,
            (false, true) => ServerTransport::Tcp,
            (false, false) => ServerTransport::Udp,
            // RFC 7065 §3.1 leaves turns over UDP to DTLS, which nobody serves.
            (true, false) => return Err(UrlError::Query),
        };
        Ok(Self {
            kind,
            transport,
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.kind, self.transport) {
            (ServerKind::Stun, ServerTransport::Tls) => "stuns",
            (ServerKind::Stun, _) => "stun",
            (ServerKind::Turn, ServerTransport::Tls) => "turns",
            (ServerKind::Turn, _) => "turn",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{scheme}:{}:{}", self.host, self.port)?;
        }
        match (self.kind, self.transport) {
            (ServerKind::Stun, _) => Ok(()),
            (ServerKind::Turn, ServerTransport::Udp) => f.write_str("?transport=udp"),
            (ServerKind::Turn, _) => f.write_str("?transport=tcp"),
        }
    }
}

/// One entry of W3C `iceServers`, its URLs parsed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// Its URLs: the same server by several transports or names.
    pub urls: Vec<ServerUrl>,
    /// The user name for TURN (RFC 8489 §9.2); empty for STUN.
    pub username: String,
    /// The password for TURN; empty for STUN. Never printed.
    pub credential: String,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// A user fragment and a password (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user fragment, 4 to 256 characters.
    pub ufrag: String,
    /// The password, 22 to 256 characters.
    pub password: String,
}

impl Credentials {
    /// Checks the lengths that RFC 8839 §5.4 demands.
    ///
    /// # Errors
    /// If the user fragment is not 4 to 256 characters, or the password not 22 to 256.
    pub fn new(ufrag: impl Into<String>, password: impl Into<String>) -> Result<Self, CredentialsError> {
        let credentials = Self {
            ufrag: ufrag.into(),
            password: password.into(),
        };
        if !(4..=256).contains(&credentials.ufrag.len()) {
            return Err(CredentialsError::Ufrag);
        }
        if !(22..=256).contains(&credentials.password.len()) {
            return Err(CredentialsError::Password);
        }
        Ok(credentials)
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// How fast an agent sends, and how long it waits.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Ta (RFC 8445 §14.2): the mean time between two new STUN transactions of this agent. Default 50 ms, at least 5
    /// ms.
    pub pacing: Duration,
    /// How many transactions may start at once after a pause; Ta holds on average. Default 5.
    pub burst: u32,
    /// How long after an unanswered check a fresh one, a new transaction, may be sent if a slot of the pacer is free.
    /// Default 50 ms, which is Ta: with one pair nothing else would use the slots. After four it doubles.
    pub recheck_interval: Duration,
    /// How long a pair is checked before it fails. Default 39.5 s (Rc = 7, Rm = 16, RFC 8489 §6.2.1).
    pub check_timeout: Duration,
    /// How long the agent waits before it declares failure (RFC 8863 §4). Default 39.5 s.
    pub patience: Duration,
    /// How long the controlling agent waits for a better pair once one is valid. Default 200 ms; a pair that cannot be
    /// bettered is nominated at once.
    pub nomination_delay: Duration,
    /// The mean time between two consent checks (RFC 7675 §5.1), drawn from 0.8 to 1.2 of it. Default 5 s.
    pub consent_interval: Duration,
    /// Without an answer for this long consent is gone (RFC 7675 §5.1). Default 30 s.
    pub consent_timeout: Duration,
    /// When a consent check and those that follow it are not answered for this long, the state is `Disconnected`.
    /// Default 5 s, which is 5 to 11 s after the last datagram came through.
    pub disconnected_timeout: Duration,
}

/// What an agent is told before it starts. `Config::default()` suits a browser peer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The role at the start; a conflict may change it.
    pub role: Role,
    /// Whether we are a lite agent (RFC 8445 §2.5): host candidates only, answers but never asks.
    pub lite: bool,
    /// The STUN and TURN servers to ask; at most [`MAX_SERVERS`](crate::MAX_SERVERS) addresses of them.
    pub servers: Vec<IceServer>,
    /// Which candidates may be used.
    pub transport_policy: TransportPolicy,
    /// Whether addresses of the loopback interface become candidates.
    pub include_loopback: bool,
    /// Whether IPv6 link-local addresses become candidates. Without a scope they work on few machines.
    pub include_link_local: bool,
    /// Which transports and families host candidates have.
    pub network_types: NetworkTypes,
    /// If there are any, only interface addresses in one of these become candidates.
    pub allowed_addresses: Vec<AddressRange>,
    /// Interface addresses in one of these do not become candidates.
    pub denied_addresses: Vec<AddressRange>,
    /// The port asked for in every `BindUdp` and `ListenTcp`; 0 lets the driver choose.
    pub port: u16,
    /// With `port: 0`: ports are drawn from this range, and those that are taken are passed over.
    pub port_range: Option<RangeInclusive<u16>>,
    /// Which TCP candidates are gathered (RFC 6544).
    pub tcp: TcpCandidates,
    /// Addresses under which NATs that we know map ours.
    pub nat_mappings: Vec<NatMapping>,
    /// Host candidates name a random `.local` name instead of the address (draft-ietf-mmusic-mdns-ice-candidates), for
    /// whose publication the driver is asked. Reflexive candidates hide their base.
    pub hide_host_addresses: bool,
    /// Interfaces are watched: one that comes gives new candidates, even after gathering is complete, and one that goes
    /// takes its own along; the connection moves to another pair. Default true.
    pub continual_gathering: bool,
    /// Whether the controlling end may nominate again when a better pair works, if both ends say
    /// `a=ice-options:renomination` (draft-thatcher-ice-renomination). Default true.
    pub renomination: bool,
    /// Whether IPv4 allocations ask for an IPv6 address besides (RFC 8656 §7.1), and so reach peers that have nothing
    /// else.
    pub relay_both_families: bool,
    /// Whether the driver gives its sockets to several agents (one-port mode). Allocations on TURN servers then get
    /// sockets of their own.
    pub shared_sockets: bool,
    /// What all agents of a process together may send to addresses that have not shown themselves. Without one (the
    /// default) each agent keeps to its own pace.
    pub contacts: Option<ContactBudget>,
    /// Whether `.local` names of remote candidates are resolved.
    pub resolve_mdns: bool,
    /// How fast the agent sends, and how long it waits.
    pub timing: Timing,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            pacing: Duration::from_millis(50),
            burst: 5,
            recheck_interval: Duration::from_millis(50),
            check_timeout: Duration::from_millis(39_500),
            patience: Duration::from_millis(39_500),
            nomination_delay: Duration::from_millis(200),
            consent_interval: Duration::from_secs(5),
            consent_timeout: Duration::from_secs(30),
            disconnected_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Controlled,
            lite: false,
            servers: Vec::new(),
            transport_policy: TransportPolicy::All,
            include_loopback: false,
            include_link_local: false,
            network_types: NetworkTypes::default(),
            allowed_addresses: Vec::new(),
            denied_addresses: Vec::new(),
            port: 0,
            port_range: None,
            tcp: TcpCandidates::default(),
            nat_mappings: Vec::new(),
            hide_host_addresses: false,
            continual_gathering: true,
            renomination: true,
            relay_both_families: false,
            shared_sockets: false,
            contacts: None,
            resolve_mdns: true,
            timing: Timing::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url: ServerUrl = "stun:stun.example.org".parse().unwrap();
        assert_eq!(
            (url.port, url.transport, url.kind),
            (3478, ServerTransport::Udp, ServerKind::Stun)
        );
        let url: ServerUrl = "turn:[2001:db8::1]:80?transport=tcp".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.transport),
            ("2001:db8::1", 80, ServerTransport::Tcp)
        );
        assert_eq!(url.to_string(), "turn:[2001:db8::1]:80?transport=tcp");
        let url: ServerUrl = "TURNS:example.org".parse().unwrap();
        assert_eq!((url.port, url.transport), (5349, ServerTransport::Tls));
        for (text, error) in [
            ("http://a", UrlError::Scheme),
            ("stun", UrlError::Scheme),
            ("stun:", UrlError::Host),
            ("stun:[::1", UrlError::Host),
            ("stun:[no]:1", UrlError::Host),
            ("stun://a.b", UrlError::Host),
            ("stun:a:0", UrlError::Port),
            ("stun:a:x", UrlError::Port),
            ("stun:a?transport=udp", UrlError::Query),
            ("turn:a?transport=sctp", UrlError::Query),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials::new("abcd", "secretsecretsecretsecret").unwrap();
        assert!(!format!("{credentials:?}").contains("secret"));
        let server = IceServer {
            credential: "secret".into(),
            ..IceServer::default()
        };
        assert!(!format!("{server:?}").contains("secret"));
        assert_eq!(Credentials::new("abc", "x".repeat(22)), Err(CredentialsError::Ufrag));
        assert_eq!(
            Credentials::new("abcd", "x".repeat(21)),
            Err(CredentialsError::Password)
        );
    }
}
