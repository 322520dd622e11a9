//! Pictures over links of many kinds: when they are shown.

use antiphon_netsim::start;
use antiphon_sansio::Rng;
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
/// 30 frames a second at 90 kHz.
const TICKS: u32 = 3000;

fn picture(timestamp: u32, key_frame: bool) -> Frame {
    Frame {
        key_frame,
        ..Frame::new(96, timestamp, vec![0; 100])
    }
}

fn times(now: Instant, began: Instant) -> Times {
    Times {
        now,
        began,
        round: None,
    }
}

/// Shows what comes, and notes when.
struct Screen {
    pictures: Pictures,
    wanted: Wanted,
    begin: Instant,
    shown: Vec<(Instant, u32)>,
}

impl Screen {
    fn new() -> Self {
        Self::with_repairs_after(None)
    }

    /// What is lost comes after so long.
    fn with_repairs_after(round: Option<Duration>) -> Self {
        let begin = start();
        Self {
            pictures: Pictures::new(begin, round),
            wanted: Wanted::default(),
            begin,
            shown: Vec::new(),
        }
    }

    /// Time passes until then.
    fn wait(&mut self, until: Instant) {
        while let Some(at) = self.pictures.next().filter(|at| *at <= until) {
            let at = at.max(self.shown.last().map_or(self.begin, |(at, _)| *at));
            self.show(at);
        }
        self.show(until);
    }

    fn show(&mut self, now: Instant) {
        while let Some(shown) = self.pictures.poll(now, self.wanted) {
            self.shown.push((now, shown.frame.timestamp));
        }
    }

    fn take(&mut self, at: Instant, frame: Frame) {
        self.wait(at);
        self.pictures.insert(times(at, at), frame, false, 90_000);
        self.show(at);
    }

    /// `count` pictures 33.3 ms apart, each so much later than it could be, microseconds. Returns the delays against that.
    fn play(&mut self, from: Instant, first: u32, count: u32, mut late: impl FnMut(u32) -> u64) -> Vec<Duration> {
        let mut before = from;
        let already = self.shown.len();
        for n in 0..count {
            let at = from + Duration::from_micros(u64::from(n) * 100_000 / 3 + late(n));
            // In order, as the assembler hands them over.
            before = before.max(at);
            self.take(before, picture(first.wrapping_add(n * TICKS), n == 0));
        }
        self.wait(before + Duration::from_secs(12));
        let shown = self.shown[already..].iter();
        let due = |timestamp: u32| {
            from + Duration::from_micros(u64::from(timestamp.wrapping_sub(first)) * 100_000 / 3 / u64::from(TICKS))
        };
        shown
            .map(|(at, timestamp)| at.saturating_duration_since(due(*timestamp)))
            .collect()
    }
}

#[test]
fn a_clean_link_adds_ten_milliseconds() {
    let mut screen = Screen::new();
    // The timestamps wrap.
    let delays = screen.play(start(), u32::MAX - 100_000, 300, |_| 0);
    assert_eq!(delays.len(), 300);
    assert!(
        delays.iter().all(|delay| (10 * MS..12 * MS).contains(delay)),
        "{delays:?}"
    );
}

#[test]
fn jitter_is_evened_out() {
    let mut rng = Rng::from_u64(1);
    let delays = Screen::new().play(start(), 0, 1800, |_| (rng.unit() * 40_000.0) as u64);
    let (first, last) = delays.split_at(300);
    let uneven = last
        .windows(2)
        .filter(|pair| pair[0].abs_diff(pair[1]) > 5 * MS)
        .count();
    assert!(uneven < 15, "{uneven} of 1500");
    assert!(first.iter().chain(last).all(|delay| *delay < 60 * MS));
}

#[test]
fn a_rare_spike_is_shown_late_and_costs_nobody_else() {
    let delays = Screen::new().play(start(), 0, 1800, |n| if n % 300 == 299 { 120_000 } else { 0 });
    let late = delays.iter().filter(|delay| **delay > 40 * MS).count();
    // The picture itself, and those that waited behind it.
    assert!(late <= 6 * 4, "{late}");
}

#[test]
fn what_would_freeze_is_waited_for() {
    // One in fifty comes 400 ms late, as after two rounds of asking on a long path.
    let mut screen = Screen::new();
    let delays = screen.play(start(), 0, 3000, |n| if n % 50 == 49 { 400_000 } else { 0 });
    let (_, last) = delays.split_at(1000);
    let freezes = last.windows(2).filter(|pair| pair[1] > pair[0] + 150 * MS).count();
    assert_eq!(freezes, 0);
    assert!(last.iter().all(|delay| *delay <= 410 * MS));
}

#[test]
fn the_first_repair_of_a_long_way_is_no_freeze() {
    let play = |round: u64, late: u64| {
        let mut screen = Screen::with_repairs_after(Some(Duration::from_millis(round)));
        screen.play(start(), 0, 900, |n| if n == 60 { late * 1000 } else { 0 })
    };
    let delays = play(225, 210);
    let longest = delays.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max();
    assert!(longest.unwrap() < 150 * MS, "{longest:?}");
    assert!(delays[899] < 12 * MS, "it is not waited for for ever");
    // What freezes nothing is not waited for before it happens.
    assert!(play(56, 0)[0] < 12 * MS);
}

