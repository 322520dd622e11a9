//! Keys of a telephone that a source plays: its packets repeat themselves, and become two events for each key (RFC 4733 §2.5.2).

use std::time::{Duration, Instant};

use antiphon_rtp::payload::telephone_event::TelephoneEvent;

use crate::event::{Tone, TonePhase};

/// A key that is spoken of no more has been let go, though its last packets are lost: several times the 50 ms that RFC 4733
/// §2.5.1.2 recommends to senders.
const SILENCE: Duration = Duration::from_millis(300);
/// A packet of a key this long before the newest comes late; further back, the clock has gone round.
const LATE: u32 = 1 << 30;

/// The keys of one source.
#[derive(Debug, Default)]
pub(crate) struct Keypad {
    newest: Option<Press>,
}

/// One key, from the moment at which it was pressed.
#[derive(Clone, Copy, Debug)]
struct Press {
    code: u8,
    volume: u8,
    clock_rate: u32,
    /// When it was pressed, by the clock of the source.
    timestamp: u32,
    /// When its newest segment began (RFC 4733 §2.5.1.3).
    segment: u32,
    /// How long that has lasted.
    duration: u32,
    /// When a packet spoke of it last.
    heard: Instant,
    over: bool,
}

impl Press {
    fn tone(&self, phase: TonePhase) -> Tone {
        Tone {
            code: self.code,
            volume: self.volume,
            phase,
        }
    }

    fn end(&mut self, is_confirmed: bool) -> Tone {
        self.over = true;
        let units = u64::from(self.segment.wrapping_sub(self.timestamp)) + u64::from(self.duration);
        self.tone(TonePhase::Ended {
            lasted: Duration::from_micros(units * 1_000_000 / u64::from(self.clock_rate)),
            is_confirmed,
        })
    }

    /// Whether a packet speaks of this press: of the same segment, or of the one that follows it.
    fn is_same(&self, timestamp: u32, marker: bool, event: &TelephoneEvent) -> bool {
        let since = timestamp.wrapping_sub(self.segment);
        let follows = !marker && !self.over && (since == u32::from(u16::MAX) || since == self.duration);
        event.event == self.code && (since == 0 || follows)
    }
}

impl Keypad {
    /// When the newest key counts as let go.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let press = self.newest.filter(|press| !press.over)?;
        Some(press.heard + SILENCE)
    }

    /// Nobody speaks of the key any more.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Tone> {
        let is_due = self.deadline().is_some_and(|at| at <= now);
        self.newest.as_mut().filter(|_| is_due).map(|press| press.end(false))
    }

    /// The source restarted: its clock is another.
    pub(crate) fn reset(&mut self) {
        self.newest = None;
    }

    /// Takes in what a packet says, and tells what is new in it.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        (timestamp, marker): (u32, bool),
        clock_rate: u32,
        event: &TelephoneEvent,
        mut tell: impl FnMut(Tone),
    ) {
        match &mut self.newest {
            Some(press) if press.is_same(timestamp, marker, event) => {
                if press.over {
                    return;
                }
                let duration = u32::from(event.duration);
                press.duration = if press.segment == timestamp {
                    press.duration.max(duration)
                } else {
                    duration
                };
                press.segment = timestamp;
                press.heard = now;
                if event.end {
                    tell(press.end(true));
                }
                return;
            }
            // The end of a key before, or a segment before: all that could be said of it has been.
            Some(press) if (1..LATE).contains(&press.segment.wrapping_sub(timestamp)) => return,
            // The end of the key before was lost.
            Some(press) if !press.over => tell(press.end(false)),
            _ => {}
        }
        let mut press = Press {
            code: event.event,
            volume: event.volume,
            clock_rate: clock_rate.max(1),
            timestamp,
            segment: timestamp,
            duration: u32::from(event.duration),
            heard: now,
            over: false,
        };
        tell(press.tone(TonePhase::Began));
        if event.end {
            tell(press.end(true));
        }
        self.newest = Some(press);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u32 = 8000;

    struct Line {
        keypad: Keypad,
        now: Instant,
        told: Vec<String>,
    }

    impl Line {
        fn new() -> Self {
            Self {
                keypad: Keypad::default(),
                now: antiphon_netsim::start(),
                told: Vec::new(),
            }
        }

        fn hear(&mut self, timestamp: u32, marker: bool, (code, duration, end): (u8, u16, bool)) {
            let event = TelephoneEvent {
                event: code,
                end,
                volume: 10,
                duration,
            };
            let told = &mut self.told;
            self.keypad.hear(self.now, (timestamp, marker), CLOCK, &event, |tone| {
                told.push(show(tone))
            });
        }
    }

    fn show(tone: Tone) -> String {
        let key = tone.key().unwrap_or('?');
        match tone.phase {
            TonePhase::Began => format!("{key} down"),
            TonePhase::Ended { lasted, is_confirmed } => {
                format!(
                    "{key} up after {}{}",
                    lasted.as_millis(),
                    if is_confirmed { "" } else { "?" }
                )
            }
        }
    }

    #[test]
    fn each_key_is_told_once_however_often_it_is_said() {
        let mut line = Line::new();
        line.hear(1000, true, (1, 160, false));
        line.hear(1000, false, (1, 320, false));
        // Disorder: an earlier report after a later one.
        line.hear(1000, false, (1, 240, false));
        for _ in 0..3 {
            line.hear(1000, false, (1, 400, true));
        }
        line.hear(1000, false, (1, 320, false));
        // The same key again, its first packet lost.
        line.hear(2000, false, (1, 160, false));
        line.hear(1000, false, (1, 400, true));
        line.hear(2000, false, (1, 800, true));
        assert_eq!(line.told, ["1 down", "1 up after 50", "1 down", "1 up after 100"]);
        assert_eq!(line.keypad.deadline(), None);
    }

    #[test]
    fn a_lost_end_is_an_end_all_the_same() {
        let mut line = Line::new();
        line.hear(0, true, (11, 160, false));
        line.hear(4000, true, (12, 160, true));
        line.hear(8000, true, (0, 160, false));
        assert_eq!(line.keypad.expire(line.now), None);
        line.now = line.keypad.deadline().expect("waits");
        let expired = line.keypad.expire(line.now).map(show);
        assert_eq!(expired.as_deref(), Some("0 up after 20?"));
        line.hear(8000, false, (0, 1600, true));
        assert_eq!(
            line.told,
            ["# down", "# up after 20?", "A down", "A up after 20", "0 down"],
            "nothing more of what has ended"
        );
    }

    #[test]
    fn the_segments_of_a_long_key_are_one_key() {
        let mut line = Line::new();
        let mut timestamp = 0xffff_0000u32;
        line.hear(timestamp, true, (5, 0xffff, false));
        for _ in 0..3 {
            timestamp = timestamp.wrapping_add(0xffff);
            line.hear(timestamp, false, (5, 0xffff, false));
        }
        line.hear(timestamp.wrapping_sub(0xffff), false, (5, 0xffff, false));
        line.hear(timestamp, false, (5, 0xffff, true));
        assert_eq!(line.told, ["5 down", "5 up after 32767"]);
        // The clock has gone round meanwhile.
        line.hear(timestamp.wrapping_sub(1 << 31), true, (5, 80, true));
        assert_eq!(line.told.len(), 4);
    }

    #[test]
    fn a_key_of_which_only_the_end_came_is_told_whole() {
        let mut line = Line::new();
        line.hear(77, false, (16, 800, true));
        assert_eq!(line.told, ["? down", "? up after 100"]);
    }
}
