//! The circuit breakers of RFC 8083 in whole sessions.

mod common;

use std::time::Duration;

use antiphon_media::{CircuitBreaker, Config, Error, Event, Kind, PacketKind, SenderId};
use common::*;

const FPS: u32 = 25;

fn call(seed: u64) -> (Pair, SenderId) {
    let mut pair = Pair::new(seed, Config::default());
    pair.log = true;
    for link in &mut pair.links {
        link.delay = 25 * MS;
    }
    let config = sender("v", Kind::Video, 1000, vp8(true, true));
    let id = pair.ends[0].add_sender(pair.now, config).unwrap();
    pair.ends[1]
        .add_receiver(receiver("v", Kind::Video, vp8(true, true), vec![]))
        .unwrap();
    (pair, id)
}

/// Pictures for so many seconds: at a rate of their own, or as large as the session says. Returns how many were refused.
fn play(pair: &mut Pair, id: SenderId, rate: Option<u64>, seconds: u32) -> u32 {
    let mut refused = 0;
    for number in 0..seconds * FPS {
        let target = pair.ends[0].target_bitrate(id).unwrap_or(300_000).min(3_000_000);
        let bytes = rate.unwrap_or(target) / 8 / u64::from(FPS);
        let frame = picture(number, (bytes as usize).max(100), number % 100 == 0);
        refused += u32::from(pair.ends[0].send_frame(pair.now, id, frame) == Err(Error::Ceased));
        pair.run(40 * MS);
    }
    refused
}

/// What the breakers did, in seconds from the beginning of `events`.
fn tripped(pair: &mut Pair) -> Vec<Event> {
    let events = pair.events[0].drain(..);
    events
        .filter(|event| matches!(event, Event::Ceased { .. } | Event::Restarted { .. }))
        .collect()
}

fn sent_rtp(pair: &Pair) -> usize {
    let rtp = pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp);
    rtp.count()
}

#[test]
fn who_hears_nothing_for_15_s_ceases_and_begins_again_when_there_is_a_word() {
    let (mut pair, id) = call(1);
    assert_eq!(play(&mut pair, id, None, 20), 0);
    assert!(tripped(&mut pair).is_empty());
    pair.links[1].loss = 1.0;
    assert_eq!(play(&mut pair, id, None, 13), 0);
    assert!(play(&mut pair, id, None, 6) > 0);
    let cause = CircuitBreaker::RtcpTimeout;
    assert_eq!(tripped(&mut pair), [Event::Ceased { sender: id, cause }]);
    assert_eq!(pair.ends[0].stats().outbound[0].circuit_breaker_trips, 1);
    let before = sent_rtp(&pair);
    assert_eq!(play(&mut pair, id, None, 8), 8 * FPS, "each frame is refused");
    assert_eq!(sent_rtp(&pair), before, "no padding and no retransmission either");
    // Nobody hears it the second time either: the pause is longer.
    play(&mut pair, id, None, 30);
    let again = tripped(&mut pair);
    assert_eq!(
        again,
        [Event::Restarted { sender: id }, Event::Ceased { sender: id, cause }]
    );
    pair.links[1].loss = 0.0;
    play(&mut pair, id, None, 32);
    assert_eq!(tripped(&mut pair), [Event::Restarted { sender: id }]);
    assert_eq!(play(&mut pair, id, None, 20), 0);
    assert!(pair.ends[0].target_bitrate(id).unwrap() > 500_000);
}

#[test]
fn another_route_lets_it_begin_at_once() {
    let (mut pair, id) = call(2);
    play(&mut pair, id, None, 5);
    pair.links[1].loss = 1.0;
    play(&mut pair, id, None, 20);
    assert_eq!(tripped(&mut pair).len(), 1);
    pair.links[1].loss = 0.0;
    let now = pair.now;
    pair.ends[0].route_changed(now);
    assert_eq!(play(&mut pair, id, None, 10), 0);
    assert_eq!(tripped(&mut pair), [Event::Restarted { sender: id }]);
}

#[test]
fn a_fifth_lost_at_3_mbit_is_no_reason_to_cease() {
    let (mut pair, id) = call(3);
    pair.links[0].loss = 0.2;
    pair.links[0].rate = Some(3_000_000.0);
    assert_eq!(play(&mut pair, id, None, 60), 0);
    assert!(tripped(&mut pair).is_empty());
    let remote = pair.ends[0].stats().outbound[0].remote.unwrap();
    assert!(remote.fraction_lost > 0.1, "{remote:?}");
}

#[test]
fn who_heeds_nothing_and_takes_ten_times_what_tcp_would_ceases() {
    let (mut pair, id) = call(4);
    pair.links[0].loss = 0.3;
    // 1100 bytes, 50 ms and 30 % are 394 kbit/s of TCP.
    let refused = play(&mut pair, id, Some(6_000_000), 30);
    assert!(refused > 0);
    let cause = CircuitBreaker::Congestion;
    assert_eq!(tripped(&mut pair)[0], Event::Ceased { sender: id, cause });
}

#[test]
fn what_is_off_stops_nobody() {
    let config = Config {
        circuit_breakers: false,
        ..Config::default()
    };
    let mut pair = Pair::new(5, config);
    let config = sender("v", Kind::Video, 1000, vp8(true, true));
    let id = pair.ends[0].add_sender(pair.now, config).unwrap();
    assert_eq!(play(&mut pair, id, None, 40), 0, "nobody is there");
    assert!(tripped(&mut pair).is_empty());
}

#[test]
fn silence_of_ours_needs_no_answer() {
    let (mut pair, id) = call(6);
    play(&mut pair, id, None, 3);
    pair.links[1].loss = 1.0;
    pair.run(Duration::from_secs(60));
    assert_eq!(play(&mut pair, id, None, 10), 0);
    assert!(tripped(&mut pair).is_empty());
}
