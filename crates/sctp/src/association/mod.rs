mod cookie;
mod ecn;
mod handshake;
mod input;
mod output;
mod path;
mod reset;
mod shutdown;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, Serial32, TimerTable};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::chunk::Capabilities;
use crate::rx::{DataTracker, Reassembly, ReceiveWindow};
use crate::tx::congestion::CongestionControl;
use crate::tx::{Outstanding, Pacer, PathMtu, PathTime, Queued, Rto, SendQueue};
use crate::{Config, Error, Event, INITIAL_WINDOW, MIN_PACKET, Message, SendError, SendOptions, State, Stats};
use ecn::EcnState;
use reset::StreamResets;

/// Chunks that answer the peer and wait for a packet. The oldest goes when there are more.
const MAX_REPLIES: usize = 16;
/// A SACK tells of a window that has opened once it has grown by this part of the buffer (RFC 9260 §6.2).
const WINDOW_UPDATE_PART: usize = 4;
/// For the receive window, while no round trip has been measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// INIT and COOKIE ECHO.
    T1,
    /// SHUTDOWN and SHUTDOWN ACK.
    T2,
    /// Retransmission of DATA.
    T3,
    /// Delayed SACK.
    Ack,
    Heartbeat,
    ReConfig,
    /// The overall guard of the shutdown (RFC 9260 §9.2).
    T5,
    /// The pacer's next burst.
    Pace,
    /// The tail loss probe (RFC 8985 §7).
    Probe,
    /// The verdict on what may only be late (RFC 8985 §6.3).
    Reorder,
    /// The answer to a path MTU probe, or the next search.
    Path,
}

impl From<Timer> for usize {
    fn from(timer: Timer) -> Self {
        timer as Self
    }
}

/// What we know of the peer once its INIT or INIT ACK has come.
#[derive(Clone, Copy, Debug)]
struct Peer {
    tag: u32,
    /// How many streams we may send on.
    streams: u16,
    /// How many it may send on.
    incoming: u16,
    capabilities: Capabilities,
}

/// A chunk that answers the peer.
#[derive(Debug)]
struct Reply {
    /// The packet's verification tag, if not the peer's present one.
    tag: Option<u32>,
    bytes: Vec<u8>,
    /// No other chunk may share its packet.
    alone: bool,
}

/// One SCTP association (RFC 9260). It knows no addresses: packets go in and out through the layer below, DTLS.
pub struct Association {
    config: Config,
    epoch: Instant,
    rng: Rng,
    state: State,
    /// No packet is taken and none is made any more, but for replies that wait.
    ended: bool,
    /// The owner has been told of the end: of [`Self::ended`], or that all is exchanged and only the peer's last word is awaited.
    end_told: bool,
    /// SHUTDOWN ACKs that stayed unanswered.
    shutdown_acks: u32,
    cookie_key: Zeroizing<[u8; 32]>,
    local_tag: u32,
    local_tsn: Serial32,
    peer: Option<Peer>,
    /// We have said that packets without a checksum are welcome.
    takes_no_checksum: bool,
    /// The peer's cookie, to be echoed.
    echo: Vec<u8>,
    send_init: bool,
    init_sent: Instant,
    send_echo: bool,
    send_shutdown: bool,
    send_shutdown_ack: bool,
    replies: VecDeque<Reply>,
    timers: TimerTable<Timer, 11>,
    init_tries: u32,
    /// Association.Error.Count (RFC 9260 §8.1).
    errors: u32,

    tracker: DataTracker,
    reassembly: Reassembly,
    /// The window in the last SACK.
    advertised: usize,
    window: ReceiveWindow,
    /// A round-trip time that is not our own measurement: for the window of an end that sends nothing.
    path_rtt: Option<Duration>,

    queue: SendQueue,
    outstanding: Outstanding,
    congestion: Box<dyn CongestionControl>,
    pacer: Pacer,
    rto: Rto,
    path_mtu: PathMtu,
    /// The largest packet to send now.
    packet: usize,
    /// What the answer to the path MTU probe will bring back, and the size of that probe.
    path_nonce: Option<([u8; 8], usize)>,
    /// The peer's window less what is in flight.
    peer_window: usize,
    /// While a loss is repaired: where the repair ends.
    recovery: Option<u64>,
    window_limited: bool,
    /// The pacer holds packets back.
    pace_limited: bool,
    forward_due: bool,
    /// The point that the last FORWARD TSN told of.
    forward_told: u64,
    /// The first retransmission after a loss goes out whatever the window says (RFC 9260 §7.2.4 3)). So does a probe.
    fast_retransmit: bool,
    /// A tail loss probe was sent, and nothing has been acknowledged since.
    probing: bool,
    forward_sent: Option<Instant>,
    last_data_sent: Option<Instant>,

