//! ChannelData messages (RFC 8656 §12.4).

/// The header in bytes.
pub const CHANNEL_HEADER_LEN: usize = 4;

/// The channel numbers that a client chooses from (RFC 8656 §12).
pub const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// Those that clients of RFC 5766 §11 choose from, many of which are in use. A server takes them: what is reserved since (RFC 8656 §19.1)
/// keeps apart protocols that share a client's socket, and no other protocol shares a TURN server's.
pub const OLDER_CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;

/// Whether a datagram is ChannelData where other protocols come too: its first byte is 64 to 79 (RFC 7983 §7).
#[inline]
pub fn is_channel_data(datagram: &[u8]) -> bool {
    datagram.len() >= CHANNEL_HEADER_LEN && (64..80).contains(&datagram[0])
}

/// Reads a ChannelData message: its channel, of either range, and how many bytes of data follow the header. Over UDP padding may
/// follow.
///
/// ```text
/// | channel number (16) | length (16) | data ... |
/// ```
pub fn parse_channel_data(datagram: &[u8]) -> Option<(u16, usize)> {
    let [a, b, c, d] = *datagram.first_chunk()?;
    let number = u16::from_be_bytes([a, b]);
    if !OLDER_CHANNEL_NUMBERS.contains(&number) {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([c, d]));
    (len <= datagram.len() - CHANNEL_HEADER_LEN).then_some((number, len))
}

/// The header for `len` bytes on a channel.
pub fn channel_header(number: u16, len: usize) -> [u8; CHANNEL_HEADER_LEN] {
    let [a, b] = number.to_be_bytes();
    let [c, d] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_channel_data() {
        assert_eq!(parse_channel_data(&[0x40, 1, 0, 2, 7, 7]), Some((0x4001, 2)));
        // Padded to four bytes, as over TCP.
        assert_eq!(parse_channel_data(&[0x4f, 0xff, 0, 1, 7, 0, 0, 0]), Some((0x4fff, 1)));
        assert_eq!(parse_channel_data(&[0x40, 1, 0, 3, 7, 7]), None);
        assert_eq!(parse_channel_data(&[0x7f, 0xff, 0, 0]), Some((0x7fff, 0)));
        assert!(is_channel_data(&[0x4f, 0xff, 0, 0]) && !is_channel_data(&[0x50, 0, 0, 0]));
        assert_eq!(parse_channel_data(&[0x3f, 1, 0, 0]), None);
        assert_eq!(parse_channel_data(&[0x80, 1, 0, 0]), None);
        assert_eq!(parse_channel_data(&[0x40, 1, 0]), None);
    }

    proptest! {
        #[test]
        fn written_and_read(number in CHANNEL_NUMBERS, data in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut message = channel_header(number, data.len()).to_vec();
            message.extend_from_slice(&data);
            prop_assert_eq!(parse_channel_data(&message), Some((number, data.len())));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Some((number, len)) = parse_channel_data(&bytes) {
                prop_assert!(OLDER_CHANNEL_NUMBERS.contains(&number));
                prop_assert!(len + 4 <= bytes.len());
            }
        }
    }
}
