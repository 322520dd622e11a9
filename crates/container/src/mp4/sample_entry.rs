//! Sample entries (ISO/IEC 14496-12 §8.5.2): which codec, and what its decoder is told.

use super::boxes::{Name, Part, put, put_full, put_u16, put_u32, put_zeros};
use crate::MAX_CONFIGURATION_BYTES;
use crate::codec::{h264, h265, opus, vp9};
use crate::error::{ReadError, WriteError};
use crate::track::{Codec, Media, Rotation, Track};

/// The codec's name in an entry, and where its configuration is. The first of a codec is the one that is written.
static NAMES: [(Name, Codec, Option<Name>); 11] = [
    (*b"vp08", Codec::Vp8, Some(*b"vpcC")),
    (*b"vp09", Codec::Vp9, Some(*b"vpcC")),
    (*b"av01", Codec::Av1, Some(*b"av1C")),
    (*b"avc1", Codec::H264, Some(*b"avcC")),
    (*b"avc3", Codec::H264, Some(*b"avcC")),
    (*b"hvc1", Codec::H265, Some(*b"hvcC")),
    (*b"hev1", Codec::H265, Some(*b"hvcC")),
    (*b"Opus", Codec::Opus, Some(*b"dOps")),
    (*b"ulaw", Codec::Pcmu, None),
    (*b"alaw", Codec::Pcma, None),
    (*b"twos", Codec::L16, None),
];

/// What an entry says.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) track: Track,
    /// Of H.264 and H.265: bytes of the lengths before units, and parameter sets.
    pub(super) units: Option<(usize, Vec<u8>)>,
}

/// The first entry of `stsd`. `timescale` is the clock of codecs that have none of their own.
pub(super) fn parse(stsd: &Part<'_>, is_video: bool, rotation: Rotation, timescale: u32) -> Result<Entry, ReadError> {
    // Version and flags, and how many entries there are.
    let first = stsd.children(8).next().transpose()?;
    let entry = first.ok_or_else(|| stsd.malformed("a track without a sample entry"))?;
    let known = NAMES.iter().find(|(name, ..)| *name == entry.name);
    let codec = known.map_or_else(
        || Codec::Other(String::from_utf8_lossy(&entry.name).into_owned()),
        |(_, codec, _)| codec.clone(),
    );
    let mut fields = entry.fields();
    fields.skip(8)?;
    let (mut track, own) = if is_video {
        fields.skip(16)?;
        let mut track = Track::video(codec, fields.u16()?.into(), fields.u16()?.into());
        if let Media::Video { rotation: kept, .. } = &mut track.media {
            *kept = rotation;
        }
        (track, 78)
    } else {
        let version = fields.u16()?;
        fields.skip(6)?;
        let channels = fields.u16()?.max(1);
        fields.skip(6)?;
        let rate = u32::from(fields.u16()?);
        // QuickTime has longer entries of sound.
        let own = match version {
            1 => 28 + 16,
            2 => 28 + 36,
            _ => 28,
        };
        let rate = match &codec {
            Codec::L16 => Some(rate).filter(|rate| *rate > 0).unwrap_or(timescale),
            _ => timescale,
        };
        (Track::audio(codec, rate, channels), own)
    };
    let name = known.and_then(|(.., name)| *name);
    let mut units = None;
    if let Some(name) = name {
        let mut found = None;
        for child in entry.children(own) {
            let child = child?;
            if child.name == name {
                found = Some(child);
                break;
            }
        }
        let found = found.ok_or_else(|| entry.malformed("a sample entry without its codec's configuration"))?;
        if found.data.len() > MAX_CONFIGURATION_BYTES {
            return Err(ReadError::TooLarge {
                offset: found.offset,
                what: "a codec's configuration",
                limit: MAX_CONFIGURATION_BYTES as u64,
            });
        }
        let unread = || found.malformed("a codec's configuration cannot be read");
        units = match track.codec {
            Codec::H264 => Some(h264::parse_configuration(found.data).ok_or_else(unread)?),
            Codec::H265 => Some(h265::parse_configuration(found.data).ok_or_else(unread)?),
            _ => None,
        };
        track.configuration = match track.codec {
            Codec::Opus => opus::head_of_dops(found.data).ok_or_else(unread)?.into(),
            // Version and flags stand in front.
            Codec::Vp8 | Codec::Vp9 => found.data.get(4..).ok_or_else(unread)?.to_vec().into(),
            _ => found.data.to_vec().into(),
        };
        if let (Codec::Opus, Media::Audio { channels }) = (&track.codec, &mut track.media) {
            *channels = opus::channels(&track.configuration);
        }
    }
    Ok(Entry { track, units })
}

