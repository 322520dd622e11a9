//! Offers, answers and candidates: the calls of the application, and what a description that is set does to every
//! layer. Whatever is wrong is found before anything changes; what follows from the plan cannot fail.

use std::time::Instant;

use antiphon_dtls::{HashAlgorithm, Role};
use antiphon_ice::{Candidate, CandidateError, Credentials};
use antiphon_jsep::{
    DtlsRole, Fingerprint, IceCandidate, IceRole, JsepError, LocalTransport, OfferOptions, Plan, RemoteCandidate,
    RemoteTransport, SdpType, SessionDescription, SignalingState, TrackChange, Transceiver, TransceiverId,
    TransceiverPlan, TransportPlan,
};

use super::Taken;
use crate::connection::PeerConnection;
use crate::error::Error;
use crate::event::Event;
use crate::ice_restart::{RemoteIce, credentials};
use crate::states::RtcIceGatheringState;
use crate::transceivers::plain_encoding;
use crate::types::RtcSessionDescription;

/// The calls of the application.
impl PeerConnection {
    /// `localDescription`: the pending one, else the current one.
    pub fn local_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.local_description().map(described)
    }

    /// `remoteDescription`: the pending one, else the current one.
    pub fn remote_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.remote_description().map(described)
    }

    /// `currentLocalDescription`.
    pub fn current_local_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.current_local_description().map(described)
    }

    /// `pendingLocalDescription`.
    pub fn pending_local_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.pending_local_description().map(described)
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.current_remote_description().map(described)
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<RtcSessionDescription> {
        self.signaling.negotiator.pending_remote_description().map(described)
    }

    /// `canTrickleIceCandidates`: whether the peer said that it takes candidates later. `None` before its description.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        let (_, description) = self.signaling.negotiator.remote_description()?;
        let mut sections = description.media.iter().map(|media| &media.section);
        let said = |section: &antiphon_jsep::sdp::Section| section.ice_options().any(|word| word == "trickle");
        Some(said(&description.session) || sections.any(said))
    }

    /// `createOffer`. `ice_restart` asks for new ICE credentials.
    ///
    /// # Errors
    /// `InvalidStateError` while the peer's offer waits for an answer, and when closed.
    pub fn create_offer(&mut self, options: OfferOptions) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let negotiator = &self.signaling.negotiator;
        let described = negotiator.local_description().is_some();
        let asked = options.ice_restart || negotiator.ice_restart_wanted();
        let ours = &self.transport.agent.local_credentials().ufrag;
        let fresh = self.ice_restart.offer(asked, described, ours, &mut self.rng).cloned();
        let transport = self.local_transport(fresh);
        self.signaling.create(SdpType::Offer, &options, &transport)
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// `InvalidStateError` unless an offer of the peer waits for an answer.
    pub fn create_answer(&mut self) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let needed = self.signaling.negotiator.answer_needs_new_credentials();
        let ours = &self.transport.agent.local_credentials().ufrag;
        let fresh = self.ice_restart.answer(needed, ours, &mut self.rng).cloned();
        let transport = self.local_transport(fresh);
        self.signaling
            .create(SdpType::Answer, &OfferOptions::default(), &transport)
    }

    /// What a description made now says of our end: with `fresh` credentials, for which nothing is gathered yet, or
    /// with those in force.
    fn local_transport(&self, fresh: Option<Credentials>) -> LocalTransport {
        let agent = &self.transport.agent;
        let fingerprint = self.transport.certificate().fingerprint(HashAlgorithm::Sha256);
        let mut transport = LocalTransport {
            lite: agent.is_lite(),
            fingerprints: Fingerprint::parse(&fingerprint.to_string()).into_iter().collect(),
            ..LocalTransport::default()
        };
        if agent.renominates() {
            transport.ice_options = ["trickle", "ice2", "renomination"].map(str::to_owned).into();
        }
        let credentials = fresh.unwrap_or_else(|| {
            transport.candidates.clone_from(&self.local_candidates);
            transport.end_of_candidates = self.states.gathering == RtcIceGatheringState::Complete;
            agent.local_credentials().clone()
        });
        transport.ufrag.clone_from(&credentials.ufrag);
        transport.pwd.clone_from(&credentials.password);
        transport
    }

    /// `setLocalDescription`. `None` makes the description that fits the state first, and sets it; a description with
    /// an empty text is the one that was made last. Candidates are gathered from now on.
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
                let kind = description.sdp_type;
                match self.signaling.created(kind) {
                    Some(text) => RtcSessionDescription::new(kind, text),
                    None => self.create_fitting(kind)?,
                }
            }
            Some(description) => description,
            None => self.create_fitting(self.signaling.negotiator.implicit_type())?,
        };
        let plan = self.signaling.set_local(&description)?;
        self.apply(now, plan);
        Ok(())
    }

    fn create_fitting(&mut self, kind: SdpType) -> Result<RtcSessionDescription, Error> {
        match kind {
            SdpType::Offer => self.create_offer(OfferOptions::default()),
            _ => self.create_answer(),
        }
    }

    /// `setRemoteDescription`. An offer that meets our own takes ours back (W3C "perfect negotiation", the polite
    /// side).
    ///
    /// # Errors
    /// What is wrong with the description, or that it does not fit the state; nothing has changed then.
    pub fn set_remote_description(&mut self, now: Instant, description: RtcSessionDescription) -> Result<(), Error> {
        self.open()?;
        let lite = self.transport.agent.is_lite();
        let plan = self.signaling.set_remote(&description, lite)?;
        self.apply(now, plan);
        for candidate in self.signaling.take_early() {
            // Judged only now; what does not fit is passed over, for the call that brought it has long returned.
            if self.take_candidate(now, &candidate).is_err() {
                self.transport.agent.ignore_remote_candidate();
            }
        }
        self.pump(now);
        Ok(())
    }

    /// `addIceCandidate`. `None`, or an empty candidate: the peer has no more. What comes before the description that
    /// it belongs to, be it the first or one that restarts ICE, is kept for it, up to
    /// [`MAX_EARLY_CANDIDATES`](crate::MAX_EARLY_CANDIDATES). A candidate of a transport or type that nobody here knows
    /// is counted and ignored (RFC 8839 §5.1).
    ///
    /// # Errors
    /// `TypeError` or `OperationError` for a candidate that cannot be read or placed. It leaves no trace then.
    pub fn add_ice_candidate(&mut self, now: Instant, candidate: Option<IceCandidate>) -> Result<(), Error> {
        self.open()?;
        let candidate = candidate.unwrap_or_default();
        // Read as ICE reads it, before any description has it.
        match candidate.candidate.parse::<Candidate>() {
            Err(CandidateError::Unknown(_)) => {
                self.transport.agent.ignore_remote_candidate();
                return Ok(());
            }
            Err(_) if !candidate.is_end() => return Err(Error::Signaling(JsepError::CandidateSyntax)),
            _ => {}
        }
        self.take_candidate(now, &candidate)?;
        self.pump(now);
        Ok(())
    }

    fn take_candidate(&mut self, now: Instant, candidate: &IceCandidate) -> Result<(), Error> {
        match self.signaling.candidate(candidate)? {
            Taken::Now(remote) => self
                .add_remote_candidate(now, &remote)
                .map_err(|_| Error::Signaling(JsepError::CandidateSyntax))?,
            Taken::Later { ousted: true } => self.transport.agent.ignore_remote_candidate(),
            Taken::Later { ousted: false } | Taken::Never => {}
        }
        Ok(())
    }

    /// `restartIce`: the next offer has new ICE credentials. DTLS and everything above live on.
    pub fn restart_ice(&mut self) {
        if self.closing.is_none() {
            self.signaling.negotiator.restart_ice();
            self.signaling.check_needed();
        }
    }
}

