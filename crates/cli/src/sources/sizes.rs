//! The pattern in several sizes at once, for who sends simulcast: each picture is drawn once, made smaller, and encoded for each size that
//! is wanted.

use std::time::Duration;

use bytes::Bytes;

use super::EncodeError;
use super::pattern::{FRAME_RATE, HEIGHT, TestPattern, WIDTH};
use super::vp8::Vp8Encoder;

/// One size of the picture.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its name on the wire, as browsers' users call theirs.
    pub rid: &'static str,
    /// By how much it is smaller than the whole picture in each direction: 1, 2 or 4.
    pub down: usize,
    /// Bits a second that it takes at most.
    pub max_bitrate: u64,
    /// A frame of fewer bytes looks too poor: fewer frames are sent instead.
    least: usize,
}

impl Size {
    /// Pixels across and down.
    pub fn pixels(&self) -> (usize, usize) {
        (WIDTH / self.down, HEIGHT / self.down)
    }
}

/// The sizes, largest first: a server that takes no simulcast gets the first alone.
pub const SIZES: [Size; 3] = [
    Size {
        rid: "h",
        down: 1,
        max_bitrate: 2_500_000,
        least: 4000,
    },
    Size {
        rid: "m",
        down: 2,
        max_bitrate: 700_000,
        least: 1800,
    },
    Size {
        rid: "l",
        down: 4,
        max_bitrate: 250_000,
        least: 800,
    },
];

/// What is wanted of a size.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its place in [`SIZES`].
    pub size: usize,
    /// Bits a second that it may take.
    pub bps: u64,
    /// Frames a second at most; `None`: as many as the pattern has.
    pub max_framerate: Option<f64>,
}

impl Wanted {
    /// Every how manieth picture is encoded, and towards how many bytes.
    fn plan(&self) -> (u64, usize) {
        let size = &SIZES[self.size];
        let bytes = self.bps.min(size.max_bitrate) as f64 / 8.0;
        let rate = f64::from(FRAME_RATE);
        let most = self.max_framerate.unwrap_or(rate).clamp(0.1, rate);
        let affordable = (bytes / size.least as f64).clamp(0.1, most);
        let every = (rate / affordable).ceil() as u64;
        (every, (bytes * every as f64 / rate) as usize)
    }
}

/// Draws and encodes.
#[derive(Debug, Default)]
pub struct Sizes {
    pattern: TestPattern,
    encoders: [Option<Vp8Encoder>; SIZES.len()],
}

impl Sizes {
    /// Picture `number`, seen at `clock` (time of day, UTC), in those of the sizes that are wanted and due: the place of each in [`SIZES`],
    /// and its VP8, which is always a key frame.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn paint(
        &mut self,
        number: u64,
        clock: Duration,
        wanted: &[Wanted],
    ) -> Result<Vec<(usize, Bytes)>, EncodeError> {
        let plans = wanted.iter().map(|wanted| (wanted.size, wanted.plan()));
        let due: Vec<_> = plans.filter(|(_, (every, _))| number.is_multiple_of(*every)).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut picture = self.pattern.draw(number, clock).to_vec();
        let mut coded = Vec::with_capacity(due.len());
        for (place, size) in SIZES.iter().enumerate() {
            let (width, height) = size.pixels();
            if place > 0 {
                picture = halved(&picture, width, height);
            }
            let Some((_, (_, bytes))) = due.iter().find(|(own, _)| *own == place) else {
                continue;
            };
            let encoder = match &mut self.encoders[place] {
                Some(encoder) => encoder,
                none => none.insert(Vp8Encoder::new(width, height, *bytes)?),
            };
            encoder.aim(*bytes);
            coded.push((place, encoder.encode(&picture)?));
        }
        Ok(coded)
    }
}

/// A picture of half the size in each direction, `width` x `height` pixels: each is the mean of four.
fn halved(picture: &[u8], width: usize, height: usize) -> Vec<u8> {
    let line = 2 * width * 3;
    let mut half = Vec::with_capacity(width * height * 3);
    for two in picture.chunks_exact(2 * line).take(height) {
        let (upper, lower) = two.split_at(line);
        for (up, low) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for colour in 0..3 {
                let sum = [up[colour], up[colour + 3], low[colour], low[colour + 3]].map(u16::from);
                half.push((sum.iter().sum::<u16>() / 4) as u8);
            }
        }
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(size: usize, bps: u64) -> Wanted {
        Wanted {
            size,
            bps,
            max_framerate: None,
        }
    }

    /// RFC 6386 §9.1: two sizes of 14 bits behind the start code.
    fn pixels(frame: &[u8]) -> (usize, usize) {
        let number = |at: usize| usize::from(u16::from_le_bytes([frame[at], frame[at + 1]]) & 0x3fff);
        (number(6), number(8))
    }

    #[test]
    fn each_size_has_its_pixels_and_its_bits() {
        let mut sizes = Sizes::default();
        let all = [wanted(0, 2_000_000), wanted(1, 600_000), wanted(2, 200_000)];
        let mut bytes = [0; 3];
        for number in 0..90 {
            for (place, frame) in sizes.paint(number, Duration::from_millis(33 * number), &all).unwrap() {
                assert_eq!(pixels(&frame), SIZES[place].pixels());
                // The quality needs a moment.
                bytes[place] += if number < 30 { 0 } else { frame.len() };
            }
        }
        for (place, bytes) in bytes.into_iter().enumerate() {
            let part = bytes as f64 * 8.0 / 2.0 / all[place].bps as f64;
            assert!((0.7..1.3).contains(&part), "{place}: {part}");
        }
    }

    #[test]
    fn little_means_fewer_frames_and_none_is_drawn_for_nobody() {
        let mut sizes = Sizes::default();
        let count = |wanted: Wanted, sizes: &mut Sizes| -> usize {
            (0..30)
                .map(|number| sizes.paint(number, Duration::ZERO, &[wanted]).unwrap().len())
                .sum()
        };
        assert_eq!(count(wanted(0, 2_000_000), &mut sizes), 30);
        assert_eq!(count(wanted(0, 320_000), &mut sizes), 10);
        let slow = Wanted {
            max_framerate: Some(5.0),
            ..wanted(2, 250_000)
        };
        assert_eq!(count(slow, &mut sizes), 5);
        assert!(sizes.paint(0, Duration::ZERO, &[]).unwrap().is_empty());
    }

    #[test]
    fn a_pixel_is_the_mean_of_four() {
        let picture = [
            [10, 0, 0],
            [20, 0, 0],
            [0, 0, 9],
            [0, 0, 9],
            [30, 0, 4],
            [40, 0, 4],
            [0, 0, 9],
            [0, 0, 9],
        ];
        assert_eq!(halved(&picture.concat(), 2, 1), [25, 0, 2, 0, 0, 9]);
    }
}
