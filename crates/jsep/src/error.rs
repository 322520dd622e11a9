//! Why a description, a candidate or a call is refused.

use thiserror::Error;

use crate::types::{DtlsRole, MediaKind, SdpType, SignalingState};

/// Why a description, candidate or call is refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsepError {
    /// This kind of description, or this call, does not fit the signalling state (W3C InvalidStateError).
    #[error("cannot {operation} in signalling state {state}")]
    InvalidState {
        /// What was asked: `set a local answer`, `create an answer`, ...
        operation: &'static str,
        /// The state in which it was asked.
        state: SignalingState,
    },
    /// The description is not SDP.
    #[error("the description does not parse: {0}")]
    Syntax(#[from] antiphon_sdp::ParseError),
    /// There are more m-sections than we handle.
    #[error("{count} m-sections; at most {max} are handled")]
    TooManySections {
        /// How many m-sections there are.
        count: usize,
        /// How many are handled.
        max: usize,
    },
    /// The description is longer than we handle.
    #[error("{bytes} bytes of description; at most {max} are handled")]
    TooLong {
        /// The length of the description, in bytes.
        bytes: usize,
        /// The longest that is handled, in bytes.
        max: usize,
    },
    /// A local description is not one that `create_offer` or `create_answer` made last (W3C InvalidModificationError).
    #[error("the local description was not made by the last create_offer or create_answer: {reason}")]
    Modified {
        /// What differs from the description that was made.
        reason: &'static str,
    },
    /// An active section has no ICE credentials, or ones shorter or longer than RFC 8839 §5.4 allows.
    #[error("section {mid}: missing or unusable ice-ufrag or ice-pwd")]
    IceCredentials {
        /// The section's mid, or its index.
        mid: String,
    },
    /// An active section has no usable `a=fingerprint` (RFC 8842 §5.1).
    #[error("section {mid}: no usable fingerprint")]
    NoFingerprint {
        /// The section's mid, or its index.
        mid: String,
    },
    /// The fingerprints differ from those of the running association. A new one (RFC 8842 §5.5) is not supported.
    #[error("the fingerprints changed in mid-session")]
    FingerprintChanged,
    /// `a=setup` asks for a DTLS role that does not fit.
    #[error("section {mid}: a=setup does not fit: {reason}")]
    Setup {
        /// The section's mid, or its index.
        mid: String,
        /// Why the value of `a=setup` does not fit.
        reason: &'static str,
    },
    /// The peer wants another DTLS role in mid-session.
    #[error("the peer asks us to become DTLS {wanted:?} in mid-session")]
    DtlsRoleChanged {
        /// The role that we would have to take.
        wanted: DtlsRole,
    },
    /// The peer does not take encrypted RTP header extensions (`a=cryptex`), and they are required (RFC 9335 §4).
    #[error("section {mid}: no a=cryptex, which is required")]
    NoHeaderEncryption {
        /// The section's mid, or its index.
        mid: String,
    },
    /// The section would carry media without DTLS: neither its protocol nor a fingerprint names DTLS (RFC 9429 §5.1.2).
    #[error("section {mid}: {protocol} without a fingerprint carries no DTLS; only DTLS-SRTP is spoken")]
    InsecureProtocol {
        /// The section's mid, or its index.
        mid: String,
        /// The protocol on its `m=` line, cut to 64 characters.
        protocol: String,
    },
    /// An accepted section of an answer wants RTCP on a port of its own (RFC 8858 §3).
    #[error("section {mid}: the answer does not multiplex RTP and RTCP")]
    NoRtcpMux {
        /// The section's mid, or its index.
        mid: String,
    },
    /// An accepted section of an answer is not in the bundle; everything runs on one transport (RFC 9143 §7.3).
    #[error("section {mid}: accepted, but not in the BUNDLE group")]
    NotBundled {
        /// The section's mid, or its index.
        mid: String,
    },
    /// The BUNDLE group names a mid that is not there, is rejected, or was not offered (RFC 9143 §7.3).
    #[error("the BUNDLE group names {mid}, which cannot be in it")]
    BundleGroup {
        /// The mid that the group names.
        mid: String,
    },
    /// Two sections have one mid (RFC 5888 §4).
    #[error("two sections have the mid {mid}")]
    DuplicateMid {
        /// The mid that two sections have.
        mid: String,
    },
    /// A section is not what the offer, or the last exchange, has in its place (RFC 3264 §6, §8).
    #[error("section {index} does not match: {reason}")]
    SectionMismatch {
        /// The section's index.
        index: usize,
        /// What differs from the section that belongs there.
        reason: &'static str,
    },
    /// The answer has another number of sections than the offer (RFC 3264 §6), or a later offer has fewer (§8).
    #[error("{given} m-sections where {expected} are due")]
    SectionCount {
        /// How many are there.
        given: usize,
        /// How many there must be.
        expected: usize,
    },
    /// The answer's direction is not one that the offer's allows (RFC 3264 §6.1).
    #[error("section {mid}: the direction does not answer the offered one")]
    Direction {
        /// The section's mid, or its index.
        mid: String,
    },
    /// `create_offer` was asked for an ICE restart, but given the credentials in use.
    #[error("an ICE restart needs new credentials")]
    CredentialsInUse,
    /// The local transport has no fingerprint or no ICE credentials to describe.
    #[error("the local transport has no {missing}")]
    LocalTransport {
        /// What is missing.
        missing: &'static str,
    },
    /// There is no such transceiver, or it is stopped.
    #[error("no such transceiver, or it is stopped")]
    NoTransceiver,
    /// A codec preference names no codec of ours, or none of this kind (W3C InvalidModificationError).
    #[error("{preference:?} names no {kind} codec that we have")]
    UnknownCodec {
        /// The preference, cut to 128 characters.
        preference: String,
        /// The kind of the transceiver.
        kind: MediaKind,
    },
    /// A candidate came before the description it belongs to (W3C InvalidStateError).
    #[error("a candidate needs a remote description first")]
    NoRemoteDescription,
    /// A candidate names neither a section nor the whole session (W3C TypeError), or one that is not there.
    #[error("the candidate names no section of the remote description")]
    CandidateSection,
    /// A candidate belongs to a generation that no remote description has, or has yet.
    #[error("the candidate belongs to another ICE generation")]
    CandidateGeneration,
    /// The text of a candidate does not follow RFC 8839 §5.1.
    #[error("malformed candidate")]
    CandidateSyntax,
}

impl JsepError {
    pub(crate) fn set(local: bool, kind: SdpType, state: SignalingState) -> Self {
        let operation = match (local, kind) {
            (true, SdpType::Offer) => "set a local offer",
            (true, SdpType::PrAnswer) => "set a local pranswer",
            (true, SdpType::Answer) => "set a local answer",
            (true, SdpType::Rollback) => "roll back locally",
            (false, SdpType::Offer) => "set a remote offer",
            (false, SdpType::PrAnswer) => "set a remote pranswer",
            (false, SdpType::Answer) => "set a remote answer",
            (false, SdpType::Rollback) => "roll back remotely",
        };
        Self::InvalidState { operation, state }
    }
}
