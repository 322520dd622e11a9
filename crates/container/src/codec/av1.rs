//! AV1: temporal units in the forms of files, and the configuration that containers keep (`av1C`).

use antiphon_rtp::bitstream::av1::kind::TEMPORAL_DELIMITER;
use antiphon_rtp::bitstream::av1::{ObuHeader, is_key_frame, obus, sequence_header, write_leb128};

use super::inspected::Inspected;

/// A temporal delimiter with its size, zero.
pub(crate) const DELIMITER: [u8; 2] = [TEMPORAL_DELIMITER << 3 | 2, 0];

/// Appends an OBU with a size field.
fn put(header: ObuHeader, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.push(header.bytes[0] | 2);
    if header.len > 1 {
        out.push(header.bytes[1]);
    }
    let (size, len) = write_leb128(u32::try_from(payload.len()).ok()?);
    out.extend_from_slice(size.get(..len)?);
    out.extend_from_slice(payload);
    Some(())
}

/// A temporal unit in the form of this crate: every OBU with a size field, no temporal delimiters. `None` if it is none.
pub(crate) fn plain(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(data.len() + 8);
    for obu in obus(data) {
        let (header, range) = obu?;
        if header.kind != TEMPORAL_DELIMITER {
            put(header, data.get(range)?, &mut out)?;
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

/// Size and `av1C`, if this is a key frame with its sequence header.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    let (sequence, header, range) = sequence_header(frame).filter(|_| is_key_frame(frame))?;
    // AV1 Codec ISO Media File Format Binding §2.3: marker and version.
    let mut configuration = vec![
        0x81,
        sequence.profile << 5 | sequence.level,
        sequence.tier << 7 | sequence.colours,
        0,
    ];
    put(header, frame.get(range)?, &mut configuration)?;
    Some(Inspected {
        size: sequence.resolution,
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
        assert_eq!(inspect(&unit), None);
    }
}
