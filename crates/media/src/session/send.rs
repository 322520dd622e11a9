//! Frames and packets in from the application, and RTP out.

use std::time::Instant;

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::{Cut, FrameError, Layout};
use antiphon_sansio::{Ecn, TransmitBuf};

use super::Session;
use super::report::FIRST_REPORT;
use crate::config::Kind;
use crate::error::Error;
use crate::event::{Event, Frame, Outgoing, Packet, PacketKind, SenderId};
use crate::feedback::history::Leaving;
use crate::outbound::{Forward, Outbound, Written};
use crate::ring::{Detail, Head, Ticks};
use crate::transform::Known;

/// A forwarded source whose numbers jump further than this has restarted.
const MAX_FORWARD_GAP: u64 = 1000;

impl Session {
    /// Packetises one frame and queues it. All of it is taken, or an error says why none was. While a key of a telephone is
    /// played ([`Self::insert_dtmf`]) sound is left out, which is no error, and counted.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::UnknownId`], [`Error::Inactive`], [`Error::Ceased`], [`Error::UnknownPayloadType`];
    /// [`Error::NotPacketised`] if only packets of the codec can be sent; [`Error::FrameFormat`] if it is no frame of the codec;
    /// [`Error::FrameSize`] and [`Error::QueueFull`] if it is too large, for good or for now.
    pub fn send_frame(&mut self, now: Instant, id: SenderId, mut frame: Frame) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let max_packet = self.config.max_packet_size;
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !sender.active {
            return Err(Error::Inactive);
        }
        if sender.ceased {
            sender.count.given().frames.refused += 1;
            return Err(Error::Ceased);
        }
        if sender.plays_key() {
            sender.count.given().frames.refused += 1;
            return Ok(());
        }
        let (ticks, target) = (self.moment(now).ticks, self.target_bitrate(id));
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        describe(sender, now, &mut frame)?;
        let transformed = self.transforms.has(id);
        if transformed && !self.transform(now, id, &mut frame) {
            return Ok(());
        }
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        let contributors = frame.contributors.as_deref();
        let room = max_packet.saturating_sub(sender.overhead(&frame.extensions, contributors));
        let packetizer = sender
            .packetizer(frame.payload_type)
            .ok_or(Error::UnknownPayloadType)?
            .as_mut()
            .ok_or(Error::NotPacketised)?;
        let (key_frame, cuts) = (frame.key_frame, &mut self.scratch.cuts);
        let cut = if transformed {
            packetizer.packetize_opaque(&frame.data, key_frame, room, cuts)
        } else {
            packetizer.packetize(&frame.data, room, cuts)
        };
        cut.map_err(|error| match error {
            FrameError::Malformed => Error::FrameFormat,
            _ => Error::FrameSize,
        })?;
        sender.count.given().frames.encoded += 1;
        sender.count.given().frames.keys_encoded += u64::from(key_frame);
        if cuts.len() > sender.ring.room() {
            sender.count.given().frames.refused += 1;
            return Err(if sender.ring.queued_bytes() > 0 {
                Error::QueueFull
            } else {
                Error::FrameSize
            });
        }
        if let Some(Some(packetizer)) = sender.packetizer(frame.payload_type) {
            packetizer.advance();
        }
        sender.forward = None;
        let timestamp = frame.timestamp.wrapping_add(sender.timestamp_offset);
        count(sender, now, timestamp, &frame, target);
        let first = sender.ring.next();
        queue(sender, ticks, timestamp, &frame, cuts, room);
        let is_needed = key_frame || frame.facts.temporal == 0 && !frame.facts.discardable;
        sender.protect(now, first..sender.ring.next(), is_needed, key_frame);
        sender.newest_timestamp = Some((timestamp, frame.captured.unwrap_or(now)));
        self.pacer.came(frame.data.len());
        self.senders.wake(id);
        Ok(())
    }

    /// Lets the sender's transform see a frame. `false`: it does not go on.
    fn transform(&mut self, now: Instant, id: SenderId, frame: &mut Frame) -> bool {
        let Some(sender) = self.senders.get_mut(id) else {
            return false;
        };
        let given = sender.count.given_so_far();
        let known = Known {
            kind: sender.config.kind,
            ssrc: sender.config.ssrc,
            codec: sender.codec(frame.payload_type),
            timestamp_offset: sender.timestamp_offset,
            received: None,
            resolution: given.and_then(|given| given.frames.resolution),
        };
        let (goes_on, wants_key_frame) = self.transforms.apply(id, frame, &known);
        sender.count.given().frames.refused += u64::from(!goes_on);
        if wants_key_frame {
            self.key_frame_asked(now, id);
        }
        goes_on
    }

    /// Forwards one packet of another session (or receiver): SSRC, sequence number and timestamp are rewritten so that the
    /// outgoing stream stays continuous when the source changes. `packet.payload_type` must be one of the sender's. Marker, CSRCs
    /// and those header extensions that speak of the media go on, under the identifiers that were negotiated here.
    /// One that is larger than [`Config::max_forward_size`](crate::Config::max_forward_size) with our headers is refused, counted,
    /// and told by [`Event::PacketTooLarge`].
    /// A packet that comes too late to be placed is left out; that is no error.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::UnknownId`], [`Error::Inactive`], [`Error::Ceased`], [`Error::UnknownPayloadType`], [`Error::PacketTooLarge`];
    /// [`Error::QueueFull`] if the pacer still holds too much.
    pub fn send_rtp(&mut self, now: Instant, id: SenderId, packet: &Packet) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let ticks = self.moment(now).ticks;
        let limit = self.large.limit(self.config.max_forward_size);
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !sender.active {
            return Err(Error::Inactive);
        }
        if sender.ceased {
            sender.count.given().frames.refused += u64::from(packet.marker);
            return Err(Error::Ceased);
        }
        sender
            .note_codec(packet.payload_type)
            .ok_or(Error::UnknownPayloadType)?;
        if sender.plays_key() {
            sender.count.given().frames.refused += 1;
            return Ok(());
        }
        let overhead = sender.overhead(&packet.extensions, packet.contributors.as_deref());
        let layout = packet.front.map(|front| front.layout(packet.payload.len()));
        let len = layout.map_or(packet.payload.len(), |layout| layout.len());
        let bytes = len + overhead;
        if bytes > limit {
            sender.count.too_large += 1;
            if !std::mem::replace(&mut sender.told_too_large, true) {
                self.events.push(Event::PacketTooLarge {
                    sender: id,
                    bytes,
                    limit,
                });
            }
            return Err(Error::PacketTooLarge { bytes, limit });
        }
        let forward = follow(sender, now, packet);
        let Some(sequence) = forward.ours.saturating_add(packet.sequence).checked_sub(forward.theirs) else {
            return Ok(());
        };
        if sequence < forward.ours {
            // From before the switch to this source: its place belongs to the source before.
            return Ok(());
        }
        let timestamp = packet.timestamp.wrapping_add(forward.timestamp_offset);
        let head = Head {
            timestamp,
            payload_type: packet.payload_type,
            marker: packet.marker,
        };
        let next = sender.ring.next();
        let room = self.config.max_packet_size.saturating_sub(overhead);
        let red = match sequence >= next {
            true => sender.wrap_forwarded(sequence, packet.payload_type, timestamp, len, room),
            // Too late to repeat others.
            false => None,
        };
        let detail = detail(packet, layout, red);
        if sequence >= next {
            if (sequence - next) as usize >= sender.ring.room() {
                sender.count.given().frames.refused += u64::from(packet.marker);
                return Err(Error::QueueFull);
            }
            sender.ring.push(ticks, sequence, head, packet.payload.clone(), detail);
            sender.protect_forwarded(now, sequence);
            note_forwarded(sender, now, timestamp, packet);
            self.pacer.came(len);
        } else if sender.ring.fill(ticks, sequence, head, packet.payload.clone(), detail)
            && sender.ring.is_sent(sequence)
        {
            sender.send_late(sequence);
        }
        // Whoever made it has gathered already, and a call has two hops: it does not wait for others here.
        self.pacer.hurry();
        self.senders.wake(id);
        Ok(())
    }

    /// Writes the next packet into a new segment of `out` and leaves the segment open. `None`: nothing is due, or `out` has
    /// no room (then no segment is open).
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        if self.may_be_due(now)
            && let Some(outgoing) = self.poll_rtcp(now, out)
        {
            return Some(outgoing);
        }
        if !(self.senders.any_waits() || self.pacer.wants_padding()) {
            self.pacer.idle();
            return None;
        }
        if self.closed || self.gathers(now) || !out.begin(0, 0) {
            return None;
        }
        let ecn = self.mark();
        if let Some(Written { repeatable, .. }) = self.write_rtp(now, ecn, out) {
            if self.reports.at.is_none() {
                self.reports.at = Some(now + FIRST_REPORT);
            }
            if ecn != Ecn::NotEct {
                self.heard.marks.get_or_insert_default().sent();
            }
            let kind = PacketKind::Rtp;
            return Some(Outgoing { kind, ecn, repeatable });
        }
        out.rollback();
        None
    }

    fn poll_rtcp(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        if !out.begin(0, 0) {
            return None;
        }
        let len = self.write_rtcp(now, out.remaining());
        if len == 0 {
            out.rollback();
            return None;
        }
        out.put_slice(&self.scratch.rtcp[..len]);
        // Feedback does not speak of RTCP: nobody would hear of its marks.
        Some(Outgoing {
            kind: PacketKind::Rtcp,
            ecn: Ecn::NotEct,
            repeatable: false,
        })
    }

    /// Whether [`Self::poll_transmit`] may have something to write now: a quick look.
    #[inline]
    pub fn may_transmit(&self, now: Instant) -> bool {
        (self.senders.any_waits() || self.pacer.wants_padding()) && !self.gathers(now) || self.may_be_due(now)
    }

    /// Whether nothing but pictures waits, and they are held back until others come.
    #[inline]
    fn gathers(&self, now: Instant) -> bool {
        self.senders.first(Kind::Audio).is_none()
            && self.senders.first(Kind::Video).is_some()
            && self.pacer.gathers(now)
    }

    /// A quick look whether there may be RTCP to write: this is asked before each packet of media.
    #[inline]
    fn may_be_due(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.reports.due
            || !self.reports.byes.is_empty()
            || due(self.reports.at)
            || due(self.told.next())
            || due(self.routing.next_timeout())
    }

    /// Sound first and unpaced; then, as the pacer allows, repairs, then pictures, then what a probe lacks.
    fn write_rtp(&mut self, now: Instant, ecn: Ecn, out: &mut TransmitBuf) -> Option<Written> {
        while let Some(id) = self.senders.first(Kind::Audio) {
            let written = self.write_of(now, id, ecn, out);
            self.senders.turn(Kind::Audio);
            if written.is_some() {
                return written;
            }
        }
        while let Some(id) = self.senders.first(Kind::Video) {
            if !self.pacer.ready(now, self.history.in_flight()) {
                return None;
            }
            let written = self.write_of(now, id, ecn, out);
            self.senders.turn(Kind::Video);
            if written.is_some() {
                if self.senders.first(Kind::Video).is_none() && self.pacer.probing().is_none() {
                    // Known now: whoever owns us need not ask once more than there are packets.
                    self.pacer.idle();
                }
                return written;
            }
        }
        if self.pacer.probing().is_some() {
            let ready = self.pacer.ready(now, self.history.in_flight());
            return ready.then(|| self.write_padding(now, ecn, out)).flatten();
        }
        self.pacer.idle();
        let in_flight = self.history.in_flight();
        let due = self.pacer.next_padding(in_flight).is_some_and(|at| at <= now);
        due.then(|| self.write_padding(now, ecn, out)).flatten()
    }

    /// Writes one packet of a sender, or drops one that cannot be written. `None` if nothing was written.
    fn write_of(&mut self, now: Instant, id: SenderId, ecn: Ecn, out: &mut TransmitBuf) -> Option<Written> {
        let moment = self.moment(now);
        let sender = self.senders.get_mut(id)?;
        let number = self.history.next_number();
        let mut repeats = false;
        // Sent or not writable: either way it leaves the queue.
        let written = if sender.repair_due() {
            sender.write_repair(moment, number, out)
        } else {
            let again = sender.next_resend(now, self.available.total);
            repeats = again.is_some_and(|sequence| sender.ring.get(sequence).is_some_and(|slot| slot.sendings() > 0));
            let sequence = again.or_else(|| sender.ring.advance());
            sequence.and_then(|sequence| sender.write(moment, sequence, number, out))
        };
        if written.is_some() && ecn == Ecn::Ect1 {
            sender.count.given().ect1 += 1;
        }
        let queued = sender.ring.queued_bytes();
        if repeats {
            self.available
                .resending
                .sent(written.map_or(0, |written| written.bytes));
        }
        self.note_sent(now, written, ecn, queued)
    }

    /// Writes padding for a probe. Where nobody can send any, there are no probes.
    fn write_padding(&mut self, now: Instant, ecn: Ecn, out: &mut TransmitBuf) -> Option<Written> {
        let (number, moment) = (self.history.next_number(), self.moment(now));
        let padded = self.senders.iter_mut().find(|sender| sender.can_pad());
        let max = self.config.max_packet_size;
        let written = padded.and_then(|sender| {
            let written = sender.write_padding(moment, number, max, out)?;
            sender.count.given().ect1 += u64::from(ecn == Ecn::Ect1);
            Some(written)
        });
        if written.is_none() {
            self.pacer.give_up_probes();
        }
        self.note_sent(now, written, ecn, 0)
    }

    /// Remembers a packet until feedback speaks of it, and hands it back.
    fn note_sent(&mut self, now: Instant, written: Option<Written>, ecn: Ecn, queued: usize) -> Option<Written> {
        let written = written?;
        let leaving = Leaving {
            bytes: written.bytes,
            ecn,
            numbered: written.numbered,
            padding: written.padding,
            probe: self.pacer.probing(),
            ssrc: written.ssrc,
            sequence: written.sequence,
        };
        let sent = self.history.sent(now, &leaving);
        self.controller.on_sent(&sent);
        self.pacer.sent(now, written.bytes, queued);
        Some(written)
    }
}

