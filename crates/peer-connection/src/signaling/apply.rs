//! From a plan to the transport, the transceivers and the data section. Everything was checked before: this cannot fail.

use std::time::Instant;

use antiphon_dtls::Role;
use antiphon_ice::{Candidate, CandidateError, Credentials};
use antiphon_jsep::{
    DtlsRole, IceRole, Plan, RemoteCandidate, RemoteTransport, SignalingState, TrackChange, TransceiverPlan,
    TransportPlan,
};

use crate::connection::PeerConnection;
use crate::event::Event;
use crate::transceivers::Row;

impl PeerConnection {
    /// Makes the world as the plan says.
    pub(crate) fn apply(&mut self, now: Instant, plan: Plan) {
        let stable = plan.signaling_state == SignalingState::Stable;
        if plan.signaling_state_changed {
            self.push(Event::SignalingStateChange(plan.signaling_state));
        }
        self.forget_negotiation_needed();
        self.apply_transport(now, &plan.transport);
        for candidate in &plan.candidates {
            // A candidate of the description that does not parse is passed over, like an unknown line.
            let _ = self.add_remote_candidate(now, candidate);
        }
        if plan.end_of_candidates {
            self.end_of_remote_candidates(now);
        }
        for id in &plan.removed {
            self.remove_row(*id);
        }
        for transceiver in plan.transceivers {
            self.apply_transceiver(now, transceiver);
        }
        if let Some(data) = plan.data {
            self.data.apply(now, data);
        }
        self.start_data(now);
        if stable {
            self.restart.stable = plan.transport.local.map(|local| local.ufrag);
            self.check_negotiation_needed();
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
            && local.ufrag != self.transport.agent.local_credentials().ufrag
        {
            let credentials = Credentials {
                ufrag: local.ufrag.clone(),
                password: local.pwd.clone(),
            };
            self.transport.agent.restart_with(now, credentials);
            self.transport.forget_known_path();
            self.local_candidates.clear();
            self.restart.next = None;
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
                self.on_ice(event);
            }
        }
        if let Some(role) = plan.dtls_role {
            self.transport.set_role(match role {
                DtlsRole::Client => Role::Client,
                DtlsRole::Server => Role::Server,
            });
        }
    }

    /// The peer's generation follows ours: a restart that it offers waits for our answer, and until then the old path carries
    /// everything.
    fn apply_remote_ice(&mut self, now: Instant, plan: &TransportPlan, remote: &RemoteTransport) {
        let restarted = self.restarted();
        let known = self.transport.agent.remote_credentials();
        if known.is_some_and(|known| known.ufrag == remote.ice.ufrag && known.password == remote.ice.pwd) {
            self.restart.forget_remote();
            self.set_remote_abilities(remote);
        } else if plan.remote_ice_restart && !restarted {
            self.restart.forget_remote();
            self.restart.remote = Some(remote.clone());
        } else if self
            .restart
            .remote
            .as_ref()
            .is_some_and(|waiting| waiting.ice == remote.ice)
        {
            if restarted {
                self.set_remote_ice(now, remote);
                for candidate in std::mem::take(&mut self.restart.candidates) {
                    self.transport.agent.add_remote_candidate(now, candidate);
                }
                if self.restart.end_of_candidates {
                    self.transport.agent.end_of_remote_candidates(now);
                }
                self.restart.forget_remote();
            }
        } else if plan.remote_changed || !restarted {
            // Without a restart of ours the peer's credentials are in force: for the first time, or again because a rollback
            // has taken our restart back.
            self.restart.forget_remote();
            self.set_remote_ice(now, remote);
        }
    }

    /// Whether the exchange under way has begun a new generation of ours.
    pub(crate) fn restarted(&self) -> bool {
        let stable = self.restart.stable.as_deref();
        stable.is_some_and(|stable| stable != self.local_ufrag())
    }

    fn set_remote_abilities(&mut self, remote: &RemoteTransport) {
        let agent = &mut self.transport.agent;
        agent.set_remote_lite(remote.lite);
        agent.set_remote_renomination(remote.ice_options.iter().any(|option| option == "renomination"));
    }

