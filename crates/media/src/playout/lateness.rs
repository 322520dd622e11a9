//! How late things come, remembered with forgetting: by it a delay is chosen.

/// The resolution, microseconds.
pub(crate) const BIN: i64 = 10_000;
/// By so many bins the fastest are slower where the way is a new one, and not by chance.
const NEW_WAY: usize = 3;
/// Before any came, so many are thought to have been on time.
const FIRST: u16 = 60;
/// What comes later than so many bins counts as the last.
pub(crate) const BINS: usize = 200;

/// The share of what came in each bin of lateness. Old shares fade.
#[derive(Debug)]
pub(crate) struct Lateness {
    shares: [f32; BINS],
    /// How many came, up to those that are remembered.
    count: u16,
    memory: u16,
}

impl Lateness {
    /// Remembers about so many.
    pub(crate) fn of(memory: u16) -> Self {
        let mut shares = [0.0; BINS];
        shares[0] = 1.0;
        Self {
            shares,
            count: FIRST.min(memory),
            memory,
        }
    }

    /// Lets a share be thought to have come so late, microseconds, at the beginning.
    pub(crate) fn begin_with(mut self, share: f32, late: i64) -> Self {
        self.shares[0] -= share;
        self.shares[bin(late)] += share;
        self
    }

    /// One more came so late, microseconds.
    pub(crate) fn add(&mut self, late: i64) {
        // At the beginning few are all that is known.
        self.count = (self.count + 1).min(self.memory);
        let weight = 1.0 / f32::from(self.count.max(1));
        let keep = 1.0 - weight;
        for share in &mut self.shares {
            *share *= keep;
        }
        self.shares[bin(late)] += weight;
    }

    /// The fastest have become slower by so much, microseconds: a new way through the network, which makes nothing late. Little of that is
    /// chance.
    pub(crate) fn rise(&mut self, by: i64) {
        let bins = usize::try_from(by / BIN).unwrap_or(0).min(BINS - 1);
        if bins < NEW_WAY {
            return;
        }
        let on_time: f32 = self.shares[..=bins].iter().sum();
        self.shares.copy_within(bins.., 0);
        self.shares[BINS - bins..].fill(0.0);
        self.shares[0] = on_time;
    }

    /// The shares, by bin.
    pub(crate) fn shares(&self) -> &[f32; BINS] {
        &self.shares
    }
}

fn bin(late: i64) -> usize {
    usize::try_from(late / BIN).unwrap_or(0).min(BINS - 1)
}

/// The delay, microseconds and at least one bin, of which the price is least: its own milliseconds and what `price` says of it. `price`
/// is asked for each number of bins from the most to one, and returns milliseconds.
pub(crate) fn cheapest(mut price: impl FnMut(usize) -> f32) -> i64 {
    let per_bin = BIN as f32 / 1000.0;
    let mut best = (f32::INFINITY, 1);
    for bins in (1..=BINS).rev() {
        let total = bins as f32 * per_bin + price(bins);
        if total <= best.0 {
            best = (total, bins);
        }
    }
    best.1 as i64 * BIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_fade() {
        let mut lateness = Lateness::of(100).begin_with(0.1, 75_000);
        assert!((lateness.shares()[7] - 0.1).abs() < 1e-6);
        for n in 0..1000 {
            lateness.add(if n % 10 == 0 { 35_000 } else { 0 });
        }
        lateness.add(i64::MAX);
        lateness.add(-5);
        let sum: f32 = lateness.shares().iter().sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        assert!((lateness.shares()[3] - 0.1).abs() < 0.03 && lateness.shares()[7] < 1e-4);
        assert!(lateness.shares()[BINS - 1] > 0.009);
    }

    #[test]
    fn the_cheapest_delay_weighs_what_it_covers() {
        // 5 % come 45 ms late; a percent is worth 20 ms, then 5.
        let price = |worth: f32| move |bins: usize| if bins >= 5 { 0.0 } else { 5.0 * worth };
        assert_eq!(cheapest(price(20.0)), 50_000);
        assert_eq!(cheapest(price(5.0)), 10_000);
    }
}
