//! What is counted about an outgoing stream.

use std::time::Duration;

use crate::frame_count::{SentFrames, Sound};
use crate::stats::EncoderFigures;

/// What is counted about an outgoing stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) resent_packets: u64,
    pub(crate) resent_bytes: u64,
    /// Of these, what went out on the retransmission SSRC: no business of the stream's own reports.
    pub(crate) rtx_packets: u64,
    pub(crate) rtx_bytes: u64,
    /// Of all packets, what carried nothing new and was asked for by nobody; bytes with headers.
    pub(crate) padding_packets: u64,
    pub(crate) padding_bytes: u64,
    pub(crate) refused: u64,
    /// Once it was given anything.
    given: Option<Box<Given>>,
    /// Forwarded packets that were larger than the path carries.
    pub(crate) too_large: u64,
    pub(crate) nacks: u32,
    pub(crate) plis: u32,
    pub(crate) firs: u32,
    pub(crate) delay: Duration,
    pub(crate) payload_type: Option<u8>,
    /// The number of the first packet.
    pub(crate) first_number: u64,
}

/// What is counted of what the application hands over, and of its marks: nothing as long as nothing is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) frames: SentFrames,
    pub(crate) sound: Sound,
    /// Packets with ECT(1).
    pub(crate) ect1: u64,
    /// What the application says of its encoder.
    pub(crate) encoder: Option<EncoderFigures>,
}

impl Count {
    /// Nothing was sent yet; the first packet will have this number.
    pub(super) fn from(first_number: u64) -> Self {
        Self {
            first_number,
            ..Self::default()
        }
    }

    /// What was given so far, to count more.
    pub(crate) fn given(&mut self) -> &mut Given {
        self.given.get_or_insert_default()
    }

    /// What was given so far; `None`: nothing.
    pub(crate) fn given_so_far(&self) -> Option<&Given> {
        self.given.as_deref()
    }

    #[inline]
    pub(super) fn sent(&mut self, payload_type: u8, header_len: usize, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
        self.header_bytes += header_len as u64;
        self.payload_type = Some(payload_type);
    }

    /// A packet has left for the first time.
    #[inline]
    pub(super) fn first(&mut self, payload_type: u8, header_len: usize, len: usize, waited: Duration) {
        self.sent(payload_type, header_len, len);
        self.delay += waited;
    }

    /// A packet was sent again.
    pub(super) fn again(&mut self, payload_type: u8, header_len: usize, len: usize) {
        self.sent(payload_type, header_len, len);
        self.resent_packets += 1;
        self.resent_bytes += len as u64;
    }
}
