//! What arrives: the rate of what the peer has reported, by its own clock.

use std::collections::VecDeque;

/// What is looked at for the rate in general, microseconds: some frames of any video.
const WINDOW: i64 = 500_000;
/// What must be covered before there is a rate.
const MIN_SPAN: i64 = 60_000;
/// Most packets in the window.
const MAX_PACKETS: usize = 4096;

/// The acknowledged bitrate.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// The low bits of the arrival, and the size; arrivals ascending. All lie within the window, so the low bits say which is meant.
    packets: VecDeque<(u32, u32)>,
    /// The arrival of the newest.
    last: i64,
    bytes: usize,
}

impl Acknowledged {
    /// A packet was reported that arrived at `arrival`.
    pub(crate) fn packet(&mut self, arrival: i64, bytes: usize) {
        if self.packets.is_empty() || arrival - self.last > WINDOW {
            self.clear();
            self.last = arrival;
        }
        // Packets that overtook others count as if they had come in order.
        self.last = self.last.max(arrival);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.packets.push_back((self.last as u32, bytes));
        self.bytes += bytes as usize;
        while let Some(&(at, bytes)) = self.packets.front()
            && (self.age(at) > WINDOW || self.packets.len() > MAX_PACKETS)
        {
            self.packets.pop_front();
            self.bytes -= bytes as usize;
        }
    }

    /// How much earlier than the newest a packet arrived, microseconds.
    fn age(&self, at: u32) -> i64 {
        (self.last as u32).wrapping_sub(at).into()
    }

    /// Bits a second over the whole window; `None` until a part of it is covered.
    pub(crate) fn rate(&self) -> Option<f64> {
        let &(first, size) = self.packets.front()?;
        let span = self.age(first);
        (span >= MIN_SPAN).then(|| (self.bytes - size as usize) as f64 * 8e6 / span as f64)
    }

    /// Bits a second over the last `window` microseconds: what a full queue lets through right now.
    pub(crate) fn recent(&self, window: i64) -> Option<f64> {
        let mut bytes = 0;
        let mut first = None;
        for &(at, size) in self.packets.iter().rev() {
            if self.age(at) > window {
                break;
            }
            bytes += size as usize;
            first = Some((at, size));
        }
        let (at, size) = first?;
        let span = self.age(at);
        (span >= MIN_SPAN).then(|| (bytes - size as usize) as f64 * 8e6 / span as f64)
    }

    /// Forgets what arrived: after a pause it says nothing of now.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_goes_over_the_end_of_the_low_bits_and_over_any_pause() {
        let mut acked = Acknowledged::default();
        let start = (1i64 << 33) - 200_000;
        for n in 0..100 {
            // Every tenth overtakes one.
            let early = if n % 10 == 0 { 15_000 } else { 0 };
            acked.packet(start + n * 10_000 - early, 1250);
        }
        assert_eq!(acked.rate(), Some(1e6));
        assert_eq!(acked.recent(100_000), Some(1e6));
        // As far away as the low bits are wide.
        let later = start + 990_000 + (1 << 32);
        acked.packet(later, 1250);
        assert_eq!((acked.rate(), acked.packets.len()), (None, 1));
        acked.packet(later + 100_000, 2500);
        assert_eq!(acked.rate(), Some(2e5));
    }
}
