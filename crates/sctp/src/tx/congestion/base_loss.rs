//! How much the path loses whatever is sent.

/// No more than this is taken for the path's own: beyond it a share of the sender's doing is likely, and gains grow too
/// large.
const MOST: f64 = 0.35;
/// So many packets, and so many rounds of normal sending, tell enough.
const LOW_PACKETS: usize = 64;
const NORMAL_PACKETS: usize = 128;
const NORMAL_ROUNDS: u32 = 8;

/// What a round trip was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Startup, and the delivery rate still grows with the sending rate: the path has room.
    Growing,
    /// Sent at about half of what the path delivers: what is lost now is not lost by us.
    Low,
    Normal,
}

/// The part of all packets that the path loses whatever we send: a bad radio link, for instance. Congestion is what
/// comes on top.
///
/// It rises only by what is lost while we send much less than the path has delivered, or while Startup still finds more
/// bandwidth, and falls as soon as any round shows less. So losses that we or others cause by filling a queue are not
/// learned: they end when we send less.
#[derive(Clone, Debug, Default)]
pub(super) struct BaseLoss {
    rate: f64,
    growing: Tally,
    low: Tally,
    normal: Tally,
    normal_rounds: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    lost: usize,
    sent: usize,
}

impl Tally {
    fn add(&mut self, lost: usize, sent: usize) {
        self.lost += lost;
        self.sent += sent;
    }

    /// The part lost, and two standard deviations: an estimate from few packets shall not make chance look like
    /// congestion.
    fn most(self) -> f64 {
        let sent = self.sent.max(1) as f64;
        let part = self.lost as f64 / sent;
        (part + 2.0 * (part * (1.0 - part) / sent).sqrt()).min(MOST)
    }
}

impl BaseLoss {
    /// From zero to 0.35.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// A round trip is over in which `sent` packets were found to have arrived or not, and `lost` of them had not.
    pub(super) fn end_of_round(&mut self, round: Round, lost: usize, sent: usize) {
        match round {
            Round::Growing => {
                self.growing.add(lost, sent);
                self.rate = self.growing.most();
            }
            Round::Low => {
                self.low.add(lost, sent);
                if self.low.sent >= LOW_PACKETS {
                    self.rate = std::mem::take(&mut self.low).most();
                    (self.normal, self.normal_rounds) = (Tally::default(), 0);
                }
            }
            Round::Normal => {
                self.normal.add(lost, sent);
                self.normal_rounds += 1;
                if self.normal.sent >= NORMAL_PACKETS && self.normal_rounds >= NORMAL_ROUNDS {
                    self.rate = self.rate.min(self.normal.most());
                    (self.normal, self.normal_rounds) = (Tally::default(), 0);
                }
            }
        }
    }

    /// What to send so that one part arrives.
    pub(super) fn surplus(&self) -> f64 {
        1.0 / (1.0 - self.rate)
    }

    /// How much larger a flight is that fills the path: what is lost counts to it for a round trip more, and one or
    /// less for the reordering window, before it is known to be lost.
    pub(super) fn carried(&self) -> f64 {
        (1.0 + 2.0 * self.rate) * self.surplus()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_where_sending_less_does_not_help_and_forgotten_where_it_ends() {
        let mut base = BaseLoss::default();
        for _ in 0..20 {
            base.end_of_round(Round::Normal, 20, 100);
        }
        assert_eq!(base.rate(), 0.0, "may be our own doing");
        base.end_of_round(Round::Low, 20, 100);
        assert!((0.2..0.3).contains(&base.rate()), "{}", base.rate());
        for _ in 0..200 {
            base.end_of_round(Round::Normal, 20, 100);
        }
        assert!((0.2..0.3).contains(&base.rate()), "{}", base.rate());
        for _ in 0..NORMAL_ROUNDS {
            base.end_of_round(Round::Normal, 0, 100);
        }
        assert_eq!(base.rate(), 0.0);
    }

    #[test]
    fn startup_learns_from_its_first_flights() {
        let mut base = BaseLoss::default();
        base.end_of_round(Round::Growing, 2, 10);
        base.end_of_round(Round::Growing, 4, 20);
        assert!((0.2..=MOST).contains(&base.rate()));
        let mut clean = BaseLoss::default();
        clean.end_of_round(Round::Growing, 0, 10);
        assert_eq!((clean.rate(), clean.surplus(), clean.carried()), (0.0, 1.0, 1.0));
    }
}
