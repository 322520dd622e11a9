//! IVF, the plain container that libvpx and libaom define: a header of 32 bytes, and before each frame its length and its time.

use std::io::{Read, Seek, SeekFrom, Write};

use bytes::Bytes;

use crate::codec::{self, av1, nal};
use crate::error::{ReadError, WriteError};
use crate::input::Input;
use crate::track::{Codec, Media, Sample, Track, rescale};
use crate::{MAX_SAMPLE_BYTES, shift};

/// Codecs by their four characters.
static NAMES: [([u8; 4], Codec); 6] = [
    (*b"VP80", Codec::Vp8),
    (*b"VP90", Codec::Vp9),
    (*b"AV01", Codec::Av1),
    (*b"H264", Codec::H264),
    (*b"H265", Codec::H265),
    (*b"HEVC", Codec::H265),
];
const HEADER: usize = 32;

/// Reads IVF.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: [Track; 1],
    /// Ticks a second, as a fraction.
    rate: u32,
    scale: u32,
    first: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        const WHAT: &str = "the IVF header";
        let header: [u8; HEADER] = input.array(WHAT)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let malformed = |offset, what| Err(ReadError::Malformed { offset, what });
        let first = u64::from(half(6));
        if first < HEADER as u64 {
            return malformed(6, "the IVF header is shorter than it must be");
        }
        let codec = NAMES.iter().find(|(name, _)| header[8..12] == *name);
        let (rate, scale) = (word(16), word(20));
        if rate == 0 || scale == 0 {
            return malformed(16, "the time base of IVF is zero");
        }
        let Some((_, codec)) = codec else {
            return Err(ReadError::Unsupported {
                offset: 8,
                what: "this codec in IVF",
            });
        };
        let mut track = Track::video(codec.clone(), half(12).into(), half(14).into());
        input.skip(first - HEADER as u64, WHAT)?;
        let mut reader = Self {
            input,
            tracks: [track.clone()],
            rate,
            scale,
            first,
        };
        // What the header does not say stands in the first frame. If it is cut, that is told when it is asked for.
        if let Ok(Some(sample)) = reader.next_sample()
            && let Some(found) = codec::inspect(&track.codec, &sample.data)
        {
            track.configuration = found.configuration.into();
            if let Media::Video {
                width: width @ 0,
                height,
                ..
            } = &mut track.media
            {
                (*width, *height) = (found.size.width, found.size.height);
            }
            reader.tracks = [track];
        }
        reader.rewind()?;
        Ok(reader)
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        self.input.seek(self.first)
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        if self.input.is_at_end() {
            return Ok(None);
        }
        let header: [u8; 12] = self.input.array("a frame's header")?;
        let (length, time) = header.split_at(4);
        let length = length.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let time = time.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let offset = self.input.position();
        let data = self.input.bytes(length, "a frame", MAX_SAMPLE_BYTES)?;
        let codec = &self.tracks[0].codec;
        let data = match codec {
            Codec::Av1 => av1::plain(&data).map(Bytes::from).ok_or(ReadError::Malformed {
                offset,
                what: "the OBUs of a frame are cut",
            })?,
            Codec::H264 | Codec::H265 => nal::to_annex_b(nal::units(&data)).into(),
            _ => data,
        };
        // A time that only fits as unsigned is none.
        let time = i64::try_from(u128::from(time) * u128::from(self.scale)).unwrap_or(i64::MAX);
        Ok(Some(Sample {
            track: 0,
            time: rescale(time, self.rate.into(), 90_000),
            duration: None,
            key_frame: codec::is_key_frame(codec, &data),
            data,
        }))
    }
}

/// Writes IVF with a clock of 90 kHz.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    shift: shift::Shift,
    frames: u32,
    first: u64,
    last: u64,
}

impl<W: Write + Seek> Writer<W> {
    pub(crate) fn new(mut out: W, track: &Track) -> Result<Self, WriteError> {
        let (width, height) = match track.media {
            Media::Video { width, height, .. } => (width, height),
            Media::Audio { .. } => (0, 0),
        };
        let size = |pixels: u32| {
            u16::try_from(pixels).map_err(|_| WriteError::TooLarge {
                what: "a picture's width or height",
                limit: u16::MAX.into(),
            })
        };
        let name = NAMES.iter().find(|(_, codec)| *codec == track.codec);
        let (name, _) = name.ok_or_else(|| WriteError::Codec {
            format: "IVF",
            codec: track.codec.to_string(),
        })?;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(b"DKIF");
        header[6..8].copy_from_slice(&(HEADER as u16).to_le_bytes());
        header[8..12].copy_from_slice(name);
        header[12..14].copy_from_slice(&size(width)?.to_le_bytes());
        header[14..16].copy_from_slice(&size(height)?.to_le_bytes());
        header[16..20].copy_from_slice(&track.clock_rate.to_le_bytes());
        header[20..24].copy_from_slice(&1u32.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self {
            out,
            shift: shift::Shift::default(),
            frames: 0,
            first: 0,
            last: 0,
        })
    }

    pub(crate) fn write(&mut self, track: &Track, sample: &Sample) -> Result<(), WriteError> {
        let delimited;
        let data: &[u8] = match track.codec {
            // A temporal unit begins with its delimiter, as libaom and FFmpeg have it.
            Codec::Av1 => {
                delimited = av1::delimited(&sample.data).ok_or_else(|| WriteError::Sample {
                    codec: track.codec.to_string(),
                })?;
                &delimited
            }
            _ => &sample.data,
        };
        let time = self.shift.apply(sample.time, track.clock_rate);
        self.out.write_all(&(data.len() as u32).to_le_bytes())?;
        self.out.write_all(&time.to_le_bytes())?;
        self.out.write_all(data)?;
        if self.frames == 0 {
            (self.first, self.last) = (time, time);
        }
        self.last = self.last.max(time);
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        if self.frames > 0 {
            self.out.seek(SeekFrom::Start(24))?;
            // In units of the clock, as FFmpeg writes and reads it; libvpx, whose format this is, once meant frames, and its tools
            // do not look. The last frame is taken to last as long as the others do.
            let mean = (self.last - self.first) / u64::from(self.frames.max(2) - 1);
            let length = u32::try_from(self.last.saturating_add(mean)).unwrap_or(u32::MAX);
            self.out.write_all(&length.to_le_bytes())?;
            self.out.seek(SeekFrom::End(0))?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}
