//! RED of sound (RFC 2198): each packet repeats the payloads of some before it, out of the ring, where they still are.

use antiphon_rtp::payload::red;
use antiphon_sansio::TransmitBuf;

use crate::config::{Kind, SenderConfig};
use crate::ring::{Ring, Slot};

/// How RED was negotiated for sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Red {
    /// Its payload type.
    pub(crate) payload_type: u8,
    /// The payload type of what is repeated.
    pub(crate) inner: u8,
    /// How many payloads are repeated.
    pub(crate) distance: u8,
}

impl Red {
    /// As the peer takes it: its `a=fmtp` must name one payload type, at least twice (RFC 2198 §5), and that must be a codec of ours
    /// with the same clock.
    pub(crate) fn new(config: &SenderConfig) -> Option<Self> {
        if config.kind != Kind::Audio {
            return None;
        }
        let codecs = &config.codecs;
        let red = codecs.iter().find(|codec| codec.name.eq_ignore_ascii_case("red"))?;
        let mut named = red.fmtp.split('/').map(|text| text.trim().parse::<u8>().ok());
        let inner = named.next()??;
        if named.next()? != Some(inner) || named.any(|other| other != Some(inner)) {
            return None;
        }
        let is_inner = codecs
            .iter()
            .any(|codec| codec.payload_type == inner && codec.clock_rate == red.clock_rate && codec != red);
        is_inner.then_some(Self {
            payload_type: red.payload_type,
            inner,
            distance: 0,
        })
    }

    /// How many payloads before packet `sequence` it repeats, which has this timestamp: newest first, until one is not there, or has
    /// no place in the header (an offset of 14 bits, a length of 10) or in `room` bytes.
    pub(crate) fn fitting(&self, ring: &Ring, sequence: u64, timestamp: u32, mut room: usize) -> u8 {
        let earlier = (1..=self.distance).map(|back| earlier(ring, sequence, back));
        let fits = |slot: &Option<&Slot>| {
            slot.is_some_and(|slot| {
                let (head, len) = (slot.head(), ring.len_of(slot));
                let taken = red::BLOCK_HEADER + len;
                let fits = head.payload_type == self.inner
                    && len > 0
                    && red::can_repeat(timestamp.wrapping_sub(head.timestamp), len)
                    && taken <= room;
                room = room.saturating_sub(taken);
                fits
            })
        };
        earlier.take_while(fits).count() as u8
    }
}

/// The packet so many before this one.
fn earlier(ring: &Ring, sequence: u64, back: u8) -> Option<&Slot> {
    ring.get(sequence.checked_sub(u64::from(back))?)
}

/// How many of the payloads that a packet was to repeat are still there.
pub(crate) fn held(ring: &Ring, sequence: u64, blocks: u8) -> u8 {
    let held = (1..=blocks).take_while(|back| earlier(ring, sequence, *back).is_some());
    held.count() as u8
}

/// Bytes of a packet's payload that repeats so many.
pub(crate) fn len(ring: &Ring, slot: &Slot, blocks: u8) -> usize {
    1 + ring.len_of(slot) + red::BLOCK_HEADER * usize::from(blocks) + repeated_len(ring, slot.sequence(), blocks)
}

/// Bytes of these alone.
pub(crate) fn repeated_len(ring: &Ring, sequence: u64, blocks: u8) -> usize {
    let earlier = (1..=blocks).filter_map(|back| earlier(ring, sequence, back));
    earlier.map(|slot| ring.len_of(slot)).sum()
}

/// Writes the payload: repeated ones first, the oldest of them first.
pub(crate) fn write(ring: &Ring, slot: &Slot, blocks: u8, out: &mut TransmitBuf) {
    let earlier = || {
        (1..=blocks)
            .rev()
            .filter_map(|back| earlier(ring, slot.sequence(), back))
    };
    let own = slot.head();
    for other in earlier() {
        let head = other.head();
        let offset = own.timestamp.wrapping_sub(head.timestamp);
        out.put_slice(&red::block_header(head.payload_type, offset, ring.len_of(other)));
    }
    out.put_slice(&[own.payload_type & 0x7f]);
    for slot in earlier().chain([slot]) {
        ring.write_payload(slot, |piece| out.put_slice(piece));
    }
}
