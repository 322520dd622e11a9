use std::time::Instant;

use antiphon_sansio::Serial32;

use super::{Association, Reply, Timer};
use crate::chunk::{Chunk, Parameters, cause, put_parameter};
use crate::{Error, Event, State};

/// SHUTDOWN ACKs that may stay unanswered. Everything is exchanged by then: nothing is lost if the peer has left already, and one that
/// asks again is answered all the same.
const MAX_SHUTDOWN_ACKS: u32 = 3;

impl Association {
    /// Closes in an orderly way: what is queued is delivered first (RFC 9260 §9.2). Ends with [`Event::Closed`].
    pub fn close(&mut self, now: Instant) {
        match self.state {
            State::Established => {
                self.state = State::ShutdownPending;
                self.advance_shutdown(now);
            }
            State::Closed | State::CookieWait | State::CookieEchoed if !self.ended => self.end(Event::Closed),
            _ => {}
        }
    }

    /// Ends the association at once; the peer is told by ABORT (RFC 9260 §9.1).
    pub fn abort(&mut self) {
        if !self.ended {
            self.abort_because(cause::USER_INITIATED_ABORT, Error::Aborted);
        }
    }

    pub(super) fn abort_with(&mut self, error: Error) {
        if !self.ended {
            self.abort_because(cause::PROTOCOL_VIOLATION, error);
        }
    }

    pub(super) fn abort_because_of_empty_data(&mut self) {
        self.abort_because(cause::NO_USER_DATA, Error::ProtocolViolation("DATA without user data"));
    }

    fn abort_because(&mut self, code: u16, error: Error) {
        let tag = self.peer.map(|peer| peer.tag);
        self.end(Event::Failed(error));
        if let Some(tag) = tag {
            let mut causes = Vec::new();
            put_parameter(&mut causes, code, &[]);
            let mut bytes = Vec::new();
            Chunk::Abort {
                reflected_tag: false,
                causes: Parameters::new(&causes),
            }
            .write(&mut bytes);
            self.reply(Reply {
                tag: Some(tag),
                bytes,
                alone: true,
            });
        }
    }

    /// The end: nothing is sent any more but replies that are queued afterwards.
    pub(super) fn end(&mut self, event: Event) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.state = State::Closed;
        self.timers.stop_all();
        self.replies.clear();
        self.send_init = false;
        self.send_echo = false;
        self.send_shutdown = false;
        self.send_shutdown_ack = false;
        self.heartbeat_due = false;
        self.queue = Default::default();
        self.outstanding = crate::tx::Outstanding::new(self.epoch, self.local_tsn);
        self.tell_end(event);
    }

    fn tell_end(&mut self, event: Event) {
        if !std::mem::replace(&mut self.end_told, true) {
            self.events.push_back(event);
        }
    }

    /// The peer has everything of ours, and we have everything of its: its SHUTDOWN COMPLETE brings no news, and who has sent SHUTDOWN
    /// may be gone before it.
    fn answer_shutdown(&mut self) {
        self.state = State::ShutdownAckSent;
        self.send_shutdown = false;
        self.send_shutdown_ack = true;
        self.tell_end(Event::Closed);
    }

    fn all_delivered(&self) -> bool {
        self.queue.is_empty() && self.outstanding.is_empty()
    }

    /// Takes the next step of a shutdown if everything is acknowledged.
    pub(super) fn advance_shutdown(&mut self, now: Instant) {
        if !self.all_delivered() {
            return;
        }
        match self.state {
            State::ShutdownPending => {
                self.state = State::ShutdownSent;
                self.send_shutdown = true;
                // RFC 9260 §9.2: five times RTO.Max guards the whole.
                self.timers.set(Timer::T5, now + self.config.rto_max * 5);
            }
            State::ShutdownReceived => self.answer_shutdown(),
            _ => return,
        }
        self.timers.stop(Timer::T3);
        self.timers.stop(Timer::Heartbeat);
        self.timers.stop(Timer::Path);
        self.timers.stop(Timer::ReConfig);
        self.timers.set(Timer::T2, now + self.rto.current());
    }

    /// T2-shutdown has run out.
    pub(super) fn handle_t2(&mut self, now: Instant) {
        self.rto.back_off();
        if !self.count_error() {
            return;
        }
        match self.state {
            State::ShutdownSent => self.send_shutdown = true,
            State::ShutdownAckSent => {
                self.shutdown_acks += 1;
                if self.shutdown_acks >= MAX_SHUTDOWN_ACKS {
                    self.end(Event::Closed);
                    return;
                }
                self.send_shutdown_ack = true;
            }
            _ => return,
        }
        self.timers.set(Timer::T2, now + self.rto.current());
    }

    pub(super) fn handle_shutdown(&mut self, now: Instant, cumulative_tsn: Serial32) {
        match self.state {
            State::Established | State::ShutdownPending | State::ShutdownReceived => {
                self.state = State::ShutdownReceived;
                self.handle_cumulative_ack(now, cumulative_tsn);
                self.advance_shutdown(now);
            }
            // RFC 9260 §9.2: both ends close at once.
            State::ShutdownSent => {
                self.answer_shutdown();
                self.timers.set(Timer::T2, now + self.rto.current());
            }
            _ => {}
        }
    }

    pub(super) fn handle_shutdown_ack(&mut self) {
        if matches!(self.state, State::ShutdownSent | State::ShutdownAckSent) {
            let tag = self.peer.map(|peer| peer.tag);
            self.end(Event::Closed);
            let mut bytes = Vec::new();
            Chunk::ShutdownComplete { reflected_tag: false }.write(&mut bytes);
            self.reply(Reply {
                tag,
                bytes,
                alone: true,
            });
        }
    }

    pub(super) fn handle_shutdown_complete(&mut self) {
        if self.state == State::ShutdownAckSent {
            self.end(Event::Closed);
        }
    }
}
