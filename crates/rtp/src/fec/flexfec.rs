//! FlexFEC as it was published (RFC 8627, `flexfec/90000`): repair packets in a stream of their own. Whose packets they protect
//! is told by the CSRC list of the repair packet, not by its payload.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |0|F|P|X|  CC   |M| PT recovery |        length recovery        |   §4.2.2
//! |                          TS recovery                          |
//! |           SN base_i           |k|          mask [0-14]        |   F = 0: flexible mask, §4.2.2.1
//! |k|                   mask [15-45] (optional)                   |
//! |                    mask [46-109] (optional)                   |
//!
//! |           SN base_i           |  L (columns)  |    D (rows)   |   F = 1: fixed rows and columns, §4.2.2.2
//!
//! |1|0|P|X|  CC   |M| payload type|        sequence number        |   R = 1, F = 0: a packet again as it was, §4.2.2.3
//! |                           timestamp                           |
//! |                             SSRC                              |
//! ```
//!
//! `k` is 1 where another part of the mask follows. One protected stream is read and written: the caller looks whether the CSRC
//! list has one entry.

use antiphon_sansio::{Full, Reader, Writer};

use super::repair::{Protected, Repair, Sums, first_high, first_low, read_sums};
use crate::ParseError;
use crate::packet::HEADER_LEN;

/// The spans of the three parts of a mask, in packets.
const PARTS: [u32; 3] = [15, 31, 64];
/// Bytes of the largest header.
pub(crate) const MAX_HEADER: usize = 24;

/// Reads a repair packet. One that is a packet again becomes a repair of this packet alone.
///
/// # Errors
/// If a field is cut off, the form is the forbidden one, or no packet is protected.
pub fn parse(payload: &[u8]) -> Result<Repair<'_>, ParseError> {
    let mut reader = Reader::new(payload);
    if payload.first().is_some_and(|flags| flags >> 6 == 0b10) {
        return parse_again(payload);
    }
    let (form, sums) = read_sums(&mut reader)?;
    let base = reader.u16()?;
    let protected = match form {
        0b00 => Protected::Mask {
            base,
            mask: read_mask(&mut reader)?,
        },
        0b01 => {
            let (columns, rows) = (reader.u8()?, reader.u8()?);
            // RFC 8627 §4.2.2.2: D of 0 and 1 stand for a row; greater ones for a column.
            let (step, count) = if rows > 1 { (columns, rows) } else { (1, columns) };
            Protected::Every { base, step, count }
        }
        // RFC 8627 §4.2.2: R = 1 with F = 1 must be ignored.
        _ => return Err(ParseError::Value),
    };
    let stands_still = matches!(protected, Protected::Every { step: 0, .. });
    if protected.is_empty() || stands_still {
        return Err(ParseError::Value);
    }
    Ok(Repair {
        ssrc: None,
        protected,
        sums,
        body: reader.rest(),
    })
}

fn parse_again(packet: &[u8]) -> Result<Repair<'_>, ParseError> {
    let (fixed, body) = packet.split_first_chunk::<HEADER_LEN>().ok_or(ParseError::Short)?;
    Ok(Repair {
        ssrc: Some(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
        protected: Protected::Mask {
            base: u16::from_be_bytes([fixed[2], fixed[3]]),
            mask: 1,
        },
        sums: Sums {
            header: [fixed[0] & 0x3f, fixed[1]],
            length: u16::try_from(body.len()).map_err(|_| ParseError::Value)?,
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        },
        body,
    })
}

fn read_mask(reader: &mut Reader<'_>) -> Result<u128, ParseError> {
    let first = reader.u16()?;
    let mut mask = first_low(u64::from(first & 0x7fff), PARTS[0]);
    if first & 0x8000 != 0 {
        let second = reader.u32()?;
        mask |= first_low(u64::from(second & 0x7fff_ffff), PARTS[1]) << PARTS[0];
        if second & 0x8000_0000 != 0 {
            let third = u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?);
            mask |= first_low(third, PARTS[2]) << (PARTS[0] + PARTS[1]);
        }
    }
    Ok(mask)
}

/// Writes a repair packet. A packet again as it was is written by [`write_again`].
///
/// # Errors
/// If there is no room, or the packets have no place in a mask of 110.
pub fn write(repair: &Repair<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    let grid = matches!(repair.protected, Protected::Every { .. });
    let [flags, second] = repair.sums.header;
    out.put_u8(flags & 0x3f | u8::from(grid) << 6)?;
    out.put_u8(second)?;
    out.put_u16(repair.sums.length)?;
    out.put_u32(repair.sums.timestamp)?;
    out.put_u16(repair.protected.base())?;
    match repair.protected {
        Protected::Mask { mask, .. } => write_mask(mask, out)?,
        // A row that no column follows has a D of 0; a column has at least two packets.
        Protected::Every { step: 1, count, .. } => out.put_u16(u16::from(count) << 8)?,
        Protected::Every { count: ..=1, .. } => out.put_u16(1 << 8)?,
        Protected::Every { step, count, .. } => out.put_u16(u16::from(step) << 8 | u16::from(count))?,
    }
    out.put_slice(repair.body)
}

fn write_mask(mask: u128, out: &mut Writer<'_>) -> Result<(), Full> {
    let [one, two, three] = PARTS;
    if mask >> (one + two + three) != 0 {
        return Err(Full);
    }
    let (is_short, is_middle) = (mask >> one == 0, mask >> (one + two) == 0);
    out.put_u16(first_high(mask, 0, one) as u16 | u16::from(!is_short) << 15)?;
    if !is_short {
        out.put_u32(first_high(mask, one, two) as u32 | u32::from(!is_middle) << 31)?;
        if !is_middle {
            out.put_u64(first_high(mask, one + two, three))?;
        }
    }
    Ok(())
}

/// Writes a packet again as it was: its bytes are the payload, since R = 1 and F = 0 stand where its version stood.
///
/// # Errors
/// If there is no room.
pub fn write_again(packet: &[u8], out: &mut Writer<'_>) -> Result<(), Full> {
    out.put_slice(packet)
}
