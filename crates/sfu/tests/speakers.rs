//! Conversations that are played to the speakers of a room.

use std::time::{Duration, Instant};

use antiphon_netsim::Counting;
use antiphon_sfu::speakers::{
    Event, LoudestOptions, MAX_LOUDEST, MAX_SPEAKERS, Speakers, Verdict, Volume, VolumeOptions,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PACKET: u64 = 20;
/// Levels in decibels below overload: a voice, the noise of a quiet room, and a microphone that is off.
const VOICE: u8 = 30;
const ROOM: u8 = 85;
const OFF: u8 = 127;

/// From when to when, in milliseconds, who has which level.
type Script<'a> = &'a [(u64, u64, u32, u8)];

/// A room of which one second after the other is played.
struct Room {
    speakers: Speakers,
    start: Instant,
    events: Vec<(u64, Event)>,
    /// By producer: packets that went on.
    passed: Vec<u64>,
}

impl Room {
    fn new(producers: u32) -> Self {
        let start = antiphon_netsim::start();
        let mut speakers = Speakers::new(start);
        assert!((0..producers).all(|producer| speakers.add(producer)));
        Self {
            speakers,
            start,
            events: Vec::new(),
            passed: vec![0; producers as usize],
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Everybody has the level of the last line of the script that fits, else that of a quiet room.
    fn play(&mut self, from: u64, to: u64, script: Script<'_>) {
        for millis in (from..to).step_by(PACKET as usize) {
            let now = self.at(millis);
            self.wait_until(now);
            for producer in 0..self.passed.len() as u32 {
                let fits = |line: &&(u64, u64, u32, u8)| line.2 == producer && (line.0..line.1).contains(&millis);
                let level = script.iter().rev().find(fits).map_or(ROOM, |line| line.3);
                let verdict = self.speakers.goes_on(now, producer, Some(level));
                self.passed[producer as usize] += u64::from(verdict.goes_on());
            }
        }
        self.wait_until(self.at(to));
    }

    fn wait_until(&mut self, now: Instant) {
        while let Some(due) = self.speakers.poll_timeout().filter(|due| *due <= now) {
            self.speakers.handle_timeout(due);
            assert!(self.speakers.poll_timeout().is_none_or(|next| next > due));
            while let Some(event) = self.speakers.poll_event() {
                self.events.push(((due - self.start).as_millis() as u64, event));
            }
        }
    }

    fn leaders(&self) -> Vec<(u64, Option<u32>)> {
        let leader = |(at, event): &(u64, Event)| match event {
            Event::Dominant(who) => Some((*at, *who)),
            _ => None,
        };
        self.events.iter().filter_map(leader).collect()
    }
}

fn leading(producers: u32, millis: u64, script: Script<'_>) -> Vec<(u64, Option<u32>)> {
    let mut room = Room::new(producers);
    room.speakers.set_dominance(true);
    room.play(0, millis, script);
    room.leaders()
}

#[test]
fn who_talks_leads_within_a_second_and_a_turn_is_taken_within_another() {
    let leaders = leading(
        4,
        9000,
        &[(1000, 4000, 2, VOICE), (4000, 7000, 0, VOICE), (7000, 9000, 3, VOICE)],
    );
    assert_eq!(
        leaders.iter().map(|(_, who)| *who).collect::<Vec<_>>(),
        [Some(2), Some(0), Some(3)]
    );
    for ((at, _), turn) in leaders.iter().zip([1000, 4000, 7000]) {
        assert!((turn..turn + 1000).contains(at), "{at} of {turn}");
    }
}

#[test]
fn a_cough_a_word_in_between_and_a_louder_voice_do_not_take_the_lead() {
    let talk = (0, 6000, 0, VOICE);
    for interruption in [
        (3000, 3200, 1, 5),
        (3000, 3500, 1, VOICE),
        (2000, 6000, 1, VOICE),
        (2000, 6000, 1, 10),
    ] {
        assert_eq!(leading(2, 6000, &[talk, interruption]).len(), 1, "{interruption:?}");
    }
}

#[test]
fn a_cough_in_a_silent_room_does_not_lead() {
    assert_eq!(leading(3, 5000, &[(3000, 3240, 1, 10)]), []);
}

#[test]
fn who_led_leads_on_through_silence() {
    assert_eq!(leading(3, 20_000, &[(1000, 3000, 1, VOICE)]).len(), 1);
}

#[test]
fn a_pause_between_words_does_not_give_the_lead_away() {
    let mut script = vec![(0, 10_000, 1, 60)];
    script.extend((0..10u64).map(|word| (word * 1000, word * 1000 + 700, 0, VOICE)));
    let leaders = leading(2, 10_000, &script);
    assert_eq!(leaders.iter().map(|(_, who)| *who).collect::<Vec<_>>(), [Some(0)]);
}

#[test]
fn noise_that_goes_on_is_learned_and_does_not_lead() {
    // A fan of -40 dBov leads at first, where nobody else speaks; who speaks later has the lead although the fan goes
    // on, and keeps it.
    let mut room = Room::new(2);
    room.speakers.set_dominance(true);
    let mut script = vec![(0, 40_000, 0, 40)];
    script.extend((0..20u64).map(|word| (20_000 + word * 1000, 20_600 + word * 1000, 1, 25)));
    room.play(0, 40_000, &script);
    let leaders = room.leaders();
    assert_eq!(
        leaders.iter().map(|(_, who)| *who).collect::<Vec<_>>(),
        [Some(0), Some(1)]
    );
    assert!((20_000..22_000).contains(&leaders[1].0), "{leaders:?}");
}

#[test]
fn who_is_gone_does_not_lead_and_the_next_one_does() {
    let mut room = Room::new(2);
    room.speakers.set_dominance(true);
    room.play(0, 3000, &[(0, 3000, 0, VOICE), (1500, 3000, 1, VOICE)]);
    assert_eq!(room.speakers.dominant(), Some(0));
    room.speakers.remove(0);
    assert_eq!(room.speakers.dominant(), None);
    assert_eq!(room.speakers.poll_event(), Some(Event::Dominant(None)));
    room.play(3000, 3600, &[(3000, 3600, 1, VOICE)]);
    assert_eq!(room.speakers.dominant(), Some(1));
}

#[test]
fn packets_of_any_length_lead() {
    for length in [10, 20, 40, 60] {
        let mut room = Room::new(1);
        room.speakers.set_dominance(true);
        for millis in (0..3000).step_by(length) {
            let now = room.at(millis);
            room.wait_until(now);
            let _ = room.speakers.goes_on(now, 0, Some(VOICE));
        }
        assert_eq!(room.speakers.dominant(), Some(0), "{length} ms");
    }
}

#[test]
fn volumes_are_told_loudest_first_and_silence_once() {
    let mut room = Room::new(5);
    room.speakers.set_volumes(Some(VolumeOptions {
        max_entries: 3,
        threshold: -60,
        interval: Duration::from_millis(800),
    }));
    let script = [
        (0, 800, 0, 50),
        (0, 800, 1, 20),
        (0, 800, 2, 30),
        (0, 800, 3, 40),
        (2400, 3200, 4, 10),
    ];
    room.play(0, 5000, &script);
    let volume = |producer, level| Volume { producer, level };
    assert_eq!(
        room.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(),
        [
            Event::Volumes(vec![volume(1, -20), volume(2, -30), volume(3, -40)]),
            Event::Silence,
            Event::Volumes(vec![volume(4, -10)]),
            Event::Silence,
        ]
    );
}

#[test]
fn volumes_are_the_mean_and_who_was_hardly_heard_has_none() {
    let mut room = Room::new(1);
    room.speakers.set_volumes(Some(VolumeOptions::default()));
    room.play(0, 1000, &[(0, 500, 0, 20), (500, 1000, 0, 40)]);
    assert_eq!(
        room.events.pop().map(|(_, event)| event),
        Some(Event::Volumes(vec![Volume {
            producer: 0,
            level: -30
        }]))
    );
    // Three packets within the next second.
    for millis in [1100, 1200, 1300] {
        let now = room.at(millis);
        let _ = room.speakers.goes_on(now, 0, Some(10));
    }
    room.wait_until(room.at(2500));
    assert_eq!(room.events.pop().map(|(_, event)| event), Some(Event::Silence));
}

#[test]
fn no_time_runs_while_nobody_sends() {
    let mut room = Room::new(2);
    room.speakers.set_volumes(Some(VolumeOptions::default()));
    room.speakers.set_dominance(true);
    assert_eq!(room.speakers.poll_timeout(), None);
    room.play(0, 1000, &[(0, 1000, 0, VOICE)]);
    assert!(room.speakers.poll_timeout().is_some());
    room.wait_until(room.at(10_000));
    assert_eq!(room.speakers.poll_timeout(), None);
    assert_eq!(room.events.last().map(|(_, event)| event.clone()), Some(Event::Silence));
}

#[test]
fn only_the_loudest_three_go_on() {
    let mut room = Room::new(6);
    room.speakers.set_loudest(Some(LoudestOptions::default()));
    let talk: Vec<_> = (0..6)
        .map(|producer| (0, 10_000, producer, 60 - 5 * producer as u8))
        .collect();
    room.play(0, 2000, &talk);
    // The three that spoke first have a packet each, until the louder ones were heard.
    assert_eq!(room.passed, [1, 1, 1, 100, 100, 100]);
    assert_eq!(room.speakers.loudest().collect::<Vec<_>>(), [5, 4, 3]);
    let counts = room.speakers.counts();
    assert_eq!((counts.forwarded, counts.quieter, counts.silent), (303, 297, 0));
}

#[test]
fn who_leads_goes_on_beside_the_loudest() {
    let mut room = Room::new(5);
    room.speakers.set_loudest(Some(LoudestOptions::default()));
    room.speakers.set_dominance(true);
    room.play(0, 2000, &[(0, 2000, 4, 40)]);
    assert_eq!(room.speakers.dominant(), Some(4));
    let before = room.passed[4];
    room.play(
        2000,
        4000,
        &[
            (2000, 4000, 4, 40),
            (2000, 4000, 0, 10),
            (2000, 4000, 1, 10),
            (2000, 4000, 2, 10),
            (2000, 4000, 3, 10),
        ],
    );
    assert_eq!(room.passed[4] - before, 100);
    assert!(room.speakers.loudest().all(|producer| producer != 4));
}

#[test]
fn silence_goes_on_for_three_packets() {
    let mut room = Room::new(1);
    room.speakers.set_loudest(Some(LoudestOptions::default()));
    room.play(0, 1000, &[(0, 500, 0, VOICE), (500, 1000, 0, OFF)]);
    assert_eq!(room.passed, [25 + 3]);
    room.play(1000, 1200, &[(1000, 1200, 0, VOICE)]);
    assert_eq!(room.passed, [25 + 3 + 10]);
    assert_eq!(room.speakers.counts().silent, 22);
}

#[test]
fn a_place_is_free_150_ms_after_the_last_packet() {
    let mut room = Room::new(2);
    room.speakers.set_loudest(Some(LoudestOptions {
        count: 1,
        ..LoudestOptions::default()
    }));
    let mut judge = |millis, producer| {
        room.speakers.goes_on(
            room.start + Duration::from_millis(millis),
            producer,
            Some(VOICE + 20 * producer as u8),
        )
    };
    assert_eq!(judge(0, 0), Verdict::GoesOn);
    assert_eq!(judge(10, 1), Verdict::Quieter);
    assert_eq!(judge(150, 1), Verdict::Quieter);
    assert_eq!(judge(151, 1), Verdict::GoesOn);
}

#[test]
fn two_voices_of_one_loudness_do_not_cut_each_other_up() {
    let mut room = Room::new(2);
    room.speakers.set_loudest(Some(LoudestOptions {
        count: 1,
        ..LoudestOptions::default()
    }));
    // They swing by 2 dB, one against the other.
    for millis in (0..2000u64).step_by(20) {
        let now = room.at(millis);
        for producer in 0..2u32 {
            let swing = if (millis / 100 + u64::from(producer)).is_multiple_of(2) {
                1
            } else {
                0
            };
            room.passed[producer as usize] +=
                u64::from(room.speakers.goes_on(now, producer, Some(VOICE + 2 * swing)).goes_on());
        }
    }
    assert_eq!(room.passed, [100, 0]);
}

#[test]
fn who_tells_no_level_goes_on_while_there_is_a_place() {
    let mut room = Room::new(3);
    room.speakers.set_loudest(Some(LoudestOptions {
        count: 2,
        ..LoudestOptions::default()
    }));
    let now = room.start;
    assert_eq!(room.speakers.goes_on(now, 0, None), Verdict::GoesOn);
    assert_eq!(room.speakers.goes_on(now, 1, Some(60)), Verdict::GoesOn);
    assert_eq!(room.speakers.goes_on(now, 2, Some(60)), Verdict::GoesOn);
    assert_eq!(room.speakers.goes_on(now, 0, None), Verdict::Quieter);
}

#[test]
fn what_is_not_known_does_not_go_on() {
    let mut speakers = Speakers::new(antiphon_netsim::start());
    assert!(!speakers.add(MAX_SPEAKERS));
    assert!(speakers.add(MAX_SPEAKERS - 1));
    assert_eq!(speakers.goes_on(antiphon_netsim::start(), 7, Some(0)), Verdict::Unknown);
    assert_eq!(speakers.counts().unknown, 1);
}

#[test]
fn a_packet_takes_no_memory() {
    let mut room = Room::new(50);
    room.speakers.set_loudest(Some(LoudestOptions::default()));
    room.speakers.set_dominance(true);
    let script: Vec<_> = (0..50)
        .map(|producer| (0, 10_000, producer, 20 + producer as u8))
        .collect();
    room.play(0, 1000, &script);
    room.events.clear();
    let before = Counting::here().allocations;
    room.play(1000, 5000, &script);
    assert_eq!(Counting::here().allocations - before, 0);
    assert!(room.passed.iter().sum::<u64>() > 700);
}

proptest! {
    #[test]
    fn never_more_than_the_loudest_and_the_leader_go_on_and_nothing_panics(
        packets in vec((0u32..12, prop::option::of(any::<u8>()), 0u64..40, 0u8..40), 1..400),
        count in 0usize..20,
    ) {
        let mut now = antiphon_netsim::start();
        let mut speakers = Speakers::new(now);
        speakers.set_dominance(true);
        speakers.set_volumes(Some(VolumeOptions { max_entries: 4, ..VolumeOptions::default() }));
        speakers.set_loudest(Some(LoudestOptions { count, ..LoudestOptions::default() }));
        for (producer, level, millis, action) in packets {
            match action {
                0 => speakers.remove(producer),
                1..8 => prop_assert!(speakers.add(producer)),
                _ => {}
            }
            let verdict = speakers.goes_on(now, producer, level);
            let loudest: Vec<u32> = speakers.loudest().collect();
            prop_assert!(loudest.len() <= count.clamp(1, MAX_LOUDEST));
            let is_among = loudest.contains(&producer) || speakers.dominant() == Some(producer);
            prop_assert!(is_among || !verdict.goes_on());
            prop_assert!(loudest.iter().collect::<std::collections::BTreeSet<_>>().len() == loudest.len());
            now += Duration::from_millis(millis);
            speakers.handle_timeout(now);
            prop_assert!(speakers.poll_timeout().is_none_or(|due| due > now));
            while let Some(event) = speakers.poll_event() {
                if let Event::Volumes(list) = event {
                    prop_assert!(!list.is_empty() && list.len() <= 4);
                    prop_assert!(list.windows(2).all(|pair| pair[0].level >= pair[1].level));
                }
            }
        }
    }

    #[test]
    fn the_lead_is_taken_from_nobody_who_speaks(levels in vec(vec(prop::sample::select(vec![15u8, 30, 45, 70, 127]), 3), 20..60)) {
        // Each level lasts 200 ms; any talk at all.
        let mut room = Room::new(3);
        room.speakers.set_dominance(true);
        let mut script = Vec::new();
        for (step, levels) in (0u64..).zip(&levels) {
            for (producer, level) in (0u32..).zip(levels) {
                script.push((step * 200, step * 200 + 200, producer, *level));
            }
        }
        room.play(0, levels.len() as u64 * 200, &script);
        for pair in room.leaders().windows(2) {
            let (Some(before), at) = (pair[0].1, pair[1].0) else { continue };
            let level = levels[(at as usize - 20) / 200][before as usize];
            prop_assert!(level >= 70, "{level} at {at}: {:?}", room.leaders());
        }
    }
}
