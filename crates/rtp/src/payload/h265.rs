//! H.265 (RFC 7798): key frames are recognised, for forwarding; frames are not assembled here.

/// Whether a key frame starts in this payload (RFC 7798 §4.4): a picture of a random access point, or a parameter set before it,
/// alone, in an aggregation packet, or at the start of a fragmentation unit. Without `sprop-max-don-diff` above 0, which WebRTC
/// does not negotiate, there are no decoding order numbers between the units.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    const AGGREGATION: u8 = 48;
    const FRAGMENT: u8 = 49;
    // H.265 table 7-1: BLA, IDR and CRA pictures with the reserved types beside them; VPS and SPS.
    let key = |kind: u8| matches!(kind, 16..=23 | 32 | 33);
    let kind = |header: u8| header >> 1 & 0x3f;
    match payload {
        [header, _, rest @ ..] => match kind(*header) {
            AGGREGATION => {
                let mut rest = rest;
                while let [a, b, unit, ..] = rest {
                    if key(kind(*unit)) {
                        return true;
                    }
                    let len = 2 + usize::from(u16::from_be_bytes([*a, *b]));
                    rest = rest.get(len..).unwrap_or(&[]);
                }
                false
            }
            FRAGMENT => rest.first().is_some_and(|fu| fu & 0x80 != 0 && key(fu & 0x3f)),
            kind => key(kind),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_recognised() {
        let h265 = starts_key_frame;
        // IDR_W_RADL alone; VPS; a trailing picture; an aggregation of VPS; the start and the rest of a fragmented IDR.
        assert!(h265(&[19 << 1, 1, 0xaf]) && h265(&[32 << 1, 1, 0x0c]) && !h265(&[1 << 1, 1, 0xd0]));
        assert!(h265(&[48 << 1, 1, 0, 2, 1 << 1, 1, 0, 2, 32 << 1, 1]) && !h265(&[48 << 1, 1, 0, 2, 1 << 1, 1]));
        assert!(h265(&[49 << 1, 1, 0x80 | 19, 0]) && !h265(&[49 << 1, 1, 19, 0]) && !h265(&[49 << 1, 1]));
        assert!(!h265(&[]));
    }
}
