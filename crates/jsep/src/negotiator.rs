//! The negotiator: who holds the state, and the calls that move it on.

use std::fmt;
use std::sync::Arc;

use antiphon_sansio::Rng;
use antiphon_sdp::{Direction, Line, RidDirection, SessionDescription};

use crate::config::Config;
use crate::error::JsepError;
use crate::parameters::layers;
use crate::plan::Plan;
use crate::state::{self, Created, Described, State};
use crate::transceiver::{Sender, Transceiver, TransceiverInit};
use crate::types::{
    IceCandidate, LocalTransport, MediaKind, OfferOptions, RemoteCandidate, SdpType, SignalingState, TransceiverId,
};
use crate::{answer, negotiation_needed, offer, preference};

/// Offer and answer for one peer connection (RFC 9429): the signalling state, the descriptions and the transceiver
/// table.
///
/// Pure: no clock, no socket, no transport. Each `set_*` checks everything first; on `Err` nothing has changed.
pub struct Negotiator {
    config: Config,
    session_id: u64,
    state: State,
    created: Option<Created>,
}

// Descriptions hold ICE passwords and addresses: they stay out of logs.
impl fmt::Debug for Negotiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiator")
            .field("signaling_state", &self.state.signaling)
            .field("transceivers", &self.state.transceivers.len())
            .finish_non_exhaustive()
    }
}

impl Negotiator {
    /// A negotiator in state `stable`, with no transceivers. `rng` gives the session id and the CNAME.
    pub fn new(mut config: Config, mut rng: Rng) -> Self {
        if config.cname.is_empty() {
            config.cname = rng.ice_chars(16);
        }
        Self {
            config,
            // RFC 9429 §5.2.1: 63 random bits, so that the number fits a signed integer of 64.
            session_id: rng.u64() >> 1,
            state: State {
                default_stream: rng.ice_chars(24),
                // RFC 8842 §4: at least 20 characters.
                tls_id: rng.ice_chars(32),
                ..State::default()
            },
            created: None,
        }
    }

    /// The configuration, with the CNAME that is used.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The signalling state.
    pub fn signaling_state(&self) -> SignalingState {
        self.state.signaling
    }

    /// Adds a transceiver; the next offer will have a section for it.
    pub fn add_transceiver(&mut self, kind: MediaKind, init: TransceiverInit) -> TransceiverId {
        let id = TransceiverId(self.state.next_id);
        self.state.next_id += 1;
        self.state.transceivers.push(Transceiver {
            id,
            kind,
            direction: init.direction,
            sender: init.sender,
            receive_rids: init.receive_rids,
            from_add_track: init.from_add_track,
            from_remote: false,
            stopping: false,
            codec_preferences: Vec::new(),
            state: Default::default(),
        });
        id
    }

