//! Stream resets of both directions, and more streams (RFC 6525): asked for, answered and performed.

use std::time::Instant;

use antiphon_sansio::Serial32;

use super::replies::Reply;
use super::state::Stage;
use super::stream_resets::{Deferred, Request, What};
use super::{Association, Timer};
use crate::chunk::{Put, ReConfig, Reset, ResetResult, StreamIds, put_add_streams, put_outgoing_reset, put_response};
use crate::event::Event;
use crate::tsn::Tsn;

impl Association {
    /// Resets our outgoing side of the stream once what is queued on it has been sent (RFC 6525 §5.1.2). Until
    /// [`Event::OutgoingReset`] the stream takes no messages.
    pub fn reset_stream(&mut self, stream: u16) {
        if self.has_ended() || self.tx.queue.is_resetting(stream) {
            return;
        }
        self.tx.queue.begin_reset(stream);
        self.resets.wanted.insert(stream);
    }

    /// Asks the peer for so many more streams to send on (RFC 6525 §4.5). Answered by [`Event::OutgoingStreams`].
    pub fn add_streams(&mut self, count: u16) {
        self.resets.wanted_outgoing = self.resets.wanted_outgoing.saturating_add(count);
    }

    /// Asks the peer to send on so many more streams (RFC 6525 §4.6). Answered by [`Event::IncomingStreams`].
    pub fn request_streams(&mut self, count: u16) {
        self.resets.wanted_incoming = self.resets.wanted_incoming.saturating_add(count);
    }

    /// Makes a request of what can be asked for now.
    pub(super) fn prepare_reset(&mut self) {
        let resets = &self.resets;
        let wants_streams = resets.wanted_outgoing > 0 || resets.wanted_incoming > 0;
        if (resets.wanted.is_empty() && !wants_streams) || resets.request.is_some() {
            return;
        }
        let Some(peer) = self.phase.peer().copied() else { return };
        if !matches!(self.phase.stage(), Some(Stage::Open | Stage::Pending)) {
            return;
        }
        if !peer.capabilities.re_config {
            for stream in std::mem::take(&mut self.resets.wanted) {
                self.tx.queue.end_reset(stream, false);
                self.events.push_back(Event::OutgoingReset { stream, ok: false });
            }
            for (count, outgoing) in [
                (std::mem::take(&mut self.resets.wanted_outgoing), true),
                (std::mem::take(&mut self.resets.wanted_incoming), false),
            ] {
                if count > 0 {
                    self.streams_added(0, outgoing, false);
                }
            }
            return;
        }
        if wants_streams {
            let outgoing = self.resets.wanted_outgoing > 0;
            let count = if outgoing {
                std::mem::take(&mut self.resets.wanted_outgoing)
            } else {
                std::mem::take(&mut self.resets.wanted_incoming)
            };
            self.ask(What::Add { count, outgoing }, self.tx.outstanding.cumulative_ack());
            return;
        }
        let most = (self.config.max_packet - 64) / 2;
        let queue = &self.tx.queue;
        let drained = self.resets.wanted.iter().copied().filter(|s| queue.is_drained(*s));
        let streams: Vec<u16> = drained.take(most).collect();
        if streams.is_empty() {
            return;
        }
        for stream in &streams {
            self.resets.wanted.remove(stream);
        }
        self.ask(What::Reset(streams), self.tx.outstanding.next_tsn().previous());
    }

    fn ask(&mut self, what: What, last_tsn: Tsn) {
        let number = self.resets.next_request;
        self.resets.next_request = number.next();
        self.resets.request = Some(Request {
            number,
            last_tsn,
            what,
            due: true,
            in_progress: false,
            tries: 0,
        });
    }

