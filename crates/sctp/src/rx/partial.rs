use std::collections::BTreeMap;

use antiphon_sansio::Serial32;
use bytes::{Bytes, BytesMut};

use super::reassembly::{Fragment, MAX_RESERVED, Number, OVERHEAD, Reassembly, TooLarge};
use crate::chunk::Data;
use crate::{Ending, Message};

/// What an unfinished message costs against the receive window besides its bytes.
const PARTIAL_OVERHEAD: usize = 256;

/// An unfinished message of I-DATA (RFC 8260 §2.1): its fragments may come between those of others, at any time.
#[derive(Debug, Default)]
pub(crate) struct Partial {
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
    /// What it holds of the receive window.
    pub(crate) fn cost(&self) -> usize {
        PARTIAL_OVERHEAD + self.assembled.len() + self.pieces_bytes + self.pieces.len() * OVERHEAD
    }

    fn len(&self) -> usize {
        self.assembled.len() + self.pieces_bytes
    }

    /// Takes a fragment. `false` if it contradicts what is here.
    fn insert(&mut self, fragment: &Fragment<'_>) -> bool {
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

    fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| last < self.next)
    }
}

impl Reassembly {
    /// Takes a fragment of an interleaved message.
    pub(super) fn insert_partial(&mut self, fragment: &Fragment<'_>, id: Serial32) -> Result<(), TooLarge> {
        let unordered = fragment.has(Data::UNORDERED);
        let key = (fragment.stream, unordered, id.get());
        // A number near the end would wrap, and a first fragment is number 0 by definition: both are nonsense.
        if fragment.fsn == u32::MAX || (fragment.fsn == 0) != fragment.has(Data::BEGIN) {
            self.dropped += 1;
            return Ok(());
        }
        let few = self.partials.len() < MAX_RESERVED;
        let expected = if few && fragment.fsn == 0 { self.expected_len } else { 0 };
        let partial = self.partials.entry(key).or_insert_with(|| {
            self.held += PARTIAL_OVERHEAD;
            self.unfinished += PARTIAL_OVERHEAD;
            Partial {
                assembled: self.spares.take(expected),
                ..Partial::default()
            }
        });
        let before = partial.cost();
        if !partial.insert(fragment) {
            self.dropped += 1;
        }
        let added = partial.cost() - before.min(partial.cost());
        let saved = before - before.min(partial.cost());
        self.held = self.held + added - saved;
        self.unfinished = self.unfinished + added - saved;
        let (len, whole) = (partial.len(), partial.is_whole());
        if len > self.max_message && !self.is_partial(unordered) {
            return Err(TooLarge);
        }
        if !whole {
            if !unordered {
                self.hand_out_partial(fragment.stream, id);
            }
            return Ok(());
        }
        let partial = self.partials.remove(&key).expect("just seen");
        self.held -= partial.cost();
        self.unfinished -= partial.cost();
        let data = self.spares.hand_out(partial.assembled);
        self.held += data.len() + OVERHEAD;
        self.expect_len(data.len());
        let message = Message {
            stream: fragment.stream,
            ppid: partial.ppid,
            data,
            unordered,
            ending: Ending::End,
        };
        self.deliver(message, Number::Mid(id));
        Ok(())
    }

    /// Drops unfinished messages of the stream: all of them, or those of a kind up to a number.
    pub(super) fn drop_partials(&mut self, stream: u16, up_to: Option<(bool, Serial32)>) {
        if self.partials.is_empty() {
            return;
        }
        let range = (stream, false, 0)..=(stream, true, u32::MAX);
        let gone: Vec<_> = self
            .partials
            .range(range)
            .map(|(key, _)| *key)
            .filter(|(_, unordered, id)| {
                up_to.is_none_or(|(kind, last)| kind == *unordered && Serial32::new(*id).distance_from(last) <= 0)
            })
            .collect();
        for key in gone {
            if let Some(partial) = self.partials.remove(&key) {
                self.held -= partial.cost();
                self.unfinished -= partial.cost();
            }
        }
    }
}
