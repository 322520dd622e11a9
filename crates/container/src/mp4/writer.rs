//! Fragmented files, written: a fragment a second, each whole by itself, so that what is written can be played if nothing follows.

use std::io::{Seek, SeekFrom, Write};

use bytes::Bytes;

use super::boxes::{put, put_full, put_u16, put_u32, put_u64, put_zeros};
use super::sample_entry::{put_entry, put_matrix, put_plain};
use crate::codec::{av1, nal, opus};
use crate::error::WriteError;
use crate::shift::Shift;
use crate::track::{Codec, Media, Rotation, Sample, Track, rescale};

/// Ticks a second of what counts for the whole movie.
const MOVIE_TIMESCALE: u32 = 1_000;
/// A fragment ends at a key frame after half a second, or else after a second.
const CUT_MS: i64 = 500;
const MAX_MS: i64 = 1_000;
/// It ends as well when it holds so many bytes or samples.
const MAX_BYTES: usize = 8 << 20;
const MAX_SAMPLES: usize = 4_096;
/// Flags of a sample that needs no other one, and of one that does (§8.8.3.1, §8.6.4.3).
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

/// Writes fragmented MP4.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    position: u64,
    /// The value of the duration of all fragments.
    duration_at: u64,
    shift: Shift,
    sequence: u32,
    fragment: Fragment,
    tracks: Vec<State>,
}

/// The fragment that is being gathered.
#[derive(Debug, Default)]
struct Fragment {
    /// The time of its first sample, in milliseconds.
    begin: i64,
    bytes: usize,
    count: usize,
}

/// What is known of one track.
#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// When the newest sample that was written is decoded.
    decoded: u64,
    /// Ticks of a sample, if nothing says.
    usual: u64,
    /// Where what was written ends.
    end: u64,
    /// By how much samples are shown later than their times, which the track's edit takes back: no sample may be shown before it
    /// is decoded.
    delay: u64,
    /// The place of the edit's beginning in the file, until it is known.
    delay_at: Option<u64>,
}

/// A sample that waits for its fragment.
#[derive(Debug)]
struct Waiting {
    shown: u64,
    duration: Option<u32>,
    key_frame: bool,
    data: Bytes,
}

impl<W: Write + Seek> Writer<W> {
    pub(crate) fn new(mut out: W, tracks: &[Track]) -> Result<Self, WriteError> {
        let mut header = Vec::new();
        put(b"ftyp", &mut header, |out| {
            out.extend_from_slice(b"iso5");
            put_u32(512, out);
            out.extend_from_slice(b"iso5iso6mp41");
        });
        let mut entries = Vec::new();
        for track in tracks {
            let mut entry = Vec::new();
            put_entry(track, &mut entry)?;
            entries.push(entry);
        }
        let mut duration_at = 0;
        let mut delays_at = vec![None; tracks.len()];
        put(b"moov", &mut header, |out| {
            put_movie_header(tracks.len(), out);
            for (index, (track, entry)) in tracks.iter().zip(&entries).enumerate() {
                delays_at[index] = put_track(index as u32 + 1, track, entry, out);
            }
            put(b"mvex", out, |out| {
                put_full(b"mehd", 1, 0, out, |out| {
                    duration_at = out.len() as u64;
                    put_u64(0, out);
                });
                for id in 1..=tracks.len() as u32 {
                    put_plain(b"trex", out, |out| {
                        put_u32(id, out);
                        put_u32(1, out);
                        put_zeros(12, out);
                    });
                }
            });
        });
        out.write_all(&header)?;
        let usual = |track: &Track| match track.is_video() {
            true => u64::from(track.clock_rate) / 30,
            false => u64::from(track.clock_rate) / 50,
        };
        Ok(Self {
            out,
            position: header.len() as u64,
            duration_at,
            shift: Shift::default(),
            sequence: 0,
            fragment: Fragment::default(),
            tracks: tracks
                .iter()
                .zip(delays_at)
                .map(|(track, delay_at)| State {
                    usual: usual(track).max(1),
                    delay_at,
                    ..State::default()
                })
                .collect(),
        })
    }

