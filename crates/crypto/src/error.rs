//! Why a key cannot be made, or a message not be believed.

/// The tag, signature or length is wrong. Deliberately says no more: what failed is of use to an attacker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct AuthError;

/// Why a key or an exchange could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The key has not the length that the algorithm asks for.
    #[error("the key has the wrong length")]
    KeyLength,
    /// The private key could not be read: not PKCS #8, or of a kind that is not supported.
    #[error("the private key is malformed or of an unsupported kind")]
    PrivateKey,
    /// The peer's public value is malformed, not on the curve, or gives an all-zero secret.
    #[error("the peer's public value is invalid")]
    PeerKey,
    /// The provider does not have the algorithm or group.
    #[error("the algorithm is not supported")]
    Unsupported,
    /// More output was asked of a key derivation than it can give.
    #[error("too much output was asked for")]
    OutputLength,
    /// The operating system gave no randomness.
    #[error("no randomness is available")]
    Randomness,
}
