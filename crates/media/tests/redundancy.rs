//! Redundancy that is sent: what it brings back over lossy links, beside what theory allows, and when it is chosen.

mod common;

use std::collections::HashMap;
use std::time::Duration;

use antiphon_media::extension::Map;
use antiphon_media::{
    Codec, Config, Event, FecAmount, Feedback, InboundRtp, Kind, OutboundRtp, PacketKind, ReceiverConfig, RedDistance,
    RemoteSource, SendRedundancy, SenderConfig, SenderId,
};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::red;
use common::*;

const SSRC: u32 = 1000;
const FEC_SSRC: u32 = 1002;
const FLEXFEC: &[(u8, &str, u32)] = &[(49, "flexfec-03", 90_000)];
const RFC_8627: &[(u8, &str, u32)] = &[(50, "flexfec", 90_000)];
const ULPFEC: &[(u8, &str, u32)] = &[(120, "red", 90_000), (122, "ulpfec", 90_000)];
const RED: &[(u8, &str, u32)] = &[(63, "red", 48_000)];

fn config(red: RedDistance, fec: FecAmount) -> Config {
    Config {
        redundancy: SendRedundancy { red, fec },
        // Who may not send more probes for nothing, and pads nothing: what is sent and does not come is lost.
        start_bitrate: 20_000_000,
        max_bitrate: 20_000_000,
        ..Config::default()
    }
}

/// A codec, and redundancy behind it.
fn codecs(codec: Codec, redundancy: &[(u8, &str, u32)]) -> Vec<Codec> {
    let redundancy = redundancy.iter().map(|(payload_type, name, clock_rate)| Codec {
        payload_type: *payload_type,
        name: (*name).into(),
        clock_rate: *clock_rate,
        fmtp: if *clock_rate == 48_000 { "111/111" } else { "" }.into(),
        rtx_payload_type: None,
        ..codec.clone()
    });
    let all = [codec.clone()].into_iter().chain(redundancy);
    all.collect()
}

/// Alice sends one stream to Bob, who has what redundancy says, with or without NACK.
fn pair(config: Config, kind: Kind, redundancy: &[(u8, &str, u32)], nack: bool) -> (Pair, SenderId) {
    let mut pair = Pair::new(3, config);
    let codec = if kind == Kind::Audio { opus() } else { vp8(nack, nack) };
    let own_stream = redundancy.iter().any(|(_, name, _)| name.starts_with("flexfec"));
    let fec_ssrc = own_stream.then_some(FEC_SSRC);
    let base = sender("m", kind, SSRC, codec.clone());
    let source = RemoteSource {
        ssrc: SSRC,
        rtx_ssrc: base.rtx_ssrc,
        fec_ssrc,
        layer: None,
    };
    let sent = SenderConfig {
        fec_ssrc,
        codecs: codecs(codec.clone(), redundancy),
        ..base
    };
    let received = ReceiverConfig {
        codecs: codecs(codec.clone(), redundancy),
        ..receiver("m", kind, codec, vec![source])
    };
    let id = pair.ends[0].add_sender(pair.now, sent).unwrap();
    pair.ends[1].add_receiver(received).unwrap();
    (pair, id)
}

fn sent(pair: &Pair) -> OutboundRtp {
    pair.ends[0].stats().outbound[0].clone()
}

fn received(pair: &Pair) -> InboundRtp {
    pair.ends[1].stats().inbound[0].clone()
}

/// Of the lost packets of the stream itself the share that came back, without those of the last second.
fn recovered(pair: &Pair) -> f64 {
    received(pair).repaired.packets_recovered as f64 / lost(pair) as f64
}

fn lost(pair: &Pair) -> u64 {
    sent(pair).packets_sent - received(pair).packets_received
}

/// Whether a share of `lost` packets is what theory says, within four standard errors. Of so many packets that stand or fall `together`
/// each is worth less: those that were lost beside one that was are lost with it.
fn close(measured: f64, theory: f64, lost: u64, together: f64, what: &str) {
    let error = (theory * (1.0 - theory) * (1.0 + together) / lost as f64).sqrt();
    assert!(error < 0.013, "{what}: {lost} are too few to tell, +-{error:.3}");
    let off = (measured - theory) / error;
    println!("{what}: {measured:.4}, by theory {theory:.4} +-{error:.4} of {lost}: {off:+.1}");
    assert!(
        off.abs() < 4.0,
        "{what}: {measured:.3}, and not {theory:.3}: {off:+.1} times what chance does"
    );
}

