//! Two sessions over a link: what is sent arrives, whatever the link does.

mod common;

use std::time::Duration;

use antiphon_media::extension::{Kind as Extension, Map};
use antiphon_media::{Config, Event, Frame, Kind, Output, PacketKind, RemoteSource, SenderId};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::rtcp::Packet as Rtcp;
use common::*;

fn video_pair(seed: u64, nack: bool, rtx: bool, config: Config) -> (Pair, SenderId) {
    let mut pair = Pair::new(seed, config);
    let id = pair.ends[0]
        .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(nack, rtx)))
        .unwrap();
    let source = RemoteSource {
        ssrc: 1000,
        rtx_ssrc: rtx.then_some(1001),
        fec_ssrc: None,
        layer: None,
    };
    pair.ends[1]
        .add_receiver(receiver("v", Kind::Video, vp8(nack, rtx), vec![source]))
        .unwrap();
    (pair, id)
}

/// Sends `count` frames at 25 a second, a key frame first and where one is asked for; returns what was sent.
fn play(pair: &mut Pair, id: SenderId, count: u32, len: usize) -> Vec<Frame> {
    let mut sent = Vec::new();
    let mut asked = 0;
    for number in 0..count {
        let requests = pair.events[0]
            .iter()
            .filter(|event| matches!(event, Event::KeyFrameRequested { .. }))
            .count();
        let key = number == 0 || requests > asked;
        asked = requests;
        let frame = picture(number, len, key);
        if pair.ends[0].send_frame(pair.now, id, frame.clone()).is_ok() {
            sent.push(frame);
        }
        pair.run(40 * MS);
    }
    sent
}

/// Fails unless the frames are the same, without printing them.
#[track_caller]
fn assert_same(got: &[Frame], sent: &[Frame], what: &str) {
    let differs = got.iter().zip(sent).position(|(got, sent)| got.data != sent.data);
    assert_eq!((got.len(), differs), (sent.len(), None), "{what}");
}

#[test]
fn all_arrives_on_a_clean_link_and_the_figures_agree() {
    // Who may not send more probes for nothing, and pads nothing.
    let config = Config {
        start_bitrate: 5_000_000,
        max_bitrate: 5_000_000,
        ..Config::default()
    };
    let (mut pair, id) = video_pair(1, true, true, config);
    let audio = pair.ends[0]
        .add_sender(pair.now, sender("a", Kind::Audio, 2000, opus()))
        .unwrap();
    pair.ends[1]
        .add_receiver(receiver("a", Kind::Audio, opus(), vec![]))
        .unwrap();
    let mut sounds = Vec::new();
    for number in 0..100 {
        for half in 0..2 {
            let frame = sound(number * 2 + half);
            pair.ends[0].send_frame(pair.now, audio, frame.clone()).unwrap();
            sounds.push(frame);
            if half == 0 {
                pair.ends[0]
                    .send_frame(pair.now, id, picture(number, 5000, number % 30 == 0))
                    .unwrap();
            }
            pair.run(20 * MS);
        }
    }
    pair.run(Duration::from_secs(2));
    let of = |payload_type: u8| {
        pair.frames()
            .filter(move |(frame, _)| frame.payload_type == payload_type)
    };
    assert_eq!(of(111).count(), 200);
    assert!(
        of(111)
            .zip(&sounds)
            .all(|((got, gap), sent)| got.data == sent.data && !gap)
    );
    assert_eq!(of(96).count(), 100);
    for ((got, gap), number) in of(96).zip(0..) {
        let sent = picture(number, 5000, number % 30 == 0);
        assert!(got.data == sent.data && got.key_frame == sent.key_frame && !gap);
    }
    let timestamps: Vec<_> = of(96).map(|(frame, _)| frame.timestamp).collect();
    assert!(timestamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 3000));

    let (sent, got) = (pair.ends[0].stats(), pair.ends[1].stats());
    for outbound in &sent.outbound {
        let inbound = got
            .inbound
            .iter()
            .find(|inbound| inbound.ssrc == outbound.ssrc)
            .unwrap();
        assert_eq!(inbound.packets_received, outbound.packets_sent);
        assert_eq!(inbound.bytes_received, outbound.bytes_sent);
        assert_eq!(inbound.header_bytes_received, outbound.header_bytes_sent);
        assert_eq!(
            (inbound.frames.received, inbound.packets_lost),
            (outbound.frames.sent, 0)
        );
        assert_eq!((inbound.nack_count, inbound.pli_count, outbound.nack_count), (0, 0, 0));
        let remote = outbound.remote.expect("a report came");
        let rtt = remote.round_trip_time.unwrap();
        assert!((39 * MS..42 * MS).contains(&rtt), "{rtt:?}");
        assert_eq!(remote.packets_lost, 0);
        let remote = inbound.remote.expect("a sender report came");
        assert!(u64::from(remote.packets_sent) <= outbound.packets_sent && remote.packets_sent > 0);
    }
    assert_eq!(got.dropped, Default::default());
}

