//! The tables of a plain file (ISO/IEC 14496-12 §8.6, §8.7), and a walk through them sample by sample.

use super::boxes::Part;
use crate::error::ReadError;
use crate::track::Track;

/// Where a sample is and when. A run of sound that is stored as plain numbers is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
    /// When it is decoded, in ticks of the file.
    pub(super) decode: i64,
    /// By how much it is shown later.
    pub(super) later: i64,
    pub(super) duration: u32,
    pub(super) key_frame: bool,
}

/// The tables of one track. They take as much memory as they take in the file.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// (samples, ticks of each)
    durations: Vec<(u32, u32)>,
    /// (samples, by how much each is shown later)
    offsets: Vec<(u32, i32)>,
    /// Numbers of key frames, from 1; `None` if all are.
    keys: Option<Vec<u32>>,
    sizes: Vec<u32>,
    /// The size of all of `count` samples, where they are alike.
    size: u32,
    count: u32,
    /// (first chunk, samples in each)
    runs: Vec<(u32, u32)>,
    chunks: Vec<u64>,
    /// Samples of plain numbers that are handed out as one: 20 ms of them.
    together: u32,
    cursor: Cursor,
}

/// Where the walk is.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    sample: u32,
    chunk: usize,
    run: usize,
    in_chunk: u32,
    /// Bytes of the chunk before the sample.
    bytes: u64,
    decode: i64,
    duration: (usize, u32),
    offset: (usize, u32),
    key: usize,
}

impl Tables {
    pub(super) fn parse(stbl: &Part<'_>, track: &Track) -> Result<Self, ReadError> {
        let mut tables = Self {
            together: 1,
            ..Self::default()
        };
        let pair = |entry: &[u8; 8]| {
            let [a, b, c, d, e, f, g, h] = *entry;
            (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        };
        for part in stbl.children(0) {
            let part = part?;
            let mut fields = part.fields();
            match &part.name {
                b"stts" => {
                    fields.version()?;
                    tables.durations = fields.entries()?.map(pair).collect();
                }
                b"ctts" => {
                    fields.version()?;
                    // Version 0 has no signs, but files of it do.
                    tables.offsets = fields
                        .entries()?
                        .map(pair)
                        .map(|(count, by)| (count, by as i32))
                        .collect();
                }
                b"stss" => {
                    fields.version()?;
                    tables.keys = Some(fields.entries()?.map(|entry| u32::from_be_bytes(*entry)).collect());
                }
                b"stsz" => {
                    fields.version()?;
                    tables.size = fields.u32()?;
                    if tables.size == 0 {
                        tables.sizes = fields.entries()?.map(|entry| u32::from_be_bytes(*entry)).collect();
                        tables.count = tables.sizes.len() as u32;
                    } else {
                        tables.count = fields.u32()?;
                    }
                }
                b"stz2" => {
                    return Err(ReadError::Unsupported {
                        offset: part.offset,
                        what: "a table of short sizes",
                    });
                }
                b"stsc" => {
                    fields.version()?;
                    let entries = fields.entries::<12>()?;
                    tables.runs = entries.filter_map(|entry| entry.first_chunk().map(pair)).collect();
                }
                b"stco" => {
                    fields.version()?;
                    tables.chunks = fields
                        .entries()?
                        .map(|entry| u32::from_be_bytes(*entry).into())
                        .collect();
                }
                b"co64" => {
                    fields.version()?;
                    tables.chunks = fields.entries()?.map(|entry| u64::from_be_bytes(*entry)).collect();
                }
                _ => {}
            }
        }
        if track.codec.bytes_per_instant().is_some() && tables.size > 0 {
            tables.together = (track.clock_rate / 50).max(1);
        }
        tables.settle();
        Ok(tables)
    }

    pub(super) fn rewind(&mut self) {
        self.cursor = Cursor::default();
        self.settle();
    }

    /// The next sample without going on to it.
    pub(super) fn peek(&self) -> Option<Place> {
        let cursor = &self.cursor;
        let chunk = *self.chunks.get(cursor.chunk)?;
        let (_, in_chunk) = *self.runs.get(cursor.run)?;
        if cursor.sample >= self.count || cursor.in_chunk >= in_chunk {
            return None;
        }
        let (left, duration) = match self.durations.get(cursor.duration.0) {
            Some((count, ticks)) => (count - cursor.duration.1, *ticks),
            None => (u32::MAX, 0),
        };
        let together = self
            .together
            .min(in_chunk - cursor.in_chunk)
            .min(self.count - cursor.sample)
            .min(left.max(1));
        let size = match self.size {
            0 => (*self.sizes.get(cursor.sample as usize)?).into(),
            size => u64::from(size) * u64::from(together),
        };
        let number = cursor.sample + 1;
        Some(Place {
            offset: chunk.checked_add(cursor.bytes)?,
            size,
            decode: cursor.decode,
            later: self.offsets.get(cursor.offset.0).map_or(0, |(_, by)| i64::from(*by)),
            duration: duration.saturating_mul(together),
            key_frame: self
                .keys
                .as_ref()
                .is_none_or(|keys| keys.get(cursor.key) == Some(&number)),
        })
    }

    /// Goes on past `place`, the one that [`Self::peek`] gave.
    pub(super) fn advance(&mut self, place: &Place) {
        let count = match self.size {
            0 => 1,
            size => u32::try_from(place.size / u64::from(size)).unwrap_or(1).max(1),
        };
        let cursor = &mut self.cursor;
        if place.key_frame && self.keys.is_some() {
            cursor.key += 1;
        }
        cursor.sample += count;
        cursor.in_chunk += count;
        cursor.bytes = cursor.bytes.saturating_add(place.size);
        cursor.decode = cursor.decode.saturating_add(place.duration.into());
        step(&mut cursor.duration, count, |index| {
            self.durations.get(index).map(|entry| entry.0)
        });
        step(&mut cursor.offset, count, |index| {
            self.offsets.get(index).map(|entry| entry.0)
        });
        // Key frames that stand out of order, or twice, are passed over.
        while let Some(keys) = &self.keys
            && keys.get(cursor.key).is_some_and(|key| *key <= cursor.sample)
        {
            cursor.key += 1;
        }
        self.settle();
    }

    /// To the next chunk, if this one is used up.
    fn settle(&mut self) {
        let cursor = &mut self.cursor;
        while let Some((_, in_chunk)) = self.runs.get(cursor.run)
            && cursor.in_chunk >= *in_chunk
            && cursor.chunk < self.chunks.len()
        {
            cursor.chunk += 1;
            (cursor.in_chunk, cursor.bytes) = (0, 0);
            while self
                .runs
                .get(cursor.run + 1)
                .is_some_and(|(first, _)| cursor.chunk as u64 + 1 >= u64::from(*first))
            {
                cursor.run += 1;
            }
        }
    }
}

/// Goes on by `count` in a table of runs.
fn step(place: &mut (usize, u32), count: u32, len: impl Fn(usize) -> Option<u32>) {
    place.1 = place.1.saturating_add(count);
    while let Some(run) = len(place.0)
        && place.1 >= run
    {
        *place = (place.0 + 1, place.1 - run);
    }
}
