//! The tracks of a file (RFC 9559 §5.1.4), read.

use super::ebml::{Child, children};
use super::{codecs, ids};
use crate::codec::{h264, h265, opus};
use crate::error::ReadError;
use crate::track::{Codec, Media, Rotation, Track};
use crate::{MAX_CONFIGURATION_BYTES, MAX_TRACKS};

const VIDEO: u64 = 1;
const AUDIO: u64 = 2;

/// What a track needs to be read.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) track: Track,
    /// The number that its blocks have.
    pub(super) number: u64,
    /// Nanoseconds by which its blocks are early (RFC 9559 §5.1.4.1.26).
    pub(super) delay: u64,
    /// Nanoseconds of each of its frames, if they are all alike.
    pub(super) default_duration: Option<u64>,
    /// Of H.264 and H.265: bytes of the lengths before units, and parameter sets.
    pub(super) units: Option<(usize, Vec<u8>)>,
}

/// The tracks of pictures and sound; `offset` is where `data` stands in the file.
pub(super) fn parse(data: &[u8], offset: u64) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Vec::new();
    let mut count = 0;
    for child in children(data, offset) {
        let child = child?;
        if child.id != ids::TRACK_ENTRY {
            continue;
        }
        count += 1;
        if count > MAX_TRACKS {
            return Err(ReadError::TooLarge {
                offset: child.offset,
                what: "tracks",
                limit: MAX_TRACKS as u64,
            });
        }
        entries.extend(entry(&child)?);
    }
    Ok(entries)
}

/// What stands in one entry.
#[derive(Default)]
struct Fields<'a> {
    number: u64,
    kind: u64,
    codec: String,
    private: &'a [u8],
    private_offset: u64,
    delay: u64,
    default_duration: Option<u64>,
    width: u64,
    height: u64,
    roll: f64,
    rate: Option<f64>,
    channels: Option<u64>,
    bit_depth: u64,
    encoded: bool,
}

fn fields<'a>(data: &'a [u8], offset: u64, depth: usize, fields: &mut Fields<'a>) -> Result<(), ReadError> {
    for child in children(data, offset) {
        let child = child?;
        match child.id {
            ids::TRACK_NUMBER => fields.number = child.unsigned()?,
            ids::TRACK_TYPE => fields.kind = child.unsigned()?,
            ids::CODEC_ID => fields.codec = child.text(),
            ids::CODEC_PRIVATE => (fields.private, fields.private_offset) = (child.data, child.offset),
            ids::CODEC_DELAY => fields.delay = child.unsigned()?,
            ids::DEFAULT_DURATION => fields.default_duration = Some(child.unsigned()?).filter(|ns| *ns > 0),
            ids::CONTENT_ENCODINGS => fields.encoded = true,
            ids::PIXEL_WIDTH => fields.width = child.unsigned()?,
            ids::PIXEL_HEIGHT => fields.height = child.unsigned()?,
            ids::PROJECTION_POSE_ROLL => fields.roll = child.float()?,
            ids::SAMPLING_FREQUENCY => fields.rate = Some(child.float()?),
            ids::CHANNELS => fields.channels = Some(child.unsigned()?),
            ids::BIT_DEPTH => fields.bit_depth = child.unsigned()?,
            // They stand three deep and no deeper.
            ids::VIDEO | ids::AUDIO | ids::PROJECTION if depth < 3 => {
                self::fields(child.data, child.offset, depth + 1, fields)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A track of pictures or sound; `None` for any other.
fn entry(child: &Child<'_>) -> Result<Option<Entry>, ReadError> {
    let mut found = Fields::default();
    fields(child.data, child.offset, 1, &mut found)?;
    if !matches!(found.kind, VIDEO | AUDIO) {
        return Ok(None);
    }
    if found.encoded {
        return Err(ReadError::Unsupported {
            offset: child.offset,
            what: "a track that is compressed or encrypted as a whole",
        });
    }
    if found.private.len() > MAX_CONFIGURATION_BYTES {
        return Err(ReadError::TooLarge {
            offset: found.private_offset,
            what: "a codec's configuration",
            limit: MAX_CONFIGURATION_BYTES as u64,
        });
    }
    let codec = codecs::of_id(&found.codec, found.private, found.bit_depth);
    let mut track = if found.kind == VIDEO {
        let size = |pixels: u64| {
            let what = "a picture is too large";
            u32::try_from(pixels).map_err(|_| child.malformed(what))
        };
        let mut track = Track::video(codec, size(found.width)?, size(found.height)?);
        if let Media::Video { rotation, .. } = &mut track.media {
            // Counterclockwise (RFC 9559 §5.1.4.1.28.46).
            let turns = (-found.roll / 90.0).round().rem_euclid(4.0);
            *rotation = Rotation::of_quarter_turns(turns as u8);
        }
        track
    } else {
        let rate = found.rate.unwrap_or(8_000.0);
        if !(1.0..=f64::from(u32::MAX)).contains(&rate) {
            return Err(child.malformed("a sampling frequency is no frequency"));
        }
        let channels = u16::try_from(found.channels.unwrap_or(1))
            .ok()
            .filter(|channels| *channels > 0);
        let channels = channels.ok_or_else(|| child.malformed("a number of channels is none"))?;
        Track::audio(codec, rate as u32, channels)
    };
    let units = match track.codec {
        Codec::H264 => Some(h264::parse_configuration(found.private)),
        Codec::H265 => Some(h265::parse_configuration(found.private)),
        _ => None,
    };
    let units = match units {
        Some(None) => {
            return Err(ReadError::Malformed {
                offset: found.private_offset,
                what: "a codec's configuration cannot be read",
            });
        }
        Some(units) => units,
        None => None,
    };
    match track.codec {
        // Those of Microsoft's and of VP9 are not as elsewhere.
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 | Codec::Vp8 | Codec::Vp9 => {}
        Codec::Opus if !opus::is_head(found.private) => {}
        _ => track.configuration = found.private.to_vec().into(),
    }
    Ok(Some(Entry {
        track,
        number: found.number,
        delay: found.delay,
        default_duration: found.default_duration,
        units,
    }))
}
