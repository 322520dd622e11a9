//! Keys of a telephone that a sender of sound plays: which comes next, and which packets speak of it (RFC 4733 §2.5.1, W3C
//! webrtc-pc §7).
//!
//! A key is an event that begins, lasts and ends. Its packets bear the timestamp of its beginning and say how long it has lasted;
//! the last of them is sent three times. The sound stays silent meanwhile.

use std::time::{Duration, Instant};

use antiphon_rtp::payload::telephone_event::{LEN, TelephoneEvent};

/// Keys that wait, at most: what one call of the application can keep a stream busy with.
pub const MAX_TONES: usize = 1024;
/// W3C webrtc-pc §7.2: a tone lasts at least and at most this long ...
pub const MIN_TONE: Duration = Duration::from_millis(40);
/// ... and more is taken as this.
pub const MAX_TONE: Duration = Duration::from_secs(6);
/// W3C webrtc-pc §7.2: the least time between two tones. We need 10 ms more, so that the end of one is said whole before the next.
pub const MIN_TONE_GAP: Duration = Duration::from_millis(30);
/// W3C webrtc-pc §7.2: how long a tone lasts if nothing is said.
pub const DEFAULT_TONE: Duration = Duration::from_millis(100);
/// W3C webrtc-pc §7.2: the time between two tones if nothing is said.
pub const DEFAULT_TONE_GAP: Duration = Duration::from_millis(70);
/// The character that is no key, and makes the next one wait.
const PAUSE: char = ',';
/// W3C webrtc-pc §7.2: how long it waits.
const PAUSE_TIME: Duration = Duration::from_secs(2);
/// How often an event is spoken of: as often as most senders send sound (RFC 4733 §2.5.1.2).
const INTERVAL: Duration = Duration::from_millis(20);
/// RFC 4733 §2.5.1.4: the final packet of an event and of a segment is sent so many times.
const FINALS: u8 = 3;
/// The loudness that is said, in decibels below 1 mW: that of a telephone (RFC 4733 §2.3.4 leaves it to the sender).
const VOLUME: u8 = 10;

/// What a sender plays.
#[derive(Debug, Default)]
pub(crate) struct Dtmf {
    /// The keys to come.
    buffer: String,
    duration: Duration,
    gap: Duration,
    /// When the next key has its turn; `None`: nothing is played.
    next: Option<Instant>,
    /// The event that is being sent.
    event: Option<Event>,
}

/// One event, or one segment of a long one.
#[derive(Clone, Copy, Debug)]
struct Event {
    code: u8,
    payload_type: u8,
    clock_rate: u32,
    /// When it, or its segment, began, and the timestamp of that.
    began: Instant,
    timestamp: u32,
    until: Instant,
    /// When to speak of it next.
    at: Instant,
    /// Whether it was spoken of.
    announced: bool,
    /// How many of its final packets were sent.
    finals: u8,
}

/// One packet that speaks of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: [u8; LEN],
}

/// What a sender needs to know of the codec of its events, when one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) payload_type: u8,
    /// The clock in which durations are counted.
    pub(crate) clock_rate: u32,
    /// The timestamp of the stream at this moment.
    pub(crate) timestamp: u32,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// This packet is to be sent.
    Report(Report),
    /// The application is to be told (`tonechange`): the key that begins, or `None` after the last one.
    Tone(Option<char>),
}

/// Whether `insertDTMF` takes this character; if so, as it is shown: keys are in upper case.
pub(crate) fn normalized(tone: char) -> Option<char> {
    let known = tone == PAUSE || (tone.is_ascii() && TelephoneEvent::code(tone).is_some());
    known.then(|| tone.to_ascii_uppercase())
}

impl Dtmf {
    /// W3C `insertDTMF`: takes the place of what waits; what is being played goes on to its end. `tones` are [`normalized`].
    pub(crate) fn insert(&mut self, now: Instant, tones: String, duration: Duration, gap: Duration) {
        self.buffer = tones;
        self.duration = duration.clamp(MIN_TONE, MAX_TONE);
        self.gap = gap.clamp(MIN_TONE_GAP, MAX_TONE);
        // W3C: with nothing to play no task is queued, and one that is queued stays.
        if !self.buffer.is_empty() {
            self.next.get_or_insert(now);
        }
    }

    /// W3C `toneBuffer`: the keys to come.
    pub(crate) fn buffer(&self) -> &str {
        &self.buffer
    }

    /// Whether an event is being sent, and the sound withheld.
    pub(crate) fn is_heard(&self) -> bool {
        self.event.is_some()
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // A key waits until no packet speaks of the one before, so that the two never mix on the way.
        self.event.map(|event| event.at).or(self.next)
    }

    /// Falls silent, and forgets what waits.
    pub(crate) fn stop(&mut self) {
        *self = Self::default();
    }

