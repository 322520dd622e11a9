//! One incoming source: what it sends becomes frames or packets, and what it lacks is asked for.

mod play;

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_rtp::Rid;
use antiphon_rtp::extension::{Carried, VideoOrientation};
use antiphon_rtp::payload::telephone_event::TelephoneEvent;
use antiphon_rtp::payload::{Depacketizer, Piece};
use antiphon_sansio::{Ecn, earliest};
use bytes::Bytes;

use crate::assembler::{Assembler, Joiners, Part, SMALL};
use crate::capture::MediaClock;
use crate::config::{Codec, Kind, Output};
use crate::event::{Contributors, Event, Packet};
use crate::events::Events;
use crate::frame_count::{ReceivedFrames, Sound};
use crate::key_frames::KeyFrames;
use crate::keypad::Keypad;
use crate::nack::{Answers, NackGenerator};
use crate::playout::Playout;
use crate::reception::{Arrival, Reception};
use crate::repairs::{Redundant, Repairs};
use crate::section::{Section, Use};
use crate::stats::{DecoderFigures, Dropped, MarksReceived, RemoteOutboundRtp};

/// How long disorder is waited for, where nothing is repaired.
const DISORDER: Duration = Duration::from_millis(60);
/// How long is waited where only redundancy repairs: it comes soon or never.
const REDUNDANCY: Duration = Duration::from_millis(400);
/// Sound that is later than this is of no use, though it could be asked for again.
const SOUND: Duration = Duration::from_millis(200);

/// What of a packet matters once it is routed.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Bytes,
    /// Bytes of header and padding.
    pub(crate) header_bytes: usize,
    pub(crate) extensions: Carried,
    pub(crate) contributors: Option<Arc<Contributors>>,
    /// How it came.
    pub(crate) origin: Origin,
    /// The mark that it came with.
    pub(crate) ecn: Ecn,
    /// When it came, in microseconds since the session began.
    pub(crate) micros: u64,
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// As it was sent first.
    Original,
    /// By a retransmission (RFC 4588).
    Retransmitted,
    /// Out of redundancy that was sent with others: nothing of it counts as received.
    Recovered(Redundant),
}

/// One incoming source.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) ssrc: u32,
    /// What was negotiated for its receiver.
    pub(crate) section: Arc<Section>,
    pub(crate) rid: Option<Rid>,
    pub(crate) rtx_ssrc: Option<u32>,
    /// Announced by the description: never forgotten for another.
    pub(crate) signalled: bool,
    /// Whether a packet came; the application was told.
    pub(crate) announced: bool,
    /// The section's codec of the newest packet.
    codec: Option<usize>,
    pub(crate) reception: Reception,
    pub(crate) nack: NackGenerator,
    pub(crate) assembler: Assembler,
    pub(crate) repairs: Repairs,
    pub(crate) playout: Box<Playout>,
    keypad: Keypad,
    joiners: Joiners,
    /// The newest orientation that it told.
    orientation: Option<VideoOrientation>,
    pub(crate) key_frames: KeyFrames,
    /// Whether packets came since the last report.
    pub(crate) active: bool,
    /// Whether a report block is due.
    pub(crate) report_due: bool,
    pub(crate) last_packet: Option<Instant>,
    pub(crate) count: InboundCount,
    pub(crate) remote: Option<RemoteOutboundRtp>,
    /// What the application says of its decoder.
    pub(crate) decoder: Option<Box<DecoderFigures>>,
    /// Its media clock on ours, by its newest sender report.
    pub(crate) clock: Option<MediaClock>,
    /// Said goodbye.
    pub(crate) left: bool,
    /// When it was found to have something to do.
    pub(crate) scheduled: Option<Instant>,
}

/// What is counted about an incoming source.
#[derive(Debug, Default)]
pub(crate) struct InboundCount {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks: u32,
    pub(crate) plis: u32,
    pub(crate) firs: u32,
    /// Once anything came.
    heard: Option<Box<Heard>>,
}

/// What is counted of what came, beside its packets: nothing as long as nothing comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) frames: ReceivedFrames,
    pub(crate) sound: Sound,
    pub(crate) marks: MarksReceived,
    pub(crate) repaired_bytes: u64,
}

impl InboundCount {
    #[inline]
    fn heard_mut(&mut self) -> &mut Heard {
        self.heard.get_or_insert_default()
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.as_deref().copied().unwrap_or_default()
    }
}

