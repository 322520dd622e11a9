//! How much redundancy is worth its bytes: chosen by the losses that the peer reports and by how long it takes to ask again.
//!
//! Asking again costs only what was lost, but a round trip each time; redundancy costs always, and no time. So sound, of which
//! nobody asks, is repeated as soon as packets are lost at all; of video that can be asked for, only what comes too late otherwise
//! is protected, and first what other frames need.

use std::time::Duration;

use antiphon_rtp::fec::Plan;

use crate::config::{FecAmount, RedDistance};
use crate::congestion::PacketResult;

/// Sound is repeated once above this share of lost packets ...
const REPEAT_ONCE: f64 = 0.01;
/// ... and twice above this.
const REPEAT_TWICE: f64 = 0.05;
/// Above these shares of lost packets a codec that repairs by itself is told to be ready for so many percent.
const READY: [(f64, u8); 3] = [(REPEAT_ONCE, 5), (REPEAT_TWICE, 10), (0.1, 20)];
/// A round trip up to this leaves time to ask again, whatever is lost.
const SHORT: Duration = Duration::from_millis(100);
/// A round trip above this leaves no time.
const LONG: Duration = Duration::from_millis(150);
/// What begins to be protected at a limit goes on down to this part of it: the choice does not waver.
const STAY: f64 = 0.75;
/// Above this share of lost packets frames are protected too that no other frame needs.
const PROTECT_ALL: f64 = 0.1;
/// Most repair packets for a hundred of media.
pub(crate) const MAX_PERCENT: u8 = 50;
/// Most repairs of a group: so long a burst can be recovered whole.
const MAX_REPAIRS: u8 = 8;
/// A report that tells of more losses counts so much at once, and one that tells of fewer so much: what rises is believed soon.
const RISE: f64 = 0.5;
const FALL: f64 = 0.15;
/// Losses that the length of bursts is measured by.
const MEASURED: f64 = 64.0;
/// Fewer losses than this say nothing of bursts.
const FEWEST: f64 = 8.0;

/// The share of packets that the peer reports as lost, smoothed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    share: f64,
    told: bool,
}

impl Loss {
    /// The peer has reported: a share from 0 to 1.
    pub(crate) fn report(&mut self, share: f64) {
        let weight = if share > self.share { RISE } else { FALL };
        self.share += weight * (share - self.share);
        self.told = true;
    }

    pub(crate) fn share(self) -> f64 {
        self.share
    }

    /// The share; `None` before the peer has reported.
    pub(crate) fn told(self) -> Option<f64> {
        self.told.then_some(self.share)
    }
}

/// How many packets are lost in a row, by what feedback tells of each packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bursts {
    lost: f64,
    runs: f64,
    in_run: bool,
}

impl Bursts {
    /// Takes what feedback tells, in the order of sending.
    pub(crate) fn take(&mut self, results: &[PacketResult]) {
        for result in results {
            let lost = result.arrival.is_none();
            if lost {
                self.lost += 1.0;
                self.runs += f64::from(u8::from(!self.in_run));
            }
            self.in_run = lost;
        }
        if self.lost > MEASURED {
            self.runs *= MEASURED / self.lost;
            self.lost = MEASURED;
        }
    }

    /// The mean length of a burst, in packets; 1 while nothing is known.
    pub(crate) fn mean(self) -> f64 {
        if self.lost < FEWEST {
            return 1.0;
        }
        (self.lost / self.runs.max(1.0)).max(1.0)
    }
}

/// What is known of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) rtt: Duration,
    /// The share of lost packets, from 0 to 1.
    pub(crate) loss: f64,
    /// How many packets are lost in a row, on average.
    pub(crate) burst: f64,
    /// Whether what is lost can be asked for.
    pub(crate) nacks: bool,
}

impl Path {
    /// One of which nothing is known yet.
    pub(crate) fn new(nacks: bool) -> Self {
        Self {
            rtt: Duration::ZERO,
            loss: 0.0,
            burst: 1.0,
            nacks,
        }
    }
}

/// How video is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protection {
    pub(crate) plan: Plan,
    /// Whether frames are protected that no other frame needs.
    pub(crate) all: bool,
}

/// How many payloads before it a packet of sound repeats.
pub(crate) fn distance(setting: RedDistance, path: &Path) -> u8 {
    match setting {
        RedDistance::Fixed(distance) => distance.min(antiphon_rtp::payload::red::MAX_DISTANCE),
        RedDistance::ByLoss if path.loss > REPEAT_TWICE => 2,
        RedDistance::ByLoss => u8::from(path.loss > REPEAT_ONCE),
    }
}

/// For which share of lost packets a codec of sound shall be ready by itself, in percent, that is ready for `now`; 0: for none.
pub(crate) fn in_band(loss: f64, now: u8) -> u8 {
    let reached = READY.into_iter().rev().find(|(limit, percent)| {
        let stay = if now >= *percent { STAY } else { 1.0 };
        loss > limit * stay
    });
    reached.map_or(0, |(_, percent)| percent)
}

/// How video is to be protected that is protected by `now`; `None`: not at all.
pub(crate) fn protection(setting: FecAmount, path: &Path, now: Option<Protection>) -> Option<Protection> {
    match setting {
        FecAmount::Percent(0) => None,
        FecAmount::Percent(percent) => Some(Protection {
            plan: plan(percent, path.burst),
            all: true,
        }),
        FecAmount::ByLoss => {
            let stay = if now.is_some() { STAY } else { 1.0 };
            let percent = percent(path, stay)?;
            Some(Protection {
                plan: plan(percent, path.burst),
                all: !path.nacks || path.loss > PROTECT_ALL,
            })
        }
    }
}

