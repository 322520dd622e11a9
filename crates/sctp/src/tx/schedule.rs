//! Which stream sends next (RFC 8260 §3).

use std::collections::BTreeSet;

/// Which stream sends next (RFC 8260 §3). With I-DATA the choice is made for each chunk, with DATA for each message,
/// whose fragments stay together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheduler {
    /// Messages leave in the order in which they were handed over (RFC 8260 §3.1).
    FirstComeFirstServed,
    /// Streams take turns (RFC 8260 §3.2).
    RoundRobin,
    /// Streams of a higher weight first; equal ones take turns (RFC 8260 §3.4).
    Priority,
    /// Streams share the bandwidth by their weights (RFC 8260 §3.6); what RFC 8831 §6.4 wants for data channels.
    #[default]
    WeightedFair,
}

/// The weight of a stream that was given none: RFC 8831's "normal".
pub(crate) const DEFAULT_WEIGHT: u16 = 256;
/// One byte of a stream of weight one, in virtual time: divisible by every weight in use.
const SCALE: u64 = 65_536;

/// A stream's place: the smallest goes first.
type Place = (u64, u64);

/// The streams that have something to send, in the order of their turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    scheduler: Scheduler,
    ready: BTreeSet<(Place, u16)>,
    /// Of the weighted scheduler: the place of what was sent last.
    virtual_time: u64,
    tickets: u64,
}

/// What the scheduler keeps with each stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) weight: u16,
    place: Option<Place>,
    virtual_finish: u64,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            weight: DEFAULT_WEIGHT,
            place: None,
            virtual_finish: 0,
        }
    }
}

impl Turns {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Gives back memory while no stream waits: an empty tree keeps a leaf.
    pub(crate) fn give_back(&mut self) {
        if self.ready.is_empty() {
            self.ready = BTreeSet::new();
        }
    }

    /// Whether the order matters.
    #[inline]
    pub(crate) fn is_contended(&self) -> bool {
        self.ready.len() > 1
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<u16> {
        self.ready.first().map(|(_, id)| *id)
    }

    /// A number for each message, in the order in which they come.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Something of the stream was sent.
    pub(crate) fn served(&mut self, turn: &Turn) {
        if let Some((place, _)) = turn.place
            && self.scheduler == Scheduler::WeightedFair
        {
            self.virtual_time = self.virtual_time.max(place);
        }
    }

    pub(crate) fn leave(&mut self, id: u16, turn: &mut Turn) {
        if let Some(place) = turn.place.take() {
            self.ready.remove(&(place, id));
        }
    }

    /// Gives the stream its place: `ticket` is that of its first message, `bytes` what it would send next.
    pub(crate) fn enter(&mut self, id: u16, turn: &mut Turn, ticket: u64, bytes: usize) {
        self.leave(id, turn);
        let place = match self.scheduler {
            Scheduler::FirstComeFirstServed => (ticket, 0),
            Scheduler::RoundRobin => (self.ticket(), 0),
            Scheduler::Priority => (u64::from(u16::MAX - turn.weight), self.ticket()),
            Scheduler::WeightedFair => {
                let start = self.virtual_time.max(turn.virtual_finish);
                turn.virtual_finish = start + bytes as u64 * SCALE / u64::from(turn.weight.max(1));
                (turn.virtual_finish, self.ticket())
            }
        };
        turn.place = Some(place);
        self.ready.insert((place, id));
    }
}
