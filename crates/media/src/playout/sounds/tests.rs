//! Sound over links of many kinds: what is heard, and that it has no holes.

use antiphon_netsim::start;
use antiphon_sansio::Rng;
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const TICKS: u32 = 960;

/// Hears what is played, and notes when.
struct Ear {
    sounds: Sounds,
    wanted: Wanted,
    figures: PlayoutFigures,
    came: std::collections::BTreeSet<u64>,
    now: Instant,
    heard: Vec<(Instant, Sound)>,
}

impl Ear {
    fn new() -> Self {
        Self {
            sounds: Sounds::new(start()),
            wanted: Wanted::default(),
            figures: PlayoutFigures::default(),
            came: std::collections::BTreeSet::new(),
            now: start(),
            heard: Vec::new(),
        }
    }

    fn wait(&mut self, until: Instant) {
        while let Some(at) = self.sounds.next(self.wanted).filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.hear();
        }
        self.now = self.now.max(until);
        self.hear();
    }

    fn hear(&mut self) {
        loop {
            let came = &self.came;
            let is_lost = |after: u64, before: u64| (after + 1..before).any(|number| !came.contains(&number));
            let Some(sound) = self.sounds.poll(self.now, self.wanted, is_lost, &mut self.figures) else {
                break;
            };
            assert!(sound.duration > Duration::ZERO && sound.duration <= Duration::from_millis(140));
            self.heard.push((self.now, sound));
        }
        assert!(self.sounds.next(self.wanted).is_none_or(|at| at > self.now), "law 2");
    }

    fn take(&mut self, at: Instant, number: u64, timestamp: u32, silence: bool) {
        self.wait(at);
        self.came.insert(number);
        let came = Came {
            frame: Frame::new(111, timestamp, vec![1]),
            sequence: number,
            ticks: Some(TICKS),
            begins_silence: silence,
        };
        self.sounds.insert(self.now, came, 48_000);
        self.hear();
    }

    /// `count` packets, 20 ms apart, each so much later than it could be, milliseconds; `None`: lost.
    fn play(&mut self, from: Instant, first: u64, count: u64, mut late: impl FnMut(u64) -> Option<u64>) {
        let mut arrivals: Vec<_> = (0..count)
            .filter_map(|n| Some((from + (n * 20 + late(n)?) as u32 * MS, n)))
            .collect();
        arrivals.sort();
        for (at, n) in arrivals {
            self.take(at, first + n, (first + n) as u32 * TICKS, false);
        }
    }

    fn count(&self, what: impl Fn(&Play) -> bool) -> usize {
        self.heard.iter().filter(|(_, sound)| what(&sound.play)).count()
    }

    /// How long the newest frame that was heard waited in all.
    fn delay(&self, from: Instant) -> Duration {
        let frames = self.heard.iter().rev();
        let (at, timestamp) = frames
            .filter_map(|(at, sound)| match &sound.play {
                Play::Frame { frame, .. } => Some((*at, frame.timestamp)),
                _ => None,
            })
            .next()
            .unwrap();
        at.saturating_duration_since(from + timestamp / 48 * MS)
    }

    /// What was heard has no hole.
    fn is_whole(&self) -> bool {
        self.heard
            .windows(2)
            .all(|pair| pair[0].0 + pair[0].1.duration == pair[1].0)
    }
}

fn is_frame(play: &Play) -> bool {
    matches!(play, Play::Frame { .. })
}

fn is_concealed(play: &Play) -> bool {
    matches!(play, Play::Conceal { .. })
}

#[test]
fn a_clean_link_has_frames_alone_and_little_delay() {
    let mut ear = Ear::new();
    ear.play(start(), 0, 1000, |_| Some(0));
    assert!(ear.is_whole());
    assert_eq!(ear.count(|play| !is_frame(play)), 0);
    assert!(ear.delay(start()) <= 30 * MS, "{:?}", ear.delay(start()));
    // What the careful beginning had too much was squeezed out.
    assert!((2000..3000).contains(&ear.figures.removed_samples_for_acceleration));
    assert_eq!(
        ear.figures.jitter_buffer_emitted_count,
        ear.count(is_frame) as u64 * 960
    );
}

#[test]
fn jitter_and_disorder_are_covered() {
    let mut rng = Rng::from_u64(2);
    let mut ear = Ear::new();
    ear.play(start(), 0, 6000, |_| Some((rng.unit() * 50.0) as u64));
    assert!(ear.is_whole());
    let share = ear.figures.concealed_samples as f64 / ear.figures.total_samples_received as f64;
    assert!(share < 0.001, "{share}");
    assert!(ear.delay(start()) < 80 * MS);
}

#[test]
fn what_is_lost_is_made_up_and_no_more() {
    let mut ear = Ear::new();
    ear.play(start(), 0, 1000, |n| (n % 50 != 49).then_some(0));
    assert!(ear.is_whole());
    // The last one is at the end of all.
    assert_eq!(ear.figures.concealed_samples, 19 * 960);
    assert_eq!(ear.figures.concealment_events, 19);
    let mut concealed = ear.heard.iter().filter(|(_, sound)| is_concealed(&sound.play));
    // The next frame had come: it may have the lost one once more.
    assert!(
        concealed.all(|(_, sound)| matches!(&sound.play, Play::Conceal { next: Some(_), so_far } if so_far.is_zero()))
    );
}