fn play(pair: &mut Pair, id: SenderId, sounds: std::ops::Range<u32>) {
    for n in sounds {
        pair.ends[0].send_frame(pair.now, id, sound(n)).unwrap();
        pair.run(20 * MS);
    }
}

fn show(pair: &mut Pair, id: SenderId, pictures: std::ops::Range<u32>, len: usize) {
    for n in pictures {
        pair.ends[0].send_frame(pair.now, id, picture(n, len, n == 0)).unwrap();
        pair.run(Duration::from_micros(33_333));
    }
}

/// Every packet has a number of its own, or is the same once more: anything else would give SRTP's keys away (RFC 3711 §9.1).
fn numbers_are_given_once(pair: &Pair) {
    let mut seen: HashMap<(u32, u16), &[u8]> = HashMap::new();
    let packets = pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp);
    for sent in packets {
        let header = Packet::parse(&sent.bytes).unwrap().header;
        let first = *seen.entry((header.ssrc, header.sequence)).or_insert(&sent.bytes);
        assert_eq!(first, sent.bytes, "another packet of number {}", header.sequence);
    }
}

#[test]
fn red_brings_back_what_theory_allows() {
    // Share lost, mean burst, distance, share that comes back: one of the next packets must come.
    for (loss, burst, distance, theory) in [
        (0.02, 0.0, 1, 0.98),
        (0.10, 0.0, 1, 0.90),
        (0.20, 0.0, 1, 0.80),
        (0.10, 0.0, 2, 0.99),
        (0.20, 0.0, 2, 0.96),
        (0.10, 3.0, 1, 0.333),
        (0.10, 3.0, 2, 0.556),
    ] {
        let settings = config(RedDistance::Fixed(distance), FecAmount::ByLoss);
        let (mut pair, id) = pair(settings, Kind::Audio, RED, false);
        (pair.links[0].loss, pair.links[0].burst) = (loss, burst);
        play(&mut pair, id, 0..20_000);
        pair.run(Duration::from_secs(1));
        let what = format!("{loss} lost in bursts of {burst}, distance {distance}");
        close(recovered(&pair), theory, lost(&pair), 0.0, &what);
        // Each comes once, in order.
        let mut last = None;
        let mut frames = 0;
        for (frame, _) in pair.frames() {
            let number = u16::from_be_bytes([frame.data[1], frame.data[2]]);
            assert!(last.is_none_or(|last| last < number), "{what}: {number} after {last:?}");
            last = Some(number);
            frames += 1;
        }
        assert_eq!(
            frames,
            received(&pair).packets_received + received(&pair).repaired.packets_recovered
        );
        let repairs = sent(&pair).repairs;
        assert!(repairs.fec_packets_sent > 19_990 * u64::from(distance));
        assert_eq!(repairs.fec_bytes_sent, repairs.fec_packets_sent * 4);
    }
}

#[test]
fn fec_brings_back_what_theory_allows() {
    // Format, percent, share lost, mean burst, share that comes back: that all others of the sum come, or as media.md has it for
    // bursts of three.
    for (format, percent, loss, burst, theory) in [
        (FLEXFEC, 10, 0.01, 0.0, 0.904),
        (FLEXFEC, 10, 0.05, 0.0, 0.599),
        (FLEXFEC, 20, 0.05, 0.0, 0.774),
        (FLEXFEC, 20, 0.10, 0.0, 0.590),
        (FLEXFEC, 50, 0.10, 0.0, 0.810),
        (RFC_8627, 20, 0.10, 0.0, 0.590),
        (ULPFEC, 20, 0.05, 0.0, 0.774),
    ] {
        let settings = config(RedDistance::ByLoss, FecAmount::Percent(percent));
        let (mut pair, id) = pair(settings, Kind::Video, format, false);
        pair.log = true;
        (pair.links[0].loss, pair.links[0].burst) = (loss, burst);
        show(&mut pair, id, 0..500, 20_400);
        numbers_are_given_once(&pair);
        // What follows is for the share alone: so much that chance does little.
        pair.log = false;
        pair.sent.clear();
        show(&mut pair, id, 500..if loss < 0.05 { 6000 } else { 2500 }, 20_400);
        pair.run(Duration::from_secs(1));
        let what = format!("{format:?}, {percent} %, {loss} lost in bursts of {burst}");
        let came_back = if format == ULPFEC {
            // Repairs are packets of the stream, and are lost too, but do not come back.
            recovered(&pair) * (1.0 + f64::from(percent) / 100.0)
        } else {
            recovered(&pair)
        };
        // One sum is of so many packets.
        let together = loss * 100.0 / f64::from(percent);
        close(came_back, theory, lost(&pair), together, &what);
        let (repairs, packets) = (sent(&pair).repairs, sent(&pair).packets_sent);
        let media = packets - if format == ULPFEC { repairs.fec_packets_sent } else { 0 };
        let share = repairs.fec_packets_sent as f64 / media as f64;
        assert!(
            (share - f64::from(percent) / 100.0).abs() < 0.02,
            "{what}: {share:.3} sent"
        );
    }
}

