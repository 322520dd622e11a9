//! The end of a connection (docs/connection-end.md): ours, and how the peer's is noticed.

use std::time::Instant;

use antiphon_jsep::{Direction, SignalingState};
use antiphon_sctp::Error as SctpError;
use antiphon_sctp::chunk::cause::USER_INITIATED_ABORT;

use crate::connection::{Closing, PeerConnection};
use crate::event::{Event, PeerEnd};
use crate::states::{RtcDtlsTransportState, RtcIceConnectionState, RtcPeerConnectionState};

/// How many datagrams closing may take at most: goodbyes are few, and whatever is queued behind them does not count.
pub(crate) const MAX_CLOSING_DATAGRAMS: u32 = 256;

impl PeerConnection {
    /// `close`. Goodbyes are sent by the polls that follow; then these give nothing any more. As the W3C has it, no
    /// events tell of it but those of the data channels.
    pub fn close(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        self.signaling.negotiator.close();
        self.media.close();
        self.data.channels.abort(now);
        self.transport.drop_held();
        self.signaling.forget_needed();
        self.events.clear();
        self.states.ice = RtcIceConnectionState::Closed;
        self.states.connection = RtcPeerConnectionState::Closed;
        self.states.sctp = self.data.state();
        self.closing = Some(Closing::Streams(0));
        if self.transport.path().is_none() {
            self.close_ice(now);
        }
    }

    fn close_ice(&mut self, now: Instant) {
        self.closing = Some(Closing::Ice);
        self.transport.dtls_ended(RtcDtlsTransportState::Closed);
        self.transport.agent.close(now);
        while self.transport.agent.poll_event().is_some() {}
    }

    /// Everything of this step of closing is sent: takes the next one. `false`: there is none, or we are not closing.
    pub(crate) fn close_further(&mut self, now: Instant) -> bool {
        match self.closing {
            None | Some(Closing::Ice) => return false,
            Some(Closing::Streams(_)) => {
                self.closing = Some(Closing::Dtls);
                if let Some(dtls) = &mut self.transport.dtls {
                    dtls.close();
                }
            }
            Some(Closing::Dtls) => self.close_ice(now),
        }
        true
    }

    /// The end of the connection that the end of its association means. Some stacks say no more than that, so it counts
    /// beside media too. It does not where it may have another cause: an association that broke while media goes on,
    /// and the answer to an offer of ours, on its way, that takes the data section out.
    pub(crate) fn end_by_association(&self) -> Option<PeerEnd> {
        let end = match self.data.channels.end()? {
            Ok(()) => PeerEnd::SctpShutdown,
            Err(SctpError::AbortedByPeer { cause }) => PeerEnd::SctpAbort { cause: *cause },
            Err(_) => return None,
        };
        let meant = match end {
            PeerEnd::SctpAbort { cause } => cause.is_none_or(|cause| cause == USER_INITIATED_ABORT),
            _ => true,
        };
        let media = self.signaling.negotiator.transceivers().any(|transceiver| {
            let direction = transceiver.current_direction();
            !transceiver.stopped() && direction.is_some_and(|direction| direction != Direction::Inactive)
        });
        let settled = self.signaling.negotiator.signaling_state() != SignalingState::HaveLocalOffer;
        (!media || (meant && settled)).then_some(end)
    }

    /// Once: who says farewell in several ways has left once.
    pub(crate) fn tell_end(&mut self, end: PeerEnd) {
        if self.peer_end.is_none() {
            tracing::debug!(%end, "the peer has ended the connection");
            self.peer_end = Some(end);
            self.push(Event::PeerEnded(end));
        }
    }

    /// Consent that expires ends a connection that stood; an ICE restart may bring it back, and then it can end again.
    pub(crate) fn watch_for_silence(&mut self, state: RtcIceConnectionState) {
        match state {
            RtcIceConnectionState::Failed if self.transport.connected.is_some() => self.tell_end(PeerEnd::Silence),
            RtcIceConnectionState::Connected | RtcIceConnectionState::Completed => {
                self.peer_end = self.peer_end.filter(|end| *end != PeerEnd::Silence);
            }
            _ => {}
        }
    }

    pub(crate) fn end_dtls(&mut self, now: Instant, state: RtcDtlsTransportState, end: Option<PeerEnd>) {
        // The association may have ended within the same datagram, and before.
        self.update_sctp_state();
        self.transport.dtls_ended(state);
        self.data.channels.abort(now);
        self.push(Event::DtlsStateChange(state));
        if let Some(end) = end {
            self.tell_end(end);
        }
    }
}

#[cfg(test)]
mod tests;
