//! Clusters and blocks, written: each block at once, so that what is written can be played if nothing follows.

use std::io::{Seek, SeekFrom, Write};

use super::{codecs, ebml, ids};
use crate::codec::{av1, nal, opus};
use crate::error::WriteError;
use crate::shift::Shift;
use crate::track::{Codec, Media, Sample, Track, rescale};

/// WebM asks for ticks of a millisecond.
const SCALE: u64 = 1_000_000;
const MILLISECONDS: u64 = 1_000;
/// A cluster ends at the first key frame after a second, or else after five: what a player loads to begin in the middle.
const CLUSTER_MS: u64 = 1_000;
const MAX_CLUSTER_MS: u64 = 5_000;
/// Room for the table of places, which is written at the end.
const SEEK_HEAD_ROOM: usize = 96;
/// Places to jump to; half a megabyte of them.
const MAX_CUES: usize = 32_768;
/// What a decoder of Opus needs before the place where it is to be right, in nanoseconds (RFC 7845 §4.6).
const OPUS_PRE_ROLL: u64 = 80_000_000;

/// Writes WebM, or Matroska if the codecs are not WebM's.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    /// Where `out` stands.
    position: u64,
    /// The first byte in the segment.
    segment: u64,
    seek_head: u64,
    info: u64,
    tracks: u64,
    /// The value of the duration.
    duration_at: u64,
    /// In milliseconds.
    duration: u64,
    shift: Shift,
    cluster: Option<Cluster>,
    cues: Vec<Cue>,
    has_video: bool,
    /// Reused for the head of each block.
    head: Vec<u8>,
}

/// The cluster that is open.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// Where its size stands.
    size_at: u64,
    time: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cue {
    time: u64,
    track: u64,
    cluster: u64,
}

