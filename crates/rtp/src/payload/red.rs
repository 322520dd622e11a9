//! Redundant data (RFC 2198): several payloads in one. Browsers wrap all of their video in it when the peer takes it, for
//! the sake of ULPFEC.

use antiphon_sansio::Reader;

use crate::ParseError;

/// More blocks than any sender puts into one packet.
pub const MAX_BLOCKS: usize = 32;

/// One of the payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type.
    pub payload_type: u8,
    /// How much older it is than the packet, in ticks of the media clock; 0 for the last, the primary one.
    pub timestamp_offset: u16,
    /// The payload. May be empty.
    pub payload: &'a [u8],
}

/// Reads the payloads in their order: redundant ones first, the primary one last. There is always a primary one.
///
/// ```text
///     |F|  block PT   |  timestamp offset (14) | length (10) |   x n, F = 1
///     |0|  block PT   |                                          primary
/// ```
///
/// # Errors
/// If a header or a payload is cut off, or there are more than [`MAX_BLOCKS`].
pub fn parse(payload: &[u8]) -> Result<Vec<Block<'_>>, ParseError> {
    let mut reader = Reader::new(payload);
    let mut headers = Vec::new();
    loop {
        let first = reader.u8()?;
        let payload_type = first & 0x7f;
        if first & 0x80 == 0 {
            headers.push((payload_type, 0, None));
            break;
        }
        if headers.len() == MAX_BLOCKS {
            return Err(ParseError::Value);
        }
        let word = reader.u24()?;
        headers.push((payload_type, (word >> 10) as u16, Some((word & 0x3ff) as usize)));
    }
    headers
        .into_iter()
        .map(|(payload_type, timestamp_offset, length)| {
            let payload = match length {
                Some(length) => reader.take(length)?,
                None => reader.rest(),
            };
            Ok(Block {
                payload_type,
                timestamp_offset,
                payload,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn primary_alone_and_with_one_before_it() {
        let block = |payload_type, timestamp_offset, payload| Block {
            payload_type,
            timestamp_offset,
            payload,
        };
        assert_eq!(parse(&[120, 1, 2]), Ok(vec![block(120, 0, &[1, 2])]));
        // Opus twice, 960 ticks apart: 960 << 10 | 2.
        let packet = [0x80 | 111, 0x0f, 0x00, 0x02, 111, 1, 2, 3];
        assert_eq!(parse(&packet), Ok(vec![block(111, 960, &[1, 2]), block(111, 0, &[3])]));
        assert_eq!(parse(&[120]), Ok(vec![block(120, 0, &[])]));
        for len in [0, 1, 3, 4, 6] {
            assert!(parse(&packet[..len]).is_err(), "{len}");
        }
        assert_eq!(parse(&[0x80; 400]), Err(ParseError::Value));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(blocks) = parse(&bytes) {
                prop_assert!(!blocks.is_empty() && blocks.len() <= MAX_BLOCKS + 1);
                let sum: usize = blocks.iter().map(|block| block.payload.len()).sum();
                prop_assert!(sum < bytes.len());
            }
        }
    }
}
