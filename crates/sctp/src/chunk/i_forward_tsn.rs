//! I-FORWARD-TSN (RFC 8260 §2.3.1).

use antiphon_sansio::{Reader, Serial32};

use super::kind;
use crate::error::ParseError;
use crate::packet::{Put, put_chunk};

/// The newest given-up message of a stream, of its ordered or of its unordered messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedMessage {
    /// The stream that loses messages.
    pub stream: u16,
    /// Whether unordered messages are meant.
    pub unordered: bool,
    /// The newest skipped message identifier.
    pub message_id: Serial32,
}

/// I-FORWARD-TSN (RFC 8260 §2.3.1).
///
/// ```text
/// | 194 |    flags     |        length         |
/// |            new cumulative TSN              |
/// |      stream        |     reserved       |U| x n
/// |                message id                  |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterleavedForwardTsn<'a> {
    /// Act as if everything up to here had arrived.
    pub new_cumulative_tsn: Serial32,
    skipped: &'a [u8],
}

impl<'a> InterleavedForwardTsn<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        let new_cumulative_tsn = Serial32::new(reader.u32()?);
        if !reader.remaining().is_multiple_of(8) {
            return Err(ParseError::Length);
        }
        Ok(Self {
            new_cumulative_tsn,
            skipped: reader.rest(),
        })
    }

    /// The streams that lose messages.
    pub fn skipped(&self) -> impl Iterator<Item = SkippedMessage> + 'a {
        let (messages, _) = self.skipped.as_chunks::<8>();
        messages.iter().map(|[a, b, _, u, id @ ..]| SkippedMessage {
            stream: u16::from_be_bytes([*a, *b]),
            unordered: u & 1 != 0,
            message_id: Serial32::new(u32::from_be_bytes(*id)),
        })
    }

    /// Appends the chunk.
    pub fn write(&self, out: &mut impl Put) {
        let tsn = self.new_cumulative_tsn.get().to_be_bytes();
        put_chunk(out, kind::I_FORWARD_TSN, 0, &[&tsn, self.skipped]);
    }
}

/// Appends an I-FORWARD-TSN of these parts.
pub fn write_i_forward_tsn(
    out: &mut impl Put,
    new_cumulative_tsn: Serial32,
    skipped: impl ExactSizeIterator<Item = SkippedMessage>,
) {
    let len = 8 + 8 * skipped.len();
    out.put(&[kind::I_FORWARD_TSN, 0]);
    out.put(&(len as u16).to_be_bytes());
    out.put(&new_cumulative_tsn.get().to_be_bytes());
    for SkippedMessage {
        stream,
        unordered,
        message_id,
    } in skipped
    {
        out.put(&stream.to_be_bytes());
        out.put(&[0, u8::from(unordered)]);
        out.put(&message_id.get().to_be_bytes());
    }
}
