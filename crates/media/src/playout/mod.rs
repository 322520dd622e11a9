//! When what came is played, and how evenly. Media that is to be played waits here until it is due; who takes it as it comes has it
//! measured alone.

mod freezes;
mod lateness;
pub(crate) mod pictures;
pub(crate) mod sounds;
mod transit;
mod wanted;

use std::time::{Duration, Instant};

use crate::event::{Event, Frame, ReceiverId, Sound};
use crate::stats::PlayoutFigures;
use freezes::Freezes;
use pictures::{Pictures, Times};
use sounds::{Came, Sounds};
use wanted::{MAX_DELAY, Wanted};

/// What is nearer to its group than this, microseconds, is in step: less than a step of any delay.
const IN_STEP: i64 = 4_000;
/// How far one report moves what is known of the way at most, microseconds.
const MAX_STEP: i64 = 80_000;
/// Of what reports tell the last so many are averaged.
const REPORTS: i64 = 4;

/// How long media takes from its capture, microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    /// By sender reports.
    pub(crate) reported: Option<i64>,
    /// By the capture times of the source.
    pub(crate) captured: Option<i64>,
}

/// The playout of one source.
#[derive(Debug, Default)]
pub(crate) struct Playout {
    freezes: Freezes,
    buffer: Buffer,
    wanted: Wanted,
    /// How long media takes until it is here, averaged.
    ways: Ways,
    /// Another delay is needed than when it was brought into step.
    moved: bool,
    /// The newest that came: its timestamp, its clock rate, and its capture by the capturer's clock, where it told.
    newest: Option<(u32, u32)>,
    capture: Option<(u32, u64)>,
    /// The newest that was handed over, and when.
    pub(crate) played: Option<(u32, Instant)>,
    figures: PlayoutFigures,
    /// What buffers that are gone have dropped.
    dropped: u64,
    discarded: u64,
}

/// What waits.
#[derive(Debug, Default)]
enum Buffer {
    /// Nothing is held back, or nothing has come.
    #[default]
    None,
    Pictures(Box<Pictures>),
    Sounds(Box<Sounds>),
}

impl Playout {
    /// A frame is handed over as it came, whose first packet came when it `began`. It counts as so many: one for a picture, its ticks for
    /// sound.
    pub(crate) fn handed_over(&mut self, now: Instant, began: Instant, count: u64) {
        let waited = now.saturating_duration_since(began);
        self.figures.jitter_buffer_delay += waited * u32::try_from(count).unwrap_or(u32::MAX);
        self.figures.jitter_buffer_emitted_count += count;
    }

    /// A frame of video is handed over as it came.
    pub(crate) fn shown(&mut self, now: Instant, timestamp: u32) {
        self.freezes.shown(now, &mut self.figures);
        self.played = Some((timestamp, now));
    }

    /// The source begins anew.
    pub(crate) fn restart(&mut self, now: Instant) {
        match &mut self.buffer {
            Buffer::None => {}
            Buffer::Pictures(pictures) => pictures.restart(now),
            Buffer::Sounds(sounds) => sounds.restart(now),
        }
        self.newest = None;
        self.capture = None;
        self.ways = Ways::default();
    }

    /// Something else is handed over from now on: what waits is forgotten, and what was counted stays.
    pub(crate) fn end(&mut self) {
        *self = Self {
            figures: self.figures,
            dropped: self.frames_dropped(),
            discarded: self.packets_discarded(),
            wanted: Wanted {
                target: self.wanted.target,
                in_step: 0,
            },
            ..Self::default()
        };
    }

    /// The application wants this delay at least.
    pub(crate) fn want(&mut self, target: Option<Duration>) {
        let micros = target.unwrap_or_default().as_micros();
        self.wanted.target = i64::try_from(micros).unwrap_or(MAX_DELAY).min(MAX_DELAY);
    }

    /// A report shows how long media takes until it is here.
    pub(crate) fn note_ways(&mut self, found: Ways) {
        let average = |known: Option<i64>, found: Option<i64>| {
            let (Some(known), Some(found)) = (known, found) else {
                return found;
            };
            Some(known + ((found - known) / REPORTS).clamp(-MAX_STEP, MAX_STEP))
        };
        self.ways.reported = average(self.ways.reported, found.reported);
        self.ways.captured = average(self.ways.captured, found.captured);
    }

    /// How long media takes until it is played, if nothing is added to keep it in step.
    pub(crate) fn ways(&self) -> Option<Ways> {
        let delay = self.natural()?;
        Some(Ways {
            reported: self.ways.reported.map(|way| way + delay),
            captured: self.ways.captured.map(|way| way + delay),
        })
    }

    /// Without being held back it would be played so much earlier than the slowest of its group, microseconds.
    pub(crate) fn keep_in_step(&mut self, ahead: i64) {
        // The slowest waits for nobody.
        if (ahead - self.wanted.in_step).abs() >= IN_STEP || ahead == 0 {
            self.wanted.in_step = ahead.clamp(0, MAX_DELAY);
        }
    }

    /// Whether another delay is needed than when this was asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// A frame of video is whole, and is to be shown when it is due.
    pub(crate) fn picture(&mut self, times: Times, frame: Frame, discontinuity: bool, clock_rate: u32) {
        self.note(&frame, clock_rate);
        if !matches!(self.buffer, Buffer::Pictures(_)) {
            self.buffer = Buffer::Pictures(Box::new(Pictures::new(times.now, times.round)));
        }
        let before = self.natural();
        if let Buffer::Pictures(pictures) = &mut self.buffer {
            pictures.insert(times, frame, discontinuity, clock_rate);
        }
        self.moved |= self.natural() != before;
    }

