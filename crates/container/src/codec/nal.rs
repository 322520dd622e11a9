//! NAL units of H.264 and H.265: between start codes (Annex B), and behind their lengths, as MP4 and Matroska keep them.

/// What stands before each unit here.
pub(crate) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The place of the next three bytes `00 00 01` from `from` on.
pub(crate) fn next_start_code(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(window) = data.get(at..at + 3) {
        match window {
            [0, 0, 1] => return Some(at),
            [_, _, 2..=255] => at += 3,
            [_, 1..=255, _] => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// The units of a byte stream, without start codes and without the zeros that may follow (ITU-T H.264 §B.1.1).
pub(crate) fn units(data: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut next = next_start_code(data, 0);
    std::iter::from_fn(move || {
        loop {
            let start = next? + 3;
            next = next_start_code(data, start);
            let unit = trim(&data[start..next.unwrap_or(data.len())]);
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

/// A unit without the zeros behind it.
pub(crate) fn trim(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

/// The units with a length of four bytes before each.
pub(crate) fn to_lengths(annex_b: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(annex_b.len() + 16);
    for unit in units(annex_b) {
        out.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}

/// The units behind lengths of `size` bytes each.
pub(crate) fn split_lengths(mut data: &[u8], size: usize) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(size)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        units.push(trim(unit));
        data = rest;
    }
    units.retain(|unit| !unit.is_empty());
    Some(units)
}

/// Puts units behind start codes.
pub(crate) fn to_annex_b<'a>(units: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let mut out = Vec::with_capacity(units.clone().map(|unit| unit.len() + START_CODE.len()).sum());
    for unit in units {
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
    }
    out
}

/// An access unit in the form of this crate: `units`, and before them, if it is a key frame that lacks its parameter sets, those.
pub(crate) fn access_unit(
    units: &[&[u8]],
    key_frame: bool,
    parameter_sets: &[u8],
    is_parameter_set: fn(&[u8]) -> bool,
    is_delimiter: fn(&[u8]) -> bool,
) -> Vec<u8> {
    let lacks = key_frame && !units.iter().any(|unit| is_parameter_set(unit));
    if !lacks {
        return to_annex_b(units.iter().copied());
    }
    // An access unit delimiter comes first (ITU-T H.264 §7.4.1.2.3).
    let first = units.iter().take_while(|unit| is_delimiter(unit)).count();
    let (delimiter, rest) = units.split_at(first);
    let mut out = to_annex_b(delimiter.iter().copied());
    out.extend_from_slice(parameter_sets);
    out.extend_from_slice(&to_annex_b(rest.iter().copied()));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_found_between_start_codes_of_three_and_four_bytes() {
        let data = [0, 0, 0, 1, 9, 1, 0, 0, 1, 5, 0, 0, 0, 0, 0, 1, 6];
        assert_eq!(units(&data).collect::<Vec<_>>(), [&[9, 1][..], &[5], &[6]]);
        assert_eq!(to_lengths(&data), [0, 0, 0, 2, 9, 1, 0, 0, 0, 1, 5, 0, 0, 0, 1, 6]);
        assert_eq!(split_lengths(&[0, 2, 9, 1, 0, 3, 1], 2), None);
    }

    proptest! {
        #[test]
        fn both_forms_hold_the_same_units(data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200)) {
            let lengths = to_lengths(&data);
            let split = split_lengths(&lengths, 4).expect("our own lengths");
            prop_assert_eq!(&split, &units(&data).collect::<Vec<_>>());
            let again = to_annex_b(split.iter().copied());
            prop_assert_eq!(units(&again).collect::<Vec<_>>(), split);
        }
    }
}
