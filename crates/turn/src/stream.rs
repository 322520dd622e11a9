//! TURN over TCP and TLS: where one message ends and the next begins (RFC 8489 §6.2.2, RFC 8656 §12.5).

use antiphon_sansio::BytesMut;

use crate::channel_data::CHANNEL_HEADER_LEN;

/// The most bytes kept of a message that is not whole yet: the largest STUN message.
pub const MAX_FRAME: usize = 20 + 65_535;

/// Cuts a byte stream into STUN and ChannelData messages.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// A STUN message came: no channel exists before one.
    begun: bool,
    broken: bool,
}

impl StreamFramer {
    /// Takes bytes from the stream. Returns `false`, for ever, once the stream makes no sense: close it.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.broken || self.buffer.len() + bytes.len() > 2 * MAX_FRAME {
            self.broken = true;
            self.buffer.clear();
            return false;
        }
        self.buffer.extend_from_slice(bytes);
        true
    }

    /// The next whole message, padding included; `None` when more bytes are needed.
    pub fn next_message(&mut self) -> Option<BytesMut> {
        let head = self.buffer.first_chunk::<CHANNEL_HEADER_LEN>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let whole = match head[0] {
            0..=3 => 20 + length,
            // RFC 8656 §12.5: over a stream ChannelData is padded to four bytes. A stream that begins so is HTTP, or what else begins
            // with a letter.
            64..=127 if self.begun => CHANNEL_HEADER_LEN + length.next_multiple_of(4),
            _ => {
                self.broken = true;
                self.buffer.clear();
                return None;
            }
        };
        self.begun = true;
        (self.buffer.len() >= whole).then(|| self.buffer.split_to(whole))
    }

    /// Whether the stream made no sense.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cut_anywhere(data in prop::collection::vec(any::<u8>(), 0..50), cuts in prop::collection::vec(1usize..20, 1..40)) {
            let mut stream = vec![0, 1, 0, 4];
            stream.extend_from_slice(&[9; 20]);
            let mut channel = vec![0x40, 0, 0, data.len() as u8];
            channel.extend_from_slice(&data);
            channel.resize(4 + data.len().next_multiple_of(4), 0);
            stream.extend_from_slice(&channel);
            let mut framer = StreamFramer::default();
            let mut messages = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.into_iter().chain([stream.len()]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                prop_assert!(framer.push(now));
                rest = later;
                while let Some(message) = framer.next_message() {
                    messages.push(message);
                }
            }
            prop_assert_eq!(messages.len(), 2);
            prop_assert_eq!(messages[0].len(), 24);
            prop_assert_eq!(&messages[1][..], &channel[..]);
        }

        #[test]
        fn any_stream_stays_bounded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let mut framer = StreamFramer::default();
            for chunk in chunks {
                let _ = framer.push(&chunk);
                while framer.next_message().is_some() {}
                prop_assert!(framer.buffer.len() <= 2 * MAX_FRAME);
            }
        }
    }

    #[test]
    fn nonsense_breaks_the_stream() {
        let mut framer = StreamFramer::default();
        // TLS, where none is spoken.
        assert!(framer.push(&[0x16, 3, 1, 2, 0, 1]));
        assert!(framer.next_message().is_none());
        assert!(framer.is_broken());
        assert!(!framer.push(&[0]));
    }

    #[test]
    fn no_stream_begins_with_channel_data() {
        let mut framer = StreamFramer::default();
        assert!(framer.push(b"POST / HTTP/1.1\r\n\r\n"));
        assert!(framer.next_message().is_none());
        assert!(framer.is_broken());
    }
}
