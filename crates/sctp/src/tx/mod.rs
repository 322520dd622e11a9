//! The sending half: what waits, what is on its way, and how much may be, and when.

mod abandoned;
mod acknowledged;
pub(crate) mod congestion;
mod delivery;
pub(crate) mod feedback;
mod losses;
mod outstanding;
mod path;
mod path_mtu;
mod rack;
mod rto;
pub(crate) mod schedule;
mod send_queue;
mod sent;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use antiphon_sansio::{Serial32, TimerTable, TransmitBuf};

use crate::chunk::{Capabilities, Data, Put, put_cwr, write_forward_tsn, write_i_forward_tsn};
use crate::config::{Config, MIN_PACKET};
use crate::packet::HEADER_LEN;
use crate::tsn::Tsn;
use congestion::CongestionControl;
use outstanding::Outstanding;
use path_mtu::PathMtu;
use rto::Rto;
pub(crate) use send_queue::Queued;
use send_queue::{Cut, SendQueue};

/// Chunks in flight at once: a gap block cannot report more (RFC 9260 §3.3.4), and the receiver would refuse them.
const MAX_OUTSTANDING: usize = 60_000;
/// What may leave at once: as much as the rate brings in this time. Timers wake late by a millisecond; twice that keeps
/// the rate all the same.
const BURST: Duration = Duration::from_millis(2);
/// Who has much else to do wakes later than that: what the rate brought meanwhile leaves then, for as long as this. Without it the
/// rate would fall to a burst for each wake-up, and the controller would take that for the path's. The window bounds it too.
const MAX_LATE: Duration = Duration::from_millis(25);
/// Paths shorter than this are not paced: their windows are no larger than a burst.
const SHORTEST_RTT: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(crate) enum TxTimer {
    /// Retransmission of DATA.
    T3,
    /// The pacer's next burst.
    Pace,
    /// The tail loss probe (RFC 8985 §7).
    Probe,
    /// The verdict on what may only be late (RFC 8985 §6.3).
    Reorder,
    /// The answer to a path MTU probe, or the next search.
    Path,
}

impl From<TxTimer> for usize {
    fn from(timer: TxTimer) -> Self {
        timer as Self
    }
}

/// What we send, until the peer has acknowledged it.
pub(crate) struct Tx {
    pub(crate) queue: SendQueue,
    pub(crate) outstanding: Outstanding,
    pub(crate) congestion: Box<dyn CongestionControl>,
    pacer: Pacer,
    pub(crate) rto: Rto,
    pub(crate) path: PathMtu,
    pub(crate) timers: TimerTable<TxTimer, 5>,
    /// The largest packet to send now.
    pub(crate) packet: usize,
    /// What the answer to the path MTU probe will bring back, and the size of that probe.
    path_nonce: Option<([u8; 8], usize)>,
    /// The search for the path's packet size begins when so many bytes were queued in all.
    probe_after: u64,
    /// The peer's window less what is in flight.
    pub(crate) peer_window: usize,
    /// While a loss is repaired: where the repair ends.
    recovery: Option<Tsn>,
    window_limited: bool,
    /// The pacer holds packets back.
    pace_limited: bool,
    /// The first retransmission after a loss goes out whatever the window says (RFC 9260 §7.2.4 3)). So does a probe.
    fast_retransmit: bool,
    /// A tail loss probe was sent, and nothing has been acknowledged since.
    probing: bool,
    /// The peer cannot be told of messages that were given up, so that none may be.
    reliable_only: bool,
    forward: Forward,
    marks: Marks,
    last_data_sent: Option<Instant>,
    pub(crate) counts: Counts,
}

/// FORWARD TSN: what the peer is told of given-up messages.
#[derive(Debug)]
struct Forward {
    due: bool,
    /// The point that the last one told of, and when.
    told: Tsn,
    sent: Option<Instant>,
}

/// Congestion marks that the peer tells of (RFC 9260 Appendix B).
#[derive(Debug, Default)]
struct Marks {
    /// The one that CWR is to answer.
    to_answer: Option<Serial32>,
    /// Marks of what was sent up to here have been acted upon.
    slowed_at: Tsn,
}

/// Figures since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Of user data handed over to be sent.
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    /// Expiries of T3-rtx.
    pub(crate) timeouts: u64,
    pub(crate) tail_probes: u64,
    pub(crate) spurious_recoveries: u64,
    pub(crate) path_probes: u64,
    pub(crate) marks_answered: u64,
}

