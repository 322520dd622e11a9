//! Comfort noise (RFC 3389): what silence sounds like. One description is one payload, and is treated as a frame.
//!
//! ```text
//!  0                   1                   2
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 ...
//! |0|    level    | reflection    | reflection    | ...
//! |               | coefficient 1 | coefficient 2 |
//! ```
//!
//! §3.1 the level, §3.2 the spectrum, §4 its timestamps are those of the sound that it stands beside.

use crate::ParseError;

/// Most reflection coefficients that are kept: a model of higher order says nothing more of noise (§3.2 leaves the order open).
pub const MAX_COEFFICIENTS: usize = 32;

/// The noise of one pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComfortNoise<'a> {
    /// How loud it is, in decibels below overload, 0 to 127.
    pub level: u8,
    /// The quantised reflection coefficients of its spectrum, at most [`MAX_COEFFICIENTS`]; none: white noise. 127 stands for 0.
    pub coefficients: &'a [u8],
}

impl<'a> ComfortNoise<'a> {
    /// Parses a payload. Coefficients behind the first [`MAX_COEFFICIENTS`] are left out, which §3.2 allows a receiver to do.
    ///
    /// # Errors
    /// [`ParseError::Short`] if it is empty.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ParseError> {
        let (&level, coefficients) = payload.split_first().ok_or(ParseError::Short)?;
        Ok(Self {
            level: level & 0x7f,
            coefficients: &coefficients[..coefficients.len().min(MAX_COEFFICIENTS)],
        })
    }

    /// Appends the payload to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.level & 0x7f);
        out.extend_from_slice(&self.coefficients[..self.coefficients.len().min(MAX_COEFFICIENTS)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(level in 0u8..128, coefficients in vec(any::<u8>(), 0..=MAX_COEFFICIENTS), more: u8) {
            let noise = ComfortNoise { level, coefficients: &coefficients };
            let mut payload = Vec::new();
            noise.write(&mut payload);
            prop_assert_eq!(payload.len(), 1 + coefficients.len());
            prop_assert_eq!(ComfortNoise::parse(&payload), Ok(noise));
            payload.resize(1 + MAX_COEFFICIENTS, 127);
            payload.push(more);
            prop_assert_eq!(ComfortNoise::parse(&payload).unwrap().coefficients.len(), MAX_COEFFICIENTS);
            prop_assert_eq!(ComfortNoise::parse(&[]), Err(ParseError::Short));
        }
    }
}
