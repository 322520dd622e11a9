//! Whole rooms on the virtual clock: real connections to a forwarder with a router, over links that differ.

mod cameras;
mod hub;
mod links;
mod pipe;

use std::time::Duration;

use hub::{LAYERS, Room};

const SECOND: Duration = Duration::from_secs(1);

/// The encoding that goes on to a watcher.
fn encoding(room: &mut Room, watcher: usize) -> Option<u8> {
    let consumer = room.watchers[watcher].consumer;
    let stats = room.router(|router, _| router.consumer(consumer).unwrap());
    stats.layer.map(|layer| layer.encoding)
}

/// Bytes of each whole picture that a watcher got in the last `seconds`.
fn sizes(room: &Room, watcher: usize, seconds: u32) -> Vec<usize> {
    let since = room.now() - SECOND * seconds;
    let frames = room.watchers[watcher].frames.iter();
    frames
        .filter(|(at, ..)| *at > since)
        .map(|(_, bytes, _)| *bytes)
        .collect()
}

#[test]
fn each_watcher_gets_the_layer_that_its_link_carries() {
    let mut room = Room::new(1);
    for rate in [200_000, 1_000_000, 4_000_000] {
        room.watch(rate);
    }
    room.run(SECOND * 20);
    for (watcher, (_, bytes)) in LAYERS.iter().enumerate() {
        assert_eq!(encoding(&mut room, watcher), Some(watcher as u8));
        let got = sizes(&room, watcher, 4);
        assert!(got.len() >= 90, "{watcher}: {} pictures", got.len());
        assert!(got.iter().all(|size| size == bytes), "{watcher}: {got:?}");
    }
}

#[test]
fn a_watcher_that_leaves_and_one_that_comes_disturb_nobody() {
    let mut room = Room::new(3);
    for _ in 0..3 {
        room.watch(3_000_000);
    }
    room.run(SECOND * 8);
    room.leave(1);
    let late = room.watch(3_000_000);
    room.run(SECOND * 8);
    for watcher in [0, 2, late] {
        assert!(sizes(&room, watcher, 4).len() >= 95, "{watcher}");
    }
    assert_eq!(room.router(|router, _| router.dump().consumers.len()), 3);
    // Each frame that came to those who stayed is there: nobody had to wait for a key frame.
    for watcher in [0, 2] {
        let frames = &room.watchers[watcher].frames;
        let since = room.now() - SECOND * 8;
        let times: Vec<_> = frames.iter().map(|(at, ..)| *at).filter(|at| *at > since).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest.unwrap() <= Duration::from_millis(160), "{watcher}: {longest:?}");
    }
}

#[test]
fn a_pause_costs_one_key_frame_and_no_repairs() {
    let mut room = Room::new(4);
    let watcher = room.watch(4_000_000);
    room.run(SECOND * 6);
    let consumer = room.watchers[watcher].consumer;
    room.router(|router, now| router.pause_consumer(now, consumer).unwrap());
    room.run(SECOND);
    let before = room.watchers[watcher].frames.len();
    room.run(SECOND * 2);
    assert_eq!(room.watchers[watcher].frames.len(), before, "nothing comes");
    let asked = room.key_frames_asked;
    room.router(|router, now| router.resume_consumer(now, consumer).unwrap());
    room.run(SECOND * 2);
    let frames = &room.watchers[watcher].frames[before..];
    assert!(frames.len() >= 45 && frames[0].2, "{} pictures", frames.len());
    // One to begin with, and one more if it went on to a higher encoding.
    assert!(room.key_frames_asked - asked <= 2, "{}", room.key_frames_asked - asked);
}

#[test]
fn a_consumer_of_a_paused_producer_begins_when_that_goes_on() {
    let mut room = Room::new(5);
    let producer = room.producer;
    room.router(|router, now| router.pause_producer(now, producer).unwrap());
    let watcher = room.watch(4_000_000);
    room.run(SECOND * 4);
    assert!(room.watchers[watcher].frames.is_empty());
    let asked = room.key_frames_asked;
    room.router(|router, now| router.resume_producer(now, producer).unwrap());
    room.run(SECOND * 2);
    let frames = &room.watchers[watcher].frames;
    assert!(frames.len() >= 40 && frames[0].2, "{} pictures", frames.len());
    assert!(room.key_frames_asked > asked);
}

#[test]
fn a_watcher_that_asks_without_end_costs_few_key_frames() {
    let mut room = Room::new(6);
    let (quiet, loud) = (room.watch(4_000_000), room.watch(4_000_000));
    room.run(SECOND * 8);
    let asked = room.key_frames_asked;
    for _ in 0..250 {
        room.complain(loud);
        room.run(hub::FRAME);
    }
    let more = room.key_frames_asked - asked;
    assert!((1..=8).contains(&more), "{more} in ten seconds");
    assert!(sizes(&room, quiet, 4).len() >= 95);
}