impl Tx {
    pub(crate) fn new(config: &Config, now: Instant, initial_tsn: Serial32) -> Self {
        let outstanding = Outstanding::new(now, initial_tsn);
        Self {
            queue: SendQueue::new(config.scheduler),
            forward: Forward {
                due: false,
                told: outstanding.cumulative_ack(),
                sent: None,
            },
            outstanding,
            congestion: config.congestion.controller(config.max_packet),
            pacer: Pacer::new(now, config.max_packet),
            rto: Rto::new(config.rto_initial, config.rto_min, config.rto_max, config.max_backoff),
            path: PathMtu::new(config.max_packet, config.probe_up_to, MIN_PACKET),
            timers: TimerTable::default(),
            packet: config.max_packet,
            path_nonce: None,
            probe_after: config.probe_after,
            peer_window: 0,
            recovery: None,
            window_limited: false,
            pace_limited: false,
            fast_retransmit: false,
            probing: false,
            reliable_only: false,
            marks: Marks::default(),
            last_data_sent: None,
            counts: Counts::default(),
        }
    }

    /// What the peer says of itself in its INIT or INIT ACK. `interleaving`: we know I-DATA.
    pub(crate) fn meet_peer(&mut self, interleaving: bool, capabilities: &Capabilities, window: u32) {
        let interleaved = interleaving && capabilities.interleaving;
        if self.outstanding.set_interleaved(interleaved) {
            self.queue.set_interleaved(interleaved);
        }
        self.reliable_only = if self.outstanding.is_interleaved() {
            !capabilities.interleaved_forward_tsn
        } else {
            !capabilities.forward_tsn
        };
        self.peer_window = window as usize;
    }

    /// Forgets all that was to be sent, and all that was sent.
    pub(crate) fn clear(&mut self, now: Instant, initial_tsn: Serial32) {
        self.queue = SendQueue::default();
        self.outstanding = Outstanding::new(now, initial_tsn);
        self.forward.due = false;
        self.marks.to_answer = None;
        self.timers.stop_all();
    }

    pub(crate) fn push(&mut self, stream: u16, message: Queued) {
        self.counts.bytes += message.data.len() as u64;
        self.queue.push(stream, message);
    }

    /// Gives back memory that nothing needs now.
    pub(crate) fn give_back(&mut self) {
        self.queue.give_back();
        self.outstanding.give_back();
    }

    /// Whether everything was sent and acknowledged.
    pub(crate) fn all_delivered(&self) -> bool {
        self.queue.is_empty() && self.outstanding.is_empty()
    }

    /// Whether something but DATA is to be sent.
    pub(crate) fn has_control(&self) -> bool {
        self.forward.due || self.marks.to_answer.is_some()
    }

    /// Whether there is DATA, and the windows and the pacer let a chunk pass.
    pub(crate) fn may_send(&mut self, now: Instant) -> bool {
        let ready = (self.outstanding.has_lost() && self.congestion_allows())
            || (!self.queue.is_empty() && (self.congestion_allows() || !self.window_limited));
        ready && self.pace_allows(now)
    }

    fn congestion_allows(&self) -> bool {
        let in_flight = self.outstanding.in_flight();
        in_flight == 0 || in_flight < self.congestion.window() || self.fast_retransmit
    }

    fn pace_allows(&mut self, now: Instant) -> bool {
        if self.fast_retransmit || self.outstanding.in_flight() == 0 {
            return true;
        }
        match self.pacer.check(now) {
            Ok(()) => true,
            Err(at) => {
                self.pace_limited = true;
                self.timers.set(TxTimer::Pace, at);
                false
            }
        }
    }

    fn update_pace(&mut self, now: Instant) {
        let rate = self.congestion.pacing_rate(self.rto.srtt());
        self.pacer.set_rate(now, rate, self.rto.min_rtt());
    }

    fn start_t3(&mut self, now: Instant) {
        if self.timers.get(TxTimer::T3).is_none() {
            self.restart_t3(now);
        }
    }

    /// From now on T3-rtx runs for the present RTO.
    pub(crate) fn restart_t3(&mut self, now: Instant) {
        self.timers.set(TxTimer::T3, now + self.rto.current());
    }

