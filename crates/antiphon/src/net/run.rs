//! What goes out: equal datagrams side by side that go to one address.

use std::net::SocketAddr;
use std::ops::Range;

use antiphon_sansio::{Ecn, Transmit};

/// Datagrams that lie side by side in a buffer and go to one address. The kernel takes them as one message where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where they go.
    pub(crate) remote: SocketAddr,
    /// The mark that all of them carry.
    pub(crate) ecn: Ecn,
    /// Where they are in the buffer, in bytes.
    pub(crate) range: Range<usize>,
    /// The bytes of each but the last, which may be shorter. At least 1.
    pub(crate) segment: usize,
}

impl Run {
    /// What a machine wants sent.
    pub(crate) fn of(transmit: &Transmit) -> Self {
        let Transmit {
            path,
            range,
            segment_size,
            ecn,
        } = transmit;
        Self {
            remote: path.remote,
            ecn: *ecn,
            range: range.clone(),
            segment: segment_size.unwrap_or(range.len()).max(1),
        }
    }

    /// The first part of what is left of it behind `skip` bytes: at most `segments` datagrams and `bytes` bytes, but one at least.
    pub(super) fn part(&self, skip: usize, segments: usize, bytes: usize) -> Self {
        let start = self.range.start + skip;
        let most = self.segment * segments.min(bytes / self.segment).max(1);
        Self {
            range: start..self.range.end.min(start + most),
            ..self.clone()
        }
    }

    /// How many datagrams it holds.
    pub(crate) fn count(&self) -> usize {
        self.range.len().div_ceil(self.segment).max(1)
    }

    /// Whether it holds more than one datagram.
    pub(super) fn is_many(&self) -> bool {
        self.range.len() > self.segment
    }
}

/// How far a call of [`Socket::send`](super::socket::Socket::send) came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Runs that are done with. Fewer than were given: the kernel has no room now.
    pub(crate) runs: usize,
    /// Bytes of the next run that are done with too.
    pub(crate) bytes: usize,
    /// Datagrams that the kernel refused for good (no route, too large): they are lost, as UDP may lose them.
    pub(crate) lost: u64,
}

impl Sent {
    /// This part of the next run is done with.
    pub(super) fn pass(&mut self, runs: &[Run], part: &Run) {
        self.bytes += part.range.len();
        if self.bytes >= runs[self.runs].range.len() {
            self.runs += 1;
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_sent_in_parts_of_whole_datagrams() {
        let run = Run {
            remote: SocketAddr::from(([192, 0, 2, 1], 9)),
            ecn: Ecn::Ect0,
            range: 100..1150,
            segment: 100,
        };
        let part = |skip, segments, bytes| run.part(skip, segments, bytes).range;
        assert_eq!(part(0, 64, 65_000), 100..1150, "whole");
        assert_eq!(part(0, 4, 65_000), 100..500, "the kernel's number");
        assert_eq!(part(400, 64, 250), 500..700, "the kernel's bytes");
        assert_eq!(part(1000, 4, 65_000), 1100..1150, "the last is shorter");
        assert_eq!(part(0, 4, 1), 100..200, "one at least");
        assert!(!run.part(1000, 4, 100).is_many() && run.part(0, 2, 200).is_many());
    }

    #[test]
    fn an_empty_datagram_is_one_part() {
        let run = Run {
            remote: SocketAddr::from(([192, 0, 2, 1], 9)),
            ecn: Ecn::NotEct,
            range: 5..5,
            segment: 1,
        };
        assert_eq!((run.is_many(), run.part(0, 64, 100).range), (false, 5..5));
    }
}
