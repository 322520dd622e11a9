//! Three watchers behind links that differ much: which layer each has, how soon, and what the way there costs. Sixteen seeds, which
//! differ in how long the links are, how even, and in which order the watchers come.

use std::time::{Duration, Instant};

use super::hub::{FRAME, Room, link};
use super::{SECOND, encoding};

const SEEDS: std::ops::Range<u64> = 0..16;
/// The links of the watchers, in bits a second; each carries the encoding of its place.
const RATES: [u64; 3] = [200_000, 1_000_000, 3_000_000];

/// What a watcher saw of its layers.
#[derive(Default)]
struct Watched {
    /// Its place among [`RATES`], its number in the room, and when it came.
    rate: usize,
    watcher: usize,
    came: Option<Instant>,
    /// Each layer that began, and when.
    layers: Vec<(Instant, Option<u8>)>,
}

impl Watched {
    fn look(&mut self, room: &mut Room) {
        let now = encoding(room, self.watcher);
        if self.layers.last().is_none_or(|(_, last)| *last != now) {
            self.layers.push((room.now(), now));
        }
    }
}

/// A link of this rate, which is as long and as even as the seed says.
fn link_of(rate: u64, seed: u64) -> antiphon_netsim::LinkConfig {
    antiphon_netsim::LinkConfig {
        delay: Duration::from_millis(5 + seed * 7 % 40),
        jitter: Duration::from_millis(seed % 4),
        ..link(rate)
    }
}

/// A room whose watchers come one after the other, and twenty seconds of it.
fn watch(seed: u64) -> (Room, [Watched; 3]) {
    let mut room = Room::new(1000 + seed);
    let mut all: [Watched; 3] = Default::default();
    for turn in 0..3 {
        let rate = (turn + seed as usize) % 3;
        let watcher = room.watch_over(link_of(RATES[rate], seed));
        all[rate] = Watched {
            rate,
            watcher,
            came: Some(room.now()),
            layers: Vec::new(),
        };
        for _ in 0..seed % 30 {
            room.run(FRAME);
            all.iter_mut()
                .filter(|own| own.came.is_some())
                .for_each(|own| own.look(&mut room));
        }
    }
    let end = room.now() + SECOND * 20;
    while room.now() < end {
        room.run(FRAME);
        all.iter_mut().for_each(|own| own.look(&mut room));
    }
    (room, all)
}

#[test]
fn three_links_have_the_layers_that_fit_within_three_seconds_and_nobody_freezes() {
    let (mut all_asked, mut all_begun) = (0, 0);
    for seed in SEEDS {
        let (mut room, all) = watch(seed);
        let mut begun = 0;
        for Watched {
            rate,
            watcher,
            came,
            layers,
        } in &all
        {
            let (at, last) = layers.last().expect("it was looked at");
            assert_eq!(*last, Some(*rate as u8), "seed {seed}, link {rate}: {layers:?}");
            let took = *at - came.unwrap();
            assert!(took <= SECOND * 3, "seed {seed}, link {rate}: settled after {took:?}");
            let frames = &room.watchers[*watcher].frames;
            let gaps = frames.windows(2).map(|pair| pair[1].0 - pair[0].0);
            let longest = gaps.max().unwrap();
            assert!(
                longest <= Duration::from_millis(300),
                "seed {seed}, link {rate}: froze for {longest:?}"
            );

            let consumer = room.watchers[*watcher].consumer;
            let counts = room.router(|router, _| router.consumer(consumer).unwrap().counts);
            begun += 1 + counts.switches as usize;
        }
        // One may be asked for in vain: more was learnt of the path before it came.
        let asked = room.key_frames_asked;
        assert!(asked <= begun + 1, "seed {seed}: {asked} key frames for {begun}");
        all_asked += asked;
        all_begun += begun;
    }
    assert!(all_asked <= all_begun, "{all_asked} key frames for {all_begun}");
}

/// The estimates of the watchers, where one way to the forwarder loses so much of what it carries: that of the publisher, or of the last
/// watcher.
fn estimates(seed: u64, of_publisher: bool, loss: f64) -> Vec<u64> {
    let mut room = Room::new(2000 + seed);
    let watchers: Vec<usize> = (0..3).map(|_| room.watch_over(link_of(2_500_000, seed))).collect();
    room.run(SECOND * 10);
    let mut uplink = link_of(2_500_000, seed);
    uplink.loss = loss;
    match of_publisher {
        true => {
            uplink.rate = Some(8_000_000.into());
            room.set_uplink(uplink);
        }
        false => room.set_way_back(watchers[2], uplink),
    }
    room.run(SECOND * 10);
    let others = &watchers[..if of_publisher { 3 } else { 2 }];
    let estimate = |watcher: &usize| {
        assert_eq!(encoding(&mut room, *watcher), Some(2), "seed {seed}, loss {loss}");
        room.to(*watcher).media_bitrate().unwrap()
    };
    others.iter().map(estimate).collect()
}

#[test]
fn loss_on_one_way_up_leaves_the_estimates_of_the_others_as_they_were() {
    for seed in SEEDS {
        for of_publisher in [false, true] {
            let (clean, lossy) = (estimates(seed, of_publisher, 0.0), estimates(seed, of_publisher, 0.05));
            for (clean, lossy) in clean.iter().zip(&lossy) {
                let ratio = *lossy as f64 / *clean as f64;
                assert!(
                    (0.9..1.1).contains(&ratio),
                    "seed {seed}: {clean} and {lossy} bits a second"
                );
            }
        }
    }
}
