//! A peer that holds the keys and means harm: no panic, bounded memory, bounded answers (V7, V8, V23, V24).

mod common;

use std::time::Duration;

use antiphon_media::extension::Values;
use antiphon_media::{Config, Kind, Outgoing, Output, PacketKind, RemoteSource};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_rtp::rtcp::{self, NackPair};
use antiphon_sansio::{BytesMut, TransmitBuf, Writer};
use common::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn busy_pair() -> (Pair, antiphon_media::SenderId) {
    busy_pair_of(Config::default())
}

fn busy_pair_of(config: Config) -> (Pair, antiphon_media::SenderId) {
    let mut pair = Pair::new(1, config);
    pair.log = true;
    let id = pair.ends[0]
        .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(true, true)))
        .unwrap();
    let back = RemoteSource {
        ssrc: 3000,
        rtx_ssrc: Some(3001),
        fec_ssrc: None,
        layer: None,
    };
    pair.ends[0]
        .add_receiver(receiver("v", Kind::Video, vp8(true, true), vec![back]))
        .unwrap();
    for number in 0..20 {
        pair.ends[0]
            .send_frame(pair.now, id, picture(number, 20_000, number == 0))
            .unwrap();
        pair.run(40 * MS);
    }
    (pair, id)
}

/// Everything that Alice sends until she has nothing more to do now.
fn drain(pair: &mut Pair) -> Vec<(PacketKind, Vec<u8>)> {
    let mut out = TransmitBuf::new(64 * 1024, 1300);
    let mut sent = Vec::new();
    loop {
        out.clear();
        let Some(Outgoing { kind, .. }) = pair.ends[0].poll_transmit(pair.now, &mut out) else {
            return sent;
        };
        let range = out.finish();
        sent.push((kind, out.bytes(range).to_vec()));
    }
}

/// NACKs for everything that Alice ever sent.
fn nack_everything(pair: &Pair) -> Vec<u8> {
    let rtp = pair
        .sent
        .iter()
        .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp);
    let first = rtp
        .map(|sent| Packet::parse(&sent.bytes).unwrap().header.sequence)
        .next()
        .unwrap();
    let mut buffer = [0; 1400];
    let mut out = Writer::new(&mut buffer);
    let pairs = (0..30u16).map(|n| NackPair {
        first: first.wrapping_add(n * 17),
        following: 0xffff,
    });
    rtcp::write_nack(7, 1000, pairs, &mut out).unwrap();
    out.finish().to_vec()
}

