//! Signalling: the descriptions of an exchange, the candidates that are faster than theirs, and whether another
//! exchange is needed.

mod descriptions;

use std::sync::Arc;

use antiphon_jsep::{
    IceCandidate, JsepError, LocalTransport, Negotiator, OfferOptions, Plan, RemoteCandidate, SdpType,
    SessionDescription, SignalingState,
};

use crate::error::Error;
use crate::types::RtcSessionDescription;

/// How many candidates are kept that come before the description that they belong to.
pub const MAX_EARLY_CANDIDATES: usize = 64;

/// The state of signalling. What each packet looks at comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Signaling {
    /// Whether the application is yet to be told that negotiation is needed.
    due: bool,
    /// W3C `[[NegotiationNeeded]]`.
    needed: bool,
    /// The descriptions and the transceivers, as they are negotiated.
    pub(crate) negotiator: Negotiator,
    /// What `create_offer` or `create_answer` made last.
    created: Option<Created>,
    early: Vec<IceCandidate>,
}

/// A description of ours, as the application has it and as it was made.
#[derive(Debug)]
struct Created {
    sdp_type: SdpType,
    text: String,
    description: Arc<SessionDescription>,
}

/// What became of a candidate of the peer's.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// ICE shall have it.
    Now(RemoteCandidate),
    /// It is for a section that is not on the transport: passed over.
    Never,
    /// It waits for its description. `ousted`: an older one gave way to it.
    Later { ousted: bool },
}

impl Signaling {
    pub(crate) fn new(negotiator: Negotiator) -> Self {
        Self {
            negotiator,
            created: None,
            early: Vec::new(),
            needed: false,
            due: false,
        }
    }

    /// Makes an offer or an answer.
    pub(crate) fn create(
        &mut self,
        kind: SdpType,
        options: &OfferOptions,
        transport: &LocalTransport,
    ) -> Result<RtcSessionDescription, Error> {
        let (sdp_type, description) = match kind {
            SdpType::Offer => (SdpType::Offer, self.negotiator.create_offer(options, transport)?),
            _ => (SdpType::Answer, self.negotiator.create_answer(transport)?),
        };
        let text = description.to_text();
        self.created = Some(Created {
            sdp_type,
            text: text.clone(),
            description,
        });
        Ok(RtcSessionDescription::new(sdp_type, text))
    }

    /// The description that was made last, if it is of this kind: offers are, and answers of both sorts.
    pub(crate) fn created(&self, kind: SdpType) -> Option<&str> {
        let is_offer = kind == SdpType::Offer;
        let created = self.created.as_ref();
        created
            .filter(|created| (created.sdp_type == SdpType::Offer) == is_offer)
            .map(|created| created.text.as_str())
    }

    /// Sets a local description. One that we made is not read again: its tree is at hand.
    pub(crate) fn set_local(&mut self, description: &RtcSessionDescription) -> Result<Plan, Error> {
        let created = self.created.as_ref();
        let tree = match created.filter(|created| created.text == description.sdp) {
            Some(created) => Arc::clone(&created.description),
            None => parse(description)?,
        };
        Ok(self.negotiator.set_local(description.sdp_type, tree)?)
    }

    /// Sets a remote description. `lite`: we are an ICE-lite agent.
    pub(crate) fn set_remote(&mut self, description: &RtcSessionDescription, lite: bool) -> Result<Plan, Error> {
        let tree = parse(description)?;
        if lite && says_lite(&tree) {
            return Err(Error::BothLite);
        }
        Ok(self.negotiator.set_remote(description.sdp_type, tree)?)
    }

    /// An exchange has ended: what was made for it is not the last one made any more (W3C `[[LastCreatedOffer]]`,
    /// `[[LastCreatedAnswer]]`).
    pub(crate) fn forget_created(&mut self) {
        self.created = None;
    }

