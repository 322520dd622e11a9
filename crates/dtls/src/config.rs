use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon_crypto::{AeadAlgorithm, HashAlgorithm, NamedGroup, Provider, Secret};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, PublicKeyKind};

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

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// DTLS 1.2 (RFC 6347).
    Dtls12,
    /// DTLS 1.3 (RFC 9147).
    Dtls13,
}

impl ProtocolVersion {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Dtls12 => 0xfefd,
            Self::Dtls13 => 0xfefc,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dtls12 => "DTLS 1.2",
            Self::Dtls13 => "DTLS 1.3",
        })
    }
}

/// A cipher suite. Those with ECDHE in their names belong to DTLS 1.2, the others to 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, which every WebRTC peer has (RFC 8827 §6.5).
    EcdheEcdsaAes128GcmSha256,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384` (RFC 5289 §3.2).
    EcdheEcdsaAes256GcmSha384,
    /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256` (RFC 7905 §2).
    EcdheEcdsaChacha20Poly1305Sha256,
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`: for servers whose certificate is RSA.
    EcdheRsaAes128GcmSha256,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`.
    EcdheRsaAes256GcmSha384,
    /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`.
    EcdheRsaChacha20Poly1305Sha256,
    /// `TLS_AES_128_GCM_SHA256` (RFC 8446 §B.4).
    Aes128GcmSha256,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256GcmSha384,
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    Chacha20Poly1305Sha256,
}

impl CipherSuite {
    /// Every suite, in the order in which we prefer them.
    pub const ALL: [Self; 9] = [
        Self::Aes128GcmSha256,
        Self::Aes256GcmSha384,
        Self::Chacha20Poly1305Sha256,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheEcdsaChacha20Poly1305Sha256,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheRsaChacha20Poly1305Sha256,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Aes128GcmSha256 => 0x1301,
            Self::Aes256GcmSha384 => 0x1302,
            Self::Chacha20Poly1305Sha256 => 0x1303,
            Self::EcdheEcdsaAes128GcmSha256 => 0xc02b,
            Self::EcdheEcdsaAes256GcmSha384 => 0xc02c,
            Self::EcdheRsaAes128GcmSha256 => 0xc02f,
            Self::EcdheRsaAes256GcmSha384 => 0xc030,
            Self::EcdheRsaChacha20Poly1305Sha256 => 0xcca8,
            Self::EcdheEcdsaChacha20Poly1305Sha256 => 0xcca9,
        }
    }

    /// The suite of that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    /// The registered name, as `RTCTransportStats.dtlsCipher` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128GcmSha256 => "TLS_AES_128_GCM_SHA256",
            Self::Aes256GcmSha384 => "TLS_AES_256_GCM_SHA384",
            Self::Chacha20Poly1305Sha256 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdheEcdsaAes128GcmSha256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheEcdsaAes256GcmSha384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheEcdsaChacha20Poly1305Sha256 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Self::EcdheRsaAes128GcmSha256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Self::EcdheRsaAes256GcmSha384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Self::EcdheRsaChacha20Poly1305Sha256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        }
    }

    /// The version that the suite belongs to.
    pub fn version(self) -> ProtocolVersion {
        match self {
            Self::Aes128GcmSha256 | Self::Aes256GcmSha384 | Self::Chacha20Poly1305Sha256 => ProtocolVersion::Dtls13,
            _ => ProtocolVersion::Dtls12,
        }
    }

    pub(crate) fn aead(self) -> AeadAlgorithm {
        match self {
            Self::Aes128GcmSha256 | Self::EcdheEcdsaAes128GcmSha256 | Self::EcdheRsaAes128GcmSha256 => {
                AeadAlgorithm::Aes128Gcm
            }
            Self::Aes256GcmSha384 | Self::EcdheEcdsaAes256GcmSha384 | Self::EcdheRsaAes256GcmSha384 => {
                AeadAlgorithm::Aes256Gcm
            }
            Self::Chacha20Poly1305Sha256
            | Self::EcdheEcdsaChacha20Poly1305Sha256
            | Self::EcdheRsaChacha20Poly1305Sha256 => AeadAlgorithm::ChaCha20Poly1305,
        }
    }

    pub(crate) fn hash(self) -> HashAlgorithm {
        match self {
            Self::Aes256GcmSha384 | Self::EcdheEcdsaAes256GcmSha384 | Self::EcdheRsaAes256GcmSha384 => {
                HashAlgorithm::Sha384
            }
            _ => HashAlgorithm::Sha256,
        }
    }

    /// Whether a server may sign for this suite of DTLS 1.2 with such a key (RFC 8422 §5.3).
    pub(crate) fn takes_key(self, kind: PublicKeyKind) -> bool {
        match self {
            Self::EcdheEcdsaAes128GcmSha256
            | Self::EcdheEcdsaAes256GcmSha384
            | Self::EcdheEcdsaChacha20Poly1305Sha256 => matches!(kind, PublicKeyKind::Ecdsa | PublicKeyKind::Ed25519),
            Self::EcdheRsaAes128GcmSha256 | Self::EcdheRsaAes256GcmSha384 | Self::EcdheRsaChacha20Poly1305Sha256 => {
                kind == PublicKeyKind::Rsa
            }
            _ => true,
        }
    }
}

/// How SRTP is to be protected, as use_srtp negotiates it (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SrtpProfile {
    /// AES in counter mode with a tag of 80 bits.
    Aes128CmSha1_80,
    /// AES in counter mode with a tag of 32 bits for RTP.
    Aes128CmSha1_32,
    /// AES-128-GCM.
    AeadAes128Gcm,
    /// AES-256-GCM.
    AeadAes256Gcm,
}

impl SrtpProfile {
    const ALL: [Self; 4] = [
        Self::Aes128CmSha1_80,
        Self::Aes128CmSha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 1,
            Self::Aes128CmSha1_32 => 2,
            Self::AeadAes128Gcm => 7,
            Self::AeadAes256Gcm => 8,
        }
    }

    /// The profile of that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.code() == code)
    }

    /// The registered name, as `RTCTransportStats.srtpCipher` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Length of the master key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Length of the master salt in bytes.
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// What use_srtp agreed on, and the master keys for it (RFC 5764 §4.2).
#[derive(Clone)]
pub struct SrtpKeys {
    /// The profile that both ends use.
    pub profile: SrtpProfile,
    /// Master key for what we send.
    pub local_key: Secret,
    /// Master salt for what we send.
    pub local_salt: Secret,
    /// Master key for what the peer sends.
    pub remote_key: Secret,
    /// Master salt for what the peer sends.
    pub remote_salt: Secret,
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys")
            .field("profile", &self.profile)
            .field("keys", &"redacted")
            .finish()
    }
}

/// Which versions may be negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Versions {
    /// DTLS 1.2 alone. A peer that offers 1.3 beside it gets 1.2.
    #[default]
    Dtls12,
    /// DTLS 1.3 with a peer that has it, else 1.2.
    Dtls12And13,
    /// DTLS 1.3 alone.
    Dtls13,
}

impl Versions {
    /// Whether a version may be negotiated.
    pub fn allow(self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::Dtls12 => self != Self::Dtls13,
            ProtocolVersion::Dtls13 => self != Self::Dtls12,
        }
    }
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

/// Receives the secrets of each connection, one line of the `SSLKEYLOGFILE` format at a time. Whoever has these lines can
/// decrypt the session; there is no key log unless the application asks for one.
#[derive(Clone)]
pub struct KeyLog(Arc<dyn Fn(&str) + Send + Sync>);

impl KeyLog {
    /// Calls `write` with each line, without its line feed.
    pub fn new(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        use std::fmt::Write as _;
        let mut line = Zeroizing::new(String::with_capacity(
            label.len() + 2 * (client_random.len() + secret.len()) + 2,
        ));
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                let _ = write!(line, "{byte:02x}");
            }
        }
        (self.0)(&line);
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLog")
    }
}

/// How a connection is to be made. [`Config::new`] fills in what WebRTC wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our certificate.
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
    /// Where secrets go, if anywhere.
    pub key_log: Option<KeyLog>,
    /// Who computes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for suite in CipherSuite::ALL {
            assert_eq!(CipherSuite::from_code(suite.code()), Some(suite));
        }
        for profile in SrtpProfile::ALL {
            assert_eq!(SrtpProfile::from_code(profile.code()), Some(profile));
        }
        assert_eq!(CipherSuite::from_code(0x0a0a), None);
        assert_eq!(SrtpProfile::from_code(0), None);
    }
}
