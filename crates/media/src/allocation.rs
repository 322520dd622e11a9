//! How the rate of a session is shared between what it sends: sound first, then pictures, by priority and between bounds. What one
//! does not use is lent to the others.

/// How much of the rate a stream gets beside others, where there is not enough for all (W3C `RTCPriorityType`): twice as much as one
/// of the next lower priority (RFC 8835 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// `very-low`: one part.
    VeryLow,
    /// `low`, the W3C's default: two parts.
    #[default]
    Low,
    /// `medium`: four parts.
    Medium,
    /// `high`: eight parts.
    High,
}

impl Priority {
    const ALL: [Self; 4] = [Self::High, Self::Medium, Self::Low, Self::VeryLow];

    fn weight(self) -> u64 {
        match self {
            Self::VeryLow => 1,
            Self::Low => 2,
            Self::Medium => 4,
            Self::High => 8,
        }
    }
}

/// Who is paused comes back when so much more than its least rate is there, in percent: an estimate that moves a little turns nothing
/// on and off.
const MARGIN: u64 = 25;
/// What is used may grow by this part, in percent, ...
const GROWTH: u64 = 25;
/// ... and by this, bits a second, before what was lent has to come back.
const SLACK: u64 = 10_000;

/// A stream that wants its share. Rates are in bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Sound comes before pictures.
    pub(crate) sound: bool,
    pub(crate) priority: Priority,
    /// With less it is paused.
    pub(crate) min: u64,
    /// It has no use for more.
    pub(crate) max: u64,
    /// What it sends now; `None`: it has just begun, and may use all that it gets.
    pub(crate) used: Option<u64>,
    /// Whether there was too little for it; and whether there is, afterwards.
    pub(crate) paused: bool,
    /// What it gets.
    pub(crate) share: u64,
    /// What it gets while nothing is lent.
    own: u64,
    /// Whether that is settled, while the rest is shared.
    fixed: bool,
}

impl Claim {
    /// A claim on something between `min` and `max`.
    pub(crate) fn new(sound: bool, priority: Priority, min: u64, max: u64) -> Self {
        Self {
            sound,
            priority,
            min: min.min(max),
            max,
            used: None,
            paused: false,
            share: 0,
            own: 0,
            fixed: false,
        }
    }

    /// The most that it will use in the next moments.
    fn reach(&self) -> u64 {
        let reach = |used: u64| used.saturating_add(used / 100 * GROWTH).saturating_add(SLACK);
        self.used.map_or(self.max, |used| reach(used).clamp(self.min, self.max))
    }

    /// Whether it leaves a part of its own to others.
    fn lends(&self) -> bool {
        self.reach() < self.own
    }
}

/// Shares `total` between the claims.
///
/// Sound gets what it is good for before pictures get anything; of what it does not use the pictures have the use. Of either kind those of
/// higher priority get their least rate first, and those for whom nothing is left are paused. The others share in proportion to
/// their weights, between their bounds.
///
/// Pictures that use less than they get (a still screen) keep their share; it is lent to those that use theirs until they take it
/// back. So what all *use* stays within `total`, and what all get does too where nobody leaves anything unused.
pub(crate) fn share(total: u64, claims: &mut [Claim]) {
    admit(total, claims, true);
    fill(total, claims, true, |claim| claim.max);
    let sound = claims.iter().filter(|claim| claim.sound);
    let taken = sound.map(|claim| claim.used.map_or(claim.share, |used| used.min(claim.share)));
    let rest = total.saturating_sub(taken.fold(0, u64::saturating_add));
    admit(rest, claims, false);
    fill(rest, claims, false, |claim| claim.max);
    for claim in claims.iter_mut() {
        claim.own = claim.share;
    }
    let pictures = || claims.iter().filter(|claim| !claim.sound && !claim.paused);
    if pictures().any(Claim::lends) && !pictures().all(Claim::lends) {
        fill(rest, claims, false, |claim| {
            if claim.lends() { claim.reach() } else { claim.max }
        });
        for claim in claims.iter_mut() {
            claim.share = claim.share.max(claim.own);
        }
    }
}

