//! The end of an association, in an orderly way (RFC 9260 §9.2) or at once (RFC 9260 §9.1).

use std::time::Instant;

use antiphon_sansio::Serial32;

use super::replies::Reply;
use super::state::{Phase, Stage};
use super::{Association, Timer};
use crate::chunk::{Chunk, Parameters, cause, put_parameter};
use crate::error::Error;
use crate::event::Event;
use crate::tx::TxTimer;

/// SHUTDOWN ACKs that may stay unanswered. Everything is exchanged by then: nothing is lost if the peer has left
/// already, and one that asks again is answered all the same.
const MAX_SHUTDOWN_ACKS: u32 = 3;

impl Association {
    /// Closes in an orderly way: what is queued is delivered first (RFC 9260 §9.2). Ends with [`Event::Closed`].
    pub fn close(&mut self, now: Instant) {
        if self.phase.is_handshaking() {
            self.end(Event::Closed);
        } else if self.phase.stage() == Some(Stage::Open) {
            self.enter(Stage::Pending);
            self.advance_shutdown(now);
        }
    }

    /// Ends the association at once; the peer is told by ABORT (RFC 9260 §9.1).
    pub fn abort(&mut self) {
        self.abort_because(cause::USER_INITIATED_ABORT, Error::Aborted);
    }

    pub(super) fn abort_with(&mut self, error: Error) {
        self.abort_because(cause::PROTOCOL_VIOLATION, error);
    }

    pub(super) fn abort_because_of_empty_data(&mut self) {
        self.abort_because(cause::NO_USER_DATA, Error::ProtocolViolation("DATA without user data"));
    }

    fn abort_because(&mut self, code: u16, error: Error) {
        if self.has_ended() {
            return;
        }
        let tag = self.phase.peer().map(|peer| peer.tag);
        self.end(Event::Failed(error));
        if let Some(tag) = tag {
            let mut causes = Vec::new();
            put_parameter(&mut causes, code, &[]);
            let abort = Chunk::Abort {
                reflected_tag: false,
                causes: Parameters::new(&causes),
            };
            self.replies.push(Reply::packet(tag, &abort));
        }
    }

    /// The end: nothing is sent any more but replies that are queued afterwards.
    pub(super) fn end(&mut self, event: Event) {
        if self.has_ended() {
            return;
        }
        // Who answers the peer's SHUTDOWN has told of the end already.
        let (told, unanswered) = match self.phase.stage() {
            Some(Stage::AckSent { unanswered, .. }) => (true, unanswered),
            _ => (false, 0),
        };
        self.phase = Phase::Ended {
            peer: self.phase.peer().copied(),
            repeats_shutdown_ack: unanswered > 0,
        };
        self.timers.stop_all();
        self.replies.clear();
        self.tx.clear(self.epoch, self.local_tsn);
        if !told {
            self.events.push_back(event);
        }
    }

    fn enter(&mut self, stage: Stage) {
        if let Some(established) = self.phase.established() {
            established.stage = stage;
        }
    }

    /// The peer has everything of ours, and we have everything of its: its SHUTDOWN COMPLETE brings no news, and who
    /// has sent SHUTDOWN may be gone before it.
    fn answer_shutdown(&mut self) {
        self.enter(Stage::AckSent {
            due: true,
            unanswered: 0,
        });
        self.events.push_back(Event::Closed);
    }

    /// Takes the next step of a shutdown if everything is acknowledged.
    pub(super) fn advance_shutdown(&mut self, now: Instant) {
        if !self.tx.all_delivered() {
            return;
        }
        match self.phase.stage() {
            Some(Stage::Pending) => {
                self.enter(Stage::Sent { due: true });
                // RFC 9260 §9.2: five times RTO.Max guards the whole.
                self.timers.set(Timer::T5, now + self.config.rto_max * 5);
            }
            Some(Stage::Received) => self.answer_shutdown(),
            _ => return,
        }
        self.tx.timers.stop(TxTimer::T3);
        self.tx.timers.stop(TxTimer::Path);
        self.timers.stop(Timer::Heartbeat);
        self.timers.stop(Timer::ReConfig);
        self.timers.set(Timer::T2, now + self.tx.rto.current());
    }

    /// T2-shutdown has run out.
    pub(super) fn handle_t2(&mut self, now: Instant) {
        self.tx.rto.back_off();
        if !self.count_error() {
            return;
        }
        let Some(established) = self.phase.established() else {
            return;
        };
        match &mut established.stage {
            Stage::Sent { due } => *due = true,
            Stage::AckSent { due, unanswered } => {
                *unanswered += 1;
                if *unanswered >= MAX_SHUTDOWN_ACKS {
                    self.end(Event::Closed);
                    return;
                }
                *due = true;
            }
            Stage::Open | Stage::Pending | Stage::Received => return,
        }
        self.timers.set(Timer::T2, now + self.tx.rto.current());
    }

    pub(super) fn handle_shutdown(&mut self, now: Instant, cumulative_tsn: Serial32) {
        match self.phase.stage() {
            Some(Stage::Open | Stage::Pending | Stage::Received) => {
                self.enter(Stage::Received);
                let answer = self.tx.handle_cumulative_ack(now, cumulative_tsn);
                self.after_acknowledgement(now, answer);
                self.advance_shutdown(now);
            }
            // RFC 9260 §9.2: both ends close at once.
            Some(Stage::Sent { .. }) => {
                self.answer_shutdown();
                self.timers.set(Timer::T2, now + self.tx.rto.current());
            }
            Some(Stage::AckSent { .. }) | None => {}
        }
    }

    pub(super) fn handle_shutdown_ack(&mut self) {
        if matches!(self.phase.stage(), Some(Stage::Sent { .. } | Stage::AckSent { .. }))
            && let Some(tag) = self.phase.peer().map(|peer| peer.tag)
        {
            self.end(Event::Closed);
            let complete = Chunk::ShutdownComplete { reflected_tag: false };
            self.replies.push(Reply::packet(tag, &complete));
        }
    }

    pub(super) fn handle_shutdown_complete(&mut self) {
        if matches!(self.phase.stage(), Some(Stage::AckSent { .. })) {
            self.end(Event::Closed);
        }
    }
}