    /// What was given up may wait in the queue in part: that goes too.
    fn drop_abandoned(&mut self) {
        while let Some(key) = self.outstanding.poll_abandoned() {
            self.queue.abandon_begun(key);
        }
    }

    /// Writes CWR if the peer waits for it and there is room.
    pub(crate) fn write_cwr(&mut self, out: &mut impl Put, room: usize) {
        if room >= 8
            && let Some(tsn) = self.marks.to_answer.take()
        {
            put_cwr(out, tsn);
        }
    }

    /// Writes FORWARD TSN if it is due and there is room.
    pub(crate) fn write_forward(&mut self, now: Instant, out: &mut impl Put, room: usize) {
        if !self.forward.due || room < 16 {
            return;
        }
        self.forward.due = false;
        if !self.outstanding.wants_forward() {
            return;
        }
        let room = room - 8;
        if self.outstanding.is_interleaved() {
            let (tsn, skipped) = self.outstanding.forward_interleaved(room / 8);
            write_i_forward_tsn(out, tsn, skipped.into_iter());
        } else {
            let (tsn, skipped) = self.outstanding.forward(room / 4);
            write_forward_tsn(out, tsn, skipped.into_iter());
        }
        self.forward.told = self.outstanding.advanced();
        self.forward.sent = Some(now);
        self.start_t3(now);
    }

    /// How messages become chunks in a packet of `room` bytes. Every chunk fits a packet of the base size, for it can
    /// never be cut again; larger packets hold several.
    fn cut(&self, room: usize) -> Cut {
        let header = self.outstanding.header_len();
        let base = room.min(self.path.base()) - HEADER_LEN;
        let chunks = (room - HEADER_LEN).div_ceil(base);
        Cut {
            whole: base - header,
            piece: (((room - HEADER_LEN) / chunks) & !3) - header,
        }
    }

    /// Writes DATA into the packet that lies open in `out` and may have `room` bytes. `established`: it does not go
    /// with a cookie. Says whether there was any.
    pub(crate) fn write_data(&mut self, now: Instant, out: &mut TransmitBuf, room: usize, established: bool) -> bool {
        if self.outstanding.has_lost() {
            self.outstanding.drop_spent(now);
            self.drop_abandoned();
            self.schedule_forward(now);
        }
        if !self.pace_allows(now) {
            return false;
        }
        self.pace_limited = false;
        let (before, cut) = (out.body().len(), self.cut(room));
        let mut chunks = 0;
        loop {
            if !self.congestion_allows() {
                self.window_limited = true;
                break;
            }
            let wrote = match self.outstanding.next_lost_len() {
                Some(len) => self.write_lost(now, out, room, len, chunks == 0, established),
                None => self.write_new(now, out, room, cut, chunks == 0),
            };
            if !wrote {
                break;
            }
            chunks += 1;
        }
        if chunks == 0 {
            return false;
        }
        self.counts.chunks += chunks;
        if out.body().len() > self.path.base() {
            self.outstanding.packet_was_large();
        }
        self.pacer.sent(out.body().len() - before);
        self.fast_retransmit = false;
        self.last_data_sent = Some(now);
        if established {
            self.start_t3(now);
            self.schedule_probe(now);
        }
        true
    }

    /// Writes the chunk that is to be sent again, of `len` bytes; `false` if it has no room.
    fn write_lost(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf,
        room: usize,
        len: usize,
        is_first: bool,
        established: bool,
    ) -> bool {
        let used = out.body().len();
        // A chunk from before the packets became smaller goes alone, if the path can carry it at all.
        let oversized = used == HEADER_LEN && self.outstanding.wire_len(len) <= out.remaining();
        if len > room.saturating_sub(used + self.outstanding.header_len()) && !oversized {
            return false;
        }
        if is_first {
            self.outstanding.begin_packet(now);
        }
        if self.outstanding.retransmit(now, out) && established {
            // RFC 9260 §7.2.4 4): the timer covers the earliest chunk's last transmission.
            self.restart_t3(now);
        }
        self.peer_window = self.peer_window.saturating_sub(len);
        true
    }

