//! Memory for what comes in: the kernel's, and the arena that wanted datagrams are copied to.

use std::collections::VecDeque;
use std::net::SocketAddr;

use antiphon_sansio::Ecn;
use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, RecvMeta};

/// What a message of the kernel's holds at most: one GRO batch.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;
/// What one allocation for received datagrams holds. It is used again as soon as nobody holds a part of it.
pub(super) const ARENA_BYTES: usize = MESSAGE_BYTES;

/// Arenas that are asked again, oldest first, when the one in use is held: readers of bulk data hold a few for a moment each, and to
/// allocate anew each time costs the system calls of a heap that grows and shrinks.
const MAX_HELD: usize = 8;

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
    arenas: Arenas,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            kernel: vec![0; BATCH_SIZE * MESSAGE_BYTES],
            messages: [RecvMeta::default(); BATCH_SIZE],
            left: 0..0,
            arenas: Arenas::default(),
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
        let start = at * MESSAGE_BYTES;
        let arena = self.arenas.with_room(len);
        arena.extend_from_slice(&self.kernel[start..start + len]);
        let data = arena.split();
        Some(Batch {
            remote: addr,
            ecn: ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8)),
            stride,
            data,
        })
    }

    /// What the arena has room for, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.arenas.current.as_ref().map_or(0, BytesMut::capacity)
    }
}

/// Memory that batches are cut from.
#[derive(Default)]
struct Arenas {
    current: Option<BytesMut>,
    /// Those that were used up while somebody held a part of them, oldest first.
    held: VecDeque<BytesMut>,
}

impl Arenas {
    /// An arena with room for `len` bytes.
    fn with_room(&mut self, len: usize) -> &mut BytesMut {
        if let Some(used) = self
            .current
            .take_if(|arena| arena.capacity() < len && !arena.try_reclaim(len))
        {
            self.held.push_back(used);
        }
        let held = &mut self.held;
        self.current.get_or_insert_with(|| {
            let is_free = held.front_mut().is_some_and(|oldest| oldest.try_reclaim(len));
            if !is_free && held.len() <= MAX_HELD {
                return BytesMut::with_capacity(ARENA_BYTES);
            }
            // What is held for long goes out of sight, so that the others are asked.
            let oldest = held.pop_front().filter(|_| is_free);
            oldest.unwrap_or_else(|| BytesMut::with_capacity(ARENA_BYTES))
        })
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
