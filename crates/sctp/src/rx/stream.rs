//! What has arrived on one stream: messages to read, and whole ones that wait for earlier ones.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::config::MESSAGE_OVERHEAD;
use crate::event::{Ending, Message};

/// One stream of the peer's.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The next sequence number to hand out, extended.
    pub(super) next_ssn: u64,
    /// The PPID of that message, if a part of it was handed out already.
    pub(super) begun: Option<u32>,
    /// Whole messages that wait for earlier ones.
    pub(super) waiting: BTreeMap<u64, Message>,
    pub(super) ready: VecDeque<Message>,
    /// Unordered messages that wait for the end of one that was handed out in part.
    pub(super) held_back: VecDeque<Message>,
    /// A `Readable` event waits in the queue.
    pub(super) announced: bool,
}

impl Stream {
    /// Hands out what has become next.
    pub(super) fn release_waiting(&mut self, waiting: &mut usize, unfinished: &mut usize, bytes_received: &mut u64) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() == self.next_ssn
        {
            let message = entry.remove();
            *waiting -= 1;
            *unfinished -= message.data.len() + MESSAGE_OVERHEAD;
            *bytes_received += message.data.len() as u64;
            self.ready.push_back(message);
            self.next_ssn += 1;
        }
    }

    /// The message that was handed out in part, if there was one, has ended.
    pub(super) fn end_partial(&mut self) {
        if self.begun.take().is_some() {
            self.ready.append(&mut self.held_back);
        }
    }

    /// The rest of a message that was handed out in part does not come. What that holds of the receive window.
    pub(super) fn give_up(&mut self, id: u16) -> usize {
        let Some(ppid) = self.begun else { return 0 };
        self.ready.push_back(Message {
            stream: id,
            ppid,
            data: Bytes::new(),
            unordered: false,
            ending: Ending::GivenUp,
        });
        self.end_partial();
        MESSAGE_OVERHEAD
    }
}
