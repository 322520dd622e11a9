//! The sum of packets, modulo 2: what every format carries, and what recovers one packet when all others are known.

use std::ops::Range;

use super::repair::Sums;
use crate::packet::HEADER_LEN;

/// The sum of some packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parity {
    /// Of their fixed headers.
    pub(crate) sums: Sums,
    /// Of what comes after these, as long as the longest.
    pub(crate) body: Vec<u8>,
}

/// Adds `bytes` to the first of `sum`.
#[inline]
fn add_bytes(sum: &mut [u8], bytes: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(bytes) {
        *sum ^= byte;
    }
}

impl Parity {
    /// The sum of no packets; keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.sums = Sums::default();
        self.body.clear();
    }

    /// The sum that a repair packet states.
    pub(crate) fn set(&mut self, sums: Sums, body: &[u8]) {
        self.sums = sums;
        self.body.clear();
        self.body.extend_from_slice(body);
    }

    /// Adds a whole packet to the sum, which grows with it. What has no fixed header is no packet, and changes nothing.
    #[inline]
    pub(crate) fn add(&mut self, packet: &[u8]) {
        let rest = packet.len().saturating_sub(HEADER_LEN);
        if self.body.len() < rest {
            self.body.resize(rest, 0);
        }
        self.cancel(packet);
    }

    /// Adds a whole packet to the sum without making it longer: takes a packet out of a sum that holds it.
    #[inline]
    pub(crate) fn cancel(&mut self, packet: &[u8]) {
        let Some((fixed, rest)) = packet.split_first_chunk::<HEADER_LEN>() else {
            return;
        };
        self.sums.header[0] ^= fixed[0] & 0x3f;
        self.sums.header[1] ^= fixed[1];
        self.sums.length ^= rest.len() as u16;
        self.sums.timestamp ^= u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        add_bytes(&mut self.body, rest);
    }

    /// Counts a part of a packet that was added as zeros instead.
    pub(crate) fn blank(&mut self, packet: &[u8], part: Range<usize>) {
        let Some(bytes) = packet.get(part.clone()) else { return };
        let at = part.start.saturating_sub(HEADER_LEN);
        if let Some(sum) = self.body.get_mut(at..) {
            add_bytes(sum, bytes);
        }
    }

    /// Writes the one packet that is left in the sum, over what `out` held; `false` if it is longer than the sum.
    pub(crate) fn write_packet(&self, sequence: u16, ssrc: u32, out: &mut Vec<u8>) -> bool {
        let Some(rest) = self.body.get(..usize::from(self.sums.length)) else {
            return false;
        };
        out.clear();
        out.extend_from_slice(&[0x80 | self.sums.header[0] & 0x3f, self.sums.header[1]]);
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&self.sums.timestamp.to_be_bytes());
        out.extend_from_slice(&ssrc.to_be_bytes());
        out.extend_from_slice(rest);
        true
    }
}
