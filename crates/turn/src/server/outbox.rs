//! What waits to be sent, each destination's datagrams in order, and equal ones as one run.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;

use antiphon_sansio::{Ecn, Local, MAX_RUN_BYTES, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{Method, TransactionId};
use foldhash::fast::FixedState;

use super::run::Run;
use crate::channel_data::{CHANNEL_HEADER_LEN, channel_header};
use crate::indication::{indication_head_len, padding, write_indication_head};

/// The most datagrams that wait to be sent; later ones are dropped, as a network would drop them.
pub const MAX_QUEUE: usize = 4096;

/// The most bytes that wait to be sent.
pub const MAX_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// What is put in front of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Nothing: it is a whole message, or goes to a peer.
    None,
    /// A ChannelData header.
    Channel(u16),
    /// What makes it a Data indication from this peer.
    Data(SocketAddr),
}

/// Datagrams of one run, for one destination.
struct Outgoing {
    path: Path,
    head: Head,
    run: Run,
    /// The next of the run's datagrams that is to be written.
    at: usize,
    /// What each of them counts for, in bytes.
    each: usize,
    /// What follows for the same destination.
    next: Option<u64>,
}

impl Outgoing {
    /// Around so many bytes of data: what is put in front, and behind.
    fn around(&self, len: usize) -> (usize, usize) {
        match self.head {
            Head::None => (0, 0),
            // RFC 8656 §12.5: over a stream ChannelData is padded.
            Head::Channel(_) if matches!(self.path.local, Local::Tcp(_)) => (CHANNEL_HEADER_LEN, padding(len)),
            Head::Channel(_) => (CHANNEL_HEADER_LEN, 0),
            Head::Data(peer) => (indication_head_len(peer), padding(len)),
        }
    }

    fn whole_len(&self, len: usize) -> usize {
        let (front, back) = self.around(len);
        front + len + back
    }

    /// Writes the next datagram into the open segment.
    fn write(&self, rng: &mut Rng, out: &mut TransmitBuf) {
        let data = self.run.data(self.at);
        let (front, back) = self.around(data.len());
        match self.head {
            Head::None => {}
            Head::Channel(number) => out.put_slice(&channel_header(number, data.len())),
            Head::Data(peer) => {
                let id = TransactionId::random(rng);
                write_indication_head(out.put_zeros(front), Method::DATA, id, peer, data.len());
            }
        }
        out.put_slice(data);
        if back > 0 {
            out.put_zeros(back);
        }
    }
}

/// It was dropped: it does not fit a datagram.
pub(super) struct Overflow;

/// The queue of datagrams to be sent.
pub(super) struct Outbox {
    queue: VecDeque<Outgoing>,
    /// The number of the first in the queue; each gets the next number.
    first: u64,
    /// The last in the queue for each destination.
    last_for: HashMap<Path, u64, FixedState>,
    datagrams: usize,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            queue: VecDeque::new(),
            first: 0,
            last_for: HashMap::with_hasher(FixedState::with_seed(rng.u64())),
            datagrams: 0,
            bytes: 0,
        }
    }

    /// Takes the first of these datagrams, as many as it has room for: how many, and their bytes of data.
    pub(super) fn push(&mut self, path: Path, head: Head, run: Run) -> (usize, usize) {
        let mut item = Outgoing {
            path,
            head,
            run,
            at: 0,
            each: 0,
            next: None,
        };
        item.each = item.whole_len(item.run.longest()).max(1);
        let room = (MAX_QUEUE - self.datagrams).min((MAX_QUEUE_BYTES - self.bytes) / item.each);
        item.run.truncate(room);
        let count = item.run.count();
        if count == 0 {
            return (0, 0);
        }
        let taken = (count, item.run.data_len());
        self.datagrams += count;
        self.bytes += count * item.each;
        let number = self.first + self.queue.len() as u64;
        // What left the queue long ago is remembered for nothing.
        if self.last_for.len() >= MAX_QUEUE {
            self.last_for.clear();
        }
        if let Some(before) = self.last_for.insert(path, number)
            && let Some(before) = before.checked_sub(self.first)
            && let Some(before) = self.queue.get_mut(before as usize)
        {
            before.next = Some(number);
        }
        self.queue.push_back(item);
        taken
    }

    /// Writes the next datagram, and those for the same destination that make a run with it, each as a segment of its
    /// own. `None`: there is none, or no room in `out`.
    pub(super) fn write_next(&mut self, rng: &mut Rng, out: &mut TransmitBuf) -> Option<Result<Transmit, Overflow>> {
        let Self {
            queue,
            first,
            datagrams,
            bytes,
            ..
        } = self;
        // Those that went with earlier ones.
        while queue.front().is_some_and(|item| item.at == item.run.count()) {
            queue.pop_front();
            *first += 1;
        }
        out.set_path_room(0, 0);
        let path = queue.front()?.path;
        let mut number = Some(*first);
        // The range that is written, and the length of the first segment.
        let mut written: Option<(Range<usize>, usize)> = None;
        let mut count = 0;
        while let Some(item) = number.and_then(|number| queue.get_mut((number - *first) as usize)) {
            if item.at == item.run.count() {
                number = item.next;
                continue;
            }
            let len = item.whole_len(item.run.data(item.at).len());
            let joins = match &written {
                None => true,
                // Only the last may be shorter than the first, and an empty one stands alone.
                Some((range, segment)) => {
                    let equal = len <= *segment && len > 0 && range.len().is_multiple_of(*segment);
                    equal && count < out.max_run() && range.len() + len <= MAX_RUN_BYTES
                }
            };
            if !joins || !out.begin(0, 0) {
                break;
            }
            let fits = len <= out.remaining();
            if fits {
                item.write(rng, out);
                let range = out.finish();
                let (whole, _) = written.get_or_insert((range.clone(), len));
                whole.end = range.end;
            } else {
                out.rollback();
                if written.is_some() {
                    break;
                }
            }
            *bytes -= item.each;
            *datagrams -= 1;
            item.at += 1;
            count += 1;
            if !fits {
                return Some(Err(Overflow));
            }
        }
        let (range, segment) = written?;
        if self.datagrams == 0 {
            self.clear();
        }
        Some(Ok(Transmit {
            path,
            segment_size: (range.len() > segment).then_some(segment),
            range,
            ecn: Ecn::NotEct,
        }))
    }

    pub(super) fn clear(&mut self) {
        self.first += self.queue.len() as u64;
        self.queue.clear();
        self.last_for.clear();
        self.datagrams = 0;
        self.bytes = 0;
    }
}
