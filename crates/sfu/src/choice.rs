//! Which layer a consumer is to have: the steps that it may take, which of them fits into what may be spent, and how
//! slow it is to go up again. One consumer with a budget of its own goes by this, and so do the many that share one
//! ([`Allotment`](crate::allotment::Allotment)).

use std::time::{Duration, Instant};

use antiphon_media::Resolution;

use crate::layer::{Layer, Layers, Level, MAX_TEMPORAL, Wish};

/// After a step down for want of bits nothing dearer is tried for so long: rates and estimates swing. mediasoup waits
/// 10 s.
const UP_AFTER: Duration = Duration::from_secs(3);
/// Who went up in vain, and was down again within this, waits twice as long the next time, and at most so long.
const IN_VAIN: Duration = Duration::from_secs(10);
const MAX_UP_AFTER: Duration = Duration::from_secs(24);
/// Where there is half as much again as there was at a step down, nothing is waited for, but by who went up in vain.
const MUCH_MORE: (u64, u64) = (2, 3);
/// A dearer layer must leave a sixth of the budget free, and what is there already may go over it by a tenth.
const UP_MARGIN: (u64, u64) = (6, 5);
const STAY_MARGIN: (u64, u64) = (10, 11);

/// The steps that a consumer may take: the levels that flow, up to the one that it wishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder<'a> {
    all: &'a [Level],
    /// The levels within the wish, or the one above it that is taken for want of those.
    rungs: &'a [Level],
    /// The place of the first of them among all.
    first: usize,
    temporal: u8,
}

/// One step of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) layer: Layer,
    /// Bits a second; 0: nobody has measured it yet.
    pub(crate) cost: u64,
}

/// What may be spent, and what is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purse {
    /// Bits a second; `None`: it does not matter.
    pub(crate) limit: Option<u64>,
    pub(crate) spent: u64,
}

/// How one consumer has chosen, which makes it slow to go up again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    /// When it went up last, and when down for want of bits; how long it waits after that.
    went_up: Option<Instant>,
    went_down: Option<Instant>,
    up_after: Duration,
    /// What there was to spend when it went down, in bits a second.
    had_then: Option<u64>,
}

impl<'a> Ladder<'a> {
    pub(crate) fn new(layers: &'a Layers, level: u8, temporal: u8) -> Self {
        let all = layers.levels();
        let within = all.get(..=usize::from(level)).unwrap_or(all);
        // A level that stopped is left, if need be for one above the wish: that is better than nothing.
        let (first, rungs) = if within.iter().any(|level| level.flows) {
            (0, within)
        } else {
            let lowest = all.iter().position(|level| level.flows).unwrap_or(all.len());
            (lowest, all.get(lowest..=lowest).unwrap_or_default())
        };
        Self {
            all,
            rungs,
            first,
            temporal,
        }
    }

    /// The levels, from the smallest picture to the largest, each with its place among all of the track.
    pub(crate) fn rungs(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Level)> + use<'a> {
        let first = self.first;
        let rungs = self.rungs.iter().enumerate();
        rungs.filter_map(move |(place, level)| level.flows.then_some((first + place, level)))
    }

    /// How dear a layer is among those of the track.
    pub(crate) fn rank(&self, layer: Layer) -> Option<(usize, u8)> {
        let is = |level: &Level| (level.encoding, level.spatial) == (layer.encoding, layer.spatial);
        Some((self.all.iter().position(is)?, layer.temporal))
    }

    /// Whether it has this layer: it flows, and is within the wish.
    fn has(&self, layer: Layer) -> bool {
        let is = |level: &Level| (level.encoding, level.spatial) == (layer.encoding, layer.spatial);
        layer.temporal <= self.temporal && self.rungs.iter().any(|level| level.flows && is(level))
    }

    fn step(&self, level: &Level, count: u8) -> Step {
        let top = level.temporal.max(1).min(MAX_TEMPORAL as u8) - 1;
        let layer = Layer {
            encoding: level.encoding,
            spatial: level.spatial,
            // All that there are: others may be added.
            temporal: if count >= top { self.temporal } else { count },
        };
        Step {
            layer,
            cost: level.bitrate(count),
        }
    }

    /// The first step: the smallest picture with the fewest frames.
    pub(crate) fn least(&self) -> Option<Step> {
        let (_, lowest) = self.rungs().next()?;
        Some(self.step(lowest, 0))
    }

    /// The last step, which is all that is wished, and how many pixels its picture has; 0 where nobody has said so.
    pub(crate) fn most(&self) -> Option<(Step, u32)> {
        let (_, highest) = self.rungs().next_back()?;
        let pixels = |size: Resolution| size.width.saturating_mul(size.height);
        Some((self.step(highest, self.temporal), highest.resolution.map_or(0, pixels)))
    }

    /// The steps of one level, the best first.
    fn steps(&self, level: &'a Level) -> impl Iterator<Item = Step> + use<'a> {
        let ladder = *self;
        let top = level.temporal.max(1).min(MAX_TEMPORAL as u8) - 1;
        let most = top.min(self.temporal);
        let is_lowest = self
            .rungs()
            .next()
            .is_some_and(|(_, lowest)| std::ptr::eq(lowest, level));
        // A larger picture with half of its frames is better than a smaller one with all, but not one with fewer.
        let least = if is_lowest { 0 } else { most.saturating_sub(1) };
        (least..=most).rev().map(move |count| ladder.step(level, count))
    }

    /// The best step of a level that may be taken instead of another below it.
    pub(crate) fn rise(
        &self,
        level: &'a Level,
        from: Step,
        had: Option<Layer>,
        may_go_up: bool,
        purse: &Purse,
    ) -> Option<Step> {
        let below = self.rank(from.layer);
        let mut steps = self.steps(level).filter(|step| self.rank(step.layer) > below);
        steps.find(|step| {
            let is_up = self.is_up(step.layer, had);
            let may = may_go_up || !is_up || purse.limit.is_none();
            may && purse.takes(from.cost, *step, is_up)
        })
    }

    /// Whether a layer is dearer than what was had.
    pub(crate) fn is_up(&self, layer: Layer, had: Option<Layer>) -> bool {
        self.rank(layer) > had.and_then(|had| self.rank(had))
    }
}

