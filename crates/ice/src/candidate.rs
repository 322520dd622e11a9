//! Candidates and their text form, the value of an SDP `candidate` attribute (RFC 8839 §5.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::error::CandidateError;

/// The longest candidate line that is parsed, in bytes. Browsers stay below 200.
pub const MAX_CANDIDATE_LEN: usize = 1024;

/// The longest host name taken from a candidate, in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME_LEN: usize = 253;

/// How many unknown `name value` pairs of one candidate are kept.
pub const MAX_EXTENSIONS: usize = 16;

/// How a candidate was found (RFC 8445 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CandidateKind {
    /// An address of one of our interfaces.
    Host,
    /// What a STUN server saw.
    ServerReflexive,
    /// What the peer saw, learnt from a check.
    PeerReflexive,
    /// An address on a TURN server.
    Relayed,
}

impl CandidateKind {
    /// The type preference that RFC 8445 §5.1.2.2 recommends.
    pub fn type_preference(self) -> u8 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }

    /// The word after `typ`, which is also the W3C `RTCIceCandidateType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The transport protocol of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP (RFC 6544).
    Tcp,
}

impl Protocol {
    /// As in W3C `RTCIceProtocol` and, by Firefox and Chromium, in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who opens the connection of a TCP candidate (RFC 6544 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpType {
    /// We connect.
    Active,
    /// We listen.
    Passive,
    /// Both connect at once.
    SimultaneousOpen,
}

impl TcpType {
    /// The word after `tcptype`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::SimultaneousOpen => "so",
        }
    }
}

/// Where a candidate is: an address, or a name that hides one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CandidateAddress {
    /// An address.
    Ip(IpAddr),
    /// A host name; browsers hide their host addresses behind `<uuid>.local` (draft-ietf-mmusic-mdns-ice-candidates).
    Name(String),
}

impl CandidateAddress {
    /// The address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }
}

impl From<IpAddr> for CandidateAddress {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

impl fmt::Display for CandidateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// One candidate. `Display` writes, and `FromStr` reads, the value of an SDP `candidate` attribute, without `a=`:
/// `candidate:1 1 udp 2130706431 192.0.2.1 54321 typ host`.
///
/// The empty string, which the W3C uses for "no more candidates", is not a candidate: the caller looks for it first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Equal for candidates that are likely to work alike (RFC 8445 §5.1.1.3); 1 to 32 characters.
    pub foundation: String,
    /// The component: 1 is RTP, and with multiplexing everything; 2 is RTCP. Others are parsed, and used by nobody.
    pub component: u16,
    /// The transport protocol over which the peer reaches it.
    pub protocol: Protocol,
    /// How much it is to be preferred: 1 to 2^31 - 1, larger is better (RFC 8445 §5.1.2).
    pub priority: u32,
    /// The address, or the name that hides it.
    pub address: CandidateAddress,
    /// The port, 0 to 65535; 9 for active TCP candidates.
    pub port: u16,
    /// How it was found, which decides its priority.
    pub kind: CandidateKind,
    /// `raddr` and `rport`: the base, for all kinds but host. Browsers write zeros to hide it.
    pub related: Option<SocketAddr>,
    /// `tcptype`: who opens the connection; for TCP candidates alone, and there always.
    pub tcp_type: Option<TcpType>,
    /// The user fragment of the generation to which the candidate belongs.
    pub ufrag: Option<String>,
    /// Other `name value` pairs, such as `generation 0` and `network-cost 999`, as they came.
    pub extensions: Vec<(String, String)>,
}

impl Candidate {
    /// The candidate's transport address; `None` while it is only a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.address.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The priority of RFC 8445 §5.1.2.1 for component 1.
    pub fn compute_priority(kind: CandidateKind, local_preference: u16) -> u32 {
        (u32::from(kind.type_preference()) << 24) | (u32::from(local_preference) << 8) | (256 - 1)
    }

    /// The priority of a TCP candidate (RFC 6544 §4.2): below the UDP candidates of its type, and of its direction.
    pub fn compute_tcp_priority(kind: CandidateKind, tcp_type: TcpType, local_preference: u16) -> u32 {
        let type_preference: u32 = match kind {
            CandidateKind::Host => 90,
            CandidateKind::PeerReflexive => 80,
            CandidateKind::ServerReflexive => 70,
            CandidateKind::Relayed => 0,
        };
        let direction: u32 = match (kind, tcp_type) {
            (CandidateKind::Host, TcpType::Active) => 6,
            (CandidateKind::Host, TcpType::Passive) => 4,
            (CandidateKind::Host, TcpType::SimultaneousOpen) => 2,
            (_, TcpType::SimultaneousOpen) => 6,
            (_, TcpType::Active) => 4,
            (_, TcpType::Passive) => 2,
        };
        let local = direction << 13 | u32::from(local_preference & 0x1fff);
        (type_preference << 24) | (local << 8) | (256 - 1)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "candidate:{} {} {} {} {} {} typ {}",
            self.foundation, self.component, self.protocol, self.priority, self.address, self.port, self.kind
        )?;
        // RFC 8839 §5.1: raddr and rport MUST be there for all but host candidates, if only as placeholders.
        match self.related {
            Some(related) => write!(f, " raddr {} rport {}", related.ip(), related.port())?,
            None if self.kind != CandidateKind::Host => write!(f, " raddr {} rport 9", Ipv4Addr::UNSPECIFIED)?,
            None => {}
        }
        if let Some(tcp_type) = self.tcp_type {
            write!(f, " tcptype {}", tcp_type.as_str())?;
        }
        // Extensions have no order. Chromium's is kept, so that what it said is said again: the generation before the
        // user fragment, everything else after.
        let is_generation = |(name, _): &&(String, String)| name == "generation";
        for (name, value) in self.extensions.iter().filter(is_generation) {
            write!(f, " {name} {value}")?;
        }
        if let Some(ufrag) = &self.ufrag {
            write!(f, " ufrag {ufrag}")?;
        }
        for (name, value) in self.extensions.iter().filter(|extension| !is_generation(extension)) {
            write!(f, " {name} {value}")?;
        }
        Ok(())
    }
}

