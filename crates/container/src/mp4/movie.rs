//! The movie box (ISO/IEC 14496-12 §8.2): tracks, how their times count, and what fragments may leave out.

use super::boxes::Part;
use super::sample_entry::{self, Entry};
use super::tables::Tables;
use crate::MAX_TRACKS;
use crate::error::ReadError;
use crate::track::{Rotation, rescale};

/// One track of pictures or sound.
#[derive(Debug)]
pub(super) struct MovieTrack {
    pub(super) id: u32,
    /// Ticks of its times in a second.
    pub(super) timescale: u32,
    /// What is taken from each time, in those ticks, so that the presentation begins at zero (§8.6.6).
    pub(super) start: i64,
    pub(super) entry: Entry,
    pub(super) tables: Tables,
    pub(super) defaults: Defaults,
}

/// What holds for samples of fragments that do not say otherwise (§8.8.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// The tracks of `moov`.
pub(super) fn parse(moov: &Part<'_>) -> Result<Vec<MovieTrack>, ReadError> {
    let mut header = moov.must(b"mvhd", "a movie without its header")?.fields();
    let (version, _) = header.version()?;
    header.skip(if version == 0 { 8 } else { 16 })?;
    let timescale = header.u32()?.max(1);
    let (mut tracks, mut count) = (Vec::<MovieTrack>::new(), 0);
    let mut defaults = Vec::new();
    for part in moov.children(0) {
        let part = part?;
        match &part.name {
            b"trak" => {
                count += 1;
                if count > MAX_TRACKS {
                    return Err(ReadError::TooLarge {
                        offset: part.offset,
                        what: "tracks",
                        limit: MAX_TRACKS as u64,
                    });
                }
                tracks.extend(track(&part, timescale)?);
            }
            b"mvex" => {
                for trex in part.children(0).take(MAX_TRACKS + 8) {
                    let trex = trex?;
                    if &trex.name == b"trex" {
                        let mut fields = trex.fields();
                        fields.skip(4)?;
                        let id = fields.u32()?;
                        fields.skip(4)?;
                        let (duration, size, flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
                        defaults.push((id, Defaults { duration, size, flags }));
                    }
                }
            }
            _ => {}
        }
    }
    for (id, defaults) in defaults {
        if let Some(track) = tracks.iter_mut().find(|track| track.id == id) {
            track.defaults = defaults;
        }
    }
    Ok(tracks)
}

/// A track; `None` if it is neither pictures nor sound.
fn track(trak: &Part<'_>, movie_timescale: u32) -> Result<Option<MovieTrack>, ReadError> {
    let (id, rotation) = header(&trak.must(b"tkhd", "a track without its header")?)?;
    let mdia = trak.must(b"mdia", "a track without its media")?;
    let mut handler = mdia.must(b"hdlr", "a track without its handler")?.fields();
    handler.skip(8)?;
    let is_video = match &handler.array::<4>()? {
        b"vide" => true,
        b"soun" => false,
        _ => return Ok(None),
    };
    let mdhd = mdia.must(b"mdhd", "a track without its media header")?;
    let mut fields = mdhd.fields();
    let (version, _) = fields.version()?;
    fields.skip(if version == 0 { 8 } else { 16 })?;
    let timescale = fields.u32()?;
    if timescale == 0 {
        return Err(mdhd.malformed("a track's clock stands"));
    }
    let minf = mdia.must(b"minf", "a track without its media information")?;
    let stbl = minf.must(b"stbl", "a track without its sample table")?;
    let stsd = stbl.must(b"stsd", "a track without its sample description")?;
    let entry = sample_entry::parse(&stsd, is_video, rotation, timescale)?;
    let start = match trak.child(b"edts")? {
        Some(edts) => match edts.child(b"elst")? {
            Some(elst) => edit(&elst, movie_timescale, timescale)?,
            None => 0,
        },
        None => 0,
    };
    Ok(Some(MovieTrack {
        id,
        timescale,
        start,
        tables: Tables::parse(&stbl, &entry.track)?,
        entry,
        defaults: Defaults::default(),
    }))
}

/// Id and rotation of a track (§8.3.2).
fn header(tkhd: &Part<'_>) -> Result<(u32, Rotation), ReadError> {
    let mut fields = tkhd.fields();
    let (version, _) = fields.version()?;
    fields.skip(if version == 0 { 8 } else { 16 })?;
    let id = fields.u32()?;
    fields.skip(if version == 0 { 8 } else { 12 })?;
    fields.skip(16)?;
    let mut value = || fields.u32().map(|value| value as i32);
    let (a, b, _, c, d) = (value()?, value()?, value()?, value()?, value()?);
    Ok((id, sample_entry::rotation_of([a, b, c, d])))
}

/// What is taken from each time: the media's time at which the presentation begins, less what it waits before (§8.6.6). Of what is
/// edited further on nothing is known here.
fn edit(elst: &Part<'_>, movie_timescale: u32, timescale: u32) -> Result<i64, ReadError> {
    /// Edits that are looked at: an empty one or two, and the first that is not.
    const MAX_EDITS: u32 = 8;
    let mut fields = elst.fields();
    let (version, _) = fields.version()?;
    let count = fields.u32()?;
    let mut wait = 0u64;
    for _ in 0..count.min(MAX_EDITS) {
        let duration = fields.long(version)?;
        let time = match version {
            0 => i64::from(fields.u32()? as i32),
            _ => i64::from_be_bytes(fields.array()?),
        };
        fields.skip(4)?;
        if time >= 0 {
            let wait = i64::try_from(wait).unwrap_or(0);
            return Ok(time.saturating_sub(rescale(wait, movie_timescale.into(), timescale.into())));
        }
        wait = wait.saturating_add(duration);
    }
    Ok(0)
}
