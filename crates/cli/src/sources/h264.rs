//! H.264 by OpenH264: Constrained Baseline with frames that need the one before, so that the pattern costs a fraction of what key
//! frames alone do. Its C++ is compiled with the crate `openh264`; the feature `h264` has it.

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, RateControlMode, UsageType,
};
use openh264::formats::{RgbSliceU8, YUVBuffer, YUVSource};

use super::EncodeError;

/// Pixels across and down of what H.264 encodes at once, a macroblock.
const SQUARE: usize = 16;
/// Steps of brightness between the darkest and the brightest flake.
const DEPTH: u8 = 48;

/// A picture in the form that the encoder takes: made once for all sizes of a frame.
pub struct Planes(YUVBuffer);

impl Planes {
    /// From `width` x `height` RGB pixels, row by row.
    pub fn new(rgb: &[u8], width: usize, height: usize) -> Self {
        Self(YUVBuffer::from_rgb8_source(RgbSliceU8::new(rgb, (width, height))))
    }

    /// The same picture, in which it snows: the brightness of so many squares of 16 by 16 pixels, the size in which the encoder works,
    /// is noise about what it was, another one in each `frame`. They fill the lowest whole row of squares from the left, then the one
    /// above it.
    #[must_use]
    pub fn with_snow(&self, squares: usize, frame: u64) -> Self {
        let (width, height) = self.0.dimensions();
        let mut planes = [self.0.y(), self.0.u(), self.0.v()].concat();
        let across = width / SQUARE;
        // A generator of George Marsaglia's (xorshift64): it only has to look like noise, to eyes and to encoders.
        let mut noise = (frame + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for square in 0..squares.min(across * (height / SQUARE)) {
            let (row, column) = (square / across, square % across);
            let (left, top) = (column * SQUARE, (height / SQUARE - 1 - row) * SQUARE);
            for line in planes.chunks_exact_mut(width).skip(top).take(SQUARE) {
                for eight in line[left..left + SQUARE].chunks_exact_mut(8) {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    for (pixel, random) in eight.iter_mut().zip(noise.to_le_bytes()) {
                        *pixel = pixel.saturating_add(random % DEPTH).saturating_sub(DEPTH / 2);
                    }
                }
            }
        }
        Self(YUVBuffer::from_vec(planes, width, height))
    }
}

impl std::fmt::Debug for Planes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planes").finish_non_exhaustive()
    }
}

/// Encodes frames towards a number of bits a second.
pub struct H264Encoder {
    encoder: Encoder,
    bps: u32,
}

impl std::fmt::Debug for H264Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H264Encoder")
            .field("bps", &self.bps)
            .finish_non_exhaustive()
    }
}

