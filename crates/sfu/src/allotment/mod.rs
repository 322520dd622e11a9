//! How the estimate of one receiver is shared by all that it gets: sound first, then a picture for everybody, then
//! larger ones by priority.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Instant;

use crate::choice::{Choice, Ladder, Purse, Step};
use crate::layer::{Layer, Layers, MAX_LEVELS, Wish};

/// Consumers of video that one receiver may have; more are not added.
pub const MAX_CLAIMS: usize = 1024;

/// What one consumer may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The highest level: its place among [`Layers::levels`], from 0 for the smallest picture.
    pub level: u8,
    /// The highest temporal layer, from 0.
    pub temporal: u8,
    /// Who has more comes first, where there is not enough for all. 1 by default, as in mediasoup.
    pub priority: u8,
    /// It is on stage: it gets this level before anybody else gets more than the lowest.
    pub floor: Option<u8>,
    /// By how much its lowest layer may take more than there is before it is paused, in bits a second. With 0, the
    /// default, it is paused when it does not fit; with [`u64::MAX`] it is never paused.
    pub overshoot: u64,
}

impl Default for Claim {
    fn default() -> Self {
        Self {
            level: u8::MAX,
            temporal: u8::MAX,
            priority: 1,
            floor: None,
            overshoot: 0,
        }
    }
}

/// What there is to share, in bits a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// What the path to the receiver is believed to carry; `None`: it is not known, or does not matter.
    pub estimate: Option<u64>,
    /// What sound takes of it, which comes first.
    pub sound: u64,
}

/// What a consumer is to get from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The consumer, by its host's number.
    pub consumer: u32,
    /// What its [`Consumer`](crate::Consumer) is to wish; it has no budget of its own. `None`: it is paused, for want
    /// of bits.
    pub wish: Option<Wish>,
}

/// The sums of the last allotment, in bits a second, without sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What all together would take if there were enough: what the path may be probed for.
    pub desired: u64,
    /// What they are given.
    pub given: u64,
    /// How many are paused.
    pub paused: u32,
}

/// One consumer.
#[derive(Clone, Copy, Debug)]
struct Share {
    consumer: u32,
    claim: Claim,
    choice: Choice,
    /// What it has since the last allotment.
    layer: Option<Layer>,
    /// Nobody had measured what that costs when it was given.
    is_guess: bool,
    /// What it was told last; the outer `None`: nothing yet.
    told: Option<Option<Wish>>,
    /// Whether its host has yet to hear of it.
    waits: bool,
    /// What it gets by the allotment that is being made.
    given: Option<Step>,
    /// How large the picture is that it has, and the one that it wishes at most, in places and in pixels.
    size: (usize, u32),
}

/// Shares the estimate of one receiver.
///
/// [`Self::allot`] is called when the estimate has changed, when the list of layers of a producer has another
/// [version](Layers::version), when claims have changed, and at [`Self::poll_timeout`]. It takes a pass over the
/// consumers for each level, and no memory.
#[derive(Clone, Debug, Default)]
pub struct Allotment {
    /// In the order of importance.
    shares: Vec<Share>,
    /// The place of the share that is looked at next for whether its host has to hear of it.
    unheard: usize,
    sums: Sums,
    /// When somebody that had to go down may go up again.
    next: Option<Instant>,
}

impl Allotment {
    /// Nobody gets anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A consumer begins, or claims something else. Whether there is room for it.
    #[must_use]
    pub fn set_claim(&mut self, consumer: u32, claim: Claim) -> bool {
        if let Some(share) = self.share(consumer) {
            share.claim = claim;
            return true;
        }
        if self.shares.len() >= MAX_CLAIMS {
            return false;
        }
        self.shares.push(Share {
            consumer,
            claim,
            choice: Choice::default(),
            layer: None,
            is_guess: false,
            told: None,
            waits: false,
            given: None,
            size: (0, 0),
        });
        true
    }

    /// A consumer has ended, or is paused by its user: it takes nothing.
    pub fn remove(&mut self, consumer: u32) {
        self.shares.retain(|share| share.consumer != consumer);
        self.unheard = 0;
    }