impl Inbound {
    pub(crate) fn new(ssrc: u32, section: Arc<Section>, signalled: bool) -> Self {
        let video = section.config.kind == Kind::Video;
        let mut repairs = Repairs::default();
        repairs.negotiate(ssrc, section.fec);
        let mut playout = Box::new(Playout::default());
        playout.want(section.config.jitter_buffer_target);
        Self {
            ssrc,
            section,
            rid: None,
            rtx_ssrc: None,
            signalled,
            announced: false,
            codec: None,
            reception: Reception::default(),
            nack: NackGenerator::default(),
            assembler: Assembler::new(video),
            repairs,
            playout,
            keypad: Keypad::default(),
            joiners: Joiners::default(),
            orientation: None,
            key_frames: KeyFrames::default(),
            active: false,
            report_due: false,
            last_packet: None,
            count: InboundCount::default(),
            remote: None,
            decoder: None,
            clock: None,
            left: false,
            scheduled: None,
        }
    }

    /// The source says its RID.
    pub(crate) fn name(&mut self, rid: &[u8]) {
        self.rid = self.rid.or_else(|| Rid::new(rid));
    }

    /// Something else is negotiated for its receiver.
    pub(crate) fn renegotiate(&mut self, section: Arc<Section>) {
        let payload_type = self.codec().map(|codec| codec.payload_type);
        self.codec = payload_type.and_then(|payload_type| match section.use_of(payload_type) {
            Some(Use::Media(index)) => Some(index),
            _ => None,
        });
        if self.section.config.codecs != section.config.codecs {
            self.joiners.clear();
            self.know_codec(&section);
        }
        self.repairs.negotiate(self.ssrc, section.fec);
        if self.section.config.output != section.config.output {
            self.assembler.restart();
            self.playout.end();
        }
        self.playout.want(section.config.jitter_buffer_target);
        self.section = section;
    }

    /// What comes is of the codec that was found last: its frames can be made.
    fn know_codec(&mut self, section: &Section) {
        if let Some((codec, format)) = self.codec.and_then(|index| section.codec(index))
            && format.has_frames()
        {
            self.joiners.know(codec.payload_type, format, &codec.fmtp);
        }
    }

    pub(crate) fn is_video(&self) -> bool {
        self.section.config.kind == Kind::Video
    }

    /// The codec of the newest packet.
    pub(crate) fn codec(&self) -> Option<&Codec> {
        Some(self.section.codec(self.codec?)?.0)
    }

    pub(crate) fn clock_rate(&self) -> u32 {
        self.codec().map_or(90_000, |codec| codec.clock_rate.max(1))
    }

    /// When media of a timestamp was captured.
    #[inline]
    fn captured(&self, timestamp: u32, now: Instant) -> Option<Instant> {
        self.clock?.captured(timestamp, self.clock_rate(), now)
    }

    /// Whether a key frame can be asked for at all.
    fn can_request(&self) -> bool {
        self.is_video()
            && self.announced
            && self
                .codec()
                .is_some_and(|codec| codec.feedback.pli || codec.feedback.fir)
    }

    /// When the next request for a key frame may leave, if one is wanted.
    pub(crate) fn request_due(&self) -> Option<Instant> {
        let lacks = self.assembler.lacks_key_frame(self.key_frames.answered());
        if !(self.key_frames.wanted || lacks) || !self.can_request() {
            return None;
        }
        self.key_frames.next_request(self.last_packet?)
    }

