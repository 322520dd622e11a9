//! One end of a call: a whole session, with what an application would do around it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use antiphon_media::congestion::{Congestion, CongestionControl};
use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{
    Codec, Config, Event, Feedback, Kind, Outgoing, Output, PacketKind, ReceiverConfig, RemoteSource, SenderConfig,
    SenderId, Session,
};
use antiphon_netsim::{Bulk, Machine};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::rtcp;
use antiphon_sansio::{BytesMut, ClockAnchor, Datagram, Ecn, Path, Rng, Transmit, TransmitBuf, Writer};

use super::source::{Content, Sound, Video};

/// What was negotiated for a flow.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The settings of the sending session.
    pub(crate) config: Config,
    /// The most that the encoder makes, in bits a second.
    pub(crate) wanted: f64,
    /// Whether there is RTX.
    pub(crate) rtx: bool,
    /// The feedback that both understand.
    pub(crate) feedback: Feedback,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            config: Config {
                start_bitrate: 300_000,
                ..Config::default()
            },
            wanted: 5e6,
            rtx: true,
            feedback: Feedback {
                nack: true,
                pli: true,
                fir: true,
                remb: false,
                transport_cc: true,
                ccfb: false,
            },
        }
    }
}

/// With feedback of RFC 8888, and the controller that heeds marks.
pub(crate) fn low_latency(mut terms: Terms) -> Terms {
    terms.feedback.transport_cc = false;
    terms.feedback.ccfb = true;
    terms.config.congestion = Congestion::Scream;
    terms
}

/// What steers the flows, or is them.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "benches/peers, which reads these files too, has all of them")]
pub(crate) enum Contender {
    /// A controller that is built in, in the place of that which the row has.
    Own(Congestion),
    /// Another controller in our session, made of the first, the least and the largest rate in bits a second.
    Controller(fn(u64, u64, u64) -> Box<dyn CongestionControl>),
    /// Another stack: sender and receiver of a flow that begins now. Rows that change a flow in its course do not run with it.
    Stack(MakeEnds),
}

/// Makes the sender and the receiver of a flow on these paths.
pub(crate) type MakeEnds = fn(Instant, &Terms, [Path; 2], &Rng) -> [Box<dyn Foreign>; 2];

/// An end of a call that is no session of ours.
pub(crate) trait Foreign: std::fmt::Debug {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit>;
    fn poll_timeout(&self) -> Option<Instant>;
    /// What may be sent in all, in bits a second.
    fn target(&self) -> Option<u64>;
    /// Whole frames of video that came.
    fn frames(&self) -> u64;
}

thread_local! {
    /// What all flows that this thread makes are made with, in the place of the controller that their row has.
    static CONTENDER: Cell<Option<Contender>> = const { Cell::new(None) };
}

/// Runs with this contender for all flows; `None`: with the controller that each row has.
pub(crate) fn with_contender<T>(contender: Option<Contender>, run: impl FnOnce() -> T) -> T {
    let before = CONTENDER.replace(contender);
    let result = run();
    CONTENDER.set(before);
    result
}

/// What flows are made with now.
pub(crate) fn contender() -> Option<Contender> {
    CONTENDER.get()
}

fn codec(kind: Kind, terms: &Terms) -> Codec {
    let video = kind == Kind::Video;
    Codec {
        payload_type: if video { 96 } else { 111 },
        name: if video { "VP8" } else { "opus" }.into(),
        clock_rate: if video { 90_000 } else { 48_000 },
        channels: if video { 1 } else { 2 },
        fmtp: String::new(),
        rtx_payload_type: (video && terms.rtx).then_some(97),
        feedback: Feedback {
            nack: video && terms.feedback.nack,
            ..terms.feedback
        },
    }
}

fn extensions(terms: &Terms) -> Map {
    let mut map = Map::default();
    if terms.feedback.transport_cc {
        map.insert(3, Extension::TransportCc);
    }
    if terms.feedback.remb && !terms.feedback.transport_cc {
        map.insert(2, Extension::AbsSendTime);
    }
    map.insert(4, Extension::Mid);
    map
}

/// The SSRCs of sound, video, and its retransmissions.
const SSRCS: [u32; 3] = [1, 2, 3];

