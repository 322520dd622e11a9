//! H.264 (RFC 6184): key frames are recognised, for forwarding; frames are not assembled here.

/// Whether a key frame starts in this payload (RFC 6184 §5.2): an SPS or an IDR slice, alone, in a STAP-A, or at the start of a FU-A.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    let key = |unit: u8| matches!(unit & 0x1f, IDR | SPS);
    match payload {
        [header, rest @ ..] => match header & 0x1f {
            24 => {
                let mut rest = rest;
                while let [a, b, unit, ..] = rest {
                    if key(*unit) {
                        return true;
                    }
                    let len = 2 + usize::from(u16::from_be_bytes([*a, *b]));
                    rest = rest.get(len..).unwrap_or(&[]);
                }
                false
            }
            28 => rest.first().is_some_and(|fu| fu & 0x80 != 0 && key(*fu)),
            _ => key(*header),
        },
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_recognised() {
        let h264 = starts_key_frame;
        assert!(h264(&[0x65]) && h264(&[0x67]) && !h264(&[0x61]));
        assert!(h264(&[0x7c, 0x85]) && !h264(&[0x7c, 0x05]) && !h264(&[0x7c]));
        assert!(h264(&[0x78, 0, 1, 0x61, 0, 1, 0x65]));
        assert!(!h264(&[0x78, 0, 9, 0x61, 0, 1, 0x65]), "length past the end");
        assert!(!h264(&[]));
    }
}
