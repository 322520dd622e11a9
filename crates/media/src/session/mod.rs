//! All RTP of one transport: the session, and its time. What comes in, goes out and is set up has rooms of its own.

mod available;
mod breaking;
mod control;
mod dtmf;
mod receive;
mod repair;
mod report;
mod send;
mod setup;
mod snapshot;

use std::time::{Duration, Instant};

use antiphon_rtp::payload::Cut;
use antiphon_rtp::rtcp::ReportBlock;
use antiphon_sansio::{ClockAnchor, Ecn, Rng, earliest};
use available::Available;

use crate::breaker::Unheard;
use crate::capture::PeerClock;
use crate::config::{Bounds, Config, Kind};
use crate::congestion::{CongestionControl, PacketResult, Steering};
use crate::error::Error;
use crate::event::SenderId;
use crate::events::Events;
use crate::feedback::history::History;
use crate::feedback::large::LargePackets;
use crate::feedback::marks::Marks;
use crate::feedback::told::Told;
use crate::feedback::{ccfb, twcc};
use crate::nack::{Answers, Way};
use crate::outbound::Moment;
use crate::pacer::{MAX_PROBES, Pacer};
use crate::reception::Elapsed;
use crate::redundancy::choice::{Bursts, Loss};
use crate::ring::Ticks;
use crate::routing::{Routing, SourceId};
use crate::senders::Senders;
use crate::stats::Dropped;
use crate::transform::Transforms;

/// The round trip that is assumed until one is measured.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// Largest RTCP packet written.
const MAX_RTCP: usize = 1200;

/// All RTP of one transport: what a BUNDLE group sends and receives.
///
/// Knows no addresses and no keys. Input is RTP and RTCP after SRTP; output is written into an open segment, which the
/// caller protects and finishes.
// What each packet that leaves looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub struct Session {
    closed: bool,
    large: LargePackets,
    senders: Senders,
    elapsed: Elapsed,
    /// The wall clock's time at the beginning, in units of 2^-18 s.
    began: u64,
    reports: Reports,
    events: Events,
    pacer: Pacer,
    /// What was sent, and what the peer tells of arrivals.
    history: History,
    controller: Steering,
    available: Available,
    config: Config,
    routing: Routing,
    /// What the peer is told of arrivals.
    told: Told,
    heard: Heard,
    anchor: ClockAnchor,
    rng: Rng,
    next_id: u32,
    /// Who reports while nothing is sent.
    local_ssrc: u32,
    /// The peer's NTP time on our clock.
    peer_clock: PeerClock,
    rtt: RoundTrip,
    /// How many packets are lost in a row.
    bursts: Bursts,
    /// What is done with the frames of senders before they are cut.
    transforms: Transforms<SenderId>,
    dropped: Dropped,
    scratch: Scratch,
}

/// What the peer tells of arrivals, in each form.
#[derive(Debug, Default)]
struct Heard {
    numbers: twcc::Heard,
    streams: ccfb::Heard,
    /// What it tells of marks, once there were any.
    marks: Option<Box<Marks>>,
}

/// What is to be reported, and when.
#[derive(Debug, Default)]
struct Reports {
    /// When the next regular report is due.
    at: Option<Instant>,
    /// Whether a report was due, and may not have been written whole.
    due: bool,
    /// Who says goodbye.
    byes: Vec<u32>,
    /// Receiver reference times to answer: who, middle of the NTP time, when it came.
    reference_times: Vec<(u32, u32, Instant)>,
    /// Report blocks of the peer about our senders.
    received: u64,
    /// The share of what is sent that the peer reports as lost, of all senders.
    lost: Loss,
    /// What is sent, and nobody speaks of.
    unheard: Unheard,
}

/// The round trip to the peer.
#[derive(Debug, Default)]
struct RoundTrip {
    /// Smoothed, from reports.
    measured: Option<Duration>,
    /// As ICE measured it: used until reports show one.
    hint: Option<Duration>,
}

impl RoundTrip {
    fn get(&self) -> Duration {
        self.measured.or(self.hint).unwrap_or(DEFAULT_RTT)
    }

