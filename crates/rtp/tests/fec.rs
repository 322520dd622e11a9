//! Repair packets of every format: read as they were written, and lost packets come back as they were.

use antiphon_rtp::extension::{Kind, Map, Values};
use antiphon_rtp::fec::{Encoder, Format, MAX_REPAIRS, Plan, Protected, Recoverer, Repair, Sums, WINDOW, flexfec};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_sansio::Writer;
use proptest::prelude::*;

const SSRC: u32 = 0x1234_5678;
const FORMATS: [Format; 3] = [Format::Ulpfec, Format::FlexFec03, Format::FlexFec];

fn map() -> Map {
    let mut map = Map::default();
    map.insert(1, Kind::Mid);
    map.insert(2, Kind::TransportCc);
    map.insert(3, Kind::AbsSendTime);
    map
}

/// A packet of which the extensions of the hop are as they stand on the wire, or zeros.
fn packet(sequence: u16, payload: &[u8], hop: bool) -> Vec<u8> {
    let mut bytes = vec![0; 1500];
    let mut out = Writer::new(&mut bytes);
    let header = Header {
        marker: payload.len() % 2 == 1,
        payload_type: 96,
        sequence,
        timestamp: u32::from(sequence).wrapping_mul(0x1357_9bdf),
        ssrc: SSRC,
    };
    let values = Values {
        mid: Some(b"0"),
        transport_sequence: Some(if hop { sequence ^ 0x5555 } else { 0 }),
        abs_send_time: Some(if hop { u32::from(sequence) * 7 } else { 0 }),
        ..Values::default()
    };
    header.write(&[1, 2], &values, &map(), &mut out).unwrap();
    out.put_slice(payload).unwrap();
    let len = out.len();
    bytes.truncate(len);
    bytes
}

fn write(format: Format, repair: &Repair<'_>) -> Option<Vec<u8>> {
    let mut buffer = [0; 3000];
    let mut out = Writer::new(&mut buffer);
    format.write(repair, &mut out).ok()?;
    assert!(out.len() <= format.max_header() + repair.body.len());
    Some(out.finish().to_vec())
}

/// Every packet of one payload each, with the repairs of `plan`; those for which `lost` holds do not arrive. What is recovered.
fn run(format: Format, plan: Plan, payloads: &[Vec<u8>], first: u16, lost: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let map = map();
    let mut encoder = Encoder::new(format, SSRC, plan);
    let mut recoverer = Recoverer::new(SSRC);
    let mut recovered = Vec::new();
    for (n, payload) in payloads.iter().enumerate() {
        let packet = packet(first.wrapping_add(n as u16), payload, true);
        encoder.protect(&packet, &map);
        if !lost(n) {
            recoverer.insert(&[&packet[..7], &packet[7..]], &map);
        }
        if n + 1 == payloads.len() {
            encoder.end_group();
        }
        let mut buffer = [0; 2000];
        let mut out = Writer::new(&mut buffer);
        while encoder.write(&mut out) {
            recoverer.insert_repair(&format.parse(out.written_mut()).unwrap());
            out.truncate(0);
        }
        while let Some(packet) = recoverer.poll() {
            recovered.push(packet.to_vec());
        }
    }
    recovered
}

#[test]
fn a_burst_as_long_as_there_are_repairs_comes_back_whole() {
    let payloads: Vec<Vec<u8>> = (0..30u8).map(|n| vec![n; 10 + usize::from(n) * 7 % 40]).collect();
    for format in FORMATS {
        for first in [0, 65_520] {
            let recovered = run(format, Plan::new(10, 4), &payloads, first, |n| (12..16).contains(&n));
            let mut numbers: Vec<usize> = Vec::new();
            for bytes in &recovered {
                let sequence = Packet::parse(bytes).unwrap().header.sequence;
                let n = usize::from(sequence.wrapping_sub(first));
                assert_eq!(bytes, &packet(sequence, &payloads[n], false), "{format:?}");
                numbers.push(n);
            }
            numbers.sort_unstable();
            assert_eq!(numbers, [12, 13, 14, 15], "{format:?}");
        }
    }
}