    /// Shares what there is. `layers` gives what a consumer's producer has now; `None` is taken for nothing yet.
    pub fn allot<'a>(&mut self, now: Instant, budget: Budget, layers: impl Fn(u32) -> Option<&'a Layers>) {
        let mut purse = Purse {
            limit: budget.estimate.map(|estimate| estimate.saturating_sub(budget.sound)),
            spent: 0,
        };
        let ladder = |share: &Share| {
            let layers = layers(share.consumer)?;
            Some(Ladder::new(layers, share.claim.level, share.claim.temporal))
        };
        self.sums = Sums::default();
        for share in &mut self.shares {
            let most = ladder(share).and_then(|ladder| ladder.most());
            self.sums.desired += most.map_or(0, |(most, _)| most.cost);
            let had = share.layer.and_then(|layer| ladder(share)?.rank(layer));
            share.size = (had.map_or(0, |(place, _)| place + 1), most.map_or(0, |(_, size)| size));
            share.given = None;
        }
        // Among equals who has more keeps it, or an order that turns round would switch them; then the largest picture.
        self.shares.sort_unstable_by_key(|share| {
            let Claim { priority, floor, .. } = share.claim;
            (Reverse(priority), floor.is_none(), Reverse(share.size), share.consumer)
        });
        self.give_least(now, &mut purse, &ladder);
        for share in &mut self.shares {
            if let Some(floor) = share.claim.floor {
                share.rise(now, &mut purse, &ladder, 0..=usize::from(floor));
            }
        }
        for equals in self
            .shares
            .chunk_by_mut(|one, other| one.claim.priority == other.claim.priority)
        {
            for place in 0..MAX_LEVELS {
                for share in &mut *equals {
                    share.rise(now, &mut purse, &ladder, place..=place);
                }
            }
        }
        self.sums.given = purse.spent;
        self.settle(now, &purse, &layers);
        self.unheard = 0;
        let waits = self.shares.iter().filter_map(|share| share.choice.may_go_up_at());
        self.next = waits.filter(|at| *at > now).min();
    }

    /// Everybody gets the lowest layer first, the most important before the others.
    fn give_least<'a>(&mut self, now: Instant, purse: &mut Purse, ladder: &impl Fn(&Share) -> Option<Ladder<'a>>) {
        let mut anybody = false;
        for share in &mut self.shares {
            let Some(ladder) = ladder(share) else { continue };
            let Some(least) = ladder.least() else { continue };
            let is_up = ladder.is_up(least.layer, share.layer);
            let may = share.choice.may_go_up(now, purse) || !is_up;
            let wide = Purse {
                limit: purse.limit.map(|limit| limit.saturating_add(share.claim.overshoot)),
                ..*purse
            };
            // What nobody has measured yet may begin where not all is spent.
            let is_unknown = least.cost == 0 && wide.limit.is_none_or(|limit| wide.spent <= limit);
            if is_unknown || wide.limit.is_none() || may && wide.takes(0, least, is_up) {
                purse.spend(0, least);
                share.given = Some(least);
                anybody = true;
            }
        }
        if anybody {
            return;
        }
        // mediasoup #316: who is sent nothing learns nothing of the path, and stays so.
        let first = self
            .shares
            .iter_mut()
            .find_map(|share| Some((ladder(share)?.least()?, share)));
        if let Some((least, share)) = first {
            purse.spend(0, least);
            share.given = Some(least);
        }
    }

    /// Notes what everybody has now, and who has to be told.
    fn settle<'a>(&mut self, now: Instant, purse: &Purse, layers: &impl Fn(u32) -> Option<&'a Layers>) {
        for share in &mut self.shares {
            let list = layers(share.consumer);
            let ladder = list.map(|list| Ladder::new(list, share.claim.level, share.claim.temporal));
            let flowing = ladder.filter(|ladder| ladder.least().is_some());
            let wish = match (flowing, share.given) {
                // Nothing comes of this producer: who begins begins with the smallest, and others stay as they are.
                (None, _) => share.told.flatten().or(Some(Wish {
                    level: 0,
                    temporal: share.claim.temporal,
                    bitrate: None,
                })),
                (Some(ladder), given) => {
                    let layer = given.map(|step| step.layer);
                    let is_less =
                        layer.and_then(|layer| ladder.rank(layer)) < share.layer.and_then(|had| ladder.rank(had));
                    // What turns out to be dearer than there is room for was never tried: nothing is waited for after it.
                    if !(share.is_guess && is_less) {
                        share.choice.note(now, &ladder, share.layer, layer, purse);
                    }
                    share.layer = layer;
                    share.is_guess = given.is_some_and(|step| step.cost == 0);
                    self.sums.paused += u32::from(layer.is_none());
                    layer
                        .and_then(|layer| ladder.rank(layer))
                        .map(|(place, temporal)| Wish {
                            level: place.min(usize::from(u8::MAX)) as u8,
                            temporal,
                            bitrate: None,
                        })
                }
            };
            share.waits |= share.told != Some(wish);
            share.told = Some(wish);
        }
    }

    /// When to [allot](Self::allot) again although nothing has changed: somebody that had to go down may go up again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Who is to get something else than before.
    pub fn poll_change(&mut self) -> Option<Change> {
        while let Some(share) = self.shares.get_mut(self.unheard) {
            self.unheard += 1;
            if std::mem::take(&mut share.waits) {
                return Some(Change {
                    consumer: share.consumer,
                    wish: share.told.flatten(),
                });
            }
        }
        None
    }

    /// The sums of the last allotment.
    pub fn sums(&self) -> Sums {
        self.sums
    }

    fn share(&mut self, consumer: u32) -> Option<&mut Share> {
        self.shares.iter_mut().find(|share| share.consumer == consumer)
    }
}

impl Share {
    /// Takes the best steps that fit, of the levels at these places.
    fn rise<'a>(
        &mut self,
        now: Instant,
        purse: &mut Purse,
        ladder: &impl Fn(&Self) -> Option<Ladder<'a>>,
        places: std::ops::RangeInclusive<usize>,
    ) {
        let (Some(mut given), Some(ladder)) = (self.given, ladder(self)) else {
            return;
        };
        let may_go_up = self.choice.may_go_up(now, purse);
        for (place, level) in ladder.rungs() {
            if places.contains(&place)
                && let Some(step) = ladder.rise(level, given, self.layer, may_go_up, purse)
            {
                purse.spend(given.cost, step);
                given = step;
            }
        }
        self.given = Some(given);
    }
}