/// A session on a socket.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    path: Path,
    pub(crate) video: Option<(SenderId, Video)>,
    pub(crate) sound: Option<(SenderId, Sound)>,
    /// Key frames are made this often, besides those that are asked for.
    pub(crate) key_every: Option<(Duration, Instant)>,
    /// Whether a circuit breaker may stop it.
    pub(crate) may_cease: bool,
    /// Whole frames of video that came.
    pub(crate) frames: u64,
    /// Bytes of RTCP that it sent, with IPv4 and UDP.
    pub(crate) rtcp_bytes: u64,
    /// Packets that came and were padding or sent a second time: when, and their bytes with IPv4 and UDP.
    pub(crate) extra: Vec<(Instant, usize)>,
}

impl End {
    /// Neither sends nor receives anything yet; `rtt` is what ICE has measured.
    pub(crate) fn new(now: Instant, terms: &Terms, path: Path, rtt: Duration, rng: &Rng) -> Self {
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_000_000));
        let mut config = terms.config.clone();
        let [start, min, max] = [config.start_bitrate, config.min_bitrate, config.max_bitrate];
        if let Some(Contender::Own(choice)) = contender() {
            config.congestion = choice;
        }
        // Who is compared goes on to the end.
        config.circuit_breakers &= contender().is_none();
        let mut session = Session::new(config, now, anchor, rng.fork("session"));
        if let Some(Contender::Controller(make)) = contender() {
            session.set_controller(now, make(start, min, max));
        }
        session.set_rtt(rtt);
        Self {
            session,
            path,
            video: None,
            sound: None,
            key_every: None,
            may_cease: false,
            frames: 0,
            rtcp_bytes: 0,
            extra: Vec::new(),
        }
    }

    /// Sends sound and video from now on.
    pub(crate) fn send(&mut self, now: Instant, terms: &Terms, rng: &Rng) {
        let mut add = |mid: &str, kind: Kind, ssrc: u32, rtx_ssrc: Option<u32>| {
            let config = SenderConfig {
                mid: mid.into(),
                rid: None,
                kind,
                ssrc,
                rtx_ssrc,
                fec_ssrc: None,
                codecs: vec![codec(kind, terms)],
                extensions: extensions(terms),
            };
            self.session.add_sender(now, config).expect("a new sender")
        };
        let sound = add("a", Kind::Audio, SSRCS[0], None);
        let video = add("v", Kind::Video, SSRCS[1], terms.rtx.then_some(SSRCS[2]));
        let start = terms.config.start_bitrate as f64;
        self.video = Some((video, Video::new(now, terms.wanted, start, rng.fork("video"))));
        self.sound = Some((sound, Sound::new(now)));
    }

    /// Receives what [`Self::send`] sends.
    pub(crate) fn receive(&mut self, terms: &Terms) {
        for (mid, kind) in [("a", Kind::Audio), ("v", Kind::Video)] {
            let video = kind == Kind::Video;
            let source = RemoteSource {
                ssrc: SSRCS[usize::from(video)],
                rtx_ssrc: (video && terms.rtx).then_some(SSRCS[2]),
                fec_ssrc: None,
                layer: None,
            };
            let config = ReceiverConfig {
                mid: mid.into(),
                kind,
                codecs: vec![codec(kind, terms)],
                extensions: extensions(terms),
                sources: vec![source],
                rids: vec![],
                output: Output::Frames,
                jitter_buffer_target: None,
                sync_group: None,
            };
            self.session.add_receiver(config).expect("a new receiver");
        }
    }

    /// Stops to send anything, or begins again.
    pub(crate) fn pause(&mut self, now: Instant, paused: bool) {
        if let Some((_, video)) = &mut self.video {
            video.content = if paused { Content::Off } else { Content::Live };
            (video.next, video.key_wanted) = (now, true);
        }
        if let Some((_, sound)) = &mut self.sound {
            sound.next = if paused {
                now + Duration::from_secs(100_000)
            } else {
                now
            };
        }
    }

    /// Hears a REMB as if the receiver had sent it.
    pub(crate) fn hear_remb(&mut self, now: Instant, rate: u64) {
        let mut bytes = [0; 64];
        let mut out = Writer::new(&mut bytes);
        rtcp::write_remb(9, rate, &SSRCS[..1], &mut out).expect("room for a REMB");
        let len = out.len();
        let data = BytesMut::from(&bytes[..len]);
        let packet = antiphon_sansio::Packet { ecn: Ecn::NotEct, data };
        self.session.handle_rtcp(now, packet);
    }

    /// Counts what is no media sent for the first time.
    fn note_extra(&mut self, now: Instant, data: &[u8]) {
        let Ok(packet) = Packet::parse(data) else { return };
        if packet.header.ssrc > SSRCS[1] || packet.payload().is_empty() {
            self.extra.push((now, data.len() + 28));
        } else if packet.padding_len() > 0 {
            self.extra.push((now, packet.padding_len()));
        }
    }
}

