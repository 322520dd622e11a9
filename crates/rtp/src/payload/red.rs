//! Redundant data (RFC 2198): several payloads in one packet. Browsers wrap all of their video in it when the peer takes it, for the
//! sake of ULPFEC (RFC 5109), and repeat earlier frames of Opus in it.
//!
//! ```text
//! |F|  block PT   |  timestamp offset (14) | length (10) |   x n, F = 1: earlier payloads, the oldest first (§3)
//! |0|  block PT   |                                          the primary one
//! | the payloads, in the same order                      |
//! ```

use std::collections::VecDeque;

use antiphon_sansio::{Full, Reader, Writer};

use crate::ParseError;

/// More blocks than any sender puts into one packet.
pub const MAX_BLOCKS: usize = 32;
/// Most earlier frames that an [`Encoder`] repeats.
pub const MAX_DISTANCE: u8 = 3;
/// What a length of 10 bits can say.
const MAX_LENGTH: usize = 0x3ff;
/// What a timestamp offset of 14 bits can say.
const MAX_OFFSET: u32 = 0x3fff;
/// Bytes of the header of a redundant block.
pub const BLOCK_HEADER: usize = 4;

/// One of the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type.
    pub payload_type: u8,
    /// How much older it is than the packet, in ticks of the media clock; 0 for the last, the primary one.
    pub timestamp_offset: u16,
    /// How many blocks come after it. Senders repeat packet by packet: it is the payload of so many packets before this one, if
    /// none of them was padding, which has a number and no payload.
    pub distance: u16,
    /// The payload. May be empty.
    pub payload: &'a [u8],
}

/// The payloads of one packet in their order: redundant ones first, the primary one last.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    headers: Reader<'a>,
    payloads: Reader<'a>,
    left: u16,
}

/// Reads the payloads. There is always a primary one.
///
/// # Errors
/// If a header or a payload is cut off, or there are more than [`MAX_BLOCKS`].
pub fn parse(payload: &[u8]) -> Result<Blocks<'_>, ParseError> {
    let mut reader = Reader::new(payload);
    let (mut redundant, mut sum) = (0, 0);
    while reader.u8()? & 0x80 != 0 {
        if redundant == MAX_BLOCKS {
            return Err(ParseError::Value);
        }
        sum += reader.u24()? as usize & MAX_LENGTH;
        redundant += 1;
    }
    if sum > reader.remaining() {
        return Err(ParseError::Short);
    }
    Ok(Blocks {
        headers: Reader::new(payload),
        payloads: reader,
        left: redundant as u16 + 1,
    })
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        self.left = self.left.checked_sub(1)?;
        let payload_type = self.headers.u8().ok()? & 0x7f;
        if self.left == 0 {
            return Some(Block {
                payload_type,
                timestamp_offset: 0,
                distance: 0,
                payload: self.payloads.rest(),
            });
        }
        let word = self.headers.u24().ok()?;
        Some(Block {
            payload_type,
            timestamp_offset: (word >> 10) as u16,
            distance: self.left,
            payload: self.payloads.take(word as usize & MAX_LENGTH).ok()?,
        })
    }
}

/// Whether a payload of this length may be repeated in a packet whose timestamp is `offset` later: whether the header of a block can
/// say both.
pub fn can_repeat(offset: u32, len: usize) -> bool {
    (1..=MAX_OFFSET).contains(&offset) && len <= MAX_LENGTH
}

/// The header of a redundant block, of which [`can_repeat`] holds. After the headers of all of them comes the payload type of the
/// primary payload, then the payloads in the same order.
pub fn block_header(payload_type: u8, offset: u32, len: usize) -> [u8; BLOCK_HEADER] {
    let word = (offset & MAX_OFFSET) << 10 | len as u32 & MAX_LENGTH as u32;
    (u32::from(0x80 | payload_type) << 24 | word).to_be_bytes()
}

/// A payload that may be repeated.
#[derive(Clone, Debug, Default)]
struct Kept {
    payload_type: u8,
    timestamp: u32,
    payload: Vec<u8>,
}

/// Repeats in each packet the payloads of some packets before it. What it keeps uses its memory again.
///
/// ```
/// use antiphon_rtp::payload::red::{Encoder, parse};
/// use antiphon_sansio::Writer;
///
/// let mut encoder = Encoder::new(1);
/// let mut buffer = [0; 100];
/// encoder.encode(111, 0, b"first", &mut Writer::new(&mut buffer))?;
/// let mut out = Writer::new(&mut buffer);
/// encoder.encode(111, 960, b"second", &mut out)?;
/// let blocks: Vec<_> = parse(out.finish()).unwrap().collect();
/// assert_eq!((blocks[0].payload, blocks[0].timestamp_offset), (&b"first"[..], 960));
/// assert_eq!(blocks[1].payload, b"second");
/// # Ok::<(), antiphon_sansio::Full>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    distance: usize,
    /// The newest last.
    kept: VecDeque<Kept>,
    spare: Vec<Kept>,
}

