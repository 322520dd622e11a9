//! Keys of a telephone between two sessions: played, heard once each, and the sound withheld meanwhile.

mod common;

use std::time::Duration;

use antiphon_media::{Codec, Config, Error, Event, Feedback, Kind, Output, SenderId, TonePhase};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::telephone_event::TelephoneEvent;
use common::*;

fn keys(payload_type: u8, clock_rate: u32) -> Codec {
    Codec {
        payload_type,
        name: "telephone-event".into(),
        clock_rate,
        channels: 1,
        fmtp: "0-15".into(),
        rtx_payload_type: None,
        feedback: Feedback::default(),
    }
}

/// Sound of 20 ms a frame, with keys at both clocks.
fn line(seed: u64, codecs: &[Codec]) -> (Pair, SenderId) {
    let mut pair = Pair::new(seed, Config::default());
    pair.log = true;
    let mut config = sender("a", Kind::Audio, 2000, opus());
    config.codecs.extend_from_slice(codecs);
    let id = pair.ends[0].add_sender(pair.now, config).unwrap();
    let mut config = receiver("a", Kind::Audio, opus(), vec![]);
    config.codecs.extend_from_slice(codecs);
    pair.ends[1].add_receiver(config).unwrap();
    (pair, id)
}

/// Talks for so many frames, and plays `tones` at the fifth.
fn talk(pair: &mut Pair, id: SenderId, frames: u32, tones: &str) {
    for number in 0..frames {
        if number == 5 {
            let millis = Duration::from_millis;
            pair.ends[0]
                .insert_dtmf(pair.now, id, tones, millis(100), millis(70))
                .unwrap();
        }
        pair.ends[0].send_frame(pair.now, id, sound(number)).unwrap();
        pair.run(20 * MS);
    }
}

/// What the other end heard: the keys, each with how long it was pressed in milliseconds, and whether that was said.
fn heard(pair: &Pair) -> Vec<(char, u128, bool)> {
    let mut pressed = None;
    let mut keys = Vec::new();
    for event in &pair.events[1] {
        if let Event::Tone { tone, .. } = event {
            match tone.phase {
                TonePhase::Began => {
                    assert_eq!(pressed.replace(tone.code), None, "the key before was let go");
                }
                TonePhase::Ended { lasted, is_confirmed } => {
                    assert_eq!(pressed.take(), Some(tone.code));
                    keys.push((tone.key().unwrap(), lasted.as_millis(), is_confirmed));
                }
            }
        }
    }
    assert_eq!(pressed, None);
    keys
}

fn played(pair: &Pair) -> Vec<Option<char>> {
    let tones = pair.events[0].iter().filter_map(|event| match event {
        Event::ToneChange { tone, .. } => Some(*tone),
        _ => None,
    });
    tones.collect()
}

#[test]
fn keys_are_heard_once_each_and_share_the_numbers_and_the_clock_of_the_sound() {
    let (mut pair, id) = line(1, &[keys(126, 8000), keys(110, 48_000)]);
    assert!(pair.ends[0].can_insert_dtmf(id));
    talk(&mut pair, id, 60, "1a#");
    pair.run(Duration::from_secs(1));
    assert_eq!(played(&pair), [Some('1'), Some('A'), Some('#'), None]);
    assert_eq!(heard(&pair), [('1', 100, true), ('A', 100, true), ('#', 100, true)]);
    assert_eq!(pair.ends[0].tone_buffer(id), "");

    let rtp: Vec<_> = pair.sent.iter().filter(|sent| sent.from == 0).collect();
    let (mut last, mut offset, mut events) = (None, None, 0);
    for sent in rtp.iter().filter(|sent| sent.kind == antiphon_media::PacketKind::Rtp) {
        let packet = Packet::parse(&sent.bytes).unwrap();
        let header = packet.header;
        assert_eq!(header.ssrc, 2000);
        assert!(last.is_none_or(|last: u16| header.sequence == last.wrapping_add(1)));
        last = Some(header.sequence);
        let clock = (sent.at.duration_since(pair.start).as_millis() * 48) as u32;
        let offset = *offset.get_or_insert(header.timestamp.wrapping_sub(clock));
        if header.payload_type == 111 {
            assert_eq!(header.timestamp, clock.wrapping_add(offset));
            continue;
        }
        assert_eq!(header.payload_type, 110, "the clock of the sound");
        let event = TelephoneEvent::parse(packet.payload()).unwrap();
        if !event.end {
            // What has lasted so long, and began then, is spoken of now.
            let said = header.timestamp.wrapping_add(u32::from(event.duration));
            assert_eq!(said, clock.wrapping_add(offset));
        }
        events += 1;
    }
    assert_eq!(events, 3 * (4 + 3));
    // 100 ms and the two repetitions of the end: of 60 frames 7 each time.
    let frames = pair.frames().count();
    assert_eq!(frames, 60 - 3 * 7);
    assert!(
        pair.frames().all(|(_, discontinuity)| !discontinuity),
        "a pause is no loss"
    );
    let stats = &pair.ends[0].stats().outbound[0];
    assert_eq!((stats.frames.refused, stats.frames.sent), (21, 39));
}