impl Purse {
    /// Whether a step fits instead of what is spent already.
    pub(crate) fn takes(&self, instead_of: u64, step: Step, is_up: bool) -> bool {
        let Some(limit) = self.limit else { return true };
        let (over, under) = if is_up { UP_MARGIN } else { STAY_MARGIN };
        let spent = self.spent.saturating_sub(instead_of).saturating_add(step.cost);
        // What nobody has measured yet is dear.
        step.cost > 0 && spent.saturating_mul(over) <= limit.saturating_mul(under)
    }

    /// A step is taken instead of what was spent already.
    pub(crate) fn spend(&mut self, instead_of: u64, step: Step) {
        self.spent = self.spent.saturating_sub(instead_of).saturating_add(step.cost);
    }
}

impl Choice {
    /// The layer to have of one track with a budget of its own, where `had` was had. `None`: there is nothing yet.
    pub(crate) fn choose(&mut self, now: Instant, wish: Wish, layers: &Layers, had: Option<Layer>) -> Option<Layer> {
        let ladder = Ladder::new(layers, wish.level, wish.temporal);
        let Some(mut chosen) = ladder.least() else {
            let lowest = layers.levels().first().map(|level| Layer {
                encoding: level.encoding,
                spatial: level.spatial,
                temporal: wish.temporal,
            });
            return had.or(lowest);
        };
        let mut purse = Purse {
            limit: wish.bitrate,
            spent: chosen.cost,
        };
        for (_, level) in ladder.rungs() {
            if let Some(step) = ladder.rise(level, chosen, had, self.may_go_up(now, &purse), &purse) {
                purse.spend(chosen.cost, step);
                chosen = step;
            }
        }
        self.note(now, &ladder, had, Some(chosen.layer), &purse);
        Some(chosen.layer)
    }

    /// Whether something dearer may be tried.
    pub(crate) fn may_go_up(&self, now: Instant, purse: &Purse) -> bool {
        let (old, new) = MUCH_MORE;
        let is_much_more = |(limit, then): (u64, u64)| {
            limit.saturating_mul(old) >= then.saturating_mul(new) && self.up_after <= UP_AFTER
        };
        self.may_go_up_at().is_none_or(|at| at <= now) || purse.limit.zip(self.had_then).is_some_and(is_much_more)
    }

    /// When something dearer may be tried, if it had to go down before.
    pub(crate) fn may_go_up_at(&self) -> Option<Instant> {
        Some(self.went_down? + self.up_after)
    }

    /// What was chosen instead of what was had; `None`: nothing at all.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        ladder: &Ladder<'_>,
        had: Option<Layer>,
        chosen: Option<Layer>,
        purse: &Purse,
    ) {
        let Some(had) = had else {
            self.went_up = chosen.and(Some(now)).or(self.went_up);
            return;
        };
        let (before, after) = (ladder.rank(had), chosen.and_then(|chosen| ladder.rank(chosen)));
        // What stopped, or is not wished any more, was not too dear.
        if after < before && ladder.has(had) {
            let since_up = self.went_up.map(|at| now.saturating_duration_since(at));
            self.up_after = match since_up {
                Some(since) if since < IN_VAIN => (self.up_after * 2).clamp(UP_AFTER, MAX_UP_AFTER),
                _ => UP_AFTER,
            };
            self.went_down = Some(now);
            self.had_then = purse.limit;
        } else if after > before {
            self.went_up = Some(now);
        }
    }
}
