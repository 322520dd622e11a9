//! The formats of files, and how they are told apart.

use crate::annex_b;
use crate::obu;
use crate::track::Codec;

/// A format of files that hold tracks. (For packets as they were on the wire see [`rtpdump`](crate::rtpdump).)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// WebM and Matroska (RFC 9559): any codecs.
    WebM,
    /// MP4 (ISO/IEC 14496-12), fragmented when it is written, either way when it is read: any codecs.
    Mp4,
    /// Ogg with one stream of Opus (RFC 7845).
    Ogg,
    /// One track of video with frame times, as libvpx defines it.
    Ivf,
    /// A byte stream of H.264 (Annex B), which has no times.
    H264,
    /// A byte stream of H.265 (Annex B), which has no times.
    H265,
    /// AV1 as OBUs, low-overhead (Section 5) when it is written, that or length-delimited (Annex B) when it is read. It has no times.
    Obu,
}

impl Format {
    /// The format that a file of these first bytes has: 64 of them suffice. `None` if it is not one of these.
    pub fn of_bytes(first: &[u8]) -> Option<Self> {
        match first {
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Self::WebM),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'D', b'K', b'I', b'F', ..] => Some(Self::Ivf),
            // A box with a name that can be the first.
            [_, _, _, _, b'f', b't', b'y', b'p', ..]
            | [_, _, _, _, b's', b't', b'y', b'p', ..]
            | [_, _, _, _, b'm', b'o', b'o', b'v' | b'f', ..]
            | [_, _, _, _, b'm', b'd', b'a', b't', ..] => Some(Self::Mp4),
            _ if obu::is_start(first) => Some(Self::Obu),
            _ => match annex_b::codec_of(first)? {
                Codec::H265 => Some(Self::H265),
                _ => Some(Self::H264),
            },
        }
    }

    /// The format of an extension or a file's name, compared without case.
    pub fn of_extension(name: &str) -> Option<Self> {
        let extension = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
        Some(match &*extension {
            "webm" | "mkv" | "mka" => Self::WebM,
            "mp4" | "m4a" | "m4v" | "mov" => Self::Mp4,
            "ogg" | "opus" | "oga" => Self::Ogg,
            "ivf" => Self::Ivf,
            "h264" | "264" | "avc" => Self::H264,
            "h265" | "265" | "hevc" => Self::H265,
            "obu" | "av1" => Self::Obu,
            _ => return None,
        })
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebM => "WebM",
            Self::Mp4 => "MP4",
            Self::Ogg => "Ogg",
            Self::Ivf => "IVF",
            Self::H264 => "H.264 (Annex B)",
            Self::H265 => "H.265 (Annex B)",
            Self::Obu => "AV1 (OBU)",
        }
    }

    /// Whether a file of this format can hold the codec.
    pub fn holds(self, codec: &Codec) -> bool {
        match self {
            Self::WebM => !matches!(codec, Codec::Other(_)),
            Self::Mp4 => !matches!(codec, Codec::Other(_) | Codec::G722),
            Self::Ogg => *codec == Codec::Opus,
            Self::Ivf => codec.is_video(),
            Self::H264 => *codec == Codec::H264,
            Self::H265 => *codec == Codec::H265,
            Self::Obu => *codec == Codec::Av1,
        }
    }

    /// Whether it can say how its picture is to be turned: once, for the whole track.
    pub fn holds_rotation(self) -> bool {
        matches!(self, Self::WebM | Self::Mp4)
    }

    /// Most tracks that a file of this format holds.
    pub fn max_tracks(self) -> usize {
        match self {
            Self::WebM | Self::Mp4 => crate::MAX_TRACKS,
            _ => 1,
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes_and_their_names() {
        assert_eq!(Format::of_bytes(b"\0\0\0\x18ftypiso5"), Some(Format::Mp4));
        assert_eq!(Format::of_bytes(b"OggS\0"), Some(Format::Ogg));
        assert_eq!(Format::of_bytes(&[0, 0, 0, 1, 0x67, 0x42]), Some(Format::H264));
        assert_eq!(Format::of_bytes(&[0, 0, 1, 0x40, 1]), Some(Format::H265));
        assert_eq!(Format::of_bytes(&[0x12, 0, 0x0a, 1]), Some(Format::Obu));
        assert_eq!(Format::of_bytes(b"RIFF"), None);
        assert_eq!(Format::of_bytes(b""), None);
        assert_eq!(Format::of_extension("a.b/x.WEBM"), Some(Format::WebM));
        assert_eq!(Format::of_extension("opus"), Some(Format::Ogg));
        assert_eq!(Format::of_extension("x.txt"), None);
    }
}