#[test]
fn v24_a_nack_storm_is_answered_within_the_cap() {
    let (mut pair, _) = busy_pair();
    pair.ends[0].set_rtt(MS);
    drain(&mut pair);
    let nack = nack_everything(&pair);
    // What was sent, asked for again and again, a thousand times in one second.
    let mut bytes = 0;
    let sent = pair.ends[0].stats().outbound[0].clone();
    for _ in 0..1000 {
        pair.now += MS;
        for _ in 0..5 {
            pair.ends[0].handle_rtcp(pair.now, arrived(BytesMut::from(&nack[..])));
        }
        pair.ends[0].handle_timeout(pair.now);
        bytes += drain(&mut pair).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    let stats = pair.ends[0].stats().outbound[0].clone();
    assert!(stats.repairs.retransmitted_packets_sent > 0 && stats.repairs.retransmissions_refused > 0);
    // The burst, and three quarters of an estimate of a megabit or so for one second.
    assert!(bytes < 96_000 + 400_000, "{bytes} bytes");
    assert!(stats.repairs.retransmitted_packets_sent <= sent.packets_sent * 12);
}

#[test]
fn v24_one_nack_costs_no_more_than_the_burst() {
    let (mut pair, _) = busy_pair();
    pair.ends[0].set_rtt(MS);
    drain(&mut pair);
    let nack = nack_everything(&pair);
    let sent = pair.ends[0].stats().outbound[0].clone();
    assert!(
        sent.bytes_sent > 300_000,
        "much more than may come back: {}",
        sent.bytes_sent
    );
    pair.ends[0].handle_rtcp(pair.now, arrived(BytesMut::from(&nack[..])));
    let bytes: usize = drain(&mut pair).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(
        (1..96_000 + 10_000).contains(&bytes),
        "{bytes} bytes for {}",
        nack.len()
    );
}

/// One NACK for the newest packet of Alice's stream, handed to her so many milliseconds apart; how many packets each brought.
fn ask_for_the_newest(pair: &mut Pair, gaps: &[u64]) -> Vec<usize> {
    let mut sequences = pair.sent.iter().filter_map(|sent| {
        let header =
            (sent.from == 0 && sent.kind == PacketKind::Rtp).then(|| Packet::parse(&sent.bytes).unwrap().header)?;
        (header.ssrc == 1000).then_some(header.sequence)
    });
    let first = sequences.next_back().unwrap();
    let mut buffer = [0; 64];
    let mut out = Writer::new(&mut buffer);
    rtcp::write_nack(7, 1000, [NackPair { first, following: 0 }], &mut out).unwrap();
    let nack = out.finish().to_vec();
    gaps.iter()
        .map(|gap| {
            pair.now += *gap as u32 * MS;
            pair.ends[0].handle_rtcp(pair.now, arrived(BytesMut::from(&nack[..])));
            pair.ends[0].handle_timeout(pair.now);
            let sent = drain(pair);
            sent.iter().filter(|(kind, _)| *kind == PacketKind::Rtp).count()
        })
        .collect()
}

#[test]
fn v24_who_repeats_a_nack_within_a_round_trip_gets_nothing_for_it() {
    let (mut pair, _) = busy_pair();
    pair.run(Duration::from_secs(1));
    drain(&mut pair);
    pair.ends[0].set_rtt(40 * MS);
    // Nobody has told how much is lost: two. Who asks again has lost both, and gets three.
    let answers = ask_for_the_newest(&mut pair, &[1, 0, 5, 10, 10, 15, 1, 20, 25]);
    assert_eq!(answers, [2, 0, 0, 0, 0, 3, 0, 0, 3]);
    let refused = pair.ends[0].stats().outbound[0].repairs.retransmissions_refused;
    assert_eq!(refused, 6, "each is counted");
}

#[test]
fn v24_over_a_long_way_a_nack_brings_three_copies_and_no_more() {
    let (mut pair, _) = busy_pair_of(Config {
        start_bitrate: 10_000_000,
        ..Config::default()
    });
    pair.run(Duration::from_secs(1));
    drain(&mut pair);
    pair.ends[0].set_rtt(200 * MS);
    // Who asks again as soon as it may, after 150 of 200 ms.
    assert_eq!(ask_for_the_newest(&mut pair, &[1, 20, 20, 170]), [3, 0, 0, 3]);
}

#[test]
fn v24_what_is_long_gone_is_not_sent_again() {
    let (mut pair, _) = busy_pair();
    drain(&mut pair);
    assert_eq!(ask_for_the_newest(&mut pair, &[2900]), [2]);
    let (mut pair, _) = busy_pair();
    drain(&mut pair);
    assert_eq!(ask_for_the_newest(&mut pair, &[3100]), [0]);
}

#[test]
fn v24_a_pli_flood_reaches_the_application_five_times_a_second() {
    let (mut pair, _) = busy_pair();
    pair.events[0].clear();
    let mut buffer = [0; 64];
    let mut out = Writer::new(&mut buffer);
    rtcp::write_pli(rtcp::Pli { sender: 1, media: 1000 }, &mut out).unwrap();
    let pli = out.finish().to_vec();
    for _ in 0..1000 {
        pair.ends[0].handle_rtcp(pair.now, arrived(BytesMut::from(&pli[..])));
        pair.run(MS);
    }
    let asked = pair.events[0]
        .iter()
        .filter(|event| matches!(event, antiphon_media::Event::KeyFrameRequested { .. }));
    assert!((4..=6).contains(&asked.count()));
    assert_eq!(pair.ends[0].stats().outbound[0].pli_count, 1000);
}

#[test]
fn a_crowd_of_sources_is_bounded() {
    let (mut pair, _) = busy_pair();
    let mut buffer = [0; 200];
    for ssrc in 10_000..60_000 {
        let mut out = Writer::new(&mut buffer);
        let header = Header {
            marker: true,
            payload_type: if ssrc % 3 == 0 { 97 } else { 96 },
            sequence: 1,
            timestamp: 0,
            ssrc,
        };
        let values = Values {
            mid: Some(b"v"),
            transport_sequence: Some(ssrc as u16),
            ..Values::default()
        };
        header.write(&[], &values, &extensions(), &mut out).unwrap();
        out.put_slice(&[0x10, 0, 0]).unwrap();
        pair.ends[0].handle_rtp(pair.now, arrived(BytesMut::from(&*out.finish())));
    }
    let stats = pair.ends[0].stats();
    assert!(stats.inbound.len() <= 17, "{}", stats.inbound.len());
    assert!(stats.dropped.too_many_sources > 30_000);
    // An hour later silent ones make room.
    pair.now += Duration::from_secs(3600);
    let mut out = Writer::new(&mut buffer);
    let header = Header {
        payload_type: 96,
        ssrc: 99,
        ..Header::default()
    };
    let values = Values {
        mid: Some(b"v"),
        ..Values::default()
    };
    header.write(&[], &values, &extensions(), &mut out).unwrap();
    out.put_slice(&[0x10, 0, 0]).unwrap();
    pair.ends[0].handle_rtp(pair.now, arrived(BytesMut::from(&*out.finish())));
    assert!(pair.ends[0].stats().inbound.iter().any(|inbound| inbound.ssrc == 99));
}

#[test]
fn an_application_that_fetches_nothing_loses_the_oldest() {
    let mut pair = Pair::new(2, Config::default());
    let id = pair.ends[0]
        .add_sender(pair.now, sender("a", Kind::Audio, 2000, opus()))
        .unwrap();
    let into = pair.ends[1]
        .add_receiver(receiver("a", Kind::Audio, opus(), vec![]))
        .unwrap();
    pair.ends[1].set_output(into, Output::Packets).unwrap();
    for number in 0..5000 {
        pair.ends[0].send_frame(pair.now, id, sound(number)).unwrap();
        for (kind, bytes) in drain(&mut pair) {
            if kind == PacketKind::Rtp {
                pair.ends[1].handle_rtp(pair.now, arrived(BytesMut::from(&bytes[..])));
            }
        }
    }
    let waiting = std::iter::from_fn(|| pair.ends[1].poll_event()).count() as u64;
    let dropped = pair.ends[1].stats().dropped.events;
    assert!(waiting <= 2048 && waiting + dropped == 5001, "{waiting} {dropped}");
}

#[test]
fn the_send_queue_is_bounded() {
    let mut pair = Pair::new(3, Config::default());
    let id = pair.ends[0]
        .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(true, true)))
        .unwrap();
    let mut refused = 0;
    for number in 0..1000 {
        let result = pair.ends[0].send_frame(pair.now, id, picture(number, 50_000, true));
        refused += u64::from(result == Err(antiphon_media::Error::QueueFull));
    }
    assert!(refused > 900);
    assert_eq!(pair.ends[0].stats().outbound[0].frames.refused, refused);
    let too_large = picture(0, 10_000_000, true);
    pair.ends[0].set_sender_active(id, false).unwrap();
    pair.ends[0].set_sender_active(id, true).unwrap();
    assert_eq!(
        pair.ends[0].send_frame(pair.now, id, too_large),
        Err(antiphon_media::Error::FrameSize)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic_and_law_2_holds(inputs in vec((any::<bool>(), vec(any::<u8>(), 0..200), 0u8..6, any::<u16>(), 0u64..300), 0..120)) {
        let (mut pair, id) = busy_pair();
        for (rtp, mut bytes, shape, word, wait) in inputs {
            // Random bytes rarely look like anything: give most of them a plausible beginning.
            if bytes.len() >= 20 {
                let ssrcs: [u32; 4] = [1000, 1001, 3000, 3001];
                let ssrc = ssrcs[usize::from(word % 4)].to_be_bytes();
                if rtp && shape < 5 {
                    bytes[0] = 0x80 | bytes[0] & 0x3f;
                    bytes[1] = bytes[1] & 0x80 | if word % 2 == 0 { 96 } else { 97 };
                    bytes[8..12].copy_from_slice(&ssrc);
                } else if !rtp && shape < 5 {
                    bytes[0] = 0x80 | [0, 1, 1, 4, 15][usize::from(shape)];
                    bytes[1] = 200 + (word % 8) as u8;
                    let words = (bytes.len() / 4 - 1) as u16;
                    bytes[2..4].copy_from_slice(&words.to_be_bytes());
                    let at = if shape == 0 { 4 } else { 8 };
                    bytes[at..at + 4].copy_from_slice(&ssrc);
                }
            }
            let data = BytesMut::from(&bytes[..]);
            if rtp {
                pair.ends[0].handle_rtp(pair.now, arrived(data));
            } else {
                pair.ends[0].handle_rtcp(pair.now, arrived(data));
            }
            let _ = pair.ends[0].send_frame(pair.now, id, picture(u32::from(word), 1 + usize::from(word) / 8, word % 5 == 0));
            pair.run(Duration::from_millis(wait));
            let _ = pair.ends[0].stats();
        }
    }

    #[test]
    fn clocks_may_jump(jumps in vec(0u64..200_000, 1..30)) {
        let (mut pair, id) = busy_pair();
        for (number, jump) in jumps.into_iter().enumerate() {
            pair.jump(Duration::from_secs(jump));
            let _ = pair.ends[0].send_frame(pair.now, id, picture(number as u32, 3000, true));
            pair.run(50 * MS);
        }
    }
}

