mod control;
mod receive;
mod report;
mod send;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use antiphon_rtp::extension::Map;
use antiphon_rtp::rtcp::ReportBlock;
use antiphon_sansio::{ClockAnchor, Rng};

use crate::arrivals::Arrivals;
use crate::bandwidth::{Estimator, PacketResult};
use crate::config::{Config, Kind, Output, ReceiverConfig, RemoteSource, SenderConfig};
use crate::error::Error;
use crate::event::{Event, ReceiverId, SenderId};
use crate::history::History;
use crate::inbound::Inbound;
use crate::large::LargePackets;
use crate::outbound::Outbound;
use crate::pacer::Pacer;
use crate::remb::ReceiveSide;
use crate::stats::Dropped;

/// Most events that wait to be fetched; the oldest frames and packets go first.
const MAX_EVENTS: usize = 2048;
/// Most sources of one receiver that no description announced; the longest silent one makes room.
const MAX_UNSIGNALLED: usize = 16;
/// Most sources, and most retransmission sources, of one session.
const MAX_SOURCES: usize = 512;
/// Most retransmission sources that came before their media.
const MAX_EARLY_RTX: usize = 16;
/// The round trip that is assumed until one is measured.
const DEFAULT_RTT: Duration = Duration::from_millis(100);
/// Largest RTCP packet written.
const MAX_RTCP: usize = 1200;

/// All RTP of one transport: what a BUNDLE group sends and receives.
///
/// Knows no addresses and no keys. Input is RTP and RTCP after SRTP; output is written into an open segment, which the
/// caller protects and finishes.
#[derive(Debug)]
pub struct Session {
    config: Config,
    anchor: ClockAnchor,
    rng: Rng,
    epoch: Instant,
    next_id: u32,
    /// Who reports while nothing is sent.
    local_ssrc: u32,
    senders: BTreeMap<SenderId, Outbound>,
    receivers: BTreeMap<ReceiverId, ReceiverConfig>,
    sources: BTreeMap<u32, Inbound>,
    /// Retransmission source to media source.
    rtx: BTreeMap<u32, u32>,
    /// Retransmission sources whose media source has sent nothing yet.
    early_rtx: Vec<EarlyRtx>,
    /// What the identifiers of incoming extensions mean: within a BUNDLE group the same everywhere (RFC 9143 §7.1.2).
    extensions: Map,
    /// Whether any receiver negotiated transport-wide feedback.
    feeds_back: bool,
    arrivals: Arrivals,
    receive_side: ReceiveSide,
    history: History,
    large: LargePackets,
    estimator: Estimator,
    pacer: Pacer,
    /// The sender that had its turn last.
    turn: Option<SenderId>,
    report_at: Option<Instant>,
    byes: Vec<u32>,
    /// Receiver reference times to answer: who, middle of the NTP time, when it came.
    reference_times: Vec<(u32, u32, Instant)>,
    rtt: Option<Duration>,
    rtt_hint: Option<Duration>,
    target: Option<u64>,
    events: VecDeque<Event>,
    dropped: Dropped,
    /// Report blocks about our senders.
    reports: u64,
    closed: bool,
    scratch: Scratch,
}

/// A retransmission source that came before the source that it repairs: Chromium probes the path with padding there.
#[derive(Debug)]
struct EarlyRtx {
    ssrc: u32,
    receiver: ReceiverId,
    /// The layer, where there are several.
    rid: Option<Box<str>>,
}