    heartbeat: Option<[u8; 8]>,
    heartbeat_due: bool,
    heartbeat_sent: Instant,
    heard_since_heartbeat: bool,

    ecn: EcnState,
    resets: StreamResets,
    events: VecDeque<Event>,
    stats: Stats,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("state", &self.state)
            .field("ended", &self.ended)
            .field("peer", &self.peer)
            .field("outstanding", &self.outstanding.len())
            .field("queued", &self.queue.total())
            .field("peer_window", &self.peer_window)
            .field("congestion", &self.congestion)
            .field("held", &self.reassembly.held())
            .finish_non_exhaustive()
    }
}

impl Association {
    /// An association that waits for the peer's INIT, or for [`Self::connect`].
    pub fn new(mut config: Config, now: Instant, mut rng: Rng) -> Self {
        config.max_packet = usable_packet(config.max_packet);
        config.probe_up_to = config.probe_up_to.min(65_532) & !3;
        // Any tag but 0 (RFC 9260 §5.3.1).
        let local_tag = rng.u32().max(1);
        let local_tsn = Serial32::new(rng.u32());
        let cookie_key = Zeroizing::new(rng.array());
        Self {
            epoch: now,
            state: State::Closed,
            ended: false,
            end_told: false,
            shutdown_acks: 0,
            cookie_key,
            local_tag,
            local_tsn,
            peer: None,
            takes_no_checksum: false,
            echo: Vec::new(),
            send_init: false,
            init_sent: now,
            send_echo: false,
            send_shutdown: false,
            send_shutdown_ack: false,
            replies: VecDeque::new(),
            timers: TimerTable::default(),
            init_tries: 0,
            errors: 0,
            tracker: DataTracker::new(Serial32::new(0)),
            reassembly: Reassembly::new(config.max_receive_message, partial_delivery_point(&config)),
            advertised: config.receive_buffer.min(INITIAL_WINDOW),
            window: ReceiveWindow::new(now, config.receive_buffer),
            path_rtt: None,
            queue: SendQueue::new(config.scheduler),
            outstanding: Outstanding::new(now, local_tsn),
            congestion: config.congestion.controller(config.max_packet),
            pacer: Pacer::new(now, config.max_packet),
            rto: Rto::new(config.rto_initial, config.rto_min, config.rto_max, config.max_backoff),
            path_mtu: PathMtu::new(config.max_packet, config.probe_up_to, MIN_PACKET),
            packet: config.max_packet,
            path_nonce: None,
            peer_window: 0,
            recovery: None,
            window_limited: false,
            pace_limited: false,
            forward_due: false,
            forward_told: 0,
            fast_retransmit: false,
            probing: false,
            forward_sent: None,
            last_data_sent: None,
            heartbeat: None,
            heartbeat_due: false,
            heartbeat_sent: now,
            heard_since_heartbeat: false,
            ecn: EcnState::default(),
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

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match event {
            Event::Readable(stream) => self.reassembly.announced(stream),
            Event::BufferedAmountLow(stream) => self.queue.announced(stream),
            Event::IncomingReset(stream) => self.resets.announced(stream),
            _ => {}
        }
        Some(event)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
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
        self.timers.expire(Timer::Pace, now);
        if self.timers.expire(Timer::Reorder, now) {
            self.handle_reorder(now);
        }
        if self.timers.expire(Timer::T3, now) {
            self.handle_t3(now);
        }
        if self.timers.expire(Timer::Probe, now) {
            self.handle_probe(now);
        }
        if self.timers.expire(Timer::Ack, now) {
            self.tracker.acknowledge_now();
        }
        if self.timers.expire(Timer::Heartbeat, now) {
            self.handle_heartbeat_timer(now);
        }
        if self.timers.expire(Timer::ReConfig, now) {
            self.handle_re_config_timer();
        }
        if self.timers.expire(Timer::Path, now) {
            self.handle_path_timer(now);
        }
        if self.timers.expire(Timer::T5, now) {
            self.abort_with(Error::PeerUnreachable);
        }
    }

    /// Queues a message. It may be sent before the handshake is over, and then leaves with it.
    pub fn send(
        &mut self,
        now: Instant,
        stream: u16,
        ppid: u32,
        data: Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        let takes = matches!(self.state, State::Established | State::CookieWait | State::CookieEchoed)
            || (self.state == State::Closed && !self.ended);
        if !takes {
            return Err(SendError::Closed);
        }
        if data.is_empty() {
            return Err(SendError::Empty);
        }
        if self.peer.is_some_and(|peer| stream >= peer.streams) || self.queue.is_resetting(stream) {
            return Err(SendError::StreamUnavailable);
        }
        // The bookkeeping of many small messages is bounded as their bytes are.
        let most = self.config.send_buffer;
        if self.queue.total() + data.len() > most || self.queue.overhead() > most {
            return Err(SendError::BufferFull);
        }
        self.stats.bytes_sent += data.len() as u64;
        let message = Queued {
            data,
            ppid,
            unordered: options.unordered,
            max_retransmits: options.max_retransmits,
            expires: options.lifetime.map(|lifetime| now + lifetime),
        };
        self.queue.push(stream, message);
        Ok(())
    }

    /// Takes the stream's next message, or the next piece of one ([`Config::partial_delivery`]), and gives its bytes back to the receive window.
    pub fn read(&mut self, now: Instant, stream: u16) -> Option<Message> {
        let message = self.take(stream)?;
        self.release(now, message.data.len());
        Some(message)
    }

    /// Takes the stream's next message; its bytes count against the receive window until [`Self::release`].
    pub fn take(&mut self, stream: u16) -> Option<Message> {
        self.reassembly.take(stream)
    }

    /// Gives a message that was taken back to the receive window: `bytes` is the length of its data. Once per message.
    pub fn release(&mut self, now: Instant, bytes: usize) {
        self.reassembly.release(bytes);
        let rtt = self.rto.srtt().or(self.path_rtt).unwrap_or(UNKNOWN_RTT);
        let widened = self.window.consumed(now, bytes, rtt);
        let grown = self.receive_window().saturating_sub(self.advertised);
        let small = self.advertised < self.window.size() / 2;
        if self.peer.is_some()
            && !self.ended
            && (small || widened)
            && grown >= (self.window.size() / WINDOW_UPDATE_PART).max(1)
        {
            self.tracker.acknowledge_now();
        }
    }

    fn receive_window(&self) -> usize {
        self.window.size().saturating_sub(self.reassembly.held())
    }

    /// What waits behind a hole, or for the rest of its message, may fill the window before any of it can be read: then reading
    /// cannot widen it, and it is not the application that is slow.
    #[inline]
    fn grow_window_for_unfinished(&mut self) {
        if self.reassembly.unfinished() > self.window.size() / 4 {
            self.window.widen();
        }
    }

    /// Bytes of the stream's messages that have not been sent for the first time.
    pub fn buffered_amount(&self, stream: u16) -> usize {
        self.queue.buffered(stream)
    }

    /// Bytes of all streams' messages that have not been sent for the first time.
    pub fn buffered_total(&self) -> usize {
        self.queue.total()
    }

    /// At which [`Self::buffered_amount`], on the way down, `BufferedAmountLow` is told.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: u16, bytes: usize) {
        self.queue.set_threshold(stream, bytes);
    }