/// Who gets anything: the least rates in order of priority, and among equals of their places.
fn admit(total: u64, claims: &mut [Claim], sound: bool) {
    let mut left = total;
    for priority in Priority::ALL {
        let own = |claim: &&mut Claim| claim.sound == sound && claim.priority == priority;
        for claim in claims.iter_mut().filter(own) {
            let margin = if claim.paused { claim.min / 100 * MARGIN } else { 0 };
            claim.share = 0;
            claim.paused = claim.min.saturating_add(margin) > left;
            if !claim.paused {
                left -= claim.min;
            }
        }
    }
}

/// Gives those who are not paused what is in proportion to their weights, and neither less than their least nor more than `most`: who would
/// get too little or too much gets that bound, and the rest is shared again. At most as many rounds as claims, most often two.
fn fill(total: u64, claims: &mut [Claim], sound: bool, most: impl Fn(&Claim) -> u64) {
    let takes_part = |claim: &Claim| claim.sound == sound && !claim.paused;
    for claim in claims.iter_mut() {
        claim.fixed = !takes_part(claim);
    }
    let mut rest = total;
    loop {
        let open = || claims.iter().filter(|claim| !claim.fixed);
        let weights: u64 = open().map(|claim| claim.priority.weight()).sum();
        if weights == 0 {
            return;
        }
        let part = |claim: &Claim| {
            let part = u128::from(rest) * u128::from(claim.priority.weight()) / u128::from(weights);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let sum = |excess: &dyn Fn(&Claim) -> u64| open().map(excess).fold(0, u64::saturating_add);
        let lacks = sum(&|claim| claim.min.saturating_sub(part(claim)));
        let spares = sum(&|claim| part(claim).saturating_sub(most(claim)));
        let mut given = 0;
        for claim in claims.iter_mut().filter(|claim| !claim.fixed) {
            let own = part(claim);
            // Of the two bounds the one that matters more is held to first.
            claim.share = match (lacks, spares) {
                (0, 0) => own,
                _ if lacks > spares && own < claim.min => claim.min,
                _ if lacks <= spares && own > most(claim) => most(claim),
                _ => continue,
            };
            claim.fixed = true;
            given = claim.share.saturating_add(given);
        }
        rest = rest.saturating_sub(given);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picture(priority: Priority, min: u64, max: u64) -> Claim {
        Claim::new(false, priority, min, max)
    }

    fn shares(total: u64, claims: &mut [Claim]) -> Vec<u64> {
        share(total, claims);
        claims.iter().map(|claim| claim.share).collect()
    }

    #[test]
    fn weights_are_those_of_rfc_8835() {
        let mut claims = Priority::ALL.map(|priority| picture(priority, 0, u64::MAX));
        assert_eq!(shares(1_500_000, &mut claims), [800_000, 400_000, 200_000, 100_000]);
    }

    #[test]
    fn what_one_does_not_want_goes_to_the_others() {
        let mut claims = [
            picture(Priority::High, 0, 300_000),
            picture(Priority::Low, 0, u64::MAX),
            picture(Priority::Low, 600_000, u64::MAX),
        ];
        assert_eq!(shares(1_000_000, &mut claims), [300_000, 100_000, 600_000]);
        assert_eq!(shares(3_000_000, &mut claims), [300_000, 1_350_000, 1_350_000]);
    }

    #[test]
    fn sound_comes_first_and_leaves_what_it_does_not_use() {
        let mut claims = [
            picture(Priority::High, 0, u64::MAX),
            Claim::new(true, Priority::VeryLow, 0, 64_000),
        ];
        assert_eq!(shares(50_000, &mut claims), [0, 50_000]);
        assert_eq!(shares(100_000, &mut claims), [36_000, 64_000]);
        claims[1].used = Some(40_000);
        assert_eq!(shares(100_000, &mut claims), [60_000, 64_000]);
    }

    #[test]
    fn a_still_screen_lends_its_share_until_it_needs_it() {
        let mut claims = [0, 1].map(|_| picture(Priority::Low, 0, u64::MAX));
        claims[0].used = Some(40_000);
        claims[1].used = Some(950_000);
        assert_eq!(shares(2_000_000, &mut claims), [1_000_000, 1_940_000]);
        claims[0].used = Some(900_000);
        assert_eq!(shares(2_000_000, &mut claims), [1_000_000, 1_000_000]);
        // Nobody uses anything: nothing is promised twice.
        claims[1].used = Some(0);
        claims[0].used = Some(0);
        assert_eq!(shares(2_000_000, &mut claims), [1_000_000, 1_000_000]);
    }

    #[test]
    fn who_is_paused_comes_back_with_a_margin() {
        let mut claims = [
            picture(Priority::High, 100_000, u64::MAX),
            picture(Priority::Low, 100_000, u64::MAX),
        ];
        let mut paused = |total| {
            share(total, &mut claims);
            claims.map(|claim| claim.paused)
        };
        assert_eq!(paused(250_000), [false, false]);
        assert_eq!(paused(199_000), [false, true]);
        for wavering in [210_000, 199_000, 224_000, 190_000] {
            assert_eq!(paused(wavering), [false, true], "{wavering}");
        }
        assert_eq!(paused(225_000), [false, false]);
        assert_eq!(paused(201_000), [false, false]);
        assert_eq!(paused(99_000), [true, true]);
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let used = prop_oneof![Just(None), (0u64..3_000_000).prop_map(Some)];
        let most = prop_oneof![Just(u64::MAX), 0u64..5_000_000];
        (any::<bool>(), 0usize..4, 0u64..500_000, most, used, any::<bool>()).prop_map(
            |(sound, priority, min, max, used, paused)| Claim {
                used,
                paused,
                ..Claim::new(sound, Priority::ALL[priority], min, max)
            },
        )
    }

    proptest! {
        #[test]
        fn nobody_gets_too_little_or_too_much(
            total in prop_oneof![0u64..20_000_000, Just(u64::MAX)],
            mut claims in prop::collection::vec(claim(), 0..12),
        ) {
            share(total, &mut claims);
            for claim in &claims {
                prop_assert!(claim.share <= claim.max);
                let least = if claim.paused { 0..=0 } else { claim.min..=claim.max };
                prop_assert!(least.contains(&claim.share));
            }
            let sum = |of: &dyn Fn(&Claim) -> u64| claims.iter().map(|claim| u128::from(of(claim))).sum::<u128>();
            // What is used: of each no more than it reaches.
            let used = sum(&|claim| {
                let uses = if claim.sound { claim.used.unwrap_or(u64::MAX) } else { claim.reach() };
                uses.min(claim.share)
            });
            prop_assert!(used <= u128::from(total), "{used} of {total}");
        }

        #[test]
        fn where_all_use_theirs_no_more_is_given_than_there_is_and_none_of_it_is_kept_back(
            total in 0u64..20_000_000,
            mut claims in prop::collection::vec(claim(), 1..12),
        ) {
            for claim in &mut claims {
                claim.used = None;
            }
            share(total, &mut claims);
            let sum: u64 = claims.iter().map(|claim| claim.share).sum();
            prop_assert!(sum <= total);
            let hungry = |claim: &&Claim| !claim.sound && !claim.paused && claim.share < claim.max;
            let rounding = claims.len() as u64 * 8;
            prop_assert!(sum + rounding >= total || claims.iter().find(hungry).is_none());
        }

        #[test]
        fn more_gives_nobody_less_as_long_as_the_same_are_paused(
            total in 0u64..10_000_000,
            more in 0u64..1_000_000,
            mut claims in prop::collection::vec(claim(), 1..12),
        ) {
            for claim in &mut claims {
                claim.used = None;
            }
            let mut before = claims.clone();
            share(total, &mut before);
            share(total + more, &mut claims);
            let paused = |claims: &[Claim]| claims.iter().map(|claim| claim.paused).collect::<Vec<_>>();
            if paused(&before) == paused(&claims) {
                for (before, after) in before.iter().zip(&claims) {
                    // Rounding down costs a bit a second for each.
                    prop_assert!(after.share + 12 * 8 >= before.share, "{before:?} {after:?}");
                }
            }
        }

        #[test]
        fn the_order_of_the_claims_does_not_matter_where_nobody_is_paused(
            total in 6_000_000u64..20_000_000,
            claims in prop::collection::vec(claim(), 1..10),
            turn in 0usize..10,
        ) {
            let mut turned = claims.clone();
            let turn = turn % claims.len();
            turned.rotate_left(turn);
            let mut claims = claims;
            share(total, &mut claims);
            share(total, &mut turned);
            turned.rotate_right(turn);
            // Who was paused and comes last may stay so: it needs a margin, which those before it may have taken.
            if !claims.iter().chain(&turned).any(|claim| claim.paused) {
                prop_assert_eq!(claims, turned);
            }
        }
    }
}
