//! Two machines of one kind and a hostile courier between them, driven by a list of operations.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Transmit, TransmitBuf};

/// Operations after which a run ends, so that each stays short.
const MAX_OPERATIONS: usize = 400;
/// Datagrams on their way to one end; the oldest is lost first.
const MAX_QUEUE: usize = 64;

/// A machine under test.
pub(super) trait End: Machine {
    /// Something that an application does, chosen by two bytes. May give a datagram to send.
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>>;
}

/// Makes a changed datagram for the first or second end pass the checks that keep noise out, if it can.
pub(super) type Repair<'a> = &'a dyn Fn(usize, &mut Vec<u8>);

/// Where the first or second end is.
pub(super) fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + end as u8], 9))
}

/// The one path there is, as the end sees it.
pub(super) fn path(end: usize) -> Path {
    Path {
        local: Local::Socket(0),
        remote: address(1 - end),
    }
}

/// What machines that know no addresses send.
pub(super) fn whole(range: Range<usize>) -> Transmit {
    Transmit {
        path: path(0),
        range,
        segment_size: None,
        ecn: Ecn::NotEct,
    }
}

struct Pair<M: End> {
    now: Instant,
    ends: [Checked<M>; 2],
    /// What is on its way to each.
    queues: [VecDeque<Vec<u8>>; 2],
    out: TransmitBuf,
}

impl<M: End> Pair<M> {
    fn drain(&mut self) {
        for at in 0..2 {
            self.out.clear();
            while let Some(transmit) = self.ends[at].poll_transmit(self.now, &mut self.out) {
                let datagrams: Vec<Vec<u8>> = transmit.datagrams(&self.out).map(<[u8]>::to_vec).collect();
                datagrams.into_iter().for_each(|bytes| self.queue(1 - at, bytes));
                if !self.out.has_room() {
                    self.out.clear();
                }
            }
            while self.ends[at].poll_event().is_some() {}
            self.ends[at].drained();
        }
    }

    fn queue(&mut self, to: usize, bytes: Vec<u8>) {
        if self.queues[to].len() == MAX_QUEUE {
            self.queues[to].pop_front();
        }
        self.queues[to].push_back(bytes);
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let datagram = Datagram {
            path: path(to),
            ecn: Ecn::NotEct,
            data: BytesMut::from(bytes),
        };
        self.ends[to].handle_datagram(self.now, datagram);
    }

    /// Lets the next timer run out, if one is set.
    fn wait(&mut self) {
        let next = self.ends.iter().filter_map(Machine::poll_timeout).min();
        if let Some(next) = next {
            self.now = self.now.max(next);
        }
        for end in &mut self.ends {
            if end.poll_timeout().is_some_and(|due| due <= self.now) {
                end.handle_timeout(self.now);
            }
        }
    }

    /// One operation; a few take more bytes than their argument.
    fn operate(&mut self, operation: u8, argument: u8, bytes: &mut impl Iterator<Item = u8>, repair: Repair<'_>) {
        // The high bit says which end; the rest what.
        let to = usize::from(operation >> 7);
        match operation & 0x0f {
            0..=3 => {
                if let Some(packet) = self.queues[to].pop_front() {
                    self.deliver(to, &packet);
                }
            }
            4 => {
                let len = self.queues[to].len().max(1);
                if let Some(packet) = self.queues[to].remove(usize::from(argument) % len) {
                    self.deliver(to, &packet);
                }
            }
            5 => {
                self.queues[to].pop_front();
            }
            6 => {
                if let Some(packet) = self.queues[to].front().cloned() {
                    self.deliver(to, &packet);
                }
            }
            7 => {
                if let (Some(mut packet), Some(change)) = (self.queues[to].front().cloned(), bytes.next()) {
                    let at = (usize::from(argument) | usize::from(operation & 0x70) << 4) % packet.len();
                    packet[at] ^= change;
                    repair(to, &mut packet);
                    self.deliver(to, &packet);
                }
            }
            8 => {
                if let Some(packet) = self.queues[to].front() {
                    let mut packet = packet[..usize::from(argument) * packet.len() / 256].to_vec();
                    repair(to, &mut packet);
                    self.deliver(to, &packet);
                }
            }
            9 => {
                let mut packet: Vec<u8> = bytes.by_ref().take(usize::from(argument)).collect();
                repair(to, &mut packet);
                self.deliver(to, &packet);
            }
            10 | 11 => self.wait(),
            12 => {
                self.now += Duration::from_millis(u64::from(argument));
                let now = self.now;
                self.ends[to].handle_timeout(now);
            }
            _ => {
                let action = operation >> 4 & 0x07 | (operation & 3) << 3;
                let now = self.now;
                if let Some(packet) = self.ends[to].act(now, action, argument) {
                    self.queue(1 - to, packet);
                }
            }
        }
    }
}

/// Runs operations of two bytes each (a few take more). Ends with peace: everything is delivered and timers run, and
/// finally both are closed; the machines are checked against the laws all along.
pub(super) fn run<M: End>(now: Instant, [first, second]: [M; 2], repair: Repair<'_>, operations: &[u8]) {
    let mut pair = Pair {
        now,
        ends: [Checked::new(first), Checked::new(second)],
        queues: [VecDeque::new(), VecDeque::new()],
        out: TransmitBuf::new(16 * 1200, 1200),
    };
    pair.drain();
    let mut bytes = operations.iter().copied();
    for _ in 0..MAX_OPERATIONS {
        let (Some(operation), Some(argument)) = (bytes.next(), bytes.next()) else {
            break;
        };
        pair.operate(operation, argument, &mut bytes, repair);
        pair.drain();
    }
    for close in [false, true] {
        if close {
            let now = pair.now;
            pair.ends.iter_mut().for_each(|end| end.close(now));
            pair.drain();
        }
        for _ in 0..50 {
            for to in 0..2 {
                while let Some(packet) = pair.queues[to].pop_front() {
                    pair.deliver(to, &packet);
                    pair.drain();
                }
            }
            pair.wait();
            pair.drain();
        }
    }
}
