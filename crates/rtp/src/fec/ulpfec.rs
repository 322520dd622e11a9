//! ULPFEC (RFC 5109): repair packets that travel as RED blocks (RFC 2198) in the stream that they protect, and take sequence
//! numbers of it. The packets are protected as they were before RED wrapped them: with the payload type of the block.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |E|L|P|X|  CC   |M| PT recovery |            SN base            |   FEC header, §7.3
//! |                          TS recovery                          |
//! |        length recovery        |       protection length       |   level 0, §7.4
//! |             mask              |   mask cont. (32, if L = 1)   |
//! |                      parity of level 0                        |
//! ```
//!
//! Level 0 alone is read and written, as the browsers do: further levels protect beginnings of packets.

use antiphon_sansio::{Full, Reader, Writer};

use super::repair::{Protected, Repair, Sums, first_high, first_low};
use crate::ParseError;

/// The span of a short mask, in packets.
const SHORT: u32 = 16;
/// The span of a long mask.
const LONG: u32 = 48;
/// Bytes of the largest header.
pub(crate) const MAX_HEADER: usize = 18;

/// Reads a repair packet. What follows level 0 is ignored.
///
/// # Errors
/// If a field is cut off, the extension bit (RFC 5109 §7.3, always 0) is set, or no packet is protected.
pub fn parse(payload: &[u8]) -> Result<Repair<'_>, ParseError> {
    let mut reader = Reader::new(payload);
    let (flags, second) = (reader.u8()?, reader.u8()?);
    if flags & 0x80 != 0 {
        return Err(ParseError::Value);
    }
    let base = reader.u16()?;
    let timestamp = reader.u32()?;
    let length = reader.u16()?;
    let protection = usize::from(reader.u16()?);
    let mut mask = first_low(u64::from(reader.u16()?), SHORT);
    if flags & 0x40 != 0 {
        mask |= first_low(u64::from(reader.u32()?), LONG - SHORT) << SHORT;
    }
    if mask == 0 {
        return Err(ParseError::Value);
    }
    Ok(Repair {
        ssrc: None,
        protected: Protected::Mask { base, mask },
        sums: Sums {
            header: [flags & 0x3f, second],
            length,
            timestamp,
        },
        body: reader.take(protection)?,
    })
}

/// Writes a repair packet.
///
/// # Errors
/// If there is no room, or the packets have no place in a mask of 48.
pub fn write(repair: &Repair<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    let Protected::Mask { base, mask } = repair.protected else {
        return Err(Full);
    };
    let long = mask >> SHORT != 0;
    if mask >> LONG != 0 {
        return Err(Full);
    }
    let [flags, second] = repair.sums.header;
    out.put_u8(flags & 0x3f | u8::from(long) << 6)?;
    out.put_u8(second)?;
    out.put_u16(base)?;
    out.put_u32(repair.sums.timestamp)?;
    out.put_u16(repair.sums.length)?;
    out.put_u16(u16::try_from(repair.body.len()).map_err(|_| Full)?)?;
    out.put_u16(first_high(mask, 0, SHORT) as u16)?;
    if long {
        out.put_u32(first_high(mask, SHORT, LONG - SHORT) as u32)?;
    }
    out.put_slice(repair.body)
}
