//! Frames and packets in from the application, and RTP out.

use std::time::Instant;

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::Layout;
use antiphon_sansio::{Ecn, TransmitBuf};

use super::Session;
use super::report::FIRST_REPORT;
use crate::config::Kind;
use crate::error::Error;
use crate::event::{Event, Frame, Outgoing, Packet, PacketKind, SenderId};
use crate::outbound::{Forward, Outbound};

/// A forwarded source whose numbers jump further than this has restarted.
const MAX_FORWARD_GAP: u64 = 1000;

impl Session {
    /// Packetises one frame and queues it. All of it is taken, or an error says why none was.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::UnknownId`], [`Error::Inactive`], [`Error::UnknownPayloadType`];
    /// [`Error::NotPacketised`] if only packets of the codec can be sent; [`Error::FrameSize`] and [`Error::QueueFull`] if the
    /// frame is too large, for good or for now.
    pub fn send_frame(&mut self, now: Instant, id: SenderId, frame: Frame) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let max_packet = self.config.max_packet_size;
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !sender.active {
            return Err(Error::Inactive);
        }
        let extensions = Carried {
            audio_level: frame.audio_level,
            ..Carried::default()
        };
        let room = max_packet.saturating_sub(sender.overhead(&extensions, None));
        let packetizer = sender
            .packetizer(frame.payload_type)
            .ok_or(Error::UnknownPayloadType)?
            .as_mut()
            .ok_or(Error::NotPacketised)?;
        let cuts = packetizer.packetize(&frame.data, room).ok_or(Error::FrameSize)?;
        let key_frame = packetizer.is_key_frame(&frame.data);
        if cuts.len() > sender.ring.room() {
            sender.count.frames_refused += 1;
            return Err(if sender.ring.queued_bytes() > 0 {
                Error::QueueFull
            } else {
                Error::FrameSize
            });
        }
        if let Some(Some(packetizer)) = sender.packetizer(frame.payload_type) {
            packetizer.advance();
        }
        sender.note_codec(frame.payload_type);
        sender.forward = None;
        let timestamp = frame.timestamp.wrapping_add(sender.timestamp_offset);
        for cut in cuts {
            let mut slot = sender.slot(now, frame.payload_type, timestamp);
            slot.marker = cut.marker;
            slot.frame = frame.data.clone();
            slot.layout = cut.layout;
            slot.extensions = extensions;
            sender.ring.push(slot);
        }
        sender.newest_timestamp = Some((timestamp, now));
        sender.count.frames += 1;
        sender.count.key_frames += u64::from(key_frame && sender.config.kind == Kind::Video);
        self.senders.wake(id);
        Ok(())
    }

    /// Forwards one packet of another session (or receiver): SSRC, sequence number and timestamp are rewritten so that the
    /// outgoing stream stays continuous when the source changes. `packet.payload_type` must be one of the sender's. Marker, CSRCs
    /// and those header extensions that speak of the media go on, under the identifiers that were negotiated here.
    /// One that is larger than [`Config::max_forward_size`](crate::Config::max_forward_size) with our headers is refused, counted,
    /// and told by [`Event::PacketTooLarge`].
    /// A packet that comes too late to be placed is left out; that is no error.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::UnknownId`], [`Error::Inactive`], [`Error::UnknownPayloadType`], [`Error::PacketTooLarge`];
    /// [`Error::QueueFull`] if the pacer still holds too much.
    pub fn send_rtp(&mut self, now: Instant, id: SenderId, packet: &Packet) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let limit = self.large.limit(self.config.max_forward_size);
        let sender = self.senders.get_mut(id).ok_or(Error::UnknownId)?;
        if !sender.active {
            return Err(Error::Inactive);
        }
        sender.codec(packet.payload_type).ok_or(Error::UnknownPayloadType)?;
        let bytes = packet.payload.len() + sender.overhead(&packet.extensions, packet.contributors.as_deref());
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
        sender.note_codec(packet.payload_type);
        let forward = follow(sender, now, packet);
        let Some(sequence) = forward.ours.saturating_add(packet.sequence).checked_sub(forward.theirs) else {
            return Ok(());
        };
        if sequence < forward.ours {
            // From before the switch to this source: its place belongs to the source before.
            return Ok(());
        }
        let timestamp = packet.timestamp.wrapping_add(forward.timestamp_offset);
        let mut slot = sender.slot(now, packet.payload_type, timestamp);
        slot.sequence = sequence;
        slot.marker = packet.marker;
        slot.frame = packet.payload.clone();
        slot.layout = Layout::slice(0..packet.payload.len());
        slot.extensions = packet.extensions;
        slot.contributors = packet.contributors.clone();
        let next = sender.ring.next();
        if sequence >= next {
            if (sequence - next) as usize >= sender.ring.room() {
                sender.count.frames_refused += u64::from(packet.marker);
                return Err(Error::QueueFull);
            }
            sender.ring.push(slot);
            if sender
                .newest_timestamp
                .is_none_or(|(newest, _)| (timestamp.wrapping_sub(newest) as i32) > 0)
            {
                sender.newest_timestamp = Some((timestamp, now));
            }
            sender.count.frames += u64::from(packet.marker);
            if packet.key_frame
                && sender.config.kind == Kind::Video
                && sender.key_timestamp.replace(timestamp) != Some(timestamp)
            {
                sender.count.key_frames += 1;
            }
        } else if sender.ring.fill(slot) && sender.ring.is_sent(sequence) {
            sender.send_late(sequence);
        }
        self.senders.wake(id);
        Ok(())
    }

    /// Writes the next packet into a new segment of `out` and leaves the segment open. `None`: nothing is due, or `out` has
    /// no room (then no segment is open).
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        if !out.begin(0, 0) {
            return None;
        }
        let len = self.write_rtcp(now, out.remaining());
        if len > 0 {
            out.put_slice(&self.scratch.rtcp[..len]);
            return Some(outgoing(PacketKind::Rtcp));
        }
        if self.closed {
            out.rollback();
            return None;
        }
        if self.write_rtp(now, out) {
            self.reports.at.get_or_insert(now + FIRST_REPORT);
            return Some(outgoing(PacketKind::Rtp));
        }
        out.rollback();
        None
    }

    /// Sound first and unpaced; then, as the pacer allows, repairs, then pictures.
    fn write_rtp(&mut self, now: Instant, out: &mut TransmitBuf) -> bool {
        while let Some(id) = self.senders.first(Kind::Audio) {
            let written = self.write_of(now, id, out);
            self.senders.turn(Kind::Audio);
            if written {
                return true;
            }
        }
        while let Some(id) = self.senders.first(Kind::Video) {
            if !self.pacer.ready(now) {
                return false;
            }
            let written = self.write_of(now, id, out);
            self.senders.turn(Kind::Video);
            if written {
                return true;
            }
        }
        self.pacer.idle();
        false
    }

    /// Writes one packet of a sender, or drops one that cannot be written. `false` if nothing was written.
    fn write_of(&mut self, now: Instant, id: SenderId, out: &mut TransmitBuf) -> bool {
        let Some(sender) = self.senders.get_mut(id) else {
            return false;
        };
        let sequence = match sender.next_resend(now, self.target) {
            Some(sequence) => Some(sequence),
            None => {
                let sequence = sender.ring.peek().map(|slot| slot.sequence);
                // Sent or not writable: either way it leaves the queue.
                sender.ring.advance();
                sequence
            }
        };
        let Some(sequence) = sequence else { return false };
        let Some((bytes, numbered)) = sender.write(now, sequence, &self.history, &self.anchor, out) else {
            return false;
        };
        if numbered {
            self.history.sent(now, bytes);
        }
        let queued = sender.ring.queued_bytes();
        self.pacer.sent(now, bytes, queued, self.target);
        true
    }
}

fn outgoing(kind: PacketKind) -> Outgoing {
    Outgoing { kind, ecn: Ecn::NotEct }
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
    // One timestamp unit at least, so that the first frame of the new source is not taken for part of the last one.
    let ours = match sender.timestamp_at(now) {
        None => packet.timestamp.wrapping_add(sender.timestamp_offset),
        Some(continued) => {
            let newest = sender.newest_timestamp.map_or(continued, |(newest, _)| newest);
            if continued == newest {
                newest.wrapping_add(1)
            } else {
                continued
            }
        }
    };
    let forward = Forward {
        source: packet.ssrc,
        theirs: packet.sequence,
        ours: sender.ring.next(),
        timestamp_offset: ours.wrapping_sub(packet.timestamp),
    };
    sender.forward = Some(forward);
    forward
}
