//! What comes of a producer's sources, counted for their scores.

use antiphon_media::Packet;

use crate::layer::MAX_ENCODINGS;
use crate::score::{Interval, Score};

/// A packet that comes after so many later ones was sent again; before that the network has changed the order.
const REORDERED: u64 = 3;
/// A number that is so far ahead begins anew: nobody can tell what was lost.
const MAX_JUMP: u64 = 1 << 14;

/// The score of each encoding of a producer; `None` before it is known, and where there is no encoding.
pub type Scores = [Option<u8>; MAX_ENCODINGS];

/// What comes of all encodings of a producer.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    sources: Vec<Source>,
}

/// What came of one encoding since the last look.
#[derive(Clone, Debug, Default)]
struct Source {
    ssrc: Option<u32>,
    /// The number after the highest that came, and where that stood at the last look.
    next: u64,
    looked: u64,
    /// Packets that came by themselves, and those that came when they were sent again.
    arrived: u64,
    repaired: u64,
    /// Looks in a row without a packet.
    silent: u32,
    score: Score,
}

impl Source {
    fn begin(&mut self, packet: &Packet) {
        *self = Self {
            ssrc: Some(packet.ssrc),
            next: packet.sequence,
            looked: packet.sequence,
            score: std::mem::take(&mut self.score),
            ..Self::default()
        };
    }

    fn take(&mut self, packet: &Packet) {
        if self.ssrc != Some(packet.ssrc) || packet.sequence > self.next.saturating_add(MAX_JUMP) {
            self.begin(packet);
        }
        self.silent = 0;
        if packet.sequence.saturating_add(REORDERED) >= self.next {
            self.arrived += 1;
        } else {
            self.repaired += 1;
        }
        self.next = self.next.max(packet.sequence.saturating_add(1));
    }

    fn look(&mut self, stops_after: u32) {
        if self.ssrc.is_none() {
            return;
        }
        let expected = self.next - self.looked;
        let interval = Interval {
            expected,
            lost: expected.saturating_sub(self.arrived),
            repaired: self.repaired,
            retransmitted: self.repaired,
        };
        let is_silent = self.arrived + self.repaired == 0;
        (self.looked, self.arrived, self.repaired) = (self.next, 0, 0);
        if is_silent {
            self.silent = self.silent.saturating_add(1);
            if self.silent >= stops_after {
                _ = self.score.stop();
            }
        } else {
            _ = self.score.take(interval);
        }
    }
}

impl Arrivals {
    /// A packet of an encoding has come.
    #[inline]
    pub(super) fn take(&mut self, encoding: u8, packet: &Packet) {
        let place = usize::from(encoding);
        if self.sources.len() <= place {
            if place >= MAX_ENCODINGS {
                return;
            }
            self.sources.resize_with(place + 1, Source::default);
        }
        if let Some(source) = self.sources.get_mut(place) {
            source.take(packet);
        }
    }

    /// Judges what came since the last look; an encoding that was silent for `stops_after` looks has stopped.
    pub(super) fn look(&mut self, stops_after: u32) {
        for source in &mut self.sources {
            source.look(stops_after);
        }
    }

    /// What comes next is not judged by what came before: the producer was paused.
    pub(super) fn interrupt(&mut self) {
        for source in &mut self.sources {
            source.ssrc = None;
        }
    }

    /// Whether anything flows, or is not known yet to have stopped.
    pub(super) fn is_alive(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| source.ssrc.is_some() && (source.silent == 0 || source.score.get() != Some(0)))
    }

    /// The score of each encoding.
    pub(super) fn scores(&self) -> Scores {
        let mut scores = Scores::default();
        for (own, source) in scores.iter_mut().zip(&self.sources) {
            *own = source.score.get();
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use antiphon_media::Packet;

    use super::{Arrivals, MAX_JUMP};
    use crate::layer::MAX_ENCODINGS;

    fn packet(now: Instant, ssrc: u32, sequence: u64) -> Packet {
        Packet {
            ssrc,
            rid: None,
            payload_type: 96,
            sequence,
            timestamp: 0,
            marker: false,
            payload: Default::default(),
            front: None,
            key_frame: false,
            extensions: Default::default(),
            contributors: None,
            received: now,
            captured: None,
        }
    }

    /// The score of one look at these numbers.
    fn score(numbers: impl IntoIterator<Item = u64>) -> Option<u8> {
        let mut arrivals = Arrivals::default();
        for number in numbers {
            arrivals.take(0, &packet(antiphon_netsim::start(), 1, number));
        }
        arrivals.look(2);
        arrivals.scores()[0]
    }

    #[test]
    fn what_is_lost_costs_and_what_is_repaired_costs_less() {
        assert_eq!(score([]), None);
        assert_eq!(score(100..200), Some(10));
        let holes = (100..200).filter(|number| number % 10 != 5);
        assert_eq!(score(holes.clone()), Some(6));
        let again = (100..200).filter(|number| number % 10 == 5);
        assert_eq!(score(holes.chain(again)), Some(9), "all of it was sent again");
    }

    #[test]
    fn another_order_is_no_loss() {
        let swapped = (0..50).flat_map(|pair| [200 + 2 * pair + 1, 200 + 2 * pair]);
        assert_eq!(score(swapped), Some(10));
    }

    #[test]
    fn a_source_that_begins_anew_has_lost_nothing() {
        let mut arrivals = Arrivals::default();
        let now = antiphon_netsim::start();
        for number in (0..50).chain(50 + 2 * MAX_JUMP..100 + 2 * MAX_JUMP) {
            arrivals.take(0, &packet(now, 1, number));
        }
        for number in 7_000..7_050 {
            arrivals.take(0, &packet(now, 2, number));
        }
        arrivals.look(2);
        assert_eq!(arrivals.scores()[0], Some(10));
        arrivals.take(MAX_ENCODINGS as u8, &packet(now, 3, 1));
        assert_eq!(arrivals.scores()[1..], [None; MAX_ENCODINGS - 1], "no such encoding");
    }

    #[test]
    fn what_stops_has_none_until_it_goes_on() {
        let mut arrivals = Arrivals::default();
        let now = antiphon_netsim::start();
        arrivals.take(1, &packet(now, 1, 10));
        assert!(arrivals.is_alive());
        for expected in [Some(10), Some(10), Some(0), Some(0)] {
            arrivals.look(2);
            assert_eq!(arrivals.scores()[1], expected);
        }
        assert!(!arrivals.is_alive());
        arrivals.take(1, &packet(now, 1, 11));
        assert!(arrivals.is_alive());
        arrivals.look(2);
        assert_eq!(arrivals.scores()[1], Some(10));
    }
}
