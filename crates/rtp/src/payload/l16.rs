//! L16 (RFC 3551 §4.5.11, RFC 2586): samples of 16 bits, signed, most significant byte first; where there are several channels,
//! a sample of each in turn, left before right (RFC 3551 §4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |      sample 1, channel 1      |      sample 1, channel 2      | ...
//! ```
//!
//! The RTP clock is the sampling rate. A frame is a packet: 20 ms of two channels at 48 kHz are 3840 bytes and do not fit, so
//! the application sends frames of 5 ms.

/// How long a payload plays, in ticks of the RTP clock; `None` if it does not hold whole samples of every channel.
///
/// ```
/// // 5 ms of two channels at 48 kHz.
/// assert_eq!(antiphon_rtp::payload::l16::ticks(&[0; 960], 2), Some(240));
/// ```
pub fn ticks(payload: &[u8], channels: u8) -> Option<u32> {
    let size = 2 * usize::from(channels);
    (size > 0 && payload.len().is_multiple_of(size)).then(|| (payload.len() / size) as u32)
}

/// The samples of a payload; half a sample at its end is left out.
pub fn samples(payload: &[u8]) -> impl ExactSizeIterator<Item = i16> {
    payload
        .chunks_exact(2)
        .map(|sample| i16::from_be_bytes([sample[0], sample[1]]))
}

/// Appends samples to a payload.
pub fn write(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(sound in vec(any::<i16>(), 0..100)) {
            let mut payload = Vec::new();
            write(&sound, &mut payload);
            prop_assert!(samples(&payload).eq(sound.iter().copied()));
            prop_assert_eq!(ticks(&payload, 1), Some(sound.len() as u32));
            prop_assert_eq!(ticks(&payload, 2).is_some(), sound.len() % 2 == 0);
            prop_assert_eq!(ticks(&payload, 0), None);
        }
    }
}