impl FromStr for Candidate {
    type Err = CandidateError;

    /// Reads a candidate, with or without `a=` and `candidate:` in front.
    fn from_str(text: &str) -> Result<Self, CandidateError> {
        if text.len() > MAX_CANDIDATE_LEN {
            return Err(CandidateError::TooLong);
        }
        // The same whitespace as between words: a wider notion would eat a last value that Display wrote.
        let text = text.trim_ascii();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let one_of = |word: &str, known: &[&str]| known.iter().position(|own| own.eq_ignore_ascii_case(word));
        let mut words = text.split_ascii_whitespace();
        let mut next = |what| words.next().ok_or(CandidateError::Missing(what));

        let foundation = next("foundation")?;
        // Longer than the grammar's 32 is tolerated: pion and others have sent such.
        if foundation.len() > 64 || !foundation.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CandidateError::Invalid("foundation"));
        }
        let component = number(next("component")?, "component")?;
        let protocol = match one_of(next("transport")?, &["udp", "tcp"]) {
            Some(0) => Ok(Protocol::Udp),
            Some(_) => Ok(Protocol::Tcp),
            // Said only once the rest has turned out to be a candidate.
            None => Err(CandidateError::Unknown("transport")),
        };
        let priority = number(next("priority")?, "priority")?;
        let address = address(next("address")?)?;
        let port = number(next("port")?, "port")?;
        if !next("typ")?.eq_ignore_ascii_case("typ") {
            return Err(CandidateError::Missing("typ"));
        }
        let kind = match one_of(next("type")?, &["host", "srflx", "prflx", "relay"]) {
            Some(0) => CandidateKind::Host,
            Some(1) => CandidateKind::ServerReflexive,
            Some(2) => CandidateKind::PeerReflexive,
            Some(_) => CandidateKind::Relayed,
            None => return Err(CandidateError::Unknown("type")),
        };
        let protocol = protocol?;

        let mut candidate = Self {
            foundation: foundation.to_owned(),
            component,
            protocol,
            priority,
            address,
            port,
            kind,
            related: None,
            tcp_type: None,
            ufrag: None,
            extensions: Vec::new(),
        };
        let (mut raddr, mut rport) = (None, None);
        while let Some(name) = words.next() {
            // RFC 8839 §5.1: extensions come in pairs; a lone last word is somebody's bug and not worth a refusal.
            let Some(value) = words.next() else { break };
            match name {
                "raddr" => raddr = value.parse::<IpAddr>().ok(),
                "rport" => rport = value.parse::<u16>().ok(),
                "tcptype" => {
                    candidate.tcp_type = Some(match value {
                        "active" => TcpType::Active,
                        "passive" => TcpType::Passive,
                        "so" => TcpType::SimultaneousOpen,
                        _ => return Err(CandidateError::Unknown("tcptype")),
                    });
                }
                "ufrag" => candidate.ufrag = Some(value.to_owned()),
                _ if candidate.extensions.len() < MAX_EXTENSIONS => {
                    candidate.extensions.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        candidate.related = raddr.map(|ip| SocketAddr::new(ip, rport.unwrap_or(9)));
        Ok(candidate)
    }
}

fn number<T: FromStr>(word: &str, what: &'static str) -> Result<T, CandidateError> {
    // `FromStr` of the integers takes a leading plus, the grammar (1*DIGIT) does not.
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CandidateError::Invalid(what));
    }
    word.parse().map_err(|_| CandidateError::Invalid(what))
}

