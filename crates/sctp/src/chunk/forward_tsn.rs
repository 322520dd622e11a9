//! FORWARD TSN (RFC 3758 §3.2).

use antiphon_sansio::{Reader, Serial16, Serial32};

use super::kind;
use crate::error::ParseError;
use crate::packet::{Put, put_chunk};

/// The newest given-up message of an ordered stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkippedStream {
    /// The stream that loses messages.
    pub stream: u16,
    /// Its newest skipped sequence number.
    pub ssn: Serial16,
}

/// FORWARD TSN (RFC 3758 §3.2).
///
/// ```text
/// |           new cumulative TSN              |
/// |      stream         |        SSN          | x n
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardTsn<'a> {
    /// Act as if everything up to here had arrived.
    pub new_cumulative_tsn: Serial32,
    skipped: &'a [u8],
}

impl<'a> ForwardTsn<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        let new_cumulative_tsn = Serial32::new(reader.u32()?);
        if !reader.remaining().is_multiple_of(4) {
            return Err(ParseError::Length);
        }
        Ok(Self {
            new_cumulative_tsn,
            skipped: reader.rest(),
        })
    }

    /// The streams that lose messages.
    pub fn skipped(&self) -> impl Iterator<Item = SkippedStream> + 'a {
        self.skipped
            .as_chunks::<4>()
            .0
            .iter()
            .map(|[a, b, c, d]| SkippedStream {
                stream: u16::from_be_bytes([*a, *b]),
                ssn: Serial16::new(u16::from_be_bytes([*c, *d])),
            })
    }

    /// Appends the chunk.
    pub fn write(&self, out: &mut impl Put) {
        let tsn = self.new_cumulative_tsn.get().to_be_bytes();
        put_chunk(out, kind::FORWARD_TSN, 0, &[&tsn, self.skipped]);
    }
}

/// Appends a FORWARD TSN of these parts.
pub fn write_forward_tsn(
    out: &mut impl Put,
    new_cumulative_tsn: Serial32,
    skipped: impl ExactSizeIterator<Item = SkippedStream>,
) {
    let len = 8 + 4 * skipped.len();
    out.put(&[kind::FORWARD_TSN, 0]);
    out.put(&(len as u16).to_be_bytes());
    out.put(&new_cumulative_tsn.get().to_be_bytes());
    for SkippedStream { stream, ssn } in skipped {
        out.put(&stream.to_be_bytes());
        out.put(&ssn.get().to_be_bytes());
    }
}