/// Whatever stands on a host.
#[derive(Debug)]
pub(crate) enum Peer {
    Call(Box<End>),
    Bulk(Box<Bulk>),
    Foreign(Box<dyn Foreign>),
}

impl Peer {
    /// The end of a call.
    pub(crate) fn call(&self) -> &End {
        match self {
            Self::Call(end) => end,
            Self::Bulk(_) | Self::Foreign(_) => panic!("no session of ours"),
        }
    }

    pub(crate) fn call_mut(&mut self) -> &mut End {
        match self {
            Self::Call(end) => end,
            Self::Bulk(_) | Self::Foreign(_) => panic!("no session of ours"),
        }
    }
}

impl Peer {
    /// What it says may be sent in all, in bits a second.
    pub(crate) fn target(&self) -> Option<u64> {
        match self {
            Self::Call(end) => end.session.available_bitrate(),
            Self::Bulk(_) => None,
            Self::Foreign(end) => end.target(),
        }
    }

    /// Whole frames of video that came.
    pub(crate) fn frames(&self) -> u64 {
        match self {
            Self::Call(end) => end.frames,
            Self::Bulk(_) => 0,
            Self::Foreign(end) => end.frames(),
        }
    }
}

impl Machine for Peer {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        match self {
            Self::Call(end) => end.handle_datagram(now, datagram),
            Self::Bulk(bulk) => bulk.handle_datagram(now, datagram),
            Self::Foreign(end) => end.handle_datagram(now, datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Call(end) => end.handle_timeout(now),
            Self::Bulk(bulk) => bulk.handle_timeout(now),
            Self::Foreign(end) => end.handle_timeout(now),
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        match self {
            Self::Call(end) => end.poll_transmit(now, out),
            Self::Bulk(bulk) => bulk.poll_transmit(now, out),
            Self::Foreign(end) => end.poll_transmit(now, out),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Call(end) => end.poll_event(),
            Self::Bulk(_) | Self::Foreign(_) => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Call(end) => end.poll_timeout(),
            Self::Bulk(bulk) => bulk.poll_timeout(),
            Self::Foreign(end) => end.poll_timeout(),
        }
    }

    fn close(&mut self, now: Instant) {
        match self {
            Self::Call(end) => end.close(now),
            Self::Bulk(bulk) => bulk.close(now),
            Self::Foreign(_) => {}
        }
    }
}

impl End {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let packet = antiphon_sansio::Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if is_rtcp(&packet.data) {
            self.session.handle_rtcp(now, packet);
        } else {
            self.note_extra(now, &packet.data);
            self.session.handle_rtp(now, packet);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((id, sound)) = &mut self.sound
            && sound.next <= now
        {
            let _ = self.session.send_frame(now, *id, sound.frame());
        }
        if let (Some((_, video)), Some((gap, next))) = (&mut self.video, &mut self.key_every)
            && *next <= now
        {
            video.key_wanted = true;
            *next += *gap;
        }
        if let Some((id, video)) = &mut self.video
            && video.next <= now
            && let Some(frame) = video.frame(now, self.session.target_bitrate(*id))
        {
            // A full queue refuses it: the encoder skips a frame.
            let _ = self.session.send_frame(now, *id, frame);
        }
        self.session.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let Outgoing { ecn, kind, .. } = self.session.poll_transmit(now, out)?;
        let range = out.finish();
        if kind == PacketKind::Rtcp {
            self.rtcp_bytes += range.len() as u64 + 28;
        }
        Some(Transmit {
            path: self.path,
            range,
            segment_size: None,
            ecn,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.session.poll_event()? {
                Event::Frame { ssrc, .. } => self.frames += u64::from(ssrc == SSRCS[1]),
                Event::KeyFrameRequested { .. } => {
                    if let Some((_, video)) = &mut self.video {
                        video.key_wanted = true;
                    }
                }
                // RFC 8083 §1: whoever controls congestion does not come near its breakers.
                Event::Ceased { cause, .. } => assert!(self.may_cease, "{cause:?} {:?}", self.session.stats().outbound),
                Event::TargetBitrate { .. } | Event::NewSource { .. } | Event::Restarted { .. } => {}
                other => return Some(other),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sound = self.sound.as_ref().map(|(_, sound)| sound.next);
        let video = self.video.as_ref().map(|(_, video)| video.next);
        [sound, video, self.session.poll_timeout()].into_iter().flatten().min()
    }

    fn close(&mut self, _: Instant) {
        self.session.close();
        (self.sound, self.video) = (None, None);
    }
}
