//! Why a packet is not protected or not accepted.

/// Why a packet was not protected or not accepted, or why no context could be made.
///
/// Only [`Error::MasterKey`] and [`Error::KeyExhausted`] say that something is wrong with the context; after any other error
/// drop the packet and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The master key or salt has not the profile's length.
    #[error("master key or salt of the wrong length")]
    MasterKey,
    /// Too short for its own header and the tag, or not version 2.
    #[error("not an SRTP packet")]
    Malformed,
    /// The tag does not match: forged, damaged, or another key.
    #[error("authentication failed")]
    Authentication,
    /// The packet's index was seen before, or is older than the replay window.
    #[error("replayed or too old")]
    Replayed,
    /// An SRTCP packet that is authenticated but not encrypted. No profile of DTLS-SRTP allows it (RFC 8827 §6.5).
    #[error("SRTCP without encryption")]
    Unencrypted,
    /// The context knows [`MAX_SSRCS`](crate::MAX_SSRCS) sources already.
    #[error("too many sources")]
    TooManySsrcs,
    /// Protecting the packet would use an index twice, and with it keystream and nonce.
    #[error("packet index used before")]
    IndexReused,
    /// The master key has reached the end of its life: [`MAX_RTP_PACKETS`](crate::MAX_RTP_PACKETS) or
    /// [`MAX_RTCP_PACKETS`](crate::MAX_RTCP_PACKETS), or the last index of a source (RFC 3711 §9.2, RFC 7714 §10). Nothing
    /// more is sent under it.
    #[error("the key is used up")]
    KeyExhausted,
    /// Header extension or CSRCs are in the clear, and [`Cryptex::Require`](crate::Cryptex::Require) is set (RFC 9335 §5.2).
    #[error("header extension or CSRCs in the clear")]
    HeaderInClear,
    /// The slice has no room for what protecting adds.
    #[error("no room for the tag")]
    NoRoom,
}