#[test]
fn lost_packets_lose_no_key() {
    for seed in 0..20 {
        let (mut pair, id) = line(seed, &[keys(110, 48_000)]);
        pair.links[0].loss = 0.2;
        pair.links[0].jitter = 30 * MS;
        talk(&mut pair, id, 120, "0123456789");
        pair.run(Duration::from_secs(2));
        let keys: String = heard(&pair).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, "0123456789", "seed {seed}");
    }
}

#[test]
fn a_key_that_goes_silent_has_ended() {
    let (mut pair, id) = line(1, &[keys(110, 48_000)]);
    let second = Duration::from_secs(1);
    pair.ends[0].insert_dtmf(pair.now, id, "7", second, second).unwrap();
    pair.run(90 * MS);
    pair.links[0].loss = 1.0;
    pair.run(2 * second);
    let [(key, lasted, false)] = heard(&pair)[..] else {
        panic!("{:?}", heard(&pair));
    };
    assert!(key == '7' && (20..=80).contains(&lasted), "{lasted}");
}

#[test]
fn who_forwards_gets_the_packets() {
    let (mut pair, id) = line(1, &[keys(110, 48_000)]);
    talk(&mut pair, id, 5, "");
    let receiver = pair.ends[1].stats().inbound[0].receiver;
    pair.ends[1].set_output(receiver, Output::Packets).unwrap();
    talk(&mut pair, id, 30, "12");
    pair.run(Duration::from_secs(1));
    assert_eq!(heard(&pair), []);
    let packets = pair.events[1].iter().filter_map(|event| match event {
        Event::Packet { packet, .. } => Some(packet),
        _ => None,
    });
    assert_eq!(packets.filter(|packet| packet.payload_type == 110).count(), 2 * 7);
}

#[test]
fn what_cannot_be_played_is_refused_and_changes_nothing() {
    let (mut pair, id) = line(1, &[keys(110, 48_000)]);
    let now = pair.now;
    let insert = |pair: &mut Pair, id, tones: &str| pair.ends[0].insert_dtmf(now, id, tones, 100 * MS, 70 * MS);
    insert(&mut pair, id, "12").unwrap();
    assert_eq!(insert(&mut pair, id, "3x"), Err(Error::NotATone('x')));
    assert_eq!(insert(&mut pair, id, &"1".repeat(1025)), Err(Error::TooManyTones));
    assert_eq!(pair.ends[0].tone_buffer(id), "2", "1 is being played");
    pair.ends[0].set_sender_active(id, false).unwrap();
    assert!(!pair.ends[0].can_insert_dtmf(id));
    assert_eq!(insert(&mut pair, id, "1"), Err(Error::Inactive));
    pair.run(Duration::from_secs(1));
    assert_eq!(heard(&pair), []);

    let (mut pair, id) = line(1, &[]);
    assert!(!pair.ends[0].can_insert_dtmf(id));
    assert_eq!(insert(&mut pair, id, "1"), Err(Error::NoTelephoneEvents));
}