/// Repair packets for a hundred of media. Limits are multiplied by `stay`.
fn percent(path: &Path, stay: f64) -> Option<u8> {
    let steps: &[(f64, u8)] = match path.nacks {
        true if path.rtt <= SHORT => return None,
        // One round of asking leaves a fifth of the losses at 20 %, and there is time for no more than one or two.
        true if path.rtt < LONG.mul_f64(stay) => &[(0.1, 10), (0.2, 20)],
        true => &[(0.02, 10), (0.05, 20), (0.1, 25)],
        false => &[(0.01, 10), (0.03, 20), (0.08, 30), (0.15, MAX_PERCENT)],
    };
    let reached = steps.iter().rev().find(|(limit, _)| path.loss > limit * stay);
    reached.map(|(_, percent)| *percent)
}

/// As many repairs to a group as a burst is long: the repairs come when the group has ended, so that it is no longer than it must be.
fn plan(percent: u8, burst: f64) -> Plan {
    let percent = percent.clamp(1, MAX_PERCENT);
    let repairs = (burst.round() as u8).clamp(1, MAX_REPAIRS);
    let group = (u16::from(repairs) * 100).div_ceil(u16::from(percent));
    let most = u16::from(antiphon_rtp::fec::MAX_GROUP);
    if group <= most {
        return Plan::new(group as u8, repairs);
    }
    // The group is as long as a mask; of few repairs there is one at least.
    Plan::new(most as u8, (most * u16::from(percent) / 100).max(1) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rtt: u64, loss: f64, nacks: bool) -> Path {
        Path {
            rtt: Duration::from_millis(rtt),
            loss,
            burst: 1.0,
            nacks,
        }
    }

    fn by_loss(path: &Path) -> Option<(u8, u8, bool)> {
        protection(FecAmount::ByLoss, path, None).map(|own| (own.plan.group(), own.plan.repairs(), own.all))
    }

    #[test]
    fn sound_is_repeated_by_what_is_lost() {
        let by_loss = |loss| distance(RedDistance::ByLoss, &path(50, loss, false));
        let chosen = [0.0, 0.01, 0.011, 0.05, 0.051, 0.9].map(by_loss);
        assert_eq!(chosen, [0, 0, 1, 1, 2, 2]);
        assert_eq!(distance(RedDistance::Fixed(1), &path(50, 0.9, false)), 1);
        assert_eq!(distance(RedDistance::Fixed(200), &path(50, 0.0, false)), 3);
    }

    #[test]
    fn a_codec_is_told_for_how_much_to_be_ready() {
        let told = [0.0, 0.01, 0.011, 0.051, 0.3].map(|loss| in_band(loss, 0));
        assert_eq!(told, [0, 0, 5, 10, 20]);
        let told = [0.1, 0.07, 0.04, 0.03, 0.008, 0.007].map(|loss| in_band(loss, 10));
        assert_eq!(told, [10, 10, 10, 5, 5, 0], "it does not waver");
    }

    #[test]
    fn what_can_be_asked_for_in_time_is_not_protected() {
        assert_eq!(by_loss(&path(100, 0.3, true)), None);
        assert_eq!(by_loss(&path(140, 0.05, true)), None);
        assert_eq!(by_loss(&path(140, 0.12, true)), Some((10, 1, true)));
        assert_eq!(by_loss(&path(200, 0.02, true)), None);
        assert_eq!(by_loss(&path(200, 0.03, true)), Some((10, 1, false)));
        assert_eq!(by_loss(&path(200, 0.06, true)), Some((5, 1, false)));
        assert_eq!(by_loss(&path(200, 0.11, true)), Some((4, 1, true)));
        assert_eq!(by_loss(&path(5, 0.02, false)), Some((10, 1, true)));
        assert_eq!(by_loss(&path(5, 0.2, false)), Some((2, 1, true)));
    }

    #[test]
    fn what_is_protected_stays_so_a_little_below_the_limit() {
        let on = protection(FecAmount::ByLoss, &path(200, 0.03, true), None);
        assert!(on.is_some());
        for (rtt, loss, stays) in [
            (200, 0.018, true),
            (120, 0.018, true),
            (110, 0.018, false),
            (200, 0.014, false),
        ] {
            let path = path(rtt, loss, true);
            assert_eq!(
                protection(FecAmount::ByLoss, &path, on).is_some(),
                stays,
                "{rtt} {loss}"
            );
            assert_eq!(protection(FecAmount::ByLoss, &path, None), None);
        }
    }

    #[test]
    fn longer_bursts_get_longer_groups_of_the_same_share() {
        let plan = |percent, burst| {
            let plan = plan(percent, burst);
            (plan.group(), plan.repairs())
        };
        assert_eq!(plan(20, 1.2), (5, 1));
        assert_eq!(plan(20, 3.0), (15, 3));
        assert_eq!(plan(10, 3.0), (30, 3));
        assert_eq!(plan(10, 30.0), (48, 4));
        assert_eq!(plan(1, 1.0), (48, 1));
        for percent in 0..=100 {
            for burst in [1.0, 2.4, 9.0, 1e9] {
                let (group, repairs) = plan(percent, burst);
                assert!(
                    u16::from(repairs) * 2 <= u16::from(group),
                    "{percent} {burst}: {group} {repairs}"
                );
            }
        }
    }

    #[test]
    fn losses_are_believed_soon_and_forgotten_slowly() {
        let mut loss = Loss::default();
        loss.report(0.1);
        assert!(loss.share() > 0.04);
        loss.report(0.1);
        assert!(loss.share() > 0.07);
        let mut reports = 0;
        while loss.share() > REPEAT_ONCE {
            loss.report(0.0);
            reports += 1;
        }
        assert!((8..20).contains(&reports), "{reports}");
    }
}
