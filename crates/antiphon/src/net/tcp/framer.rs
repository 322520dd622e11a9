//! Splitting a stream into messages, in the framing that its other end speaks.

use antiphon_ice::{Deframer, Framing};
use antiphon_turn::StreamFramer;
use bytes::BytesMut;

/// Splits a stream into messages.
#[derive(Debug)]
pub(crate) enum Framer {
    Rfc4571(Deframer),
    Turn(StreamFramer),
}

impl Framer {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Rfc4571 => Self::Rfc4571(Deframer::default()),
            Framing::Turn => Self::Turn(StreamFramer::default()),
        }
    }

    /// Takes bytes from the stream; `false` once it makes no sense.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Rfc4571(framer) => framer.push(bytes),
            Self::Turn(framer) => framer.push(bytes),
        }
    }

    /// The next whole message of what was taken.
    pub(crate) fn next_message(&mut self) -> Option<BytesMut> {
        match self {
            Self::Rfc4571(framer) => framer.next_message(),
            Self::Turn(framer) => framer.next_message(),
        }
    }

    /// Whether the stream makes no sense any more.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Rfc4571(framer) => framer.is_broken(),
            Self::Turn(framer) => framer.is_broken(),
        }
    }
}