#[test]
fn in_bursts_repairs_are_laid_out_by_what_feedback_tells() {
    let settings = config(RedDistance::ByLoss, FecAmount::Percent(20));
    let (mut pair, id) = pair(settings, Kind::Video, FLEXFEC, false);
    (pair.links[0].loss, pair.links[0].burst) = (0.05, 3.0);
    show(&mut pair, id, 0..1500, 10_200);
    pair.run(Duration::from_secs(1));
    let share = recovered(&pair);
    // One repair for five recovers a seventh of these; three for fifteen more.
    assert!(share > 0.37, "{share}");
}

#[test]
fn it_is_chosen_by_loss_and_round_trip() {
    let (mut pair, id) = pair(Config::default(), Kind::Video, FLEXFEC, true);
    let quarter = Duration::from_secs(15);
    let mut last = 0;
    let mut sent_of = |pair: &Pair| {
        let repairs = sent(pair).repairs.fec_packets_sent;
        repairs - std::mem::replace(&mut last, repairs)
    };
    let mut next = 0;
    let mut phase = |pair: &mut Pair, delay: u32, loss: f64| {
        for link in &mut pair.links {
            link.delay = delay * MS;
        }
        pair.links[0].loss = loss;
        let end = pair.now + quarter;
        while pair.now < end {
            show(pair, id, next..next + 1, 5000);
            next += 1;
        }
        sent_of(pair)
    };
    assert_eq!(phase(&mut pair, 100, 0.0), 0, "nothing is lost");
    let much = phase(&mut pair, 100, 0.08);
    assert!(much > 200, "{much} at a long round trip");
    // It takes a while to be forgotten.
    phase(&mut pair, 100, 0.0);
    assert_eq!(phase(&mut pair, 100, 0.0), 0, "nothing is lost any more");
    // What is lost comes back by asking; smoothed, the round trip takes a while to fall.
    phase(&mut pair, 5, 0.0);
    assert_eq!(phase(&mut pair, 5, 0.08), 0, "there is time to ask");
}

#[test]
fn sound_is_repeated_while_packets_are_lost() {
    let (mut pair, id) = pair(Config::default(), Kind::Audio, RED, false);
    let repeated = |pair: &Pair| sent(pair).repairs.fec_packets_sent;
    play(&mut pair, id, 0..500);
    assert_eq!(repeated(&pair), 0);
    assert_eq!(sent(&pair).bytes_sent, 500 * 4, "as if it had not been negotiated");
    pair.links[0].loss = 0.1;
    play(&mut pair, id, 500..1000);
    let before = repeated(&pair);
    play(&mut pair, id, 1000..1500);
    let share = (repeated(&pair) - before) as f64 / 500.0;
    assert!(share > 1.9, "{share} at 10 %");
    pair.links[0].loss = 0.0;
    play(&mut pair, id, 1500..5500);
    let before = repeated(&pair);
    play(&mut pair, id, 5500..6000);
    assert_eq!(repeated(&pair) - before, 0, "nothing is lost any more");
}

