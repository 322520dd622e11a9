//! Typed attributes: views into a line's text, and the writers of new lines.

mod candidate;
mod codec;
mod simulcast;
mod source;
mod transport;

use std::fmt;

pub use candidate::Candidate;
pub use codec::{ExtMap, Fmtp, RtcpFeedback, RtpMap};
pub use simulcast::{Rid, RidDirection, Simulcast, SimulcastStream};
pub use source::{Group, Msid, Ssrc, SsrcGroup};
pub use transport::{Direction, Fingerprint, Rtcp, Setup};

use crate::grammar;

/// One `a=` line, typed. `Display` writes what stands after `a=`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute<'a> {
    /// `a=rtpmap`
    RtpMap(RtpMap<'a>),
    /// `a=fmtp` of a payload type
    Fmtp(Fmtp<'a>),
    /// `a=rtcp-fb`
    RtcpFeedback(RtcpFeedback<'a>),
    /// `a=extmap`
    ExtMap(ExtMap<'a>),
    /// `a=candidate`
    Candidate(Candidate<'a>),
    /// `a=fingerprint`
    Fingerprint(Fingerprint<'a>),
    /// `a=setup`
    Setup(Setup),
    /// `a=sendrecv`, `a=sendonly`, `a=recvonly`, `a=inactive`
    Direction(Direction),
    /// `a=rtcp`
    Rtcp(Rtcp<'a>),
    /// `a=ssrc`
    Ssrc(Ssrc<'a>),
    /// `a=ssrc-group`
    SsrcGroup(SsrcGroup<'a>),
    /// `a=group`
    Group(Group<'a>),
    /// `a=msid`
    Msid(Msid<'a>),
    /// `a=rid`
    Rid(Rid<'a>),
    /// `a=simulcast`
    Simulcast(Simulcast<'a>),
    /// `a=mid`
    Mid(&'a str),
    /// `a=ice-ufrag`
    IceUfrag(&'a str),
    /// `a=ice-pwd`
    IcePwd(&'a str),
    /// `a=ice-options`, words undivided
    IceOptions(&'a str),
    /// `a=tls-id`
    TlsId(&'a str),
    /// `a=sctp-port`
    SctpPort(u16),
    /// `a=max-message-size` in bytes
    MaxMessageSize(u64),
    /// `a=ptime` in milliseconds
    Ptime(u32),
    /// `a=maxptime` in milliseconds
    MaxPtime(u32),
    /// An attribute that has a type above, but whose text does not follow its grammar.
    Malformed {
        /// The name before the colon.
        name: &'a str,
        /// The text after the colon, if there is a colon.
        value: Option<&'a str>,
    },
    /// Any other attribute, `a=rtcp-mux` and other flags among them.
    Other {
        /// The name before the colon.
        name: &'a str,
        /// The text after the colon, if there is a colon.
        value: Option<&'a str>,
    },
}

impl<'a> Attribute<'a> {
    /// Types the text after `a=`. Never fails: see [`Attribute::Malformed`] and [`Attribute::Other`].
    pub fn parse(text: &'a str) -> Self {
        if let Some(direction) = Direction::parse(text) {
            return Self::Direction(direction);
        }
        let (name, value) = grammar::split_attribute(text);
        let Some(given) = value.map(|value| value.trim_start_matches(grammar::BLANKS)) else {
            return Self::Other { name, value };
        };
        let typed = match name {
            "rtpmap" => RtpMap::parse(given).map(Self::RtpMap),
            "fmtp" => Fmtp::parse(given).map(Self::Fmtp),
            "rtcp-fb" => RtcpFeedback::parse(given).map(Self::RtcpFeedback),
            "extmap" => ExtMap::parse(given).map(Self::ExtMap),
            "candidate" => Candidate::parse(given).map(Self::Candidate),
            "fingerprint" => Fingerprint::parse(given).map(Self::Fingerprint),
            "setup" => Setup::parse(given).map(Self::Setup),
            "rtcp" => Rtcp::parse(given).map(Self::Rtcp),
            "ssrc" => Ssrc::parse(given).map(Self::Ssrc),
            "ssrc-group" => SsrcGroup::parse(given).map(Self::SsrcGroup),
            "group" => Group::parse(given).map(Self::Group),
            "msid" => Msid::parse(given).map(Self::Msid),
            "rid" => Rid::parse(given).map(Self::Rid),
            "simulcast" => Simulcast::parse(given).map(Self::Simulcast),
            "mid" => (!given.is_empty()).then_some(Self::Mid(given)),
            "ice-ufrag" => Some(Self::IceUfrag(given)),
            "ice-pwd" => Some(Self::IcePwd(given)),
            "ice-options" => Some(Self::IceOptions(given)),
            "tls-id" => Some(Self::TlsId(given)),
            "sctp-port" => grammar::number(given).map(Self::SctpPort),
            "max-message-size" => grammar::number(given).map(Self::MaxMessageSize),
            "ptime" => grammar::number(given).map(Self::Ptime),
            "maxptime" => grammar::number(given).map(Self::MaxPtime),
            _ => return Self::Other { name, value },
        };
        typed.unwrap_or(Self::Malformed { name, value })
    }
}

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RtpMap(value) => write!(f, "rtpmap:{value}"),
            Self::Fmtp(value) => write!(f, "fmtp:{value}"),
            Self::RtcpFeedback(value) => write!(f, "rtcp-fb:{value}"),
            Self::ExtMap(value) => write!(f, "extmap:{value}"),
            Self::Candidate(value) => write!(f, "candidate:{value}"),
            Self::Fingerprint(value) => write!(f, "fingerprint:{value}"),
            Self::Setup(value) => write!(f, "setup:{value}"),
            Self::Direction(value) => write!(f, "{value}"),
            Self::Rtcp(value) => write!(f, "rtcp:{value}"),
            Self::Ssrc(value) => write!(f, "ssrc:{value}"),
            Self::SsrcGroup(value) => write!(f, "ssrc-group:{value}"),
            Self::Group(value) => write!(f, "group:{value}"),
            Self::Msid(value) => write!(f, "msid:{value}"),
            Self::Rid(value) => write!(f, "rid:{value}"),
            Self::Simulcast(value) => write!(f, "simulcast:{value}"),
            Self::Mid(value) => write!(f, "mid:{value}"),
            Self::IceUfrag(value) => write!(f, "ice-ufrag:{value}"),
            Self::IcePwd(value) => write!(f, "ice-pwd:{value}"),
            Self::IceOptions(value) => write!(f, "ice-options:{value}"),
            Self::TlsId(value) => write!(f, "tls-id:{value}"),
            Self::SctpPort(value) => write!(f, "sctp-port:{value}"),
            Self::MaxMessageSize(value) => write!(f, "max-message-size:{value}"),
            Self::Ptime(value) => write!(f, "ptime:{value}"),
            Self::MaxPtime(value) => write!(f, "maxptime:{value}"),
            Self::Malformed { name, value } | Self::Other { name, value } => match value {
                Some(value) => write!(f, "{name}:{value}"),
                None => f.write_str(name),
            },
        }
    }
}
