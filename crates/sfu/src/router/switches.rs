//! Why consumers change from one layer to another.

use std::ops::AddAssign;

use crate::layer::{Layer, Wish};

/// How often consumers changed from one layer to another, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Their connections carry more.
    pub up: u64,
    /// Their connections carry less.
    pub down: u64,
    /// Their connections carry nothing of them any more.
    pub starved: u64,
    /// They are to have another layer at most, or more or less urgently.
    pub claimed: u64,
    /// What is published is another: a layer has begun, or has stopped.
    pub source: u64,
}

impl AddAssign for Switches {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
        self.starved += other.starved;
        self.claimed += other.claimed;
        self.source += other.source;
    }
}

/// Why the layer of a consumer changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Followed {
    /// What it was to have when its layer changed last.
    wish: Wish,
    /// Whether it has another wish because its owner asked for that.
    is_claimed: bool,
    /// How often it changed until now.
    pub(super) switches: Switches,
}

impl Followed {
    /// The owner has claimed something else; it is to have this.
    pub(super) fn claimed(&mut self, wish: Wish) {
        self.is_claimed = wish != self.wish;
    }

    /// Another layer goes on, as it is to have `wish`.
    pub(super) fn switched(&mut self, before: Option<Layer>, wish: Wish) {
        let size = |wish: Wish| (wish.level, wish.temporal, wish.bitrate.unwrap_or(u64::MAX));
        let had = std::mem::replace(&mut self.wish, wish);
        let is_claimed = std::mem::take(&mut self.is_claimed);
        // The first layer is no other one.
        if before.is_none() {
            return;
        }
        let count = match size(wish).cmp(&size(had)) {
            _ if is_claimed => &mut self.switches.claimed,
            std::cmp::Ordering::Equal => &mut self.switches.source,
            std::cmp::Ordering::Greater => &mut self.switches.up,
            std::cmp::Ordering::Less => &mut self.switches.down,
        };
        *count += 1;
    }

    /// Nothing goes on any more, for want of room.
    pub(super) fn starved(&mut self) {
        self.switches.starved += 1;
    }
}
