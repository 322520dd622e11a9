//! Application data that waits: for the peer to be known as the right one, and for the owner to poll for it.

use antiphon_sansio::{Packet, Queue};

/// Application data that came before the peer was known to be the right one.
const MAX_HELD_RECORDS: usize = 64;
const MAX_HELD_BYTES: usize = 64 * 1024;
/// Application data that nobody has polled for. More is dropped, as the network would.
const MAX_QUEUED_RECORDS: usize = 4096;
const MAX_QUEUED_BYTES: usize = 2 * 1024 * 1024;
/// Room that stays when nothing waits: an owner polls after each datagram, or after a few.
const KEPT: usize = 4;

/// There is no room: the record is to be dropped and counted.
pub(super) struct Full;

/// Records of application data, decrypted: of each the first bytes of a buffer, and how many.
#[derive(Default)]
pub(super) struct Waiting {
    queued: Queue<(Packet, usize), KEPT>,
    queued_bytes: usize,
    held: Queue<(Packet, usize), KEPT>,
    held_bytes: usize,
}

impl Waiting {
    /// Takes a record that may be polled for.
    #[inline(always)]
    pub(super) fn queue(&mut self, record: Packet, len: usize) -> Result<(), Full> {
        let queued_bytes = self.queued_bytes + len;
        if self.queued.len() == MAX_QUEUED_RECORDS || queued_bytes > MAX_QUEUED_BYTES {
            return Err(Full);
        }
        self.queued_bytes = queued_bytes;
        self.queued.push_back((record, len));
        Ok(())
    }

    /// Takes a record of whom nobody knows yet whether it is the right peer.
    pub(super) fn hold(&mut self, record: Packet, len: usize) -> Result<(), Full> {
        if self.held.len() == MAX_HELD_RECORDS || self.held_bytes + len > MAX_HELD_BYTES {
            return Err(Full);
        }
        self.held_bytes += len;
        self.held.push_back((record, len));
        Ok(())
    }

    /// The peer is the right one: what was held may be polled for. It fits, for nothing is queued before.
    pub(super) fn release_held(&mut self) {
        self.queued.append(&mut self.held);
        self.queued_bytes += std::mem::take(&mut self.held_bytes);
    }

    /// The end has come: what was held is dropped.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// The record that has waited longest.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Packet> {
        let (mut record, len) = self.queued.pop_front()?;
        self.queued_bytes -= len;
        record.data.truncate(len);
        Some(record)
    }
}
