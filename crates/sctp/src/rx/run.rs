//! Fragments of a message of DATA that lie side by side.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::spares::Spares;
use crate::chunk::{Data, Fragment, Number};
use crate::config::MESSAGE_OVERHEAD;
use crate::tsn::Tsn;

/// Fragments with consecutive TSNs of one message (RFC 9260 §6.9: a message's TSNs are consecutive).
#[derive(Debug)]
pub(super) struct Run {
    /// The TSN after the last one.
    pub(super) next: Tsn,
    pub(super) begin: bool,
    pub(super) end: bool,
    pub(super) stream: u16,
    pub(super) number: Number,
    pub(super) ppid: u32,
    pub(super) unordered: bool,
    pub(super) bytes: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The run has its beginning: its bytes are where they will be handed out from. The one copy.
    Assembled(BytesMut),
    /// The run waits for what comes before it.
    Pieces(VecDeque<Bytes>),
}

impl Run {
    pub(super) fn new(fragment: &Fragment<'_>, expected_len: usize, spares: &mut Spares) -> Self {
        let begin = fragment.has(Data::BEGIN);
        let content = if begin {
            let mut assembled = spares.take(expected_len.max(fragment.payload.len()));
            assembled.extend_from_slice(fragment.payload);
            Content::Assembled(assembled)
        } else {
            Content::Pieces(VecDeque::from([fragment.bytes()]))
        };
        Self {
            next: fragment.tsn.next(),
            begin,
            end: fragment.has(Data::END),
            stream: fragment.stream,
            number: fragment.number,
            ppid: fragment.ppid,
            unordered: fragment.has(Data::UNORDERED),
            bytes: fragment.payload.len(),
            content,
        }
    }

    pub(super) fn is_kin(&self, fragment: &Fragment<'_>) -> bool {
        let unordered = fragment.has(Data::UNORDERED);
        self.stream == fragment.stream && self.unordered == unordered && (unordered || self.number == fragment.number)
    }

    pub(super) fn cost(&self) -> usize {
        self.bytes
            + match &self.content {
                Content::Assembled(_) => MESSAGE_OVERHEAD,
                Content::Pieces(pieces) => MESSAGE_OVERHEAD * pieces.len(),
            }
    }

    pub(super) fn push(&mut self, fragment: &Fragment<'_>) {
        match &mut self.content {
            Content::Assembled(assembled) => assembled.extend_from_slice(fragment.payload),
            Content::Pieces(pieces) => pieces.push_back(fragment.bytes()),
        }
        self.bytes += fragment.payload.len();
        self.next = fragment.tsn.next();
        self.end |= fragment.has(Data::END);
    }

    /// Appends the run that follows.
    pub(super) fn join(&mut self, right: Self) {
        self.content.append(right.content);
        self.bytes += right.bytes;
        self.next = right.next;
        self.end = right.end;
    }
}

impl Content {
    fn append(&mut self, right: Self) {
        match (self, right) {
            (Self::Assembled(left), Self::Pieces(right)) => {
                right.iter().for_each(|piece| left.extend_from_slice(piece))
            }
            // The smaller side moves: hostile arrival orders stay cheap.
            (Self::Pieces(left), Self::Pieces(mut right)) if left.len() >= right.len() => left.append(&mut right),
            (Self::Pieces(left), Self::Pieces(mut right)) => {
                while let Some(piece) = left.pop_back() {
                    right.push_front(piece);
                }
                *left = right;
            }
            // What has a beginning follows nothing; its bytes would be in their place all the same.
            (Self::Assembled(left), Self::Assembled(right)) => left.extend_from_slice(&right),
            (Self::Pieces(left), Self::Assembled(right)) => left.push_back(right.freeze()),
        }
    }

    /// All of it in one buffer.
    pub(super) fn assembled(self) -> BytesMut {
        match self {
            Self::Assembled(bytes) => bytes,
            Self::Pieces(pieces) => pieces.iter().flatten().copied().collect(),
        }
    }
}