#[test]
fn loss_is_repaired_by_nack_with_and_without_rtx() {
    for (seed, loss) in [(1, 0.01), (2, 0.05), (3, 0.10), (4, 0.20)] {
        for rtx in [true, false] {
            // Repair is the subject: an estimate that takes loss for congestion must not stop it.
            let config = Config {
                start_bitrate: 3_000_000,
                min_bitrate: 3_000_000,
                ..Config::default()
            };
            let (mut pair, id) = video_pair(seed, true, rtx, config);
            // As ICE tells it: who only receives has no other measure.
            pair.ends[1].set_rtt(40 * MS);
            pair.links[0].jitter = 3 * MS;
            // The first packets must be seen for a gap to show; a lost beginning is the PLI's business.
            pair.links[0].loss = 0.0;
            let mut sent = play(&mut pair, id, 1, 4000);
            pair.links[0].loss = loss;
            for number in 1..150 {
                let frame = picture(number, 4000, false);
                pair.ends[0].send_frame(pair.now, id, frame.clone()).unwrap();
                sent.push(frame);
                pair.run(40 * MS);
            }
            pair.links[0].loss = 0.0;
            sent.push(picture(150, 100, false));
            pair.ends[0].send_frame(pair.now, id, picture(150, 100, false)).unwrap();
            pair.run(Duration::from_secs(1));
            let got: Vec<Frame> = pair.frames().map(|(frame, _)| frame.clone()).collect();
            assert_same(&got, &sent, &format!("loss {loss}, rtx {rtx}"));
            let stats = pair.ends[1].stats();
            assert!(stats.inbound[0].nack_count > 0);
            let repaired = stats.inbound[0].repaired.retransmitted_packets_received > 0;
            assert_eq!(repaired, rtx, "only RTX tells a repair from an original");
            assert!(pair.ends[0].stats().outbound[0].repairs.retransmitted_packets_sent > 0);
        }
    }
}

#[test]
fn a_repeat_on_the_same_ssrc_is_the_same_bytes() {
    let (mut pair, id) = video_pair(7, true, false, Config::default());
    pair.log = true;
    pair.links[0].loss = 0.1;
    play(&mut pair, id, 100, 4000);
    let mut seen = std::collections::BTreeMap::new();
    let mut repeats = 0;
    for sent in pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp)
    {
        let packet = Packet::parse(&sent.bytes).unwrap();
        if let Some(first) = seen.insert((packet.header.ssrc, packet.header.sequence), &sent.bytes) {
            assert_eq!(first, &sent.bytes, "the nonce is the same, so must the bytes be");
            repeats += 1;
        }
    }
    assert!(repeats > 0);
}

#[test]
fn reordering_alone_loses_nothing_and_asks_little() {
    let (mut pair, id) = video_pair(5, true, true, Config::default());
    pair.links[0].jitter = 15 * MS;
    let sent = play(&mut pair, id, 100, 6000);
    pair.run(Duration::from_secs(1));
    let got: Vec<Frame> = pair.frames().map(|(frame, _)| frame.clone()).collect();
    assert_same(&got, &sent, "reordered");
    assert_eq!(pair.ends[1].stats().inbound[0].pli_count, 0);
}

#[test]
fn without_nack_a_loss_costs_a_key_frame() {
    let (mut pair, id) = video_pair(6, false, false, Config::default());
    pair.links[0].loss = 0.02;
    let sent = play(&mut pair, id, 300, 3000);
    pair.links[0].loss = 0.0;
    pair.run(Duration::from_secs(1));
    let stats = pair.ends[1].stats().inbound[0].clone();
    let plis = pair.ends[0].stats().outbound[0].pli_count;
    assert!(stats.pli_count > 0 && plis > 0 && stats.nack_count == 0);
    let got: Vec<_> = pair.frames().collect();
    // What is delivered was sent, in order, and goes on with a key frame after each gap.
    let mut expected = sent.iter();
    for (frame, gap) in &got {
        assert!(expected.any(|sent| sent.data == frame.data));
        assert!(!gap || frame.key_frame, "a gap ends with a key frame");
    }
    assert!(got.len() > 150, "{} of {}", got.len(), sent.len());
    assert_eq!(stats.frames.received, got.len() as u64);
}

