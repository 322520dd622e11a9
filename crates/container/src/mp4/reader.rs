//! Plain and fragmented files, read.

use std::io::{Read, Seek};

use bytes::Bytes;

use super::boxes::{Header, Part, read_header};
use super::fragment::Fragments;
use super::movie::{self, MovieTrack};
use super::tables::Place;
use crate::MAX_SAMPLE_BYTES;
use crate::codec::{av1, h264, h265, nal};
use crate::error::ReadError;
use crate::input::Input;
use crate::track::{Codec, Sample, Track, rescale};

/// Bytes of the movie box: what an hour-long plain file takes is a few million.
const MAX_MOVIE_BYTES: usize = 64 << 20;
/// Bytes of a fragment's box.
const MAX_FRAGMENT_BYTES: usize = 4 << 20;

/// Reads MP4. Samples come in the order of their decoding times, whatever the order in the file.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: Vec<Track>,
    movie: Vec<MovieTrack>,
    fragments: Fragments,
    /// The box behind the movie's.
    first: u64,
    /// The next box to look at.
    next: u64,
    /// Bytes of samples that were handed out.
    handed: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        let moov = loop {
            match read_header(&mut input)? {
                Some(header) if &header.name == b"moov" => break header,
                Some(header) => input.seek(header.end)?,
                None => return Err(input.truncated("the media: where samples are was never written")),
            }
        };
        let (contents, offset) = contents(&mut input, &moov, "the movie box", MAX_MOVIE_BYTES)?;
        let part = Part {
            name: moov.name,
            data: &contents,
            offset,
        };
        let movie = movie::parse(&part)?;
        if movie.is_empty() {
            return Err(ReadError::NoTracks);
        }
        Ok(Self {
            tracks: movie.iter().map(|track| track.entry.track.clone()).collect(),
            fragments: Fragments::new(movie.len()),
            movie,
            first: input.position(),
            next: input.position(),
            input,
            handed: 0,
        })
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        for track in &mut self.movie {
            track.tables.rewind();
        }
        self.fragments = Fragments::new(self.movie.len());
        (self.next, self.handed) = (self.first, 0);
        Ok(())
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        loop {
            let Some((index, place)) = self.earliest() else {
                if self.next_fragment()? {
                    continue;
                }
                return Ok(None);
            };
            let sample = self.read(index, &place)?;
            let track = &mut self.movie[index];
            match track.tables.peek() {
                Some(_) => track.tables.advance(&place),
                None => self.fragments.advance(index, &place),
            }
            if !sample.data.is_empty() {
                return Ok(Some(sample));
            }
        }
    }

    /// Of the next samples of all tracks the one that is decoded first.
    fn earliest(&self) -> Option<(usize, Place)> {
        let nexts = self.movie.iter().enumerate().filter_map(|(index, track)| {
            let place = track.tables.peek().or_else(|| self.fragments.peek(index))?;
            Some((index, place))
        });
        // In a common clock that is finer than any of theirs.
        nexts.min_by_key(|(index, place)| {
            let track = &self.movie[*index];
            let ticks = i128::from(place.decode) - i128::from(track.start);
            (ticks << 32) / i128::from(track.timescale)
        })
    }

    /// Takes in the next fragment; `false` at the end of the file.
    fn next_fragment(&mut self) -> Result<bool, ReadError> {
        self.input.seek(self.next)?;
        while let Some(header) = read_header(&mut self.input)? {
            if &header.name != b"moof" {
                self.input.seek(header.end)?;
                self.next = self.input.position();
                continue;
            }
            let (contents, offset) = contents(&mut self.input, &header, "a fragment's box", MAX_FRAGMENT_BYTES)?;
            self.next = self.input.position();
            let contents = Bytes::from(contents);
            let part = Part {
                name: header.name,
                data: &contents,
                offset,
            };
            let len = self.input.len();
            self.fragments.take(&part, &contents, header.offset, len, &self.movie)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn read(&mut self, index: usize, place: &Place) -> Result<Sample, ReadError> {
        let offset = place.offset;
        self.handed = self.handed.saturating_add(place.size);
        if self.handed > self.input.len() {
            let what = "samples lie over each other";
            return Err(ReadError::Malformed { offset, what });
        }
        let what = "a sample";
        let is_there = offset
            .checked_add(place.size)
            .is_some_and(|end| end <= self.input.len());
        if !is_there {
            // What the tables tell of may begin behind the end.
            let offset = offset.min(self.input.len());
            return Err(ReadError::Truncated { offset, what });
        }
        self.input.seek(offset)?;
        let data = self.input.bytes(place.size, what, MAX_SAMPLE_BYTES)?;
        let movie = &self.movie[index];
        let track = &movie.entry.track;
        let key_frame = place.key_frame || !track.is_video();
        let data = match (&track.codec, &movie.entry.units) {
            (Codec::Av1, _) => av1::plain(&data).map(Bytes::from),
            (Codec::H264, Some((size, sets))) => nal::split_lengths(&data, *size).map(|units| {
                nal::access_unit(&units, key_frame, sets, h264::is_parameter_set, h264::is_delimiter).into()
            }),
            (Codec::H265, Some((size, sets))) => nal::split_lengths(&data, *size).map(|units| {
                nal::access_unit(&units, key_frame, sets, h265::is_parameter_set, h265::is_delimiter).into()
            }),
            _ => Some(data),
        };
        let what = "a sample is none of its codec";
        let data = data.ok_or(ReadError::Malformed { offset, what })?;
        let (from, to) = (movie.timescale.into(), track.clock_rate.into());
        let shown = place.decode.saturating_add(place.later).saturating_sub(movie.start);
        let duration = rescale(place.duration.into(), from, to);
        Ok(Sample {
            track: index,
            time: rescale(shown, from, to),
            duration: u32::try_from(duration).ok().filter(|duration| *duration > 0),
            key_frame,
            data,
        })
    }
}

/// The contents of a box, and where they begin.
fn contents<R: Read + Seek>(
    input: &mut Input<R>,
    header: &Header,
    what: &'static str,
    limit: usize,
) -> Result<(Vec<u8>, u64), ReadError> {
    let offset = input.position();
    let len = header.end.saturating_sub(offset);
    Ok((input.take(len, what, limit)?, offset))
}
