//! Movie fragments (ISO/IEC 14496-12 §8.8), read: runs of samples, kept as the file has them.

use std::collections::VecDeque;

use bytes::Bytes;

use super::boxes::{Fields, Part};
use super::movie::{Defaults, MovieTrack};
use super::tables::Place;
use crate::error::ReadError;

/// Runs of one fragment.
const MAX_RUNS: usize = 16_384;
/// `sample_is_non_sync_sample` (§8.8.3.1).
const NOT_SYNC: u32 = 0x1_0000;

/// What is left of a run of samples.
#[derive(Clone, Debug)]
struct Run {
    /// The fields of the samples, one after another.
    fields: Bytes,
    flags: u32,
    left: u32,
    /// Flags of the first sample, as long as it is to come.
    first_flags: Option<u32>,
    defaults: Defaults,
    offset: u64,
    decode: i64,
}

impl Run {
    /// The next sample without going on to it; `None` at the end.
    fn peek(&self) -> Option<Place> {
        if self.left == 0 {
            return None;
        }
        let mut rest = &self.fields[..];
        let mut field = |bit: u32, default: u32| match self.flags & bit {
            0 => Some(default),
            _ => {
                let (value, after) = rest.split_first_chunk()?;
                rest = after;
                Some(u32::from_be_bytes(*value))
            }
        };
        let duration = field(0x100, self.defaults.duration)?;
        let size = field(0x200, self.defaults.size)?;
        let flags = field(0x400, self.first_flags.unwrap_or(self.defaults.flags))?;
        let later = field(0x800, 0)?;
        Some(Place {
            offset: self.offset,
            size: size.into(),
            decode: self.decode,
            // Version 0 has no signs, but files of it do.
            later: i64::from(later as i32),
            duration,
            key_frame: flags & NOT_SYNC == 0,
        })
    }

    fn advance(&mut self, place: &Place) {
        let len = 4 * (self.flags & 0xf00).count_ones() as usize;
        let _ = self.fields.split_to(len.min(self.fields.len()));
        self.left -= 1;
        self.first_flags = None;
        self.offset = self.offset.saturating_add(place.size);
        self.decode = self.decode.saturating_add(place.duration.into());
    }
}

/// The runs of the fragment that is being read, and where each track is.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// By track.
    runs: Vec<VecDeque<Run>>,
    /// When the next sample of a track is decoded, where a fragment does not say.
    decode: Vec<i64>,
}

impl Fragments {
    pub(super) fn new(tracks: usize) -> Self {
        Self {
            runs: (0..tracks).map(|_| VecDeque::new()).collect(),
            decode: vec![0; tracks],
        }
    }

    /// The next sample of a track.
    pub(super) fn peek(&self, track: usize) -> Option<Place> {
        self.runs.get(track)?.front()?.peek()
    }

    /// Goes on past `place`.
    pub(super) fn advance(&mut self, track: usize, place: &Place) {
        let Some(runs) = self.runs.get_mut(track) else { return };
        if let Some(run) = runs.front_mut() {
            run.advance(place);
            self.decode[track] = run.decode;
        }
        while runs.front().is_some_and(|run| run.left == 0) {
            runs.pop_front();
        }
    }