    fn sample(&mut self, rtt: Duration) {
        self.measured = Some(self.measured.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
    }
}

/// Memory that is used again and again.
#[derive(Debug)]
struct Scratch {
    results: Vec<PacketResult>,
    sequences: Vec<u16>,
    blocks: Vec<ReportBlock>,
    ssrcs: Vec<u32>,
    due: Vec<SourceId>,
    /// The packets of the frame that is sent.
    cuts: Vec<Cut>,
    rtcp: Box<[u8]>,
}

impl Session {
    /// A session without streams. `anchor` gives sender reports their wall-clock time. An empty CNAME is replaced by a
    /// random one (RFC 7022 §4.2).
    pub fn new(mut config: Config, now: Instant, anchor: ClockAnchor, rng: Rng) -> Self {
        let mut rng = rng.fork("media");
        if config.cname.is_empty() {
            config.cname = rng.ice_chars(16);
        }
        Self {
            began: anchor.ntp(now) >> 14,
            anchor,
            next_id: 0,
            local_ssrc: rng.u32(),
            senders: Senders::default(),
            routing: Routing::default(),
            peer_clock: PeerClock::default(),
            elapsed: Elapsed::since(now),
            told: Told::default(),
            history: History::new(now),
            heard: Heard::default(),
            large: LargePackets::default(),
            controller: Steering::new(
                config.congestion,
                config.start_bitrate,
                config.min_bitrate,
                config.max_bitrate,
            ),
            pacer: Pacer::new(now, config.gather),
            available: Available::new(now),
            reports: Reports::default(),
            rtt: RoundTrip::default(),
            bursts: Bursts::default(),
            transforms: Transforms::default(),
            events: Events::default(),
            dropped: Dropped::default(),
            closed: false,
            scratch: Scratch {
                results: Vec::new(),
                sequences: Vec::new(),
                blocks: Vec::new(),
                ssrcs: Vec::new(),
                due: Vec::new(),
                cuts: Vec::new(),
                rtcp: Box::default(),
            },
            config,
            rng,
        }
    }

    /// A round trip that was measured elsewhere (ICE): used until reports show one.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt.hint = Some(rtt);
    }

    /// What is sent takes another way through the network from now on: the estimate and the round trip of the old one are forgotten.
    pub fn route_changed(&mut self, now: Instant) {
        (self.rtt, self.reports.lost) = (RoundTrip::default(), Loss::default());
        if let Some(marks) = &mut self.heard.marks {
            marks.route_changed();
        }
        self.controller.on_route_change(now);
        self.begin_again(now, |_| true);
        self.retarget(now);
    }

    /// Steers by a controller of the caller's from now on, instead of the one that [`Config::congestion`] names. What feedback said
    /// before is not told to it.
    pub fn set_controller(&mut self, now: Instant, controller: Box<dyn CongestionControl>) {
        self.controller = Steering::from(controller);
        self.retarget(now);
    }

    /// The mark of an RTP packet that leaves now: what the controller asks for, where feedback can speak of it.
    #[inline]
    fn mark(&mut self) -> Ecn {
        let ended = self.heard.marks.as_ref().is_some_and(|marks| !marks.may_be_sent());
        if ended || !self.history.is_by_stream() {
            return Ecn::NotEct;
        }
        self.controller.mark()
    }

    /// The moment, as headers and slots have it.
    #[inline]
    fn moment(&mut self, now: Instant) -> Moment {
        let micros = self.elapsed.micros(now);
        Moment {
            ticks: Ticks(micros as u32),
            send_time: (self.began + (micros << 18) / 1_000_000) as u32 & 0xff_ffff,
        }
    }

    /// The newest bandwidth estimate, for all packets together, bits a second; `None` until the peer sent congestion feedback.
    pub fn available_bitrate(&self) -> Option<u64> {
        self.available.total
    }

    /// What of [`Self::available_bitrate`] is left for media, bits a second, after what repairs it and what is sent a second time; `None`
    /// like that.
    pub fn media_bitrate(&self) -> Option<u64> {
        self.available.media
    }

