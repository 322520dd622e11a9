//! Clusters and blocks, read.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use super::ebml::{Element, children, read_header};
use super::tracks::{self, Entry};
use super::{ids, lacing};
use crate::MAX_SAMPLE_BYTES;
use crate::codec::{av1, h264, h265, nal, opus};
use crate::error::ReadError;
use crate::input::Input;
use crate::track::{Codec, Sample, Track, rescale};

const NANOSECONDS: u64 = 1_000_000_000;
/// Ticks of a millisecond, where the file says nothing (RFC 9559 §5.1.2.9).
const DEFAULT_SCALE: u64 = 1_000_000;
/// Bytes of the tables before the first cluster.
const MAX_HEADER_BYTES: usize = 8 << 20;

/// Reads WebM and Matroska.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: Input<R>,
    tracks: Vec<Track>,
    entries: Vec<Entry>,
    /// Nanoseconds of one tick.
    scale: u64,
    /// The first cluster.
    first: u64,
    /// The end of the segment.
    end: u64,
    cluster: Option<Cluster>,
    /// Frames of a block, of which the first was handed out.
    waiting: VecDeque<Sample>,
}

/// The cluster that is being read.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// `None` where its size is not known.
    end: Option<u64>,
    time: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(crate) fn new(mut input: Input<R>) -> Result<Self, ReadError> {
        let header = read_header(&mut input)?;
        let size = header.size.filter(|_| header.id == ids::EBML);
        let size = size.ok_or_else(|| header.malformed("here should be the header of EBML"))?;
        let offset = input.position();
        let contents = input.take(size, "the header of EBML", MAX_HEADER_BYTES)?;
        for child in children(&contents, offset) {
            let child = child?;
            if child.id == ids::DOC_TYPE && !matches!(&*child.text(), "webm" | "matroska") {
                return Err(ReadError::Unsupported {
                    offset: child.offset,
                    what: "a document that is neither WebM nor Matroska",
                });
            }
        }
        let segment = loop {
            let element = read_header(&mut input)?;
            if element.id == ids::SEGMENT {
                break element;
            }
            skip(&mut input, &element)?;
        };
        let end = segment
            .size
            .map_or(u64::MAX, |size| input.position().saturating_add(size));
        let mut reader = Self {
            end: end.min(input.len()),
            input,
            tracks: Vec::new(),
            entries: Vec::new(),
            scale: DEFAULT_SCALE,
            first: 0,
            cluster: None,
            waiting: VecDeque::new(),
        };
        reader.read_tables()?;
        if reader.entries.is_empty() {
            return Err(ReadError::NoTracks);
        }
        reader.tracks = reader.entries.iter().map(|entry| entry.track.clone()).collect();
        Ok(reader)
    }

    /// What stands before the first cluster.
    fn read_tables(&mut self) -> Result<(), ReadError> {
        loop {
            self.first = self.input.position();
            if self.first >= self.end {
                return Ok(());
            }
            let element = read_header(&mut self.input)?;
            match element.id {
                ids::CLUSTER => return self.input.seek(self.first),
                ids::INFO | ids::TRACKS => {
                    let size = element.size.ok_or_else(|| element.malformed("a table has no size"))?;
                    let offset = self.input.position();
                    let contents = self.input.take(size, "a table", MAX_HEADER_BYTES)?;
                    if element.id == ids::TRACKS && self.entries.is_empty() {
                        self.entries = tracks::parse(&contents, offset)?;
                        continue;
                    }
                    for child in children(&contents, offset) {
                        let child = child?;
                        if child.id == ids::TIMESTAMP_SCALE {
                            self.scale = child.unsigned()?;
                        }
                    }
                    if self.scale == 0 {
                        return Err(element.malformed("a tick of no time"));
                    }
                }
                _ => skip(&mut self.input, &element)?,
            }
        }
    }

    pub(crate) fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReadError> {
        self.cluster = None;
        self.waiting.clear();
        self.input.seek(self.first)
    }

    pub(crate) fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        loop {
            if let Some(sample) = self.waiting.pop_front() {
                return Ok(Some(sample));
            }
            let position = self.input.position();
            if self
                .cluster
                .and_then(|cluster| cluster.end)
                .is_some_and(|end| position >= end)
            {
                self.cluster = None;
            }
            if position >= self.end {
                return Ok(None);
            }
            let element = read_header(&mut self.input)?;
            match self.cluster {
                Some(cluster) if !ids::ends_cluster(element.id) => self.take_from_cluster(element, cluster)?,
                _ if element.id == ids::CLUSTER => {
                    let end = element.size.map(|size| self.input.position().saturating_add(size));
                    self.cluster = Some(Cluster { end, time: 0 });
                }
                _ => {
                    self.cluster = None;
                    skip(&mut self.input, &element)?;
                }
            }
        }
    }

    fn take_from_cluster(&mut self, element: Element, cluster: Cluster) -> Result<(), ReadError> {
        let size = element
            .size
            .ok_or_else(|| element.malformed("an element in a cluster has no size"))?;
        let offset = self.input.position();
        if cluster.end.is_some_and(|end| size > end.saturating_sub(offset)) {
            return Err(element.malformed("an element reaches past the end of its cluster"));
        }
        match element.id {
            ids::TIMESTAMP => {
                let contents = self.input.take(size, "a cluster's time", 8)?;
                let time = contents.iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
                self.cluster = Some(Cluster { time, ..cluster });
                Ok(())
            }
            ids::SIMPLE_BLOCK => {
                let contents = self.input.take(size, "a block", MAX_SAMPLE_BYTES)?;
                self.take_block(cluster, &contents, element, None, None)
            }
            ids::BLOCK_GROUP => {
                let contents = self.input.take(size, "a block", MAX_SAMPLE_BYTES)?;
                let (mut block, mut duration, mut key_frame) = (None, None, true);
                for child in children(&contents, offset) {
                    let child = child?;
                    match child.id {
                        ids::BLOCK => block = Some(child.data),
                        ids::BLOCK_DURATION => duration = Some(child.unsigned()?),
                        ids::REFERENCE_BLOCK => key_frame = false,
                        _ => {}
                    }
                }
                match block {
                    Some(block) => self.take_block(cluster, block, element, Some(key_frame), duration),
                    None => Ok(()),
                }
            }
            _ => self.input.skip(size, "an element"),
        }
    }

    /// The frames of one block. `key_frame` and `duration` are what a group says of it.
    fn take_block(
        &mut self,
        cluster: Cluster,
        data: &[u8],
        element: Element,
        key_frame: Option<bool>,
        duration: Option<u64>,
    ) -> Result<(), ReadError> {
        let block = lacing::parse(data).ok_or_else(|| element.malformed("the lengths in a block do not fit"))?;
        let numbered = self.entries.iter().enumerate();
        let Some((index, entry)) = numbered.into_iter().find(|(_, entry)| entry.number == block.track) else {
            return Ok(());
        };
        let track = &entry.track;
        let rate = u64::from(track.clock_rate);
        let ticks = i64::try_from(cluster.time)
            .unwrap_or(i64::MAX)
            .saturating_add(block.time.into());
        let nanoseconds = i128::from(ticks) * i128::from(self.scale) - i128::from(entry.delay);
        let start = i64::try_from(nanoseconds).map_err(|_| element.malformed("a time is past all times"))?;
        let count = block.frames.len();
        let group = duration.map(|ticks| ticks.saturating_mul(self.scale) / count as u64);
        let in_ticks = |ns: u64| rescale(i64::try_from(ns).unwrap_or(i64::MAX), NANOSECONDS, rate);
        let mut time = rescale(start, NANOSECONDS, rate);
        for frame in block.frames {
            let sound = match track.codec {
                Codec::Opus => Some(i64::from(opus::duration(frame))).filter(|samples| *samples > 0),
                _ => None,
            };
            let length = sound.or(group.or(entry.default_duration).map(in_ticks));
            let is_key = key_frame.unwrap_or(block.key_frame) || !track.is_video();
            let data = whole(entry, frame, is_key).ok_or_else(|| element.malformed("a frame is none of its codec"))?;
            self.waiting.push_back(Sample {
                track: index,
                time,
                duration: length.and_then(|length| u32::try_from(length).ok()),
                key_frame: is_key,
                data: data.into(),
            });
            time = time.saturating_add(length.unwrap_or(0));
        }
        Ok(())
    }
}

/// A frame in the form that [`Codec`] tells.
fn whole(entry: &Entry, frame: &[u8], key_frame: bool) -> Option<Vec<u8>> {
    match (&entry.track.codec, &entry.units) {
        (Codec::Av1, _) => av1::plain(frame),
        (Codec::H264, Some((size, sets))) => {
            let units = nal::split_lengths(frame, *size)?;
            Some(nal::access_unit(
                &units,
                key_frame,
                sets,
                h264::is_parameter_set,
                h264::is_delimiter,
            ))
        }
        (Codec::H265, Some((size, sets))) => {
            let units = nal::split_lengths(frame, *size)?;
            Some(nal::access_unit(
                &units,
                key_frame,
                sets,
                h265::is_parameter_set,
                h265::is_delimiter,
            ))
        }
        _ => Some(frame.to_vec()),
    }
}

/// Passes over an element that is of no use here.
fn skip<R: Read + Seek>(input: &mut Input<R>, element: &Element) -> Result<(), ReadError> {
    let size = element
        .size
        .ok_or_else(|| element.malformed("an element has no size"))?;
    input.skip(size, "an element")
}
