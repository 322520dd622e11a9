//! Messages of I-DATA (RFC 8260): put together by their identifiers, whatever comes between.

use antiphon_sansio::Serial32;

use super::partial::{PARTIAL_OVERHEAD, Partial};
use super::reassembly::{MAX_RESERVED, Reassembly, TooLarge};
use crate::chunk::{Data, Fragment, Number};
use crate::config::MESSAGE_OVERHEAD;
use crate::event::{Ending, Message};

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
            Partial::new(self.spares.take(expected))
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
        let Some(partial) = self.partials.remove(&key) else {
            return Ok(());
        };
        self.held -= partial.cost();
        self.unfinished -= partial.cost();
        let data = self.spares.hand_out(partial.assembled);
        self.held += data.len() + MESSAGE_OVERHEAD;
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