/// What the bytes of a frame say of it, before anybody changes them, and where it stands on our media clock.
fn describe(sender: &mut Outbound, now: Instant, frame: &mut Frame) -> Result<(), Error> {
    let packetizer = sender.packetizer(frame.payload_type).ok_or(Error::UnknownPayloadType)?;
    let packetizer = packetizer.as_ref().ok_or(Error::NotPacketised)?;
    frame.key_frame = packetizer.is_key_frame(&frame.data);
    if frame.key_frame {
        frame.facts.resolution = packetizer.resolution(&frame.data).or(frame.facts.resolution);
    }
    sender.note_codec(frame.payload_type);
    if std::mem::take(&mut sender.source_changed)
        && let Some(ours) = sender.continued(frame.captured.unwrap_or(now))
    {
        sender.timestamp_offset = ours.wrapping_sub(frame.timestamp);
    }
    Ok(())
}

/// A frame was taken.
fn count(sender: &mut Outbound, now: Instant, timestamp: u32, frame: &Frame, target: Option<u64>) {
    let (video, clock_rate) = (sender.config.kind == Kind::Video, sender.clock_rate());
    let given = sender.count.given();
    let frames = &mut given.frames;
    frames.take(now, timestamp, clock_rate, frame.data.len(), target);
    if video {
        frames.key += u64::from(frame.key_frame);
        frames.resolution = frame.facts.resolution.or(frames.resolution);
    } else {
        given.sound.note(timestamp, clock_rate, frame.extensions.audio_level);
    }
}