#[test]
fn heavy_loss_both_ways_still_shows_pictures() {
    let config = Config {
        start_bitrate: 2_000_000,
        ..Config::default()
    };
    let (mut pair, id) = video_pair(8, true, true, config);
    for link in &mut pair.links {
        link.loss = 0.35;
    }
    let sent = play(&mut pair, id, 500, 2000);
    let got = pair.frames().count();
    assert!(got > 480, "{got} of {}", sent.len());
    let stats = pair.ends[0].stats();
    let out = &stats.outbound[0];
    assert!(out.nack_count > 100, "{out:?}");
    // Each request is sent twice: the second of those that both arrive is refused, and hardly any other.
    let repairs = out.repairs;
    assert!(
        repairs.retransmissions_refused < repairs.retransmitted_packets_sent / 2,
        "{repairs:?}"
    );
    let remote = out.remote.unwrap();
    assert!((0.2..0.5).contains(&remote.fraction_lost), "{}", remote.fraction_lost);
}

#[test]
fn the_estimate_tracks_a_bottleneck() {
    let config = Config {
        start_bitrate: 300_000,
        ..Config::default()
    };
    let (mut pair, id) = video_pair(9, true, true, config);
    let mut phase = |rate: f64, seconds: u32| {
        pair.links[0].rate = Some(rate);
        let mut sum = 0;
        for number in 0..seconds * 25 {
            // An encoder that obeys.
            let target = pair.ends[0].target_bitrate(id).unwrap_or(300_000);
            let bytes = (target / 8 / 25).clamp(200, 60_000) as usize;
            let _ = pair.ends[0].send_frame(pair.now, id, picture(number, bytes, number % 50 == 0));
            pair.run(40 * MS);
            if number >= seconds * 25 / 2 {
                sum += target;
            }
        }
        sum as f64 / f64::from(seconds * 25 - seconds * 25 / 2)
    };
    let fast = phase(2_000_000.0, 40);
    assert!((1_000_000.0..2_200_000.0).contains(&fast), "2 Mb/s: {fast}");
    let slow = phase(500_000.0, 40);
    assert!((200_000.0..600_000.0).contains(&slow), "500 kb/s: {slow}");
    assert!(
        pair.events[0]
            .iter()
            .any(|event| matches!(event, Event::TargetBitrate { .. }))
    );
}

#[test]
fn without_transport_feedback_remb_steers() {
    let mut codec = vp8(true, true);
    codec.feedback.transport_cc = false;
    let mut extensions = Map::default();
    extensions.insert(2, Extension::AbsSendTime);
    extensions.insert(4, Extension::Mid);
    let mut pair = Pair::new(16, Config::default());
    pair.log = true;
    let mut config = sender("v", Kind::Video, 1000, codec.clone());
    config.extensions = extensions.clone();
    let id = pair.ends[0].add_sender(pair.now, config).unwrap();
    let mut config = receiver("v", Kind::Video, codec, vec![]);
    config.extensions = extensions;
    pair.ends[1].add_receiver(config).unwrap();
    pair.links[0].rate = Some(800_000.0);
    let (mut sum, mut count) = (0, 0);
    for number in 0..1000 {
        let target = pair.ends[0].target_bitrate(id).unwrap_or(300_000);
        let bytes = (target / 8 / 25).clamp(200, 60_000) as usize;
        let _ = pair.ends[0].send_frame(pair.now, id, picture(number, bytes, number % 50 == 0));
        pair.run(40 * MS);
        if number > 500 {
            sum += target;
            count += 1;
        }
    }
    let mean = sum / count;
    assert!((300_000..900_000).contains(&mean), "{mean}");
    let rembs = pair
        .rtcp_of(1)
        .flat_map(|(_, packets)| packets)
        .filter(|packet| matches!(packet, Rtcp::Remb(_)));
    assert!(rembs.count() >= 40);
    assert!(
        pair.rtcp_of(1)
            .flat_map(|(_, packets)| packets)
            .all(|packet| !matches!(packet, Rtcp::TransportFeedback(_)))
    );
}

#[test]
fn reports_keep_their_time_and_form() {
    for reduced_size in [true, false] {
        let config = Config {
            reduced_size,
            receiver_rtt: true,
            ..Config::default()
        };
        let (mut pair, id) = video_pair(10, true, true, config);
        pair.log = true;
        pair.links[0].loss = 0.05;
        play(&mut pair, id, 250, 3000);
        for from in 0..2 {
            let mut reports = Vec::new();
            for (at, packets) in pair.rtcp_of(from) {
                let report = matches!(packets[0], Rtcp::SenderReport(_) | Rtcp::ReceiverReport(_));
                assert!(report || reduced_size, "a compound begins with a report");
                if report {
                    assert!(matches!(packets[1], Rtcp::Sdes(_)));
                    reports.push(at);
                }
            }
            if reduced_size {
                let gaps: Vec<_> = reports.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!(gaps.iter().all(|gap| (499 * MS..1502 * MS).contains(gap)), "{gaps:?}");
                assert!(gaps.len() >= 6);
            }
        }
        // Bob sends nothing, and knows the round trip all the same.
        let remote = pair.ends[1].stats().inbound[0].remote.unwrap();
        assert!((39 * MS..42 * MS).contains(&remote.round_trip_time.unwrap()));
    }
}

