//! RTCP beyond what every session sends: rates, slices, summaries, profiles; and what is read is written back.

use antiphon_rtp::rtcp::{
    self, ApplicationFeedback, Dlrr, Entries, Hops, LostSlice, Packet, PacketRange, RateLimit, RateLimits,
    ReceiptTimes, ReferencePicture, RunChunk, RunLengths, SdesItem, SenderInfo, SenderReport, SenderReportRequest,
    SliceLoss, Spread, StatisticsSummary, VoipMetrics, XrBlock,
};
use antiphon_sansio::{Full, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

fn written(write: impl Fn(&mut Writer<'_>) -> Result<(), Full>) -> Vec<u8> {
    let mut buffer = vec![0xee; 70_000];
    let mut out = Writer::new(&mut buffer);
    write(&mut out).unwrap();
    let bytes = out.finish().to_vec();
    assert_eq!(bytes.len() % 4, 0);
    assert_eq!(
        usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) * 4 + 4,
        bytes.len()
    );
    // Without the room for it nothing is left behind.
    let mut small = vec![0; bytes.len() - 1];
    let mut out = Writer::new(&mut small);
    assert_eq!(write(&mut out), Err(Full));
    assert!(out.is_empty());
    bytes
}

/// The one packet of some bytes, which it is written to again.
fn one(bytes: &[u8]) -> Packet<'_> {
    let mut packets = rtcp::packets(bytes);
    let packet = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    assert_eq!(written(|out| packet.write(0, out)), bytes);
    packet
}

fn range() -> impl Strategy<Value = PacketRange> {
    (0u8..16, any::<u32>(), any::<u16>(), any::<u16>()).prop_map(|(thinning, ssrc, begin, end)| PacketRange {
        thinning,
        ssrc,
        begin,
        end,
    })
}

fn spread<T: Copy>(of: [T; 4]) -> Spread<T> {
    let [min, max, mean, deviation] = of;
    Spread {
        min,
        max,
        mean,
        deviation,
    }
}

fn chunk() -> impl Strategy<Value = RunChunk> {
    prop_oneof![
        (any::<bool>(), 1u16..0x4000).prop_map(|(received, len)| RunChunk::Run { received, len }),
        (0u16..0x8000).prop_map(RunChunk::Vector),
    ]
}

