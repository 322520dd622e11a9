//! Two threads that encode on time, and the queues from which any number of watchers take.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ropus::{Application, Bitrate, Channels, Encoder, Signal};
use serde::Deserialize;
use tokio::sync::broadcast;

use super::music::{self, FRAME_SAMPLES};
use super::pattern::{FRAME_RATE, HEIGHT, TestPattern, WIDTH};
use super::vp8::Vp8Encoder;
use super::{Sample, pcmu};

/// What a slow watcher may lag; after that the oldest go.
const QUEUE: usize = 8;
/// How often a thread without an audience looks up by itself.
const IDLE: Duration = Duration::from_secs(1);
const OPUS_BITRATE: u32 = 64_000;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / FRAME_RATE as u64);
const PACKET: Duration = Duration::from_millis(20);

/// One size of the video.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// Bits a second, about.
    pub bps: u32,
    /// Every how manieth frame is sent.
    pub every: u64,
}

/// How many [`RUNGS`] there are. A number of its own: with `RUNGS.len()` as an array length, rustc 1.95 runs into a cycle
/// (E0391) in release builds.
const RUNG_COUNT: usize = 8;

/// The sizes of video, smallest first, each no more than 1.45 times the one before: receivers that estimate bandwidth do not
/// believe in more than 1.5 times what they receive, so a wider step could never be taken. Key frames below some 4 kB look too
/// poor, so the lower rungs send fewer frames instead.
pub const RUNGS: [Rung; RUNG_COUNT] = [
    rung(350_000, 3),
    rung(490_000, 3),
    rung(680_000, 2),
    rung(950_000, 2),
    rung(1_300_000, 1),
    rung(1_800_000, 1),
    rung(2_500_000, 1),
    rung(3_500_000, 1),
];

const fn rung(bps: u32, every: u64) -> Rung {
    Rung { bps, every }
}

/// The rung for a path that carries `bps`: the largest that fits, or the smallest of all.
pub fn rung_for(bps: u64) -> usize {
    RUNGS.iter().rposition(|rung| u64::from(rung.bps) <= bps).unwrap_or(0)
}

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
    video: [broadcast::Sender<Sample>; RUNG_COUNT],
    opus: broadcast::Sender<Sample>,
    pcmu: broadcast::Sender<Sample>,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
            video: std::array::from_fn(|_| broadcast::Sender::new(QUEUE)),
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

    /// The video in the size of `rung` (an index of [`RUNGS`]; larger means the largest).
    pub fn video(&self, rung: usize) -> broadcast::Receiver<Sample> {
        let feed = self.feeds.video[rung.min(RUNGS.len() - 1)].subscribe();
        self.feeds.wake();
        feed
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

/// The video thread.
fn film(feeds: Weak<Feeds>) {
    let mut pattern = TestPattern::new();
    let mut encoders = [const { None::<Vp8Encoder> }; RUNG_COUNT];
    let mut next = 0;
    loop {
        let Some(feeds) = feeds.upgrade() else { return };
        if feeds.video.iter().all(|feed| feed.receiver_count() == 0) {
            drop(feeds);
            thread::park_timeout(IDLE);
            continue;
        }
        let n = pace(feeds.epoch, FRAME, next);
        next = n + 1;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let picture = pattern.draw(n, clock);
        for ((rung, feed), encoder) in RUNGS.iter().zip(&feeds.video).zip(&mut encoders) {
            if feed.receiver_count() == 0 || !n.is_multiple_of(rung.every) {
                continue;
            }
            if encoder.is_none() {
                let target = u64::from(rung.bps) * rung.every / u64::from(FRAME_RATE) / 8;
                match Vp8Encoder::new(WIDTH, HEIGHT, target as usize) {
                    Ok(fresh) => *encoder = Some(fresh),
                    Err(error) => return tracing::error!(%error, "no video"),
                }
            }
            let Some(encoder) = encoder else { continue };
            match encoder.encode(picture) {
                // An error here means that the last watcher has just left.
                Ok(data) => {
                    _ = feed.send(Sample {
                        timestamp: (n * 90_000 / u64::from(FRAME_RATE)) as u32,
                        data,
                    })
                }
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

    #[test]
    fn a_rung_fits_the_path() {
        assert_eq!(rung_for(0), 0);
        assert_eq!(rung_for(350_000), 0);
        assert_eq!(rung_for(1_299_999), 3);
        assert_eq!(rung_for(u64::MAX), RUNGS.len() - 1);
        for pair in RUNGS.windows(2) {
            let ratio = f64::from(pair[1].bps) / f64::from(pair[0].bps);
            assert!(ratio > 1.0 && ratio <= 1.45, "{pair:?}");
        }
    }

    #[tokio::test]
    async fn the_studio_plays_for_who_asks() {
        let studio = Studio::new();
        let (mut video, mut opus, mut pcmu) = (
            studio.video(2),
            studio.audio(AudioCodec::Opus),
            studio.audio(AudioCodec::Pcmu),
        );
        let mut before = None;
        for _ in 0..5 {
            let frame = video.recv().await.unwrap();
            assert_eq!(frame.data[0] & 1, 0, "a key frame");
            assert!(before.is_none_or(|t| frame.timestamp > t));
            before = Some(frame.timestamp);
        }
        assert_eq!(pcmu.recv().await.unwrap().data.len(), 160);
        let packet = opus.recv().await.unwrap();
        let mut decoder = ropus::Decoder::new(48_000, Channels::Stereo).unwrap();
        let mut samples = [0i16; FRAME_SAMPLES * 2];
        let decoded = decoder
            .decode(&packet.data, &mut samples, ropus::DecodeMode::Normal)
            .unwrap();
        assert_eq!(decoded, FRAME_SAMPLES);
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