    pub(super) fn write_reset(&mut self, now: Instant, out: &mut impl Put) {
        let response = self.resets.expected.minus(1);
        let Some(request) = &mut self.resets.request else {
            return;
        };
        request.due = false;
        match &request.what {
            What::Reset(streams) => put_outgoing_reset(
                out,
                request.number,
                response,
                request.last_tsn.wire(),
                streams.iter().copied(),
            ),
            What::Add { count, outgoing } => put_add_streams(out, request.number, *count, *outgoing),
        }
        // The request backs off on its own: losing it says nothing of the data's timer, and the other way round.
        let wait = self.tx.rto.backed_off(request.tries);
        request.tries += 1;
        self.timers.set(Timer::ReConfig, now + wait);
    }

    /// How many bytes the request takes.
    pub(super) fn reset_len(&self) -> usize {
        match self.resets.request.as_ref().map(|request| &request.what) {
            Some(What::Reset(streams)) => 24 + 2 * streams.len(),
            Some(What::Add { .. }) => 16,
            None => 0,
        }
    }

    pub(super) fn handle_re_config_timer(&mut self) {
        let Some(request) = &mut self.resets.request else {
            return;
        };
        // RFC 6525 §5.1.1: the same request again, under the same number.
        request.due = true;
        if !std::mem::take(&mut request.in_progress) {
            self.count_error();
        }
    }

    pub(super) fn handle_re_config(&mut self, now: Instant, re_config: &ReConfig<'_>) {
        for reset in re_config.resets() {
            match reset {
                Ok(Reset::Outgoing {
                    request,
                    last_tsn,
                    streams,
                    ..
                }) => self.handle_reset_request(request, last_tsn, streams),
                Ok(Reset::Response { response, result }) => self.handle_reset_response(now, response, result),
                Ok(Reset::AddStreams {
                    request,
                    count,
                    outgoing,
                }) => self.handle_add_streams(request, count, outgoing),
                Ok(Reset::Incoming { request, .. } | Reset::Unsupported { request, .. }) => {
                    if request == self.resets.expected {
                        self.resets.expected = request.next();
                        self.resets.last_result = ResetResult::Denied;
                    }
                    self.respond(request, ResetResult::Denied);
                }
                Err(_) => {
                    self.stats.chunks_invalid += 1;
                    return;
                }
            }
        }
    }

    /// More streams: of the peer's (RFC 6525 §5.2.5), or of ours at its wish (RFC 6525 §5.2.6).
    fn handle_add_streams(&mut self, number: Serial32, count: u16, outgoing: bool) {
        let Some(peer) = self.phase.peer().copied() else { return };
        if number != self.resets.expected {
            let repeated = number == self.resets.expected.minus(1);
            let result = if repeated {
                self.resets.last_result
            } else {
                ResetResult::BadSequenceNumber
            };
            self.respond(number, result);
            return;
        }
        self.resets.expected = number.next();
        let most = self.config.max_added_streams;
        let present = if outgoing {
            peer.incoming
        } else {
            peer.streams.saturating_add(self.resets.wanted_outgoing)
        };
        let granted = present.checked_add(count).is_some_and(|sum| sum <= most);
        let result = match (count, granted) {
            (0, _) => ResetResult::NothingToDo,
            (_, true) => ResetResult::Performed,
            _ => ResetResult::Denied,
        };
        if result == ResetResult::Performed {
            if outgoing {
                self.streams_added(count, false, true);
            } else {
                self.add_streams(count);
            }
        }
        self.resets.last_result = result;
        self.respond(number, result);
    }

    /// There are more streams, or there will not be.
    fn streams_added(&mut self, count: u16, outgoing: bool, ok: bool) {
        let Some(peer) = self.phase.peer_mut() else { return };
        if outgoing {
            peer.streams = peer.streams.saturating_add(count);
            let streams = peer.streams;
            self.events.push_back(Event::OutgoingStreams { streams, ok });
        } else {
            peer.incoming = peer.incoming.saturating_add(count);
            let streams = peer.incoming;
            self.events.push_back(Event::IncomingStreams { streams, ok });
        }
    }

    /// Streams from this one on do not exist for the peer.
    pub(super) fn granted_streams(&self) -> u16 {
        self.phase
            .peer()
            .map_or(0, |peer| peer.incoming)
            .max(self.config.streams)
    }

