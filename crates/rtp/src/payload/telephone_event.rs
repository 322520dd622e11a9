//! Telephone events: the keys of a telephone (RFC 4733).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     event     |E|R| volume    |          duration             |
//! ```
//!
//! §2.3 the payload, §2.5.1.2 the marker at the beginning of an event, §2.5.1.4 the end is sent three times, §3.2 the codes.
//! Every packet of an event bears the timestamp of its beginning (§2.2.1), so the RTP clock does not tell when it was sent.

use antiphon_sansio::Reader;

use crate::ParseError;

/// The code of the key `*` (RFC 4733 §3.2 table 3).
pub const STAR: u8 = 10;
/// The code of the key `#`.
pub const POUND: u8 = 11;
/// Bytes of the payload of one event.
pub const LEN: usize = 4;

/// One report of an event: while it lasts, each says how long it has lasted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// The code: 0 to 15 are the keys 0 to 9, `*`, `#`, A to D.
    pub event: u8,
    /// E: the event is over, and the duration is final.
    pub end: bool,
    /// How loud the tone is, in decibels below 1 mW (dBm0), 0 to 63.
    pub volume: u8,
    /// How long the event has lasted, in units of the RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Parses the first event of a payload. Nobody sends several (§2.5.2 allows it where sending is slow); those behind are
    /// left out. The reserved bit is ignored (§2.3.3).
    ///
    /// # Errors
    /// [`ParseError::Short`] if there are fewer than four bytes.
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(payload);
        let event = reader.u8()?;
        let flags = reader.u8()?;
        Ok(Self {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: reader.u16()?,
        })
    }

    /// The payload.
    pub fn write(&self) -> [u8; LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume & 0x3f, high, low]
    }

    /// The key, if the event is one.
    pub fn key(&self) -> Option<char> {
        KEYS.get(usize::from(self.event)).copied()
    }

    /// The code of a key: `0` to `9`, `*`, `#`, `A` to `D`, in either case.
    ///
    /// ```
    /// use antiphon_rtp::payload::telephone_event::{POUND, TelephoneEvent};
    /// assert_eq!(TelephoneEvent::code('#'), Some(POUND));
    /// assert_eq!(TelephoneEvent::code('d'), Some(15));
    /// assert_eq!(TelephoneEvent::code('x'), None);
    /// ```
    pub fn code(key: char) -> Option<u8> {
        let key = key.to_ascii_uppercase();
        KEYS.iter().position(|known| *known == key).map(|code| code as u8)
    }
}

/// The keys, in the order of their codes.
const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 4733 §2.6, table 2: digit 9, volume 7, 1600 long; its last report.
        let payload = [9, 0x87, 0x06, 0x40];
        let event = TelephoneEvent {
            event: 9,
            end: true,
            volume: 7,
            duration: 1600,
        };
        assert_eq!(TelephoneEvent::parse(&payload), Ok(event));
        assert_eq!((event.write(), event.key()), (payload, Some('9')));
        assert_eq!(TelephoneEvent::parse(&payload[..3]), Err(ParseError::Short));
        assert_eq!(TelephoneEvent::code('*'), Some(STAR));
        assert_eq!(TelephoneEvent { event: 16, ..event }.key(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(event: u8, end: bool, volume in 0u8..64, duration: u16) {
            let event = TelephoneEvent { event, end, volume, duration };
            prop_assert_eq!(TelephoneEvent::parse(&event.write()), Ok(event));
        }
    }
}
