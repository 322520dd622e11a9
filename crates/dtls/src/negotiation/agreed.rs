//! What a completed handshake of either version hands over.

use antiphon_crypto::NamedGroup;

use crate::config::{CipherSuite, ProtocolVersion, SrtpProfile};
use crate::exporter::Exporter;
use crate::v13::traffic::Traffic;

/// What a completed handshake hands over.
pub(crate) struct Agreed {
    pub(crate) version: ProtocolVersion,
    pub(crate) suite: CipherSuite,
    pub(crate) group: NamedGroup,
    pub(crate) srtp: Option<SrtpProfile>,
    pub(crate) exporter: Exporter,
    /// What goes on after the handshake: DTLS 1.3 only.
    pub(crate) traffic: Option<Traffic>,
}