#[test]
fn a_new_way_is_followed() {
    let delays = Screen::new().play(start(), 0, 900, |n| if n < 300 { 0 } else { 200_000 });
    assert!(delays[299] < 12 * MS);
    // At once it is shown as it comes; then it has its base.
    assert!(delays[301] < 201 * MS && delays[400..].iter().all(|delay| *delay < 240 * MS));
    assert!(delays[500..].iter().all(|delay| *delay < 215 * MS));
    let back = Screen::new().play(start(), 0, 900, |n| if n < 300 { 200_000 } else { 0 });
    assert!(back[899] < 12 * MS, "{:?}", back[899]);
}

#[test]
fn clocks_that_drift_change_nothing() {
    for ppm in [100_i64, -100] {
        let mut screen = Screen::new();
        let from = start() + Duration::from_secs(1);
        for n in 0..18_000_i64 {
            let micros = n * 100_000 / 3;
            let at = from + Duration::from_micros((micros + micros * ppm / 1_000_000) as u64);
            screen.take(at, picture((n as u32).wrapping_mul(TICKS), n == 0));
            if let Some(next) = screen.pictures.next() {
                let wait = next.saturating_duration_since(at);
                assert!(wait <= 12 * MS, "{n}: {wait:?}");
            }
        }
        assert!(screen.shown.len() >= 17_999);
    }
}

#[test]
fn a_pause_of_a_minute_leaves_no_trace() {
    for clock_runs in [true, false] {
        let mut screen = Screen::new();
        screen.play(start(), 0, 300, |_| 0);
        let again = start() + Duration::from_secs(70);
        let first = if clock_runs { 70 * 90_000 } else { 300 * TICKS };
        let delays = screen.play(again, first, 60, |_| 0);
        assert_eq!(delays.len(), 60);
        assert!(delays.iter().all(|delay| *delay < 12 * MS), "{delays:?}");
    }
}

#[test]
fn wishes_are_followed() {
    let mut screen = Screen::new();
    screen.wanted.target = 300_000;
    let delays = screen.play(start(), 0, 30, |_| 0);
    assert!(delays.iter().all(|delay| delay.abs_diff(300 * MS) < 2 * MS));
    // A change is followed by a tenth of the time.
    screen.wanted.target = 0;
    let delays = screen.play(start() + Duration::from_secs(14), 14 * 90_000, 150, |_| 0);
    assert!(delays.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 5 * MS));
    assert!(delays[149] < 12 * MS);
    for (min, max, shown) in [(0, 0, 0), (20, 40, 200), (0, 5, 10)] {
        let mut screen = Screen::new();
        let mut frame = picture(0, true);
        frame.extensions.playout_delay = Some(PlayoutDelay { min, max });
        screen.take(start(), frame);
        screen.wait(start() + Duration::from_secs(1));
        let delay = screen.shown[0].0 - start();
        assert_eq!(delay, shown * MS, "{min} to {max}");
    }
}

#[test]
fn what_a_key_frame_makes_useless_is_left_out() {
    let mut screen = Screen::new();
    screen.play(start(), 0, 30, |_| 0);
    let from = start() + Duration::from_secs(14);
    // Ten come at once, half a second late, and the seventh is a key frame.
    for n in 0..10 {
        let frame = picture(14 * 90_000 + n * TICKS, n == 6);
        screen
            .pictures
            .insert(times(from + 500 * MS, from), frame, false, 90_000);
    }
    let before = screen.shown.len();
    screen.wait(from + Duration::from_secs(1));
    assert_eq!(
        (screen.shown.len() - before, screen.pictures.dropped),
        (10, 0),
        "after a pause they are not late"
    );
    for n in 10..20 {
        let frame = picture(14 * 90_000 + n * TICKS, n == 16);
        screen
            .pictures
            .insert(times(from + 1400 * MS, from), frame, false, 90_000);
    }
    let first = screen.pictures.poll(from + 2000 * MS, screen.wanted).unwrap();
    assert!(first.discontinuity && first.frame.key_frame);
    assert_eq!(screen.pictures.dropped, 6);
}

proptest! {
    #[test]
    fn hostile_timestamps_hold_nothing_back_for_long(
        frames in prop::collection::vec((any::<u32>(), 0u64..200, any::<bool>()), 1..400),
        near: bool,
    ) {
        let mut screen = Screen::new();
        let mut at = start();
        for (n, (timestamp, wait, key)) in frames.iter().enumerate() {
            at += Duration::from_millis(*wait);
            // All over the place, or jumping about within some seconds.
            let timestamp = if near { timestamp % 800_000 } else { *timestamp };
            screen.take(at, picture(timestamp, *key));
            let known = screen.shown.len() + screen.pictures.queue.len() + screen.pictures.dropped as usize;
            prop_assert_eq!(known, n + 1);
            prop_assert!(screen.pictures.queue.len() <= MAX_FRAMES);
        }
        screen.wait(at + Duration::from_secs(31));
        prop_assert!(screen.pictures.queue.is_empty());
        prop_assert_eq!(screen.pictures.bytes, 0);
    }
}
