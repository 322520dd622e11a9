//! The codecs of the video, and the sizes of each.

use super::pattern::FRAME_RATE;

/// A video codec of the studio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VideoCodec {
    /// VP8, key frames alone.
    #[default]
    Vp8,
    /// H.264, Constrained Baseline; most frames need the one before.
    #[cfg(feature = "h264")]
    H264,
}

/// One size of the video.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// Bits a second, about.
    pub bps: u32,
    /// Every how manieth frame is sent.
    pub every: u64,
    /// Squares of 16 by 16 pixels of the picture in which it snows: noise, which costs what it costs, so that a rate that the plain
    /// picture does not need is made use of.
    pub snow: usize,
}

impl Rung {
    /// Frames a second.
    pub fn frame_rate(self) -> f32 {
        FRAME_RATE as f32 / self.every as f32
    }

    /// Bytes of a frame, about.
    pub fn frame_bytes(self) -> usize {
        (u64::from(self.bps) * self.every / u64::from(FRAME_RATE) / 8) as usize
    }
}

const fn rung(bps: u32, every: u64) -> Rung {
    Rung { bps, every, snow: 0 }
}

#[cfg(feature = "h264")]
const fn snowing(bps: u32, snow: usize) -> Rung {
    Rung { bps, every: 1, snow }
}

/// Key frames below some 4 kB look too poor, so the lower rungs send fewer frames instead.
const VP8: [Rung; 21] = [
    rung(115_000, 10),
    rung(140_000, 8),
    rung(166_000, 7),
    rung(200_000, 6),
    rung(241_000, 5),
    rung(290_000, 4),
    rung(350_000, 3),
    rung(415_000, 3),
    rung(490_000, 3),
    rung(580_000, 2),
    rung(680_000, 2),
    rung(800_000, 2),
    rung(950_000, 2),
    rung(1_110_000, 1),
    rung(1_300_000, 1),
    rung(1_530_000, 1),
    rung(1_800_000, 1),
    rung(2_120_000, 1),
    rung(2_500_000, 1),
    rung(2_960_000, 1),
    rung(3_500_000, 1),
];

/// With 400 kbit/s the pattern is as good as OpenH264 makes it: it takes some 350 kbit/s then, however many there are. What comes on
/// top is snow.
#[cfg(feature = "h264")]
const H264: [Rung; 21] = [
    rung(60_000, 3),
    rung(85_000, 3),
    rung(120_000, 2),
    rung(145_000, 2),
    rung(170_000, 2),
    rung(205_000, 1),
    rung(245_000, 1),
    rung(295_000, 1),
    rung(350_000, 1),
    snowing(420_000, 4),
    snowing(500_000, 7),
    snowing(600_000, 11),
    snowing(710_000, 15),
    snowing(850_000, 20),
    snowing(1_010_000, 26),
    snowing(1_210_000, 33),
    snowing(1_440_000, 42),
    snowing(1_720_000, 53),
    snowing(2_050_000, 64),
    snowing(2_440_000, 78),
    snowing(2_900_000, 95),
];

impl VideoCodec {
    /// All that this build has, as they are preferred where nobody says otherwise.
    pub const ALL: &[Self] = &[
        Self::Vp8,
        #[cfg(feature = "h264")]
        Self::H264,
    ];

    /// Its name in session descriptions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            #[cfg(feature = "h264")]
            Self::H264 => "H264",
        }
    }

    /// The codec of that name, in letters of any case.
    ///
    /// # Errors
    /// For a person: that there is none of this name, or not in this build.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|codec| codec.name().eq_ignore_ascii_case(name));
        known.copied().ok_or_else(|| {
            if name.eq_ignore_ascii_case("h264") {
                "this program was built without H.264: build it with --features h264".to_owned()
            } else {
                "vp8, or h264 in a build that has it".to_owned()
            }
        })
    }

    /// The sizes of video, smallest first. Most are a fifth larger than the one before, so that a path is filled to nine tenths in the
    /// middle; none is more than 1.45 times the one before: receivers that estimate bandwidth do not believe in more than 1.5 times what
    /// they receive, so a wider step could never be taken.
    pub fn rungs(self) -> &'static [Rung] {
        match self {
            Self::Vp8 => &VP8,
            #[cfg(feature = "h264")]
            Self::H264 => &H264,
        }
    }

    /// The rung for a path that carries `bps`: the largest that fits, or the smallest of all. An index of [`rungs`](Self::rungs).
    pub fn rung_for(self, bps: u64) -> usize {
        let fitting = self.rungs().iter().rposition(|rung| u64::from(rung.bps) <= bps);
        fitting.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_fits_the_path() {
        for &codec in VideoCodec::ALL {
            let rungs = codec.rungs();
            assert_eq!(codec.rung_for(0), 0);
            assert_eq!(codec.rung_for(u64::MAX), rungs.len() - 1);
            for (index, pair) in rungs.windows(2).enumerate() {
                let ratio = f64::from(pair[1].bps) / f64::from(pair[0].bps);
                assert!(ratio > 1.0 && ratio <= 1.46, "{pair:?}");
                assert_eq!(codec.rung_for(u64::from(pair[1].bps) - 1), index);
                assert_eq!(codec.rung_for(u64::from(pair[1].bps)), index + 1);
            }
        }
    }

    #[test]
    fn codecs_have_names() {
        assert_eq!(VideoCodec::named("vp8"), Ok(VideoCodec::Vp8));
        assert!(VideoCodec::named("av1").is_err());
        assert_eq!(VideoCodec::named("H264").is_ok(), cfg!(feature = "h264"));
    }
}