fn described((kind, description): (SdpType, &SessionDescription)) -> RtcSessionDescription {
    RtcSessionDescription::new(kind, description.to_text())
}

/// From a plan to every layer. Everything was checked before.
impl PeerConnection {
    /// Makes the world as the plan says.
    fn apply(&mut self, now: Instant, plan: Plan) {
        let stable = plan.signaling_state == SignalingState::Stable;
        if plan.signaling_state_changed {
            self.push(Event::SignalingStateChange(plan.signaling_state));
        }
        self.signaling.forget_needed();
        self.apply_transport(now, &plan.transport);
        for candidate in &plan.candidates {
            // A candidate of the description that does not parse is passed over, like an unknown line.
            let _ = self.add_remote_candidate(now, candidate);
        }
        if plan.end_of_candidates && self.ice_restart.end_of_candidates(None) {
            self.transport.agent.end_of_remote_candidates(now);
        }
        for id in &plan.removed {
            self.transceivers.remove(*id, &mut self.media);
        }
        for transceiver in plan.transceivers {
            self.apply_transceiver(now, transceiver);
        }
        self.follow_asked_layers();
        if let Some(data) = plan.data {
            self.data.apply(now, data);
        }
        self.start_media();
        self.start_data(now);
        if stable {
            self.signaling.forget_created();
            self.ice_restart.stable(plan.transport.local);
            self.signaling.check_needed();
        }
        self.pump(now);
    }

