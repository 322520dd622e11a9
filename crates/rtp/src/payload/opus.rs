//! Opus (RFC 7587): one Opus packet is one payload, the clock is always 48 kHz.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! | config  |s| c |  the first byte (RFC 6716 §3.1): mode, bandwidth and length of a frame; stereo; how many frames follow
//! ```
//!
//! RFC 7587 §4.1 the clock, §4.2 the payload, §3.1.3 silence is sent as packets of at most two bytes or not at all; RFC 6716 §4.2.4 where
//! a frame says that it has the one before with it (in-band FEC).

/// The RTP clock, whatever the sound's bandwidth (RFC 7587 §4.1).
pub const CLOCK_RATE: u32 = 48_000;
/// The longest packet, in samples at 48 kHz: 120 ms (RFC 6716 §3.4, R5).
pub const MAX_SAMPLES: u32 = 5_760;

/// How long an Opus packet plays, in samples at 48 kHz, from its first bytes (RFC 6716 §3.1); `None` if it is not Opus.
///
/// ```
/// // CELT fullband, 20 ms, one frame.
/// assert_eq!(antiphon_rtp::payload::opus::samples(&[0xfc, 0xff]), Some(960));
/// ```
pub fn samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frame_samples(toc) * frames;
    // RFC 6716 §3.2.5: no packet holds more than 120 ms.
    (1..=MAX_SAMPLES).contains(&samples).then_some(samples)
}

/// Samples of one frame (RFC 6716 §3.1 table 2): SILK 10 to 60 ms, hybrid 10 or 20 ms, CELT 2.5 to 20 ms.
fn frame_samples(toc: u8) -> u32 {
    match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    }
}

/// Whether a packet stands for silence that is not sent (DTX, RFC 7587 §3.1.3): it has no sound in it, or hardly any.
pub fn is_dtx(packet: &[u8]) -> bool {
    matches!(packet.len(), 1 | 2)
}

/// Whether a packet carries the frame before it once more, in low quality (in-band FEC): the LBRR flag of its first frame, which only
/// SILK has.
pub fn has_fec(packet: &[u8]) -> bool {
    let Some(&toc) = packet.first() else { return false };
    // RFC 6716 §3.1: from 16 on the frames are CELT alone.
    if toc >> 3 >= 16 {
        return false;
    }
    let Some(&bits) = first_frame(packet).and_then(<[u8]>::first) else {
        return false;
    };
    // RFC 6716 §4.2.3: for each channel a flag of activity for every 20 ms, then the LBRR flag. They are coded with equal
    // probabilities at the very beginning, so they are the first bits as they stand.
    let activity = match frame_samples(toc) {
        1920 => 2,
        2880 => 3,
        _ => 1,
    };
    let is_stereo = toc & 4 != 0;
    let flag = |at: u8| bits >> (7 - at) & 1 != 0;
    flag(activity) || is_stereo && flag(2 * activity + 1)
}

/// The first frame in a packet (RFC 6716 §3.2).
fn first_frame(packet: &[u8]) -> Option<&[u8]> {
    let (&toc, rest) = packet.split_first()?;
    // RFC 6716 §3.2.1: a length of one byte, or of two from 252 on.
    let skip_length = |rest: &'_ [u8]| Some(if *rest.first()? >= 252 { 2 } else { 1 });
    match toc & 3 {
        0 | 1 => Some(rest),
        2 => rest.get(skip_length(rest)?..),
        _ => {
            let (&count, mut rest) = rest.split_first()?;
            if count & 0x40 != 0 {
                // §3.2.5: each 255 says that another byte of the padding's length follows.
                let more = rest.iter().take_while(|byte| **byte == 255).count();
                rest = rest.get(more + 1..)?;
            }
            if count & 0x80 != 0 {
                for _ in 1..count & 0x3f {
                    rest = rest.get(skip_length(rest)?..)?;
                }
            }
            Some(rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flags_are_read() {
        // SILK wideband, 20 ms, mono: activity, then LBRR; of 60 ms there are three of activity; stereo has two rows.
        assert!(has_fec(&[0x48, 0b0100_0000]) && !has_fec(&[0x48, 0b1011_1111]));
        assert!(has_fec(&[0x58, 0b0001_0000]) && !has_fec(&[0x58, 0b1110_1111]));
        assert!(has_fec(&[0x4c, 0b0001_0000]) && !has_fec(&[0x4c, 0b1010_1111]));
        // Two frames of other lengths; three with padding and lengths before them.
        assert!(has_fec(&[0x4a, 2, 0x40, 0, 9]) && has_fec(&[0x4a, 252, 0, 0x40]));
        assert!(has_fec(&[0x4b, 0xc3, 2, 1, 1, 0x40, 0, 0, 0, 0]) && !has_fec(&[0x4b, 0xc3, 2, 1, 1]));
        assert!(!has_fec(&[0xfc, 0xff]), "CELT has none");
        assert!(is_dtx(&[0x48]) && is_dtx(&[0x48, 0]) && !is_dtx(&[0x48, 0, 0]) && !is_dtx(&[]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..40)) {
            let _ = (samples(&bytes), is_dtx(&bytes), has_fec(&bytes));
        }
    }
}