#[test]
fn numbers_wrap() {
    let mut pair = Pair::new(11, Config::default());
    let id = pair.ends[0]
        .add_sender(pair.now, sender("a", Kind::Audio, 2000, opus()))
        .unwrap();
    pair.ends[1]
        .add_receiver(receiver("a", Kind::Audio, opus(), vec![]))
        .unwrap();
    let count = 140_000u32;
    let mut got = 0u32;
    for number in 0..count {
        pair.ends[0].send_frame(pair.now, id, sound(number)).unwrap();
        pair.run(2 * MS);
        // Sound does not wait at the very beginning: disorder may start after it.
        if number == 20 {
            pair.links[0].jitter = 3 * MS;
        }
        if number % 1000 == 999 || number == count - 1 {
            if number == count - 1 {
                pair.run(Duration::from_secs(1));
            }
            for event in pair.events[1].drain(..) {
                if let Event::Frame {
                    frame, discontinuity, ..
                } = event
                {
                    assert!(frame.data == sound(got).data && !discontinuity, "frame {got}");
                    got += 1;
                }
            }
        }
    }
    assert_eq!(got, count);
    assert_eq!(pair.ends[1].stats().inbound[0].packets_lost, 0);
}

#[test]
fn the_end_says_goodbye_once() {
    let (mut pair, id) = video_pair(12, true, true, Config::default());
    play(&mut pair, id, 10, 2000);
    pair.ends[0].close();
    pair.run(Duration::from_secs(1));
    let byes = pair.events[1]
        .iter()
        .filter(|event| matches!(event, Event::Bye { ssrc: 1000, .. }))
        .count();
    assert_eq!(byes, 1);
    assert_eq!(pair.ends[0].poll_timeout(), None);
    let error = pair.ends[0].send_frame(pair.now, id, picture(1, 10, true));
    assert_eq!(error, Err(antiphon_media::Error::Closed));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let (mut pair, id) = video_pair(13, true, true, Config::default());
        pair.log = true;
        pair.links[0].loss = 0.1;
        play(&mut pair, id, 50, 4000);
        pair.sent
            .into_iter()
            .map(|sent| (sent.at - pair.start, sent.bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn packets_are_forwarded_across_a_change_of_source() {
    // Two sources, one after the other, reach one receiver as one stream through a session that forwards.
    let (mut far, out) = video_pair(
        14,
        true,
        true,
        Config {
            start_bitrate: 3_000_000,
            ..Config::default()
        },
    );
    far.links[0].loss = 0.03;
    let mut expected = Vec::new();
    for (round, ssrc) in [(0u32, 5000), (1, 6000)] {
        let mut near = Pair::new(15 + u64::from(round), Config::default());
        near.now = far.now;
        let id = near.ends[0]
            .add_sender(near.now, sender("v", Kind::Video, ssrc, vp8(true, true)))
            .unwrap();
        let into = near.ends[1]
            .add_receiver(receiver("v", Kind::Video, vp8(true, true), vec![]))
            .unwrap();
        near.ends[1].set_output(into, Output::Packets).unwrap();
        for number in 0..40 {
            let frame = picture(round * 1000 + number, 3000, number == 0);
            expected.push(frame.clone());
            near.ends[0].send_frame(near.now, id, frame).unwrap();
            if round == 0 && number == 0 {
                far.links[0].loss = 0.0;
            }
            near.run(40 * MS);
            for event in near.events[1].drain(..) {
                if let Event::Packet { packet, .. } = event {
                    far.ends[0].send_rtp(far.now, out, &packet).unwrap();
                }
            }
            far.run(40 * MS);
            far.links[0].loss = 0.03;
        }
        // The key frame of the next source would make repairs of the last frames needless: they are to be done by then.
        far.links[0].loss = 0.0;
        far.run(Duration::from_millis(500));
    }
    let got: Vec<Frame> = far.frames().map(|(frame, _)| frame.clone()).collect();
    assert_same(&got, &expected, "forwarded");
    assert!(far.frames().all(|(_, gap)| !gap));
    let steps: Vec<_> = got
        .windows(2)
        .map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp))
        .collect();
    assert!(steps.iter().all(|step| (1..90_000).contains(step)), "{steps:?}");
}
