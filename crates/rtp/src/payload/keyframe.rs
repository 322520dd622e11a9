//! Does a key frame start in this payload? For formats that are forwarded but not assembled here.

/// VP9 (RFC 9628 §4.2): a packet that begins a frame (B), is not inter-picture predicted (P clear), of the lowest spatial layer.
pub fn vp9(payload: &[u8]) -> bool {
    let Some((&flags, mut rest)) = payload.split_first() else {
        return false;
    };
    let (id, predicted, layers, flexible, begin) = (
        flags & 0x80 != 0,
        flags & 0x40 != 0,
        flags & 0x20 != 0,
        flags & 0x10 != 0,
        flags & 0x08 != 0,
    );
    if predicted || !begin {
        return false;
    }
    if id {
        let long = rest.first().is_some_and(|byte| byte & 0x80 != 0);
        rest = rest.get(if long { 2 } else { 1 }..).unwrap_or(&[]);
    }
    let _ = flexible;
    // TID(3) U SID(3) D: only spatial layer 0 begins a picture.
    !layers || rest.first().is_some_and(|byte| byte >> 1 & 7 == 0)
}

/// H.264 (RFC 6184 §5.2): an SPS or an IDR slice, alone, in a STAP-A, or at the start of a FU-A.
pub fn h264(payload: &[u8]) -> bool {
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

/// H.265 (RFC 7798 §4.4): a picture of a random access point, or a parameter set before it, alone, in an aggregation packet, or
/// at the start of a fragmentation unit. Without `sprop-max-don-diff` above 0, which WebRTC does not negotiate, there are no
/// decoding order numbers between the units.
pub fn h265(payload: &[u8]) -> bool {
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

/// AV1 (RTP payload format for AV1, §4.4): the N bit of the aggregation header, "first packet of a coded video sequence".
pub fn av1(payload: &[u8]) -> bool {
    payload.len() > 1 && payload[0] & 0x08 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_of_each_format() {
        assert!(vp9(&[0x88, 0x01, 0xaa]));
        assert!(vp9(&[0xa8, 0x81, 0x02, 0x00, 0x00]));
        assert!(!vp9(&[0xa8, 0x81, 0x02, 0x02, 0x00]), "upper spatial layer");
        assert!(!vp9(&[0xc8, 0x01]), "predicted");
        assert!(h264(&[0x65]) && h264(&[0x67]) && !h264(&[0x61]));
        assert!(h264(&[0x7c, 0x85]) && !h264(&[0x7c, 0x05]) && !h264(&[0x7c]));
        assert!(h264(&[0x78, 0, 1, 0x61, 0, 1, 0x65]));
        assert!(!h264(&[0x78, 0, 9, 0x61, 0, 1, 0x65]), "length past the end");
        // IDR_W_RADL alone; VPS; a trailing picture; an aggregation of VPS; the start and the rest of a fragmented IDR.
        assert!(h265(&[19 << 1, 1, 0xaf]) && h265(&[32 << 1, 1, 0x0c]) && !h265(&[1 << 1, 1, 0xd0]));
        assert!(h265(&[48 << 1, 1, 0, 2, 1 << 1, 1, 0, 2, 32 << 1, 1]) && !h265(&[48 << 1, 1, 0, 2, 1 << 1, 1]));
        assert!(h265(&[49 << 1, 1, 0x80 | 19, 0]) && !h265(&[49 << 1, 1, 19, 0]) && !h265(&[49 << 1, 1]));
        assert!(av1(&[0x18, 0x0a]) && !av1(&[0x10, 0x0a]));
        assert!(!vp9(&[]) && !h264(&[]) && !h265(&[]) && !av1(&[]));
    }
}
