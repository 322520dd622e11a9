//! The data channel establishment protocol (RFC 8832 §5).

use antiphon_sansio::{Reader, Short};
use bytes::Bytes;

use crate::channel::{ChannelInit, Priority};

/// Payload protocol identifiers (RFC 8831 §8).
pub mod ppid {
    #![allow(missing_docs)]
    pub const DCEP: u32 = 50;
    pub const STRING: u32 = 51;
    pub const BINARY: u32 = 53;
    pub const STRING_EMPTY: u32 = 56;
    pub const BINARY_EMPTY: u32 = 57;
}

const ACK: u8 = 2;
const OPEN: u8 = 3;
const UNORDERED: u8 = 0x80;

/// A DCEP message.
///
/// ```text
/// |  3 (OPEN)  | channel type |      priority       |
/// |             reliability parameter               |
/// |     label length          |  protocol length    |
/// |     label ...                                   |
/// |     protocol ...                                |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dcep {
    /// Opens a channel.
    Open(ChannelInit),
    /// Confirms that it is open.
    Ack,
}

impl Dcep {
    /// Reads a message; `None` if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, body) = bytes.split_first()?;
        match *kind {
            // A few stacks append bytes to the ACK: there is nothing in them.
            ACK => Some(Self::Ack),
            OPEN => Self::parse_open(body).ok().flatten().map(Self::Open),
            _ => None,
        }
    }

    fn parse_open(body: &[u8]) -> Result<Option<ChannelInit>, Short> {
        let mut reader = Reader::new(body);
        let channel_type = reader.u8()?;
        let priority = Priority(reader.u16()?);
        // W3C has 16 bits for it; more than a minute or 65535 tries is no different from that.
        let reliability = u16::try_from(reader.u32()?).unwrap_or(u16::MAX);
        let (label, protocol) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let label = reader.take(label)?;
        let protocol = reader.take(protocol)?;
        let (max_retransmits, max_packet_life_time) = match channel_type & !UNORDERED {
            0 => (None, None),
            1 => (Some(reliability), None),
            2 => (None, Some(reliability)),
            _ => return Ok(None),
        };
        Ok(Some(ChannelInit {
            // RFC 8832 §5.1 wants UTF-8; what is not is shown as well as can be.
            label: String::from_utf8_lossy(label).into_owned(),
            protocol: String::from_utf8_lossy(protocol).into_owned(),
            ordered: channel_type & UNORDERED == 0,
            max_packet_life_time,
            max_retransmits,
            negotiated: None,
            priority,
        }))
    }

    /// The message's bytes. Label and protocol have at most 65535 bytes each.
    pub fn write(&self) -> Bytes {
        let Self::Open(init) = self else {
            return Bytes::from_static(&[ACK]);
        };
        let (kind, reliability) = match (init.max_retransmits, init.max_packet_life_time) {
            (Some(times), _) => (1, times),
            (None, Some(milliseconds)) => (2, milliseconds),
            (None, None) => (0, 0),
        };
        let unordered = if init.ordered { 0 } else { UNORDERED };
        let mut bytes = Vec::with_capacity(12 + init.label.len() + init.protocol.len());
        bytes.extend([OPEN, kind | unordered]);
        bytes.extend(init.priority.0.to_be_bytes());
        bytes.extend(u32::from(reliability).to_be_bytes());
        bytes.extend((init.label.len() as u16).to_be_bytes());
        bytes.extend((init.protocol.len() as u16).to_be_bytes());
        bytes.extend(init.label.as_bytes());
        bytes.extend(init.protocol.as_bytes());
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_browser_sends() {
        // Chromium: createDataChannel("chat", {ordered: false, maxRetransmits: 3}).
        let bytes = b"\x03\x81\x01\x00\x00\x00\x00\x03\x00\x04\x00\x00chat";
        let Some(Dcep::Open(init)) = Dcep::parse(bytes) else {
            panic!("not parsed");
        };
        assert_eq!((init.label.as_str(), init.ordered), ("chat", false));
        assert_eq!((init.max_retransmits, init.priority), (Some(3), Priority::LOW));
        assert_eq!(&Dcep::Open(init).write()[..], bytes);
        assert_eq!(Dcep::parse(&[2]), Some(Dcep::Ack));
    }

    #[test]
    fn v09_lengths_past_the_end_are_refused() {
        let bytes = b"\x03\x00\x01\x00\x00\x00\x00\x00\x00\x04\x00\x02chatp";
        assert_eq!(Dcep::parse(bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(Dcep::parse(&bytes[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Dcep::parse(&bytes);
        }

        #[test]
        fn open_returns(
            label in ".{0,40}", protocol in ".{0,40}", ordered: bool, priority: u16,
            limits in prop_oneof![
                Just((None, None)),
                any::<u16>().prop_map(|n| (Some(n), None)),
                any::<u16>().prop_map(|n| (None, Some(n))),
            ],
        ) {
            let open = Dcep::Open(ChannelInit {
                label, protocol, ordered,
                max_retransmits: limits.0,
                max_packet_life_time: limits.1,
                negotiated: None,
                priority: Priority(priority),
            });
            prop_assert_eq!(Dcep::parse(&open.write()), Some(open));
        }
    }
}
