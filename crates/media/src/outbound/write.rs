//! Packets of a stream written: the usual ones, and those that are sent again, go in RED, or have something of their own in the header.

use antiphon_rtp::extension::{Carried, Values};
use antiphon_rtp::packet::Header;
use antiphon_sansio::{TransmitBuf, Writer};

use super::{MAX_HEADER, MAX_LONG_HEADER, Moment, Outbound, SHORT_OTHERS, Written, values};
use crate::event::Contributors;
use crate::redundancy::red;
use crate::ring::Head;

impl Outbound {
    /// Writes packet `sequence` of the ring into the open segment, with this transport-wide number if it is no mere repetition.
    #[inline]
    pub(crate) fn write(
        &mut self,
        moment: Moment,
        sequence: u64,
        number: u16,
        out: &mut TransmitBuf,
    ) -> Option<Written> {
        let slot = self.ring.get_mut(sequence)?;
        if slot.sendings() > 0 || slot.plain().is_none() {
            return self.write_other(moment, sequence, number, out);
        }
        // Most packets: what is said of them is in the template, and the payload is one piece.
        let Moment { ticks, send_time } = moment;
        let Head {
            timestamp,
            payload_type,
            marker,
        } = slot.head();
        let header = Header {
            marker,
            payload_type,
            sequence: sequence as u16,
            timestamp,
            ssrc: self.config.ssrc,
        };
        let header = self.template.fill(&header, number, send_time);
        let payload = slot.plain()?;
        let (header_len, len) = (header.len(), payload.len());
        if header_len + len > out.remaining() {
            // The path carries less than when it was queued.
            self.count.too_large += 1;
            return None;
        }
        out.put_slice(header);
        out.put_slice(payload);
        slot.transport_sequence = number;
        slot.abs_send_time = send_time;
        let waited = slot.leaves(ticks);
        self.count.first(payload_type, header_len, len, waited);
        Some(Written {
            bytes: header_len + len,
            numbered: self.template.is_numbered(),
            padding: false,
            repeatable: self.is_repeated_plainly(payload_type),
            ssrc: self.config.ssrc,
            sequence: sequence as u16,
        })
    }

    /// Writes a repetition, or a packet that is made of pieces or bears extensions of its own.
    fn write_other(&mut self, moment: Moment, sequence: u64, number: u16, out: &mut TransmitBuf) -> Option<Written> {
        let slot = self.ring.get(sequence)?;
        let repeat = slot.sendings() > 0;
        let rtx = repeat.then(|| self.rtx(slot.head().payload_type)).flatten();
        // A repetition on the stream's own SSRC is the same bytes.
        let fresh = !repeat || rtx.is_some();
        let (number, send_time) = match fresh {
            true => (number, moment.send_time),
            false => (slot.transport_sequence, slot.abs_send_time),
        };
        let kept = self.ring.red(slot);
        let red = kept.filter(|_| rtx.is_none()).zip(self.red_payload_type());
        let blocks = red.map(|(blocks, _)| red::held(&self.ring, sequence, blocks));
        if !fresh && blocks != kept {
            // What it repeated is gone: the same bytes cannot be made again.
            self.count.refused += 1;
            return None;
        }
        let payload_type = red.map_or(slot.head().payload_type, |(_, payload_type)| payload_type);
        let len = blocks.map_or_else(|| self.ring.len_of(slot), |blocks| red::len(&self.ring, slot, blocks));
        if len == 0 && rtx.is_none() {
            return self.write_empty(moment, sequence, (number, send_time), out);
        }
        let (mut short, mut long);
        let others = self
            .ring
            .extras(slot)
            .map_or(0, |(extensions, _)| extensions.others.len());
        let buffer = if others > SHORT_OTHERS {
            long = [0; MAX_LONG_HEADER];
            &mut long[..]
        } else {
            short = [0; MAX_HEADER];
            &mut short[..]
        };
        let header_len = self.write_header(sequence, payload_type, rtx, number, send_time, buffer)?;
        let slot = self.ring.get(sequence)?;
        if header_len + len > out.remaining() {
            self.count.too_large += 1;
            return None;
        }
        out.put_slice(&buffer[..header_len]);
        match blocks {
            None => self.ring.write_payload(slot, |piece| out.put_slice(piece)),
            Some(blocks) => red::write(&self.ring, slot, blocks, out),
        }
        let (ssrc, wire) = match rtx {
            Some((ssrc, _)) => (ssrc, self.again.rtx_sequence),
            None => (self.config.ssrc, sequence as u16),
        };
        if rtx.is_some() {
            self.again.rtx_sequence = self.again.rtx_sequence.wrapping_add(1);
            self.count.rtx_packets += 1;
            self.count.rtx_bytes += len as u64;
        }
        if let Some(blocks) = blocks {
            self.count_repeated(sequence, blocks);
        }
        let slot = self.ring.get_mut(sequence)?;
        let (waited, inner) = (slot.leaves(moment.ticks), slot.head().payload_type);
        if repeat {
            self.count.again(inner, header_len, len);
        } else {
            slot.transport_sequence = number;
            slot.abs_send_time = send_time;
            self.count.first(inner, header_len, len, waited);
            self.ring.set_red(sequence, blocks);
        }
        Some(Written {
            bytes: header_len + len,
            numbered: fresh && self.template.is_numbered(),
            padding: false,
            repeatable: rtx.is_none() && self.is_repeated_plainly(inner),
            ssrc,
            sequence: wire,
        })
    }

    /// Writes the header of a packet, and of a repetition the number of the original (RFC 4588 §4). Returns how many bytes.
    pub(super) fn write_header(
        &mut self,
        sequence: u64,
        payload_type: u8,
        rtx: Option<(u32, u8)>,
        number: u16,
        send_time: u32,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let slot = self.ring.get(sequence)?;
        let Head { timestamp, marker, .. } = slot.head();
        let mut header = Header {
            marker,
            payload_type,
            sequence: sequence as u16,
            timestamp,
            ssrc: self.config.ssrc,
        };
        let extras = self.ring.extras(slot);
        let (extensions, contributors) = extras.map_or((None, None), |(own, who)| (Some(own), who));
        if rtx.is_none() && contributors.is_none() && extensions.is_none_or(Carried::is_empty) {
            let header = self.template.fill(&header, number, send_time);
            buffer.get_mut(..header.len())?.copy_from_slice(header);
            return Some(header.len());
        }
        let mut values = Values {
            transport_sequence: Some(number),
            abs_send_time: Some(send_time),
            csrc_audio_levels: contributors.map(Contributors::levels),
            ..values(&self.config)
        };
        if let Some(extensions) = extensions {
            extensions.put(&mut values);
        }
        let csrcs = contributors.map_or(&[][..], Contributors::csrcs);
        let mut original = None;
        if let Some((ssrc, payload_type)) = rtx {
            // RFC 4588 §4: own SSRC, number and type, the original's timestamp; its number stands before the payload.
            original = Some(header.sequence);
            header.ssrc = ssrc;
            header.payload_type = payload_type;
            header.sequence = self.again.rtx_sequence;
            values.repaired_rid = values.rid.take();
        }
        let mut out = Writer::new(buffer);
        header.write(csrcs, &values, &self.config.extensions, &mut out).ok()?;
        if let Some(original) = original {
            out.put_u16(original).ok()?;
        }
        Some(out.len())
    }
}