    pub(crate) fn write(&mut self, track: &Track, sample: &Sample) -> Result<(), WriteError> {
        let data = match track.codec {
            Codec::H264 | Codec::H265 => nal::to_lengths(&sample.data).into(),
            Codec::Av1 => av1::plain(&sample.data)
                .map(Bytes::from)
                .ok_or_else(|| WriteError::Sample {
                    codec: track.codec.to_string(),
                })?,
            _ => sample.data.clone(),
        };
        let delayed = sample.time.saturating_add(opus::pre_skip(&track.configuration).into());
        let shown = self.shift.apply(delayed, track.clock_rate);
        let ms = rescale(
            i64::try_from(shown).unwrap_or(i64::MAX),
            track.clock_rate.into(),
            MOVIE_TIMESCALE.into(),
        );
        let is_key = sample.key_frame || !track.is_video();
        let age = ms.saturating_sub(self.fragment.begin);
        let is_full = self.fragment.bytes + data.len() > MAX_BYTES || self.fragment.count >= MAX_SAMPLES;
        let is_cut = track.is_video() && is_key && age >= CUT_MS;
        if self.fragment.count > 0 && (is_cut || age >= MAX_MS || is_full) {
            self.flush(Some((sample.track, shown)))?;
        }
        if self.fragment.count == 0 {
            self.fragment.begin = ms;
        }
        self.fragment.bytes += data.len();
        self.fragment.count += 1;
        if let Some(state) = self.tracks.get_mut(sample.track) {
            state.waiting.push(Waiting {
                shown,
                duration: sample.duration,
                key_frame: is_key,
                data,
            });
        }
        Ok(())
    }

    /// Writes the samples that wait as a fragment. `next` is a track, and when its next sample is shown.
    fn flush(&mut self, next: Option<(usize, u64)>) -> Result<(), WriteError> {
        self.fragment = Fragment::default();
        self.sequence += 1;
        let sequence = self.sequence;
        let (mut moof, mut places) = (Vec::new(), Vec::new());
        let mut bytes = 0u32;
        let mut delays = Vec::new();
        let tracks = &mut self.tracks;
        put(b"moof", &mut moof, |out| {
            put_plain(b"mfhd", out, |out| put_u32(sequence, out));
            for (index, state) in tracks
                .iter_mut()
                .enumerate()
                .filter(|(_, state)| !state.waiting.is_empty())
            {
                let next = next.filter(|(track, _)| *track == index).map(|(_, shown)| shown);
                let times = state.decode_times(next);
                delays.extend(state.settle_delay(&times));
                put(b"traf", out, |out| {
                    // Data offsets count from this fragment.
                    put_full(b"tfhd", 0, 0x2_0000, out, |out| put_u32(index as u32 + 1, out));
                    put_full(b"tfdt", 1, 0, out, |out| {
                        put_u64(times.first().map_or(0, |(decode, _)| *decode), out)
                    });
                    // Where the data is, and of each sample: duration, size, flags, and by how much it is shown later.
                    put_full(b"trun", 1, 0xf01, out, |out| {
                        put_u32(state.waiting.len() as u32, out);
                        places.push((out.len(), bytes));
                        put_u32(0, out);
                        for (sample, (decode, duration)) in state.waiting.iter().zip(&times) {
                            let size = sample.data.len() as u32;
                            bytes += size;
                            put_u32(*duration, out);
                            put_u32(size, out);
                            put_u32(if sample.key_frame { SYNC } else { NOT_SYNC }, out);
                            let later = sample.shown.saturating_add(state.delay) as i64 - *decode as i64;
                            put_u32(later.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32, out);
                        }
                    });
                });
            }
        });
        for (at, delay) in delays {
            self.out.seek(SeekFrom::Start(at))?;
            self.out.write_all(&delay.to_be_bytes())?;
            self.out.seek(SeekFrom::Start(self.position))?;
        }
        let data = moof.len() as u32 + 8;
        for (at, offset) in places {
            moof[at..at + 4].copy_from_slice(&(data + offset).to_be_bytes());
        }
        put_u32(bytes + 8, &mut moof);
        moof.extend_from_slice(b"mdat");
        self.out.write_all(&moof)?;
        self.position += moof.len() as u64 + u64::from(bytes);
        for state in &mut self.tracks {
            for sample in state.waiting.drain(..) {
                self.out.write_all(&sample.data)?;
            }
        }
        Ok(())
    }

