//! When scores are made, and how they are told.

use std::time::{Duration, Instant};

use antiphon_media::Reported;
use antiphon_peer_connection::MediaKind;

use super::Router;
use super::delivery::is_news;
use super::error::Error;
use super::event::{Event, Request};
use super::names::ConsumerId;

/// How often scores are made: receivers report about as often.
const EVERY: Duration = Duration::from_secs(1);
/// So many times without a packet, and an encoding of pictures has stopped ...
const PICTURES_STOP: u32 = 2;
/// ... and sound, which may be silent for long.
const SOUND_STOPS: u32 = 5;

impl Router {
    /// Takes what a consumer's receiver has reported, as its host was [asked](Request::Reports).
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn set_reported(&mut self, id: ConsumerId, reported: Reported) -> Result<(), Error> {
        let delivery = &mut self.consumers.get_mut(id).ok_or(Error::NoConsumer)?.delivery;
        if delivery.take(reported) && !std::mem::replace(&mut delivery.is_scored, true) {
            self.scoring.consumers.push(id);
        }
        Ok(())
    }

    /// A packet has come: scores are made from now on.
    #[inline]
    pub(super) fn begin_scoring(&mut self, now: Instant) {
        self.scoring.at.get_or_insert_with(|| now + EVERY);
    }

    /// Makes scores, if it is time.
    pub(super) fn score(&mut self, now: Instant) {
        let Some(at) = self.scoring.at.filter(|at| *at <= now) else {
            return;
        };
        let mut is_alive = false;
        for (id, producing) in self.producers.iter_mut() {
            let stops_after = match producing.kind {
                MediaKind::Video => PICTURES_STOP,
                MediaKind::Audio => SOUND_STOPS,
            };
            let had = producing.arrivals.scores();
            producing.arrivals.look(stops_after);
            let has = producing.arrivals.scores();
            let mut both = had.into_iter().zip(has);
            if both.any(|(had, has)| is_news(had, has)) && !std::mem::replace(&mut producing.is_scored, true) {
                self.scoring.producers.push(id);
            }
            is_alive |= producing.arrivals.is_alive();
        }
        self.scoring.unheard.clear();
        for (id, consuming) in self.consumers.iter_mut() {
            // The far end of a pipe judges each encoding itself.
            if !consuming.is_pipe() && consuming.delivery.has_sent(consuming.sent) {
                self.scoring.unheard.push(id);
            }
        }
        // A host that is late does not make two at once.
        self.scoring.at = is_alive.then(|| (at + EVERY).max(now + EVERY / 2));
    }

    /// Which connection is to be asked next for what its peer reports.
    pub(super) fn poll_reports(&mut self) -> Option<Request> {
        while let Some(consumer) = self.scoring.unheard.pop() {
            if let Some((peer, encoding)) = self.consumers.get(consumer).and_then(|own| own.to) {
                return Some(Request::Reports {
                    consumer,
                    peer,
                    encoding,
                });
            }
        }
        None
    }

    /// The next score that is another than was told.
    pub(super) fn poll_score(&mut self) -> Option<Event> {
        while let Some(producer) = self.scoring.producers.pop() {
            if let Some(producing) = self.producers.get_mut(producer) {
                producing.is_scored = false;
                let scores = producing.arrivals.scores();
                return Some(Event::ProducerScore { producer, scores });
            }
        }
        while let Some(consumer) = self.scoring.consumers.pop() {
            if let Some(consuming) = self.consumers.get_mut(consumer) {
                consuming.delivery.is_scored = false;
                if let Some(score) = consuming.delivery.score() {
                    return Some(Event::ConsumerScore { consumer, score });
                }
            }
        }
        None
    }
}
