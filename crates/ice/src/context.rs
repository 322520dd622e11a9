//! What all parts of an agent share: the settings, randomness, numbers and counters, and the queues in which they leave
//! what is for the owner, for the network and for each other.

use std::net::SocketAddr;

use antiphon_sansio::{Queue, Rng};

use crate::config::Config;
use crate::event::Event;
use crate::io::IoRequest;
use crate::message::Outgoing;
use crate::notice::Notice;
use crate::stats::Counters;

/// The most events kept for an owner who does not ask; the oldest are dropped.
pub const MAX_EVENTS: usize = 512;

/// The most requests to the driver kept; later ones are dropped, and with them what they were for.
pub const MAX_IO_REQUESTS: usize = 256;

/// The most messages that wait to be sent; the oldest are dropped, as a network would drop them.
pub const MAX_OUTGOING: usize = 256;

/// The code of a W3C `icecandidateerror` when a server was not reached.
pub(crate) const NOT_REACHED: u16 = 701;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) counters: Counters,
    events: Queue<Event>,
    io: Queue<IoRequest>,
    /// Consent is asked for and given for as long as a connection lives: room for that stays.
    outgoing: Queue<Outgoing, 4>,
    /// Empty whenever the owner has the agent: what grows it is bounded by what one input can find.
    notices: Queue<Notice>,
    last_id: u64,
    last_request: u32,
}

impl Context {
    pub(crate) fn new(config: Config, rng: Rng) -> Self {
        Self {
            config,
            rng,
            counters: Counters::default(),
            events: Queue::default(),
            io: Queue::default(),
            outgoing: Queue::default(),
            notices: Queue::default(),
            last_id: 0,
            last_request: 0,
        }
    }

    pub(crate) fn push_event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn push_io(&mut self, request: IoRequest) {
        if self.io.len() < MAX_IO_REQUESTS {
            self.io.push_back(request);
        } else {
            self.counters.over_limit += 1;
        }
    }

    pub(crate) fn poll_io(&mut self) -> Option<IoRequest> {
        self.io.pop_front()
    }

    pub(crate) fn push_outgoing(&mut self, outgoing: Outgoing) {
        if self.outgoing.len() >= MAX_OUTGOING {
            self.outgoing.pop_front();
            self.counters.dropped_responses += 1;
        }
        self.outgoing.push_back(outgoing);
    }

    /// The message that is sent next, without taking it.
    pub(crate) fn next_outgoing(&self) -> Option<Outgoing> {
        self.outgoing.front().copied()
    }

    pub(crate) fn drop_outgoing(&mut self) {
        self.outgoing.pop_front();
    }

    pub(crate) fn forget_outgoing(&mut self) {
        self.outgoing.clear();
    }

    /// Leaves a notice for the other parts.
    pub(crate) fn notify(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(crate) fn next_request(&mut self) -> u32 {
        self.last_request += 1;
        self.last_request
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Tells the owner that a server gave no candidate.
    pub(crate) fn candidate_error(&mut self, url: &str, address: Option<SocketAddr>, code: u16, text: &str) {
        self.push_event(Event::CandidateError {
            url: url.to_owned(),
            address,
            code,
            text: text.to_owned(),
        });
    }
}