#[test]
fn a_recovered_packet_helps_another() {
    // A row and a column: 3 is lost with 2 from the row, and comes back by its column first.
    let map = map();
    let packets: Vec<_> = (0..4u16).map(|n| packet(n, &[n as u8; 20], true)).collect();
    let repair = |members: &[u16]| {
        let mut encoder = Encoder::new(Format::FlexFec, SSRC, Plan::new(members.len() as u8, 1));
        for &member in members {
            encoder.protect(&packets[usize::from(member)], &map);
        }
        let mut buffer = [0; 200];
        let mut out = Writer::new(&mut buffer);
        assert!(encoder.write(&mut out));
        out.finish().to_vec()
    };
    let mut recoverer = Recoverer::new(SSRC);
    for at in [0, 1] {
        recoverer.insert(&[&packets[at]], &map);
    }
    for members in [&[0, 1, 2, 3][..], &[1, 3]] {
        assert!(recoverer.poll().is_none());
        recoverer.insert_repair(&Format::FlexFec.parse(&repair(members)).unwrap());
    }
    let mut numbers = Vec::new();
    while let Some(bytes) = recoverer.poll() {
        numbers.push(Packet::parse(bytes).unwrap().header.sequence);
    }
    assert_eq!(numbers, [3, 2]);
    assert_eq!(recoverer.stats().recovered, 2);
    // A third is of no use any more.
    recoverer.insert_repair(&Format::FlexFec.parse(&repair(&[0, 2])).unwrap());
    assert!(recoverer.poll().is_none());
    assert_eq!(recoverer.stats().unneeded, 1);
}

#[test]
fn rfc_8627_rows_columns_and_a_packet_again() {
    let map = map();
    let packets: Vec<_> = (0..12u16).map(|n| packet(n, &[n as u8; 20], false)).collect();
    let column = Protected::Every {
        base: 1,
        step: 4,
        count: 3,
    };
    let row = Protected::Every {
        base: 4,
        step: 1,
        count: 4,
    };
    for (protected, lost, numbers) in [(column, 5, [1u16, 5, 9].as_slice()), (row, 6, &[4, 5, 6, 7])] {
        let mut body = vec![0; packets[0].len() - 12];
        let mut sums = Sums::default();
        for &number in numbers {
            let packet = &packets[usize::from(number)];
            body.iter_mut().zip(&packet[12..]).for_each(|(sum, byte)| *sum ^= byte);
            sums.header = [sums.header[0] ^ packet[0] & 0x3f, sums.header[1] ^ packet[1]];
            sums.length ^= body.len() as u16;
            sums.timestamp ^= Packet::parse(packet).unwrap().header.timestamp;
        }
        let repair = Repair {
            ssrc: None,
            protected,
            sums,
            body: &body,
        };
        let written = write(Format::FlexFec, &repair).unwrap();
        assert_eq!(Format::FlexFec.parse(&written), Ok(repair));
        let mut recoverer = Recoverer::new(SSRC);
        for &number in numbers.iter().filter(|number| **number != lost) {
            recoverer.insert(&[&packets[usize::from(number)]], &map);
        }
        recoverer.insert_repair(&repair);
        assert_eq!(recoverer.poll(), Some(&packets[usize::from(lost)][..]));
    }

    let mut buffer = [0; 200];
    let mut out = Writer::new(&mut buffer);
    flexfec::write_again(&packets[3], &mut out).unwrap();
    let again = Format::FlexFec.parse(out.finish()).unwrap();
    let mut recoverer = Recoverer::new(SSRC);
    recoverer.insert(&[&packets[2]], &map);
    recoverer.insert_repair(&again);
    assert_eq!(recoverer.poll(), Some(&packets[3][..]));
}

