//! ICE over TCP: where one message ends and the next begins (RFC 4571 §2, RFC 6544 §10.1).

use antiphon_sansio::BytesMut;

/// The bytes of the length in front of each message.
pub const FRAME_HEADER_LEN: usize = 2;

/// The most bytes kept of a stream that was not taken apart yet: two messages of the greatest length.
pub const MAX_DEFRAME: usize = 2 * (FRAME_HEADER_LEN + u16::MAX as usize);

/// Cuts a byte stream into the messages that were put in it, each behind its length.
///
/// ```text
/// | length (16) | STUN, DTLS, SRTP or SRTCP message ... |
/// ```
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: BytesMut,
    broken: bool,
}

impl Deframer {
    /// Takes bytes from the stream. Returns `false`, for ever, once more waits than the next messages can hold: take
    /// the messages after each push, or close the connection.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.broken || self.buffer.len() + bytes.len() > MAX_DEFRAME {
            self.broken = true;
            self.buffer.clear();
            return false;
        }
        self.buffer.extend_from_slice(bytes);
        true
    }

    /// The next whole message, without its length; `None` when more bytes are needed. Empty messages are skipped: RFC
    /// 4571 §2 allows them, and they say nothing.
    pub fn next_message(&mut self) -> Option<BytesMut> {
        loop {
            let head = self.buffer.first_chunk::<FRAME_HEADER_LEN>()?;
            let whole = FRAME_HEADER_LEN + usize::from(u16::from_be_bytes(*head));
            if self.buffer.len() < whole {
                return None;
            }
            let mut message = self.buffer.split_to(whole);
            let body = message.split_off(FRAME_HEADER_LEN);
            if !body.is_empty() {
                return Some(body);
            }
        }
    }

    /// Whether the stream held more than it may.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

/// The length to write in front of a message of `len` bytes.
pub fn frame_header(len: usize) -> [u8; FRAME_HEADER_LEN] {
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cut_anywhere(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(1usize..90, 1..40),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend_from_slice(&frame_header(message.len()));
                stream.extend_from_slice(message);
            }
            let mut deframer = Deframer::default();
            let mut read = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.into_iter().chain([stream.len()]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                prop_assert!(deframer.push(now));
                rest = later;
                while let Some(message) = deframer.next_message() {
                    read.push(message.to_vec());
                }
            }
            let sent: Vec<Vec<u8>> = messages.into_iter().filter(|message| !message.is_empty()).collect();
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn any_stream_stays_bounded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20)) {
            let mut deframer = Deframer::default();
            for chunk in chunks {
                prop_assert!(deframer.push(&chunk));
                while deframer.next_message().is_some() {}
                prop_assert!(deframer.buffer.len() < MAX_DEFRAME / 2);
            }
        }
    }

    #[test]
    fn who_does_not_take_is_stopped() {
        let mut deframer = Deframer::default();
        assert!(deframer.push(&vec![0xff; MAX_DEFRAME]));
        assert!(!deframer.push(&[0]));
        assert!(deframer.is_broken());
        assert!(deframer.next_message().is_none());
    }
}
