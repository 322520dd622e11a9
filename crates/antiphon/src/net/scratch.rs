//! Memory for what comes in: the kernel's, and the arena that wanted datagrams are copied to.

use std::net::SocketAddr;

use antiphon_sansio::Ecn;
use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, RecvMeta};

/// What a message of the kernel's holds at most: one GRO batch.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;
/// What one allocation for received datagrams holds. It is used again as soon as nobody holds a part of it.
pub(super) const ARENA_BYTES: usize = 32 * 1024;

/// The stride of a message that nobody wants: no datagrams lie that close.
pub(super) const REFUSED: usize = 0;

/// Where the kernel writes, and where batches are copied to out of its hands; any number of sockets may share it.
///
/// The copy is what safe code costs: memory that the kernel may write to must be initialised, and initialising 64 KiB for each
/// GRO batch costs more than copying what came. In return nothing pins a kernel buffer, and batches lie side by side in an
/// arena that is reused, without allocation, while those who receive keep up. What nobody wants is not copied, and the rest is copied
/// when its turn has come: it is still at hand when it is read.
pub(crate) struct Scratch {
    /// Pages that the kernel never reaches cost nothing.
    pub(super) kernel: Vec<u8>,
    /// What the kernel wrote last.
    pub(super) messages: [RecvMeta; BATCH_SIZE],
    /// Those of the messages that have not been looked at.
    pub(super) left: std::ops::Range<usize>,
    arena: BytesMut,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            kernel: vec![0; BATCH_SIZE * MESSAGE_BYTES],
            messages: [RecvMeta::default(); BATCH_SIZE],
            left: 0..0,
            arena: BytesMut::new(),
        }
    }
}

impl Scratch {
    /// The next batch of those that were received last.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let wanted = |n: &usize| self.messages[*n].stride != REFUSED;
        let at = self.left.by_ref().find(wanted)?;
        let RecvMeta {
            addr, len, stride, ecn, ..
        } = self.messages[at];
        let enough = ARENA_BYTES.max(len);
        // Gets the whole arena back if nobody holds a part of it.
        if self.arena.capacity() < len && !self.arena.try_reclaim(enough) {
            self.arena = BytesMut::with_capacity(enough);
        }
        let start = at * MESSAGE_BYTES;
        self.arena.extend_from_slice(&self.kernel[start..start + len]);
        Some(Batch {
            remote: addr,
            ecn: ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8)),
            stride,
            data: self.arena.split(),
        })
    }

    /// What the arena has room for, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.arena.capacity()
    }
}

/// Datagrams of one source that came together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Who sent them.
    pub(crate) remote: SocketAddr,
    /// The mark that all of them carry.
    pub(crate) ecn: Ecn,
    /// The bytes of each but the last, which may be shorter. At least 1.
    stride: usize,
    data: BytesMut,
}

impl Batch {
    /// The datagrams, in order.
    pub(crate) fn datagrams(self) -> impl Iterator<Item = BytesMut> {
        let (mut data, stride) = (Some(self.data), self.stride);
        std::iter::from_fn(move || {
            let rest = data.as_mut()?;
            if rest.len() <= stride {
                // The last one needs no part of its own; an empty datagram is one too.
                return data.take();
            }
            Some(rest.split_to(stride))
        })
    }

    /// The datagrams side by side, and the bytes of each but the last, for who keeps them together.
    pub(crate) fn into_parts(self) -> (BytesMut, usize) {
        (self.data, self.stride)
    }
}
