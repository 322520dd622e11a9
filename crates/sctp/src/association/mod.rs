//! One association (RFC 9260): the halves that send and receive, the handshake and the shutdown around them, and their
//! clockwork.

mod cookie;
mod handshake;
mod input;
mod output;
mod replies;
mod reset;
mod shutdown;
mod state;
mod stream_resets;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, Serial32, TimerTable, earliest};
use zeroize::Zeroizing;

use crate::config::{Config, MIN_PACKET};
use crate::error::Error;
use crate::event::{Event, State, Stats};
use crate::rx::Rx;
use crate::tx::{Tx, TxTimer};
use replies::Replies;
use state::Phase;
use stream_resets::StreamResets;

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// INIT and COOKIE ECHO.
    T1,
    /// SHUTDOWN and SHUTDOWN ACK.
    T2,
    /// Delayed SACK.
    Ack,
    Heartbeat,
    ReConfig,
    /// The overall guard of the shutdown (RFC 9260 §9.2).
    T5,
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

/// One SCTP association (RFC 9260). It knows no addresses: packets go in and out through the layer below, DTLS.
pub struct Association {
    config: Config,
    /// When it was made: cookies count their age from here.
    epoch: Instant,
    rng: Rng,
    phase: Phase,
    cookie_key: Zeroizing<[u8; 32]>,
    local_tag: u32,
    local_tsn: Serial32,
    /// We have said that packets without a checksum are welcome.
    takes_no_checksum: bool,
    replies: Replies,
    timers: TimerTable<Timer, 6>,
    rx: Rx,
    tx: Tx,
    /// A round-trip time that is not our own measurement: for the window of an end that sends nothing.
    path_rtt: Option<Duration>,
    resets: StreamResets,
    events: VecDeque<Event>,
    /// What this struct counts itself; the halves count their own.
    stats: Stats,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("phase", &self.phase)
            .field("outstanding", &self.tx.outstanding.len())
            .field("queued", &self.tx.queue.total())
            .field("peer_window", &self.tx.peer_window)
            .field("congestion", &self.tx.congestion)
            .field("held", &self.rx.reassembly.held())
            .finish_non_exhaustive()
    }
}

impl Association {
    /// An association that waits for the peer's INIT, or for [`Self::connect`].
    pub fn new(mut config: Config, now: Instant, mut rng: Rng) -> Self {
        config.max_packet = usable_packet(config.max_packet);
        config.probe_up_to = usable_probe(config.probe_up_to);
        // Any tag but 0 (RFC 9260 §5.3.1).
        let local_tag = rng.u32().max(1);
        let local_tsn = Serial32::new(rng.u32());
        let cookie_key = Zeroizing::new(rng.array());
        Self {
            epoch: now,
            phase: Phase::Closed,
            cookie_key,
            local_tag,
            local_tsn,
            takes_no_checksum: false,
            replies: Replies::default(),
            timers: TimerTable::default(),
            rx: Rx::new(&config, now),
            tx: Tx::new(&config, now, local_tsn),
            path_rtt: None,
            resets: StreamResets::new(local_tsn),
            events: VecDeque::new(),
            stats: Stats::default(),
            config,
            rng,
        }
    }

    /// Changes [`Config::remote_port`]. Before [`Self::connect`].
    pub fn set_remote_port(&mut self, port: u16) {
        self.config.remote_port = port;
    }

    /// No more than this many bytes may be on their way to us from now on, whatever the receive buffer has room for: for who knows how
    /// much there is room for on the way, as in the kernel's buffer of a socket that many peers share. `usize::MAX`: no such bound, as
    /// at the beginning. The peer hears of it with the next SACK.
    pub fn set_receive_share(&mut self, bytes: usize) {
        self.rx.set_share(bytes);
    }

    /// Changes [`Config::max_packet`]. Chunks already sent keep their size.
    pub fn set_max_packet(&mut self, bytes: usize) {
        self.config.max_packet = usable_packet(bytes);
        self.tx
            .set_packet_bounds(self.config.max_packet, self.config.probe_up_to);
    }

    /// Changes [`Config::probe_up_to`].
    pub fn set_probe_up_to(&mut self, bytes: usize) {
        self.config.probe_up_to = usable_probe(bytes);
        self.tx
            .set_packet_bounds(self.config.max_packet, self.config.probe_up_to);
    }

    /// The layers below use another path from now on: what was found out about the size of its packets is forgotten.
    pub fn path_changed(&mut self) {
        self.tx.restart_path(self.config.max_packet, self.config.probe_up_to);
    }