impl H264Encoder {
    /// An encoder that aims at `bps` bits a second with `frames` frames a second.
    ///
    /// # Errors
    /// If OpenH264 cannot start.
    pub fn new(bps: u32, frames: f32) -> Result<Self, EncodeError> {
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .usage_type(UsageType::CameraVideoRealTime)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bps))
            .max_frame_rate(FrameRate::from_hz(frames))
            .skip_frames(true)
            // Key frames come when somebody needs one, and only then.
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .scene_change_detect(false)
            // A second thread costs more than it brings at this size.
            .num_threads(1);
        let encoder =
            Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|e| EncodeError(e.to_string()))?;
        Ok(Self { encoder, bps })
    }

    /// The next frame as an access unit (ITU-T H.264, annex B: start codes), and whether it is a key frame, which carries its parameter
    /// sets. `None`: the encoder leaves this one out, for the ones before were larger than planned.
    ///
    /// # Errors
    /// If OpenH264 fails.
    pub fn encode(&mut self, planes: &Planes, key_frame: bool) -> Result<Option<(Bytes, bool)>, EncodeError> {
        if key_frame {
            self.encoder.force_intra_frame();
        }
        let stream = self.encoder.encode(&planes.0).map_err(|e| EncodeError(e.to_string()))?;
        let is_key = match stream.frame_type() {
            FrameType::IDR => true,
            FrameType::Skip | FrameType::Invalid => return Ok(None),
            FrameType::I | FrameType::P | FrameType::IPMixed => false,
        };
        let data = stream.to_vec();
        Ok((!data.is_empty()).then(|| (data.into(), is_key)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sources::VideoCodec;
    use crate::sources::pattern::{FRAME_RATE, HEIGHT, TestPattern, WIDTH};
    use crate::sources::vp8::Vp8Encoder;
    use openh264::decoder::Decoder;

    fn clock(n: u64) -> Duration {
        Duration::from_secs(40_000) + Duration::from_secs(1) * n as u32 / FRAME_RATE
    }

    /// Peak signal to noise, in dB.
    fn likeness(original: &[u8], shown: &[u8]) -> f64 {
        assert_eq!(original.len(), shown.len());
        let errors = original
            .iter()
            .zip(shown)
            .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
        10.0 * (255.0 * 255.0 * original.len() as f64 / errors.sum::<f64>().max(1.0)).log10()
    }

    /// Frames of two seconds, after one in which the encoder settles: bits a second, and their mean likeness.
    fn measure(mut encode: impl FnMut(&[u8]) -> usize, mut show: impl FnMut() -> Vec<u8>) -> (f64, f64) {
        let mut pattern = TestPattern::new();
        let (mut bytes, mut sum) = (0, 0.0);
        for n in 0..90 {
            let picture = pattern.draw(n, clock(n)).to_vec();
            let size = encode(&picture);
            let shown = show();
            if n >= 30 {
                bytes += size;
                sum += likeness(&picture, &shown);
            }
        }
        (bytes as f64 * 8.0 / 2.0, sum / 60.0)
    }

    #[test]
    fn it_looks_as_good_as_key_frames_alone_at_a_fifth_of_their_bits() {
        let latest = std::cell::RefCell::new(Vec::new());
        let mut encoder = Vp8Encoder::new(WIDTH, HEIGHT, VideoCodec::Vp8.rungs()[20].frame_bytes()).unwrap();
        let still = |rgb: &[u8]| {
            let frame = encoder.encode(rgb).unwrap();
            // RFC 9649 §2.5: what makes a file of it.
            let mut file = b"RIFF".to_vec();
            let size = frame.len() as u32;
            file.extend((size + size % 2 + 12).to_le_bytes());
            file.extend(b"WEBPVP8 ");
            file.extend(size.to_le_bytes());
            file.extend(&frame[..]);
            file.resize(file.len() + frame.len() % 2, 0);
            *latest.borrow_mut() = webp::Decoder::new(&file).decode().unwrap().to_vec();
            frame.len()
        };
        let (_, stills) = measure(still, || latest.borrow().clone());

        let mut encoder = H264Encoder::new(700_000, FRAME_RATE as f32).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut shown = vec![0; WIDTH * HEIGHT * 3];
        let film = |rgb: &[u8]| {
            let coded = encoder.encode(&Planes::new(rgb, WIDTH, HEIGHT), false).unwrap();
            let Some((data, _)) = coded else { return 0 };
            if let Some(picture) = decoder.decode(&data).unwrap() {
                assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
                picture.write_rgb8(&mut shown);
            }
            *latest.borrow_mut() = shown.clone();
            data.len()
        };
        let (bps, film) = measure(film, || latest.borrow().clone());
        assert!(bps <= 700_000.0 * 1.02, "{bps} bit/s");
        assert!(film >= stills, "{film} dB, and {stills} dB of key frames alone");
    }

    #[test]
    fn each_size_is_what_it_says() {
        for rung in VideoCodec::H264.rungs() {
            let mut pattern = TestPattern::new();
            let mut encoder = H264Encoder::new(rung.bps, rung.frame_rate()).unwrap();
            let mut bytes = 0;
            for n in (0..150).step_by(rung.every as usize) {
                let planes = Planes::new(pattern.draw(n, clock(n)), WIDTH, HEIGHT).with_snow(rung.snow, n);
                let coded = encoder.encode(&planes, false).unwrap();
                if n >= 30 {
                    bytes += coded.map_or(0, |(data, _)| data.len());
                }
            }
            let bps = bytes as f64 * 8.0 / 4.0;
            let wanted = f64::from(rung.bps);
            println!("{bps} of {wanted} bit/s");
            assert!(bps < wanted * 1.1 && bps > wanted * 0.85, "{bps} of {wanted} bit/s");
        }
    }

    #[test]
    fn key_frames_come_when_they_are_asked_for_and_have_their_parameter_sets() {
        let mut pattern = TestPattern::new();
        let mut encoder = H264Encoder::new(500_000, FRAME_RATE as f32).unwrap();
        for n in 0..60 {
            let planes = Planes::new(pattern.draw(n, clock(n)), WIDTH, HEIGHT);
            let asked = n == 20 || n == 40;
            let Some((data, key_frame)) = encoder.encode(&planes, asked).unwrap() else {
                panic!("frame {n} was left out");
            };
            assert_eq!(key_frame, asked || n == 0, "frame {n}");
            // ITU-T H.264 §7.4.1: a parameter set of the sequence comes first. Its profile: Baseline with the constraints.
            if key_frame {
                assert_eq!(&data[..5], &[0, 0, 0, 1, 0x67]);
                assert!(data[5] == 66 && data[6] & 0x40 != 0, "{:x?}", &data[..8]);
            }
        }
    }
}