    /// Takes in `moof`, which begins at `start`. `len` is the file's length.
    pub(super) fn take(
        &mut self,
        moof: &Part<'_>,
        contents: &Bytes,
        start: u64,
        len: u64,
        tracks: &[MovieTrack],
    ) -> Result<(), ReadError> {
        let mut count = 0;
        // §8.8.7: without a flag, data follows that of the track fragment before.
        let mut next = start;
        for traf in moof.children(0) {
            let traf = traf?;
            if &traf.name != b"traf" {
                continue;
            }
            let tfhd = traf.must(b"tfhd", "a track fragment without its header")?;
            let mut fields = tfhd.fields();
            let (_, flags) = fields.version()?;
            let id = fields.u32()?;
            let known = tracks.iter().position(|track| track.id == id);
            let mut defaults = known.map_or(Defaults::default(), |index| tracks[index].defaults);
            let mut base = match flags & 0x2_0000 {
                0 => next,
                _ => start,
            };
            if flags & 1 != 0 {
                base = u64::from_be_bytes(fields.array()?);
            }
            let field = |fields: &mut Fields<'_>, bit: u32, value: &mut u32| {
                if flags & bit != 0 {
                    *value = fields.u32()?;
                }
                Ok::<_, ReadError>(())
            };
            field(&mut fields, 0x02, &mut 0)?;
            field(&mut fields, 0x08, &mut defaults.duration)?;
            field(&mut fields, 0x10, &mut defaults.size)?;
            field(&mut fields, 0x20, &mut defaults.flags)?;
            let Some(track) = known else { continue };
            if let Some(tfdt) = traf.child(b"tfdt")? {
                let mut fields = tfdt.fields();
                let (version, _) = fields.version()?;
                self.decode[track] =
                    i64::try_from(fields.long(version)?).map_err(|_| tfdt.malformed("a time is past all times"))?;
            }
            let mut place = Placed {
                base,
                next: base,
                decode: self.decode[track],
                defaults,
            };
            for trun in traf.children(0) {
                let trun = trun?;
                if &trun.name != b"trun" {
                    continue;
                }
                count += 1;
                if count > MAX_RUNS {
                    return Err(ReadError::TooLarge {
                        offset: trun.offset,
                        what: "runs of samples in a fragment",
                        limit: MAX_RUNS as u64,
                    });
                }
                let run = place.run(&trun, contents, len)?;
                self.runs[track].extend(Some(run).filter(|run| run.left > 0));
            }
            (self.decode[track], next) = (place.decode, place.next);
        }
        Ok(())
    }
}

/// Where the runs of a track fragment go on.
struct Placed {
    base: u64,
    next: u64,
    decode: i64,
    defaults: Defaults,
}

impl Placed {
    /// §8.8.8
    fn run(&mut self, trun: &Part<'_>, contents: &Bytes, len: u64) -> Result<Run, ReadError> {
        let mut fields = trun.fields();
        let (_, flags) = fields.version()?;
        let count = fields.u32()?;
        if flags & 1 != 0 {
            let by = i64::from(fields.u32()? as i32);
            self.next = self.base.saturating_add_signed(by);
        }
        let first_flags = match flags & 4 {
            0 => None,
            _ => Some(fields.u32()?),
        };
        let each = 4 * (flags & 0xf00).count_ones() as usize;
        let size = (count as usize).checked_mul(each);
        let what = "a run has fewer samples than it says";
        let told = size
            .and_then(|size| fields.rest.get(..size))
            .ok_or_else(|| trun.malformed(what))?;
        // Samples that say nothing of themselves must at least be there.
        if flags & 0x200 == 0
            && (u64::from(count) * u64::from(self.defaults.size) > len || self.defaults.size == 0)
            && count > 0
        {
            return Err(trun.malformed("a run has more samples than the file has bytes"));
        }
        let run = Run {
            fields: contents.slice_ref(told),
            flags,
            left: count,
            first_flags,
            defaults: self.defaults,
            offset: self.next,
            decode: self.decode,
        };
        // Where the next run goes on: over what this one says.
        if each == 0 {
            let total = i64::from(count).saturating_mul(self.defaults.duration.into());
            self.next = self
                .next
                .saturating_add(u64::from(count) * u64::from(self.defaults.size));
            self.decode = self.decode.saturating_add(total);
            return Ok(run);
        }
        let mut walk = run.clone();
        while let Some(place) = walk.peek() {
            walk.advance(&place);
        }
        (self.next, self.decode) = (walk.offset, walk.decode);
        Ok(run)
    }
}
