//! AV1: OBUs (AV1 specification §5.3), the sequence header (§5.5), and the configuration that containers keep (`av1C`).

use super::inspected::Inspected;
use crate::bits::{Bits, leb128, put_leb128};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
/// A temporal delimiter with its size, zero.
pub(crate) const DELIMITER: [u8; 2] = [TEMPORAL_DELIMITER << 3 | 2, 0];

/// One OBU.
pub(crate) struct Obu<'a> {
    header: u8,
    /// The second byte of the header, if it has one.
    extension: Option<u8>,
    pub(crate) payload: &'a [u8],
}

impl Obu<'_> {
    fn kind(&self) -> u8 {
        self.header >> 3 & 15
    }

    pub(crate) fn is_delimiter(&self) -> bool {
        self.kind() == TEMPORAL_DELIMITER
    }

    /// Appends it with a size field.
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.header | 2);
        out.extend(self.extension);
        put_leb128(self.payload.len(), out);
        out.extend_from_slice(self.payload);
    }
}

/// The header of an OBU: how many bytes it takes, and how many follow; `None` in place of that where there is no size field.
pub(crate) fn header(data: &[u8]) -> Option<(usize, Option<u64>)> {
    let first = *data.first()?;
    // The forbidden bit.
    if first & 0x80 != 0 {
        return None;
    }
    let mut len = 1 + usize::from(first >> 2 & 1);
    let size = match first & 2 {
        0 => None,
        _ => {
            let (size, bytes) = leb128(data.get(len..)?)?;
            len += bytes;
            Some(size)
        }
    };
    (data.len() >= len).then_some((len, size))
}

/// The OBUs of a temporal unit, each with a size field but perhaps the last; `None` at one that is cut.
pub(crate) fn obus(mut data: &[u8]) -> impl Iterator<Item = Option<Obu<'_>>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut data);
        let cut = || {
            let (len, size) = header(whole)?;
            let (_, rest) = whole.split_at(len);
            let size = size.map_or(Some(rest.len()), |size| usize::try_from(size).ok())?;
            let (payload, after) = rest.split_at_checked(size)?;
            let extension = (whole[0] & 4 != 0).then(|| whole[1]);
            Some((
                Obu {
                    header: whole[0],
                    extension,
                    payload,
                },
                after,
            ))
        };
        match cut() {
            Some((obu, after)) => {
                data = after;
                Some(Some(obu))
            }
            None => Some(None),
        }
    })
}

/// A temporal unit in the form of this crate: every OBU with a size field, no temporal delimiters. `None` if it is none.
pub(crate) fn plain(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() + 8);
    for obu in obus(data) {
        let obu = obu?;
        if !obu.is_delimiter() {
            obu.put(&mut out);
        }
    }
    Some(out)
}

/// A temporal unit with its delimiter in front.
pub(crate) fn delimited(data: &[u8]) -> Option<Vec<u8>> {
    let mut unit = DELIMITER.to_vec();
    unit.extend_from_slice(&plain(data)?);
    Some(unit)
}

/// What a sequence header says.
struct Sequence {
    width: u32,
    height: u32,
    /// The header of a frame does not say what kind it is.
    reduced: bool,
    /// The three bytes of `av1C` behind the first.
    told: [u8; 3],
}

fn parse_sequence(data: &[u8]) -> Option<Sequence> {
    let mut bits = Bits::new(data);
    let profile = bits.bits(3)?;
    bits.skip(1)?;
    let reduced = bits.bit()?;
    let (level, tier) = match reduced {
        true => (bits.bits(5)?, 0),
        false => operating_points(&mut bits)?,
    };
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
    skip_tools(&mut bits, reduced)?;
    let colours = colours(&mut bits, profile)?;
    Some(Sequence {
        width,
        height,
        reduced,
        told: [(profile << 5 | level) as u8, (tier << 7) as u8 | colours, 0],
    })
}

