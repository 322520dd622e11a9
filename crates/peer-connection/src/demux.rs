//! Which protocol a datagram belongs to, by its first bytes.

/// What shares our one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// STUN.
    Stun,
    /// ZRTP, which we do not speak.
    Zrtp,
    /// DTLS.
    Dtls,
    /// ChannelData of TURN.
    TurnChannel,
    /// QUIC, which we do not speak.
    Quic,
    /// RTP (SRTP as it comes from the network).
    Rtp,
    /// RTCP (SRTCP as it comes from the network).
    Rtcp,
}

/// Tells protocols apart by the first byte (RFC 9443 §3), and RTCP from RTP by the second. `None`: an empty datagram, or a
/// byte that none of them begins with.
///
/// ```text
///                  +----------------+
///                  |        [0..3] -+--> forward to STUN
///                  |      [16..19] -+--> forward to ZRTP
///      packet -->  |      [20..63] -+--> forward to DTLS
///                  |      [64..79] -+--> forward to TURN Channel
///                  |    [128..191] -+--> forward to RTP/RTCP
///                  |  [80..127],    |
///                  |    [192..255] -+--> forward to QUIC
///                  +----------------+
/// ```
pub fn classify(datagram: &[u8]) -> Option<Protocol> {
    // RFC 9443 §3: the ranges of RFC 7983 §7, QUIC's own, and DTLS's whole range of RFC 7983.
    Some(match *datagram.first()? {
        0..=3 => Protocol::Stun,
        16..=19 => Protocol::Zrtp,
        20..=63 => Protocol::Dtls,
        64..=79 => Protocol::TurnChannel,
        128..=191 => {
            if is_rtcp(datagram) {
                Protocol::Rtcp
            } else {
                Protocol::Rtp
            }
        }
        80..=127 | 192..=255 => Protocol::Quic,
        _ => return None,
    })
}

/// RFC 5761 §4: packet types 192 to 223 are RTCP's, so RTP payload types 64 to 95 are not used with the marker bit or
/// without.
fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|second| (192..=223).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        for (bytes, protocol) in [
            (&[][..], None),
            (&[0, 1], Some(Protocol::Stun)),
            (&[3], Some(Protocol::Stun)),
            (&[4], None),
            (&[15], None),
            (&[16], Some(Protocol::Zrtp)),
            (&[20], Some(Protocol::Dtls)),
            (&[22], Some(Protocol::Dtls)),
            (&[63], Some(Protocol::Dtls)),
            (&[64], Some(Protocol::TurnChannel)),
            (&[79], Some(Protocol::TurnChannel)),
            (&[80], Some(Protocol::Quic)),
            (&[127], Some(Protocol::Quic)),
            (&[128], Some(Protocol::Rtp)),
            (&[128, 111], Some(Protocol::Rtp)),
            (&[128, 128 | 96], Some(Protocol::Rtp)),
            (&[128, 191], Some(Protocol::Rtp)),
            (&[128, 192], Some(Protocol::Rtcp)),
            (&[129, 200], Some(Protocol::Rtcp)),
            (&[143, 206], Some(Protocol::Rtcp)),
            (&[191, 223], Some(Protocol::Rtcp)),
            (&[191, 224], Some(Protocol::Rtp)),
            (&[192], Some(Protocol::Quic)),
            (&[255], Some(Protocol::Quic)),
        ] {
            assert_eq!(classify(bytes), protocol, "{bytes:?}");
        }
    }
}