    /// The next thing that is due. `voice` is asked when a key begins; `None`: events cannot be sent any more.
    pub(crate) fn poll(&mut self, now: Instant, voice: impl FnOnce() -> Option<Voice>) -> Option<Due> {
        if let Some(event) = &mut self.event
            && event.at <= now
        {
            let report = event.report(now);
            if event.finals == FINALS {
                self.event = None;
            }
            return Some(Due::Report(report));
        }
        if self.event.is_some() || self.next.is_none_or(|at| at > now) {
            return None;
        }
        let Some(tone) = self.buffer.chars().next() else {
            self.next = None;
            return Some(Due::Tone(None));
        };
        if tone == PAUSE {
            self.buffer.remove(0);
            self.next = Some(now + PAUSE_TIME);
            return Some(Due::Tone(Some(PAUSE)));
        }
        let (Some(voice), Some(code)) = (voice(), TelephoneEvent::code(tone)) else {
            self.stop();
            return None;
        };
        self.buffer.remove(0);
        self.next = Some(now + self.duration + self.gap);
        self.event = Some(Event {
            code,
            payload_type: voice.payload_type,
            clock_rate: voice.clock_rate.max(1),
            began: now,
            timestamp: voice.timestamp,
            until: now + self.duration,
            at: now + INTERVAL,
            announced: false,
            finals: 0,
        });
        Some(Due::Tone(Some(tone)))
    }
}