/// Queues the packets of a frame. Each leaves `room` bytes for its payload.
fn queue(sender: &mut Outbound, now: Ticks, timestamp: u32, frame: &Frame, cuts: &[Cut], room: usize) {
    let last = cuts.len().saturating_sub(1);
    for (index, cut) in cuts.iter().enumerate() {
        // What speaks of a frame is looked for at its beginning (abs-capture-time) or at its end (3GPP TS 26.114 §7.4.5).
        let outer = index == 0 || index == last;
        let head = Head {
            timestamp,
            payload_type: frame.payload_type,
            marker: cut.marker,
        };
        let next = sender.ring.next();
        let detail = Detail {
            layout: cut.layout,
            extensions: if outer {
                frame.extensions.clone()
            } else {
                Carried::default()
            },
            contributors: frame.contributors.clone(),
            red: sender.wrap(next, frame.payload_type, timestamp, cut.layout.len(), room),
        };
        sender.ring.push(now, next, head, frame.data.clone(), Some(detail));
    }
}

/// What a forwarded packet has besides its payload, if it has anything.
#[inline]
fn detail(packet: &Packet, layout: Option<Layout>, red: Option<u8>) -> Option<Detail> {
    let has_any = packet.contributors.is_some() || red.is_some() || layout.is_some() || !packet.extensions.is_empty();
    has_any.then(|| Detail {
        layout: layout.unwrap_or_else(|| Layout::slice(0..packet.payload.len())),
        extensions: packet.extensions.clone(),
        contributors: packet.contributors.clone(),
        red,
    })
}

