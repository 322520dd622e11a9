//! Redundancy of a stream on its way: which packets repeat others, which are protected, and repair packets written.

use std::ops::Range;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::Values;
use antiphon_rtp::fec::Format;
use antiphon_rtp::packet::Header;
use antiphon_sansio::{Rng, TransmitBuf};

use super::{MAX_LONG_HEADER, Moment, Outbound, Written, values};
use crate::config::SendRedundancy;
use crate::redundancy::fec::{Due, Fec};
use crate::redundancy::{Redundancy, RedundancyCount, red};
use crate::ring::Head;

impl Outbound {
    /// The peer has reported a share of lost packets. Returns for which share the codec shall be ready by itself, in percent, if that is
    /// news.
    pub(crate) fn choose_redundancy(&mut self, lost: f64, rtt: Duration, burst: f64) -> Option<u8> {
        self.redundancy.as_mut()?.report(lost, rtt, burst)
    }

    /// What repairs add to each byte of media.
    pub(crate) fn redundancy_overhead(&self) -> f64 {
        self.redundancy.as_ref().map_or(0.0, |own| own.overhead())
    }

    /// What was sent of it.
    pub(crate) fn redundancy_count(&self) -> RedundancyCount {
        self.redundancy
            .as_ref()
            .map_or_else(RedundancyCount::default, |own| own.count)
    }

    /// Something else was negotiated.
    pub(super) fn renegotiate_redundancy(&mut self, setting: SendRedundancy, rng: &mut Rng) {
        let before = self.red_payload_type();
        match &mut self.redundancy {
            Some(own) => own.renegotiate(&self.config),
            none => *none = Redundancy::new(&self.config, setting, rng),
        }
        if self.red_payload_type() != before {
            // A repeat on the same SSRC would no longer be the same bytes.
            self.ring.forget_sent();
        }
    }

    /// Whether repair packets wait.
    #[inline]
    pub(super) fn has_repairs(&self) -> bool {
        let fec = self.redundancy.as_ref().and_then(|own| own.fec.as_ref());
        fec.is_some_and(Fec::waits)
    }

    /// Gives up those that wait.
    pub(super) fn give_up_repairs(&mut self) {
        if let Some(fec) = self.redundancy.as_mut().and_then(|own| own.fec.as_mut()) {
            fec.reset();
        }
    }

    /// A packet has left that repeats so many before it.
    pub(super) fn count_repeated(&mut self, sequence: u64, blocks: u8) {
        let Some(own) = &mut self.redundancy else { return };
        own.count.packets += u64::from(blocks);
        own.count.bytes += red::repeated_len(&self.ring, sequence, blocks) as u64;
    }

    /// The payload type of RED, if there is such.
    pub(crate) fn red_payload_type(&self) -> Option<u8> {
        let own = self.redundancy.as_ref()?;
        let fec = own.fec.as_ref().and_then(|fec| fec.red);
        own.red.map(|red| red.payload_type).or(fec)
    }

    /// Bytes that packets must leave free.
    pub(crate) fn redundancy_room(&self) -> usize {
        let Some(own) = &self.redundancy else { return 0 };
        let fec = own.fec.as_ref().map_or(0, |fec| fec.room(self.template.header_len()));
        fec.max(usize::from(own.red.is_some()))
    }

    /// How packet `sequence` goes into RED: how many payloads before it it repeats. `None`: it does not. `room` is what its header
    /// leaves, `len` what its own payload takes.
    #[inline]
    pub(crate) fn wrap(&self, sequence: u64, payload_type: u8, timestamp: u32, len: usize, room: usize) -> Option<u8> {
        let own = self.redundancy.as_ref()?;
        if let Some(red) = own.red.filter(|red| red.inner == payload_type) {
            let blocks = red.fitting(&self.ring, sequence, timestamp, room.checked_sub(len + 1)?);
            return (blocks > 0).then_some(blocks);
        }
        // Who reads ULPFEC takes for protected what comes in RED.
        let fec = own.fec.as_ref()?;
        (fec.red.is_some() && fec.protection().is_some()).then_some(0)
    }

    /// The same of a packet that is forwarded. Its number follows from that of its source, so that ULPFEC, which takes numbers of the
    /// stream, cannot protect it.
    #[inline]
    pub(crate) fn wrap_forwarded(
        &self,
        sequence: u64,
        payload_type: u8,
        timestamp: u32,
        len: usize,
        room: usize,
    ) -> Option<u8> {
        let is_sound = self.redundancy.as_ref()?.red.is_some();
        is_sound.then(|| self.wrap(sequence, payload_type, timestamp, len, room))?
    }

