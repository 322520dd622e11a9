//! A pipe to another node for one room: which exchange of descriptions is under way. Of two nodes the one whose name
//! comes first offers, so that there is never a question who does.

use std::time::Instant;

use crate::message::{Answer, Offer};
use crate::peer::TrackId;

/// How often an offer is sent before the pipe is given up.
pub(crate) const MAX_TRIES: u32 = 5;

#[derive(Debug)]
pub(crate) enum Pipe {
    Offering(Offering),
    Answering(Answering),
}

/// The end that offers.
#[derive(Debug)]
pub(crate) struct Offering {
    pub(crate) number: u64,
    pub(crate) exchange: u64,
    /// What the last exchange that was answered made of it.
    pub(crate) carried: Vec<TrackId>,
    pub(crate) step: Step,
}

/// How far an exchange is.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is none.
    Settled,
    /// The application is making the offer.
    Wanted(Vec<TrackId>),
    /// The offer is with the other node, or on its way.
    Offered(Box<Offered>),
}

#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) offer: Offer,
    pub(crate) tracks: Vec<TrackId>,
    pub(crate) tries: u32,
    /// When it is sent again.
    pub(crate) again: Instant,
    pub(crate) due: bool,
}

/// The end that answers.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) number: u64,
    pub(crate) exchange: u64,
    /// The answer to that exchange, kept in case it is lost, once the application has made it.
    pub(crate) answer: Option<Answer>,
    pub(crate) due: bool,
}

impl Pipe {
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Offering(offering) => offering.number,
            Self::Answering(answering) => answering.number,
        }
    }
}

/// What has become of an offer whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It is not.
    No,
    /// It is to be sent again.
    Again,
    /// It was sent often enough.
    GivenUp,
}

impl Offering {
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Overdue {
        let Step::Offered(offered) = &mut self.step else {
            return Overdue::No;
        };
        if offered.again > now {
            return Overdue::No;
        }
        if offered.tries >= MAX_TRIES {
            return Overdue::GivenUp;
        }
        offered.due = true;
        Overdue::Again
    }
}

impl Pipe {
    /// A new one, for which an offer is wanted.
    pub(crate) fn offering(number: u64, tracks: Vec<TrackId>) -> Self {
        Self::Offering(Offering {
            number,
            exchange: 1,
            carried: Vec::new(),
            step: Step::Wanted(tracks),
        })
    }

    /// A new one, which the other node has offered.
    pub(crate) fn answering(number: u64) -> Self {
        Self::Answering(Answering {
            number,
            exchange: 1,
            answer: None,
            due: false,
        })
    }
}
