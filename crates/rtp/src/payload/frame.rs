//! A frame as it is made of payloads, and what may be wrong with one.

use std::ops::Range;

use super::facts::FrameFacts;

/// Bytes of the largest frame: a key frame of 8K video at the best quality has a few million.
pub const MAX_FRAME: usize = 16 << 20;

/// Why a frame cannot be cut into packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is empty, larger than [`MAX_FRAME`], or a part of it that must not be cut is larger than a payload.
    #[error("the frame is empty or too large")]
    Size,
    /// It is not built as frames of this format are.
    #[error("the frame is not one of this format")]
    Malformed,
}

/// A frame that a [`Joiner`](super::Joiner) has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The frame is this part of its only payload, and need not be copied; `None`: it was appended to the buffer.
    pub part: Option<Range<usize>>,
    /// What is known of it.
    pub facts: FrameFacts,
}

impl Joined {
    pub(super) fn part(range: Range<usize>, facts: FrameFacts) -> Self {
        Self {
            part: Some(range),
            facts,
        }
    }

    pub(super) fn appended(facts: FrameFacts) -> Self {
        Self { part: None, facts }
    }
}