fn address(word: &str) -> Result<CandidateAddress, CandidateError> {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return Ok(CandidateAddress::Ip(ip));
    }
    let plausible = word.len() <= MAX_NAME_LEN
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
        && word.bytes().any(|b| b.is_ascii_alphabetic());
    if plausible {
        Ok(CandidateAddress::Name(word.to_owned()))
    } else {
        Err(CandidateError::Invalid("address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_chromium_and_firefox_say() {
        let chromium = "candidate:3885250869 1 udp 2122260223 192.168.1.2 45678 typ host generation 0 ufrag Kx9d network-id 1 network-cost 10";
        let parsed: Candidate = chromium.parse().unwrap();
        assert_eq!(parsed.socket_addr(), Some("192.168.1.2:45678".parse().unwrap()));
        assert_eq!(parsed.ufrag.as_deref(), Some("Kx9d"));
        assert_eq!(parsed.extensions.len(), 3);
        let firefox = "candidate:0 1 UDP 2122252543 5f21b1a2-3a2c-4c1b-8a3e-2d4d0f3b2c11.local 51234 typ host";
        let parsed: Candidate = firefox.parse().unwrap();
        assert!(matches!(parsed.address, CandidateAddress::Name(ref name) if name.ends_with(".local")));
        assert_eq!(parsed.protocol, Protocol::Udp);
        let tcp = "a=candidate:1 1 tcp 1518280447 10.0.0.1 9 typ host tcptype active";
        let parsed: Candidate = tcp.parse().unwrap();
        assert_eq!(parsed.tcp_type, Some(TcpType::Active));
        let relay = "candidate:9 1 udp 41885439 203.0.113.9 50001 typ relay raddr 0.0.0.0 rport 0";
        assert_eq!(relay.parse::<Candidate>().unwrap().to_string(), relay);
        let v6 = "candidate:2 1 udp 2122131711 2001:db8::1 50001 typ srflx raddr :: rport 9";
        assert_eq!(v6.parse::<Candidate>().unwrap().to_string(), v6);
    }

    #[test]
    fn what_is_not_a_candidate() {
        for text in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 10.0.0.1 9",
            "candidate:1 1 udp 1 10.0.0.1 9 typ",
            "candidate:1 1 udp 1 10.0.0.1 9 typ guess",
            "candidate:1 1 sctp 1 10.0.0.1 9 typ host",
            "candidate:1 1 udp +1 10.0.0.1 9 typ host",
            "candidate:1 1 udp 1 10.0.0.1 70000 typ host",
            "candidate:1 1 udp 4294967296 10.0.0.1 9 typ host",
            "candidate:1 1 udp 1 10.0.0.256 9 typ host",
            "candidate:1 1 udp 1 http://a/ 9 typ host",
        ] {
            assert!(text.parse::<Candidate>().is_err(), "{text:?}");
        }
        assert_eq!("x".repeat(2000).parse::<Candidate>(), Err(CandidateError::TooLong));
    }

    #[test]
    fn mend07_what_is_unknown_is_told_from_what_is_malformed() {
        for (text, what) in [
            ("candidate:1 1 ssltcp 2105524479 203.0.113.9 443 typ host", "transport"),
            ("candidate:1 1 sctp 1 10.0.0.1 9 typ host", "transport"),
            ("candidate:1 1 udp 1 10.0.0.1 9 typ guess", "type"),
            ("candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype sideways", "tcptype"),
        ] {
            assert_eq!(
                text.parse::<Candidate>(),
                Err(CandidateError::Unknown(what)),
                "{text:?}"
            );
        }
        assert_eq!(
            "candidate:1 1 ssltcp x 10.0.0.1 9 typ host".parse::<Candidate>(),
            Err(CandidateError::Invalid("priority"))
        );
        // Older peers shout; extensions that nobody knows, a lone word and blanks are forgiven.
        let loud = "a=candidate:1  1 UDP 1 10.0.0.1 9 TYP HOST weather fine lone \r\n";
        let parsed: Candidate = loud.parse().unwrap();
        assert_eq!((parsed.kind, parsed.extensions.len()), (CandidateKind::Host, 1));
    }

    fn kinds() -> impl Strategy<Value = CandidateKind> {
        prop_oneof![
            Just(CandidateKind::Host),
            Just(CandidateKind::ServerReflexive),
            Just(CandidateKind::PeerReflexive),
            Just(CandidateKind::Relayed)
        ]
    }

    proptest! {
        #[test]
        fn written_and_read_again(
            foundation in "[A-Za-z0-9+/]{1,32}",
            component in 1u16..=256,
            tcp: bool,
            priority: u32,
            ip: IpAddr,
            port: u16,
            kind in kinds(),
            related: Option<SocketAddr>,
            ufrag in prop::option::of("[A-Za-z0-9+/]{4,8}"),
            extensions in prop::collection::vec(("[a-z-]{8,12}", "[a-z0-9]{1,8}"), 0..4),
        ) {
            let related = related.map(|a| SocketAddr::new(a.ip(), a.port()));
            let candidate = Candidate {
                foundation, component, priority, port, kind, ufrag, extensions,
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                address: ip.into(),
                related: if kind == CandidateKind::Host { related } else { Some(related.unwrap_or(SocketAddr::new(ip, 1))) },
                tcp_type: tcp.then_some(TcpType::Passive),
            };
            prop_assert_eq!(candidate.to_string().parse::<Candidate>(), Ok(candidate));
        }

        #[test]
        fn any_text_is_taken_or_refused(text: String) {
            if let Ok(candidate) = text.parse::<Candidate>() {
                prop_assert_eq!(candidate.to_string().parse::<Candidate>().map(|c| c.port), Ok(candidate.port));
            }
        }
    }
}
