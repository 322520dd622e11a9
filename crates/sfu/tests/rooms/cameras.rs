//! Many cameras, and people who come and go: what each can show of each.

use std::time::{Duration, Instant};

use super::hub::{LAYERS, Room, link};
use super::{SECOND, encoding};

/// Numbers that look random, from a seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What one watcher saw of one camera: how long it waited for the first picture, and the longest that a picture stood still after that,
/// to the end of the room.
#[derive(Debug)]
struct Seen {
    waited: Duration,
    stood: Duration,
}

/// Four cameras that begin one after the other, and five watchers who come in between over links that lose and are uneven; the
/// first one leaves.
fn come_and_go(seed: u64, layers: &'static [(&'static str, usize)], least: u64) -> Vec<Seen> {
    let mut random = Random::new(seed);
    let mut room = Room::with(seed, 4, layers);
    let mut came = Vec::new();
    let mut began = vec![room.now(); 4];
    for cameras in 1..=5 {
        room.publishing = cameras.min(4);
        began[cameras.min(4) - 1..].fill(room.now());
        room.run(Duration::from_millis(random.below(1000)));
        let mut own = link(least + random.below(8) * 1_000_000);
        own.jitter = Duration::from_millis(random.below(40));
        own.loss = random.below(3) as f64 / 100.0;
        came.push((room.watch_over(own), room.now()));
        room.run(Duration::from_millis(500 + random.below(3000)));
    }
    room.leave(0);
    room.run(SECOND * 10);
    let seen = |(watcher, came): &(usize, Instant)| {
        let shown = room.watchers[*watcher].shown.iter().zip(&began);
        let all = shown.map(|(shown, began)| {
            let first = *shown.at.first().unwrap_or(&room.now());
            let ends = shown.at.iter().skip(1).copied().chain([room.now()]);
            Seen {
                waited: first.saturating_duration_since(*came.max(began)),
                stood: shown
                    .at
                    .iter()
                    .zip(ends)
                    .map(|(at, next)| next - *at)
                    .max()
                    .unwrap_or_default(),
            }
        });
        all.collect::<Vec<_>>()
    };
    came[1..].iter().flat_map(seen).collect()
}

/// What so many percent of them are at most.
fn part(all: &mut [Duration], percent: usize) -> Duration {
    all.sort_unstable();
    all[(all.len() - 1) * percent / 100]
}

#[test]
fn who_comes_sees_all_soon_and_nobody_stands_still_for_those_who_come_and_go() {
    for (what, layers, least, percent) in [
        ("simulcast", &LAYERS[..], 3_000_000, 100),
        // All of a camera or nothing: where an uneven way hides for a while what it carries, somebody waits.
        ("plain", &[("a", 4000)], 5_000_000, 50),
    ] {
        let (mut waited, mut stood) = (Vec::new(), Vec::new());
        for seed in 0..8 {
            let seen = come_and_go(seed, layers, least);
            waited.extend(seen.iter().map(|own| own.waited));
            stood.extend(seen.iter().map(|own| own.stood));
        }
        let (waited, stood) = (part(&mut waited, percent), part(&mut stood, percent));
        assert!(
            waited <= Duration::from_millis(1500),
            "{what}: the first picture after {waited:?}"
        );
        assert!(stood <= Duration::from_millis(300), "{what}: stood still for {stood:?}");
    }
}

#[test]
fn a_layer_that_is_much_dearer_than_the_one_that_goes_on_is_reached() {
    // Of 100 kbit/s and 8 Mbit/s: who gets the one would never learn that the path carries the other.
    let mut room = Room::with(1, 1, &[("a", 500), ("b", 40_000)]);
    room.encodings = 1;
    let watcher = room.watch(30_000_000);
    room.run(SECOND * 8);
    assert_eq!(encoding(&mut room, watcher), Some(0));
    room.encodings = 2;
    room.run(SECOND * 3);
    assert_eq!(encoding(&mut room, watcher), Some(1));
}
