//! TCP as far as others on a bottleneck feel it: packets that leave by a window, losses that are found and mended, and
//! acknowledgements. Its bytes mean nothing, and it speaks over UDP sockets, so that links lose and mark it like all else.

mod control;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Path, Transmit, TransmitBuf};

pub use control::TcpControl;
use control::Window;

use crate::machine::Machine;

/// Bytes of a packet before UDP and IPv4: 1500 with them.
const PACKET: usize = 1472;
/// Bytes of an acknowledgement: with UDP and IPv4 as large as one of TCP with a few options.
const ACKNOWLEDGEMENT: usize = 26;
/// RFC 9002 §6.1.1 and RFC 6675: after so many later ones have arrived a packet is lost.
const REORDERED: u64 = 3;
/// The shortest timeout that is in use (RFC 6298 asks for 1 s).
const SHORTEST: Duration = Duration::from_millis(200);

/// What a [`Bulk`] sends over one connection: a new one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// When it begins, from when the sender was made.
    pub at: Duration,
    /// How many bytes; `None`: as many as there is time for.
    pub bytes: Option<u64>,
    /// When it ends at the latest, from when the sender was made; the next one begins no earlier than this one has ended.
    pub until: Duration,
}

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// In which order packets left.
    order: u64,
    lost: bool,
}

/// The sending end of one connection.
#[derive(Debug)]
struct Connection {
    number: u32,
    window: Window,
    until: Instant,
    /// Packets to send in all, and those sent so far.
    all: u64,
    next: u64,
    out: BTreeMap<u64, Sent>,
    in_flight: usize,
    order: u64,
    /// Losses of packets that left before this order were answered already.
    answered: u64,
    rtt: Option<(Duration, Duration)>,
    backoff: u32,
    timer: Option<Instant>,
    /// When a paced packet may leave.
    paced: Instant,
}

/// One end of bulk transfers: a machine that sends, or one that takes and acknowledges.
#[derive(Debug)]
pub struct Bulk {
    path: Path,
    rules: TcpControl,
    start: Instant,
    transfers: VecDeque<Transfer>,
    begun: u32,
    connection: Option<Connection>,
    /// The receiving end: the connection, the next packet that is missing, those that came after it.
    received: (u32, u64, BTreeSet<u64>),
    /// Acknowledgements to be sent: connection, first missing, the packet that came, whether it was marked.
    acknowledgements: VecDeque<(u32, u64, u64, bool)>,
    delivered: u64,
}

impl Bulk {
    /// The end that takes and acknowledges what comes.
    pub fn receiver(now: Instant, path: Path) -> Self {
        Self::sender(now, path, TcpControl::Reno, Vec::new())
    }

    /// The end that sends these, one after the other.
    pub fn sender(now: Instant, path: Path, rules: TcpControl, transfers: Vec<Transfer>) -> Self {
        Self {
            path,
            rules,
            start: now,
            transfers: transfers.into(),
            begun: 0,
            connection: None,
            received: (0, 0, BTreeSet::new()),
            acknowledgements: VecDeque::new(),
            delivered: 0,
        }
    }

    /// Packets that have come, each counted once: of the receiving end.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    fn take(&mut self, number: u32, sequence: u64, marked: bool) {
        if number > self.received.0 {
            self.received = (number, 0, BTreeSet::new());
        }
        if number < self.received.0 {
            return;
        }
        let (_, next, later) = &mut self.received;
        if sequence >= *next && later.insert(sequence) {
            self.delivered += 1;
            while later.remove(next) {
                *next += 1;
            }
        }
        self.acknowledgements.push_back((number, *next, sequence, marked));
    }

    fn acknowledged(&mut self, now: Instant, (number, next, sequence, marked): (u32, u64, u64, bool)) {
        if let Some(connection) = self.connection.as_mut().filter(|own| own.number == number) {
            connection.acknowledged(now, next, sequence, marked);
        }
        self.turn(now);
    }

    /// Ends a transfer that is done, and begins one that is due.
    fn turn(&mut self, now: Instant) {
        loop {
            if self.connection.as_ref().is_some_and(|own| own.is_over(now)) {
                self.connection = None;
            }
            let due = |transfer: &mut Transfer| self.start + transfer.at <= now;
            if self.connection.is_some() {
                return;
            }
            let Some(transfer) = self.transfers.pop_front_if(due) else {
                return;
            };
            self.begun += 1;
            let all = transfer.bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(PACKET as u64));
            let until = self.start + transfer.until;
            self.connection = Some(Connection::new(now, self.begun, self.rules, all, until));
        }
    }
}

