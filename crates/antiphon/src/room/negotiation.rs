//! When a peer's next exchange is due, and which call fits: a machine that is told the time.

use std::time::{Duration, Instant};

use antiphon_peer_connection::{RtcSignalingState, SdpType};

use super::error::Error;

/// Changes of a room come in bursts (a peer has two tracks, several peers leave): one exchange is for all of so long a time.
pub(super) const COALESCED: Duration = Duration::from_millis(500);

/// The signalling of one connection whose offers are always ours.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    state: RtcSignalingState,
    /// An offer was made, and is neither answered nor given up.
    busy: bool,
    /// Something has changed that no offer has described yet.
    needed: bool,
    /// When the application is told of it.
    due: Option<Instant>,
}

impl Negotiation {
    pub(super) fn state(&self) -> RtcSignalingState {
        self.state
    }

    /// Whether an offer is made, and neither answered nor given up.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Something has changed that the peer must hear of.
    pub(super) fn mark(&mut self, now: Instant) {
        self.needed = true;
        self.look(now);
    }

    /// Whether `create_offer` is allowed now.
    pub(super) fn check_create(&self) -> Result<(), Error> {
        let operation = "create an offer";
        match self.state {
            RtcSignalingState::Closed => Err(Error::Closed("connection")),
            RtcSignalingState::Stable if self.busy => Err(Error::Busy { operation }),
            RtcSignalingState::Stable => Ok(()),
            state => Err(Error::InvalidState {
                operation: operation.to_owned(),
                state,
            }),
        }
    }

    /// An offer was made, of everything as it is now.
    pub(super) fn created(&mut self) {
        self.busy = true;
        self.needed = false;
        self.due = None;
    }

    /// Whether a local description of this type may be set now.
    pub(super) fn check_local(&self, sdp_type: SdpType) -> Result<(), Error> {
        match (self.state, sdp_type) {
            (RtcSignalingState::Closed, _) => Err(Error::Closed("connection")),
            (RtcSignalingState::Stable, SdpType::Offer) if self.busy => Ok(()),
            (state, sdp_type) => Err(Error::state("local", sdp_type, state)),
        }
    }

    /// Our offer is set.
    pub(super) fn offered(&mut self) {
        self.state = RtcSignalingState::HaveLocalOffer;
    }

    /// Whether a remote description of this type may be set now.
    pub(super) fn check_remote(&self, sdp_type: SdpType) -> Result<(), Error> {
        match (self.state, sdp_type) {
            (RtcSignalingState::Closed, _) => Err(Error::Closed("connection")),
            (RtcSignalingState::HaveLocalOffer, SdpType::Answer) => Ok(()),
            (state, SdpType::Offer) => Err(Error::OfferFromClient { state }),
            (state, sdp_type) => Err(Error::state("remote", sdp_type, state)),
        }
    }

    /// The answer is set.
    pub(super) fn answered(&mut self, now: Instant) {
        self.state = RtcSignalingState::Stable;
        self.busy = false;
        self.look(now);
    }

    /// The exchange is given up. What its offer would have told the peer is still to be told. Whether the state was another.
    pub(super) fn reset(&mut self, now: Instant) -> Result<bool, Error> {
        if self.state == RtcSignalingState::Closed {
            return Err(Error::Closed("connection"));
        }
        let changed = self.state != RtcSignalingState::Stable;
        self.needed |= std::mem::take(&mut self.busy);
        self.state = RtcSignalingState::Stable;
        self.look(now);
        Ok(changed)
    }

    pub(super) fn close(&mut self) {
        *self = Self {
            state: RtcSignalingState::Closed,
            ..Self::default()
        };
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the application is to be told now that negotiation is needed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }

    /// The time runs from the first of several changes, and only while an offer could be made.
    fn look(&mut self, now: Instant) {
        if self.needed && !self.busy && self.state == RtcSignalingState::Stable {
            self.due.get_or_insert(now + COALESCED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(own: &mut Negotiation, now: Instant) {
        own.check_create().unwrap();
        own.created();
        own.check_local(SdpType::Offer).unwrap();
        own.offered();
        own.check_remote(SdpType::Answer).unwrap();
        own.answered(now);
    }

    #[test]
    fn several_changes_are_told_once_half_a_second_after_the_first() {
        let start = antiphon_netsim::start();
        let mut own = Negotiation::default();
        assert_eq!(own.poll_timeout(), None);
        own.mark(start);
        own.mark(start + COALESCED / 2);
        assert_eq!(own.poll_timeout(), Some(start + COALESCED));
        assert!(!own.handle_timeout(start + COALESCED / 2), "too early");
        assert!(own.handle_timeout(start + COALESCED));
        assert_eq!(own.poll_timeout(), None, "told once");
        own.mark(start + COALESCED * 2);
        assert_eq!(
            own.poll_timeout(),
            Some(start + COALESCED * 3),
            "another change is told too"
        );
    }

    #[test]
    fn nothing_is_told_while_an_exchange_is_under_way_and_it_is_looked_again_after_it() {
        let start = antiphon_netsim::start();
        let later = start + COALESCED;
        let mut own = Negotiation::default();
        own.mark(start);
        own.created();
        assert_eq!(own.poll_timeout(), None, "the offer describes it");
        own.mark(start);
        own.offered();
        own.mark(start);
        assert_eq!(own.poll_timeout(), None, "not now");
        own.answered(later);
        assert_eq!(own.poll_timeout(), Some(later + COALESCED));
        assert!(own.handle_timeout(later + COALESCED));
        exchange(&mut own, later);
        assert_eq!(own.poll_timeout(), None, "that offer described all of it");
    }

    #[test]
    fn what_a_given_up_offer_would_have_said_is_still_needed() {
        let start = antiphon_netsim::start();
        let mut own = Negotiation::default();
        assert!(!own.reset(start).unwrap(), "nothing to give up");
        assert_eq!(own.poll_timeout(), None);
        own.created();
        assert!(matches!(own.check_create(), Err(Error::Busy { .. })));
        assert!(!own.reset(start).unwrap(), "the state was stable");
        own.created();
        own.offered();
        assert!(matches!(own.check_create(), Err(Error::InvalidState { .. })));
        assert!(own.reset(start).unwrap());
        assert_eq!(own.poll_timeout(), Some(start + COALESCED));
        exchange(&mut own, start);
        assert_eq!(own.poll_timeout(), None);
    }

    #[test]
    fn each_refusal_names_the_type_and_the_state() {
        let mut own = Negotiation::default();
        let refused = |result: Result<(), Error>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
        refused(
            own.check_local(SdpType::Offer),
            "cannot set a local offer in signalling state stable",
        );
        refused(
            own.check_remote(SdpType::Answer),
            "cannot set a remote answer in signalling state stable",
        );
        own.created();
        own.offered();
        refused(
            own.check_local(SdpType::Answer),
            "cannot set a local answer in signalling state have-local-offer",
        );
        refused(
            own.check_remote(SdpType::PrAnswer),
            "cannot set a remote pranswer in signalling state have-local-offer",
        );
        refused(
            own.check_remote(SdpType::Offer),
            "cannot set a remote offer in signalling state have-local-offer: the server makes the offers and the client answers",
        );
        own.close();
        refused(own.check_create(), "the connection is closed");
        refused(own.check_local(SdpType::Offer), "the connection is closed");
        refused(own.check_remote(SdpType::Answer), "the connection is closed");
        assert!(own.reset(antiphon_netsim::start()).is_err());
    }
}