    /// A round-trip time measured elsewhere (ICE), taken until the association has measured its own.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.tx.rto.hint(rtt);
        self.path_rtt = Some(rtt);
    }

    /// How much the stream counts beside others: see [`Scheduler`](crate::Scheduler). 256 at first.
    pub fn set_weight(&mut self, stream: u16, weight: u16) {
        self.tx.queue.set_weight(stream, weight);
    }

    /// At which [`Self::buffered_amount`], on the way down, `BufferedAmountLow` is told.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: u16, bytes: usize) {
        self.tx.queue.set_threshold(stream, bytes);
    }

    /// Bytes of the stream's messages that have not been sent for the first time.
    pub fn buffered_amount(&self, stream: u16) -> usize {
        self.tx.queue.buffered(stream)
    }

    /// Bytes of all streams' messages that have not been sent for the first time.
    pub fn buffered_total(&self) -> usize {
        self.tx.queue.total()
    }

    /// Where the association stands.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// Whether the association is over.
    pub fn has_ended(&self) -> bool {
        self.phase.has_ended()
    }

    /// How many streams we may send on; known once the peer has answered.
    pub fn outgoing_streams(&self) -> Option<u16> {
        self.phase.peer().map(|peer| peer.streams)
    }

    /// How many streams the peer may send on; known once it has answered.
    pub fn incoming_streams(&self) -> Option<u16> {
        self.phase.peer().map(|peer| peer.incoming)
    }

    /// Whether messages travel in I-DATA chunks (RFC 8260); false until the handshake has settled it.
    pub fn is_interleaved(&self) -> bool {
        self.tx.outstanding.is_interleaved()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        let (sent, received) = (self.tx.counts, self.rx.counts);
        Stats {
            chunks_sent: sent.chunks,
            chunks_retransmitted: self.tx.outstanding.retransmissions(),
            chunks_duplicate: received.duplicate,
            chunks_refused: self.stats.chunks_refused + received.refused,
            chunks_invalid: self.stats.chunks_invalid + self.rx.reassembly.dropped(),
            messages_abandoned: self.tx.outstanding.messages_abandoned() + self.tx.queue.expired(),
            bytes_sent: sent.bytes,
            bytes_received: self.rx.reassembly.bytes_received(),
            timeouts: sent.timeouts,
            tail_probes: sent.tail_probes,
            spurious_recoveries: sent.spurious_recoveries,
            srtt: self.tx.rto.srtt(),
            latest_rtt: self.tx.rto.latest(),
            congestion_window: self.tx.congestion.window(),
            in_flight: self.tx.outstanding.in_flight(),
            peer_window: self.tx.peer_window,
            receive_window: self.rx.window(),
            max_packet: self.tx.packet,
            path_probes: sent.path_probes,
            black_holes: self.tx.path.black_holes(),
            marks_received: received.marked,
            marks_answered: sent.marks_answered,
            ..self.stats
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.timers.next(), self.tx.timers.next()])
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.expire(Timer::T1, now) {
            self.handle_t1(now);
        }
        if self.timers.expire(Timer::T2, now) {
            self.handle_t2(now);
        }
        // A wake-up for the pacer needs no more than to ask for packets again.
        self.tx.timers.expire(TxTimer::Pace, now);
        if self.tx.timers.expire(TxTimer::Reorder, now) {
            self.tx.handle_reorder_timer(now);
        }
        if self.tx.timers.expire(TxTimer::T3, now) {
            self.handle_t3(now);
        }
        if self.tx.timers.expire(TxTimer::Probe, now) {
            self.tx.handle_probe_timer(now);
        }
        if self.timers.expire(Timer::Ack, now) {
            self.rx.tracker.acknowledge_now();
        }
        if self.timers.expire(Timer::Heartbeat, now) {
            self.handle_heartbeat_timer(now);
        }
        if self.timers.expire(Timer::ReConfig, now) {
            self.handle_re_config_timer();
        }
        if self.tx.timers.expire(TxTimer::Path, now) {
            self.tx.handle_path_timer(now, self.phase.errors() > 0);
        }
        if self.timers.expire(Timer::T5, now) {
            self.abort_with(Error::PeerUnreachable);
        }
        self.collect_low();
    }

    /// T3-rtx has run out (RFC 9260 §6.3.3).
    fn handle_t3(&mut self, now: Instant) {
        if self.tx.outstanding.is_empty() {
            return;
        }
        self.tx.counts.timeouts += 1;
        self.tx.rto.back_off();
        if self.count_error() {
            self.tx.timed_out(now, self.phase.errors() > 2);
        }
    }

    /// Counts an unanswered transmission; the association may end of it. Returns whether it lives.
    fn count_error(&mut self) -> bool {
        if let Some(established) = self.phase.established() {
            established.errors += 1;
            if established.errors > self.config.max_retransmits {
                self.abort_with(Error::PeerUnreachable);
            }
        }
        !self.has_ended()
    }

    fn handle_heartbeat_timer(&mut self, now: Instant) {
        if !self.phase.sends_data() {
            return;
        }
        self.give_back();
        let unanswered = self.phase.established().and_then(|up| up.heartbeat.nonce.take());
        if unanswered.is_some() && !self.count_error() {
            return;
        }
        let Some(established) = self.phase.established() else {
            return;
        };
        let wait = if std::mem::take(&mut established.heartbeat.heard) {
            self.config.heartbeat_interval
        } else {
            established.heartbeat.nonce = Some(self.rng.array());
            established.heartbeat.due = true;
            established.heartbeat.sent_at = now;
            self.tx.rto.backed_off(established.errors)
        };
        self.timers.set(Timer::Heartbeat, now + wait);
    }

    /// Gives back memory that nothing needs now. With each heartbeat, so that it is not held long after the messages
    /// that took it.
    fn give_back(&mut self) {
        self.rx.give_back();
        self.tx.give_back();
        self.replies.give_back();
        self.events.shrink_to_fit();
    }

    /// Passes on what the halves have to tell.
    fn collect_events(&mut self) {
        while let Some(stream) = self.rx.reassembly.poll_readable() {
            self.events.push_back(Event::Readable(stream));
        }
        self.collect_low();
    }

    fn collect_low(&mut self) {
        while let Some(stream) = self.tx.queue.poll_low() {
            self.events.push_back(Event::BufferedAmountLow(stream));
        }
    }
}

/// A multiple of four, and not absurd.
fn usable_packet(bytes: usize) -> usize {
    bytes.clamp(MIN_PACKET, 65_532) & !3
}

/// The same of a probe, where 0 means none.
fn usable_probe(bytes: usize) -> usize {
    bytes.min(65_532) & !3
}
