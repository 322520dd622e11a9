//! Payload formats: payloads that make a frame or none, and frames that come back from their payloads.

use antiphon_rtp::payload::{Depacketizer, Joiner, MAX_FRAME, Packetizer};

pub(super) fn decode_vp8(data: &[u8]) {
    decode("VP8", data);
}

pub(super) fn decode_vp9(data: &[u8]) {
    decode("VP9", data);
}

pub(super) fn decode_av1(data: &[u8]) {
    decode("AV1", data);
}

pub(super) fn decode_h264(data: &[u8]) {
    decode("H264", data);
}

pub(super) fn decode_h265(data: &[u8]) {
    decode("H265", data);
}

pub(super) fn decode_h266(data: &[u8]) {
    decode("H266", data);
}

/// Each payload stands behind its length in one byte; a length of zero ends a frame. The joiner is one for all frames, so that what
/// it remembers is tried as well. A frame that was made can be sent.
fn decode(name: &str, data: &[u8]) {
    let depacketizer = Depacketizer::new(name);
    let mut joiner = Joiner::new(depacketizer, "");
    let packetizer = Packetizer::new(name, "packetization-mode=1", 0).expect("it is known");
    let mut rest = data;
    let mut payloads: Vec<&[u8]> = Vec::new();
    while let Some((&len, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        if !payload.is_empty() {
            let _ = depacketizer.depacketize(payload, len & 1 != 0);
            payloads.push(payload);
        }
        if !payload.is_empty() && !rest.is_empty() || payloads.is_empty() {
            continue;
        }
        let mut frame = Vec::new();
        if let Ok(joined) = joiner.join(payloads.iter().copied(), &mut frame) {
            if let Some(part) = joined.part {
                frame.extend_from_slice(&payloads[0][part]);
            }
            assert!(frame.len() <= MAX_FRAME);
            let _ = packetizer.is_key_frame(&frame);
            let _ = packetizer.packetize(&frame, 100, &mut Vec::new());
        }
        payloads.clear();
    }
}

/// First byte: the format; second: how large payloads may be. The rest is a frame. What comes back of its payloads comes back of
/// itself too.
pub(super) fn roundtrip_payload(data: &[u8]) {
    let Some((&[choice, max], frame)) = data.split_first_chunk::<2>() else {
        return;
    };
    let max = 20 + usize::from(max);
    let (name, depacketizer) = Depacketizer::NAMES[usize::from(choice) % Depacketizer::NAMES.len()];
    let packetizer = Packetizer::new(name, "packetization-mode=1", 7).expect("it is known");
    let there_and_back = |frame: &[u8]| {
        let mut cuts = Vec::new();
        packetizer.packetize(frame, max, &mut cuts).ok()?;
        let payloads: Vec<_> = cuts
            .iter()
            .map(|cut| {
                let mut payload = Vec::new();
                cut.layout.write(frame, |part| payload.extend_from_slice(part));
                assert!(payload.len() == cut.layout.len() && payload.len() <= max, "{name}");
                payload
            })
            .collect();
        let mut again = Vec::new();
        let payloads = || payloads.iter().map(|payload| &payload[..]);
        // A joiner of its own: nothing is remembered.
        let joined = Joiner::new(depacketizer, "").join(payloads(), &mut again).ok()?;
        if let Some(part) = joined.part {
            again.extend_from_slice(payloads().next()?.get(part)?);
        }
        Some(again)
    };
    // Start codes, sizes and what does not travel change the first time; a start code inside a unit that had a length, the second.
    if let Some(first) = there_and_back(frame).and_then(|first| there_and_back(&first)) {
        let second = there_and_back(&first);
        assert!(second.is_none_or(|second| second == first), "{name}");
    }
}