    /// The earliest moment at which this source has something to do.
    #[inline]
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let assembly = match self.section.config.output {
            Output::Frames | Output::Playout => self.assembler.deadline(),
            Output::Packets | Output::Discard => None,
        };
        let request = self.request_due();
        let keypad = self.keypad.deadline();
        earliest([self.nack.next(), assembly, request, keypad, self.playout.next()])
    }

    /// The codec of a payload type, and what finds its frames.
    #[inline]
    fn select(&mut self, payload_type: u8) -> Option<(u32, Depacketizer)> {
        let known = self.codec.and_then(|index| self.section.codec(index));
        if let Some((codec, depacketizer)) = known
            && codec.payload_type == payload_type
        {
            return Some((codec.clock_rate.max(1), depacketizer));
        }
        let codecs = &self.section.config.codecs;
        let index = codecs.iter().position(|codec| codec.payload_type == payload_type)?;
        self.codec = Some(index);
        let section = Arc::clone(&self.section);
        self.know_codec(&section);
        let (codec, depacketizer) = section.codec(index)?;
        Some((codec.clock_rate.max(1), depacketizer))
    }

    /// Takes a packet in. What comes of it goes to `events`; a frame waits for a missing packet as long as `answers` may bring it.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        packet: &mut Received,
        answers: Answers,
        events: &mut Events,
        dropped: &mut Dropped,
    ) {
        let Some((clock_rate, depacketizer)) = self.select(packet.payload_type) else {
            dropped.unrouted += 1;
            return;
        };
        let Some(sequence) = self.number(now, packet, dropped) else {
            return;
        };
        let original = packet.origin == Origin::Original;
        self.note(now, packet);
        let padding = packet.payload.is_empty();
        if original && !padding && depacketizer.is_clocked() {
            self.reception.time(packet.micros, packet.timestamp, clock_rate);
        }
        if self.section.nacks && !self.nack.arrive(now, sequence, original) {
            self.key_frames.wanted |= self.is_video();
        }
        if !std::mem::replace(&mut self.announced, true) {
            events.push(Event::NewSource {
                receiver: self.section.id,
                ssrc: self.ssrc,
                rid: self.rid,
                layer: self.section.layer(self.ssrc, self.rid.as_ref().map(Rid::as_bytes)),
            });
        }
        let piece = if padding {
            None
        } else if let Ok(piece) = depacketizer.depacketize(&packet.payload, packet.marker) {
            Some(piece)
        } else {
            // A hole where it would have been: a picture without it must not pass for whole. A key is no part of a frame.
            dropped.malformed_payload += 1;
            if self.section.config.output.is_of_frames() && !depacketizer.has_frames() {
                self.take_number(now, sequence, answers, events, dropped);
            }
            return;
        };
        if self.section.nacks
            && original
            && let Some(piece) = piece
        {
            self.nack.note_end(now, sequence, piece.end);
        }
        if self.is_video() && piece.is_some_and(|piece| piece.key_frame) {
            self.key_frames.begins();
        }
        let output = self.section.config.output;
        if output == Output::Playout && !self.is_video() && (padding || depacketizer.has_frames()) {
            if !padding {
                self.take_sound(now, sequence, packet, depacketizer, events);
            }
        } else if output.is_of_frames() && (padding || depacketizer.has_frames()) {
            self.assembler.insert(sequence, part(now, packet, piece));
            self.deliver_frames(now, answers, events, dropped);
        } else {
            self.count_frames(now, packet, piece);
            let event = depacketizer.telephone_event(&packet.payload);
            if output.is_of_frames()
                && let Some(event) = event
            {
                self.hear(now, packet, clock_rate, &event, events);
                self.playout.pause();
            } else if output != Output::Discard {
                self.deliver_packet(now, sequence, packet, piece, events);
            }
            if output.is_of_frames() {
                self.take_number(now, sequence, answers, events, dropped);
            }
        }
    }

    /// The number in full of a packet that is new.
    #[inline]
    fn number(&mut self, now: Instant, packet: &Received, dropped: &mut Dropped) -> Option<u64> {
        match self
            .reception
            .arrive(packet.sequence, packet.origin == Origin::Original)
        {
            Arrival::New(sequence) => Some(sequence),
            Arrival::Duplicate => {
                // What was recovered in vain is no packet that came twice.
                let recovered = matches!(packet.origin, Origin::Recovered(_));
                self.repairs.count.discarded += u64::from(recovered);
                dropped.duplicate += u64::from(!recovered);
                None
            }
            Arrival::Suspect => {
                dropped.sequence_jump += 1;
                None
            }
            Arrival::Restart(sequence) => {
                self.nack.reset();
                self.assembler.restart();
                self.playout.restart(now);
                self.keypad.reset();
                self.repairs.restart();
                self.clock = None;
                Some(sequence)
            }
        }
    }

    #[inline]
    fn note(&mut self, now: Instant, packet: &Received) {
        self.active = true;
        self.left = false;
        self.last_packet = Some(now);
        if let Origin::Recovered(by) = packet.origin {
            self.repairs.count.recovered[by as usize] += 1;
            return;
        }
        self.count.packets += 1;
        self.count.bytes += packet.payload.len() as u64;
        self.count.header_bytes += packet.header_bytes as u64;
        if packet.origin == Origin::Retransmitted {
            self.count.repaired += 1;
            self.count.heard_mut().repaired_bytes += packet.payload.len() as u64;
        }
        match packet.ecn {
            Ecn::Ect1 => self.count.heard_mut().marks.ect1 += 1,
            Ecn::Ce => self.count.heard_mut().marks.ce += 1,
            _ => {}
        }
    }

    /// A packet of sound is a frame. Returns for how many ticks of its clock it lasts, by the one before it.
    #[inline]
    fn count_sound(&mut self, now: Instant, packet: &Received) -> u64 {
        let (clock_rate, level) = (self.clock_rate(), packet.extensions.audio_level);
        let heard = self.count.heard_mut();
        heard.frames.received += 1;
        heard.frames.rate.note(now);
        heard.sound.note(packet.timestamp, clock_rate, level)
    }

    /// Nobody assembles: the marker tells frames well enough to count them.
    #[inline]
    fn count_frames(&mut self, now: Instant, packet: &Received, piece: Option<Piece>) {
        let video = self.is_video();
        if !video && piece.is_some() {
            self.count_sound(now, packet);
        } else if packet.marker && piece.is_some() {
            let frames = &mut self.count.heard_mut().frames;
            frames.received += 1;
            frames.rate.note(now);
        }
        if video && piece.is_some_and(|piece| piece.key_frame) && self.key_frames.begins_another(packet.timestamp) {
            self.count.heard_mut().frames.key += 1;
        }
    }

    #[inline]
    fn deliver_packet(
        &mut self,
        now: Instant,
        sequence: u64,
        packet: &mut Received,
        piece: Option<Piece>,
        events: &mut Events,
    ) {
        let payload = kept(&mut packet.payload);
        events.push(Event::Packet {
            receiver: self.section.id,
            packet: Packet {
                ssrc: self.ssrc,
                rid: self.rid,
                payload_type: packet.payload_type,
                sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload,
                front: None,
                key_frame: piece.is_some_and(|piece| piece.key_frame),
                extensions: std::mem::take(&mut packet.extensions),
                contributors: packet.contributors.take(),
                received: now,
                captured: self.captured(packet.timestamp, now),
            },
        });
    }

    /// A packet speaks of a key of a telephone.
    fn hear(&mut self, now: Instant, packet: &Received, clock_rate: u32, event: &TelephoneEvent, events: &mut Events) {
        let (receiver, ssrc) = (self.section.id, self.ssrc);
        let begin = (packet.timestamp, packet.marker);
        self.keypad.hear(now, begin, clock_rate, event, |tone| {
            events.push(Event::Tone { receiver, ssrc, tone });
        });
    }

    /// Time has passed: what waited for something missing goes on without it.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        answers: Answers,
        events: &mut Events,
        dropped: &mut Dropped,
    ) {
        if self.assembler.deadline().is_some_and(|at| at <= now) {
            self.deliver_frames(now, answers, events, dropped);
        }
        self.play(now, events);
        if let Some(tone) = self.keypad.expire(now) {
            events.push(Event::Tone {
                receiver: self.section.id,
                ssrc: self.ssrc,
                tone,
            });
        }
    }

    /// A packet that is part of no frame (an event between sounds, comfort noise, another codec) has come all the same: nobody need
    /// wait for its number.
    fn take_number(
        &mut self,
        now: Instant,
        sequence: u64,
        answers: Answers,
        events: &mut Events,
        dropped: &mut Dropped,
    ) {
        if self.assembler.is_started() && sequence >= self.assembler.next() {
            self.assembler.insert(sequence, Part::padding(now));
            self.deliver_frames(now, answers, events, dropped);
        }
    }

    /// How long what is missing may still come.
    pub(crate) fn patience(&self, answers: Answers) -> Duration {
        let most = match (self.section.nacks, self.section.fec.is_some()) {
            (true, _) if self.is_video() => return answers.last,
            (true, _) => SOUND,
            (false, true) => REDUNDANCY,
            // Where nothing is repaired only disorder fills a gap.
            (false, false) => DISORDER,
        };
        answers.last.min(most)
    }
}

/// The payload, to be kept for a while.
#[inline]
fn kept(payload: &mut Bytes) -> Bytes {
    if payload.len() < SMALL {
        Bytes::copy_from_slice(payload)
    } else {
        std::mem::take(payload)
    }
}

/// The packet as a part of a frame; without a piece it is padding.
#[inline]
fn part(now: Instant, packet: &mut Received, piece: Option<Piece>) -> Part {
    if piece.is_none() {
        return Part::padding(now);
    }
    Part {
        payload_type: packet.payload_type,
        timestamp: packet.timestamp,
        data: std::mem::take(&mut packet.payload),
        piece,
        extensions: std::mem::take(&mut packet.extensions),
        contributors: packet.contributors.take(),
        received: now,
    }
}