#[test]
fn v8_v23_hostile_repairs_are_bounded_and_counted() {
    let map = map();
    let mut recoverer = Recoverer::new(SSRC);
    recoverer.insert(&[&packet(1000, &[1], true)], &map);
    let repair = |base, mask, ssrc, body| Repair {
        ssrc,
        protected: Protected::Mask { base, mask },
        sums: Sums::default(),
        body,
    };
    // More wait than are held: the oldest are given up.
    for n in 0..2 * MAX_REPAIRS as u16 {
        recoverer.insert_repair(&repair(1000 + n, 0b111, None, &[0; 30]));
    }
    assert!(recoverer.poll().is_none());
    assert_eq!(recoverer.stats().expired, MAX_REPAIRS as u64);
    // Another's, one that would make a packet of nonsense, ones far away, one too large.
    recoverer.insert_repair(&repair(1001, 1, Some(9), &[]));
    assert_eq!(recoverer.stats().foreign, 1);
    let mut nonsense = repair(1001, 1, None, &[0; 4]);
    nonsense.sums.length = 5;
    recoverer.insert_repair(&nonsense);
    assert!(recoverer.poll().is_none());
    assert_eq!(recoverer.stats().malformed, 1);
    nonsense.sums.length = 4;
    nonsense.sums.header[0] = 0x2f;
    recoverer.insert_repair(&nonsense);
    assert!(recoverer.poll().is_none());
    let expired = recoverer.stats().expired;
    for base in [1000u16.wrapping_sub(WINDOW as u16), 1000 + WINDOW as u16, 40_000] {
        recoverer.insert_repair(&repair(base, 1, None, &[]));
    }
    assert_eq!(
        (recoverer.stats().malformed, recoverer.stats().expired),
        (2, expired + 3)
    );
    recoverer.insert_repair(&repair(1001, 1, None, &[0; 3000]));
    assert_eq!(recoverer.stats().malformed, 3);
    assert!(recoverer.poll().is_none());
    assert_eq!(recoverer.stats().recovered, 0);
}

fn protected(span: u32) -> impl Strategy<Value = Protected> {
    (any::<u16>(), any::<u128>(), 0..span).prop_map(move |(base, mask, last)| Protected::Mask {
        base,
        mask: mask & ((1 << span) - 1) >> (span - 1 - last) | 1 << last,
    })
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            if let Ok(repair) = format.parse(&bytes) {
                prop_assert!(!repair.protected.is_empty() && repair.body.len() < bytes.len());
                let mut recoverer = Recoverer::new(SSRC);
                recoverer.insert(&[&packet(repair.protected.base(), &[1, 2, 3], true)], &map());
                recoverer.insert_repair(&repair);
                while recoverer.poll().is_some() {}
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        which in 0..3usize,
        mask in protected(48),
        long in protected(109),
        header in any::<[u8; 2]>(),
        length in any::<u16>(),
        timestamp in any::<u32>(),
        body in prop::collection::vec(any::<u8>(), 0..1300),
    ) {
        let format = FORMATS[which];
        for protected in [mask, long] {
            let repair = Repair {
                ssrc: (format == Format::FlexFec03).then_some(SSRC),
                protected,
                sums: Sums { header: [header[0] & 0x3f, header[1]], length, timestamp },
                body: &body,
            };
            match write(format, &repair) {
                Some(written) => prop_assert_eq!(format.parse(&written), Ok(repair)),
                None => prop_assert!(format == Format::Ulpfec && protected.span() >= 48),
            }
        }
    }

    #[test]
    fn one_loss_of_each_column_comes_back(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..60),
        which in 0..3usize,
        group in 1..=48u8,
        repairs in 1..=8u8,
        first in any::<u16>(),
        seed in any::<usize>(),
    ) {
        let plan = Plan::new(group, repairs);
        let (group, repairs) = (usize::from(plan.group()), usize::from(plan.repairs()));
        // One packet of each column of each group, chosen by the seed; where the last group is short, of what there is.
        let lost = |n: usize| {
            let (start, at) = (n / group * group, n % group);
            let len = group.min(payloads.len() - start);
            let column: Vec<usize> = (at % repairs..len).step_by(repairs).collect();
            column[seed % column.len()] == at
        };
        let recovered = run(FORMATS[which], plan, &payloads, first, lost);
        // The recoverer knows nothing before the first packet, and need not: what is lost comes back all the same.
        prop_assert_eq!(recovered.len(), (0..payloads.len()).filter(|n| lost(*n)).count());
        for bytes in recovered {
            let sequence = Packet::parse(&bytes).unwrap().header.sequence;
            let n = usize::from(sequence.wrapping_sub(first));
            prop_assert_eq!(bytes, packet(sequence, &payloads[n], false));
        }
    }
}