#[test]
fn where_red_is_not_negotiated_the_encoder_is_told_of_losses() {
    let told = |pair: &mut Pair| -> Vec<u8> {
        let events = std::mem::take(&mut pair.events[0]);
        let told = events.into_iter().filter_map(|event| match event {
            Event::InBandFec { percent, .. } => Some(percent),
            _ => None,
        });
        told.collect()
    };
    let (mut own, id) = pair(Config::default(), Kind::Audio, &[], false);
    play(&mut own, id, 0..500);
    assert!(told(&mut own).is_empty(), "nothing is lost");
    own.links[0].loss = 0.15;
    play(&mut own, id, 500..2500);
    let percents = told(&mut own);
    assert!(percents.contains(&20) && !percents.contains(&0), "{percents:?}");
    own.links[0].loss = 0.0;
    play(&mut own, id, 2500..6500);
    assert_eq!(told(&mut own).last(), Some(&0));
    let (mut red, id) = pair(Config::default(), Kind::Audio, RED, false);
    red.links[0].loss = 0.15;
    play(&mut red, id, 0..2000);
    assert!(told(&mut red).is_empty(), "RED repairs it");
}

#[test]
fn sound_is_asked_for_where_that_was_negotiated() {
    for nack in [true, false] {
        let codec = Codec {
            feedback: Feedback {
                nack,
                ..opus().feedback
            },
            ..opus()
        };
        let source = RemoteSource {
            ssrc: SSRC,
            ..RemoteSource::default()
        };
        let mut pair = Pair::new(3, Config::default());
        let sent = sender("m", Kind::Audio, SSRC, codec.clone());
        let id = pair.ends[0].add_sender(pair.now, sent).unwrap();
        pair.ends[1]
            .add_receiver(receiver("m", Kind::Audio, codec, vec![source]))
            .unwrap();
        pair.links[0].loss = 0.1;
        play(&mut pair, id, 0..1000);
        pair.links[0].loss = 0.0;
        pair.run(Duration::from_secs(1));
        let came = pair.frames().count();
        let asked = received(&pair).nack_count;
        assert_eq!(
            (came > 995, asked > 50),
            (nack, nack),
            "{came} of 1000, asked {asked} times"
        );
    }
}

#[test]
fn packets_stay_within_the_limit_and_red_within_its_header() {
    let mut settings = config(RedDistance::Fixed(3), FecAmount::Percent(50));
    settings.max_packet_size = 400;
    for format in [FLEXFEC, ULPFEC] {
        let (mut pair, id) = pair(settings.clone(), Kind::Video, format, false);
        pair.log = true;
        show(&mut pair, id, 0..50, 5000);
        assert!(sent(&pair).repairs.fec_packets_sent > 200);
        let longest = pair
            .sent
            .iter()
            .filter(|sent| sent.from == 0)
            .map(|sent| sent.bytes.len())
            .max();
        assert!(longest <= Some(400), "{format:?}: {longest:?}");
    }
    let (mut pair, id) = pair(settings, Kind::Audio, RED, false);
    pair.log = true;
    // Length and time since the one before, in ticks -> how many it repeats.
    let mut timestamp = 0;
    let mut expected = Vec::new();
    for (len, ticks, repeats) in [
        (100, 960, 0),
        (100, 960, 1),
        (100, 960, 2),
        (100, 960, 2),
        (370, 960, 0),
        (20, 960, 0),
        (20, 960, 1),
        (20, 0x3fff, 1),
        (20, 0x4000, 0),
        (20, 0, 0),
        (0x3ff, 960, 0),
    ] {
        timestamp += ticks;
        let mut frame = sound(timestamp / 960);
        frame.timestamp = timestamp;
        frame.data = vec![7; len].into();
        let result = pair.ends[0].send_frame(pair.now, id, frame);
        if result.is_ok() {
            expected.push(repeats);
        }
        pair.run(20 * MS);
    }
    let packets = pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp);
    let repeats: Vec<_> = packets
        .map(|sent| {
            assert!(sent.bytes.len() <= 400);
            let packet = Packet::parse(&sent.bytes).unwrap();
            match packet.header.payload_type {
                63 => red::parse(packet.payload()).unwrap().count() - 1,
                _ => 0,
            }
        })
        .collect();
    assert_eq!(repeats, expected);
}

