//! Two threads that encode on time, and the queues from which any number of watchers take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ropus::{Application, Bitrate, Channels, Encoder, Signal};
use serde::Deserialize;
use tokio::sync::broadcast;

use super::music::{self, FRAME_SAMPLES};
use super::pattern::{FRAME_RATE, HEIGHT, TestPattern, WIDTH};
use super::rungs::{Rung, VideoCodec};
use super::vp8::Vp8Encoder;
use super::{EncodeError, Sample, pcmu};

/// What a slow watcher may lag; after that the oldest go.
const QUEUE: usize = 8;
/// How often a thread without an audience looks up by itself.
const IDLE: Duration = Duration::from_secs(1);
const OPUS_BITRATE: u32 = 64_000;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / FRAME_RATE as u64);
const PACKET: Duration = Duration::from_millis(20);
/// Frames of the pattern between two key frames that are asked for: many watchers of one size ask for many, and each costs all of them
/// the bits of several frames.
#[cfg(feature = "h264")]
const KEY_FRAME_GAP: u64 = 9;

/// An audio codec of the studio.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// Opus, 48 kHz stereo.
    #[default]
    Opus,
    /// PCMU (G.711 mu-law), 8 kHz mono.
    Pcmu,
}

/// Encodes the pattern and the music for everybody who asks. The threads end with the last clone.
#[derive(Clone, Debug)]
pub struct Studio {
    feeds: Arc<Feeds>,
}

#[derive(Debug)]
struct Feeds {
    epoch: Instant,
    video: Vec<Group>,
    opus: broadcast::Sender<Sample>,
    pcmu: broadcast::Sender<Sample>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// All who watch one size of the video: they share its frames, and each key frame that one of them needs.
#[derive(Debug)]
struct Group {
    codec: VideoCodec,
    rung: Rung,
    feed: broadcast::Sender<Sample>,
    /// Somebody cannot go on, or begin, without a key frame.
    key_frame_wanted: AtomicBool,
}

impl Group {
    fn all() -> Vec<Self> {
        let of = |codec: VideoCodec| {
            codec.rungs().iter().map(move |&rung| Self {
                codec,
                rung,
                feed: broadcast::Sender::new(QUEUE),
                key_frame_wanted: AtomicBool::new(false),
            })
        };
        VideoCodec::ALL.iter().copied().flat_map(of).collect()
    }
}

impl Default for Studio {
    fn default() -> Self {
        Self::new()
    }
}

impl Studio {
    /// Starts two threads, which sleep until somebody watches.
    pub fn new() -> Self {
        let feeds = Arc::new(Feeds {
            epoch: Instant::now(),
            video: Group::all(),
            opus: broadcast::Sender::new(QUEUE),
            pcmu: broadcast::Sender::new(QUEUE),
            threads: Mutex::default(),
        });
        let start = |name: &str, work: fn(Weak<Feeds>)| {
            let weak = Arc::downgrade(&feeds);
            let thread = thread::Builder::new().name(name.into());
            thread.spawn(move || work(weak)).expect("the system starts a thread")
        };
        let handles = [start("pattern", film), start("music", play)];
        feeds
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(handles);
        Self { feeds }
    }

    /// The video in the size of `rung` (an index of the codec's [`rungs`](VideoCodec::rungs); larger means the largest). Where frames
    /// need others, a key frame comes soon, and what comes before it is for those who watch already.
    pub fn video(&self, codec: VideoCodec, rung: usize) -> broadcast::Receiver<Sample> {
        let group = self.feeds.group(codec, rung);
        let feed = group.feed.subscribe();
        group.key_frame_wanted.store(true, Ordering::Relaxed);
        self.feeds.wake();
        feed
    }

    /// A watcher of this size has lost something, and asks for a key frame.
    pub fn request_key_frame(&self, codec: VideoCodec, rung: usize) {
        let group = self.feeds.group(codec, rung);
        group.key_frame_wanted.store(true, Ordering::Relaxed);
    }

