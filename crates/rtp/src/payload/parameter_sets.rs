//! The parameter sets of one stream: those of its description, and the newest of each that came in band. A key frame without them
//! gets them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Most parameter sets that are remembered. Streams of browsers and cameras have two or three.
const MAX_SETS: usize = 16;
/// Bytes of the largest parameter set that is remembered.
const MAX_SET: usize = 1024;

/// Base64 as descriptions have it; some leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    kind: u8,
    id: u32,
    unit: Vec<u8>,
}

/// Parameter sets by kind and identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
    sets: Vec<Set>,
}

impl ParameterSets {
    /// Takes in those of a parameter of `a=fmtp`: units in base64, with commas between. `set` tells kind and identifier of a unit.
    pub(super) fn describe(&mut self, list: &str, set: impl Fn(&[u8]) -> Option<(u8, u32)>) {
        for text in list.split(',').take(MAX_SETS) {
            if let Ok(unit) = BASE64.decode(text.trim())
                && let Some((kind, id)) = set(&unit)
            {
                self.remember(kind, id, &unit);
            }
        }
    }

    /// The newest set of its kind and identifier. One that is larger than any in use, or one too many, is not remembered.
    pub(super) fn remember(&mut self, kind: u8, id: u32, unit: &[u8]) {
        if unit.len() > MAX_SET {
            return;
        }
        let known = self.sets.iter_mut().find(|set| set.kind == kind && set.id == id);
        if let Some(set) = known {
            // A stream repeats its sets before every key frame: most often nothing changes.
            if set.unit != unit {
                set.unit.clear();
                set.unit.extend_from_slice(unit);
            }
        } else if self.sets.len() < MAX_SETS {
            self.sets.push(Set {
                kind,
                id,
                unit: unit.to_vec(),
            });
        }
    }

    /// The sets of a kind.
    pub(super) fn of(&self, kind: u8) -> impl Iterator<Item = &[u8]> {
        let sets = self.sets.iter().filter(move |set| set.kind == kind);
        sets.map(|set| &set.unit[..])
    }
}

/// A parameter of `a=fmtp`, by its name without case.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|parameter| {
        let (known, value) = parameter.split_once('=')?;
        known.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_kept_and_their_number_is_bounded() {
        let mut sets = ParameterSets::default();
        let fmtp = "packetization-mode=1; sprop-parameter-sets=Z0IAHg==,aM4;x";
        let list = parameter(fmtp, "Sprop-Parameter-Sets").unwrap();
        sets.describe(list, |unit| Some((u8::from(*unit.first()? != 0x67), 0)));
        assert!(sets.of(0).eq([&[0x67, 0x42, 0, 0x1e][..]]) && sets.of(1).eq([&[0x68, 0xce][..]]));
        sets.remember(0, 0, &[1]);
        assert!(sets.of(0).eq([&[1][..]]));
        for id in 0..100 {
            sets.remember(0, id, &[2; MAX_SET + 1]);
            sets.remember(1, id, &[2]);
        }
        assert_eq!(sets.sets.len(), MAX_SETS);
        assert_eq!(parameter(fmtp, "profile-level-id"), None);
    }
}