#[test]
fn numbers_are_never_given_twice_whatever_is_renegotiated() {
    for format in [FLEXFEC, ULPFEC] {
        let settings = config(RedDistance::ByLoss, FecAmount::Percent(50));
        let (mut pair, id) = pair(settings, Kind::Video, format, true);
        pair.log = true;
        pair.links[0].loss = 0.05;
        pair.links[0].rate = Some(2_000_000.0);
        let negotiated = |redundancy| SenderConfig {
            fec_ssrc: (format == FLEXFEC).then_some(FEC_SSRC),
            codecs: codecs(vp8(true, true), redundancy),
            ..sender("m", Kind::Video, SSRC, vp8(true, true))
        };
        for round in 0..240u32 {
            for n in 0..4 {
                // Refused while the queue is full; that is no matter here.
                let _ = pair.ends[0].send_frame(pair.now, id, picture(4 * round + n, 20_000, n == 0));
                pair.run(Duration::from_millis(u64::from(round % 7)));
            }
            match round % 6 {
                1 => {
                    pair.ends[0].set_sender_active(id, false).unwrap();
                    pair.run(5 * MS);
                    pair.ends[0].set_sender_active(id, true).unwrap();
                }
                3 => pair.ends[0].update_sender(pair.now, id, negotiated(&[])).unwrap(),
                4 => pair.ends[0].update_sender(pair.now, id, negotiated(format)).unwrap(),
                _ => pair.run(30 * MS),
            }
        }
        pair.run(Duration::from_secs(2));
        let fec = sent(&pair).repairs.fec_packets_sent;
        assert!(fec > 100, "{fec}");
        numbers_are_given_once(&pair);
    }
}

#[test]
fn repairs_are_numbered_and_paced_as_media_and_leave_less_to_it() {
    let limited = |fec| Config {
        max_bitrate: 1_000_000,
        ..config(RedDistance::ByLoss, fec)
    };
    let (mut pair, id) = pair(limited(FecAmount::Percent(50)), Kind::Video, FLEXFEC, true);
    pair.log = true;
    show(&mut pair, id, 0..150, 12_000);
    let map: Map = extensions();
    let numbers: Vec<u16> = pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp)
        .map(|sent| {
            Packet::parse(&sent.bytes)
                .unwrap()
                .values(&map)
                .transport_sequence
                .unwrap()
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    let repairs = pair.sent.iter().filter(|sent| {
        sent.from == 0 && sent.kind == PacketKind::Rtp && Packet::parse(&sent.bytes).unwrap().header.ssrc == FEC_SSRC
    });
    assert_eq!(repairs.count() as u64, sent(&pair).repairs.fec_packets_sent);
    // What the peer's feedback allows is for both.
    let (mut other, other_id) = self::pair(limited(FecAmount::Percent(0)), Kind::Video, FLEXFEC, true);
    show(&mut other, other_id, 0..150, 12_000);
    assert_eq!(sent(&other).repairs.fec_packets_sent, 0);
    let targets = [&pair, &other].map(|pair| sent(pair).target_bitrate);
    assert_eq!(targets, [Some(666_666), Some(1_000_000)]);
}

#[test]
fn what_was_not_negotiated_is_not_sent() {
    let settings = config(RedDistance::Fixed(2), FecAmount::Percent(50));
    for red in [
        vec![],
        // The peer must say what may be repeated, twice, and it must be what is sent.
        codecs(opus(), RED)
            .into_iter()
            .skip(1)
            .map(|codec| Codec {
                fmtp: String::new(),
                ..codec
            })
            .collect(),
        codecs(opus(), RED)
            .into_iter()
            .skip(1)
            .map(|codec| Codec {
                fmtp: "111".into(),
                ..codec
            })
            .collect(),
        codecs(opus(), RED)
            .into_iter()
            .skip(1)
            .map(|codec| Codec {
                fmtp: "0/0".into(),
                ..codec
            })
            .collect(),
        codecs(opus(), RED)
            .into_iter()
            .skip(1)
            .map(|codec| Codec {
                fmtp: "111/0".into(),
                ..codec
            })
            .collect::<Vec<_>>(),
    ] {
        let mut pair = Pair::new(1, settings.clone());
        pair.log = true;
        let config = SenderConfig {
            codecs: [opus()].into_iter().chain(red).collect(),
            ..sender("a", Kind::Audio, SSRC, opus())
        };
        let id = pair.ends[0].add_sender(pair.now, config).unwrap();
        play(&mut pair, id, 0..20);
        let packets = pair
            .sent
            .iter()
            .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp);
        let types: Vec<u8> = packets
            .map(|sent| Packet::parse(&sent.bytes).unwrap().header.payload_type)
            .collect();
        assert_eq!(types, [111; 20]);
    }
    let (mut pair, id) = pair(settings, Kind::Video, &ULPFEC[1..], false);
    show(&mut pair, id, 0..20, 5000);
    assert_eq!(sent(&pair).repairs.fec_packets_sent, 0, "ULPFEC needs RED");
}