    fn apply_transport(&mut self, now: Instant, plan: &TransportPlan) {
        if plan.ice_role != self.planned_role
            && let Some(role) = plan.ice_role
        {
            self.planned_role = Some(role);
            self.transport.agent.set_role(match role {
                IceRole::Controlling => antiphon_ice::Role::Controlling,
                IceRole::Controlled => antiphon_ice::Role::Controlled,
            });
        }
        if let Some(local) = &plan.local
            && let Some(credentials) = self
                .ice_restart
                .local(local, &self.transport.agent.local_credentials().ufrag)
        {
            self.transport.agent.restart_with(now, credentials);
            self.local_candidates.clear();
        }
        if let Some(remote) = &plan.remote {
            self.transport.set_header_encryption(remote.header_encryption);
            if plan.remote_changed {
                self.transport.set_fingerprints(&remote.fingerprints);
            }
            self.apply_remote_ice(now, plan, remote);
        }
        if plan.gather {
            self.transport.agent.gather(now);
            // What was gathered ahead is told now.
            for event in self.pool.take().unwrap_or_default() {
                self.on_ice(now, event);
            }
        }
        if let Some(role) = plan.dtls_role {
            self.transport.set_role(match role {
                DtlsRole::Client => Role::Client,
                DtlsRole::Server => Role::Server,
            });
        }
    }

    fn apply_remote_ice(&mut self, now: Instant, plan: &TransportPlan, remote: &RemoteTransport) {
        let agent = &mut self.transport.agent;
        let ours = &agent.local_credentials().ufrag;
        let decision = self.ice_restart.remote(plan, remote, agent.remote_credentials(), ours);
        if decision == RemoteIce::Later {
            return;
        }
        agent.set_remote_lite(remote.lite);
        agent.set_remote_renomination(remote.ice_options.iter().any(|option| option == "renomination"));
        if let RemoteIce::Now {
            candidates,
            end_of_candidates,
        } = decision
        {
            agent.set_remote_credentials(now, credentials(&remote.ice));
            for candidate in candidates {
                agent.add_remote_candidate(now, candidate);
            }
            if end_of_candidates {
                agent.end_of_remote_candidates(now);
            }
            self.transport.paths_changed();
        }
    }

    /// Hands a candidate that signalling has judged to ICE, or keeps it for the generation to come.
    fn add_remote_candidate(&mut self, now: Instant, remote: &RemoteCandidate) -> Result<(), CandidateError> {
        let generation = remote.username_fragment.as_deref();
        if remote.candidate.is_empty() {
            if self.ice_restart.end_of_candidates(generation) {
                self.transport.agent.end_of_remote_candidates(now);
            }
            return Ok(());
        }
        let mut candidate: Candidate = remote.candidate.parse()?;
        if candidate.ufrag.is_none() {
            candidate.ufrag.clone_from(&remote.username_fragment);
        }
        if let Some(candidate) = self.ice_restart.candidate(candidate, generation) {
            self.transport.agent.add_remote_candidate(now, candidate);
        }
        Ok(())
    }

    /// Gives senders the layers that the peer's offer asks for, and takes them away when that offer is gone.
    fn follow_asked_layers(&mut self) {
        let negotiator = &mut self.signaling.negotiator;
        let ids: Vec<TransceiverId> = negotiator.transceivers().map(Transceiver::id).collect();
        for id in ids {
            let asked = negotiator.asked_layers(id);
            let Some(transceiver) = negotiator.transceiver(id) else {
                continue;
            };
            let (streams, associated) = (transceiver.sender().streams.clone(), transceiver.mid().is_some());
            let transceivers = &mut self.transceivers;
            if let Some(row) = transceivers.follow_asked(id, asked, associated, &mut self.rng) {
                // The transceiver exists: it was just asked.
                let _ = negotiator.set_sender(id, row.signalled_sender(streams), false);
            }
        }
    }

    fn apply_transceiver(&mut self, now: Instant, plan: TransceiverPlan) {
        if plan.added {
            // The peer's offer has made it: it gets a row, and SSRCs in case we come to send on it.
            let sender = self
                .transceivers
                .insert(plan.id, plan.kind, None, vec![plain_encoding(plan.kind)], &mut self.rng)
                .signalled_sender(Vec::new());
            // The transceiver exists: the plan has just named it.
            let _ = self.signaling.negotiator.set_sender(plan.id, sender, false);
        }
        if plan.stopped {
            // W3C "stop the RTCRtpTransceiver": the sender says goodbye, the receiver's track ends.
            if self.transceivers.remove(plan.id, &mut self.media) {
                self.push(Event::TrackEnded(plan.id));
            }
            return;
        }
        if !self.transceivers.apply(now, &plan, &mut self.media) {
            return;
        }
        match plan.track {
            TrackChange::Added => self.push(Event::Track {
                transceiver: plan.id,
                kind: plan.kind,
                track_id: plan.remote_track,
                streams: plan.remote_streams,
            }),
            TrackChange::Removed => self.push(Event::TrackMuted(plan.id)),
            TrackChange::StreamsChanged => self.push(Event::TrackStreamsChanged {
                transceiver: plan.id,
                streams: plan.remote_streams,
            }),
            TrackChange::Unchanged => {}
        }
    }
}
