//! How a connection is to be made: what the application may choose.

mod cipher_suite;
mod key_log;
mod use_srtp;
pub(crate) mod version;

use std::sync::Arc;
use std::time::Duration;

use antiphon_crypto::{NamedGroup, Provider};

use crate::certificate::Certificate;

pub use cipher_suite::CipherSuite;
pub use key_log::KeyLog;
pub use use_srtp::{SrtpKeys, SrtpProfile};
pub use version::{ProtocolVersion, Versions};

/// The smallest largest-datagram that may be asked for.
pub const MIN_MTU: usize = 256;

/// Which end of the handshake we are: `a=setup:active` is the client (RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends the first ClientHello.
    Client,
    /// Waits for it.
    Server,
}

/// How a server knows that a ClientHello came from where it says, before it answers with a longer flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressValidation {
    /// ICE has done it: the caller hands in only what came over a path on which a Binding message with valid
    /// MESSAGE-INTEGRITY arrived.
    #[default]
    ByIce,
    /// Nobody has: until the client has answered, at most [`AMPLIFICATION_LIMIT`](crate::AMPLIFICATION_LIMIT) times the
    /// bytes received are sent.
    AmplificationLimit,
    /// Ask for a cookie first, with HelloVerifyRequest (RFC 6347 §4.2.1) or HelloRetryRequest (RFC 9147 §5.1). Costs a
    /// round trip.
    Cookie,
}

/// How a connection is to be made. [`Config::new`] fills in what WebRTC wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// The certificate that we show, and its private key.
    pub certificate: Arc<Certificate>,
    /// The SRTP profiles that we take, best first. A server chooses by this order. Empty: no use_srtp.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// The largest datagram that the handshake writes, in bytes of UDP payload; at least [`MIN_MTU`].
    pub mtu: usize,
    /// Which versions may be negotiated.
    pub versions: Versions,
    /// The cipher suites that we take, best first. A server chooses by this order.
    pub cipher_suites: Vec<CipherSuite>,
    /// The key-exchange groups that we take, best first. A server chooses by this order, except that with DTLS 1.3 a group
    /// that the client has sent a share for goes before others. Post-quantum ones are for DTLS 1.3 alone.
    pub groups: Vec<NamedGroup>,
    /// How a server validates the client's address.
    pub address_validation: AddressValidation,
    /// How long to wait for an answer before the first retransmission while no round-trip time is known
    /// ([`Connection::set_rtt`](crate::Connection::set_rtt)).
    pub initial_rto: Duration,
    /// How long a handshake may take, from the first datagram sent (client) or received (server).
    pub handshake_timeout: Duration,
    /// How many records DTLS 1.3 seals with one key before it takes the next (RFC 9147 §8), a third of the 2^24.5 that AES-GCM
    /// bears (RFC 9147 §4.5.3). DTLS 1.2 cannot renew keys and closes there (RFC 9325 §4.4).
    pub records_per_key: u64,
    /// Where the secrets of the connection are written, if anywhere.
    pub key_log: Option<KeyLog>,
    /// Whose cryptographic primitives are used.
    pub provider: Provider,
}

impl Config {
    /// What WebRTC wants: RFC 8827 §6.5's suite first, AEAD SRTP before counter mode, datagrams of at most 1200 bytes.
    pub fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            certificate,
            srtp_profiles: vec![
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::AeadAes256Gcm,
                SrtpProfile::Aes128CmSha1_80,
            ],
            mtu: 1200,
            versions: Versions::default(),
            cipher_suites: CipherSuite::ALL.to_vec(),
            groups: NamedGroup::ALL.to_vec(),
            address_validation: AddressValidation::default(),
            initial_rto: Duration::from_millis(400),
            handshake_timeout: Duration::from_secs(30),
            records_per_key: 1 << 23,
            key_log: None,
            provider: antiphon_crypto::ring_provider(),
        }
    }
}