    /// The transceivers, in the order of their making; stopped ones are gone once their exchange has ended.
    pub fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.state.transceivers.iter()
    }

    /// One transceiver.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.state.transceivers.iter().find(|transceiver| transceiver.id == id)
    }

    /// The transceiver of the section with this `a=mid`.
    pub fn transceiver_by_mid(&self, mid: &str) -> Option<&Transceiver> {
        self.state
            .transceivers
            .iter()
            .find(|transceiver| transceiver.mid() == Some(mid) && !transceiver.stopped())
    }

    /// Sets the preferred direction; the next exchange negotiates it.
    ///
    /// # Errors
    /// [`JsepError::NoTransceiver`].
    pub fn set_direction(&mut self, id: TransceiverId, direction: Direction) -> Result<(), JsepError> {
        self.live(id)?.direction = direction;
        Ok(())
    }

    /// Says what a transceiver sends: streams, track, SSRCs, simulcast layers. `from_add_track` marks it as used by
    /// `add_track` (W3C: such a transceiver survives a rollback, and may be taken by a remote offer).
    ///
    /// # Errors
    /// [`JsepError::NoTransceiver`].
    pub fn set_sender(&mut self, id: TransceiverId, sender: Sender, from_add_track: bool) -> Result<(), JsepError> {
        let transceiver = self.live(id)?;
        transceiver.sender = sender;
        transceiver.from_add_track |= from_add_track;
        Ok(())
    }

    /// The layers that the peer's pending offer asks a transceiver to send, by their RIDs (`a=simulcast:recv`); at most 16, and none
    /// twice. The sender may get encodings of these names before the answer is made.
    pub fn asked_layers(&self, id: TransceiverId) -> Vec<String> {
        let pending = self.state.pending_remote.as_ref();
        let Some(offer) = pending.filter(|described| described.kind == SdpType::Offer) else {
            return Vec::new();
        };
        let index = self.transceiver(id).and_then(Transceiver::m_line_index);
        let Some(media) = index.and_then(|index| offer.text.media.get(index)) else {
            return Vec::new();
        };
        let asked = media.section.simulcast().map(|simulcast| simulcast.receive);
        let mut rids = Vec::new();
        for layer in layers(&media.section, asked.unwrap_or_default(), RidDirection::Receive) {
            if !rids.contains(&layer.rid) {
                rids.push(layer.rid);
            }
        }
        rids
    }

    /// Names the codecs to negotiate, best first, by encoding name (`VP8`, or `video/VP8` as the W3C has it) or name
    /// and parameters (`H264 packetization-mode=1;profile-level-id=42e01f`); empty means all that we have. Letters may
    /// be of either case. `video/rtx` may stand in the list: retransmission goes with every codec that has it.
    ///
    /// # Errors
    /// [`JsepError::NoTransceiver`]; [`JsepError::UnknownCodec`] for a preference that names nothing we have, and for a
    /// list of nothing but `rtx`. Nothing has changed then.
    pub fn set_codec_preferences(&mut self, id: TransceiverId, preferences: Vec<String>) -> Result<(), JsepError> {
        let kind = self.live(id)?.kind;
        preference::check(&self.config.capabilities, kind, &preferences)?;
        self.live(id)?.codec_preferences = preferences;
        Ok(())
    }

    /// Whether we have a codec that such a preference names, as [`Self::set_codec_preferences`] takes it.
    pub fn has_codec(&self, kind: MediaKind, preference: &str) -> bool {
        preference::check(&self.config.capabilities, kind, &[preference.to_owned()]).is_ok()
    }

    /// Stops a transceiver: at once if it has no section yet, else with the next exchange. Returns whether it is
    /// stopped (and gone) already.
    ///
    /// # Errors
    /// [`JsepError::NoTransceiver`].
    pub fn stop(&mut self, id: TransceiverId) -> Result<bool, JsepError> {
        let transceiver = self.live(id)?;
        if transceiver.state.m_line_index.is_some() {
            transceiver.stopping = true;
            return Ok(false);
        }
        self.state.transceivers.retain(|transceiver| transceiver.id != id);
        Ok(true)
    }

    /// The mids that run on the transport, as the last answer settled it.
    pub fn bundle(&self) -> &[String] {
        &self.state.session.transport.bundle
    }

    /// Asks for a data section in the next offer: the first data channel was created.
    pub fn want_data(&mut self) {
        self.state.wants_data = true;
    }

    /// Notes that ICE shall restart (`restart_ice`): negotiation is needed until an exchange with new local credentials
    /// has ended.
    pub fn restart_ice(&mut self) {
        // Before the first exchange there is nothing to restart.
        self.state.ice_restart_wanted = self.state.session.transport.local.is_some();
    }

    /// Whether `restart_ice` still waits for its exchange: `create_offer` must be given new credentials.
    pub fn ice_restart_wanted(&self) -> bool {
        self.state.ice_restart_wanted
    }

    /// Whether the next `create_answer` must be given new ICE credentials: the peer's offer restarts ICE
    /// (RFC 9429 §5.3.1).
    pub fn answer_needs_new_credentials(&self) -> bool {
        matches!(
            self.state.signaling,
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPrAnswer
        ) && answer::offer_restarts_ice(&self.state)
    }

    /// Whether an offer would change anything (W3C "check if negotiation is needed"). `false` outside `stable`.
    pub fn negotiation_needed(&self) -> bool {
        negotiation_needed::check(&self.state)
    }

    /// Makes an offer (RFC 9429 §5.2). The state does not change; set it with [`Self::set_local`].
    ///
    /// # Errors
    /// [`JsepError::InvalidState`] outside `stable` and `have-local-offer`; [`JsepError::LocalTransport`];
    /// [`JsepError::CredentialsInUse`].
    pub fn create_offer(
        &mut self,
        options: &OfferOptions,
        transport: &LocalTransport,
    ) -> Result<Arc<SessionDescription>, JsepError> {
        if !matches!(
            self.state.signaling,
            SignalingState::Stable | SignalingState::HaveLocalOffer
        ) {
            return Err(self.invalid("create an offer"));
        }
        describable(transport)?;
        let wanted = options.ice_restart || self.state.ice_restart_wanted;
        if wanted && self.uses(transport) {
            return Err(JsepError::CredentialsInUse);
        }
        let created = offer::create(&self.state, &self.config, self.session_id, transport);
        let description = Arc::clone(&created.description);
        self.created = Some(created);
        Ok(description)
    }

    /// Makes an answer (RFC 9429 §5.3).
    ///
    /// # Errors
    /// [`JsepError::InvalidState`] outside `have-remote-offer` and `have-local-pranswer`;
    /// [`JsepError::LocalTransport`]; [`JsepError::CredentialsInUse`] when [`Self::answer_needs_new_credentials`].
    pub fn create_answer(&mut self, transport: &LocalTransport) -> Result<Arc<SessionDescription>, JsepError> {
        let offer = match (self.state.signaling, &self.state.pending_remote) {
            (SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPrAnswer, Some(offer)) => offer,
            _ => return Err(self.invalid("create an answer")),
        };
        describable(transport)?;
        if self.answer_needs_new_credentials() && self.uses(transport) {
            return Err(JsepError::CredentialsInUse);
        }
        let created = answer::create(&self.state, offer, &self.config, self.session_id, transport);
        let description = Arc::clone(&created.description);
        self.created = Some(created);
        Ok(description)
    }

    /// The type that a local description without one has (W3C `setLocalDescription()`): an offer, or an answer if the
    /// peer's offer waits.
    pub fn implicit_type(&self) -> SdpType {
        match self.state.signaling {
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPrAnswer => SdpType::Answer,
            _ => SdpType::Offer,
        }
    }

    /// Sets a local description (RFC 9429 §5.9): the one that [`Self::create_offer`] or [`Self::create_answer`] made
    /// last. Codecs, directions and parameters in it may have been edited, sections and transport not. The very
    /// description that was made is taken as it is. [`SdpType::Rollback`] takes back what is pending, whatever the
    /// description says.
    ///
    /// # Errors
    /// Any [`JsepError`]; nothing has changed then.
    pub fn set_local(
        &mut self,
        kind: SdpType,
        description: impl Into<Arc<SessionDescription>>,
    ) -> Result<Plan, JsepError> {
        let mut next = self.state.clone();
        match kind {
            SdpType::Rollback => next.set_rollback(true)?,
            _ => next.set_local(kind, description.into(), self.created.as_ref())?,
        }
        Ok(self.advance(next))
    }

    /// Sets a remote description (RFC 9429 §5.10). An offer that meets our own pending offer takes that back first
    /// (W3C implicit rollback); the plan then holds both.
    ///
    /// # Errors
    /// Any [`JsepError`]; nothing has changed then.
    pub fn set_remote(
        &mut self,
        kind: SdpType,
        description: impl Into<Arc<SessionDescription>>,
    ) -> Result<Plan, JsepError> {
        let mut next = self.state.clone();
        if kind == SdpType::Rollback {
            next.set_rollback(false)?;
            return Ok(self.advance(next));
        }
        next.set_remote(kind, description.into(), &self.config)?;
        let mut plan = self.advance(next);
        state::candidates(&self.state, &mut plan);
        Ok(plan)
    }

    /// Takes back whichever offer is pending (RFC 9429 §4.1.10.2).
    ///
    /// # Errors
    /// [`JsepError::InvalidState`] when there is none.
    pub fn rollback(&mut self) -> Result<Plan, JsepError> {
        let mut next = self.state.clone();
        next.set_rollback(true)?;
        Ok(self.advance(next))
    }

    /// Ends it: state `closed`, every later call is refused.
    pub fn close(&mut self) {
        self.state.signaling = SignalingState::Closed;
        self.created = None;
    }

    /// Judges a trickled candidate and enters it into the remote description (W3C `addIceCandidate`). `Ok(None)`: it is
    /// meant for a section that is rejected or not on the transport, and is passed over. An error leaves no trace;
    /// after [`JsepError::CandidateGeneration`] it may be offered again when the next remote description is set.
    ///
    /// # Errors
    /// [`JsepError::NoRemoteDescription`], [`JsepError::CandidateSection`], [`JsepError::CandidateGeneration`],
    /// [`JsepError::CandidateSyntax`].
    pub fn add_remote_candidate(&mut self, candidate: &IceCandidate) -> Result<Option<RemoteCandidate>, JsepError> {
        if self.state.signaling == SignalingState::Closed {
            return Err(self.invalid("add a candidate"));
        }
        self.state.add_remote_candidate(candidate)
    }

    /// Enters a candidate that we gathered (an `a=candidate` value) into the local description (RFC 9429 §3.5.1), and
    /// says which section an `icecandidate` event shall name. `None` while there is no local description with that
    /// user name fragment.
    pub fn add_local_candidate(&mut self, candidate: &str, ufrag: &str) -> Option<IceCandidate> {
        let value = candidate.strip_prefix("candidate:").unwrap_or(candidate);
        let text = format!("candidate:{value}");
        self.state.add_local_line(&text, &Line::new('a', text.as_str()), ufrag)
    }

    /// Notes the end of gathering in the local description, and gives the end-of-candidates to be signalled: an empty
    /// candidate.
    pub fn end_of_local_candidates(&mut self, ufrag: &str) -> Option<IceCandidate> {
        self.state
            .add_local_line("", &Line::new('a', "end-of-candidates"), ufrag)
    }

    /// The last local description that an exchange ended with, candidates that came later included.
    pub fn current_local_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.state.current_local.as_ref().map(Described::parts)
    }

    /// The local description of the exchange under way.
    pub fn pending_local_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.state.pending_local.as_ref().map(Described::parts)
    }

    /// The last remote description that an exchange ended with, candidates that came later included.
    pub fn current_remote_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.state.current_remote.as_ref().map(Described::parts)
    }

    /// The remote description of the exchange under way.
    pub fn pending_remote_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.state.pending_remote.as_ref().map(Described::parts)
    }

    /// The pending local description, else the current one.
    pub fn local_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.pending_local_description().or(self.current_local_description())
    }

    /// The pending remote description, else the current one.
    pub fn remote_description(&self) -> Option<(SdpType, &SessionDescription)> {
        self.pending_remote_description().or(self.current_remote_description())
    }

    /// Puts the next state in place of this one.
    fn advance(&mut self, next: State) -> Plan {
        let plan = self.state.plan_to(&next);
        let repeatable = matches!(
            next.signaling,
            SignalingState::HaveLocalOffer | SignalingState::HaveLocalPrAnswer
        );
        if !repeatable {
            self.created = None;
        }
        self.state = next;
        if self.state.signaling == SignalingState::Stable {
            self.state.compact();
            // W3C: a transceiver that is stopped leaves the table when its exchange has ended.
            self.state.transceivers.retain(|transceiver| !transceiver.state.stopped);
        }
        plan
    }

    /// Whether these are the credentials that were in force when the exchange began.
    fn uses(&self, transport: &LocalTransport) -> bool {
        let state = &self.state;
        let before = match &state.stable {
            Some(stable) => stable.session.transport.local.as_ref(),
            None => state.session.transport.local.as_ref(),
        };
        before.is_some_and(|ice| ice.ufrag == transport.ufrag || ice.pwd == transport.pwd)
    }

    fn live(&mut self, id: TransceiverId) -> Result<&mut Transceiver, JsepError> {
        self.state
            .transceivers
            .iter_mut()
            .find(|transceiver| transceiver.id == id && !transceiver.state.stopped && !transceiver.stopping)
            .ok_or(JsepError::NoTransceiver)
    }

    fn invalid(&self, operation: &'static str) -> JsepError {
        JsepError::InvalidState {
            operation,
            state: self.state.signaling,
        }
    }
}

fn describable(transport: &LocalTransport) -> Result<(), JsepError> {
    // RFC 8839 §5.4.
    if transport.ufrag.len() < 4 || transport.pwd.len() < 22 {
        return Err(JsepError::LocalTransport {
            missing: "ICE credentials",
        });
    }
    if transport.fingerprints.is_empty() {
        return Err(JsepError::LocalTransport { missing: "fingerprint" });
    }
    Ok(())
}
