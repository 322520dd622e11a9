//! Offers, answers and candidates, as the application sees them.

use std::time::Instant;

use antiphon_dtls::HashAlgorithm;
use antiphon_ice::{CandidateError, Credentials};
use antiphon_jsep::{
    IceCandidate, JsepError, LocalTransport, OfferOptions, SdpType, SessionDescription, SignalingState,
};

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::states::RtcIceGatheringState;
use crate::types::RtcSessionDescription;

/// How many candidates are kept that come before the remote description.
pub const MAX_EARLY_CANDIDATES: usize = 64;

impl PeerConnection {
    /// `localDescription`: the pending one, else the current one.
    pub fn local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.local_description().map(described)
    }

    /// `remoteDescription`: the pending one, else the current one.
    pub fn remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.remote_description().map(described)
    }

    /// `currentLocalDescription`.
    pub fn current_local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.current_local_description().map(described)
    }

    /// `pendingLocalDescription`.
    pub fn pending_local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.pending_local_description().map(described)
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.current_remote_description().map(described)
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.pending_remote_description().map(described)
    }

    /// `canTrickleIceCandidates`: whether the peer said that it takes candidates later. `None` before its description.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        let (_, description) = self.negotiator.remote_description()?;
        let mut sections = description.media.iter().map(|media| &media.section);
        let said = |section: &antiphon_jsep::sdp::Section| section.ice_options().any(|word| word == "trickle");
        Some(said(&description.session) || sections.any(said))
    }

    /// What a description made now says of our end.
    fn local_transport(&mut self, new_credentials: bool) -> LocalTransport {
        let fingerprint = self.transport.certificate().fingerprint(HashAlgorithm::Sha256);
        let fingerprints = antiphon_jsep::Fingerprint::parse(&fingerprint.to_string());
        let mut transport = LocalTransport {
            lite: self.transport.agent.is_lite(),
            fingerprints: fingerprints.into_iter().collect(),
            ..LocalTransport::default()
        };
        if self.transport.agent.renominates() {
            transport.ice_options = ["trickle", "ice2", "renomination"].map(str::to_owned).into();
        }
        let credentials = if new_credentials {
            let rng = &mut self.rng;
            // As the agent draws its first: enough for one-port mode to tell connections apart by the fragment.
            self.restart.next.get_or_insert_with(|| Credentials {
                ufrag: rng.ice_chars(8),
                password: rng.ice_chars(24),
            })
        } else {
            transport.candidates = self.local_candidates.clone();
            transport.end_of_candidates = self.gathering_state == RtcIceGatheringState::Complete;
            self.transport.agent.local_credentials()
        };
        transport.ufrag.clone_from(&credentials.ufrag);
        transport.pwd.clone_from(&credentials.password);
        transport
    }

    /// `createOffer`. `ice_restart` asks for new ICE credentials.
    ///
    /// # Errors
    /// `InvalidStateError` while the peer's offer waits for an answer, and when closed.
    pub fn create_offer(&mut self, options: OfferOptions) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let described = self.negotiator.local_description().is_some();
        let restart = options.ice_restart || self.negotiator.ice_restart_wanted();
        let transport = self.local_transport(restart && described && !self.restarted());
        let offer = self.negotiator.create_offer(&options, &transport)?;
        Ok(self.created(SdpType::Offer, &offer))
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// `InvalidStateError` unless an offer of the peer waits for an answer.
    pub fn create_answer(&mut self) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let restart = self.negotiator.answer_needs_new_credentials();
        let transport = self.local_transport(restart && !self.restarted());
        let answer = self.negotiator.create_answer(&transport)?;
        Ok(self.created(SdpType::Answer, &answer))
    }

    fn created(&mut self, sdp_type: SdpType, description: &SessionDescription) -> RtcSessionDescription {
        let description = RtcSessionDescription::new(sdp_type, description.to_text());
        self.last_created = Some(description.clone());
        description
    }

    /// `setLocalDescription`. `None` makes the description that fits the state first, and sets it; a description with an
    /// empty text is the one that was made last. Candidates are gathered from now on.
    ///
    /// # Errors
    /// `InvalidStateError` or `InvalidModificationError`; nothing has changed then.
    pub fn set_local_description(
        &mut self,
        now: Instant,
        description: Option<RtcSessionDescription>,
    ) -> Result<(), Error> {
        self.open()?;
        let description = match description {
            Some(description) if description.sdp.is_empty() && description.sdp_type != SdpType::Rollback => {
                let made = match description.sdp_type {
                    SdpType::Offer => SdpType::Offer,
                    _ => SdpType::Answer,
                };
                match self.last_created.as_ref().filter(|last| last.sdp_type == made) {
                    Some(last) => RtcSessionDescription::new(description.sdp_type, last.sdp.clone()),
                    None => self.create_fitting(made)?,
                }
            }
            Some(description) => description,
            None => self.create_fitting(self.negotiator.implicit_type())?,
        };
        let kind = description.sdp_type;
        let parsed = parse(&description)?;
        let plan = self.negotiator.set_local(kind, parsed)?;
        self.apply(now, plan);
        Ok(())
    }

    fn create_fitting(&mut self, kind: SdpType) -> Result<RtcSessionDescription, Error> {
        match kind {
            SdpType::Offer => self.create_offer(OfferOptions::default()),
            _ => self.create_answer(),
        }
    }

    /// `setRemoteDescription`. An offer that meets our own takes ours back (W3C "perfect negotiation", the polite side).
    ///
    /// # Errors
    /// What is wrong with the description, or that it does not fit the state; nothing has changed then.
    pub fn set_remote_description(&mut self, now: Instant, description: RtcSessionDescription) -> Result<(), Error> {
        self.open()?;
        let kind = description.sdp_type;
        let parsed = parse(&description)?;
        if self.transport.agent.is_lite() && says_lite(&parsed) {
            return Err(Error::BothLite);
        }
        let plan = self.negotiator.set_remote(kind, parsed)?;
        self.apply(now, plan);
        for candidate in std::mem::take(&mut self.early_candidates) {
            // Judged only now; what does not fit is passed over, for the call that brought it has long returned.
            if self.judge_candidate(now, candidate).is_err() {
                self.transport.agent.ignore_remote_candidate();
            }
        }
        self.pump(now);
        Ok(())
    }

    /// `addIceCandidate`. `None`, or an empty candidate: the peer has no more. What comes before the description that it
    /// belongs to, be it the first or one that restarts ICE, is kept for it, up to [`MAX_EARLY_CANDIDATES`]. A candidate of a
    /// transport or type that nobody here knows is counted and ignored (RFC 8839 §5.1).
    ///
    /// # Errors
    /// `TypeError` or `OperationError` for a candidate that cannot be read or placed. It leaves no trace then.
    pub fn add_ice_candidate(&mut self, now: Instant, candidate: Option<IceCandidate>) -> Result<(), Error> {
        self.open()?;
        let candidate = candidate.unwrap_or_default();
        // Read as ICE reads it, before any description has it.
        match candidate.candidate.parse::<antiphon_ice::Candidate>() {
            Err(CandidateError::Unknown(_)) => {
                self.transport.agent.ignore_remote_candidate();
                return Ok(());
            }
            Err(_) if !candidate.is_end() => return Err(Error::Signaling(JsepError::CandidateSyntax)),
            _ => {}
        }
        let candidate = candidate.normalized()?;
        let unplaced = candidate.sdp_mid.is_none() && candidate.sdp_m_line_index.is_none();
        if unplaced && !candidate.is_end() {
            return Err(Error::CandidateWithoutSection);
        }
        if self.negotiator.remote_description().is_none() {
            if self.early_candidates.len() >= MAX_EARLY_CANDIDATES {
                return Err(Error::TooManyCandidates);
            }
            self.early_candidates.push(candidate);
            return Ok(());
        }
        self.judge_candidate(now, candidate)?;
        self.pump(now);
        Ok(())
    }

    fn judge_candidate(&mut self, now: Instant, candidate: IceCandidate) -> Result<(), Error> {
        match self.negotiator.add_remote_candidate(&candidate) {
            Ok(Some(remote)) => self
                .add_remote_candidate(now, &remote)
                .map_err(|_| Error::Signaling(JsepError::CandidateSyntax)),
            Ok(None) => Ok(()),
            // Faster than the offer that restarts ICE (RFC 8838 §11). Nobody knows whether that will come: of too many the
            // oldest go.
            Err(JsepError::CandidateGeneration) => {
                if self.early_candidates.len() >= MAX_EARLY_CANDIDATES {
                    self.early_candidates.remove(0);
                    self.transport.agent.ignore_remote_candidate();
                }
                self.early_candidates.push(candidate);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `restartIce`: the next offer has new ICE credentials. DTLS and everything above live on.
    pub fn restart_ice(&mut self) {
        if self.closing.is_none() {
            self.negotiator.restart_ice();
            self.check_negotiation_needed();
        }
    }

    /// W3C "update the negotiation-needed flag": one event until the next exchange, and only in `stable`.
    pub(crate) fn check_negotiation_needed(&mut self) {
        if self.closing.is_some() || self.signaling_state() != SignalingState::Stable {
            return;
        }
        let needed = self.negotiator.negotiation_needed();
        if needed && !self.negotiation_needed {
            self.negotiation_event = true;
        }
        if !needed {
            self.negotiation_event = false;
        }
        self.negotiation_needed = needed;
    }

    /// An exchange has moved on: whatever was needed is asked anew when it ends.
    pub(crate) fn forget_negotiation_needed(&mut self) {
        self.negotiation_needed = false;
        self.negotiation_event = false;
    }
}

/// RFC 8839 §5.3; some write it into sections.
fn says_lite(description: &SessionDescription) -> bool {
    description.session.ice_lite() || description.media.iter().any(|media| media.section.ice_lite())
}

fn described((kind, description): (SdpType, &SessionDescription)) -> RtcSessionDescription {
    RtcSessionDescription::new(kind, description.to_text())
}

fn parse(description: &RtcSessionDescription) -> Result<SessionDescription, Error> {
    // What is taken back is not looked at.
    let text = match description.sdp_type {
        SdpType::Rollback => "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        _ => &description.sdp,
    };
    SessionDescription::parse(text).map_err(|error| Error::Signaling(error.into()))
}
