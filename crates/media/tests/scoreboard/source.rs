//! What an encoder and a microphone would send: the statistical source of RFC 8593 §4, and sound.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use antiphon_media::Frame;
use antiphon_sansio::Rng;
use bytes::Bytes;

/// Frames a second of live video.
const RATE: f64 = 30.0;
/// How much frame sizes vary around their mean (RFC 8593 §4.4).
const SIGMA: f64 = 0.1;
/// How much larger a key frame is than the mean.
const KEY: f64 = 6.0;
/// Over how many frames an encoder makes up for a key frame.
const REPAID: f64 = 20.0;
/// No encoder makes less, in bits a second.
const LEAST: f64 = 15_000.0;
/// Of a sender's rate, what its sound takes: 32 kbit/s, with RTP headers.
pub(crate) const SOUND: f64 = 41_000.0;
/// Of the rate of video, what its packets' headers leave.
const PAYLOAD: f64 = 0.975;
/// The largest frame.
const MAX_FRAME: usize = 1_000_000;

/// The bytes of all frames: whole pictures (even first byte), and others.
static BYTES: LazyLock<[Bytes; 2]> = LazyLock::new(|| [0, 1].map(|first| vec![first; MAX_FRAME].into()));

/// A frame of sound. Its first byte says how long it lasts (RFC 6716 §3.1): 20 ms.
static SOUND_FRAME: [u8; 80] = {
    let mut frame = [0; 80];
    frame[0] = 31 << 3;
    frame
};

/// What a camera sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Content {
    /// 30 frames a second, as large as the target asks.
    Live,
    /// A screen where little happens: this many bits a second at most.
    Still(f64),
    /// A screen that changes now and then: 0.5 to 15 frames a second, of sizes that follow no target but stay below it.
    Fitful,
    /// Nothing.
    Off,
}

/// Video.
#[derive(Debug)]
pub(crate) struct Video {
    pub(crate) content: Content,
    /// The most that the encoder makes, in bits a second.
    pub(crate) wanted: f64,
    pub(crate) next: Instant,
    /// The rate that the encoder was told a frame ago.
    rate: f64,
    /// What of a key frame is still to be made up for, in means of frames.
    debt: f64,
    pub(crate) key_wanted: bool,
    begun: Instant,
    rng: Rng,
}

impl Video {
    pub(crate) fn new(now: Instant, wanted: f64, start: f64, rng: Rng) -> Self {
        Self {
            content: Content::Live,
            wanted,
            next: now,
            rate: (start - SOUND) * PAYLOAD,
            debt: 0.0,
            key_wanted: true,
            begun: now,
            rng,
        }
    }

    /// What it would send now if nothing held it back, in bits a second.
    pub(crate) fn wants(&self) -> f64 {
        match self.content {
            Content::Live => self.wanted,
            Content::Still(rate) => rate.min(self.wanted),
            Content::Fitful => self.wanted / 3.0,
            Content::Off => 0.0,
        }
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.rng.unit(), self.rng.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// The next frame; `target` is what this video may send, and tells of the frame after it.
    pub(crate) fn frame(&mut self, now: Instant, target: Option<u64>) -> Option<Frame> {
        let rate = self.rate.min(self.wants()).max(LEAST);
        if let Some(target) = target {
            self.rate = target as f64 * PAYLOAD;
        }
        if target == Some(0) {
            self.next = now + Duration::from_secs_f64(1.0 / RATE);
            return None;
        }
        let fps = match self.content {
            Content::Off => {
                self.next = now + Duration::from_millis(100);
                return None;
            }
            // One second in four is busy.
            Content::Fitful if self.rng.unit() < 0.25 => 15.0,
            Content::Fitful => 0.5 + 4.0 * self.rng.unit(),
            Content::Live | Content::Still(_) => RATE,
        };
        self.next = now + Duration::from_secs_f64(1.0 / fps);
        let mean = rate / 8.0 / if self.content == Content::Fitful { 15.0 } else { RATE };
        let varied = (1.0 + SIGMA * self.normal()).clamp(0.5, 1.5);
        let key = std::mem::take(&mut self.key_wanted);
        let size = if key {
            self.debt = KEY - 1.0;
            KEY * mean * varied
        } else {
            let repaid = self.debt.min((KEY - 1.0) / REPAID);
            self.debt -= repaid;
            mean * varied * (1.0 - repaid)
        };
        let ticks = (now.saturating_duration_since(self.begun).as_secs_f64() * 90_000.0) as u32;
        let bytes = BYTES[usize::from(!key)].slice(..(size as usize).clamp(40, MAX_FRAME));
        Some(Frame {
            key_frame: key,
            ..Frame::new(96, ticks, bytes)
        })
    }
}

/// Sound: 80 bytes each 20 ms.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) next: Instant,
    count: u32,
}

impl Sound {
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now, count: 0 }
    }

    pub(crate) fn frame(&mut self) -> Frame {
        self.next += Duration::from_millis(20);
        self.count += 1;
        Frame::new(111, self.count.wrapping_mul(960), Bytes::from_static(&SOUND_FRAME))
    }
}