impl Connection {
    fn new(now: Instant, number: u32, rules: TcpControl, all: u64, until: Instant) -> Self {
        Self {
            number,
            window: Window::new(rules, now),
            until,
            all,
            next: 0,
            out: BTreeMap::new(),
            in_flight: 0,
            order: 0,
            answered: 0,
            rtt: None,
            backoff: 0,
            timer: None,
            paced: now,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.until || (self.next >= self.all && self.out.is_empty())
    }

    fn smoothed(&self) -> Duration {
        self.rtt.map_or(Duration::from_millis(100), |(smoothed, _)| smoothed)
    }

    fn acknowledged(&mut self, now: Instant, next: u64, sequence: u64, marked: bool) {
        let later = self.out.split_off(&next);
        let mut gone = std::mem::replace(&mut self.out, later);
        if let Some(sent) = self.out.remove(&sequence) {
            gone.insert(sequence, sent);
        }
        let newest = gone.get(&sequence).map(|sent| (sent.order, sent.at));
        for sent in gone.values() {
            self.in_flight -= usize::from(!sent.lost);
            self.window.on_acked(now, self.smoothed(), marked);
        }
        if let Some((order, at)) = newest {
            self.measure(now.saturating_duration_since(at));
            self.backoff = 0;
            self.find_lost(now, order);
        }
        if !gone.is_empty() {
            self.timer = (!self.out.is_empty()).then(|| now + self.timeout());
        }
    }

    /// RFC 6298 §2.
    fn measure(&mut self, rtt: Duration) {
        self.rtt = Some(match self.rtt {
            None => (rtt, rtt / 2),
            Some((smoothed, varied)) => ((smoothed * 7 + rtt) / 8, (varied * 3 + smoothed.abs_diff(rtt)) / 4),
        });
    }

    fn timeout(&self) -> Duration {
        let (smoothed, varied) = self
            .rtt
            .unwrap_or((Duration::from_millis(500), Duration::from_millis(125)));
        (smoothed + 4 * varied).max(SHORTEST) * 2u32.pow(self.backoff.min(6))
    }

    /// Whatever left well before one that has arrived is lost.
    fn find_lost(&mut self, now: Instant, arrived: u64) {
        let mut newest = None;
        for sent in self
            .out
            .values_mut()
            .filter(|sent| !sent.lost && sent.order + REORDERED <= arrived)
        {
            sent.lost = true;
            self.in_flight -= 1;
            newest = newest.max(Some(sent.order));
        }
        if newest.is_some_and(|order| order >= self.answered) {
            self.answered = self.order;
            self.window.on_lost(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        for sent in self.out.values_mut() {
            sent.lost = true;
        }
        self.in_flight = 0;
        self.answered = self.order;
        self.window.on_timeout(now);
        self.backoff += 1;
        self.timer = Some(now + self.timeout());
    }

    /// What may leave now: a packet that was lost, or the next one.
    fn next_packet(&self, now: Instant) -> Option<u64> {
        if self.in_flight as f64 >= self.window.size.floor() || self.paced > now {
            return None;
        }
        // Only what was lost waits here: there are as many as a window, at most.
        let lost = self
            .out
            .iter()
            .find(|(_, sent)| sent.lost)
            .map(|(sequence, _)| *sequence);
        lost.or_else(|| (self.next < self.all).then_some(self.next))
    }

    fn left(&mut self, now: Instant, sequence: u64) {
        self.next = self.next.max(sequence + 1);
        let sent = Sent {
            at: now,
            order: self.order,
            lost: false,
        };
        self.order += 1;
        self.out.insert(sequence, sent);
        self.in_flight += 1;
        if let Some(rate) = self.window.pace(self.smoothed()) {
            self.paced = self.paced.max(now) + Duration::from_secs_f64(1.0 / rate);
        }
        if self.timer.is_none() {
            self.timer = Some(now + self.timeout());
        }
    }
}

impl Machine for Bulk {
    type Event = ();

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let field = |at: usize| datagram.data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        let (Some(head), Some(sequence)) = (field(0), field(8)) else {
            return;
        };
        let (head, sequence) = (u64::from_be_bytes(head), u64::from_be_bytes(sequence));
        let (number, kind) = ((head >> 8) as u32, head & 0xff);
        match (kind, field(16)) {
            (0, _) => self.take(number, sequence, datagram.ecn == Ecn::Ce),
            (kind, Some(next)) => {
                let next = u64::from_be_bytes(next);
                self.acknowledged(now, (number, next, sequence, kind == 2));
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.turn(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let mut ecn = Ecn::NotEct;
        if let Some((number, next, sequence, marked)) = self.acknowledgements.front().copied() {
            if !out.begin(0, 0) {
                return None;
            }
            out.put_u64(u64::from(number) << 8 | if marked { 2 } else { 1 });
            out.put_u64(sequence);
            out.put_u64(next);
            out.put_zeros(ACKNOWLEDGEMENT - 24);
            self.acknowledgements.pop_front();
        } else {
            let connection = self.connection.as_mut()?;
            let sequence = connection.next_packet(now)?;
            if !out.begin(0, 0) {
                return None;
            }
            out.put_u64(u64::from(connection.number) << 8);
            out.put_u64(sequence);
            out.put_zeros(PACKET - 16);
            connection.left(now, sequence);
            ecn = connection.window.ecn();
        }
        Some(Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn,
        })
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let Some(connection) = &self.connection else {
            return self.transfers.front().map(|transfer| self.start + transfer.at);
        };
        // A paced packet waits only if the window lets it go then.
        let waits = connection.next_packet(connection.paced).map(|_| connection.paced);
        let waits = waits.filter(|_| connection.window.pace(connection.smoothed()).is_some());
        [Some(connection.until), connection.timer, waits]
            .into_iter()
            .flatten()
            .min()
    }

    fn close(&mut self, _: Instant) {
        self.transfers.clear();
        self.connection = None;
        self.acknowledgements.clear();
    }
}
