//! Memory for what comes in: the kernel's, one for each thread, and the arena that wanted datagrams are copied to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;

use antiphon_sansio::Ecn;
use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, RecvMeta};

/// What a message of the kernel's holds at most: one GRO batch.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;
/// What one allocation for received datagrams holds. It is used again as soon as nobody holds a part of it.
pub(super) const ARENA_BYTES: usize = 32 * 1024;

thread_local! {
    /// Where the kernel writes: pages that it never reaches cost nothing. It is empty again before anybody else of the thread has a
    /// turn, so all sockets of the thread share it.
    static KERNEL: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH_SIZE * MESSAGE_BYTES]);
}

/// Lends the memory that the kernel writes to.
pub(super) fn with_kernel<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    KERNEL.with_borrow_mut(|kernel| use_it(kernel))
}

/// Where batches are copied to out of the kernel's hands; any number of sockets may share it.
///
/// The copy is what safe code costs: memory that the kernel may write to must be initialised, and initialising 64 KiB for each
/// GRO batch costs more than copying what came. In return nothing pins a kernel buffer, and batches lie side by side in an
/// arena that is reused, without allocation, while those who receive keep up. What nobody wants is not copied.
#[derive(Default)]
pub(crate) struct Scratch {
    arena: BytesMut,
    /// What was copied last, in order.
    waiting: VecDeque<Waiting>,
}

/// A batch within the arena.
struct Waiting {
    remote: SocketAddr,
    ecn: Ecn,
    len: usize,
    stride: usize,
}

impl Scratch {
    /// Makes room for `total` bytes that follow.
    pub(super) fn reserve(&mut self, total: usize) {
        // Gets the whole arena back if nobody holds a part of it.
        let enough = ARENA_BYTES.max(total);
        if self.arena.capacity() < total && !self.arena.try_reclaim(enough) {
            self.arena = BytesMut::with_capacity(enough);
        }
    }

    /// Takes over one message of the kernel's.
    pub(super) fn push(&mut self, bytes: &[u8], meta: &RecvMeta) {
        self.arena.extend_from_slice(bytes);
        self.waiting.push_back(Waiting {
            remote: meta.addr,
            ecn: meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8)),
            len: bytes.len(),
            stride: meta.stride,
        });
    }

    /// The next batch of those that were received last.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let Waiting {
            remote,
            ecn,
            len,
            stride,
        } = self.waiting.pop_front()?;
        Some(Batch {
            remote,
            ecn,
            stride,
            data: self.arena.split_to(len),
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