#[test]
fn written_packets_keep_to_the_size_asked_for() {
    for max in [200, 500, 1150, 1200] {
        let mut pair = Pair::new(
            4,
            Config {
                max_packet_size: max,
                ..Config::default()
            },
        );
        let id = pair.ends[0]
            .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(true, true)))
            .unwrap();
        pair.ends[1]
            .add_receiver(receiver("v", Kind::Video, vp8(true, true), vec![]))
            .unwrap();
        pair.log = true;
        for number in 0..30 {
            pair.ends[0]
                .send_frame(pair.now, id, picture(number, 9000, number == 0))
                .unwrap();
            pair.links[0].loss = if number == 0 { 0.0 } else { 0.1 };
            pair.run(40 * MS);
        }
        let rtp: Vec<_> = pair
            .sent
            .iter()
            .filter(|sent| sent.from == 0 && sent.kind == PacketKind::Rtp)
            .collect();
        assert!(rtp.iter().all(|sent| sent.bytes.len() <= max));
        assert!(
            rtp.iter()
                .any(|sent| Packet::parse(&sent.bytes).unwrap().header.ssrc == 1001),
            "repairs too"
        );
        // Equal slices: all packets of one frame differ by one byte at most.
        let frame: Vec<_> = rtp
            .iter()
            .filter(|sent| sent.at - pair.start < 40 * MS)
            .filter(|sent| Packet::parse(&sent.bytes).unwrap().header.ssrc == 1000)
            .map(|sent| sent.bytes.len())
            .collect();
        assert!(frame.iter().max().unwrap() - frame.iter().min().unwrap() <= 1);
    }
}
