//! A quiet loop of music, computed: eight bars of plucked chords over a soft bass.

use std::f32::consts::TAU;

/// Samples a second and channel.
pub const SAMPLE_RATE: usize = 48_000;
/// Samples in 20 ms, the length of every packet.
pub const FRAME_SAMPLES: usize = SAMPLE_RATE / 50;

/// 100 beats a minute: a beat is 28 800 samples, and the loop a whole number of 20 ms frames.
const BEAT: usize = SAMPLE_RATE * 60 / 100;
const BARS: usize = 8;
const LENGTH: usize = BARS * 4 * BEAT;

/// Chords by bar, as semitones above A: the root first.
const CHORDS: [[i32; 4]; BARS] = [
    [0, 3, 7, 10],
    [-4, 0, 3, 8],
    [3, 7, 10, 15],
    [-2, 2, 5, 10],
    [0, 3, 7, 12],
    [5, 8, 12, 15],
    [-4, 0, 3, 7],
    [-2, 2, 7, 10],
];
/// Which note of the chord each eighth plucks.
const FIGURE: [usize; 8] = [0, 2, 1, 3, 2, 1, 3, 2];

/// The loop as interleaved stereo; it ends where it begins.
pub fn compose() -> Vec<i16> {
    let mut mix = vec![[0f32; 2]; LENGTH];
    for (bar, chord) in CHORDS.iter().enumerate() {
        let start = bar * 4 * BEAT;
        note(
            &mut mix,
            start,
            frequency(chord[0] - 24),
            0.30,
            1.6,
            0.0,
            &[1.0, 0.25, 0.06],
        );
        note(
            &mut mix,
            start + 2 * BEAT,
            frequency(chord[0] - 12),
            0.20,
            1.2,
            0.0,
            &[1.0, 0.25, 0.06],
        );
        for (eighth, &degree) in FIGURE.iter().enumerate() {
            let at = start + eighth * BEAT / 2;
            let side = if eighth % 2 == 0 { -0.45 } else { 0.45 };
            let loudness = if eighth == 0 { 0.24 } else { 0.17 };
            note(
                &mut mix,
                at,
                frequency(chord[degree] + 12),
                loudness,
                0.45,
                side,
                &[1.0, 0.45, 0.22, 0.1],
            );
            // An echo, three sixteenths later, from the other side.
            note(
                &mut mix,
                at + BEAT * 3 / 4,
                frequency(chord[degree] + 12),
                loudness * 0.3,
                0.35,
                -side,
                &[1.0, 0.3],
            );
        }
    }
    mix.iter()
        .flatten()
        .map(|&sample| (sample.tanh() * 30_000.0) as i16)
        .collect()
}

/// `semitones` above A3 (220 Hz).
fn frequency(semitones: i32) -> f32 {
    220.0 * (semitones as f32 / 12.0).exp2()
}

/// A plucked tone, mixed in; what rings past the end rings at the beginning. `decay` is the time constant in seconds.
fn note(mix: &mut [[f32; 2]], start: usize, frequency: f32, loudness: f32, decay: f32, side: f32, partials: &[f32]) {
    let rate = SAMPLE_RATE as f32;
    let samples = (decay * 5.0 * rate) as usize;
    let gains = [loudness * (1.0 - side) * 0.5, loudness * (1.0 + side) * 0.5];
    for (n, &partial) in partials.iter().enumerate() {
        // A turning phasor: one complex product a sample instead of a sine.
        let harmonic = (n + 1) as f32;
        let (step_im, step_re) = (TAU * frequency * harmonic / rate).sin_cos();
        // Upper partials die sooner, as on a string.
        let fade = (-harmonic.sqrt() / (decay * rate)).exp();
        let (mut re, mut im, mut level) = (1.0f32, 0.0f32, partial);
        for i in 0..samples {
            // Three milliseconds of attack, so that nothing clicks.
            let attack = (i as f32 / (0.003 * rate)).min(1.0);
            let value = im * level * attack;
            let at = &mut mix[(start + i) % LENGTH];
            at[0] += value * gains[0];
            at[1] += value * gains[1];
            (re, im) = (re * step_re - im * step_im, re * step_im + im * step_re);
            level *= fade;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_whole_frames_audible_and_unclipped() {
        let samples = compose();
        assert_eq!(samples.len(), LENGTH * 2);
        assert_eq!(LENGTH % FRAME_SAMPLES, 0);
        let energy = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
        let rms = energy.sqrt() / 32_768.0;
        assert!(rms > 0.03 && rms < 0.4, "rms {rms}");
        assert!(samples.iter().all(|s| s.unsigned_abs() <= 30_000));
        // Every second is audible, or a short look at the energy would see silence.
        for second in samples.chunks_exact(SAMPLE_RATE * 2) {
            assert!(second.iter().any(|s| s.unsigned_abs() > 2_000));
        }
    }

    #[test]
    fn the_seam_is_no_louder_than_the_music() {
        let samples = compose();
        let jump = |a: i16, b: i16| (i32::from(a) - i32::from(b)).abs();
        let inside = samples.windows(3).map(|w| jump(w[0], w[2])).max().unwrap();
        assert!(jump(samples[0], samples[samples.len() - 2]) <= inside);
    }
}