impl Encoder {
    /// Repeats the payloads of the last `distance` packets: at most [`MAX_DISTANCE`]; 0 repeats nothing.
    pub fn new(distance: u8) -> Self {
        Self {
            distance: usize::from(distance.min(MAX_DISTANCE)),
            kept: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// The payloads that go into a packet of this time, of which at most `room` bytes are taken: newest first. What is older
    /// than one that does not fit is left out too, so that a block's place tells its packet.
    fn fitting(&self, timestamp: u32, mut room: usize) -> usize {
        let kept = self.kept.iter().rev().take(self.distance);
        kept.take_while(|kept| {
            let offset = timestamp.wrapping_sub(kept.timestamp);
            let len = BLOCK_HEADER + kept.payload.len();
            let fits = len <= room && can_repeat(offset, kept.payload.len());
            room = room.saturating_sub(len);
            fits
        })
        .count()
    }

    /// How many bytes [`Self::encode`] will write at most for a payload of this length.
    pub fn max_len(&self, len: usize) -> usize {
        let kept = self.kept.iter().rev().take(self.distance);
        1 + len + kept.map(|kept| BLOCK_HEADER + kept.payload.len()).sum::<usize>()
    }

    /// Writes the packet's payload: as many earlier ones as have room in `out`, and this one, which is kept for the next.
    ///
    /// # Errors
    /// If there is no room for the payload itself. It is not kept then.
    pub fn encode(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
        out: &mut Writer<'_>,
    ) -> Result<(), Full> {
        let room = out.free().checked_sub(1 + payload.len()).ok_or(Full)?;
        let first = self.kept.len() - self.fitting(timestamp, room);
        for kept in self.kept.range(first..) {
            let offset = timestamp.wrapping_sub(kept.timestamp);
            out.put_slice(&block_header(kept.payload_type, offset, kept.payload.len()))?;
        }
        out.put_u8(payload_type & 0x7f)?;
        for kept in self.kept.range(first..) {
            out.put_slice(&kept.payload)?;
        }
        out.put_slice(payload)?;
        self.keep(payload_type, timestamp, payload);
        Ok(())
    }

    fn keep(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.payload_type = payload_type & 0x7f;
        kept.timestamp = timestamp;
        kept.payload.clear();
        kept.payload.extend_from_slice(payload);
        self.kept.push_back(kept);
        while self.kept.len() > self.distance
            && let Some(oldest) = self.kept.pop_front()
        {
            self.spare.push(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(payload: &[u8]) -> Result<Vec<Block<'_>>, ParseError> {
        parse(payload).map(Iterator::collect)
    }

    #[test]
    fn primary_alone_and_with_one_before_it() {
        let block = |payload_type, timestamp_offset, distance, payload| Block {
            payload_type,
            timestamp_offset,
            distance,
            payload,
        };
        assert_eq!(blocks(&[120, 1, 2]), Ok(vec![block(120, 0, 0, &[1, 2])]));
        // Opus twice, 960 ticks apart: 960 << 10 | 2.
        let packet = [0x80 | 111, 0x0f, 0x00, 0x02, 111, 1, 2, 3];
        assert_eq!(
            blocks(&packet),
            Ok(vec![block(111, 960, 1, &[1, 2]), block(111, 0, 0, &[3])])
        );
        assert_eq!(blocks(&[120]), Ok(vec![block(120, 0, 0, &[])]));
        for len in [0, 1, 3, 4, 6] {
            assert!(parse(&packet[..len]).is_err(), "{len}");
        }
        assert_eq!(blocks(&[0x80; 400]), Err(ParseError::Value));
    }

    #[test]
    fn what_has_no_room_or_is_too_old_is_left_out_with_all_before_it() {
        let mut encoder = Encoder::new(3);
        let mut buffer = [0; 2000];
        let large = [7; 1100];
        let lens = |encoder: &mut Encoder, timestamp, payload: &[u8], buffer: &mut [u8]| {
            let mut out = Writer::new(buffer);
            encoder.encode(111, timestamp, payload, &mut out).unwrap();
            let all = blocks(out.finish()).unwrap();
            all.iter().map(|block| block.payload.len()).collect::<Vec<_>>()
        };
        assert_eq!(lens(&mut encoder, 0, &[1; 10], &mut buffer), [10]);
        // A length of 1100 has no place in ten bits: neither it nor what came before it is repeated.
        assert_eq!(lens(&mut encoder, 960, &large, &mut buffer), [10, 1100]);
        assert_eq!(lens(&mut encoder, 1920, &[2; 20], &mut buffer), [20]);
        assert_eq!(lens(&mut encoder, 2880, &[3; 30], &mut buffer), [20, 30]);
        assert_eq!(lens(&mut encoder, 3840, &[4; 40], &mut buffer[..80]), [30, 40]);
        assert_eq!(lens(&mut encoder, 3840 + 0x4000, &[5; 50], &mut buffer), [50]);
        let mut short = [0; 50];
        assert!(encoder.encode(111, 99, &[0; 50], &mut Writer::new(&mut short)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(blocks) = blocks(&bytes) {
                prop_assert!(!blocks.is_empty() && blocks.len() <= MAX_BLOCKS + 1);
                let sum: usize = blocks.iter().map(|block| block.payload.len()).sum();
                prop_assert!(sum < bytes.len());
            }
        }

        #[test]
        fn what_is_encoded_is_read(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
            distance in 0..=MAX_DISTANCE,
            start in any::<u32>(),
        ) {
            let mut encoder = Encoder::new(distance);
            for (n, payload) in payloads.iter().enumerate() {
                let mut buffer = [0; 1200];
                let mut out = Writer::new(&mut buffer);
                let timestamp = start.wrapping_add(960 * n as u32);
                let len = encoder.max_len(payload.len());
                encoder.encode(111, timestamp, payload, &mut out).unwrap();
                prop_assert_eq!(out.len(), len);
                let read = blocks(out.finish()).unwrap();
                prop_assert_eq!(read.len(), n.min(usize::from(distance)) + 1);
                for block in read {
                    let distance = usize::from(block.distance);
                    prop_assert_eq!(usize::from(block.timestamp_offset), 960 * distance);
                    prop_assert_eq!(block.payload, &payloads[n - distance][..]);
                }
            }
        }
    }
}
