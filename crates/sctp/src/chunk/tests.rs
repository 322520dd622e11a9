//! What chunks are read from, and written to.

use antiphon_sansio::{Serial16, Serial32};
use proptest::prelude::*;

use super::*;
use crate::packet::Packet;

fn written(chunk: &Chunk<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunk.write(&mut bytes);
    assert!(bytes.len().is_multiple_of(4));
    bytes
}

fn returns(chunk: &Chunk<'_>) {
    let bytes = written(chunk);
    assert_eq!(&parse_whole(&bytes), chunk);
}

fn parse_whole(bytes: &[u8]) -> Chunk<'_> {
    let (chunk, used) = Chunk::parse(bytes).unwrap();
    assert_eq!(used, bytes.len());
    chunk
}

/// Whole parameters, as they stand in INIT.
fn parameters() -> impl Strategy<Value = Vec<u8>> {
    let one = (any::<u16>(), prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::vec(one, 0..6).prop_map(|list| {
        let mut bytes = Vec::new();
        for (kind, value) in list {
            put_parameter(&mut bytes, kind, &[&value]);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn v09_any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..=255) {
        let mut framed = vec![0; 12];
        framed.extend([kind, 0]);
        framed.extend((bytes.len() as u16 + 4).to_be_bytes());
        framed.extend(&bytes);
        for input in [&bytes, &framed] {
            let Ok(packet) = Packet::parse(input) else { continue };
            let _ = packet.checksum_is_correct();
            for chunk in packet.chunks().flatten() {
                match &chunk {
                    Chunk::Init(init) | Chunk::InitAck(init) => {
                        let _ = (init.capabilities(), init.cookie());
                    }
                    Chunk::Sack(sack) => {
                        prop_assert!(sack.gap_blocks().count() + sack.duplicate_tsns().count() <= bytes.len());
                    }
                    Chunk::ReConfig(re_config) => prop_assert!(re_config.resets().count() <= bytes.len()),
                    Chunk::ForwardTsn(forward) => prop_assert!(forward.skipped().count() <= bytes.len()),
                    _ => {}
                }
                // What was read can be written, and reads the same.
                let again = written(&chunk);
                prop_assert_eq!(&parse_whole(&again), &chunk);
            }
        }
    }

    #[test]
    fn data_returns(flags in 0u8..16, tsn: u32, stream: u16, ssn: u16, ppid: u32, payload: Vec<u8>) {
        let data = Data {
            flags, tsn: Serial32::new(tsn), stream, ssn: Serial16::new(ssn), ppid, payload: &payload,
        };
        let bytes = written(&Chunk::Data(data));
        prop_assert_eq!(bytes.len(), padded(Data::HEADER_LEN + payload.len()));
        prop_assert_eq!(parse_whole(&bytes), Chunk::Data(data));
    }

    #[test]
    fn i_data_returns(flags in 0u8..16, tsn: u32, stream: u16, id: u32, fsn: u32, payload: Vec<u8>) {
        let data = InterleavedData {
            flags, tsn: Serial32::new(tsn), stream, reserved: 0,
            message_id: Serial32::new(id), ppid_or_fsn: fsn, payload: &payload,
        };
        returns(&Chunk::InterleavedData(data));
    }

    #[test]
    fn init_returns(tag: u32, rwnd: u32, out: u16, inbound: u16, tsn: u32, parameters in parameters()) {
        let init = Init {
            initiate_tag: tag, a_rwnd: rwnd, outbound_streams: out, inbound_streams: inbound,
            initial_tsn: Serial32::new(tsn), parameters: Parameters::new(&parameters),
        };
        returns(&Chunk::Init(init.clone()));
        returns(&Chunk::InitAck(init));
    }

    #[test]
    fn sack_returns(
        tsn: u32, rwnd: u32,
        gaps in prop::collection::vec((any::<u16>(), any::<u16>()), 0..20),
        duplicates in prop::collection::vec(any::<u32>(), 0..20),
    ) {
        let gaps: Vec<_> = gaps.into_iter().map(|(start, end)| GapBlock { start, end }).collect();
        let duplicates: Vec<_> = duplicates.into_iter().map(Serial32::new).collect();
        let mut bytes = Vec::new();
        write_sack(&mut bytes, Serial32::new(tsn), rwnd, gaps.iter().copied(), &duplicates);
        let Chunk::Sack(sack) = parse_whole(&bytes) else { panic!("no SACK") };
        prop_assert_eq!((sack.cumulative_tsn.get(), sack.a_rwnd), (tsn, rwnd));
        prop_assert_eq!(sack.gap_blocks().collect::<Vec<_>>(), gaps);
        prop_assert_eq!(sack.duplicate_tsns().collect::<Vec<_>>(), duplicates);
        prop_assert_eq!(written(&Chunk::Sack(sack)), bytes);
    }

    #[test]
    fn forward_tsn_returns(tsn: u32, skipped in prop::collection::vec((any::<u16>(), any::<u16>()), 0..20)) {
        let skipped: Vec<_> = skipped
            .into_iter()
            .map(|(stream, ssn)| SkippedStream { stream, ssn: Serial16::new(ssn) })
            .collect();
        let mut bytes = Vec::new();
        write_forward_tsn(&mut bytes, Serial32::new(tsn), skipped.iter().copied());
        let Chunk::ForwardTsn(forward) = parse_whole(&bytes) else { panic!("no FORWARD TSN") };
        prop_assert_eq!(forward.new_cumulative_tsn.get(), tsn);
        prop_assert_eq!(forward.skipped().collect::<Vec<_>>(), skipped);
        prop_assert_eq!(written(&Chunk::ForwardTsn(forward)), bytes);
    }

    #[test]
    fn i_forward_tsn_returns(tsn: u32, skipped in prop::collection::vec((any::<u16>(), any::<bool>(), any::<u32>()), 0..20)) {
        let skipped: Vec<_> = skipped
            .into_iter()
            .map(|(stream, unordered, id)| SkippedMessage { stream, unordered, message_id: Serial32::new(id) })
            .collect();
        let mut bytes = Vec::new();
        write_i_forward_tsn(&mut bytes, Serial32::new(tsn), skipped.iter().copied());
        let Chunk::InterleavedForwardTsn(forward) = parse_whole(&bytes) else { panic!("no I-FORWARD-TSN") };
        prop_assert_eq!(forward.new_cumulative_tsn.get(), tsn);
        prop_assert_eq!(forward.skipped().collect::<Vec<_>>(), skipped);
        prop_assert_eq!(written(&Chunk::InterleavedForwardTsn(forward)), bytes);
    }

    #[test]
    fn re_config_returns(numbers: [u32; 3], streams in prop::collection::vec(any::<u16>(), 0..20), code in 0u32..9) {
        let [request, response, last] = numbers.map(Serial32::new);
        let mut bytes = Vec::new();
        put_outgoing_reset(&mut bytes, request, response, last, streams.iter().copied());
        let Chunk::ReConfig(re_config) = parse_whole(&bytes) else { panic!("no RE-CONFIG") };
        let Some(Ok(Reset::Outgoing { request: r, response: a, last_tsn: l, streams: s })) = re_config.resets().next()
        else { panic!("no request") };
        prop_assert_eq!((r, a, l), (request, response, last));
        prop_assert_eq!(s.iter().collect::<Vec<_>>(), streams.clone());
        for outgoing in [true, false] {
            let mut bytes = Vec::new();
            put_add_streams(&mut bytes, request, streams.len() as u16, outgoing);
            let Chunk::ReConfig(re_config) = parse_whole(&bytes) else { panic!("no RE-CONFIG") };
            let asked = Reset::AddStreams { request, count: streams.len() as u16, outgoing };
            prop_assert_eq!(re_config.resets().collect::<Vec<_>>(), [Ok(asked)]);
        }
        let mut bytes = Vec::new();
        put_response(&mut bytes, response, ResetResult::from(code));
        let Chunk::ReConfig(re_config) = parse_whole(&bytes) else { panic!("no RE-CONFIG") };
        let answer = Reset::Response { response, result: ResetResult::from(code) };
        prop_assert_eq!(re_config.resets().collect::<Vec<_>>(), [Ok(answer)]);
        prop_assert_eq!(ResetResult::from(code).code(), code);
    }

    #[test]
    fn the_small_ones_return(bytes in prop::collection::vec(any::<u8>(), 0..50), t: bool, tsn: u32) {
        let mut causes = Vec::new();
        put_parameter(&mut causes, 12, &[&bytes]);
        for chunk in [
            Chunk::Heartbeat(&bytes),
            Chunk::HeartbeatAck(&bytes),
            Chunk::Abort { reflected_tag: t, causes: Parameters::new(&causes) },
            Chunk::Error(Parameters::new(&causes)),
            Chunk::Shutdown(Serial32::new(tsn)),
            Chunk::ShutdownAck,
            Chunk::CookieEcho(&bytes),
            Chunk::CookieAck,
            Chunk::Ecne(Serial32::new(tsn)),
            Chunk::Cwr(Serial32::new(tsn)),
            Chunk::ShutdownComplete { reflected_tag: t },
            Chunk::Pad(&bytes),
            Chunk::Unknown { kind: 0xc5, flags: 3, value: &bytes },
        ] {
            returns(&chunk);
        }
    }
}

#[test]
fn v09_parameters_with_impossible_lengths_end_the_walk() {
    for len in 0..4 {
        let bytes = [0, 7, 0, len, 0, 8, 0, 4];
        let walked: Vec<_> = Parameters::new(&bytes).collect();
        assert_eq!(walked, [Err(ParseError::Length)]);
    }
    let past_the_end = [0, 7, 0, 9, 1, 2, 3, 4];
    assert_eq!(Parameters::new(&past_the_end).next(), Some(Err(ParseError::Length)));
}

#[test]
fn v09_sack_counts_past_the_end_are_refused() {
    let mut bytes = vec![kind::SACK, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    bytes.extend([0; 4]);
    assert!(Chunk::parse(&bytes).is_err());
}