    /// Takes a candidate of the peer's. An error leaves no trace.
    pub(crate) fn candidate(&mut self, candidate: &IceCandidate) -> Result<Taken, Error> {
        let candidate = candidate.normalized()?;
        let unplaced = candidate.sdp_mid.is_none() && candidate.sdp_m_line_index.is_none();
        if unplaced && !candidate.is_end() {
            return Err(Error::CandidateWithoutSection);
        }
        if self.negotiator.remote_description().is_none() {
            if self.early.len() >= MAX_EARLY_CANDIDATES {
                return Err(Error::TooManyCandidates);
            }
            self.early.push(candidate);
            return Ok(Taken::Later { ousted: false });
        }
        match self.negotiator.add_remote_candidate(&candidate) {
            Ok(Some(remote)) => Ok(Taken::Now(remote)),
            Ok(None) => Ok(Taken::Never),
            // Faster than the offer that restarts ICE (RFC 8838 §11). Nobody knows whether that will come: of too many
            // the oldest go.
            Err(JsepError::CandidateGeneration) => {
                let ousted = self.early.len() >= MAX_EARLY_CANDIDATES;
                if ousted {
                    self.early.remove(0);
                }
                self.early.push(candidate);
                Ok(Taken::Later { ousted })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The candidates that have waited: to be taken again, now that another description is set.
    pub(crate) fn take_early(&mut self) -> Vec<IceCandidate> {
        std::mem::take(&mut self.early)
    }

    /// W3C "update the negotiation-needed flag": one event until the next exchange, and only in `stable`.
    pub(crate) fn check_needed(&mut self) {
        if self.negotiator.signaling_state() != SignalingState::Stable {
            return;
        }
        let needed = self.negotiator.negotiation_needed();
        self.due = needed && (self.due || !self.needed);
        self.needed = needed;
    }

    /// An exchange has moved on: whatever was needed is asked anew when it ends.
    pub(crate) fn forget_needed(&mut self) {
        self.needed = false;
        self.due = false;
    }

    /// Whether the application is to be told that negotiation is needed: once.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }
}

fn parse(description: &RtcSessionDescription) -> Result<Arc<SessionDescription>, Error> {
    if description.sdp_type == SdpType::Rollback {
        // What is taken back is not looked at.
        return Ok(Arc::default());
    }
    let parsed = SessionDescription::parse(&description.sdp).map_err(JsepError::from)?;
    Ok(Arc::new(parsed))
}

/// RFC 8839 §5.3; some write it into sections.
fn says_lite(description: &SessionDescription) -> bool {
    description.session.ice_lite() || description.media.iter().any(|media| media.section.ice_lite())
}

#[cfg(test)]
mod tests {
    use antiphon_jsep::{Config, Fingerprint, MediaKind, TransceiverInit};
    use antiphon_sansio::Rng;

    use super::*;

    fn signaling(seed: u64) -> Signaling {
        Signaling::new(Negotiator::new(Config::default(), Rng::from_u64(seed)))
    }

    fn transport(name: &str) -> LocalTransport {
        LocalTransport {
            ufrag: format!("{name}frag"),
            pwd: format!("{name}-a-password-long-enough"),
            fingerprints: Fingerprint::parse("sha-256 AB:CD").into_iter().collect(),
            ..LocalTransport::default()
        }
    }

    fn offer(signaling: &mut Signaling) -> RtcSessionDescription {
        let options = OfferOptions::default();
        signaling.create(SdpType::Offer, &options, &transport("a")).unwrap()
    }

    #[test]
    fn negotiation_is_needed_once() {
        type Step = fn(&mut Signaling);
        let add: Step = |own| {
            own.negotiator
                .add_transceiver(MediaKind::Audio, TransceiverInit::default());
        };
        let set: Step = |own| {
            let offer = offer(own);
            own.set_local(&offer).unwrap();
            own.forget_needed();
        };
        let back: Step = |own| {
            own.set_local(&RtcSessionDescription::rollback()).unwrap();
            own.forget_needed();
        };
        let nothing: Step = |_| {};
        let mut own = signaling(1);
        for (step, what, due) in [
            (nothing, "nothing to negotiate", false),
            (add, "a transceiver", true),
            (nothing, "asked again", false),
            (add, "another, but the application knows", false),
            (set, "not while an exchange is under way", false),
            (add, "not for what comes meanwhile either", false),
            (back, "all of it again", true),
        ] {
            step(&mut own);
            own.check_needed();
            assert_eq!(own.take_due(), due, "{what}");
            assert!(!own.take_due(), "told once");
        }
    }

    #[test]
    fn an_event_that_nobody_took_goes_with_its_reason() {
        let mut own = signaling(1);
        let id = own
            .negotiator
            .add_transceiver(MediaKind::Audio, TransceiverInit::default());
        own.check_needed();
        own.negotiator.stop(id).unwrap();
        own.check_needed();
        assert!(!own.take_due());
    }

    #[test]
    fn a_description_of_ours_is_set_as_the_tree_that_it_was_made_from() {
        let mut own = signaling(1);
        own.negotiator
            .add_transceiver(MediaKind::Video, TransceiverInit::default());
        let offer = offer(&mut own);
        let made = Arc::as_ptr(&own.created.as_ref().unwrap().description);
        let set = |own: &Signaling| std::ptr::from_ref(own.negotiator.pending_local_description().unwrap().1);
        own.set_local(&offer).unwrap();
        assert_eq!(set(&own), made, "not read again");
        let mut edited = offer.clone();
        edited.sdp = offer.sdp.replace("a=sendrecv", "a=sendonly");
        own.set_local(&edited).unwrap();
        assert_ne!(set(&own), made, "its own text counts");
        assert_eq!(own.created(SdpType::Offer), Some(offer.sdp.as_str()));
        assert_eq!(own.created(SdpType::PrAnswer), None);
    }

    #[test]
    fn early_candidates_wait_and_are_bounded() {
        let mut own = signaling(1);
        let candidate = |ufrag: &str| IceCandidate {
            candidate: "1 1 udp 2130706431 192.0.2.1 5000 typ host".into(),
            sdp_mid: Some("0".into()),
            sdp_m_line_index: None,
            username_fragment: Some(ufrag.into()),
        };
        let later = |ousted| Ok(Taken::Later { ousted });
        for _ in 0..MAX_EARLY_CANDIDATES {
            assert_eq!(own.candidate(&candidate("afrag")), later(false));
        }
        assert_eq!(own.candidate(&candidate("afrag")), Err(Error::TooManyCandidates));
        let mut peer = signaling(2);
        peer.negotiator
            .add_transceiver(MediaKind::Video, TransceiverInit::default());
        let offer = offer(&mut peer);
        own.set_remote(&offer, false).unwrap();
        for early in own.take_early() {
            assert!(matches!(own.candidate(&early), Ok(Taken::Now(_))));
        }
        // Those of a generation that may come: the oldest make room.
        for _ in 0..MAX_EARLY_CANDIDATES {
            assert_eq!(own.candidate(&candidate("next")), later(false));
        }
        assert_eq!(own.candidate(&candidate("next")), later(true));
        assert_eq!(own.take_early().len(), MAX_EARLY_CANDIDATES);
    }
}
