//! Whether packets larger than what passes everywhere arrive: a path that carries less than its first link does drops them, and
//! tells nobody.

use crate::config::SAFE_PACKET;
use crate::congestion::PacketResult;

/// So many large packets lost in a row, with small ones arriving meanwhile, are no accident.
const MAX_LOST: u32 = 32;
/// So many small packets must have arrived meanwhile.
const MIN_ARRIVED: u32 = 4;

/// What the peer's feedback says of large packets (RFC 8899 §4.3: a black hole).
#[derive(Debug, Default)]
pub(crate) struct LargePackets {
    lost: u32,
    small_arrived: u32,
    black_hole: bool,
}

impl LargePackets {
    /// Takes in what became of a packet. Returns whether it is now known that large ones do not arrive.
    pub(crate) fn take(&mut self, result: &PacketResult) -> bool {
        if result.sent.bytes <= SAFE_PACKET {
            self.small_arrived += u32::from(result.arrival.is_some() && self.lost > 0);
        } else if result.arrival.is_some() {
            (self.lost, self.small_arrived) = (0, 0);
        } else {
            self.lost += 1;
        }
        let found = !self.black_hole && self.lost >= MAX_LOST && self.small_arrived >= MIN_ARRIVED;
        self.black_hole |= found;
        found
    }

    /// The largest packet, where the path was said to carry `size`.
    pub(crate) fn limit(&self, size: usize) -> usize {
        if self.black_hole { size.min(SAFE_PACKET) } else { size }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;
    use antiphon_sansio::Ecn;

    use super::*;
    use crate::congestion::{PacketId, Sent};

    fn result(bytes: usize, arrived: bool) -> PacketResult {
        PacketResult {
            sent: Sent {
                id: PacketId(0),
                total: 0,
                padding: false,
                at: start(),
                bytes,
                ecn: Ecn::NotEct,
                probe: None,
            },
            arrival: arrived.then(start),
            ecn: Ecn::NotEct,
        }
    }

    #[test]
    fn a_black_hole_is_found_and_loss_alone_is_none() {
        let mut large = LargePackets::default();
        for n in 0..10 * MAX_LOST {
            // Everything is lost: the path is down, not narrow.
            assert!(!large.take(&result(1400, false)), "{n}");
            assert!(!large.take(&result(1000, false)), "{n}");
        }
        let mut large = LargePackets::default();
        for n in 0..10 * MAX_LOST {
            // One in ten arrives.
            assert!(!large.take(&result(1400, n % 10 == 0)), "{n}");
            assert!(!large.take(&result(1000, true)), "{n}");
        }
        assert_eq!(large.limit(1456), 1456);
        let mut found = 0;
        for _ in 0..10 * MAX_LOST {
            found += u32::from(large.take(&result(1400, false)));
            found += u32::from(large.take(&result(1000, true)));
        }
        assert_eq!((found, large.limit(1456), large.limit(1100)), (1, SAFE_PACKET, 1100));
    }
}
