//! Codec ids of Matroska (RFC 9559 §5.1.4.1.21 and the registry of codec mappings).

use crate::codec::opus;
use crate::track::{Codec, Media, Track};

/// Sound under a number of Microsoft's, with a `WAVEFORMATEX` as its configuration.
const ACM: &str = "A_MS/ACM";

static NAMES: [(&str, Codec); 7] = [
    ("V_VP8", Codec::Vp8),
    ("V_VP9", Codec::Vp9),
    ("V_AV1", Codec::Av1),
    ("V_MPEG4/ISO/AVC", Codec::H264),
    ("V_MPEGH/ISO/HEVC", Codec::H265),
    ("A_OPUS", Codec::Opus),
    ("A_PCM/INT/BIG", Codec::L16),
];

/// The numbers of `wFormatTag` (RFC 2361), bytes a second at a clock of 8000 Hz, and bits that one instant takes.
static ACM_NAMES: [(u16, Codec, u16); 4] = [
    (6, Codec::Pcma, 8),
    (7, Codec::Pcmu, 8),
    (0x028f, Codec::G722, 4),
    (0x0065, Codec::G722, 4),
];

/// The codec of an id and its configuration.
pub(super) fn of_id(id: &str, private: &[u8], bit_depth: u64) -> Codec {
    let other = || Codec::Other(id.to_owned());
    if id == ACM {
        let tag = private.first_chunk::<2>().map(|tag| u16::from_le_bytes(*tag));
        let known = ACM_NAMES.iter().find(|(known, ..)| Some(*known) == tag);
        return known.map_or_else(other, |(_, codec, _)| codec.clone());
    }
    match NAMES.iter().find(|(known, _)| *known == id) {
        Some((_, Codec::L16)) if bit_depth != 16 => other(),
        Some((_, codec)) => codec.clone(),
        None => other(),
    }
}

/// The id of a track's codec, and its configuration.
pub(super) fn id_of(track: &Track) -> Option<(&'static str, Vec<u8>)> {
    if let Some((id, codec)) = NAMES.iter().find(|(_, codec)| *codec == track.codec) {
        let private = match codec {
            // VP8 has none, and that of VP9 is not that of MP4.
            Codec::Vp8 | Codec::Vp9 | Codec::L16 => Vec::new(),
            Codec::Opus => opus_head(track),
            _ => track.configuration.to_vec(),
        };
        return Some((id, private));
    }
    let (tag, _, bits) = ACM_NAMES.iter().find(|(_, codec, _)| *codec == track.codec)?;
    let Media::Audio { channels } = track.media else {
        return None;
    };
    // WAVEFORMATEX: tag, channels, instants a second, bytes a second, bytes of one instant, bits of one, bytes that follow.
    let rate = sampling_rate(track);
    let mut private = tag.to_le_bytes().to_vec();
    private.extend_from_slice(&channels.to_le_bytes());
    private.extend_from_slice(&rate.to_le_bytes());
    private.extend_from_slice(&(rate * u32::from(channels) * u32::from(*bits) / 8).to_le_bytes());
    private.extend_from_slice(&(channels * (*bits / 8).max(1)).to_le_bytes());
    private.extend_from_slice(&bits.to_le_bytes());
    private.extend_from_slice(&0u16.to_le_bytes());
    Some((ACM, private))
}

/// How often the sound was measured in a second.
pub(super) fn sampling_rate(track: &Track) -> u32 {
    match track.codec {
        // RFC 3551 §4.5.2: its RTP clock is half of that.
        Codec::G722 => 16_000,
        _ => track.clock_rate,
    }
}

/// The header packet of Opus: the track's, or one with its channels.
fn opus_head(track: &Track) -> Vec<u8> {
    match (opus::is_head(&track.configuration), track.media) {
        (true, _) => track.configuration.to_vec(),
        (false, Media::Audio { channels }) => opus::head(channels),
        (false, Media::Video { .. }) => opus::head(2),
    }
}
