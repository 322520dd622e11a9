//! Packets that carry nothing new, to make up for media that is not there: stored packets once more as RTX, packets of padding alone
//! on the retransmission SSRC, and where that was not negotiated, in the stream itself between two frames.

use antiphon_rtp::extension::Values;
use antiphon_rtp::packet::{Header, set_padding};
use antiphon_rtp::payload::Layout;
use antiphon_sansio::{TransmitBuf, Writer};
use bytes::Bytes;

use super::{MAX_HEADER, Moment, Outbound, Written, values};
use crate::config::Kind;
use crate::ring::{Detail, Head};

/// Bytes of a packet that is nothing but padding.
const PADDING: u8 = 224;
/// No packet of padding is larger.
const MAX_PADDED: usize = MAX_HEADER + PADDING as usize;
/// So many of the last packets may be repeated as padding: older ones help nobody.
const REPEATED: u64 = 32;
/// A stored packet smaller than this is no better than padding.
const MIN_REPEATED: usize = 300;

/// How a stream can be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the retransmission SSRC, where it disturbs no sequence.
    Repairs,
    /// In the stream itself, under numbers of its own.
    Stream,
}

impl Outbound {
    fn place(&self) -> Option<Place> {
        let payload_type = self.count.payload_type?;
        if !self.sends() || self.config.kind == Kind::Audio {
            return None;
        }
        if self.rtx(payload_type).is_some() {
            return Some(Place::Repairs);
        }
        // In the stream only between two frames: inside one it would cut the frame in two for who counts packets. Who forwards
        // has no numbers to give away.
        let between = self.forward.is_none() && self.ring.is_empty() && self.ring.room() > 1;
        let newest = self.ring.newest_sent().and_then(|sequence| self.ring.get(sequence));
        (between && newest.is_some_and(|slot| slot.head().marker || self.ring.len_of(slot) == 0))
            .then_some(Place::Stream)
    }

    /// Whether [`Self::write_padding`] can write.
    pub(crate) fn can_pad(&self) -> bool {
        self.place().is_some()
    }

    /// Writes a packet that carries nothing new into the open segment. Padding alone is no larger than `max` bytes.
    pub(crate) fn write_padding(
        &mut self,
        moment: Moment,
        number: u16,
        max: usize,
        out: &mut TransmitBuf,
    ) -> Option<Written> {
        let written = match self.place()? {
            Place::Repairs => self
                .repeat(moment, number, out)
                .or_else(|| self.pad_repairs(moment, number, max, out)),
            Place::Stream => self.pad_stream(moment, number, max, out),
        }?;
        self.count.padding_packets += 1;
        self.count.padding_bytes += written.bytes as u64;
        Some(written)
    }

    /// Sends a stored packet once more: what was lost of late may be among them.
    fn repeat(&mut self, moment: Moment, number: u16, out: &mut TransmitBuf) -> Option<Written> {
        let newest = self.ring.newest_sent()?;
        let oldest = newest.saturating_sub(REPEATED);
        let below = if self.again.repeated > oldest && self.again.repeated <= newest {
            self.again.repeated
        } else {
            newest + 1
        };
        let fits = |sequence: &u64| {
            let slot = self.ring.get(*sequence);
            slot.is_some_and(|slot| slot.sendings() > 0 && self.ring.len_of(slot) >= MIN_REPEATED)
        };
        let sequence = (oldest..below).rev().find(fits)?;
        self.again.repeated = sequence;
        let written = self.write(moment, sequence, number, out)?;
        self.ring.get_mut(sequence)?.uncount();
        Some(Written {
            padding: true,
            ..written
        })
    }

    /// A packet that is nothing but padding (RFC 3550 §5.1) on the retransmission SSRC.
    fn pad_repairs(&mut self, moment: Moment, number: u16, max: usize, out: &mut TransmitBuf) -> Option<Written> {
        let (ssrc, payload_type) = self.rtx(self.count.payload_type?)?;
        let mut values = Values {
            transport_sequence: Some(number),
            abs_send_time: Some(moment.send_time),
            ..values(&self.config)
        };
        values.repaired_rid = values.rid.take();
        let header = Header {
            marker: false,
            payload_type,
            sequence: self.again.rtx_sequence,
            timestamp: self.newest_timestamp?.0,
            ssrc,
        };
        let bytes = self.put_padding(&header, &values, max, out)?;
        self.again.rtx_sequence = self.again.rtx_sequence.wrapping_add(1);
        self.count.packets += 1;
        self.count.rtx_packets += 1;
        self.count.header_bytes += bytes as u64;
        Some(Written {
            bytes,
            numbered: self.template.is_numbered(),
            padding: true,
            repeatable: false,
            ssrc,
            sequence: header.sequence,
        })
    }

    /// A packet that is nothing but padding in the stream itself. It has a place in the ring like every other: a receiver that
    /// misses it asks for it, and would else wait for what it cannot know to be nothing.
    fn pad_stream(&mut self, moment: Moment, number: u16, max: usize, out: &mut TransmitBuf) -> Option<Written> {
        if MAX_PADDED > max {
            return None;
        }
        let timestamp = self.newest_timestamp?.0;
        let payload_type = self.count.payload_type?;
        let next = self.ring.next();
        let head = Head {
            timestamp,
            payload_type,
            marker: false,
        };
        // A packet in pieces of which there are none.
        let detail = Detail {
            layout: Layout::slice(0..0),
            ..Detail::default()
        };
        self.ring.push(moment.ticks, next, head, Bytes::new(), Some(detail));
        let sequence = self.ring.advance()?;
        self.write(moment, sequence, number, out)
    }

    /// Writes a packet of the ring that has no payload, with padding in its place. `number` and `send_time` are what its header says.
    pub(super) fn write_empty(
        &mut self,
        moment: Moment,
        sequence: u64,
        (number, send_time): (u16, u32),
        out: &mut TransmitBuf,
    ) -> Option<Written> {
        let slot = self.ring.get(sequence)?;
        let repeat = slot.sendings() > 0;
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
        let mut values = Values {
            transport_sequence: Some(number),
            abs_send_time: Some(send_time),
            ..values(&self.config)
        };
        if let Some((extensions, _)) = self.ring.extras(slot) {
            extensions.put(&mut values);
        }
        let bytes = self.put_padding(&header, &values, usize::MAX, out)?;
        let slot = self.ring.get_mut(sequence)?;
        let waited = slot.leaves(moment.ticks);
        if repeat {
            self.count.again(payload_type, bytes, 0);
        } else {
            (slot.transport_sequence, slot.abs_send_time) = (number, send_time);
            self.count.first(payload_type, bytes, 0, waited);
        }
        Some(Written {
            bytes,
            numbered: !repeat && self.template.is_numbered(),
            padding: true,
            repeatable: self.is_repeated_plainly(payload_type),
            ssrc: header.ssrc,
            sequence: header.sequence,
        })
    }

    fn put_padding(&self, header: &Header, values: &Values<'_>, max: usize, out: &mut TransmitBuf) -> Option<usize> {
        let mut buffer = [0; MAX_PADDED];
        let mut head = Writer::new(&mut buffer);
        header.write(&[], values, &self.config.extensions, &mut head).ok()?;
        let bytes = head.len() + usize::from(PADDING);
        if bytes > out.remaining().min(buffer.len()).min(max) {
            return None;
        }
        set_padding(&mut buffer[..bytes], PADDING);
        out.put_slice(&buffer[..bytes]);
        Some(bytes)
    }
}
