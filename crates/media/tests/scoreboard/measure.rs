//! Figures of a scene: use, wait, loss, and how soon the target follows.

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_netsim::{Crossing, Fate};

use super::scene::{Scene, Seen, at};

/// Those of a list that were seen in a span, and came from an address.
fn of(crossings: &[Crossing], span: (Instant, Instant), source: SocketAddr) -> impl Iterator<Item = &Crossing> {
    let (from, to) = span;
    // They are in the order of their times.
    let first = crossings.partition_point(|crossing| crossing.at < from);
    let own = crossings[first..].iter().take_while(move |crossing| crossing.at < to);
    own.filter(move |crossing| crossing.source == source)
}

fn bits<'a>(crossings: impl Iterator<Item = &'a Crossing>) -> f64 {
    crossings.map(|crossing| crossing.bytes as f64 * 8.0).sum()
}

impl Scene {
    fn span(&self, from: f64, to: f64) -> (Instant, Instant) {
        (self.start + at(from.max(0.0)), self.start + at(to))
    }

    /// Those of a flow's packets that were seen on the way there in a span of seconds.
    fn own(&self, flow: usize, from: f64, to: f64) -> impl Iterator<Item = &Crossing> {
        of(&self.crossings, self.span(from, to), self.flows[flow].sources[0])
    }

    /// IP bits of a flow that went on, in a span of seconds.
    pub(crate) fn delivered(&self, flow: usize, from: f64, to: f64) -> f64 {
        let own = self.own(flow, from, to);
        bits(own.filter(|crossing| crossing.fate == Fate::Carried))
    }

    /// The same of a flow's answering end.
    pub(crate) fn delivered_back(&self, flow: usize, from: f64, to: f64) -> f64 {
        let own = of(&self.returning, self.span(from, to), self.flows[flow].sources[1]);
        bits(own.filter(|crossing| crossing.fate == Fate::Carried))
    }

    /// The same of bulk transfers.
    pub(crate) fn delivered_bulk(&self, bulk: usize, from: f64, to: f64) -> f64 {
        let own = of(&self.crossings, self.span(from, to), self.bulks[bulk]);
        bits(own.filter(|crossing| crossing.fate == Fate::Carried))
    }

    /// IP bits of a flow that came to the bottleneck.
    pub(crate) fn sent(&self, flow: usize, from: f64, to: f64) -> f64 {
        bits(self.own(flow, from, to))
    }

    /// Bits of a flow that were padding or sent a second time.
    pub(crate) fn extra(&self, flow: usize, from: f64, to: f64) -> f64 {
        let (from, to) = self.span(from, to);
        let receiver = self.simulation.peer(self.flows[flow].receiver).call();
        let own = receiver.extra.iter().filter(|(at, _)| *at >= from && *at < to);
        own.map(|(_, bytes)| *bytes as f64 * 8.0).sum()
    }

    /// What the way there can carry in a span, in bits.
    pub(crate) fn carries(&self, from: f64, to: f64) -> f64 {
        self.capacity.bits(at(from), at(to))
    }

    /// **U**: which part of the capacity a flow has used, in percent.
    pub(crate) fn used(&self, flow: usize, from: f64, to: f64) -> f64 {
        100.0 * self.delivered(flow, from, to) / self.carries(from, to)
    }

    /// The wait in the queue that `part` of a flow's packets do not exceed, in milliseconds.
    pub(crate) fn wait(&self, flow: usize, part: f64, from: f64, to: f64) -> f64 {
        let on = self
            .own(flow, from, to)
            .filter(|crossing| crossing.fate != Fate::Dropped);
        let mut waits: Vec<f64> = on.map(|crossing| crossing.waited.as_secs_f64() * 1e3).collect();
        waits.sort_by(f64::total_cmp);
        let place = (waits.len() as f64 * part).ceil() as usize;
        waits.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }

    /// **Q95**, in milliseconds.
    pub(crate) fn q95(&self, flow: usize, from: f64, to: f64) -> f64 {
        self.wait(flow, 0.95, from, to)
    }

    /// Of a flow's packets, how many the queue dropped, in percent.
    pub(crate) fn dropped(&self, flow: usize, from: f64, to: f64) -> f64 {
        let (mut all, mut dropped) = (0u32, 0u32);
        for crossing in self.own(flow, from, to) {
            all += 1;
            dropped += u32::from(crossing.fate == Fate::Dropped);
        }
        100.0 * f64::from(dropped) / f64::from(all.max(1))
    }

    pub(crate) fn seen(&self, flow: usize, from: f64, to: f64) -> impl Iterator<Item = &Seen> {
        let seen = self.flows[flow].seen.iter();
        // The clock counts in whole nanoseconds.
        seen.filter(move |seen| seen.at >= from - 1e-6 && seen.at < to - 1e-6)
    }

    /// The target at a moment.
    pub(crate) fn target(&self, flow: usize, moment: f64) -> f64 {
        self.seen(flow, moment, f64::MAX).next().map_or(0.0, |seen| seen.target)
    }

    /// The least and the largest target of a span.
    pub(crate) fn range(&self, flow: usize, from: f64, to: f64) -> (f64, f64) {
        let targets = self.seen(flow, from, to).map(|seen| seen.target);
        targets.fold((f64::MAX, 0.0), |(least, most), target| {
            (target.min(least), target.max(most))
        })
    }

    /// **T90**: seconds from `from` until the target is at least 0.9 of `goal`, and not below 0.75 of it until `to`.
    pub(crate) fn t90(&self, flow: usize, goal: f64, from: f64, to: f64) -> f64 {
        let mut reached = None;
        for seen in self.seen(flow, from, to) {
            if seen.target < 0.75 * goal {
                reached = None;
            } else if seen.target >= 0.9 * goal && reached.is_none() {
                reached = Some(seen.at - from);
            }
        }
        reached.unwrap_or(f64::INFINITY)
    }

    /// **R**: seconds from `from` until the target is no more than `capacity`.
    pub(crate) fn follows(&self, flow: usize, capacity: f64, from: f64, to: f64) -> f64 {
        let mut seen = self.seen(flow, from, to);
        let first = seen.find(|seen| seen.target <= capacity);
        first.map_or(f64::INFINITY, |seen| seen.at - from)
    }
}

/// Jain's index of fairness: 1 if all have the same.
pub(crate) fn jain(rates: &[f64]) -> f64 {
    let (sum, squares) = rates
        .iter()
        .fold((0.0, 0.0), |(sum, squares), rate| (sum + rate, squares + rate * rate));
    sum * sum / (rates.len() as f64 * squares.max(1e-9))
}
