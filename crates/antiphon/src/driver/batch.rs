//! Datagrams that go the same way in one system call.

use antiphon_sansio::{Ecn, Local, Path, Transmit};

/// Datagrams that lie side by side in the buffer and go the same way.
pub(super) struct Batch {
    pub(super) path: Path,
    pub(super) ecn: Ecn,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The size of every datagram but the last, which may be shorter.
    pub(super) segment: usize,
}

impl Batch {
    pub(super) fn new(transmit: Transmit) -> Self {
        let segment = transmit.segment_size.unwrap_or(transmit.range.len());
        Self {
            path: transmit.path,
            ecn: transmit.ecn,
            start: transmit.range.start,
            end: transmit.range.end,
            segment: segment.max(1),
        }
    }

    /// Takes `next` in, if the kernel can send both in one call, of at most `limit` datagrams. Returns whether it did.
    pub(super) fn join(&mut self, next: &Self, limit: usize) -> bool {
        if self.path != next.path || self.end != next.start {
            return false;
        }
        let len = self.end - self.start;
        // A stream knows no datagrams: their framing is in the bytes.
        let joins = matches!(self.path.local, Local::Tcp(_))
            || (self.ecn == next.ecn
                && len.is_multiple_of(self.segment)
                && next.segment <= self.segment
                && next.end - next.start <= self.segment
                && len / self.segment < limit);
        if joins {
            self.end = next.end;
        }
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(local: Local, start: usize, len: usize) -> Batch {
        let path = Path {
            local,
            remote: "192.0.2.1:9".parse().unwrap(),
        };
        Batch {
            path,
            ecn: Ecn::NotEct,
            start,
            end: start + len,
            segment: len,
        }
    }

    #[test]
    fn equal_neighbours_join_and_a_shorter_one_ends_the_run() {
        let batch = |start, len| batch(Local::Socket(1), start, len);
        let mut run = batch(0, 100);
        assert!(run.join(&batch(100, 100), 64), "equal neighbours join");
        assert!(run.join(&batch(200, 60), 64), "a shorter last one joins");
        assert_eq!((run.start, run.end, run.segment), (0, 260, 100));
        assert!(!run.join(&batch(260, 60), 64), "nothing follows a shorter one");
        assert!(!batch(0, 100).join(&batch(100, 101), 64), "a longer one cannot follow");
        assert!(!batch(0, 100).join(&batch(104, 100), 64), "a gap");
        assert!(!batch(0, 100).join(&batch(100, 100), 1), "the kernel's limit");
    }

    #[test]
    fn in_a_stream_all_neighbours_join() {
        let batch = |start, len| batch(Local::Tcp(1), start, len);
        let mut run = batch(0, 100);
        assert!(run.join(&batch(100, 60), 1) && run.join(&batch(160, 900), 1));
        assert_eq!((run.start, run.end), (0, 1060));
        assert!(!run.join(&batch(1064, 10), 1), "a gap");
    }
}
