//! PCMU: G.711 mu-law at 8 kHz, mono (RFC 3551 §4.5.14).

use super::music::SAMPLE_RATE;

/// Samples a second.
pub const CLOCK_RATE: usize = 8_000;
const DECIMATION: usize = SAMPLE_RATE / CLOCK_RATE;
const TAPS: usize = 61;

/// One sample in mu-law (ITU-T G.711, table 2a).
pub fn encode_sample(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let exponent = 24 - (magnitude as u32).leading_zeros() as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) | mantissa) as u8
}

/// A looped stereo recording at 48 kHz as a looped PCMU recording.
pub fn encode_loop(stereo: &[i16]) -> Vec<u8> {
    let mono: Vec<f32> = stereo
        .chunks_exact(2)
        .map(|pair| (f32::from(pair[0]) + f32::from(pair[1])) * 0.5)
        .collect();
    let filter = low_pass();
    let samples = mono.len();
    (0..samples / DECIMATION)
        .map(|n| {
            let centre = n * DECIMATION + samples - TAPS / 2;
            let sum: f32 = filter
                .iter()
                .enumerate()
                .map(|(k, &tap)| tap * mono[(centre + k) % samples])
                .sum();
            encode_sample(sum.clamp(-32_768.0, 32_767.0) as i16)
        })
        .collect()
}

/// A windowed sinc with its edge at 3.4 kHz: nothing above 4 kHz may fold down.
fn low_pass() -> [f32; TAPS] {
    use std::f32::consts::PI;
    let edge = 2.0 * 3_400.0 / SAMPLE_RATE as f32;
    let mut taps: [f32; TAPS] = std::array::from_fn(|n| {
        let x = n as f32 - (TAPS / 2) as f32;
        let sinc = if x == 0.0 {
            edge
        } else {
            (PI * edge * x).sin() / (PI * x)
        };
        let phase = 2.0 * PI * n as f32 / (TAPS - 1) as f32;
        sinc * (0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos())
    });
    let sum: f32 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G.711's decoder, as the other half of the round trip.
    fn decode(code: u8) -> i16 {
        let code = !code;
        let magnitude = ((i32::from(code & 0x0f) << 3) + 0x84) << ((code >> 4) & 7);
        let value = magnitude - 0x84;
        (if code & 0x80 == 0 { value } else { -value }) as i16
    }

    #[test]
    fn known_codes() {
        for (sample, code) in [(0, 0xff), (-1, 0x7f), (i16::MAX, 0x80), (i16::MIN, 0x00)] {
            assert_eq!(encode_sample(sample), code, "{sample}");
        }
    }

    #[test]
    fn every_sample_decodes_close_to_itself() {
        for sample in i16::MIN..=i16::MAX {
            let back = decode(encode_sample(sample));
            let error = (i32::from(sample) - i32::from(back)).abs();
            // Half of the widest step of the segment, and the clip at the top.
            assert!(error <= i32::from(sample).abs() / 16 + 140, "{sample} -> {back}");
        }
    }

    #[test]
    fn a_tone_keeps_its_level_and_what_would_alias_goes() {
        let rms = |hertz: f32| {
            let stereo: Vec<i16> = (0..SAMPLE_RATE)
                .flat_map(|n| {
                    let s = (std::f32::consts::TAU * hertz * n as f32 / SAMPLE_RATE as f32).sin() * 10_000.0;
                    [s as i16; 2]
                })
                .collect();
            let coded = encode_loop(&stereo);
            assert_eq!(coded.len(), CLOCK_RATE);
            (coded.iter().map(|&c| f64::from(decode(c)).powi(2)).sum::<f64>() / coded.len() as f64).sqrt()
        };
        let kept = rms(1_000.0);
        assert!((kept - 7_071.0).abs() < 300.0, "1 kHz: {kept}");
        let folded = rms(6_000.0);
        assert!(folded < 100.0, "6 kHz: {folded}");
    }
}