/// Level and tier of the first operating point (AV1 §5.5.1, §5.5.3, §5.5.4).
fn operating_points(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let (mut first, mut delay_bits) = (None, None);
    if bits.bit()? {
        bits.skip(64)?;
        if bits.bit()? {
            bits.ue()?;
        }
        if bits.bit()? {
            delay_bits = Some(bits.bits(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let tells_delay = bits.bit()?;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?;
        let level = bits.bits(5)?;
        let tier = if level > 7 { bits.bits(1)? } else { 0 };
        first = first.or(Some((level, tier)));
        if let Some(delay) = delay_bits
            && bits.bit()?
        {
            bits.skip(2 * delay + 1)?;
        }
        if tells_delay && bits.bit()? {
            bits.skip(4)?;
        }
    }
    first
}

/// What stands between the size and the colours.
fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    if !reduced && bits.bit()? {
        bits.skip(4 + 3)?;
    }
    bits.skip(3)?;
    if !reduced {
        bits.skip(4)?;
        let order_hint = bits.bit()?;
        if order_hint {
            bits.skip(2)?;
        }
        let forces = match bits.bit()? {
            true => true,
            false => bits.bit()?,
        };
        if forces && !bits.bit()? {
            bits.skip(1)?;
        }
        if order_hint {
            bits.skip(3)?;
        }
    }
    bits.skip(3)
}

/// AV1 §5.5.2, in the bits of `av1C` below the tier.
fn colours(bits: &mut Bits<'_>, profile: u32) -> Option<u8> {
    const SRGB: [u32; 3] = [1, 13, 0];
    let high = bits.bits(1)?;
    let twelve = if profile == 2 && high == 1 { bits.bits(1)? } else { 0 };
    let monochrome = if profile == 1 { 0 } else { bits.bits(1)? };
    let description = match bits.bit()? {
        true => [bits.bits(8)?, bits.bits(8)?, bits.bits(8)?],
        false => [2, 2, 2],
    };
    let (x, y, position) = if monochrome == 1 {
        bits.skip(1)?;
        (1, 1, 0)
    } else if description == SRGB {
        (0, 0, 0)
    } else {
        bits.skip(1)?;
        let (x, y) = match (profile, twelve) {
            (0, _) => (1, 1),
            (1, _) => (0, 0),
            (_, 0) => (1, 0),
            _ => match bits.bits(1)? {
                0 => (0, 0),
                x => (x, bits.bits(1)?),
            },
        };
        (x, y, if x == 1 && y == 1 { bits.bits(2)? } else { 0 })
    };
    Some((high << 6 | twelve << 5 | monochrome << 4 | x << 3 | y << 2 | position) as u8)
}

/// The sequence header of a temporal unit, and whether its first frame is a key frame (AV1 §5.9.2).
fn look(frame: &[u8]) -> Option<(Obu<'_>, Sequence)> {
    let mut found = None;
    for obu in obus(frame) {
        let obu = obu?;
        match (obu.kind(), &found) {
            (SEQUENCE_HEADER, None) => {
                let sequence = parse_sequence(obu.payload)?;
                found = Some((obu, sequence));
            }
            (FRAME | FRAME_HEADER, Some((_, sequence))) => {
                // Not shown again, and of type 0.
                let is_key = sequence.reduced || obu.payload.first().is_some_and(|byte| byte >> 5 == 0);
                return found.filter(|_| is_key);
            }
            (FRAME | FRAME_HEADER, None) => return None,
            _ => {}
        }
    }
    None
}

pub(crate) fn is_key_frame(frame: &[u8]) -> bool {
    look(frame).is_some()
}

/// Size and `av1C`, if this is a key frame with its sequence header.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    let (obu, sequence) = look(frame)?;
    // AV1 Codec ISO Media File Format Binding §2.3: marker and version.
    let mut configuration = vec![0x81];
    configuration.extend_from_slice(&sequence.told);
    obu.put(&mut configuration);
    Some(Inspected {
        width: sequence.width,
        height: sequence.height,
        configuration,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_lose_their_delimiters_and_gain_sizes() {
        let unit = [0x12, 0, 0x0a, 1, 7, 0x30, 9, 9];
        assert_eq!(plain(&unit).unwrap(), [0x0a, 1, 7, 0x32, 2, 9, 9]);
        assert_eq!(plain(&[0x0a, 5, 7]), None);
        assert_eq!(plain(&[0x80]), None);
        assert!(!is_key_frame(&unit));
    }
}
