//! VP8 frames by libwebp: a lossy WebP still is one VP8 key frame in a RIFF wrapper (RFC 9649 §2.5), so each frame of ours is a key
//! frame. That costs bits, and buys a bundled, well-kept encoder; every request for a key frame is met by the next frame.

use bytes::Bytes;
use webp::{Encoder, PixelLayout, WebPConfig};

use super::EncodeError;

/// How hard one step of the quality control pulls: the size of a still falls about tenfold over the whole range of the quality.
const STEP: f32 = 18.0;
/// How near to its target a frame must be, as a logarithm: a quarter more or less.
const NEAR: f32 = 0.25;
/// How often the first frame is encoded at most.
const MAX_TRIES: usize = 4;

/// Encodes frames of one size towards a number of bytes each.
pub struct Vp8Encoder {
    width: u32,
    height: u32,
    config: WebPConfig,
    target: f32,
    /// A frame has come near the target. Until then it is encoded once more: a size that a slow path has just changed to must not
    /// begin with frames for a fast one.
    settled: bool,
}

impl std::fmt::Debug for Vp8Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vp8Encoder")
            .field("quality", &self.config.quality)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Vp8Encoder {
    /// An encoder for `width` x `height` RGB frames that aims at `target` bytes a frame.
    ///
    /// # Errors
    /// If libwebp refuses its own defaults (a mismatched library).
    pub fn new(width: usize, height: usize, target: usize) -> Result<Self, EncodeError> {
        let mut config = WebPConfig::new().map_err(|()| EncodeError("libwebp has another version".into()))?;
        config.quality = 40.0;
        // The fastest search; one segment, no filter analysis: speed matters more than the last bits here.
        config.method = 0;
        config.segments = 1;
        config.filter_strength = 20;
        config.alpha_compression = 0;
        Ok(Self {
            width: width as u32,
            height: height as u32,
            config,
            target: target as f32,
            settled: false,
        })
    }

    /// Frames of this many bytes from now on.
    pub fn aim(&mut self, target: usize) {
        let target = target.max(1) as f32;
        // What is much smaller may have to be found anew; the rest the quality control follows.
        self.settled &= target > self.target / 2.0;
        self.target = target;
    }

    /// The next key frame of `rgb` (row by row, three bytes a pixel).
    ///
    /// # Errors
    /// If libwebp fails.
    pub fn encode(&mut self, rgb: &[u8]) -> Result<Bytes, EncodeError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (frame, is_near) = self.encode_once(rgb)?;
            self.settled |= is_near || tries == MAX_TRIES;
            if self.settled {
                return Ok(frame);
            }
        }
    }

    /// The frame, and whether it is near the target; the quality is set for the next one.
    fn encode_once(&mut self, rgb: &[u8]) -> Result<(Bytes, bool), EncodeError> {
        let picture = Encoder::new(rgb, PixelLayout::Rgb, self.width, self.height);
        let file = picture
            .encode_advanced(&self.config)
            .map_err(|e| EncodeError(format!("{e:?}")))?;
        let frame = vp8_chunk(&file).ok_or_else(|| EncodeError("no VP8 chunk in the output".into()))?;
        let error = (frame.len() as f32 / self.target).ln();
        self.config.quality = (self.config.quality - error * STEP).clamp(0.0, 90.0);
        Ok((Bytes::copy_from_slice(frame), error.abs() < NEAR))
    }
}

/// The payload of the `VP8 ` chunk of a RIFF file (RFC 9649 §2.3).
fn vp8_chunk(file: &[u8]) -> Option<&[u8]> {
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WEBP" {
        return None;
    }
    let mut rest = &file[12..];
    loop {
        let size = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let payload = rest.get(8..8 + size)?;
        if &rest[..4] == b"VP8 " {
            return Some(payload);
        }
        rest = rest.get(8 + size + size % 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sources::pattern::{HEIGHT, TestPattern, WIDTH};

    #[test]
    fn a_frame_is_a_vp8_key_frame_of_the_right_size() {
        let mut pattern = TestPattern::new();
        let mut encoder = Vp8Encoder::new(WIDTH, HEIGHT, 9_000).unwrap();
        let frame = encoder.encode(pattern.draw(7, Duration::from_secs(7))).unwrap();
        // RFC 6386 §9.1: a clear lowest bit means a key frame; then the start code and two 14-bit sizes.
        assert_eq!(frame[0] & 1, 0);
        assert_eq!(&frame[3..6], &[0x9d, 0x01, 0x2a]);
        assert_eq!(u16::from_le_bytes([frame[6], frame[7]]) & 0x3fff, WIDTH as u16);
        assert_eq!(u16::from_le_bytes([frame[8], frame[9]]) & 0x3fff, HEIGHT as u16);
    }

    #[test]
    fn the_size_settles_near_the_target() {
        for target in [4_400, 6_000, 14_000] {
            let mut pattern = TestPattern::new();
            let mut encoder = Vp8Encoder::new(WIDTH, HEIGHT, target).unwrap();
            let sizes: Vec<usize> = (0..30)
                .map(|n| {
                    encoder
                        .encode(pattern.draw(n, Duration::from_millis(n * 33)))
                        .unwrap()
                        .len()
                })
                .collect();
            let mean = sizes[10..].iter().sum::<usize>() / 20;
            assert!(
                mean > target / 2 && mean < target * 3 / 2,
                "mean {mean} for {target}: {sizes:?}"
            );
        }
    }

    #[test]
    fn a_file_without_the_chunk_gives_none() {
        assert!(vp8_chunk(b"").is_none());
        assert!(vp8_chunk(b"RIFF\x04\0\0\0WEBP").is_none());
        assert!(vp8_chunk(b"RIFF\x04\0\0\0WEBPVP8L\xff\xff\xff\xff").is_none());
    }
}
