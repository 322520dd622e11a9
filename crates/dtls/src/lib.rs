#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod alert;
mod certificate;
mod config;
mod connection;
mod error;
mod exporter;
mod handshake;
pub mod inspect;
mod layer;
mod negotiation;
mod record;
mod stats;
mod v12;
mod v13;

pub use alert::AlertDescription;
pub use antiphon_crypto::{HashAlgorithm, NamedGroup};
pub use certificate::{Certificate, CertificateParams, Fingerprint, KeyAlgorithm, ParseFingerprintError};
pub use config::{
    AddressValidation, CipherSuite, Config, KeyLog, MIN_MTU, ProtocolVersion, Role, SrtpKeys, SrtpProfile, Versions,
};
pub use connection::{Connected, Connection, Event};
pub use error::Error;
pub use stats::Stats;

/// How many times the bytes received a server may send before the client's address is validated
/// ([`AddressValidation::AmplificationLimit`]), as in QUIC (RFC 9000 §8).
pub const AMPLIFICATION_LIMIT: usize = 3;