    /// Writes the next chunk of the queue; `false` if there is none, or no room for it here or with the peer.
    fn write_new(&mut self, now: Instant, out: &mut TransmitBuf, room: usize, cut: Cut, is_first: bool) -> bool {
        if self.queue.is_empty() || self.outstanding.len() >= MAX_OUTSTANDING {
            self.window_limited = false;
            self.outstanding.app_limited();
            return false;
        }
        // A closed window is probed with one chunk at a time (RFC 9260 §6.1 A).
        let allowed = if self.outstanding.is_empty() {
            usize::MAX
        } else {
            self.peer_window
        };
        self.rest_after_idleness(now);
        let payload_room = room.saturating_sub(out.body().len() + self.outstanding.header_len());
        let Some(mut chunk) = self.queue.next_chunk(now, payload_room, cut, allowed) else {
            self.window_limited = false;
            return false;
        };
        let len = chunk.payload.len();
        if self.reliable_only {
            chunk.max_retransmits = None;
            chunk.expires = None;
        }
        // RFC 7053: the last chunk before a pause asks for its acknowledgement, instead of waiting for a delayed one.
        let in_flight = self.outstanding.in_flight() + self.outstanding.wire_len(len);
        if self.queue.is_empty() || in_flight >= self.congestion.window() {
            chunk.flags |= Data::IMMEDIATE;
        }
        if is_first {
            self.outstanding.begin_packet(now);
        }
        self.outstanding.send(now, chunk, out);
        self.peer_window = self.peer_window.saturating_sub(len);
        true
    }

    /// RFC 9260 §7.2.1: a window that was not used for an RTO has grown old.
    fn rest_after_idleness(&mut self, now: Instant) {
        if !self.outstanding.is_empty() {
            return;
        }
        let Some(last) = self.last_data_sent else { return };
        let idle = now.saturating_duration_since(last);
        let rto = self.rto.current();
        if idle >= rto {
            let rtos = (idle.as_nanos() / rto.as_nanos().max(1)).min(31);
            self.congestion.on_idle(rtos as u32);
            self.last_data_sent = Some(now);
        }
    }
}

/// Spreads packets over the round trip: a bucket of bytes that fills at the controller's rate.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes a second; `None` while packets leave as they come.
    rate: Option<u64>,
    /// What may leave now; below zero after a packet larger than what was left.
    budget: f64,
    filled_at: Instant,
    /// When we said that a packet may leave.
    due: Option<Instant>,
    max_packet: usize,
}

impl Pacer {
    pub(super) fn new(now: Instant, max_packet: usize) -> Self {
        Self {
            rate: None,
            budget: 0.0,
            filled_at: now,
            due: None,
            max_packet,
        }
    }

    pub(super) fn set_max_packet(&mut self, bytes: usize) {
        self.max_packet = bytes;
    }

    pub(super) fn set_rate(&mut self, now: Instant, rate: Option<u64>, min_rtt: Option<Duration>) {
        let rate = rate.filter(|rate| *rate > 0 && min_rtt.is_some_and(|rtt| rtt >= SHORTEST_RTT));
        if self.rate != rate {
            self.fill(now);
            if self.rate.is_none() {
                self.budget = 0.0;
            }
            self.rate = rate;
        }
    }

    fn capacity(&self, rate: u64) -> f64 {
        (rate as f64 * BURST.as_secs_f64()).max(2.0 * self.max_packet as f64)
    }

    fn fill(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
            let late = match self.due.take_if(|due| *due <= now) {
                Some(due) => now.saturating_duration_since(due).min(MAX_LATE).as_secs_f64(),
                None => 0.0,
            };
            let most = self.capacity(rate) + rate as f64 * late;
            self.budget = (self.budget + rate as f64 * elapsed).min(most.max(self.budget));
        }
        self.filled_at = self.filled_at.max(now);
    }

    /// Whether a packet may leave; if not, when to ask again.
    #[inline]
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let Some(rate) = self.rate else { return Ok(()) };
        if self.budget > 0.0 {
            return Ok(());
        }
        self.fill(now);
        if self.budget > 0.0 {
            return Ok(());
        }
        // Half a bucket at a time: neither a timer per packet nor a whole burst.
        let missing = self.capacity(rate) / 2.0 - self.budget;
        let wait = Duration::from_secs_f64(missing / rate as f64);
        let due = now + wait.max(Duration::from_micros(10));
        self.due = Some(due);
        Err(due)
    }

    #[inline]
    pub(super) fn sent(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.budget -= bytes as f64;
        }
    }
}