/// Writes the entry of a track.
pub(super) fn put_entry(track: &Track, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let refused = || WriteError::Codec {
        format: "MP4",
        codec: track.codec.to_string(),
    };
    let (name, _, configuration) = NAMES
        .iter()
        .find(|(_, codec, _)| *codec == track.codec)
        .ok_or_else(refused)?;
    let told = match track.codec {
        Codec::Opus if opus::is_head(&track.configuration) => opus::dops_of_head(&track.configuration),
        Codec::Opus => match track.media {
            Media::Audio { channels } => opus::dops_of_head(&opus::head(channels)),
            Media::Video { .. } => None,
        },
        Codec::Vp8 | Codec::Vp9 => {
            // Version 1 and flags.
            let mut vpcc = vec![1, 0, 0, 0];
            let is_told = track.codec == Codec::Vp9 && track.configuration.len() >= vp9::PLAIN.len();
            vpcc.extend_from_slice(if is_told { &track.configuration } else { &vp9::PLAIN });
            Some(vpcc)
        }
        _ => Some(track.configuration.to_vec()),
    };
    let told = told.ok_or_else(refused)?;
    let size = |pixels: u32| {
        u16::try_from(pixels).map_err(|_| WriteError::TooLarge {
            what: "a picture's width or height",
            limit: u16::MAX.into(),
        })
    };
    let shape = match track.media {
        Media::Video { width, height, .. } => Some((size(width)?, size(height)?)),
        Media::Audio { .. } => None,
    };
    put(name, out, |out| {
        // The first of the references to data.
        put_zeros(6, out);
        put_u16(1, out);
        match (shape, track.media) {
            (Some((width, height)), _) => {
                put_zeros(16, out);
                put_u16(width, out);
                put_u16(height, out);
                // 72 dots an inch, one frame a sample, no name, 24 bits.
                put_u32(0x48_0000, out);
                put_u32(0x48_0000, out);
                put_zeros(4, out);
                put_u16(1, out);
                put_zeros(32, out);
                put_u16(24, out);
                put_u16(0xffff, out);
            }
            (None, Media::Audio { channels }) => {
                put_zeros(8, out);
                put_u16(channels, out);
                put_u16(16, out);
                put_zeros(4, out);
                put_u16(u16::try_from(track.clock_rate).unwrap_or(0), out);
                put_u16(0, out);
            }
            (None, Media::Video { .. }) => {}
        }
        if let Some(name) = configuration {
            put(name, out, |out| out.extend_from_slice(&told));
        }
    });
    Ok(())
}

/// Which way a picture is turned, from the first four fields of a track's matrix that matter: a, b, c and d (§8.3.2).
pub(super) fn rotation_of(matrix: [i32; 4]) -> Rotation {
    match matrix.map(i32::signum) {
        [0, 1, -1, 0] => Rotation::Quarter,
        [-1, 0, 0, -1] => Rotation::Half,
        [0, -1, 1, 0] => Rotation::ThreeQuarters,
        _ => Rotation::None,
    }
}

/// The matrix of a track: it turns the picture, and moves it back into sight.
pub(super) fn put_matrix(rotation: Rotation, width: u32, height: u32, out: &mut Vec<u8>) {
    const ONE: i32 = 0x1_0000;
    let fixed = |pixels: u32| i32::try_from(u64::from(pixels) << 16).unwrap_or(0);
    let (w, h) = (fixed(width), fixed(height));
    let [a, b, c, d, x, y] = match rotation {
        Rotation::None => [ONE, 0, 0, ONE, 0, 0],
        Rotation::Quarter => [0, ONE, -ONE, 0, h, 0],
        Rotation::Half => [-ONE, 0, 0, -ONE, w, h],
        Rotation::ThreeQuarters => [0, -ONE, ONE, 0, 0, w],
    };
    for value in [a, b, 0, c, d, 0, x, y, 0x4000_0000] {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes a full box of version 0 without flags.
pub(super) fn put_plain(name: &Name, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    put_full(name, 0, 0, out, fill);
}
