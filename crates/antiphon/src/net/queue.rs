//! A socket, and what waits because its kernel buffer is full.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::run::{Run, Sent};
use super::socket::Socket;

/// Bytes that wait for a full kernel buffer; more are dropped, as a full link would.
const MAX_BACKLOG: usize = 1024 * 1024;
/// Empty datagrams have no bytes: runs that wait.
const MAX_RUNS: usize = 4096;

/// A socket, and what waits because its kernel buffer is full.
pub(crate) struct QueuedSocket {
    pub(crate) socket: Socket,
    /// The bytes of what waits, and where each run is in them.
    backlog: Vec<u8>,
    runs: Vec<Run>,
    /// Runs that were lost: the kernel refused them, or too much waited.
    lost: u64,
}

impl QueuedSocket {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            backlog: Vec::new(),
            runs: Vec::new(),
            lost: 0,
        }
    }

    /// The bound address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.addr()
    }

    /// Ready when datagrams wait, or when a full kernel buffer has room again.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.socket.poll_readable(cx).is_ready();
        let writable = self.is_blocked() && self.socket.poll_writable(cx).is_ready();
        if readable || writable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Sends as [`Socket::send`] does. What a full kernel buffer refuses waits, within a bound.
    pub(crate) fn send(&mut self, runs: &[Run], buffer: &[u8]) {
        let sent = if self.is_blocked() {
            Sent::default()
        } else {
            self.socket.send(runs, buffer)
        };
        self.lost += sent.lost;
        let mut skip = sent.bytes;
        for run in &runs[sent.runs..] {
            self.keep(run, skip, buffer);
            skip = 0;
        }
    }

    /// Keeps what is left of a run behind `skip` bytes.
    fn keep(&mut self, run: &Run, skip: usize, buffer: &[u8]) {
        let bytes = &buffer[run.range.start + skip..run.range.end];
        if self.backlog.len() + bytes.len() > MAX_BACKLOG || self.runs.len() == MAX_RUNS {
            self.lost += 1;
            return;
        }
        let start = self.backlog.len();
        self.backlog.extend_from_slice(bytes);
        self.runs.push(Run {
            range: start..self.backlog.len(),
            ..run.clone()
        });
    }

    /// Whether something waits for room in the kernel: the driver then polls no machine for more.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) {
        let sent = self.socket.send(&self.runs, &self.backlog);
        self.lost += sent.lost;
        self.runs.drain(..sent.runs);
        if let Some(next) = self.runs.first_mut() {
            next.range.start += sent.bytes;
        } else {
            // The memory goes: a full buffer is rare.
            (self.backlog, self.runs) = (Vec::new(), Vec::new());
        }
    }
}

impl Drop for QueuedSocket {
    fn drop(&mut self) {
        if self.lost > 0 {
            tracing::debug!(local = %self.addr(), runs = self.lost, "datagrams were not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_sansio::Ecn;

    use super::super::scratch::Scratch;
    use super::super::socket::PEER_BUFFER;
    use super::*;

    fn run(remote: SocketAddr, range: std::ops::Range<usize>, segment: usize) -> Run {
        Run {
            remote,
            ecn: Ecn::NotEct,
            range,
            segment,
        }
    }

    #[tokio::test]
    async fn what_a_full_kernel_buffer_left_goes_first_and_too_much_is_dropped() {
        let bind = || Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), PEER_BUFFER).unwrap();
        let (mut queued, receiver) = (QueuedSocket::new(bind()), bind());
        let remote = receiver.addr();
        // As if the kernel had taken the first 200 bytes of this.
        queued.keep(&run(remote, 0..500, 100), 200, &[1; 500]);
        assert!(queued.is_blocked());
        queued.send(&[run(remote, 0..50, 50)], &[2; 50]);
        assert_eq!(queued.runs.len(), 2, "behind what waits");
        queued.send(&[run(remote, 0..MAX_BACKLOG, 1000)], &vec![3; MAX_BACKLOG]);
        assert_eq!((queued.runs.len(), queued.lost), (2, 1));
        queued.flush();
        assert!(!queued.is_blocked());
        assert_eq!(queued.backlog.capacity(), 0, "memory for what is rare");
        let (mut scratch, mut got) = (Scratch::default(), Vec::new());
        while got.len() < 4 {
            std::future::poll_fn(|cx| receiver.poll_readable(cx)).await;
            receiver.receive(&mut scratch, |_, _| true).unwrap();
            while let Some(batch) = scratch.next_batch() {
                got.extend(batch.datagrams().map(|data| (data.len(), data[0])));
            }
        }
        assert_eq!(got, [(100, 1), (100, 1), (100, 1), (50, 2)]);
    }
}