impl Event {
    /// Speaks of the event, and says when to speak of it again.
    fn report(&mut self, now: Instant) -> Report {
        let over = now >= self.until;
        let last = if over { self.until } else { now };
        let lasted = last.saturating_duration_since(self.began).as_micros() * u128::from(self.clock_rate) / 1_000_000;
        // RFC 4733 §2.5.1.3: what lasts longer than its field can say is sent in segments, each of which begins where the one
        // before ended. The final packet of each is sent three times: here at once, for the next one has begun.
        let is_segment = lasted > u128::from(u16::MAX);
        let duration = u16::try_from(lasted).unwrap_or(u16::MAX);
        let end = over && !is_segment;
        let report = Report {
            payload_type: self.payload_type,
            timestamp: self.timestamp,
            // RFC 4733 §2.5.1.1: on the first packet of an event; not on those of a later segment.
            marker: !std::mem::replace(&mut self.announced, true),
            payload: TelephoneEvent {
                event: self.code,
                end,
                volume: VOLUME,
                duration,
            }
            .write(),
        };
        if end {
            self.finals += 1;
            self.at = now + INTERVAL;
        } else if is_segment {
            self.finals += 1;
            if self.finals == FINALS {
                self.finals = 0;
                self.timestamp = self.timestamp.wrapping_add(u32::from(u16::MAX));
                self.began += Duration::from_secs(1) * u32::from(u16::MAX) / self.clock_rate;
            }
            self.at = now;
        } else {
            self.at = (now + INTERVAL).min(self.until);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u32 = 8000;

    /// Plays until nothing is due any more: what was sent and told, and when, in milliseconds.
    fn play(dtmf: &mut Dtmf, begin: Instant) -> Vec<(u128, Due)> {
        let mut played = Vec::new();
        while let Some(now) = dtmf.deadline() {
            let timestamp = (now.duration_since(begin).as_millis() * u128::from(CLOCK) / 1000) as u32;
            let voice = Voice {
                payload_type: 126,
                clock_rate: CLOCK,
                timestamp,
            };
            while let Some(due) = dtmf.poll(now, || Some(voice)) {
                played.push((now.duration_since(begin).as_millis(), due));
            }
            assert!(dtmf.deadline().is_none_or(|at| at > now), "law 2");
        }
        played
    }

    fn events(played: &[(u128, Due)]) -> Vec<(u128, u32, bool, TelephoneEvent)> {
        let reports = played.iter().filter_map(|(at, due)| match due {
            Due::Report(report) => Some((at, report)),
            Due::Tone(_) => None,
        });
        reports
            .map(|(at, report)| {
                let event = TelephoneEvent::parse(&report.payload).expect("four bytes");
                (*at, report.timestamp, report.marker, event)
            })
            .collect()
    }

    fn tones(played: &[(u128, Due)]) -> Vec<(u128, Option<char>)> {
        let tones = played.iter().filter_map(|(at, due)| match due {
            Due::Tone(tone) => Some((*at, *tone)),
            Due::Report(_) => None,
        });
        tones.collect()
    }

    fn inserted(tones: &str, duration: u64, gap: u64) -> (Dtmf, Instant) {
        let now = antiphon_netsim::start();
        let mut dtmf = Dtmf::default();
        let millis = Duration::from_millis;
        dtmf.insert(now, tones.into(), millis(duration), millis(gap));
        (dtmf, now)
    }

    #[test]
    fn two_keys_are_sent_as_the_rfc_says() {
        let (mut dtmf, now) = inserted("1#", 50, 30);
        assert_eq!(dtmf.buffer(), "1#");
        let played = play(&mut dtmf, now);
        let sent: Vec<_> = events(&played)
            .into_iter()
            .map(|(at, timestamp, marker, event)| (at, timestamp, marker, event.event, event.end, event.duration))
            .collect();
        assert_eq!(
            sent,
            [
                (20, 0, true, 1, false, 160),
                (40, 0, false, 1, false, 320),
                (50, 0, false, 1, true, 400),
                (70, 0, false, 1, true, 400),
                (90, 0, false, 1, true, 400),
                (110, 720, true, 11, false, 160),
                (130, 720, false, 11, false, 320),
                (140, 720, false, 11, true, 400),
                (160, 720, false, 11, true, 400),
                (180, 720, false, 11, true, 400),
            ]
        );
        assert_eq!(tones(&played), [(0, Some('1')), (90, Some('#')), (180, None)]);
    }

    #[test]
    fn durations_keep_to_the_limits_and_a_comma_waits() {
        let (mut dtmf, now) = inserted("0,D", 1, 1);
        let played = play(&mut dtmf, now);
        assert_eq!(
            tones(&played),
            [(0, Some('0')), (80, Some(',')), (2080, Some('D')), (2160, None)]
        );
        assert!(events(&played).iter().all(|(.., event)| event.duration <= 320));
        let (mut dtmf, now) = inserted("0", 60_000, 60_000);
        let played = play(&mut dtmf, now);
        assert_eq!(tones(&played).last(), Some(&(12_000, None)));
        assert_eq!(events(&played).last().map(|(.., event)| event.duration), Some(48_000));
    }

    #[test]
    fn a_long_event_has_segments() {
        let now = antiphon_netsim::start();
        let mut dtmf = Dtmf::default();
        dtmf.insert(now, "5".into(), MAX_TONE, MIN_TONE_GAP);
        let voice = Voice {
            payload_type: 110,
            clock_rate: 48_000,
            timestamp: 7,
        };
        let mut events: Vec<(u32, bool, TelephoneEvent)> = Vec::new();
        while let Some(at) = dtmf.deadline() {
            while let Some(due) = dtmf.poll(at, || Some(voice)) {
                if let Due::Report(report) = due {
                    let event = TelephoneEvent::parse(&report.payload).expect("four bytes");
                    events.push((report.timestamp, report.marker, event));
                }
            }
        }
        assert_eq!(events.iter().filter(|(_, marker, _)| *marker).count(), 1);
        let full = events.iter().filter(|(.., event)| event.duration == u16::MAX);
        assert_eq!(full.count(), 4 * usize::from(FINALS));
        let ends: Vec<_> = events.iter().filter(|(.., event)| event.end).collect();
        assert_eq!(ends.len(), usize::from(FINALS));
        let (timestamp, _, event) = ends[0];
        // 6 s at 48 kHz.
        let whole = timestamp - 7 + u32::from(event.duration);
        assert!((287_990..=288_000).contains(&whole), "{whole}");
    }

    #[test]
    fn later_keys_take_the_place_of_those_that_wait_and_none_ends_it() {
        let (mut dtmf, now) = inserted("123", 100, 70);
        let voice = Voice {
            payload_type: 126,
            clock_rate: CLOCK,
            timestamp: 0,
        };
        assert_eq!(dtmf.poll(now, || Some(voice)), Some(Due::Tone(Some('1'))));
        dtmf.insert(now, "9".into(), MIN_TONE, MIN_TONE_GAP);
        let played = play(&mut dtmf, now);
        assert_eq!(
            tones(&played),
            [(170, Some('9')), (250, None)],
            "the first goes on to its end"
        );

        let (mut dtmf, now) = inserted("123", 100, 70);
        dtmf.poll(now, || Some(voice));
        dtmf.insert(now, String::new(), MIN_TONE, MIN_TONE_GAP);
        assert_eq!(tones(&play(&mut dtmf, now)), [(170, None)]);
        let (mut dtmf, now) = inserted("", 100, 70);
        assert_eq!(play(&mut dtmf, now), []);
    }

    #[test]
    fn time_in_leaps_loses_no_key_and_says_each_end() {
        let (mut dtmf, mut now) = inserted("12", 100, 70);
        let voice = Voice {
            payload_type: 126,
            clock_rate: CLOCK,
            timestamp: 0,
        };
        let mut all = Vec::new();
        for _ in 0..100 {
            while let Some(due) = dtmf.poll(now, || Some(voice)) {
                all.push((0, due));
            }
            now += Duration::from_millis(137);
        }
        assert_eq!(tones(&all), [(0, Some('1')), (0, Some('2')), (0, None)]);
        let ends = events(&all)
            .into_iter()
            .filter(|(.., event)| event.end && event.duration == 800);
        assert_eq!(ends.count(), 6);
        assert_eq!(dtmf.deadline(), None);
    }

    #[test]
    fn what_is_no_key_is_not_taken() {
        assert_eq!(normalized('a'), Some('A'));
        assert_eq!(normalized(','), Some(','));
        for wrong in ['E', ' ', '١', 'ａ', '\0'] {
            assert_eq!(normalized(wrong), None, "{wrong:?}");
        }
    }
}