    /// Where the association stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the association is over.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many streams we may send on; known once the peer has answered.
    pub fn outgoing_streams(&self) -> Option<u16> {
        self.peer.map(|peer| peer.streams)
    }

    /// How many streams the peer may send on; known once it has answered.
    pub fn incoming_streams(&self) -> Option<u16> {
        self.peer.map(|peer| peer.incoming)
    }

    /// A round-trip time measured elsewhere (ICE), taken until the association has measured its own.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rto.hint(rtt);
        self.path_rtt = Some(rtt);
    }

    /// How much the stream counts beside others: see [`Scheduler`](crate::Scheduler). 256 at first.
    pub fn set_weight(&mut self, stream: u16, weight: u16) {
        self.queue.set_weight(stream, weight);
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats {
            chunks_retransmitted: self.outstanding.retransmissions(),
            chunks_invalid: self.stats.chunks_invalid + self.reassembly.dropped(),
            messages_abandoned: self.outstanding.messages_abandoned() + self.queue.expired(),
            bytes_received: self.reassembly.bytes_received(),
            srtt: self.rto.srtt(),
            latest_rtt: self.rto.latest(),
            congestion_window: self.congestion.window(),
            in_flight: self.outstanding.in_flight(),
            peer_window: self.peer_window,
            receive_window: self.receive_window(),
            interleaved: self.outstanding.is_interleaved(),
            max_packet: self.packet,
            black_holes: self.path_mtu.black_holes(),
            ..self.stats
        }
    }

    fn reply(&mut self, reply: Reply) {
        if self.replies.len() == MAX_REPLIES {
            self.replies.pop_front();
        }
        self.replies.push_back(reply);
    }

    /// Passes on what the halves have to tell.
    fn collect_events(&mut self) {
        while let Some(stream) = self.reassembly.poll_readable() {
            self.events.push_back(Event::Readable(stream));
        }
        self.collect_low();
    }

    fn collect_low(&mut self) {
        while let Some(stream) = self.queue.poll_low() {
            self.events.push_back(Event::BufferedAmountLow(stream));
        }
    }

    fn path_time(&self) -> PathTime {
        PathTime {
            min_rtt: self.rto.min_rtt(),
            srtt: self.rto.srtt(),
        }
    }

    /// T3-rtx has run out (RFC 9260 §6.3.3).
    fn handle_t3(&mut self, now: Instant) {
        if self.outstanding.is_empty() {
            return;
        }
        self.stats.timeouts += 1;
        self.rto.back_off();
        if !self.count_error() {
            return;
        }
        // An unanswered FORWARD TSN alone is no sign of congestion: its answer may just have been delayed.
        if self.outstanding.in_flight() > 0 || self.outstanding.has_lost() {
            self.congestion.on_timeout(now);
            self.recovery = None;
            self.outstanding.recovery_begins(true);
        }
        let reneged = self.errors > 2;
        let queue = &mut self.queue;
        self.outstanding.lose_all(now, reneged, |key| {
            queue.abandon_begun(key);
        });
        self.suspect_black_hole(true);
        self.timers.stop(Timer::Probe);
        self.timers.stop(Timer::Reorder);
        self.update_pace(now);
        self.collect_low();
        self.forward_due = self.outstanding.wants_forward();
        self.timers.set(Timer::T3, now + self.rto.current());
    }

    /// Nothing has come back for two round trips: the newest chunk, or a new one, asks for an acknowledgement, before T3-rtx
    /// would take everything for lost (RFC 8985 §7.3).
    fn handle_probe(&mut self, now: Instant) {
        if self.probing || self.outstanding.in_flight() == 0 || self.outstanding.has_lost() {
            return;
        }
        self.probing = true;
        if self.queue.is_empty() || self.peer_window < self.config.max_packet {
            self.fast_retransmit = self.outstanding.probe_tail(now);
        } else {
            self.fast_retransmit = true;
        }
        self.stats.tail_probes += u64::from(self.fast_retransmit);
    }

    /// What might have been late is lost by now.
    fn handle_reorder(&mut self, now: Instant) {
        let time = self.path_time();
        let queue = &mut self.queue;
        let found = self.outstanding.look_for_losses(now, time, &mut |key| {
            queue.abandon_begun(key);
        });
        if found {
            self.respond_to_loss(now);
            self.suspect_black_hole(false);
        }
        self.collect_low();
        self.schedule_forward(now);
        self.schedule_verdict();
    }

    /// Counts an unanswered transmission; the association may end of it. Returns whether it lives.
    fn count_error(&mut self) -> bool {
        self.errors += 1;
        if self.errors > self.config.max_retransmits {
            self.abort_with(Error::PeerUnreachable);
        }
        !self.ended
    }

    fn handle_heartbeat_timer(&mut self, now: Instant) {
        if !matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        ) {
            return;
        }
        self.reassembly.drop_spares();
        if self.heartbeat.take().is_some() && !self.count_error() {
            return;
        }
        if std::mem::take(&mut self.heard_since_heartbeat) {
            self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
            return;
        }
        self.heartbeat = Some(self.rng.array());
        self.heartbeat_due = true;
        self.heartbeat_sent = now;
        self.timers
            .set(Timer::Heartbeat, now + self.rto.backed_off(self.errors));
    }
}

/// From how many bytes on what has come of a message is handed out.
fn partial_delivery_point(config: &Config) -> Option<usize> {
    let point = config.max_receive_message.min(config.receive_buffer / 4).max(1);
    config.partial_delivery.then_some(point)
}

/// A multiple of four, and not absurd.
fn usable_packet(bytes: usize) -> usize {
    bytes.clamp(MIN_PACKET, 65_532) & !3
}
