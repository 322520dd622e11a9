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
    /// Arrival and size, arrivals ascending.
    packets: VecDeque<(i64, usize)>,
    bytes: usize,
}

impl Acknowledged {
    /// A packet was reported that arrived at `arrival`.
    pub(crate) fn packet(&mut self, arrival: i64, bytes: usize) {
        // Packets that overtook others count as if they had come in order.
        let arrival = self.packets.back().map_or(arrival, |&(last, _)| arrival.max(last));
        self.packets.push_back((arrival, bytes));
        self.bytes += bytes;
        while let Some(&(at, bytes)) = self.packets.front()
            && (at < arrival - WINDOW || self.packets.len() > MAX_PACKETS)
        {
            self.packets.pop_front();
            self.bytes -= bytes;
        }
    }

    /// Bits a second over the whole window; `None` until a part of it is covered.
    pub(crate) fn rate(&self) -> Option<f64> {
        let (first, last) = (self.packets.front()?, self.packets.back()?);
        let span = last.0 - first.0;
        (span >= MIN_SPAN).then(|| (self.bytes - first.1) as f64 * 8e6 / span as f64)
    }

    /// Bits a second over the last `window` microseconds: what a full queue lets through right now.
    pub(crate) fn recent(&self, window: i64) -> Option<f64> {
        let last = self.packets.back()?.0;
        let mut bytes = 0;
        let mut first = None;
        for &(at, size) in self.packets.iter().rev() {
            if at < last - window {
                break;
            }
            bytes += size;
            first = Some((at, size));
        }
        let (at, size) = first?;
        (last - at >= MIN_SPAN).then(|| (bytes - size) as f64 * 8e6 / (last - at) as f64)
    }

    /// Forgets what arrived: after a pause it says nothing of now.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }
}
