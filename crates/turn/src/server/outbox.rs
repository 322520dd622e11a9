//! What waits to be sent.

use std::collections::VecDeque;

use antiphon_sansio::{Bytes, Ecn, Local, Path, Transmit, TransmitBuf};

use crate::channel_data::CHANNEL_HEADER_LEN;

/// The most datagrams that wait to be sent; later ones are dropped, as a network would drop them.
pub const MAX_QUEUE: usize = 4096;

/// The most bytes that wait to be sent.
pub const MAX_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// A datagram that waits to be sent: a ChannelData header if there is one, the data, padding.
pub(super) struct Outgoing {
    pub(super) path: Path,
    pub(super) header: Option<[u8; CHANNEL_HEADER_LEN]>,
    pub(super) data: Bytes,
}

impl Outgoing {
    /// RFC 8656 §12.5: over a stream ChannelData is padded.
    fn padding(&self) -> usize {
        match (self.header, self.path.local) {
            (Some(_), Local::Tcp(_)) => self.data.len().next_multiple_of(4) - self.data.len(),
            _ => 0,
        }
    }

    fn len(&self) -> usize {
        self.header.map_or(0, |header| header.len()) + self.data.len() + self.padding()
    }
}

/// It was dropped: the queue is full, or it does not fit a datagram.
pub(super) struct Overflow;

/// The queue of datagrams to be sent.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, item: Outgoing) -> Result<(), Overflow> {
        if self.queue.len() >= MAX_QUEUE || self.bytes + item.len() > MAX_QUEUE_BYTES {
            return Err(Overflow);
        }
        self.bytes += item.len();
        self.queue.push_back(item);
        Ok(())
    }

    /// Writes the next datagram as a segment of its own. `None`: there is none, or no room in `out`.
    pub(super) fn write_next(&mut self, out: &mut TransmitBuf) -> Option<Result<Transmit, Overflow>> {
        let item = self.queue.pop_front()?;
        out.set_path_room(0, 0);
        if !out.begin(0, 0) {
            self.queue.push_front(item);
            return None;
        }
        self.bytes -= item.len();
        if item.len() > out.remaining() {
            out.rollback();
            return Some(Err(Overflow));
        }
        if let Some(header) = &item.header {
            out.put_slice(header);
        }
        out.put_slice(&item.data);
        out.put_zeros(item.padding());
        Some(Ok(Transmit {
            path: item.path,
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
        }))
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.bytes = 0;
    }
}