    /// The audio, in packets of 20 ms.
    pub fn audio(&self, codec: AudioCodec) -> broadcast::Receiver<Sample> {
        let feed = match codec {
            AudioCodec::Opus => self.feeds.opus.subscribe(),
            AudioCodec::Pcmu => self.feeds.pcmu.subscribe(),
        };
        self.feeds.wake();
        feed
    }
}

impl Feeds {
    fn group(&self, codec: VideoCodec, rung: usize) -> &Group {
        let rung = rung.min(codec.rungs().len() - 1);
        let mut groups = self.video.iter().filter(|group| group.codec == codec);
        groups.nth(rung).expect("each rung has its group")
    }

    fn wake(&self) {
        for handle in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            handle.thread().unpark();
        }
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Waits for tick `n` since `epoch`; where late by more than two ticks, the number of the tick to go on with.
fn pace(epoch: Instant, tick: Duration, n: u64) -> u64 {
    let due = epoch + Duration::from_nanos(tick.as_nanos() as u64 * n);
    let now = Instant::now();
    if now < due {
        thread::sleep(due - now);
        return n;
    }
    let behind = (now - due).as_nanos() / tick.as_nanos();
    if behind > 2 { n + behind as u64 } else { n }
}

/// A picture of the pattern, in the forms that encoders take.
struct Picture<'a> {
    rgb: &'a [u8],
    #[cfg(feature = "h264")]
    planes: std::cell::OnceCell<super::h264::Planes>,
}

/// The encoder of one group.
enum Film {
    Vp8(Vp8Encoder),
    #[cfg(feature = "h264")]
    H264 {
        /// Larger than all else that an encoder is.
        encoder: Box<super::h264::H264Encoder>,
        /// The number of the newest key frame.
        key_frame: Option<u64>,
    },
}

impl Film {
    fn new(group: &Group) -> Result<Self, EncodeError> {
        Ok(match group.codec {
            VideoCodec::Vp8 => Self::Vp8(Vp8Encoder::new(WIDTH, HEIGHT, group.rung.frame_bytes())?),
            #[cfg(feature = "h264")]
            VideoCodec::H264 => Self::H264 {
                encoder: Box::new(super::h264::H264Encoder::new(group.rung.bps, group.rung.frame_rate())?),
                key_frame: None,
            },
        })
    }