/// Memory that is used again and again.
#[derive(Debug)]
struct Scratch {
    results: Vec<PacketResult>,
    sequences: Vec<u16>,
    blocks: Vec<ReportBlock>,
    ssrcs: Vec<u32>,
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
            anchor,
            epoch: now,
            next_id: 0,
            local_ssrc: rng.u32(),
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            sources: BTreeMap::new(),
            rtx: BTreeMap::new(),
            early_rtx: Vec::new(),
            extensions: Map::default(),
            feeds_back: false,
            arrivals: Arrivals::new(now),
            receive_side: ReceiveSide::new(now, &config),
            history: History::new(now),
            large: LargePackets::default(),
            estimator: Estimator::new(config.start_bitrate, config.min_bitrate, config.max_bitrate),
            pacer: Pacer::new(now),
            turn: None,
            report_at: None,
            byes: Vec::new(),
            reference_times: Vec::new(),
            rtt: None,
            rtt_hint: None,
            target: None,
            events: VecDeque::new(),
            dropped: Dropped::default(),
            reports: 0,
            closed: false,
            scratch: Scratch {
                results: Vec::new(),
                sequences: Vec::new(),
                blocks: Vec::new(),
                ssrcs: Vec::new(),
                rtcp: vec![0; MAX_RTCP].into_boxed_slice(),
            },
            config,
            rng,
        }
    }

    /// The canonical name of all local sources: for `a=ssrc` lines.
    pub fn cname(&self) -> &str {
        &self.config.cname
    }

    /// Adds an outgoing stream, active at once.
    pub fn add_sender(&mut self, now: Instant, config: SenderConfig) -> Result<SenderId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.check_ssrcs(None, &config)?;
        let id = SenderId(self.next_id);
        self.next_id += 1;
        self.senders.insert(id, Outbound::new(now, config, &mut self.rng));
        Ok(id)
    }

    fn check_ssrcs(&self, id: Option<SenderId>, config: &SenderConfig) -> Result<(), Error> {
        let wanted = [Some(config.ssrc), config.rtx_ssrc];
        let others = self.senders.iter().filter(|(other, _)| Some(**other) != id);
        let mut taken = others
            .flat_map(|(_, sender)| [Some(sender.config.ssrc), sender.config.rtx_ssrc])
            .flatten();
        if config.rtx_ssrc == Some(config.ssrc) || taken.any(|ssrc| wanted.contains(&Some(ssrc))) {
            return Err(Error::SsrcInUse);
        }
        Ok(())
    }

    /// Replaces what was negotiated for a sender; an unchanged SSRC keeps sequence, ring and statistics.
    pub fn update_sender(&mut self, now: Instant, id: SenderId, config: SenderConfig) -> Result<(), Error> {
        self.check_ssrcs(Some(id), &config)?;
        let sender = self.senders.get_mut(&id).ok_or(Error::UnknownId)?;
        if sender.config.ssrc == config.ssrc {
            sender.renegotiate(config);
        } else {
            if sender.count.packets > 0 {
                self.byes.push(sender.config.ssrc);
            }
            let active = sender.active;
            *sender = Outbound::new(now, config, &mut self.rng);
            sender.active = active;
        }
        Ok(())
    }

    /// Lets a sender send or not, as the negotiated direction says. What waits is dropped.
    pub fn set_sender_active(&mut self, id: SenderId, active: bool) -> Result<(), Error> {
        let sender = self.senders.get_mut(&id).ok_or(Error::UnknownId)?;
        if !active {
            sender.drop_queued();
        }
        sender.active = active;
        Ok(())
    }

    /// Ends an outgoing stream; RTCP BYE follows if it sent anything.
    pub fn remove_sender(&mut self, id: SenderId) -> Result<(), Error> {
        let sender = self.senders.remove(&id).ok_or(Error::UnknownId)?;
        if sender.count.packets > 0 {
            self.byes.push(sender.config.ssrc);
        }
        Ok(())
    }

    /// Adds an incoming media section.
    pub fn add_receiver(&mut self, config: ReceiverConfig) -> Result<ReceiverId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let id = ReceiverId(self.next_id);
        self.next_id += 1;
        self.announce(id, config.kind, &config.sources);
        self.receivers.insert(id, config);
        self.negotiated();
        Ok(id)
    }

    /// Replaces what was negotiated for a receiver; its sources live on, those that are announced no more are forgotten.
    pub fn update_receiver(&mut self, id: ReceiverId, config: ReceiverConfig) -> Result<(), Error> {
        if !self.receivers.contains_key(&id) {
            return Err(Error::UnknownId);
        }
        let announced = |ssrc: u32| config.sources.iter().any(|source| source.ssrc == ssrc);
        self.sources
            .retain(|ssrc, source| source.receiver != id || !source.signalled || announced(*ssrc));
        self.rtx.retain(|_, media| self.sources.contains_key(media));
        for source in self.sources.values_mut().filter(|source| source.receiver == id) {
            // Looked up again with the next packet.
            source.codec = None;
        }
        self.announce(id, config.kind, &config.sources);
        self.receivers.insert(id, config);
        self.negotiated();
        Ok(())
    }

    fn announce(&mut self, id: ReceiverId, kind: Kind, sources: &[RemoteSource]) {
        for source in sources {
            if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source.ssrc) {
                break;
            }
            let inbound = self
                .sources
                .entry(source.ssrc)
                .or_insert_with(|| Inbound::new(source.ssrc, id, kind, true));
            inbound.receiver = id;
            inbound.signalled = true;
            if let Some(rtx) = source.rtx_ssrc {
                inbound.rtx_ssrc = Some(rtx);
                self.rtx.insert(rtx, source.ssrc);
            }
        }
    }

    /// Takes together what the receivers negotiated.
    fn negotiated(&mut self) {
        self.extensions = Map::default();
        for receiver in self.receivers.values() {
            for (id, kind) in receiver.extensions.iter() {
                self.extensions.insert(id, kind);
            }
        }
        let codecs = || self.receivers.values().flat_map(|receiver| &receiver.codecs);
        self.feeds_back = codecs().any(|codec| codec.feedback.transport_cc);
        let remb = !self.feeds_back && codecs().any(|codec| codec.feedback.remb);
        self.receive_side.enable(remb);
    }

    /// Chooses between frames and packets; may change at any time.
    pub fn set_output(&mut self, id: ReceiverId, output: Output) -> Result<(), Error> {
        let receiver = self.receivers.get_mut(&id).ok_or(Error::UnknownId)?;
        if receiver.output != output {
            receiver.output = output;
            for source in self.sources.values_mut().filter(|source| source.receiver == id) {
                source.assembler.restart(source.kind == Kind::Video);
            }
        }
        Ok(())
    }

    /// Ends an incoming media section; its sources are forgotten.
    pub fn remove_receiver(&mut self, id: ReceiverId) -> Result<(), Error> {
        self.receivers.remove(&id).ok_or(Error::UnknownId)?;
        self.sources.retain(|_, source| source.receiver != id);
        self.rtx.retain(|_, media| self.sources.contains_key(media));
        self.early_rtx.retain(|early| early.receiver != id);
        self.negotiated();
        Ok(())
    }

    /// Changes the largest RTP packet (bytes before SRTP) for frames that are sent from now on.
    pub fn set_max_packet_size(&mut self, bytes: usize) {
        self.config.max_packet_size = bytes;
    }

    /// The path has changed: sets the largest RTP packet (bytes before SRTP) that is forwarded on it.
    pub fn set_max_forward_size(&mut self, bytes: usize) {
        self.config.max_forward_size = bytes;
        self.large = LargePackets::default();
        for sender in self.senders.values_mut() {
            sender.told_too_large = false;
        }
    }

    /// Whether feedback may be reduced-size (`a=rtcp-rsize`).
    pub fn set_reduced_size(&mut self, reduced_size: bool) {
        self.config.reduced_size = reduced_size;
    }

    /// A round trip that was measured elsewhere (ICE): used until reports show one.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt_hint = Some(rtt);
    }

    /// The round trip as known now.
    fn rtt(&self) -> Duration {
        self.rtt.or(self.rtt_hint).unwrap_or(DEFAULT_RTT)
    }

    fn measured_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
    }

    /// Asks every source of the receiver for a key frame (PLI, or FIR if only that was negotiated). Repeated requests are
    /// merged while one is under way.
    pub fn request_key_frame(&mut self, id: ReceiverId) -> Result<(), Error> {
        if !self.receivers.contains_key(&id) {
            return Err(Error::UnknownId);
        }
        for source in self.sources.values_mut().filter(|source| source.receiver == id) {
            source.key_frame_wanted = true;
        }
        Ok(())
    }

    /// The newest bandwidth estimate, bits a second; `None` until the peer sent congestion feedback.
    pub fn target_bitrate(&self) -> Option<u64> {
        self.target
    }

    /// What happened. Media events are bounded; the oldest go first, counted.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            let media = |event: &Event| matches!(event, Event::Frame { .. } | Event::Packet { .. });
            let index = self.events.iter().position(media).unwrap_or(0);
            self.events.remove(index);
            self.dropped.events += 1;
        }
        self.events.push_back(event);
    }

    /// The estimate may have changed: tells the application of changes that matter.
    fn retarget(&mut self, now: Instant) {
        let target = self.estimator.target(now);
        if let Some(bps) = target {
            let told = self.target.unwrap_or(0);
            if bps.abs_diff(told) * 20 < told {
                return;
            }
            // The newest figure alone is of use.
            self.events
                .retain(|event| !matches!(event, Event::TargetBitrate { .. }));
            self.push_event(Event::TargetBitrate { bps });
        }
        self.target = target;
    }

    /// When to call [`Self::handle_timeout`] and poll for output.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let sources = self.sources.values().filter_map(|source| {
            let output = self.receivers.get(&source.receiver)?.output;
            source.next_timeout(output)
        });
        let senders = self.senders.values().flat_map(|sender| {
            let paced =
                (sender.config.kind == Kind::Video && sender.active && sender.waits()).then(|| self.pacer.next());
            [paced, sender.key_frame_due]
        });
        let feedback = if self.feeds_back { self.arrivals.next() } else { None };
        sources
            .chain(senders.flatten())
            .chain(feedback)
            .chain(self.report_at)
            .chain(self.receive_side.next())
            .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        let due: Vec<u32> = self
            .sources
            .values()
            .filter(|source| source.assembler.deadline().is_some_and(|at| at <= now))
            .map(|source| source.ssrc)
            .collect();
        for ssrc in due {
            self.deliver_frames(now, ssrc);
        }
        let due: Vec<SenderId> = self
            .senders
            .iter()
            .filter(|(_, sender)| sender.key_frame_due.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for sender in due {
            self.key_frame_asked(now, sender);
        }
    }

    /// Says goodbye for every stream (RTCP BYE) and drops what waits; poll until drained.
    pub fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        let senders = std::mem::take(&mut self.senders);
        let sent = senders.values().filter(|sender| sender.count.packets > 0);
        self.byes.extend(sent.map(|sender| sender.config.ssrc));
        self.receivers.clear();
        self.sources.clear();
        self.rtx.clear();
        self.early_rtx.clear();
        self.report_at = None;
    }
}