    fn respond(&mut self, request: Serial32, result: ResetResult) {
        let mut bytes = Vec::with_capacity(16);
        put_response(&mut bytes, request, result);
        self.replies.push(Reply::written(bytes));
    }

    fn handle_reset_request(&mut self, number: Serial32, last_tsn: Serial32, streams: StreamIds<'_>) {
        if number == self.resets.expected.minus(1) {
            // RFC 6525 §5.2.1: a retransmission gets the answer that it got before, or by now a better one.
            let result = match self.resets.deferred {
                Some(_) => ResetResult::InProgress,
                None => self.resets.last_result,
            };
            self.respond(number, result);
            return;
        }
        if number != self.resets.expected {
            self.respond(number, ResetResult::BadSequenceNumber);
            return;
        }
        self.resets.expected = number.next();
        let request = Deferred {
            number,
            last_tsn: self.rx.tracker.extend(last_tsn),
            streams: streams.iter().collect(),
            all: streams.is_empty(),
            put_off: false,
        };
        if self
            .resets
            .performed_late
            .take()
            .is_some_and(|late| late.repeats(&request))
        {
            self.resets.last_result = ResetResult::Performed;
            self.respond(number, ResetResult::Performed);
            return;
        }
        // There is one request at a time: this one takes the place of one that still waits, and includes it.
        let mut deferred = request;
        if let Some(waiting) = self.resets.deferred.take() {
            deferred.streams.extend(waiting.streams);
            deferred.all |= waiting.all;
            deferred.put_off = true;
        }
        let last_tsn = deferred.last_tsn;
        self.resets.deferred = Some(deferred);
        if last_tsn <= self.rx.tracker.cumulative() {
            self.perform_deferred_reset();
        } else {
            if let Some(deferred) = &mut self.resets.deferred {
                deferred.put_off = true;
            }
            self.respond(number, ResetResult::InProgress);
        }
    }

    /// Performs the peer's reset if all data sent before it has arrived.
    #[inline]
    pub(super) fn perform_deferred_reset(&mut self) {
        let cumulative = self.rx.tracker.cumulative();
        let Some(deferred) = self.resets.deferred.take_if(|d| d.last_tsn <= cumulative) else {
            return;
        };
        // What has arrived is told before the reset.
        self.collect_events();
        let mut streams: Vec<u16> = deferred.streams.iter().copied().collect();
        if deferred.all {
            streams = self.rx.reassembly.reset_all();
        }
        for stream in streams {
            self.rx.reassembly.reset(stream);
            if self.resets.announced.insert(stream) {
                self.events.push_back(Event::IncomingReset(stream));
            }
        }
        self.resets.last_result = ResetResult::Performed;
        self.respond(deferred.number, ResetResult::Performed);
        self.resets.performed_late = Some(deferred).filter(|deferred| deferred.put_off);
    }

    fn handle_reset_response(&mut self, now: Instant, response: Serial32, result: ResetResult) {
        let Some(request) = self.resets.request.take_if(|request| request.number == response) else {
            return;
        };
        self.phase.is_alive();
        match result {
            ResetResult::InProgress | ResetResult::AlreadyInProgress => {
                self.resets.request = Some(Request {
                    in_progress: true,
                    due: false,
                    tries: 0,
                    ..request
                });
                self.timers.set(Timer::ReConfig, now + self.tx.rto.backed_off(0));
            }
            result => {
                let ok = matches!(result, ResetResult::Performed | ResetResult::NothingToDo);
                self.timers.stop(Timer::ReConfig);
                match request.what {
                    What::Reset(streams) => {
                        for stream in streams {
                            self.tx.queue.end_reset(stream, ok);
                            self.events.push_back(Event::OutgoingReset { stream, ok });
                        }
                    }
                    What::Add { count, outgoing: true } => {
                        self.streams_added(if ok { count } else { 0 }, true, ok);
                    }
                    // If the peer agrees it asks for them itself, and that is told.
                    What::Add { outgoing: false, .. } if ok => {}
                    What::Add { outgoing: false, .. } => self.streams_added(0, false, false),
                }
            }
        }
    }
}