    fn set_remote_ice(&mut self, now: Instant, remote: &RemoteTransport) {
        self.set_remote_abilities(remote);
        self.transport.agent.set_remote_credentials(
            now,
            Credentials {
                ufrag: remote.ice.ufrag.clone(),
                password: remote.ice.pwd.clone(),
            },
        );
        self.transport.paths_changed();
    }

    /// Hands a candidate that signalling has judged to ICE.
    pub(crate) fn add_remote_candidate(
        &mut self,
        now: Instant,
        remote: &RemoteCandidate,
    ) -> Result<(), CandidateError> {
        let waits = self.restart.remote.as_ref().is_some_and(|waiting| {
            remote
                .username_fragment
                .as_ref()
                .is_none_or(|ufrag| *ufrag == waiting.ice.ufrag)
        });
        if remote.candidate.is_empty() {
            if waits {
                self.restart.end_of_candidates = true;
            } else {
                self.transport.agent.end_of_remote_candidates(now);
            }
            return Ok(());
        }
        let mut candidate: Candidate = remote.candidate.parse()?;
        if candidate.ufrag.is_none() {
            candidate.ufrag.clone_from(&remote.username_fragment);
        }
        if !waits {
            self.transport.agent.add_remote_candidate(now, candidate);
        } else if self.restart.candidates.len() < antiphon_ice::MAX_REMOTE_CANDIDATES {
            self.restart.candidates.push(candidate);
        }
        Ok(())
    }

    fn end_of_remote_candidates(&mut self, now: Instant) {
        if self.restart.remote.is_some() {
            self.restart.end_of_candidates = true;
        } else {
            self.transport.agent.end_of_remote_candidates(now);
        }
    }

    fn apply_transceiver(&mut self, now: Instant, plan: TransceiverPlan) {
        if plan.added {
            self.add_remote_row(&plan);
        }
        let Some(at) = self.rows.iter().position(|row| row.id == plan.id) else {
            return;
        };
        let mid = plan.mid.as_deref().unwrap_or_default();
        if plan.stopped {
            // W3C "stop the RTCRtpTransceiver": the sender says goodbye, the receiver's track ends.
            self.remove_row(plan.id);
            self.push(Event::TrackEnded(plan.id));
            return;
        }
        let row = &mut self.rows[at];
        match &plan.send {
            Some(send) => {
                let config = row.sender_config(mid, send);
                row.has_sent = true;
                // A conflict of SSRCs with a sender of ours cannot be: they are drawn apart.
                match row.sender {
                    Some(id) => {
                        let _ = self.media.update_sender(now, id, config);
                        let _ = self.media.set_sender_active(id, true);
                    }
                    None => {
                        row.sender = self.media.add_sender(now, config).ok();
                        if let Some(sender) = row.sender {
                            self.by_sender.insert(sender, plan.id);
                        }
                    }
                }
                self.media.set_reduced_size(send.reduced_size_rtcp);
            }
            None => {
                if let Some(id) = row.sender {
                    let _ = self.media.set_sender_active(id, false);
                }
            }
        }
        match &plan.receive {
            Some(receive) => {
                let config = row.receiver_config(mid, receive);
                match row.receiver {
                    Some(id) => {
                        let _ = self.media.update_receiver(id, config);
                    }
                    None => {
                        row.receiver = self.media.add_receiver(config).ok();
                        if let Some(receiver) = row.receiver {
                            self.by_receiver.insert(receiver, plan.id);
                        }
                    }
                }
            }
            None => {
                if let Some(id) = row.receiver.take() {
                    self.by_receiver.remove(&id);
                    let _ = self.media.remove_receiver(id);
                }
            }
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

    /// The peer's offer has made a transceiver: it gets a row, and SSRCs in case we come to send on it.
    fn add_remote_row(&mut self, plan: &TransceiverPlan) {
        let (ssrc, rtx_ssrc) = (self.draw_ssrc(), self.draw_ssrc());
        let row = Row {
            id: plan.id,
            kind: plan.kind,
            track: None,
            ssrc,
            rtx_ssrc,
            sender: None,
            receiver: None,
            output: self.receive_output,
            has_sent: false,
        };
        // The transceiver exists: the plan has just named it.
        let _ = self
            .negotiator
            .set_sender(plan.id, row.signalled_sender(Vec::new()), false);
        self.rows.push(row);
    }
}
