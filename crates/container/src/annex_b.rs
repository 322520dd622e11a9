//! Byte streams of H.264 and H.265 (Annex B of either). They have no times: frames come at the rate that the stream's parameters
//! tell, or at 30 a second.

use std::collections::VecDeque;
use std::io::{Read, Seek, Write};

use antiphon_rtp::bitstream::h264::Sps;
use bytes::{Buf, BytesMut};

use crate::MAX_SAMPLE_BYTES;
use crate::codec::{self, h264, h265, nal};
use crate::error::{ReadError, WriteError};
use crate::input::Input;
use crate::track::{Codec, Sample, Track};

/// Frames a second where nothing says.
pub(crate) const DEFAULT_RATE: (u32, u32) = (30, 1);
/// What is asked of a unit.
type Asks = fn(&[u8]) -> bool;
/// What is read at once.
const CHUNK: u64 = 64 << 10;

/// The codec that a file with this beginning has, if it begins with a start code and a unit that can be the first.
pub(crate) fn codec_of(first: &[u8]) -> Option<Codec> {
    let zeros = first.iter().take_while(|byte| **byte == 0).count();
    let [1, unit @ ..] = first.get(zeros..).filter(|_| zeros >= 2)? else {
        return None;
    };
    match unit {
        // Parameter sets, delimiters or messages of layer 0 and the lowest sub-layer: no unit of H.264 that can be the first looks so.
        [head, 1, ..] if head & 0x81 == 0 && (32..=40).contains(&h265::kind(unit)) => Some(Codec::H265),
        [head, ..] if head & 0x80 == 0 && (matches!(h264::kind(unit), 6..=9) || h264::is_slice(unit)) => {
            Some(Codec::H264)
        }
        _ => None,
    }
}

/// Reads Annex B.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: [Track; 1],
    /// Frames a second, as a fraction.
    rate: (u32, u32),
    /// Read, and not yet cut into units. Begins behind a start code, once one was found.
    buffer: BytesMut,
    /// How much of `buffer` has been searched for a start code.
    searched: usize,
    started: bool,
    /// Units of the next frame.
    units: VecDeque<Vec<u8>>,
    /// Their bytes.
    held: usize,
    frames: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        let mut first = [0; 64];
        let len = input.peek(&mut first)?;
        let codec = codec_of(&first[..len]).ok_or(ReadError::UnknownFormat)?;
        let mut track = Track::video(codec.clone(), 0, 0);
        let mut reader = Self {
            input,
            tracks: [track.clone()],
            rate: DEFAULT_RATE,
            buffer: BytesMut::new(),
            searched: 0,
            started: false,
            units: VecDeque::new(),
            held: 0,
            frames: 0,
        };
        if let Ok(Some(sample)) = reader.next_sample() {
            if let Some(found) = Track::of_key_frame(codec.clone(), &sample.data) {
                track = found;
            }
            if codec == Codec::H264 {
                let mut sets = nal::units(&sample.data).filter(|unit| h264::is_parameter_set(unit));
                let rate = sets.next().and_then(Sps::parse).and_then(|sps| sps.rate);
                reader.rate = rate.unwrap_or(DEFAULT_RATE);
            }
        }
        reader.tracks = [track];
        reader.rewind()?;
        Ok(reader)
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        self.buffer.clear();
        self.units.clear();
        (self.searched, self.started, self.held, self.frames) = (0, false, 0, 0);
        self.input.seek(0)
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        let is_h265 = self.tracks[0].codec == Codec::H265;
        let (begins, is_slice): (Asks, Asks) = match is_h265 {
            true => (h265::begins_picture, h265::is_slice),
            false => (h264::begins_picture, h264::is_slice),
        };
        let mut has_slice = self.units.iter().any(|unit| is_slice(unit));
        let next = loop {
            let Some(unit) = self.next_unit()? else { break None };
            if has_slice && begins(&unit) {
                break Some(unit);
            }
            has_slice |= is_slice(&unit);
            self.held += unit.len() + nal::START_CODE.len();
            if self.held > MAX_SAMPLE_BYTES {
                return Err(self.too_large());
            }
            self.units.push_back(unit);
        };
        if !has_slice {
            // Parameter sets alone show nothing.
            self.units.clear();
            return Ok(None);
        }
        let data = nal::to_annex_b(self.units.iter().map(Vec::as_slice));
        self.units.clear();
        self.held = next.as_ref().map_or(0, |unit| unit.len() + nal::START_CODE.len());
        self.units.extend(next);
        let sample = self.sample(data);
        self.frames += 1;
        Ok(Some(sample))
    }

    fn sample(&self, data: Vec<u8>) -> Sample {
        let at = |frame: u64| frame_time(frame, self.rate);
        let time = at(self.frames);
        Sample {
            track: 0,
            time,
            duration: u32::try_from(at(self.frames + 1) - time).ok(),
            key_frame: codec::is_key_frame(&self.tracks[0].codec, &data),
            data: data.into(),
        }
    }

    fn too_large(&self) -> ReadError {
        ReadError::TooLarge {
            offset: self.input.position(),
            what: "an access unit",
            limit: MAX_SAMPLE_BYTES as u64,
        }
    }

    /// The next unit, without start code and zeros behind it; `None` at the end.
    fn next_unit(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        loop {
            if let Some(at) = nal::next_start_code(&self.buffer, self.searched) {
                let unit = nal::trim(&self.buffer[..at]).to_vec();
                self.buffer.advance(at + 3);
                self.searched = 0;
                // What stands before the first start code is no unit.
                if std::mem::replace(&mut self.started, true) && !unit.is_empty() {
                    return Ok(Some(unit));
                }
                continue;
            }
            self.searched = self.buffer.len().saturating_sub(2);
            if self.buffer.len() > MAX_SAMPLE_BYTES {
                return Err(self.too_large());
            }
            let len = self.input.remaining().min(CHUNK);
            if len == 0 {
                let unit = nal::trim(&self.buffer).to_vec();
                self.buffer.clear();
                self.searched = 0;
                return Ok((self.started && !unit.is_empty()).then_some(unit));
            }
            let chunk = self.input.take(len, "the stream", CHUNK as usize)?;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

/// When a frame is shown, in ticks of 90 kHz, at a rate in frames a second.
pub(crate) fn frame_time(frame: u64, (rate, scale): (u32, u32)) -> i64 {
    let ticks = u128::from(frame) * 90_000 * u128::from(scale) / u128::from(rate.max(1));
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// Writes Annex B.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
}

impl<W: Write + Seek> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    pub(crate) fn write(&mut self, sample: &Sample) -> Result<(), WriteError> {
        for unit in nal::units(&sample.data) {
            self.out.write_all(&nal::START_CODE)?;
            self.out.write_all(unit)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        self.out.flush()?;
        Ok(self.out)
    }
}