    /// Protects one that is forwarded, and was queued.
    #[inline]
    pub(crate) fn protect_forwarded(&mut self, now: Instant, sequence: u64) {
        let fec = self.redundancy.as_ref().and_then(|own| own.fec.as_ref());
        if fec.is_some_and(|fec| fec.format != Format::Ulpfec) {
            // Of single packets it is not known who needs them.
            self.protect(now, sequence..sequence + 1, true, false);
        }
    }

    /// Protects packets that were queued: those of a frame that others need or not, and which ends a group or not.
    pub(crate) fn protect(&mut self, now: Instant, packets: Range<u64>, needed: bool, ends: bool) {
        let Some(mut own) = self.redundancy.take() else { return };
        if let Some(fec) = own.fec.as_mut().filter(|fec| fec.protects(needed)) {
            self.protect_by(now, fec, packets, ends);
        }
        self.redundancy = Some(own);
    }

    fn protect_by(&mut self, now: Instant, fec: &mut Fec, packets: Range<u64>, ends: bool) {
        let last = packets.end.saturating_sub(1);
        for sequence in packets {
            let Some(slot) = self.ring.get(sequence) else { continue };
            let Head {
                timestamp,
                payload_type,
                ..
            } = slot.head();
            // As it was before RED, and as if nothing were told of the hop.
            fec.packet.resize(MAX_LONG_HEADER, 0);
            let Some(len) = self.write_header(sequence, payload_type, None, 0, 0, &mut fec.packet) else {
                continue;
            };
            fec.packet.truncate(len);
            if let Some(slot) = self.ring.get(sequence) {
                self.ring
                    .write_payload(slot, |piece| fec.packet.extend_from_slice(piece));
            }
            fec.take(now, &self.config.extensions);
            if ends && sequence == last {
                fec.end_group();
            }
            for _ in 0..fec.unplaced() {
                let after = match fec.format {
                    Format::Ulpfec if self.ring.room() == 0 => {
                        // No number is left to give: the group goes unprotected.
                        fec.reset();
                        break;
                    }
                    Format::Ulpfec => self.ring.skip(),
                    _ => sequence + 1,
                };
                fec.place(Due { after, timestamp });
            }
        }
    }

    /// Whether a repair packet is next: all that it protects has left.
    #[inline]
    pub(crate) fn repair_due(&self) -> bool {
        let fec = self.redundancy.as_ref().and_then(|own| own.fec.as_ref());
        fec.and_then(Fec::next).is_some_and(|due| self.ring.has_left(due.after))
    }

    /// Writes the next repair packet into the open segment.
    pub(crate) fn write_repair(&mut self, moment: Moment, number: u16, out: &mut TransmitBuf) -> Option<Written> {
        let mut own = self.redundancy.take()?;
        let written = self.write_repair_of(moment, number, &mut own, out);
        self.redundancy = Some(own);
        written
    }

    fn write_repair_of(
        &mut self,
        moment: Moment,
        number: u16,
        own: &mut Redundancy,
        out: &mut TransmitBuf,
    ) -> Option<Written> {
        let fec = own.fec.as_mut()?;
        let due = fec.next()?;
        let header = Header {
            marker: false,
            payload_type: fec.red.unwrap_or(fec.payload_type),
            sequence: if fec.red.is_some() {
                due.after as u16
            } else {
                own.sequence
            },
            timestamp: due.timestamp,
            ssrc: fec.ssrc,
        };
        let values = Values {
            transport_sequence: Some(number),
            abs_send_time: Some(moment.send_time),
            ..values(&self.config)
        };
        // RFC 8627 §4.2.1: the CSRC list names whom it protects.
        let protected = [self.config.ssrc];
        let csrcs = if fec.format == Format::FlexFec {
            &protected[..]
        } else {
            &[]
        };
        let mut header_len = 0;
        let written = fec.write(|head| {
            let written = header.write(csrcs, &values, &self.config.extensions, head);
            header_len = head.len();
            written.is_ok()
        });
        if fec.red.is_some() {
            // Sent or not, nothing else may have its number.
            self.ring.pass(due.after);
        }
        if !written || fec.packet.len() > out.remaining() {
            return None;
        }
        out.put_slice(&fec.packet);
        let bytes = fec.packet.len();
        let payload = (bytes - header_len) as u64;
        if fec.red.is_some() {
            self.count.packets += 1;
            self.count.bytes += payload;
            self.count.header_bytes += header_len as u64;
        } else {
            own.sequence = own.sequence.wrapping_add(1);
        }
        own.count.packets += 1;
        own.count.bytes += payload;
        Some(Written {
            bytes,
            numbered: self.template.is_numbered(),
            padding: false,
            repeatable: false,
            ssrc: header.ssrc,
            sequence: header.sequence,
        })
    }
}
