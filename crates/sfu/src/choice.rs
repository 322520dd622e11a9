//! Which layer a consumer is to have.

use std::time::{Duration, Instant};

use crate::layer::{Layer, Layers, Level, MAX_TEMPORAL, Wish};

/// After a step down for want of bits nothing dearer is tried for so long: rates and estimates swing. mediasoup waits
/// 10 s.
const UP_AFTER: Duration = Duration::from_secs(3);
/// Who went up in vain, and was down again within this, waits twice as long the next time, and at most so long.
const IN_VAIN: Duration = Duration::from_secs(10);
const MAX_UP_AFTER: Duration = Duration::from_secs(24);
/// A dearer layer must leave a sixth of the budget free, and what is there already may go over it by a tenth.
const UP_MARGIN: (u64, u64) = (6, 5);
const STAY_MARGIN: (u64, u64) = (10, 11);

/// The choice of one consumer, which is slow to go up again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// When it went up last, and when down for want of bits; how long it waits after that.
    went_up: Option<Instant>,
    went_down: Option<Instant>,
    up_after: Duration,
}

/// How dear a layer is among those of a track.
fn rank(layers: &Layers, layer: Layer) -> Option<(usize, u8)> {
    Some((layers.place(layer.encoding, layer.spatial)?, layer.temporal))
}

fn layer(level: &Level, temporal: u8) -> Layer {
    Layer {
        encoding: level.encoding,
        spatial: level.spatial,
        temporal,
    }
}

impl Choice {
    /// The layer to have, where `before` was had. `None`: there is nothing yet.
    pub(crate) fn choose(&mut self, now: Instant, wish: Wish, layers: &Layers, before: Option<Layer>) -> Option<Layer> {
        let all = layers.levels();
        let within = all.get(..=usize::from(wish.level)).unwrap_or(all);
        let flowing = |levels: &[Level]| levels.iter().any(|level| level.flows);
        // A level that stopped is left, if need be for one above the wish: that is better than nothing.
        let above;
        let levels = if flowing(within) {
            within
        } else if let Some(lowest) = all.iter().find(|level| level.flows) {
            above = [*lowest];
            &above[..]
        } else {
            return before.or_else(|| within.first().map(|level| layer(level, wish.temporal)));
        };
        let Some(budget) = wish.bitrate else {
            let highest = levels.iter().rev().find(|level| level.flows)?;
            return Some(layer(highest, wish.temporal));
        };
        let chosen = self.within(now, wish, layers, levels, before, budget)?;
        let was_too_dear = |before: Layer| {
            let level = layers
                .place(before.encoding, before.spatial)
                .and_then(|place| all.get(place));
            let is_down = rank(layers, chosen) < rank(layers, before);
            is_down
                && level.is_some_and(|level| level.bitrate(before.temporal) * STAY_MARGIN.0 > budget * STAY_MARGIN.1)
        };
        if before.is_some_and(was_too_dear) {
            let since_up = self.went_up.map(|at| now.saturating_duration_since(at));
            self.up_after = match since_up {
                Some(since) if since < IN_VAIN => (self.up_after * 2).clamp(UP_AFTER, MAX_UP_AFTER),
                _ => UP_AFTER,
            };
            self.went_down = Some(now);
        } else if before.is_some_and(|before| rank(layers, chosen) > rank(layers, before)) {
            self.went_up = Some(now);
        }
        Some(chosen)
    }

    /// The best layer that the budget carries; at the least the cheapest one.
    fn within(
        &self,
        now: Instant,
        wish: Wish,
        layers: &Layers,
        levels: &[Level],
        before: Option<Layer>,
        budget: u64,
    ) -> Option<Layer> {
        let had = before.and_then(|before| rank(layers, before));
        let waits = self
            .went_down
            .is_some_and(|at| now.saturating_duration_since(at) < self.up_after);
        let fits = |level: &Level, temporal: u8, count: u8| {
            let cost = level.bitrate(count);
            let candidate = rank(layers, layer(level, temporal));
            let (over, under) = match had {
                Some(had) if candidate > Some(had) && waits => return false,
                Some(had) if candidate > Some(had) => UP_MARGIN,
                _ => STAY_MARGIN,
            };
            // What nobody has measured yet is dear.
            cost > 0 && cost * over <= budget * under
        };
        let lowest = levels.iter().find(|level| level.flows)?;
        for level in levels.iter().rev().filter(|level| level.flows) {
            let top = level.temporal.max(1).min(MAX_TEMPORAL as u8) - 1;
            let most = top.min(wish.temporal);
            // A larger picture with half of its frames is better than a smaller one with all, but not one with fewer.
            let least = if level == lowest { 0 } else { most.saturating_sub(1) };
            for count in (least..=most).rev() {
                // All that there are: others may be added.
                let temporal = if count == top { wish.temporal } else { count };
                if fits(level, temporal, count) {
                    return Some(layer(level, temporal));
                }
            }
        }
        let all = lowest.temporal == 1 || wish.temporal == 0;
        Some(layer(lowest, if all { wish.temporal } else { 0 }))
    }
}
