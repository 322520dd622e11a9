//! Redundancy: RED, and the repair packets of every format.

use antiphon_rtp::extension::Map;
use antiphon_rtp::fec::{Encoder, Format, MAX_PACKET, Plan, Recoverer};
use antiphon_rtp::packet::{HEADER_LEN, Packet};
use antiphon_rtp::payload::red;
use antiphon_sansio::Writer;

const FORMATS: [Format; 3] = [Format::Ulpfec, Format::FlexFec03, Format::FlexFec];
const SSRC: u32 = 0x0102_0304;

pub(super) fn decode_red(data: &[u8]) {
    let Ok(blocks) = red::parse(data) else { return };
    let blocks: Vec<_> = blocks.collect();
    assert!(!blocks.is_empty() && blocks.len() <= red::MAX_BLOCKS + 1);
    let sum: usize = blocks.iter().map(|block| block.payload.len()).sum();
    assert!(sum < data.len());
}

/// A repair packet that is read is written the same way again, and does no harm.
pub(super) fn decode_fec(data: &[u8]) {
    for format in FORMATS {
        let Ok(repair) = format.parse(data) else { continue };
        assert!(!repair.protected.is_empty() && repair.body.len() < data.len());
        let mut buffer = vec![0; data.len() + format.max_header()];
        let mut out = Writer::new(&mut buffer);
        // A packet again as it was has a longer header than the repair that it is read as.
        if format.write(&repair, &mut out).is_ok() {
            let mut again = format.parse(out.finish()).expect("what is written is read");
            // Whose packets they are is not in each header; a column of one packet is written as a row.
            again.ssrc = repair.ssrc;
            assert!(again.protected.sequences().eq(repair.protected.sequences()));
            assert_eq!((again.sums, again.body), (repair.sums, repair.body));
        }
        let mut recoverer = Recoverer::new(SSRC);
        recoverer.insert_repair(&repair);
        while recoverer.poll().is_some() {}
    }
}

/// One packet of the stream: what it holds follows from its number.
fn packet(sequence: u16, len: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, 96, 0, 0, 0, 0, 0, 9];
    bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&SSRC.to_be_bytes());
    bytes.resize(HEADER_LEN + usize::from(len), sequence as u8);
    bytes
}

/// Packets of the lengths that the data has, each third byte lost or not; whatever comes back is what was sent.
pub(super) fn roundtrip_fec(data: &[u8]) {
    let Some((&[which, group, repairs, first], rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let format = FORMATS[usize::from(which) % FORMATS.len()];
    let first = u16::from(first) << 8 | 0xf0;
    let map = Map::default();
    let mut encoder = Encoder::new(format, SSRC, Plan::new(group, repairs));
    let mut recoverer = Recoverer::new(SSRC);
    let lens: Vec<u8> = rest.iter().copied().take(2000).collect();
    let mut buffer = vec![0; MAX_PACKET];
    for (n, &len) in lens.iter().enumerate() {
        let packet = packet(first.wrapping_add(n as u16), len);
        encoder.protect(&packet, &map);
        if len % 5 != 0 {
            recoverer.insert(&[&packet], &map);
        }
        if n + 1 == lens.len() {
            encoder.end_group();
        }
        let mut out = Writer::new(&mut buffer);
        while encoder.write(&mut out) {
            let repair = format.parse(out.written_mut()).expect("what is written is read");
            recoverer.insert_repair(&repair);
            out.truncate(0);
        }
        while let Some(found) = recoverer.poll() {
            let sequence = Packet::parse(found).expect("a packet").header.sequence;
            let at = usize::from(sequence.wrapping_sub(first));
            assert_eq!(lens[at] % 5, 0, "what came is not recovered");
            assert_eq!(found, self::packet(sequence, lens[at]));
        }
    }
}

/// Packets and repair packets of a peer that means no good: memory and work stay bounded.
pub(super) fn machine_fec(data: &[u8]) {
    let map = Map::default();
    let mut recoverer = Recoverer::new(SSRC);
    let mut rest = data;
    let mut repairs = 0;
    while let Some((&[kind, len], tail)) = rest.split_first_chunk::<2>() {
        let (body, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        match kind % 5 {
            0 => recoverer.insert(&[body], &map),
            1 => recoverer.insert(&[&packet(u16::from(kind) << 3 | u16::from(len), len)], &map),
            2 if kind > 250 => recoverer.restart(),
            n => {
                if let Ok(repair) = FORMATS[usize::from(n) % 3].parse(body) {
                    recoverer.insert_repair(&repair);
                    repairs += 1;
                }
            }
        }
        let mut found = 0;
        while let Some(bytes) = recoverer.poll() {
            assert!(Packet::parse(bytes).is_ok());
            found += 1;
            assert!(
                found <= antiphon_rtp::fec::MAX_REPAIRS,
                "each takes a repair packet with it"
            );
        }
    }
    let stats = recoverer.stats();
    assert_eq!(stats.repairs, repairs);
    assert!(stats.recovered + stats.unneeded + stats.expired + stats.foreign + stats.malformed <= repairs);
}
