//! Why a connection failed, or a call on it.

use crate::alert::AlertDescription;

/// Why a connection failed, or why an operation was refused.
///
/// Datagrams that are merely malformed, replayed or forged never become an error: they are dropped and counted in
/// [`Stats`](crate::Stats).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No fingerprint that signalling named belongs to the peer's certificate (RFC 8122 §6.2).
    #[error("the peer's certificate has none of the signalled fingerprints")]
    FingerprintMismatch,
    /// The peer sent no certificate, or one that cannot be read.
    #[error("the peer sent no usable certificate")]
    BadCertificate,
    /// A signature or a Finished message of the peer did not verify.
    #[error("a handshake signature or checksum of the peer is wrong")]
    BadSignature,
    /// The peers have no version in common that both allow.
    #[error("no DTLS version in common")]
    NoCommonVersion,
    /// The peers have no cipher suite, group or signature scheme in common.
    #[error("no cipher suite, group or signature scheme in common")]
    NoCommonParameters,
    /// The peer does not support the extended master secret (RFC 7627), which we require.
    #[error("the peer does not support the extended master secret")]
    NoExtendedMasterSecret,
    /// The peer broke a rule of the handshake; the text names the rule.
    #[error("protocol violation: {0}")]
    Protocol(&'static str),
    /// The peer ended the connection with a fatal alert.
    #[error("the peer sent alert {0:?}")]
    PeerAlert(AlertDescription),
    /// The handshake did not complete in time.
    #[error("the handshake timed out")]
    TimedOut,
    /// The operation needs a completed handshake.
    #[error("the connection is not established")]
    NotConnected,
    /// The sequence numbers of an epoch, or the uses of a key, are spent.
    #[error("sequence numbers are exhausted")]
    Exhausted,
    /// Cryptography failed locally.
    #[error("local cryptography failed")]
    Crypto,
    /// The certificate or private key that the caller gave cannot be read, or the two do not belong together.
    #[error("certificate or key cannot be used: {0}")]
    Certificate(&'static str),
}

impl Error {
    /// The alert that tells the peer (RFC 8446 §6.2), where there is one to tell.
    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        Some(match self {
            Self::FingerprintMismatch | Self::BadCertificate => AlertDescription::BAD_CERTIFICATE,
            Self::BadSignature => AlertDescription::DECRYPT_ERROR,
            Self::NoCommonVersion => AlertDescription::PROTOCOL_VERSION,
            Self::NoCommonParameters | Self::NoExtendedMasterSecret => AlertDescription::HANDSHAKE_FAILURE,
            Self::Protocol(_) => AlertDescription::ILLEGAL_PARAMETER,
            Self::Exhausted | Self::Crypto => AlertDescription::INTERNAL_ERROR,
            Self::PeerAlert(_) | Self::TimedOut | Self::NotConnected | Self::Certificate(_) => return None,
        })
    }
}
