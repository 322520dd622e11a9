//! One feedback message in the terms of the controller.

use std::time::Instant;

use crate::congestion::control::{PacketId, PacketResult};
use crate::congestion::sample::Sample;
use antiphon_sansio::Ecn;

/// What a feedback message says in all.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Packets that arrived, and how many of them bore a mark of congestion.
    pub(super) packets: u32,
    pub(super) marked: u32,
    /// Bytes that arrived without one.
    pub(super) unmarked_bytes: usize,
    /// Packets that are lost, and such that had been told lost before and came after all.
    pub(super) lost: u32,
    pub(super) recovered: u32,
    pub(super) arrived: Option<Arrived>,
}

/// The packets that arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    /// When the newest of them left.
    pub(super) newest: Instant,
    /// The same, by the terms of [`Sample`].
    pub(super) sent: i64,
    /// The first and the last arrival.
    pub(super) first: i64,
    pub(super) last: i64,
    /// The least time from departure to arrival, microseconds on two clocks.
    pub(super) least: i64,
}

impl Told {
    /// Adds a packet. `lost`: the newest packet that was told lost before this feedback.
    pub(super) fn packet(&mut self, result: &PacketResult, sample: &Sample, lost: Option<PacketId>) {
        let old = lost.is_some_and(|lost| result.sent.id <= lost);
        let Some(arrival) = sample.arrival else {
            self.lost += u32::from(!old);
            return;
        };
        self.recovered += u32::from(old);
        self.packets += 1;
        let marked = result.ecn == Ecn::Ce;
        self.marked += u32::from(marked);
        if !marked {
            self.unmarked_bytes += sample.bytes;
        }
        let transit = arrival.saturating_sub(sample.sent);
        let arrived = self.arrived.get_or_insert(Arrived {
            newest: result.sent.at,
            sent: sample.sent,
            first: arrival,
            last: arrival,
            least: transit,
        });
        arrived.newest = arrived.newest.max(result.sent.at);
        arrived.sent = arrived.sent.max(sample.sent);
        arrived.first = arrived.first.min(arrival);
        arrived.last = arrived.last.max(arrival);
        arrived.least = arrived.least.min(transit);
    }
}
