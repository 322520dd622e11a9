//! Chunks of the sending half: before their first transmission, and until they are acknowledged.

use std::time::{Duration, Instant};

use antiphon_sansio::Serial16;
use bytes::Bytes;

use crate::chunk::Data;

/// Which message a chunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageKey {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    /// Counts the messages of the stream and kind.
    pub(crate) id: u32,
}

/// A chunk before its first transmission.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk {
    pub(crate) payload: Bytes,
    pub(crate) stream: u16,
    /// The stream sequence number; of an unordered message zero.
    pub(crate) ssn: Serial16,
    /// The message's number, the MID if messages are interleaved (RFC 8260 §2.1).
    pub(crate) message_id: u32,
    /// The fragment's number in its message.
    pub(crate) fsn: u32,
    pub(crate) ppid: u32,
    pub(crate) flags: u8,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) expires: Option<Instant>,
}

impl NewChunk {
    pub(super) fn key(&self) -> MessageKey {
        MessageKey {
            stream: self.stream,
            unordered: self.flags & Data::UNORDERED != 0,
            id: self.message_id,
        }
    }
}

/// What the sender knows of the path's time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathTime {
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
}

/// Where a chunk that has a TSN is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    InFlight,
    /// Waits for retransmission.
    Lost,
    /// Reported in a gap block.
    Acked,
    /// Given up (RFC 3758 §3.5).
    Abandoned,
}

/// A chunk that has a TSN.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) chunk: NewChunk,
    pub(super) state: Whereabouts,
    pub(super) transmissions: u32,
    /// The number of the packet that carried it last.
    pub(super) packet: u64,
    pub(super) sent_at: Instant,
    /// Its last packet was above the base size.
    pub(super) large: bool,
}

impl Sent {
    /// Whether its message's time or tries are over.
    pub(super) fn spent(&self, now: Instant) -> bool {
        let tries = self
            .chunk
            .max_retransmits
            .is_some_and(|max| self.transmissions > u32::from(max));
        tries || self.chunk.expires.is_some_and(|at| at <= now)
    }
}
