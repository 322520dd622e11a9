//! AV1 (RTP Payload Format For AV1, version 1.0): key frames are recognised, for forwarding; frames are not assembled here.

/// Whether a key frame starts in this payload (§4.4): the N bit of the aggregation header, "first packet of a coded video sequence".
pub fn starts_key_frame(payload: &[u8]) -> bool {
    payload.len() > 1 && payload[0] & 0x08 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_recognised() {
        assert!(starts_key_frame(&[0x18, 0x0a]) && !starts_key_frame(&[0x10, 0x0a]) && !starts_key_frame(&[]));
    }
}
