//! AV1 as OBUs: the low-overhead format (AV1 specification, Section 5) and the length-delimited one (its Annex B). Neither has times:
//! frames come at 30 a second.

use std::io::{Read, Seek, Write};

use antiphon_rtp::bitstream::av1::kind::TEMPORAL_DELIMITER;
use antiphon_rtp::bitstream::av1::{ObuHeader, is_key_frame, leb128};

use crate::MAX_SAMPLE_BYTES;
use crate::annex_b::{DEFAULT_RATE, frame_time};
use crate::codec::av1;
use crate::error::{ReadError, WriteError};
use crate::input::Input;
use crate::track::{Codec, Sample, Track};

/// The first bytes of a file of either format: it begins with a temporal delimiter.
pub(crate) fn is_start(first: &[u8]) -> bool {
    first.starts_with(&av1::DELIMITER) || is_delimited(first)
}

/// Whether the lengths of Annex B stand in front: of the temporal unit, of the frame unit, and of the delimiter.
fn is_delimited(first: &[u8]) -> bool {
    let inner = || {
        let (unit, rest) = leb128(first)?;
        let (frame, rest) = leb128(rest)?;
        Some((unit, frame, rest))
    };
    match inner() {
        Some((unit, frame, [1, 0x10, ..])) => frame >= 2 && unit > frame,
        Some((unit, frame, [2, 0x12, 0, ..])) => frame >= 3 && unit > frame,
        _ => false,
    }
}

/// Reads OBUs.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: [Track; 1],
    delimited: bool,
    frames: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        let mut first = [0; 64];
        let len = input.peek(&mut first)?;
        let mut reader = Self {
            input,
            tracks: [Track::video(Codec::Av1, 0, 0)],
            delimited: !first[..len].starts_with(&av1::DELIMITER),
            frames: 0,
        };
        if let Ok(Some(sample)) = reader.next_sample()
            && let Some(track) = Track::of_key_frame(Codec::Av1, &sample.data)
        {
            reader.tracks = [track];
        }
        reader.rewind()?;
        Ok(reader)
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        self.frames = 0;
        self.input.seek(0)
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        loop {
            if self.input.is_at_end() {
                return Ok(None);
            }
            let offset = self.input.position();
            let unit = match self.delimited {
                true => self.delimited_unit()?,
                false => self.plain_unit()?,
            };
            let what = "an OBU is cut";
            let data = av1::plain(&unit).ok_or(ReadError::Malformed { offset, what })?;
            // A delimiter alone shows nothing.
            if data.is_empty() {
                continue;
            }
            let time = frame_time(self.frames, DEFAULT_RATE);
            self.frames += 1;
            return Ok(Some(Sample {
                track: 0,
                time,
                duration: u32::try_from(frame_time(self.frames, DEFAULT_RATE) - time).ok(),
                key_frame: is_key_frame(&data),
                data: data.into(),
            }));
        }
    }

    /// OBUs up to the next temporal delimiter.
    fn plain_unit(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut unit = Vec::new();
        while !self.input.is_at_end() {
            let offset = self.input.position();
            let mut head = [0; 10];
            let len = self.input.peek(&mut head)?;
            let what = "an OBU's header";
            let header = ObuHeader::parse(&head[..len]).ok_or(ReadError::Malformed { offset, what })?;
            if !header.has_size {
                let what = "an OBU has no size";
                return Err(ReadError::Malformed { offset, what });
            }
            let size = head[..len].get(header.len..).and_then(leb128);
            let (size, behind) = size.ok_or(ReadError::Malformed { offset, what })?;
            let is_delimiter = header.kind == TEMPORAL_DELIMITER;
            if is_delimiter && !unit.is_empty() {
                break;
            }
            let total = (len - behind.len() + size) as u64;
            if unit.len() as u64 + total > MAX_SAMPLE_BYTES as u64 {
                return Err(ReadError::TooLarge {
                    offset,
                    what: "a temporal unit",
                    limit: MAX_SAMPLE_BYTES as u64,
                });
            }
            let obu = self.input.take(total, "an OBU", MAX_SAMPLE_BYTES)?;
            if !is_delimiter {
                unit.extend_from_slice(&obu);
            }
        }
        Ok(unit)
    }

    /// AV1 Annex B.2: the lengths of the unit, of each of its frames, and of each of their OBUs, which may lack a size field.
    fn delimited_unit(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut head = [0; 8];
        let len = self.input.peek(&mut head)?;
        let what = "a temporal unit's length";
        let (size, behind) = leb128(&head[..len]).ok_or_else(|| self.input.malformed(what))?;
        self.input.skip((len - behind.len()) as u64, what)?;
        let offset = self.input.position();
        let unit = self.input.take(size as u64, "a temporal unit", MAX_SAMPLE_BYTES)?;
        let split = || {
            let (mut out, mut rest) = (Vec::with_capacity(unit.len()), &unit[..]);
            while !rest.is_empty() {
                let mut frame = take_sized(&mut rest)?;
                while !frame.is_empty() {
                    let mut sized = av1::plain(take_sized(&mut frame)?)?;
                    out.append(&mut sized);
                }
            }
            Some(out)
        };
        split().ok_or(ReadError::Malformed {
            offset,
            what: "the lengths in a temporal unit do not fit",
        })
    }
}

/// The bytes behind a length.
fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, behind) = leb128(rest)?;
    let (taken, after) = behind.split_at_checked(size)?;
    *rest = after;
    Some(taken)
}

/// Writes OBUs in the low-overhead format.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
}

impl<W: Write + Seek> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    pub(crate) fn write(&mut self, track: &Track, sample: &Sample) -> Result<(), WriteError> {
        let unit = av1::delimited(&sample.data).ok_or_else(|| WriteError::Sample {
            codec: track.codec.to_string(),
        })?;
        Ok(self.out.write_all(&unit)?)
    }

    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush()?;
        Ok(self.out)
    }
}