#[test]
fn what_comes_late_is_heard_late_and_the_delay_goes_back() {
    let mut ear = Ear::new();
    // Once, 150 ms stand still, and then all comes at once.
    ear.play(start(), 0, 2000, |n| {
        Some(if (500..508).contains(&n) {
            150_u64.saturating_sub((n - 500) * 20)
        } else {
            0
        })
    });
    assert!(ear.is_whole());
    assert!(ear.figures.concealed_samples > 0);
    assert_eq!(ear.sounds.discarded, 0);
    assert_eq!(ear.count(is_frame) + ear.sounds.queue.len(), 2000);
    assert!(ear.delay(start()) < 70 * MS, "{:?}", ear.delay(start()));
}

#[test]
fn an_outage_is_left_behind() {
    let mut ear = Ear::new();
    ear.play(start(), 0, 1000, |n| {
        Some(if (200..350).contains(&n) {
            3000 - (n - 200) * 20
        } else {
            0
        })
    });
    assert!(ear.is_whole());
    assert!(ear.delay(start()) < 120 * MS, "{:?}", ear.delay(start()));
    // A second is made up, of which the end is silent; then it is silence.
    assert!((900..1100).contains(&(ear.figures.concealed_samples / 48)));
    assert!(ear.figures.silent_concealed_samples > 0);
    assert!(ear.count(|play| *play == Play::Silence) > 50);
    assert!(ear.figures.removed_samples_for_acceleration > 48_000);
}

#[test]
fn silence_that_is_not_sent_is_no_loss() {
    let mut ear = Ear::new();
    let mut at = start();
    let (mut number, mut timestamp) = (0, 0);
    for _ in 0..10 {
        for n in 0..50 {
            ear.take(at, number, timestamp, n == 49);
            (number, timestamp, at) = (number + 1, timestamp + TICKS, at + 20 * MS);
        }
        // DTX of Opus: one packet in 400 ms.
        for _ in 0..5 {
            (timestamp, at) = (timestamp + 19 * TICKS, at + 380 * MS);
            ear.take(at, number, timestamp, true);
            (number, timestamp, at) = (number + 1, timestamp + TICKS, at + 20 * MS);
        }
    }
    assert!(ear.is_whole());
    assert_eq!((ear.figures.concealed_samples, ear.figures.concealment_events), (0, 0));
    assert!(ear.count(|play| *play == Play::Silence) > 500);
}

#[test]
fn clocks_that_drift_are_followed() {
    for ppm in [100_i64, -100] {
        let mut ear = Ear::new();
        for n in 0..30_000_i64 {
            let micros = n * 20_000;
            let at = start() + Duration::from_micros((micros + micros * ppm / 1_000_000) as u64);
            ear.take(at, n as u64, (n as u32).wrapping_mul(TICKS), false);
        }
        assert!(ear.is_whole());
        assert_eq!(ear.count(|play| !is_frame(play)), 0, "{ppm}");
        // 60 ms in ten minutes.
        let inserted = ear.figures.inserted_samples_for_deceleration;
        let removed = ear.figures.removed_samples_for_acceleration;
        if ppm > 0 {
            assert!((1400..3500).contains(&inserted), "{inserted}");
        } else {
            assert!((4000..6500).contains(&removed), "{removed}");
        }
    }
}

#[test]
fn a_pause_of_a_minute_ends_playing_and_begins_it_again() {
    for clock_runs in [true, false] {
        let mut ear = Ear::new();
        ear.play(start(), 0, 100, |_| Some(0));
        ear.wait(start() + Duration::from_secs(60));
        assert!(ear.is_whole());
        assert_eq!(ear.sounds.next(ear.wanted), None, "nothing is played any more");
        assert!(ear.figures.concealed_samples <= 48_000);
        let from = start() + Duration::from_secs(62);
        let first = if clock_runs { 62 * 48_000 } else { 100 * TICKS };
        let before = ear.heard.len();
        for n in 0..100 {
            ear.take(from + 20 * n * MS, 100 + u64::from(n), first + n * TICKS, false);
        }
        let again = &ear.heard[before..];
        assert!(again.iter().all(|(_, sound)| is_frame(&sound.play)));
        assert!(
            again.len() > 95 && again[0].0 - from <= 90 * MS,
            "{:?}",
            again[0].0 - from
        );
    }
}

#[test]
fn a_wish_is_followed_by_stretching() {
    let mut ear = Ear::new();
    ear.play(start(), 0, 200, |_| Some(0));
    ear.wanted.target = 500_000;
    let from = start() + 4000 * MS;
    ear.play(from, 200, 500, |_| Some(0));
    assert!(ear.is_whole());
    assert_eq!(ear.count(|play| !is_frame(play)), 0);
    let delay = ear.delay(start());
    assert!(delay >= 480 * MS && delay <= 500 * MS, "{delay:?}");
    assert!(ear.figures.inserted_samples_for_deceleration > 20_000);
}

proptest! {
    #[test]
    fn hostile_timestamps_leave_no_hole(
        packets in prop::collection::vec((any::<u32>(), 0u32..300, any::<bool>()), 1..300),
        near: bool,
    ) {
        let mut ear = Ear::new();
        let mut at = start();
        for (n, (timestamp, wait, silence)) in packets.into_iter().enumerate() {
            at += wait * MS;
            let timestamp = if near { timestamp % 400_000 } else { timestamp };
            ear.take(at, n as u64, timestamp, silence);
            prop_assert!(ear.sounds.queue.len() <= MAX_FRAMES);
        }
        ear.wait(at + Duration::from_secs(60));
        prop_assert!(ear.sounds.queue.is_empty());
        prop_assert_eq!(ear.sounds.next(ear.wanted), None);
    }
}
