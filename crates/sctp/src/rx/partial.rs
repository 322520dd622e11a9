//! One unfinished message of I-DATA.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::chunk::{Data, Fragment};
use crate::config::MESSAGE_OVERHEAD;

/// What an unfinished message costs against the receive window besides its bytes.
pub(super) const PARTIAL_OVERHEAD: usize = 256;

/// An unfinished message of I-DATA (RFC 8260 §2.1): its fragments may come between those of others, at any time.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// What is here from the first fragment on without a hole.
    pub(super) assembled: BytesMut,
    /// The next fragment's number.
    next: u32,
    /// Fragments above a hole.
    pieces: BTreeMap<u32, Bytes>,
    pieces_bytes: usize,
    pub(super) ppid: u32,
    /// The last fragment's number.
    last: Option<u32>,
}

impl Partial {
    /// To be put together in this buffer.
    pub(super) fn new(buffer: BytesMut) -> Self {
        Self {
            assembled: buffer,
            ..Self::default()
        }
    }

    /// What it holds of the receive window.
    pub(super) fn cost(&self) -> usize {
        PARTIAL_OVERHEAD + self.assembled.len() + self.pieces_bytes + self.pieces.len() * MESSAGE_OVERHEAD
    }

    pub(super) fn len(&self) -> usize {
        self.assembled.len() + self.pieces_bytes
    }

    /// Takes a fragment. `false` if it contradicts what is here.
    pub(super) fn insert(&mut self, fragment: &Fragment<'_>) -> bool {
        let fsn = fragment.fsn;
        if fsn < self.next || self.last.is_some_and(|last| fsn > last) || self.pieces.contains_key(&fsn) {
            return false;
        }
        if fragment.has(Data::BEGIN) {
            self.ppid = fragment.ppid;
        }
        if fragment.has(Data::END) {
            let beyond = self.pieces.last_key_value().is_some_and(|(known, _)| *known > fsn);
            if self.last.is_some() || beyond {
                return false;
            }
            self.last = Some(fsn);
        }
        if fsn > self.next {
            let piece = fragment.bytes();
            self.pieces_bytes += piece.len();
            self.pieces.insert(fsn, piece);
            return true;
        }
        self.assembled.extend_from_slice(fragment.payload);
        self.next += 1;
        while let Some(piece) = self.pieces.remove(&self.next) {
            self.pieces_bytes -= piece.len();
            self.assembled.extend_from_slice(&piece);
            self.next += 1;
        }
        true
    }

    pub(super) fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| last < self.next)
    }
}
