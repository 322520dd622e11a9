//! What is in a file: tracks and samples, in one shape for all formats.

use bytes::Bytes;

/// An encoding, by its name in `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// RFC 6386. A sample is a frame.
    Vp8,
    /// A sample is a frame or superframe.
    Vp9,
    /// A sample is a temporal unit: OBUs that all have a size field, without temporal delimiters.
    Av1,
    /// A sample is an access unit in the byte stream format (Annex B), with start codes of four bytes. Key frames begin with their
    /// parameter sets.
    H264,
    /// As H.264.
    H265,
    /// RFC 6716. A sample is a packet.
    Opus,
    /// G.711, mu-law. A sample is some milliseconds of it, one byte for each channel and instant.
    Pcmu,
    /// G.711, A-law, as PCMU.
    Pcma,
    /// G.722 at 64 kbit/s. Its clock is 8000 Hz, though it samples 16 000 times a second (RFC 3551 §4.5.2).
    G722,
    /// Linear sound, 16 bits, most significant byte first (RFC 3551 §4.5.11).
    L16,
    /// One that is not known here: the name that the file gives it. Its samples are as the file has them.
    Other(String),
}

/// The codecs that have a name.
static KNOWN: [(&str, Codec); 10] = [
    ("VP8", Codec::Vp8),
    ("VP9", Codec::Vp9),
    ("AV1", Codec::Av1),
    ("H264", Codec::H264),
    ("H265", Codec::H265),
    ("opus", Codec::Opus),
    ("PCMU", Codec::Pcmu),
    ("PCMA", Codec::Pcma),
    ("G722", Codec::G722),
    ("L16", Codec::L16),
];

impl Codec {
    /// The codec of an encoding name, compared without case.
    pub fn of_name(name: &str) -> Self {
        let known = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or_else(|| Self::Other(name.to_owned()), |(_, codec)| codec.clone())
    }

    /// The name in `a=rtpmap`, or that of the file.
    pub fn name(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => KNOWN
                .iter()
                .find(|(_, codec)| codec == known)
                .map_or("", |(name, _)| *name),
        }
    }

    /// The RTP clock, in ticks a second, where the codec has only one.
    pub fn clock_rate(&self) -> Option<u32> {
        match self {
            Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 | Self::H265 => Some(90_000),
            Self::Opus => Some(48_000),
            Self::Pcmu | Self::Pcma | Self::G722 => Some(8_000),
            Self::L16 | Self::Other(_) => None,
        }
    }

    /// Whether it is one of pictures that is known here.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 | Self::H265)
    }

    /// How many bytes one instant of one channel takes, for sound that is stored as plain numbers.
    pub(crate) fn bytes_per_instant(&self) -> Option<u32> {
        match self {
            Self::Pcmu | Self::Pcma => Some(1),
            Self::L16 => Some(2),
            _ => None,
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How a picture is to be turned before it is shown, clockwise. What RFC 7742 §5 and 3GPP TS 26.114 carry in RTP as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// As it is.
    #[default]
    None,
    /// By 90 degrees.
    Quarter,
    /// By 180 degrees.
    Half,
    /// By 270 degrees.
    ThreeQuarters,
}

impl Rotation {
    /// From quarter turns, clockwise; only the lowest two bits count.
    pub fn of_quarter_turns(turns: u8) -> Self {
        [Self::None, Self::Quarter, Self::Half, Self::ThreeQuarters][usize::from(turns & 3)]
    }

    /// Quarter turns, clockwise: 0 to 3.
    pub fn quarter_turns(self) -> u8 {
        self as u8
    }

    /// Degrees, clockwise: 0, 90, 180 or 270.
    pub fn degrees(self) -> u16 {
        u16::from(self.quarter_turns()) * 90
    }
}

/// What a track shows or lets hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// Pictures.
    Video {
        /// Width of the picture as it is encoded, in pixels; 0 if it is not known.
        width: u32,
        /// Height of the picture as it is encoded, in pixels; 0 if it is not known.
        height: u32,
        /// How it is to be turned.
        rotation: Rotation,
    },
    /// Sound.
    Audio {
        /// Channels, from 1.
        channels: u16,
    },
}

/// One track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The encoding of its samples.
    pub codec: Codec,
    /// Ticks a second, in which the times of samples count: the codec's RTP clock where it has one, else the file's.
    pub clock_rate: u32,
    /// Pictures or sound.
    pub media: Media,
    /// What a decoder is told before the first sample: the body of the box `avcC`, `hvcC`, `av1C` or `vpcC` (without version and
    /// flags), or the header packet of Opus (`OpusHead`, RFC 7845 §5.1). Empty where there is none.
    pub configuration: Bytes,
}

impl Track {
    /// A track of sound with the codec's own clock. `clock_rate` counts for codecs without.
    pub fn audio(codec: Codec, clock_rate: u32, channels: u16) -> Self {
        Self {
            clock_rate: codec.clock_rate().unwrap_or(clock_rate),
            codec,
            media: Media::Audio { channels },
            configuration: Bytes::new(),
        }
    }

    /// A track of pictures, not turned, with the clock of 90 kHz and without a configuration.
    pub fn video(codec: Codec, width: u32, height: u32) -> Self {
        Self {
            codec,
            clock_rate: 90_000,
            media: Media::Video {
                width,
                height,
                rotation: Rotation::None,
            },
            configuration: Bytes::new(),
        }
    }

    /// Whether it shows pictures.
    pub fn is_video(&self) -> bool {
        matches!(self.media, Media::Video { .. })
    }

    /// How the picture is to be turned; of sound, not at all.
    pub fn rotation(&self) -> Rotation {
        match self.media {
            Media::Video { rotation, .. } => rotation,
            Media::Audio { .. } => Rotation::None,
        }
    }
}

/// One encoded frame, or packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its track, as an index into the tracks of the file.
    pub track: usize,
    /// When it is shown or heard, in ticks of the track's clock from the file's beginning. Samples of one track come in the order of
    /// decoding, so that it may go back where pictures are reordered. Negative for what a decoder needs and nobody hears.
    pub time: i64,
    /// How long it lasts, in ticks of the track's clock; `None` if the file does not say.
    pub duration: Option<u32>,
    /// Whether it can be decoded without another one. Sound always can.
    pub key_frame: bool,
    /// The encoded bytes, in the form that [`Codec`] tells for each.
    pub data: Bytes,
}

/// `value` of a clock with `from` ticks a second, in one with `to`, rounded to the nearest.
pub(crate) fn rescale(value: i64, from: u64, to: u64) -> i64 {
    if from == to || from == 0 {
        return value;
    }
    let (from, product) = (i128::from(from), i128::from(value) * i128::from(to));
    let rounded = (product + from.div_euclid(2)).div_euclid(from);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_clocks_to_the_nearest_tick() {
        assert_eq!(rescale(33, 1_000, 90_000), 2_970);
        assert_eq!(rescale(-312, 48_000, 1_000), -6);
        assert_eq!(rescale(-313, 48_000, 1_000), -7);
        assert_eq!(rescale(1, 15_360, 90_000), 6);
        assert_eq!(rescale(i64::MAX, 1, 90_000), i64::MAX);
    }

    #[test]
    fn codecs_have_the_names_of_rtpmap() {
        for (name, codec) in &KNOWN {
            assert_eq!(Codec::of_name(&name.to_uppercase()), *codec);
            assert_eq!(codec.name(), *name);
        }
        assert_eq!(Codec::of_name("mp4a").name(), "mp4a");
        assert_eq!(Rotation::of_quarter_turns(7).degrees(), 270);
    }
}