    /// What all senders together can use, bits a second, payload and RTP headers: the path is asked whether it carries so much. `None`: what
    /// their bounds say. For who forwards, and cannot make less of what comes, or more.
    pub fn set_desired_bitrate(&mut self, now: Instant, desired: Option<u64>) {
        self.available.desired = desired;
        self.retarget(now);
    }

    /// What a sender may send, bits a second, payload and RTP headers: its share of [`Self::available_bitrate`], of which what forward
    /// error correction adds and what is sent a second time is taken first, up to a half. 0: there is too little for it. `None` before the
    /// peer's first feedback, before it has sent anything, and while it is inactive.
    pub fn target_bitrate(&self, id: SenderId) -> Option<u64> {
        self.senders.share(id)?.told
    }

    /// The way to the peer, and back.
    #[inline]
    fn way(&self) -> Way {
        Way {
            rtt: self.rtt.get(),
            lost: self.reports.lost.told(),
        }
    }

    /// When a packet may come that is asked for.
    #[inline]
    fn answers(&self) -> Answers {
        Answers::new(self.rtt.get(), self.config.max_latency)
    }

    /// Says how much of the rate a sender wants, from now on.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn set_sender_bounds(&mut self, now: Instant, id: SenderId, bounds: Bounds) -> Result<(), Error> {
        self.senders.share_mut(id).ok_or(Error::UnknownId)?.bounds = bounds;
        self.retarget(now);
        Ok(())
    }

    /// The controller was told something: takes its answers, and tells the application of changes that matter.
    fn retarget(&mut self, now: Instant) {
        let total = self.controller.target_rate(now);
        let demand = self.available.share(now, total, &mut self.senders, &mut self.events);
        if let Some(demand) = demand {
            self.controller.on_demand(now, demand);
        }
        self.pacer.set(
            self.controller.pacing_rate(now),
            self.controller.congestion_window(),
            self.controller.padding_rate(now),
        );
        // A probe that nothing could fill up shows nothing: it is fetched when it can be sent.
        if self
            .senders
            .iter()
            .any(|(_, sender)| sender.can_pad() || sender.ring.is_waiting())
        {
            for probe in std::iter::from_fn(|| self.controller.next_probe(now)).take(MAX_PROBES) {
                self.pacer.probe(probe);
            }
        }
    }

    /// When to call [`Self::handle_timeout`] and poll for output.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let waits = self.senders.first(Kind::Video).is_some() || self.pacer.probing().is_some();
        let in_flight = self.history.in_flight();
        earliest([
            waits.then(|| self.pacer.next(in_flight)),
            self.pacer.next_padding(in_flight),
            self.controller.next_timeout(),
            self.senders.key_frame_due(),
            self.senders.dtmf_due(),
            self.routing.next_timeout(),
            self.told.next(),
            self.reports.at,
        ])
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        let answers = self.answers();
        self.scratch.due.clear();
        self.routing.due(now, &mut self.scratch.due);
        for id in self.scratch.due.drain(..) {
            if let Some(source) = self.routing.source_mut(id) {
                source.handle_timeout(now, answers, &mut self.events, &mut self.dropped);
                self.routing.reschedule(id);
            }
        }
        if self.controller.next_timeout().is_some_and(|at| at <= now) {
            self.controller.on_timeout(now);
            self.retarget(now);
        }
        if self.senders.dtmf_due().is_some_and(|at| at <= now) {
            self.play_dtmf(now);
        }
        if self.senders.key_frame_due().is_some_and(|at| at <= now) {
            self.ask_for_key_frames(now);
        }
    }

    /// Says goodbye for every stream (RTCP BYE) and drops what waits; poll until drained.
    pub fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        let senders = std::mem::take(&mut self.senders);
        let sent = senders.iter().filter(|(_, sender)| sender.count.packets > 0);
        self.reports.byes.extend(sent.map(|(_, sender)| sender.config.ssrc));
        self.reports.at = None;
        self.routing = Routing::default();
    }
}
