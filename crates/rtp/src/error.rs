//! Why bytes from the network are refused.

/// Why bytes from the network are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A field, or a length or count in it, reaches past the end.
    #[error("a field reaches past the end")]
    Short,
    /// The version bits are not 2 (RFC 3550 §5.1).
    #[error("not RTP version 2")]
    Version,
    /// The padding length is zero, or larger than what it pads (RFC 3550 §5.1).
    #[error("bad padding")]
    Padding,
    /// A fixed field has a value that the format forbids.
    #[error("a field has a forbidden value")]
    Value,
    /// Units of a picture in another order than that of decoding (RFC 6184 §5.4 mode 2, RFC 7798 §4.4 with DONL): not read here.
    #[error("interleaved units are not supported")]
    Interleaved,
}

impl From<antiphon_sansio::Short> for ParseError {
    fn from(_: antiphon_sansio::Short) -> Self {
        Self::Short
    }
}
