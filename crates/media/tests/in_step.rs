//! Sound and pictures stay in step, however late a busy machine hands them over, and through a forwarder too.

mod common;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use antiphon_media::extension::Map;
use antiphon_media::{Config, Event, Kind, Outgoing, Output, PacketKind, SenderConfig, SenderId, Session};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::rtcp;
use antiphon_sansio::{ClockAnchor, Rng, TransmitBuf};
use common::*;

/// How late pictures are handed over; sound is not.
const LATE: Duration = Duration::from_millis(70);
/// Halves of what a report may move a clock by, and of what timestamps round.
const APART: f64 = 0.003;

/// Alice, who is late with pictures, and Bob.
fn late(output: Output) -> (Pair, SenderId, SenderId) {
    let mut pair = Pair::new(5, Config::default());
    let [sound, video] =
        [(Kind::Audio, opus(), "a", 1), (Kind::Video, vp8(false, false), "v", 2)].map(|(kind, codec, mid, ssrc)| {
            let mut receiver = receiver(mid, kind, codec.clone(), vec![]);
            receiver.output = output;
            pair.ends[1].add_receiver(receiver).unwrap();
            pair.ends[0]
                .add_sender(pair.now, sender(mid, kind, ssrc, codec))
                .unwrap()
        });
    (pair, sound, video)
}

/// A step of 20 ms: sound that is due now, and every second time a picture that was due a while ago.
fn step(pair: &mut Pair, n: u32, sound: SenderId, video: SenderId) {
    let now = pair.now;
    let mut frame = common::sound(n);
    frame.captured = Some(now);
    pair.ends[0].send_frame(now, sound, frame).unwrap();
    if n.is_multiple_of(2) {
        let mut frame = picture(n / 2, 500, n == 0);
        frame.timestamp = n * 1800;
        frame.captured = Some(now - LATE);
        pair.ends[0].send_frame(now, video, frame).unwrap();
    }
    pair.run(20 * MS);
}

#[test]
fn frames_are_heard_of_as_they_were_captured() {
    let (mut pair, sound, video) = late(Output::Frames);
    for n in 0..500 {
        step(&mut pair, n, sound, video);
    }
    let begin = pair.start;
    let since = |at: Instant| at.saturating_duration_since(begin).as_secs_f64();
    // Of each kind by how much the newest frame was captured before it was heard of, by its own timestamp.
    let mut behind = HashMap::new();
    for (frame, _) in pair.frames() {
        let rate = if frame.payload_type == 96 { 90_000.0 } else { 48_000.0 };
        let first = *behind.entry(frame.payload_type).or_insert((frame.timestamp, None));
        let media = f64::from(frame.timestamp.wrapping_sub(first.0)) / rate;
        let told = frame.captured.map(|at| since(at) - media);
        behind.insert(frame.payload_type, (first.0, told.or(first.1)));
    }
    let (sound, picture) = (behind[&111].1.unwrap(), behind[&96].1.unwrap());
    // The first picture was due before the first sound.
    let apart = sound - picture - LATE.as_secs_f64();
    assert!(apart.abs() < APART, "{apart} s");
}

#[test]
fn a_forwarder_tells_it_as_the_source_does() {
    let (mut pair, sound, video) = late(Output::Packets);
    let anchor = ClockAnchor::new(pair.now, Duration::from_secs(1_800_000_000));
    let config = Config {
        circuit_breakers: false,
        ..Config::default()
    };
    let mut watch = Session::new(config, pair.now, anchor, Rng::from_u64(9));
    let now = pair.now;
    // Nobody answers what it sends: it is not numbered, and goes on.
    let plain = |config: SenderConfig| SenderConfig {
        extensions: Map::default(),
        ..config
    };
    let to = [
        sender("a", Kind::Audio, 10, opus()),
        sender("v", Kind::Video, 20, vp8(false, false)),
    ]
    .map(|config| watch.add_sender(now, plain(config)).unwrap());
    let mut out = TransmitBuf::new(64 * 1024, 1300);
    // By SSRC: the first timestamp, and by how much NTP time is ahead of the media, as the newest report tells.
    let mut firsts: HashMap<u32, u32> = HashMap::new();
    let mut ahead: HashMap<u32, f64> = HashMap::new();
    for n in 0..1000 {
        step(&mut pair, n, sound, video);
        let now = pair.now;
        for event in std::mem::take(&mut pair.events[1]) {
            if let Event::Packet { packet, .. } = event {
                let to = to[usize::from(packet.payload_type == 96)];
                watch.send_rtp(now, to, &packet).unwrap();
            }
        }
        // The pacer lets pictures go a little after the sound.
        let mut moments = (0..4).map(|step| now + step * 4 * MS);
        let mut moment = moments.next();
        while let Some(now) = moment {
            watch.handle_timeout(now);
            out.clear();
            let Some(Outgoing { kind, .. }) = watch.poll_transmit(now, &mut out) else {
                moment = moments.next();
                continue;
            };
            let range = out.finish();
            let bytes = out.bytes(range);
            if kind == PacketKind::Rtp {
                let header = Packet::parse(bytes).unwrap().header;
                firsts.entry(header.ssrc).or_insert(header.timestamp);
                continue;
            }
            for packet in rtcp::packets(bytes) {
                if let rtcp::Packet::SenderReport(report) = packet.unwrap() {
                    let rate = if report.ssrc == 20 { 90_000.0 } else { 48_000.0 };
                    let ticks = report.info.rtp_timestamp.wrapping_sub(firsts[&report.ssrc]) as i32;
                    let ntp = report.info.ntp as f64 / 2f64.powi(32);
                    ahead.insert(report.ssrc, ntp - f64::from(ticks) / rate);
                }
            }
        }
    }
    let apart = ahead[&10] - ahead[&20] - LATE.as_secs_f64();
    assert!(apart.abs() < APART, "{apart} s");
}