proptest! {
    #[test]
    fn rates(sender: u32, limits in vec((any::<u32>(), 0u64..1 << 17, 0u32..47, 0u16..512), 0..10)) {
        let limits: Vec<_> = limits.into_iter()
            .map(|(ssrc, mantissa, exponent, overhead)| RateLimit { ssrc, bitrate: mantissa << exponent, overhead })
            .collect();
        let packet = RateLimits { sender, limits: Entries::of(&limits) };
        let bytes = written(|out| rtcp::write_tmmbr(&packet, out));
        prop_assert!(matches!(one(&bytes), Packet::Tmmbr(read) if read == packet));
        let bytes = written(|out| rtcp::write_tmmbn(&packet, out));
        prop_assert!(matches!(one(&bytes), Packet::Tmmbn(read) if read == packet));
    }

    #[test]
    fn pictures(sender: u32, media: u32, slices in vec((0u16..0x2000, 0u16..0x2000, 0u8..64), 0..10), payload_type in 0u8..128,
                bits in vec(any::<u8>(), 1..20), spare in 0u8..8, data in vec(any::<[u8; 4]>(), 0..9)) {
        let slices: Vec<_> = slices.into_iter()
            .map(|(first, number, picture_id)| LostSlice { first, number, picture_id })
            .collect();
        let loss = SliceLoss { sender, media, slices: Entries::of(&slices) };
        let bytes = written(|out| rtcp::write_sli(&loss, out));
        prop_assert!(matches!(one(&bytes), Packet::SliceLoss(read) if read == loss));
        let picture = ReferencePicture { sender, media, payload_type, bits: &bits, spare };
        let bytes = written(|out| rtcp::write_rpsi(&picture, out));
        prop_assert!(matches!(one(&bytes), Packet::ReferencePicture(read) if read == picture));
        let request = SenderReportRequest { sender, media };
        let bytes = written(|out| rtcp::write_sender_report_request(request, out));
        prop_assert!(matches!(one(&bytes), Packet::SenderReportRequest(read) if read == request));
        let data = data.concat();
        let feedback = ApplicationFeedback { sender, media, data: &data };
        let bytes = written(|out| rtcp::write_application_feedback(&feedback, out));
        prop_assert!(data.starts_with(b"REMB") || matches!(one(&bytes), Packet::ApplicationFeedback(read) if read == feedback));
    }

    #[test]
    fn descriptions(chunks in vec((any::<u32>(), vec((1u8.., vec(any::<u8>(), 0..=255)), 0..6)), 0..=31), prefix in vec(any::<u8>(), 0..100), value in vec(any::<u8>(), 0..100)) {
        let items: Vec<Vec<_>> = chunks.iter()
            .map(|(_, items)| items.iter().map(|(item_type, value)| SdesItem { item_type: *item_type, value }).collect())
            .collect();
        let all: Vec<_> = chunks.iter().zip(&items).map(|((ssrc, _), items)| (*ssrc, &items[..])).collect();
        let bytes = written(|out| rtcp::write_sdes(&all, out));
        let Packet::Sdes(sdes) = one(&bytes) else { panic!() };
        let read: Vec<_> = sdes.chunks().map(|chunk| (chunk.ssrc, chunk.items().collect::<Vec<_>>())).collect();
        prop_assert!(read.iter().map(|(ssrc, items)| (*ssrc, &items[..])).eq(all));
        let own = [&[prefix.len() as u8][..], &prefix, &value].concat();
        let item = SdesItem { item_type: SdesItem::PRIV, value: &own };
        prop_assert_eq!(item.private(), Some((&prefix[..], &value[..])));
        prop_assert_eq!(SdesItem { item_type: SdesItem::PRIV, value: &own[..own.len() - value.len()] }.private().map(|own| own.1), Some(&[][..]));
    }

    #[test]
    fn extended_reports(ssrc: u32, range in range(), chunks in vec(chunk(), 0..20), times in vec(any::<u32>(), 0..20), ntp: u64,
                        answers in vec(any::<[u32; 3]>(), 0..5), counts: (Option<u32>, Option<u32>), jitter: Option<[u32; 4]>,
                        hops: (u8, [u8; 4]), data in vec(any::<[u8; 4]>(), 0..9), order in Just([0usize, 1, 2, 3, 4, 5, 6, 7]).prop_shuffle()) {
        // A block holds an even number of chunks.
        let chunks = &chunks[..chunks.len() / 2 * 2];
        let answers: Vec<_> = answers.into_iter().map(|[ssrc, last_rr, delay]| Dlrr { ssrc, last_rr, delay }).collect();
        let data = data.concat();
        let hops_spread = spread(hops.1);
        let blocks = [
            XrBlock::LossRle(RunLengths { range, chunks: Entries::of(chunks) }),
            XrBlock::DuplicateRle(RunLengths { range, chunks: Entries::of(chunks) }),
            XrBlock::ReceiptTimes(ReceiptTimes { range, times: Entries::of(&times) }),
            XrBlock::ReceiverReferenceTime { ntp },
            XrBlock::DelaySinceLast(Entries::of(&answers)),
            XrBlock::StatisticsSummary(StatisticsSummary {
                range: PacketRange { thinning: 0, ..range },
                lost: counts.0,
                duplicates: counts.1,
                jitter: jitter.map(spread),
                hops: [Hops::Unknown, Hops::TimeToLive(hops_spread), Hops::HopLimit(hops_spread)][usize::from(hops.0 % 3)],
            }),
            XrBlock::VoipMetrics(VoipMetrics {
                ssrc, loss_rate: hops.0, burst_duration: range.begin, gap_duration: range.end, signal_level: -20, noise_level: hops.0 as i8,
                r_factor: 93, mos_listening: 41, receiver_configuration: hops.0, buffer_nominal: range.begin, buffer_absolute_maximum: range.end,
                ..VoipMetrics::default()
            }),
            XrBlock::Unknown { block_type: 42, specific: hops.0, data: &data },
        ];
        let blocks: Vec<_> = order.into_iter().map(|index| blocks[index].clone()).collect();
        let bytes = written(|out| rtcp::write_extended_report(ssrc, blocks.iter().cloned(), out));
        let Packet::ExtendedReport(report) = one(&bytes) else { panic!() };
        prop_assert_eq!((report.ssrc, report.blocks().collect::<Vec<_>>()), (ssrc, blocks));
    }

    #[test]
    fn profiles_and_padding(ssrc: u32, words in vec(any::<[u8; 4]>(), 0..9), padding in 0u8..60) {
        let extension = words.concat();
        let block = rtcp::ReportBlock { ssrc: 3, jitter: 7, ..rtcp::ReportBlock::default() };
        let report = SenderReport::new(ssrc, SenderInfo::default(), std::slice::from_ref(&block), &extension);
        let mut bytes = written(|out| report.write(out));
        prop_assert!(matches!(one(&bytes), Packet::SenderReport(read) if read == report && read.extension == extension));
        // Padded, and with another packet behind it.
        let packet = Packet::SenderReport(report);
        let padding = padding / 4 * 4;
        let mut buffer = [0; 2000];
        let mut out = Writer::new(&mut buffer);
        packet.write(padding, &mut out).unwrap();
        rtcp::write_pli(rtcp::Pli { sender: 1, media: 2 }, &mut out).unwrap();
        let padded = out.finish().to_vec();
        prop_assert_eq!(padded.len(), bytes.len() + usize::from(padding) + 12);
        let mut packets = rtcp::packets(&padded);
        let read = packets.next().unwrap().unwrap();
        prop_assert_eq!(packets.padding(), padding);
        prop_assert!(matches!(read, Packet::SenderReport(read) if read.extension == extension));
        prop_assert!(matches!(packets.next(), Some(Ok(Packet::Pli(_)))));
        prop_assert_eq!(packets.padding(), 0);
        // A broken body does not keep the next packet from being read.
        bytes[0] |= 0x1f;
        bytes.extend_from_slice(&padded[padded.len() - 12..]);
        let read: Vec<_> = rtcp::packets(&bytes).collect();
        prop_assert!(matches!(&read[..], [Err(_), Ok(Packet::Pli(_))]));
    }

    #[test]
    fn what_is_read_can_be_written(mut bytes in vec(any::<u8>(), 4..200), packet_type in 200u8..208, count in 0u8..32) {
        let len = bytes.len() / 4 * 4;
        bytes.truncate(len);
        bytes[0] = 0x80 | count;
        bytes[1] = packet_type;
        bytes[2..4].copy_from_slice(&(len as u16 / 4 - 1).to_be_bytes());
        let Some(Ok(packet)) = rtcp::packets(&bytes).next() else { return Ok(()) };
        let mut buffer = [0; 2000];
        let mut out = Writer::new(&mut buffer);
        packet.write(0, &mut out).unwrap();
        let again = out.finish();
        // What says nothing is gone; what is left is written the same for ever.
        one(again);
    }
}
