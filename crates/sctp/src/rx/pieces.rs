//! The handing out of what has come of a message that is not whole yet (RFC 6458 §6.1.7): of each stream that whose
//! turn it is.

use antiphon_sansio::Serial32;
use bytes::BytesMut;

use super::reassembly::Reassembly;
use super::run::{Content, Run};
use crate::config::MESSAGE_OVERHEAD;
use crate::event::{Ending, Message};
use crate::tsn::Tsn;

impl Reassembly {
    /// Whether messages of this kind are handed out in pieces, and so may be of any size.
    pub(super) fn is_partial(&self, unordered: bool) -> bool {
        self.point.is_some() && !unordered
    }

    /// The last message had so many bytes, or what was left of it.
    pub(super) fn expect_len(&mut self, bytes: usize) {
        self.expected_len = bytes.min(self.max_message);
    }

    /// Hands out what this run of DATA has from its message's beginning on, if that is enough.
    #[inline]
    pub(super) fn hand_out_run(&mut self, first: Tsn) {
        let Some(point) = self.point else { return };
        let Some(run) = self.runs.get_mut(&first) else { return };
        if run.unordered || !run.begin || run.end || run.bytes < point {
            return;
        }
        let (id, ppid) = (run.stream, run.ppid);
        let stream = self.streams.entry(id).or_default();
        let Content::Assembled(assembled) = &mut run.content else {
            return;
        };
        if run.number.distance_from(stream.next_ssn) == 0 {
            run.bytes = 0;
            let data = std::mem::take(assembled);
            self.hand_out(id, ppid, data);
        }
    }

    /// The same of I-DATA.
    #[inline]
    pub(super) fn hand_out_partial(&mut self, id: u16, message: Serial32) {
        let Some(point) = self.point else { return };
        let Some(partial) = self.partials.get_mut(&(id, false, message.get())) else {
            return;
        };
        let stream = self.streams.entry(id).or_default();
        if partial.assembled.len() >= point && message == Serial32::new(stream.next_ssn as u32) {
            let (ppid, data) = (partial.ppid, std::mem::take(&mut partial.assembled));
            self.hand_out(id, ppid, data);
        }
    }

    /// The stream's next message may have begun to arrive before its turn.
    pub(super) fn hand_out_next(&mut self, id: u16) {
        if self.point.is_none() {
            return;
        }
        let next = self.streams.get(&id).map_or(0, |stream| stream.next_ssn);
        let is_next =
            |run: &Run| run.begin && run.stream == id && !run.unordered && run.number.distance_from(next) == 0;
        let first = self.runs.iter().find(|(_, run)| is_next(run)).map(|(first, _)| *first);
        match first {
            Some(first) => self.hand_out_run(first),
            None => self.hand_out_partial(id, Serial32::new(next as u32)),
        }
    }

    fn hand_out(&mut self, id: u16, ppid: u32, data: BytesMut) {
        // The bytes go on counting until they are released, and a piece counts as a message does.
        self.unfinished -= data.len();
        self.held += MESSAGE_OVERHEAD;
        self.bytes_received += data.len() as u64;
        let stream = self.streams.entry(id).or_default();
        stream.begun = Some(ppid);
        stream.ready.push_back(Message {
            stream: id,
            ppid,
            data: data.freeze(),
            unordered: false,
            ending: Ending::More,
        });
        self.announce(id);
    }
}