    /// Frame `n`, and whether it is a key frame; `None`: it is left out.
    #[cfg_attr(not(feature = "h264"), allow(unused_variables))] // VP8 is all key frames, whoever wants one
    fn encode(&mut self, group: &Group, n: u64, picture: &Picture<'_>) -> Result<Option<(Bytes, bool)>, EncodeError> {
        match self {
            Self::Vp8(encoder) => Ok(Some((encoder.encode(picture.rgb)?, true))),
            #[cfg(feature = "h264")]
            Self::H264 { encoder, key_frame } => {
                let may = key_frame.is_none_or(|before| n.saturating_sub(before) >= KEY_FRAME_GAP);
                let now = may && group.key_frame_wanted.swap(false, Ordering::Relaxed);
                let planes = picture
                    .planes
                    .get_or_init(|| super::h264::Planes::new(picture.rgb, WIDTH, HEIGHT));
                let coded = match group.rung.snow {
                    0 => encoder.encode(planes, now)?,
                    squares => encoder.encode(&planes.with_snow(squares, n), now)?,
                };
                match &coded {
                    Some((_, true)) => *key_frame = Some(n),
                    // Left out: it is wanted as much as before.
                    _ if now => group.key_frame_wanted.store(true, Ordering::Relaxed),
                    _ => {}
                }
                Ok(coded)
            }
        }
    }
}

/// The video thread.
fn film(feeds: Weak<Feeds>) {
    let mut pattern = TestPattern::new();
    let mut films: Vec<Option<Film>> = Vec::new();
    let mut next = 0;
    loop {
        let Some(feeds) = feeds.upgrade() else { return };
        films.resize_with(feeds.video.len(), || None);
        if feeds.video.iter().all(|group| group.feed.receiver_count() == 0) {
            films.fill_with(|| None);
            drop(feeds);
            thread::park_timeout(IDLE);
            continue;
        }
        let n = pace(feeds.epoch, FRAME, next);
        next = n + 1;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let picture = Picture {
            rgb: pattern.draw(n, clock),
            #[cfg(feature = "h264")]
            planes: std::cell::OnceCell::new(),
        };
        for (group, film) in feeds.video.iter().zip(&mut films) {
            if group.feed.receiver_count() == 0 {
                // An encoder holds some megabytes, and who comes next needs a key frame anyway.
                *film = None;
                continue;
            }
            if !n.is_multiple_of(group.rung.every) {
                continue;
            }
            if film.is_none() {
                match Film::new(group) {
                    Ok(fresh) => *film = Some(fresh),
                    Err(error) => return tracing::error!(%error, "no video"),
                }
            }
            let Some(film) = film else { continue };
            match film.encode(group, n, &picture) {
                Ok(Some((data, key_frame))) => {
                    // An error here means that the last watcher has just left.
                    _ = group.feed.send(Sample {
                        timestamp: (n * 90_000 / u64::from(FRAME_RATE)) as u32,
                        data,
                        key_frame,
                    });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, frame = n, "frame left out"),
            }
        }
    }
}

/// The audio thread.
fn play(feeds: Weak<Feeds>) {
    let mut tape: Option<(Vec<i16>, Bytes)> = None;
    let mut encoder = match Encoder::builder(48_000, Channels::Stereo, Application::Audio)
        .bitrate(Bitrate::Bits(OPUS_BITRATE))
        .signal(Signal::Music)
        .complexity(5)
        .build()
    {
        Ok(encoder) => Some(encoder),
        Err(error) => {
            tracing::error!(?error, "no Opus");
            None
        }
    };
    let mut packet = [0; 1275];
    let mut next = 0;
    loop {
        let Some(feeds) = feeds.upgrade() else { return };
        if feeds.opus.receiver_count() + feeds.pcmu.receiver_count() == 0 {
            drop(feeds);
            thread::park_timeout(IDLE);
            continue;
        }
        let (stereo, coded) = tape.get_or_insert_with(|| {
            let stereo = music::compose();
            let coded = pcmu::encode_loop(&stereo).into();
            (stereo, coded)
        });
        let n = pace(feeds.epoch, PACKET, next);
        next = n + 1;
        if feeds.pcmu.receiver_count() > 0 {
            let length = FRAME_SAMPLES / 6;
            let at = n as usize % (coded.len() / length) * length;
            _ = feeds.pcmu.send(Sample {
                timestamp: (n * length as u64) as u32,
                data: coded.slice(at..at + length),
                key_frame: true,
            });
        }
        if let Some(encoder) = encoder.as_mut().filter(|_| feeds.opus.receiver_count() > 0) {
            let length = FRAME_SAMPLES * 2;
            let at = n as usize % (stereo.len() / length) * length;
            match encoder.encode(&stereo[at..at + length], &mut packet) {
                Ok(size) => {
                    let data = Bytes::copy_from_slice(&packet[..size]);
                    _ = feeds.opus.send(Sample {
                        timestamp: (n * FRAME_SAMPLES as u64) as u32,
                        data,
                        key_frame: true,
                    });
                }
                Err(error) => tracing::warn!(?error, "audio packet left out"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_studio_plays_for_who_asks() {
        let studio = Studio::new();
        let (mut video, mut opus, mut pcmu) = (
            studio.video(VideoCodec::Vp8, 5),
            studio.audio(AudioCodec::Opus),
            studio.audio(AudioCodec::Pcmu),
        );
        assert_eq!(pcmu.recv().await.unwrap().data.len(), 160);
        let packet = opus.recv().await.unwrap();
        let mut decoder = ropus::Decoder::new(48_000, Channels::Stereo).unwrap();
        let mut samples = [0i16; FRAME_SAMPLES * 2];
        let decoded = decoder
            .decode(&packet.data, &mut samples, ropus::DecodeMode::Normal)
            .unwrap();
        assert_eq!(decoded, FRAME_SAMPLES);
        // After the sound, of which little waits for who is late.
        let mut before = None;
        for _ in 0..5 {
            let frame = video.recv().await.unwrap();
            assert_eq!(frame.data[0] & 1, 0, "a key frame");
            assert!(before.is_none_or(|t| frame.timestamp > t));
            before = Some(frame.timestamp);
        }
    }

    /// Bits of the frames of so many seconds, each second by itself.
    fn bits(film: &mut Film, group: &Group, pattern: &mut TestPattern, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let rate = u64::from(FRAME_RATE);
        let of_second = |second: u64| {
            let frames = (second * rate..(second + 1) * rate).filter(|n| n.is_multiple_of(group.rung.every));
            let size = |n: u64| {
                let picture = Picture {
                    rgb: pattern.draw(n, Duration::from_secs(n)),
                    #[cfg(feature = "h264")]
                    planes: std::cell::OnceCell::new(),
                };
                let coded = film.encode(group, n, &picture).unwrap();
                coded.map_or(0, |(data, _)| data.len() as u64 * 8)
            };
            frames.map(size).sum()
        };
        seconds.map(of_second).collect()
    }

    /// What the kernel has given this thread, if it tells.
    fn cpu() -> Option<Duration> {
        #[cfg(target_os = "linux")]
        {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            Duration::try_from(time).ok()
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    #[test]
    fn the_video_follows_a_target_within_a_second() {
        for &codec in VideoCodec::ALL {
            let groups = Group::all();
            let mut pattern = TestPattern::new();
            let mut second = 0;
            // Estimates as they come, the sound taken away.
            for target in [60_000, 2_910_000, 60_000, 300_000, 1_500_000, 400_000, 2_910_000] {
                let mut own = groups.iter().filter(|group| group.codec == codec);
                let group = own.nth(codec.rung_for(target)).unwrap();
                // As when nobody else watches that size: it begins with a key frame, which costs more than the others.
                let mut film = Film::new(group).unwrap();
                let before = cpu();
                let bits = bits(&mut film, group, &mut pattern, second..second + 3);
                let took = cpu().zip(before).map(|(now, before)| (now - before) / 90);
                println!("{codec:?}: {target} bit/s wanted, {bits:?} in three seconds, {took:?} of CPU a frame");
                second += 3;
                let wanted = f64::from(group.rung.bps);
                for of_second in &bits {
                    let ratio = *of_second as f64 / wanted;
                    assert!((0.6..1.2).contains(&ratio), "{codec:?}: {bits:?} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn opus_keeps_the_music() {
        let stereo = music::compose();
        let mut encoder = Encoder::builder(48_000, Channels::Stereo, Application::Audio)
            .bitrate(Bitrate::Bits(OPUS_BITRATE))
            .signal(Signal::Music)
            .complexity(5)
            .build()
            .unwrap();
        let mut decoder = ropus::Decoder::new(48_000, Channels::Stereo).unwrap();
        let (mut energy_in, mut energy_out) = (0.0, 0.0);
        let energy = |samples: &[i16]| samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
        for frame in stereo.chunks_exact(FRAME_SAMPLES * 2).take(100) {
            let mut packet = [0; 1275];
            let size = encoder.encode(frame, &mut packet).unwrap();
            let mut samples = [0i16; FRAME_SAMPLES * 2];
            decoder
                .decode(&packet[..size], &mut samples, ropus::DecodeMode::Normal)
                .unwrap();
            energy_in += energy(frame);
            energy_out += energy(&samples);
        }
        let ratio = energy_out / energy_in;
        assert!((0.7..1.4).contains(&ratio), "{ratio}");
    }
}