    /// Writes what waits, and how long it all lasts.
    pub(crate) fn finish(mut self, tracks: &[Track]) -> Result<W, WriteError> {
        if self.fragment.count > 0 {
            self.flush(None)?;
        }
        let ends = self.tracks.iter().zip(tracks).map(|(state, track)| {
            let heard = state.end.saturating_sub(opus::pre_skip(&track.configuration).into());
            let end = i64::try_from(heard).unwrap_or(i64::MAX);
            rescale(end, track.clock_rate.into(), MOVIE_TIMESCALE.into())
        });
        let duration = ends.max().unwrap_or(0).unsigned_abs();
        self.out.seek(SeekFrom::Start(self.duration_at))?;
        self.out.write_all(&duration.to_be_bytes())?;
        self.out.seek(SeekFrom::Start(self.position))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl State {
    /// The delay that the first samples need, and its place in the file; once.
    fn settle_delay(&mut self, times: &[(u64, u32)]) -> Option<(u64, u32)> {
        let at = self.delay_at.take()?;
        let early = self.waiting.iter().zip(times);
        let early = early.map(|(sample, (decode, _))| decode.saturating_sub(sample.shown));
        let delay = u32::try_from(early.max().unwrap_or(0)).unwrap_or(0);
        self.delay = delay.into();
        (delay > 0).then_some((at, delay))
    }

    /// When each waiting sample is decoded, and for how long: the times at which they are shown, in order, so that pictures that are
    /// shown in another order than they are decoded in are kept as they came.
    fn decode_times(&mut self, next: Option<u64>) -> Vec<(u64, u32)> {
        let mut decode: Vec<u64> = self.waiting.iter().map(|sample| sample.shown).collect();
        decode.sort_unstable();
        for time in &mut decode {
            *time = (*time).max(self.decoded);
            self.decoded = *time;
        }
        let last = self.waiting.last().and_then(|sample| sample.duration).map(u64::from);
        let mut times = Vec::with_capacity(decode.len());
        for (index, time) in decode.iter().enumerate() {
            let duration = match decode.get(index + 1) {
                Some(after) => {
                    let duration = after - time;
                    if duration > 0 {
                        self.usual = duration;
                    }
                    duration
                }
                None => match next.and_then(|next| next.checked_sub(*time)) {
                    Some(duration) => duration,
                    None => last.unwrap_or(self.usual),
                },
            };
            self.end = self.end.max(time.saturating_add(duration));
            times.push((*time, u32::try_from(duration).unwrap_or(u32::MAX)));
        }
        times
    }
}

fn put_movie_header(tracks: usize, out: &mut Vec<u8>) {
    put_plain(b"mvhd", out, |out| {
        put_zeros(8, out);
        put_u32(MOVIE_TIMESCALE, out);
        put_u32(0, out);
        // Rate 1, volume 1.
        put_u32(0x1_0000, out);
        put_u16(0x100, out);
        put_zeros(10, out);
        put_matrix(Rotation::None, 0, 0, out);
        put_zeros(24, out);
        put_u32(tracks as u32 + 1, out);
    });
}

/// Writes `trak`. The place of the beginning of its edit, for a track whose samples may be shown in another order than they are
/// decoded in.
fn put_track(id: u32, track: &Track, entry: &[u8], out: &mut Vec<u8>) -> Option<u64> {
    let is_ordered = !matches!(track.codec, Codec::H264 | Codec::H265);
    let mut delay_at = None;
    put(b"trak", out, |out| {
        let (width, height) = match track.media {
            Media::Video { width, height, .. } => (width, height),
            Media::Audio { .. } => (0, 0),
        };
        // Enabled, and in the movie.
        put_full(b"tkhd", 0, 3, out, |out| {
            put_zeros(8, out);
            put_u32(id, out);
            put_zeros(4 + 4 + 8 + 4, out);
            put_u16(if track.is_video() { 0 } else { 0x100 }, out);
            put_zeros(2, out);
            put_matrix(track.rotation(), width, height, out);
            put_u32(width << 16, out);
            put_u32(height << 16, out);
        });
        let pre_skip = opus::pre_skip(&track.configuration);
        if pre_skip > 0 || !is_ordered {
            put(b"edts", out, |out| {
                put_plain(b"elst", out, |out| {
                    put_u32(1, out);
                    // To the end, from there on, at the usual rate.
                    put_u32(0, out);
                    if !is_ordered {
                        delay_at = Some(out.len() as u64);
                    }
                    put_u32(pre_skip, out);
                    put_u32(0x1_0000, out);
                });
            });
        }
        put(b"mdia", out, |out| put_media(track, entry, out));
    });
    delay_at
}

fn put_media(track: &Track, entry: &[u8], out: &mut Vec<u8>) {
    put_plain(b"mdhd", out, |out| {
        put_zeros(8, out);
        put_u32(track.clock_rate, out);
        put_u32(0, out);
        // No language.
        put_u16(0x55c4, out);
        put_u16(0, out);
    });
    put_plain(b"hdlr", out, |out| {
        put_u32(0, out);
        out.extend_from_slice(if track.is_video() { b"vide" } else { b"soun" });
        put_zeros(12, out);
        out.extend_from_slice(if track.is_video() { b"video\0" } else { b"sound\0" });
    });
    put(b"minf", out, |out| {
        match track.is_video() {
            true => put_full(b"vmhd", 0, 1, out, |out| put_zeros(8, out)),
            false => put_plain(b"smhd", out, |out| put_zeros(4, out)),
        }
        put(b"dinf", out, |out| {
            put_plain(b"dref", out, |out| {
                put_u32(1, out);
                // In this file.
                put_full(b"url ", 0, 1, out, |_| {});
            });
        });
        put(b"stbl", out, |out| {
            put_plain(b"stsd", out, |out| {
                put_u32(1, out);
                out.extend_from_slice(entry);
            });
            put_plain(b"stts", out, |out| put_u32(0, out));
            put_plain(b"stsc", out, |out| put_u32(0, out));
            put_plain(b"stsz", out, |out| put_zeros(8, out));
            put_plain(b"stco", out, |out| put_u32(0, out));
        });
    });
}
