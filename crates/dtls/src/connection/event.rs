//! What a connection tells its owner.

use antiphon_crypto::NamedGroup;
use antiphon_sansio::Packet;
use bytes::Bytes;

use crate::certificate::Fingerprint;
use crate::config::{CipherSuite, ProtocolVersion, SrtpKeys};
use crate::error::Error;

/// What a completed handshake has agreed on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The version that both ends speak.
    pub version: ProtocolVersion,
    /// The cipher suite that protects records.
    pub cipher_suite: CipherSuite,
    /// The group of the key exchange.
    pub group: NamedGroup,
    /// Profile and master keys for SRTP, if use_srtp was agreed on.
    pub srtp: Option<SrtpKeys>,
    /// The peer's certificate, in DER as it came.
    pub peer_certificate: Bytes,
    /// Its fingerprint, by the hash function that signalling used.
    pub peer_fingerprint: Fingerprint,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete and the peer's certificate has a signalled fingerprint. Comes once, before any data.
    Connected(Box<Connected>),
    /// One record of application data, decrypted in place and cut from its datagram, with the mark that the datagram carried.
    ApplicationData(Packet),
    /// The connection ended by close_notify, the peer's or ours. Nothing follows.
    Closed,
    /// The connection failed. Nothing follows.
    Failed(Error),
}
