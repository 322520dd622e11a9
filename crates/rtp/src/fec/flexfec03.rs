//! FlexFEC as Chromium speaks it (draft-ietf-payload-flexible-fec-scheme-03, `flexfec-03/90000`): repair packets in a stream of
//! their own, with an SSRC and sequence numbers of their own.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |R|F|P|X|  CC   |M| PT recovery |        length recovery        |   §4.2
//! |                          TS recovery                          |
//! |   SSRC count  |                    reserved                   |
//! |                            SSRC_i                             |
//! |           SN base_i           |k|          mask [0-14]        |
//! |k|                   mask [15-45] (optional)                   |
//! |k|                                                             |
//! |                    mask [46-108] (optional)                   |
//! |                            parity                             |
//! ```
//!
//! `k` is 1 in the last part of the mask. One protected stream is read and written, and no form but the flexible mask (R and F
//! are 0), which is all that Chromium reads and writes.

use antiphon_sansio::{Full, Reader, Writer};

use super::repair::{Protected, Repair, first_high, first_low, read_sums};
use crate::ParseError;

/// The spans of the three parts of a mask, in packets.
const PARTS: [u32; 3] = [15, 31, 63];
/// Bytes of the largest header.
pub(crate) const MAX_HEADER: usize = 32;

/// Reads a repair packet.
///
/// # Errors
/// If a field is cut off, the form is another, several streams are protected, or no packet is.
pub fn parse(payload: &[u8]) -> Result<Repair<'_>, ParseError> {
    let mut reader = Reader::new(payload);
    let (form, sums) = read_sums(&mut reader)?;
    let count = reader.u8()?;
    reader.u24()?;
    if form != 0 || count != 1 {
        return Err(ParseError::Value);
    }
    let ssrc = reader.u32()?;
    let base = reader.u16()?;
    let first = reader.u16()?;
    let mut mask = first_low(u64::from(first & 0x7fff), PARTS[0]);
    if first & 0x8000 == 0 {
        let second = reader.u32()?;
        mask |= first_low(u64::from(second & 0x7fff_ffff), PARTS[1]) << PARTS[0];
        if second & 0x8000_0000 == 0 {
            let third = u64::from(reader.u32()?) << 32 | u64::from(reader.u32()?);
            // There is no fourth part: the last bit must say so.
            if third >> 63 == 0 {
                return Err(ParseError::Value);
            }
            mask |= first_low(third & (u64::MAX >> 1), PARTS[2]) << (PARTS[0] + PARTS[1]);
        }
    }
    if mask == 0 {
        return Err(ParseError::Value);
    }
    Ok(Repair {
        ssrc: Some(ssrc),
        protected: Protected::Mask { base, mask },
        sums,
        body: reader.rest(),
    })
}

/// Writes a repair packet.
///
/// # Errors
/// If there is no room, the packets have no place in a mask of 109, or it is not said whose they are.
pub fn write(repair: &Repair<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
    let (Protected::Mask { base, mask }, Some(ssrc)) = (repair.protected, repair.ssrc) else {
        return Err(Full);
    };
    let [one, two, three] = PARTS;
    if mask >> (one + two + three) != 0 {
        return Err(Full);
    }
    let [flags, second] = repair.sums.header;
    out.put_u8(flags & 0x3f)?;
    out.put_u8(second)?;
    out.put_u16(repair.sums.length)?;
    out.put_u32(repair.sums.timestamp)?;
    out.put_u32(1 << 24)?;
    out.put_u32(ssrc)?;
    out.put_u16(base)?;
    let (is_short, is_middle) = (mask >> one == 0, mask >> (one + two) == 0);
    out.put_u16(first_high(mask, 0, one) as u16 | u16::from(is_short) << 15)?;
    if !is_short {
        out.put_u32(first_high(mask, one, two) as u32 | u32::from(is_middle) << 31)?;
        if !is_middle {
            out.put_u64(first_high(mask, one + two, three) | 1 << 63)?;
        }
    }
    out.put_slice(repair.body)
}