/// A forwarded packet was queued behind all others.
#[inline]
fn note_forwarded(sender: &mut Outbound, now: Instant, timestamp: u32, packet: &Packet) {
    let newest = sender.newest_timestamp;
    if newest.is_none_or(|(newest, _)| (timestamp.wrapping_sub(newest) as i32) > 0) {
        sender.newest_timestamp = Some((timestamp, packet.captured.unwrap_or(now)));
    }
    if packet.marker {
        sender.count.given().frames.sent += 1;
        sender.count.given().frames.rate.note(now);
    }
    if packet.key_frame
        && sender.config.kind == Kind::Video
        && sender.key_frames.timestamp.replace(timestamp) != Some(timestamp)
    {
        sender.count.given().frames.key += 1;
    }
}

/// The mapping for a forwarded packet; begins a new one when its source changed or restarted.
fn follow(sender: &mut Outbound, now: Instant, packet: &Packet) -> Forward {
    if let Some(forward) = sender.forward
        && forward.source == packet.ssrc
    {
        let expected = sender
            .ring
            .next()
            .saturating_add(forward.theirs)
            .saturating_sub(forward.ours);
        if packet.sequence.abs_diff(expected) <= MAX_FORWARD_GAP {
            return forward;
        }
    }
    let continued = sender.continued(packet.captured.unwrap_or(now));
    let ours = continued.unwrap_or_else(|| packet.timestamp.wrapping_add(sender.timestamp_offset));
    let forward = Forward {
        source: packet.ssrc,
        theirs: packet.sequence,
        ours: sender.ring.next(),
        timestamp_offset: ours.wrapping_sub(packet.timestamp),
    };
    sender.forward = Some(forward);
    forward
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antiphon_netsim::start;
    use antiphon_rtp::extension::{Kind as Extension, Map};
    use antiphon_rtp::packet::Packet;
    use antiphon_sansio::{ClockAnchor, Rng};

    use super::*;
    use crate::config::{Codec, Config, Feedback, SenderConfig};
    use crate::congestion::{CongestionControl, PacketResult, Probe, ProbeId, Sent};
    use crate::stats::MarkingEnd;

    /// Wants one probe and marks, and counts what left for it.
    #[derive(Debug, Default)]
    struct Prober {
        asked: bool,
    }

    impl CongestionControl for Prober {
        fn on_sent(&mut self, packet: &Sent) {
            assert!(packet.probe.is_none_or(|probe| probe == ProbeId(7)));
        }
        fn on_feedback(&mut self, _: Instant, _: Duration, _: &[PacketResult]) {}
        fn on_loss(&mut self, _: Instant, _: f64) {}
        fn on_remb(&mut self, _: Instant, _: u64) {}
        fn target_rate(&self, _: Instant) -> Option<u64> {
            Some(300_000)
        }
        fn pacing_rate(&self, _: Instant) -> Option<u64> {
            Some(300_000)
        }
        fn mark(&self) -> Ecn {
            Ecn::Ect1
        }
        fn next_probe(&mut self, _: Instant) -> Option<Probe> {
            let probe = Probe {
                id: ProbeId(7),
                rate: 2_000_000,
                bytes: 20_000,
            };
            (!std::mem::replace(&mut self.asked, true)).then_some(probe)
        }
    }

    /// A session with one sender of video and the controller above.
    fn session(rtx: bool, ccfb: bool) -> (Session, SenderId) {
        let now = start();
        let anchor = ClockAnchor::new(now, Duration::from_secs(1_800_000_000));
        let mut session = Session::new(Config::default(), now, anchor, Rng::from_u64(1));
        session.set_controller(now, Box::new(Prober::default()));
        let mut extensions = Map::default();
        extensions.insert(3, Extension::TransportCc);
        let codec = Codec {
            payload_type: 96,
            name: "VP8".into(),
            clock_rate: 90_000,
            channels: 1,
            fmtp: String::new(),
            rtx_payload_type: rtx.then_some(97),
            feedback: Feedback {
                ccfb,
                ..Feedback::default()
            },
        };
        let config = SenderConfig {
            mid: "v".into(),
            rid: None,
            kind: Kind::Video,
            ssrc: 1,
            rtx_ssrc: rtx.then_some(2),
            fec_ssrc: None,
            codecs: vec![codec],
            extensions,
        };
        let id = session.add_sender(now, config).unwrap();
        (session, id)
    }

    #[test]
    fn packets_bear_the_mark_where_feedback_can_speak_of_it() {
        for ccfb in [true, false] {
            let (mut session, id) = session(false, ccfb);
            let mut now = start();
            let mut out = TransmitBuf::new(64 * 1024, 1300);
            let mut marks = |session: &mut Session, now: Instant| {
                session.send_frame(now, id, Frame::new(96, 0, vec![0; 5])).unwrap();
                out.clear();
                let mut marks = [None, None];
                while let Some(outgoing) = session.poll_transmit(now, &mut out) {
                    marks[usize::from(outgoing.kind == PacketKind::Rtcp)] = Some(outgoing.ecn);
                    out.finish();
                }
                marks
            };
            let mark = if ccfb { Ecn::Ect1 } else { Ecn::NotEct };
            assert_eq!(marks(&mut session, now), [Some(mark), None]);
            session.heard.marks.get_or_insert_default().end(MarkingEnd::Bleached);
            now += Duration::from_secs(1);
            assert_eq!(
                marks(&mut session, now),
                [Some(Ecn::NotEct); 2],
                "no marks, and a report"
            );
            session.route_changed(now);
            now += Duration::from_secs(10);
            assert_eq!(marks(&mut session, now), [Some(mark), Some(Ecn::NotEct)]);
        }
    }

    #[test]
    fn frames_that_come_close_together_leave_together() {
        let begin = start();
        let (mut session, id) = session(true, false);
        let pause = session.config.gather;
        let mut out = TransmitBuf::new(64 * 1024, 1300);
        let mut sends = |session: &mut Session, now: Instant| {
            let frame = Frame::new(96, 0, vec![0; 50]);
            session.send_frame(now, id, frame).unwrap();
            // Who knows that nothing waits any more does not ask again.
            let mut count = 0;
            while session.may_transmit(now) && session.poll_transmit(now, &mut out).is_some() {
                out.finish();
                count += 1;
            }
            count
        };
        assert_eq!(sends(&mut session, begin), 1, "at once");
        assert_eq!(sends(&mut session, begin + pause / 4), 0);
        assert_eq!(session.poll_timeout(), Some(begin + pause));
        assert_eq!(
            sends(&mut session, begin + pause),
            2,
            "the one that waited, and another"
        );
        assert_eq!(sends(&mut session, begin + 3 * pause), 1, "after a pause at once");
    }

    #[test]
    fn what_is_forwarded_does_not_wait_for_others() {
        let begin = start();
        let (mut session, id) = session(true, false);
        let mut out = TransmitBuf::new(64 * 1024, 1300);
        for (sequence, after) in (10..).zip([0, 1, 2, 3, 9]) {
            let now = begin + Duration::from_millis(after);
            let packet = crate::Packet {
                ssrc: 7,
                rid: None,
                payload_type: 96,
                sequence,
                timestamp: 3000,
                marker: false,
                payload: vec![0x10, 1, 2].into(),
                front: None,
                key_frame: false,
                extensions: Default::default(),
                contributors: None,
                received: now,
                captured: None,
            };
            session.send_rtp(now, id, &packet).unwrap();
            assert!(session.may_transmit(now));
            assert!(session.poll_transmit(now, &mut out).is_some(), "after {after} ms");
            out.finish();
            assert!(session.poll_transmit(now, &mut out).is_none());
        }
    }

    /// A probe is sent after the first packet; returns the bytes that left, the padding among them, and how long it took.
    fn probe(rtx: bool) -> (usize, usize, Duration) {
        let mut now = start();
        let (mut session, id) = session(rtx, false);
        let frame = Frame::new(96, 0, vec![0; 5000]);
        session.send_frame(now, id, frame).unwrap();
        session.retarget(now);
        let (mut bytes, mut padding, mut sequence) = (0, 0, None);
        let mut out = TransmitBuf::new(64 * 1024, 1300);
        let end = now + Duration::from_millis(400);
        let mut last = now;
        loop {
            out.clear();
            while let Some(outgoing) = session.poll_transmit(now, &mut out) {
                let range = out.finish();
                if outgoing.kind == PacketKind::Rtp {
                    let packet = Packet::parse(out.bytes(range)).unwrap();
                    let len = packet.header_len() + packet.payload().len() + packet.padding_len();
                    bytes += len;
                    if packet.header.ssrc == 2 || packet.payload().is_empty() {
                        padding += len;
                    }
                    assert!(rtx || packet.header.ssrc == 1);
                    if packet.header.ssrc == 1 {
                        assert!(sequence.is_none_or(|last: u16| packet.header.sequence == last.wrapping_add(1)));
                        sequence = Some(packet.header.sequence);
                    }
                    last = now;
                }
            }
            let next = session.poll_timeout().filter(|at| *at < end);
            let Some(next) = next else { break };
            assert!(next > now, "law 2");
            now = next;
            session.handle_timeout(now);
        }
        (bytes, padding, last - start())
    }

    #[test]
    fn padding_makes_up_for_what_a_probe_lacks() {
        // With the stored packets as RTX and padding, or with padding in the stream itself.
        for rtx in [true, false] {
            let (bytes, padding, took) = probe(rtx);
            assert!(
                (20_000..21_200).contains(&bytes) && padding > 13_000,
                "{bytes} {padding}"
            );
            // 160 kbit at 2 Mbit/s.
            assert!(
                (Duration::from_millis(74)..Duration::from_millis(86)).contains(&took),
                "{took:?}"
            );
        }
    }
}
