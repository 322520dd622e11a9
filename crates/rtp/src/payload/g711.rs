//! PCMU and PCMA (RFC 3551 §4.5.14, ITU-T G.711): one byte a sample, 8 kHz. The payload is the samples, nothing else.

/// The RTP clock.
pub const CLOCK_RATE: u32 = 8_000;

/// One linear sample as mu-law.
#[inline]
pub fn encode_ulaw(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + BIAS).min(0x7fff);
    // The segment is the position of the highest bit, which lies between 7 and 14 thanks to the bias.
    let segment = 31 - magnitude.leading_zeros() as i32 - 7;
    let mantissa = magnitude >> (segment + 3) & 0xf;
    !(sign | (segment << 4) as u8 | mantissa as u8)
}

/// One mu-law byte as a linear sample.
#[inline]
pub fn decode_ulaw(byte: u8) -> i16 {
    let bits = !byte;
    let segment = i32::from(bits >> 4 & 7);
    let magnitude = ((i32::from(bits & 0xf) << 3 | 0x84) << segment) - 0x84;
    (if bits & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// One linear sample as A-law.
#[inline]
pub fn encode_alaw(sample: i16) -> u8 {
    // A-law has 13 bits of magnitude and sign; negative numbers are their one's complement.
    let value = i32::from(sample) >> 3;
    let (sign, magnitude) = if value >= 0 { (0x80, value) } else { (0, !value) };
    let bits = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = 31 - magnitude.leading_zeros() as i32 - 4;
        segment << 4 | magnitude >> segment & 0xf
    };
    (sign | bits as u8) ^ 0x55
}

/// One A-law byte as a linear sample.
#[inline]
pub fn decode_alaw(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let segment = i32::from(bits >> 4 & 7);
    let mantissa = i32::from(bits & 0xf) << 4;
    let magnitude = match segment {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (segment - 1),
    };
    (if bits & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes() {
        // ITU-T G.711 tables 2a and 1a: silence, and the ends of the range.
        assert_eq!(
            (encode_ulaw(0), encode_ulaw(i16::MAX), encode_ulaw(i16::MIN)),
            (0xff, 0x80, 0x00)
        );
        assert_eq!(
            (decode_ulaw(0xff), decode_ulaw(0x80), decode_ulaw(0x00)),
            (0, 32_124, -32_124)
        );
        assert_eq!(
            (encode_alaw(0), encode_alaw(i16::MAX), encode_alaw(i16::MIN)),
            (0xd5, 0xaa, 0x2a)
        );
        assert_eq!(
            (decode_alaw(0xd5), decode_alaw(0xaa), decode_alaw(0x2a)),
            (8, 32_256, -32_256)
        );
    }

    #[test]
    fn every_code_survives_and_errors_are_small() {
        for byte in 0..=255u8 {
            // Mu-law has two zeros.
            if byte != 0x7f {
                assert_eq!(encode_ulaw(decode_ulaw(byte)), byte);
            }
            assert_eq!(encode_alaw(decode_alaw(byte)), byte);
        }
        for sample in i16::MIN..=i16::MAX {
            let allowed = (i32::from(sample).abs() >> 4) + 16;
            let error = |decoded: i16| (i32::from(decoded) - i32::from(sample)).abs();
            let clipped = i32::from(sample).abs() > 32_000;
            assert!(
                clipped || error(decode_ulaw(encode_ulaw(sample))) <= allowed,
                "mu-law {sample}"
            );
            assert!(
                clipped || error(decode_alaw(encode_alaw(sample))) <= allowed,
                "A-law {sample}"
            );
        }
    }
}
