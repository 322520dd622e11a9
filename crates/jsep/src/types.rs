//! The words of signalling that both sides of the crate use: kinds, states, roles, names, candidates.

use std::fmt;

use antiphon_sdp as sdp;

/// The kind of a description (RTCSdpType).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum SdpType {
    /// Begins an exchange.
    Offer,
    /// An answer that may yet change (RFC 9429 §4.1.10.1).
    PrAnswer,
    /// Ends an exchange.
    Answer,
    /// Takes back the pending description (RFC 9429 §4.1.10.2); the description itself is not looked at.
    Rollback,
}

impl SdpType {
    /// The W3C's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::PrAnswer => "pranswer",
            Self::Answer => "answer",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for SdpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for SdpType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Offer, Self::PrAnswer, Self::Answer, Self::Rollback]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// Where an exchange stands (RTCSignalingState).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SignalingState {
    /// No exchange is under way.
    #[default]
    Stable,
    /// Our offer is set.
    HaveLocalOffer,
    /// The peer's offer is set.
    HaveRemoteOffer,
    /// The peer's offer and our provisional answer are set.
    HaveLocalPrAnswer,
    /// Our offer and the peer's provisional answer are set.
    HaveRemotePrAnswer,
    /// Nothing more will happen.
    Closed,
}

impl SignalingState {
    /// The W3C's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::HaveLocalOffer => "have-local-offer",
            Self::HaveRemoteOffer => "have-remote-offer",
            Self::HaveLocalPrAnswer => "have-local-pranswer",
            Self::HaveRemotePrAnswer => "have-remote-pranswer",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for SignalingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MediaKind {
    Audio,
    Video,
}

impl MediaKind {
    /// The word on the `m=` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "audio" => Some(Self::Audio),
            "video" => Some(Self::Video),
            _ => None,
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which end of the DTLS handshake we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We send the ClientHello (`a=setup:active`).
    Client,
    /// We wait for it (`a=setup:passive`).
    Server,
}

/// What to do about the encryption of RTP header extensions and CSRCs (Cryptex, RFC 9335): the W3C's
/// RTCRtpHeaderEncryptionPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderEncryptionPolicy {
    /// Neither offered nor accepted.
    Disable,
    /// Not offered, but used with a peer that offers it. This is the default, and not the W3C's `negotiate`: some peers
    /// copy the lines of an offer into their answer and then cannot read what they have asked for.
    #[default]
    Accept,
    /// Offered, and used with a peer that has it too, unless its answer shows that it copies our offer.
    Negotiate,
    /// A description of a peer that does not have it is refused.
    Require,
}

/// What to do about congestion control feedback of RFC 8888 (`a=rtcp-fb:* ack ccfb`), which tells of ECN marks too and needs no number
/// in each packet. Where both ends say it, it takes the place of transport-wide feedback; else that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CongestionFeedbackPolicy {
    /// Neither offered nor accepted.
    Disable,
    /// Not offered, but used with a peer that offers it. This is the default: no browser of 2026 answers it unless it is told to by a
    /// field trial.
    #[default]
    Accept,
    /// Offered beside transport-wide feedback, and used with a peer that answers it, unless its answer shows that it copies our offer.
    Negotiate,
}

/// Names a transceiver for the life of a [`crate::Negotiator`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransceiverId(pub(crate) u32);

impl TransceiverId {
    /// A small number, the same for the life of the transceiver: for tables and logs.
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TransceiverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A certificate's fingerprint as text (RFC 8122 §5): the hash in lower case, the digits in upper case. Whether a
/// certificate matches it is for `dtls` to say, in constant time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The hash function, in lower case: `sha-256`, `sha-384`, ...
    pub algorithm: String,
    /// The digits of the hash, in upper case and separated by colons: `AB:CD:...`
    pub digest: String,
}

impl Fingerprint {
    /// From the text of an attribute: `sha-256 AB:CD:...`.
    pub fn parse(text: &str) -> Option<Self> {
        sdp::Fingerprint::parse(text).map(Self::from)
    }

    /// The digits alone, in small letters, as programs in the manner of mediasoup write them: `abcd...`.
    pub fn to_hex(&self) -> String {
        let digits = self.digest.chars().filter(|letter| *letter != ':');
        digits.map(|letter| letter.to_ascii_lowercase()).collect()
    }

    /// From the digits alone: the opposite of [`Self::to_hex`]. `None` if they are not two for each byte, or none.
    pub fn from_hex(algorithm: &str, digits: &str) -> Option<Self> {
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits.is_empty() || !digits.len().is_multiple_of(2) || !is_hex {
            return None;
        }
        let mut digest = String::with_capacity(digits.len() * 3 / 2);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && place % 2 == 0 {
                digest.push(':');
            }
            digest.push(digit.to_ascii_uppercase());
        }
        Some(Self {
            algorithm: algorithm.to_ascii_lowercase(),
            digest,
        })
    }
}

impl From<sdp::Fingerprint<'_>> for Fingerprint {
    fn from(value: sdp::Fingerprint<'_>) -> Self {
        Self {
            algorithm: value.algorithm.to_ascii_lowercase(),
            digest: value.digest.to_ascii_uppercase(),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.digest)
    }
}

/// What the local transport says of itself in a description that we make.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct LocalTransport {
    /// The ICE user name fragment to be described: a new one (with a new password) makes an ICE restart.
    pub ufrag: String,
    /// The ICE password.
    pub pwd: String,
    /// The words of `a=ice-options`; empty means `trickle ice2`.
    pub ice_options: Vec<String>,
    /// Whether we are an ICE-lite agent (RFC 8445 §2.5).
    pub lite: bool,
    /// Our certificates' fingerprints, at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// What is gathered so far, as `a=candidate` values, with or without `candidate:` before them.
    pub candidates: Vec<String>,
    /// Whether gathering has ended.
    pub end_of_candidates: bool,
}

// The password opens the way to our ICE agent: it stays out of logs.
impl fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTransport")
            .field("ufrag", &self.ufrag)
            .field("lite", &self.lite)
            .field("candidates", &self.candidates.len())
            .finish_non_exhaustive()
    }
}

/// What an application may ask of an offer (RTCOfferOptions).
#[derive(Debug, Clone, Copy, Default)]
pub struct OfferOptions {
    /// Whether the offer shall restart ICE. The new credentials come in [`LocalTransport`]; asked with the credentials
    /// that are in use, the offer is refused.
    pub ice_restart: bool,
}

/// A candidate on its way from one end to the other (the W3C's RTCIceCandidateInit).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase", default))]
pub struct IceCandidate {
    /// The value of the attribute, `candidate:...` (RFC 8839 §5.1); empty means that no more will come (RFC 8838 §13).
    pub candidate: String,
    /// The `a=mid` of the section it belongs to.
    pub sdp_mid: Option<String>,
    /// The index of that section, from 0; it counts only where there is no `sdp_mid`.
    pub sdp_m_line_index: Option<u16>,
    /// The ICE user name fragment of the generation it belongs to.
    pub username_fragment: Option<String>,
}

/// A candidate that the ICE agent shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCandidate {
    /// The attribute's value without `candidate:`; empty for the end of candidates.
    pub candidate: String,
    /// The `a=mid` of the section it stood in.
    pub mid: Option<String>,
    /// The index of that section.
    pub m_line_index: u16,
    /// The user name fragment of the generation it belongs to.
    pub username_fragment: Option<String>,
}
