//! What is known of stream resets, and of streams that are to be added (RFC 6525).

use std::collections::BTreeSet;

use antiphon_sansio::Serial32;

use crate::chunk::ResetResult;
use crate::tsn::Tsn;

/// A request of ours that is not answered yet. There is one at a time (RFC 6525 §5.1.1).
#[derive(Debug)]
pub(super) struct Request {
    pub(super) number: Serial32,
    pub(super) last_tsn: Tsn,
    pub(super) what: What,
    pub(super) due: bool,
    /// The peer is not ready; it will be asked again.
    pub(super) in_progress: bool,
    /// Transmissions without an answer.
    pub(super) tries: u32,
}

#[derive(Debug)]
pub(super) enum What {
    Reset(Vec<u16>),
    /// More streams (RFC 6525 §5.1.5, §5.1.6): of ours, or of the peer's.
    Add {
        count: u16,
        outgoing: bool,
    },
}

/// A request of the peer that waits for data sent before it (RFC 6525 §5.2.2).
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) number: Serial32,
    pub(super) last_tsn: Tsn,
    pub(super) streams: BTreeSet<u16>,
    /// All streams are meant.
    pub(super) all: bool,
    /// The peer has been told "in progress".
    pub(super) put_off: bool,
}

impl Deferred {
    pub(super) fn repeats(&self, request: &Self) -> bool {
        self.last_tsn == request.last_tsn && self.streams == request.streams && self.all == request.all
    }
}

/// Stream resets of both directions (RFC 6525).
#[derive(Debug)]
pub(super) struct StreamResets {
    pub(super) wanted: BTreeSet<u16>,
    /// How many more streams we want to send on, and the peer to send on.
    pub(super) wanted_outgoing: u16,
    pub(super) wanted_incoming: u16,
    pub(super) request: Option<Request>,
    pub(super) next_request: Serial32,
    /// The number of the peer's next request, and how the last one ended.
    pub(super) expected: Serial32,
    pub(super) last_result: ResetResult,
    pub(super) deferred: Option<Deferred>,
    /// A reset that we first answered by "in progress" and have performed since. Some peers ask for it again under a
    /// new number: that must not reset what has begun since.
    pub(super) performed_late: Option<Deferred>,
    /// `IncomingReset` events that wait in the queue.
    pub(super) announced: BTreeSet<u16>,
}

impl StreamResets {
    pub(super) fn new(local_tsn: Serial32) -> Self {
        Self {
            wanted: BTreeSet::new(),
            wanted_outgoing: 0,
            wanted_incoming: 0,
            request: None,
            next_request: local_tsn,
            expected: Serial32::new(0),
            last_result: ResetResult::NothingToDo,
            deferred: None,
            performed_late: None,
            announced: BTreeSet::new(),
        }
    }

    /// Request numbers begin with the initial TSN (RFC 6525 §4.1).
    pub(super) fn meet_peer(&mut self, peer_tsn: Serial32) {
        self.expected = peer_tsn;
    }

    pub(super) fn announced(&mut self, stream: u16) {
        self.announced.remove(&stream);
    }

    /// A request waits until everything that was sent before it is acknowledged: so the peer never has to put it off,
    /// and what stacks do after "in progress" does not matter.
    pub(super) fn is_due(&self, cumulative_ack: Tsn) -> bool {
        let due = |request: &Request| request.due && request.last_tsn <= cumulative_ack;
        self.request.as_ref().is_some_and(due)
    }
}