    /// A frame of sound has come, and is to be played when it is due.
    pub(crate) fn sound(&mut self, now: Instant, came: Came, clock_rate: u32) {
        self.note(&came.frame, clock_rate);
        if !matches!(self.buffer, Buffer::Sounds(_)) {
            self.buffer = Buffer::Sounds(Box::new(Sounds::new(now)));
        }
        let before = self.natural();
        if let Buffer::Sounds(sounds) = &mut self.buffer {
            sounds.insert(now, came, clock_rate);
        }
        self.moved |= self.natural() != before;
    }

    fn note(&mut self, frame: &Frame, clock_rate: u32) {
        self.newest = Some((frame.timestamp, clock_rate));
        if let Some(capture) = frame.extensions.capture_time {
            self.capture = Some((frame.timestamp, capture));
        }
    }

    /// A packet of sound repeats what was sent so many ticks before it.
    pub(crate) fn repeats(&mut self, ticks: u32) {
        if let Buffer::Sounds(sounds) = &mut self.buffer {
            sounds.repeats(ticks);
        }
    }

    /// Something else is heard of the source than frames of sound.
    pub(crate) fn pause(&mut self) {
        if let Buffer::Sounds(sounds) = &mut self.buffer {
            sounds.pause();
        }
    }

    /// The number of the newest frame of sound that was played: what is before it is of no use any more.
    pub(crate) fn last_sound(&self) -> Option<u64> {
        match &self.buffer {
            Buffer::Sounds(sounds) => sounds.last(),
            _ => None,
        }
    }

    /// When something is due.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        match &self.buffer {
            Buffer::None => None,
            Buffer::Pictures(pictures) => pictures.next(),
            Buffer::Sounds(sounds) => sounds.next(self.wanted),
        }
    }

    /// What is due by now. `is_lost` says whether a number between two others has not come.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        ssrc: u32,
        is_lost: impl FnOnce(u64, u64) -> bool,
    ) -> Option<Event> {
        let wanted = self.wanted;
        let figures = &mut self.figures;
        match &mut self.buffer {
            Buffer::None => None,
            Buffer::Pictures(pictures) => {
                let shown = pictures.poll(now, wanted)?;
                self.freezes.shown(now, figures);
                let aim = pictures.aim(wanted);
                figures.target_delay = micros(aim);
                figures.jitter_buffer_delay += shown.waited;
                figures.jitter_buffer_target_delay += micros(aim);
                figures.jitter_buffer_minimum_delay += micros(pictures.needed());
                figures.jitter_buffer_emitted_count += 1;
                self.played = Some((shown.frame.timestamp, now));
                Some(Event::Frame {
                    receiver,
                    ssrc,
                    discontinuity: shown.discontinuity,
                    frame: shown.frame,
                })
            }
            Buffer::Sounds(sounds) => {
                let sound = sounds.poll(now, wanted, is_lost, figures)?;
                figures.target_delay = micros(sounds.aim(wanted));
                if let Sound {
                    play: crate::event::Play::Frame { frame, .. },
                    ..
                } = &sound
                {
                    self.played = Some((frame.timestamp, now));
                }
                Some(Event::Sound { receiver, ssrc, sound })
            }
        }
    }

    /// The newest media that came, and when it was due if nothing had held it up: its timestamp, clock rate and moment.
    pub(crate) fn arrival(&self) -> Option<(u32, u32, Instant)> {
        let (timestamp, clock_rate) = self.newest?;
        Some((timestamp, clock_rate, self.arrival_of(timestamp, clock_rate)?))
    }

    /// The same of the newest media that told when it was captured: the NTP time of that, and the moment.
    pub(crate) fn capture_arrival(&self) -> Option<(u64, Instant)> {
        let ((timestamp, capture), (_, clock_rate)) = (self.capture?, self.newest?);
        Some((capture, self.arrival_of(timestamp, clock_rate)?))
    }

    fn arrival_of(&self, timestamp: u32, clock_rate: u32) -> Option<Instant> {
        match &self.buffer {
            Buffer::None => None,
            Buffer::Pictures(pictures) => Some(pictures.arrival(timestamp, clock_rate)),
            Buffer::Sounds(sounds) => Some(sounds.arrival(timestamp)),
        }
    }

    /// How long media is held back, if nothing is added to keep it in step, microseconds.
    fn natural(&self) -> Option<i64> {
        match &self.buffer {
            Buffer::None => None,
            Buffer::Pictures(pictures) => Some(pictures.natural(self.wanted) + pictures.lag()),
            Buffer::Sounds(sounds) => Some(sounds.natural(self.wanted)),
        }
    }

    /// What is counted.
    pub(crate) fn figures(&self) -> PlayoutFigures {
        self.figures
    }

    /// Whole frames of video that were not shown.
    pub(crate) fn frames_dropped(&self) -> u64 {
        self.dropped
            + match &self.buffer {
                Buffer::Pictures(pictures) => pictures.dropped,
                _ => 0,
            }
    }

    /// Packets of sound that came too late.
    pub(crate) fn packets_discarded(&self) -> u64 {
        self.discarded
            + match &self.buffer {
                Buffer::Sounds(sounds) => sounds.discarded,
                _ => 0,
            }
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
