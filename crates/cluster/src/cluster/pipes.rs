//! What the application says of pipes: its offers and answers, and connections that failed.

use std::time::Instant;

use super::Cluster;
use crate::error::Error;
use crate::event::PipeId;
use crate::message::{Answer, Body, Envelope, MAX_MESSAGE, Offer};
use crate::peer::MAX_NAME;
use crate::pipe::{Offered, Pipe, Step};
use crate::section::{MAX_SECTIONS, Section};

impl Cluster {
    /// The offer that [`Event::OfferWanted`](crate::Event::OfferWanted) asked for, with the section of each track.
    ///
    /// # Errors
    /// [`Error::NoPipe`] and [`Error::OtherExchange`] if it is over; [`Error::TooMany`] and [`Error::TooLong`] beyond the limits:
    /// the pipe then waits for another offer, or [`pipe_failed`](Self::pipe_failed).
    pub fn offer(
        &mut self,
        now: Instant,
        pipe: &PipeId,
        exchange: u64,
        sdp: String,
        sections: Vec<Section>,
    ) -> Result<(), Error> {
        if sections.len() > MAX_SECTIONS {
            return Err(Error::TooMany("sections"));
        }
        if sections.iter().any(|section| section.mid.len() > MAX_NAME) {
            return Err(Error::TooLong("name of a section"));
        }
        let offer = Offer {
            room: pipe.room.clone(),
            pipe: pipe.number,
            exchange,
            sdp,
            sections,
        };
        self.check_length(Body::Offer(offer.clone()))?;
        let again = now + self.config.resend;
        let remote = self.remote_mut(&pipe.room, &pipe.node).ok_or(Error::NoPipe)?;
        let Some(Pipe::Offering(offering)) = &mut remote.pipe else {
            return Err(Error::NoPipe);
        };
        if offering.number != pipe.number {
            return Err(Error::NoPipe);
        }
        let Step::Wanted(tracks) = &mut offering.step else {
            return Err(Error::OtherExchange);
        };
        if offering.exchange != exchange {
            return Err(Error::OtherExchange);
        }
        let tracks = std::mem::take(tracks);
        offering.step = Step::Offered(Box::new(Offered {
            offer,
            tracks,
            tries: 0,
            again,
            due: true,
        }));
        self.timers.insert((again, pipe.room.clone(), pipe.node.clone()));
        self.due.insert(pipe.room.clone());
        Ok(())
    }

    /// The answer to the offer of [`Event::Offered`](crate::Event::Offered).
    ///
    /// # Errors
    /// [`Error::NoPipe`] and [`Error::OtherExchange`] if it is over; [`Error::TooLong`].
    pub fn answer(&mut self, pipe: &PipeId, exchange: u64, sdp: String) -> Result<(), Error> {
        let answer = Answer {
            room: pipe.room.clone(),
            pipe: pipe.number,
            exchange,
            sdp,
        };
        self.check_length(Body::Answer(answer.clone()))?;
        let remote = self.remote_mut(&pipe.room, &pipe.node).ok_or(Error::NoPipe)?;
        let Some(Pipe::Answering(answering)) = &mut remote.pipe else {
            return Err(Error::NoPipe);
        };
        if answering.number != pipe.number {
            return Err(Error::NoPipe);
        }
        if answering.exchange != exchange || answering.answer.is_some() {
            return Err(Error::OtherExchange);
        }
        answering.answer = Some(answer);
        answering.due = true;
        self.due.insert(pipe.room.clone());
        Ok(())
    }

    /// The connection of a pipe has failed or ended, or cannot take a description. No `PipeClosed` follows. While the bus works another
    /// pipe takes its place; while it is away this is all that is heard of the other node, and its peers are gone from the room.
    ///
    /// # Errors
    /// [`Error::NoPipe`] if it is over already.
    pub fn pipe_failed(&mut self, now: Instant, pipe: &PipeId) -> Result<(), Error> {
        let works = self.bus.works();
        let hold = now + self.config.resend;
        let revision = self.next_revision();
        let remote = self.remote_mut(&pipe.room, &pipe.node).ok_or(Error::NoPipe)?;
        if !remote.has_pipe(pipe.number) {
            return Err(Error::NoPipe);
        }
        remote.pipe = None;
        remote.hold = Some(hold);
        // If the other one offers, it hears by this that we have none any more.
        remote.watching_revision = revision;
        remote.watching_due = true;
        self.due.insert(pipe.room.clone());
        self.timers.insert((hold, pipe.room.clone(), pipe.node.clone()));
        if !works {
            self.forget_remote(&pipe.room, &pipe.node);
        }
        Ok(())
    }

    fn check_length(&self, body: Body) -> Result<(), Error> {
        let envelope = Envelope::new(self.config.node.clone(), self.config.run, body);
        match envelope.write().is_some_and(|bytes| bytes.len() <= MAX_MESSAGE) {
            true => Ok(()),
            false => Err(Error::TooLong("description")),
        }
    }
}
