//! VP9 (RFC 9628): key frames are recognised, for forwarding; frames are not assembled here.

/// Whether a key frame starts in this payload (RFC 9628 §4.2): the packet begins a frame (B), is not predicted from another picture
/// (P clear), and is of the lowest spatial layer.
pub fn starts_key_frame(payload: &[u8]) -> bool {
    let Some((&flags, mut rest)) = payload.split_first() else {
        return false;
    };
    let (id, predicted, layers, begin) = (
        flags & 0x80 != 0,
        flags & 0x40 != 0,
        flags & 0x20 != 0,
        flags & 0x08 != 0,
    );
    if predicted || !begin {
        return false;
    }
    if id {
        let long = rest.first().is_some_and(|byte| byte & 0x80 != 0);
        rest = rest.get(if long { 2 } else { 1 }..).unwrap_or(&[]);
    }
    // TID(3) U SID(3) D: only spatial layer 0 begins a picture.
    !layers || rest.first().is_some_and(|byte| byte >> 1 & 7 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_recognised() {
        assert!(starts_key_frame(&[0x88, 0x01, 0xaa]));
        assert!(starts_key_frame(&[0xa8, 0x81, 0x02, 0x00, 0x00]));
        assert!(
            !starts_key_frame(&[0xa8, 0x81, 0x02, 0x02, 0x00]),
            "upper spatial layer"
        );
        assert!(!starts_key_frame(&[0xc8, 0x01]), "predicted");
        assert!(!starts_key_frame(&[]));
    }
}