impl<W: Write + Seek> Writer<W> {
    pub(crate) fn new(out: W, tracks: &[Track]) -> Result<Self, WriteError> {
        let mut writer = Self {
            out,
            position: 0,
            segment: 0,
            seek_head: 0,
            info: 0,
            tracks: 0,
            duration_at: 0,
            duration: 0,
            shift: Shift::default(),
            cluster: None,
            cues: Vec::new(),
            has_video: tracks.iter().any(Track::is_video),
            head: Vec::new(),
        };
        writer.write_tables(tracks)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn write_tables(&mut self, tracks: &[Track]) -> Result<(), WriteError> {
        let mut out = Vec::new();
        let is_webm = |track: &Track| matches!(track.codec, Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus);
        let doc_type: &[u8] = if tracks.iter().all(is_webm) {
            b"webm"
        } else {
            b"matroska"
        };
        ebml::put_master(ids::EBML, &mut out, |out| {
            ebml::put_unsigned(ids::EBML_VERSION, 1, out);
            ebml::put_unsigned(ids::EBML_READ_VERSION, 1, out);
            ebml::put_unsigned(ids::EBML_MAX_ID_LENGTH, 4, out);
            ebml::put_unsigned(ids::EBML_MAX_SIZE_LENGTH, 8, out);
            ebml::put(ids::DOC_TYPE, doc_type, out);
            ebml::put_unsigned(ids::DOC_TYPE_VERSION, 4, out);
            ebml::put_unsigned(ids::DOC_TYPE_READ_VERSION, 2, out);
        });
        ebml::put_id(ids::SEGMENT, &mut out);
        out.extend_from_slice(&ebml::long_size(None));
        self.segment = out.len() as u64;
        self.seek_head = self.segment;
        put_void(SEEK_HEAD_ROOM, &mut out);
        self.info = out.len() as u64;
        ebml::put_master(ids::INFO, &mut out, |out| {
            ebml::put_unsigned(ids::TIMESTAMP_SCALE, SCALE, out);
            ebml::put(ids::MUXING_APP, b"antiphon", out);
            ebml::put(ids::WRITING_APP, b"antiphon", out);
            // A player takes no duration for an open end; the right one comes at the end into the same place.
            put_void(DURATION_BYTES, out);
        });
        self.duration_at = (out.len() - DURATION_BYTES) as u64;
        self.tracks = out.len() as u64;
        let mut entries = Vec::new();
        for (index, track) in tracks.iter().enumerate() {
            put_entry(index as u64 + 1, track, &mut entries)?;
        }
        ebml::put(ids::TRACKS, &entries, &mut out);
        self.put(&out)
    }

    pub(crate) fn write(&mut self, track: &Track, sample: &Sample) -> Result<(), WriteError> {
        let converted;
        let data: &[u8] = match track.codec {
            Codec::H264 | Codec::H265 => {
                converted = nal::to_lengths(&sample.data);
                &converted
            }
            Codec::Av1 => {
                converted = av1::plain(&sample.data).ok_or_else(|| WriteError::Sample {
                    codec: track.codec.to_string(),
                })?;
                &converted
            }
            _ => &sample.data,
        };
        let delayed = sample.time.saturating_add(opus::pre_skip(&track.configuration).into());
        let ticks = self.shift.apply(delayed, track.clock_rate);
        let rate = u64::from(track.clock_rate);
        let in_ms = |ticks: u64| rescale(i64::try_from(ticks).unwrap_or(i64::MAX), rate, MILLISECONDS).unsigned_abs();
        let time = in_ms(ticks);
        let is_cut = track.is_video() && sample.key_frame;
        let starts = self.cluster.is_none_or(|cluster| {
            let age = time.saturating_sub(cluster.time);
            // A time may go back only so far as a block can say.
            age >= MAX_CLUSTER_MS || (age >= CLUSTER_MS && (is_cut || !self.has_video)) || time + 30_000 < cluster.time
        });
        if starts {
            self.begin_cluster(time)?;
            if self.cues.len() < MAX_CUES && (is_cut || !self.has_video) {
                let Some(cluster) = self.cluster else { return Ok(()) };
                self.cues.push(Cue {
                    time,
                    track: sample.track as u64 + 1,
                    cluster: cluster.size_at - 4 - self.segment,
                });
            }
        }
        let begin = self.cluster.map_or(0, |cluster| cluster.time);
        let relative = time as i64 - begin as i64;
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        ebml::put_id(ids::SIMPLE_BLOCK, &mut head);
        let number = sample.track as u64 + 1;
        ebml::put_size(data.len() as u64 + 4, &mut head);
        // At most 64 tracks: the number takes one byte.
        ebml::put_size(number, &mut head);
        head.extend_from_slice(&(relative.clamp(i16::MIN.into(), i16::MAX.into()) as i16).to_be_bytes());
        let is_key = sample.key_frame || !track.is_video();
        head.push(if is_key { 0x80 } else { 0 });
        let result = self.put(&head).and_then(|()| self.put(data));
        self.head = head;
        let length = sample.duration.map_or(0, |duration| in_ms(duration.into()));
        self.duration = self.duration.max(time.saturating_add(length));
        result
    }

    /// Ends the open cluster and begins one.
    fn begin_cluster(&mut self, time: u64) -> Result<(), WriteError> {
        self.end_cluster()?;
        let mut head = Vec::new();
        ebml::put_id(ids::CLUSTER, &mut head);
        let size_at = self.position + head.len() as u64;
        head.extend_from_slice(&ebml::long_size(None));
        ebml::put_unsigned(ids::TIMESTAMP, time, &mut head);
        self.put(&head)?;
        self.cluster = Some(Cluster { size_at, time });
        Ok(())
    }

    fn end_cluster(&mut self) -> Result<(), WriteError> {
        let Some(cluster) = self.cluster.take() else {
            return Ok(());
        };
        let size = self.position - cluster.size_at - 8;
        self.patch(cluster.size_at, &ebml::long_size(Some(size)))
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(bytes)?;
        self.out.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    /// Writes places to jump to, and the sizes and the duration that were not known.
    pub(crate) fn finish(mut self) -> Result<W, WriteError> {
        self.end_cluster()?;
        let cues_at = self.position;
        let mut cues = Vec::new();
        for cue in &self.cues {
            ebml::put_master(ids::CUE_POINT, &mut cues, |out| {
                ebml::put_unsigned(ids::CUE_TIME, cue.time, out);
                ebml::put_master(ids::CUE_TRACK_POSITIONS, out, |out| {
                    ebml::put_unsigned(ids::CUE_TRACK, cue.track, out);
                    ebml::put_unsigned(ids::CUE_CLUSTER_POSITION, cue.cluster, out);
                });
            });
        }
        let mut places = vec![(ids::INFO, self.info), (ids::TRACKS, self.tracks)];
        if !cues.is_empty() {
            let mut out = Vec::new();
            ebml::put(ids::CUES, &cues, &mut out);
            self.put(&out)?;
            places.push((ids::CUES, cues_at));
        }
        let mut seek_head = Vec::new();
        ebml::put_master(ids::SEEK_HEAD, &mut seek_head, |out| {
            for (id, at) in places {
                ebml::put_master(ids::SEEK, out, |out| {
                    ebml::put(ids::SEEK_ID, &id.to_be_bytes(), out);
                    ebml::put_unsigned(ids::SEEK_POSITION, at - self.segment, out);
                });
            }
        });
        let room = SEEK_HEAD_ROOM - seek_head.len();
        put_void(room, &mut seek_head);
        self.patch(self.seek_head, &seek_head)?;
        let mut duration = Vec::new();
        ebml::put_float(ids::DURATION, self.duration as f64, &mut duration);
        self.patch(self.duration_at, &duration)?;
        let size = ebml::long_size(Some(self.position - self.segment));
        self.patch(self.segment - 8, &size)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// An element with the duration: id, size, eight bytes.
const DURATION_BYTES: usize = 2 + 1 + 8;

/// An element that says nothing, of `len` bytes from 2 to 128.
fn put_void(len: usize, out: &mut Vec<u8>) {
    ebml::put(ids::VOID, &vec![0; len.saturating_sub(2)], out);
}

/// One track (RFC 9559 §5.1.4.1).
fn put_entry(number: u64, track: &Track, out: &mut Vec<u8>) -> Result<(), WriteError> {
    let (id, private) = codecs::id_of(track).ok_or_else(|| WriteError::Codec {
        format: "WebM",
        codec: track.codec.to_string(),
    })?;
    ebml::put_master(ids::TRACK_ENTRY, out, |out| {
        ebml::put_unsigned(ids::TRACK_NUMBER, number, out);
        ebml::put_unsigned(ids::TRACK_UID, number, out);
        ebml::put_unsigned(ids::TRACK_TYPE, if track.is_video() { 1 } else { 2 }, out);
        ebml::put_unsigned(ids::FLAG_LACING, 0, out);
        ebml::put(ids::CODEC_ID, id.as_bytes(), out);
        if !private.is_empty() {
            ebml::put(ids::CODEC_PRIVATE, &private, out);
        }
        if track.codec == Codec::Opus {
            let delay = u64::from(opus::pre_skip(&track.configuration)) * 1_000_000 / 48;
            ebml::put_unsigned(ids::CODEC_DELAY, delay, out);
            ebml::put_unsigned(ids::SEEK_PRE_ROLL, OPUS_PRE_ROLL, out);
        }
        match track.media {
            Media::Video {
                width,
                height,
                rotation,
            } => ebml::put_master(ids::VIDEO, out, |out| {
                ebml::put_unsigned(ids::PIXEL_WIDTH, width.into(), out);
                ebml::put_unsigned(ids::PIXEL_HEIGHT, height.into(), out);
                if rotation.quarter_turns() > 0 {
                    // Counterclockwise, between -180 and 180 degrees (RFC 9559 §5.1.4.1.28.46).
                    let roll = match rotation.degrees() {
                        270 => 90.0,
                        degrees => -f64::from(degrees),
                    };
                    ebml::put_master(ids::PROJECTION, out, |out| {
                        ebml::put_unsigned(ids::PROJECTION_TYPE, 0, out);
                        ebml::put_float(ids::PROJECTION_POSE_ROLL, roll, out);
                    });
                }
            }),
            Media::Audio { channels } => ebml::put_master(ids::AUDIO, out, |out| {
                ebml::put_float(ids::SAMPLING_FREQUENCY, codecs::sampling_rate(track).into(), out);
                ebml::put_unsigned(ids::CHANNELS, channels.into(), out);
                if track.codec == Codec::L16 {
                    ebml::put_unsigned(ids::BIT_DEPTH, 16, out);
                }
            }),
        }
    });
    Ok(())
}
