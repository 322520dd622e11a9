//! The plan is the difference between two states: whatever way led from one to the other, a rollback included.

use crate::plan::{Plan, TrackChange, TransceiverPlan, TransportPlan};
use crate::state::State;
use crate::transceiver::{Negotiated, Transceiver};
use crate::types::{RemoteCandidate, SignalingState};

pub(crate) fn between(old: &State, new: &State) -> Plan {
    let mut transceivers: Vec<TransceiverPlan> = new
        .transceivers
        .iter()
        .filter_map(|transceiver| {
            let before = old.transceivers.iter().find(|other| other.id == transceiver.id);
            changed(before, transceiver)
        })
        .collect();
    transceivers.sort_by_key(|plan| (plan.m_line_index.unwrap_or(usize::MAX), plan.id));
    let removed = old
        .transceivers
        .iter()
        .filter(|transceiver| !new.transceivers.iter().any(|other| other.id == transceiver.id))
        .map(|transceiver| transceiver.id)
        .collect();
    let data = (old.session.data != new.session.data).then(|| {
        // A rollback can take a data section away again; there is no other way for it to vanish.
        new.session.data.clone().or_else(|| {
            old.session.data.clone().map(|mut data| {
                data.active = false;
                data
            })
        })
    });
    Plan {
        signaling_state: new.signaling,
        signaling_state_changed: old.signaling != new.signaling,
        transport: transport(old, new),
        transceivers,
        removed,
        data: data.flatten(),
        candidates: Vec::new(),
        end_of_candidates: false,
    }
}

fn transport(old: &State, new: &State) -> TransportPlan {
    let (before, after) = (&old.session.transport, &new.session.transport);
    let differs = |a: Option<_>, b: Option<_>| a.is_some() && b.is_some() && a != b;
    let remote_ice = |remote: &Option<crate::plan::RemoteTransport>| remote.as_ref().map(|remote| remote.ice.clone());
    TransportPlan {
        gather: after.local.is_some() && before.local != after.local,
        local: after.local.clone(),
        local_ice_restart: differs(before.local.as_ref(), after.local.as_ref()),
        remote: after.remote.clone(),
        remote_changed: before.remote != after.remote,
        remote_ice_restart: differs(remote_ice(&before.remote).as_ref(), remote_ice(&after.remote).as_ref()),
        ice_role: after.ice_role,
        dtls_role: after.dtls_role,
        bundle: after.bundle.clone(),
        idle: new.signaling == SignalingState::Stable && new.current_local.is_some() && after.bundle.is_empty(),
    }
}

fn changed(before: Option<&Transceiver>, transceiver: &Transceiver) -> Option<TransceiverPlan> {
    let nothing = Negotiated::default();
    let (old, new) = (before.map_or(&nothing, |before| &before.state), &transceiver.state);
    if before.is_some() && old == new {
        return None;
    }
    let track = match (old.receiving, new.receiving) {
        (false, true) => TrackChange::Added,
        (true, false) => TrackChange::Removed,
        (true, true) if old.remote_streams != new.remote_streams => TrackChange::StreamsChanged,
        _ => TrackChange::Unchanged,
    };
    Some(TransceiverPlan {
        id: transceiver.id,
        added: before.is_none(),
        stopped: new.stopped,
        kind: transceiver.kind,
        mid: new.mid.clone(),
        m_line_index: new.m_line_index,
        direction: transceiver.direction(),
        current_direction: new.current_direction,
        track,
        remote_streams: new.remote_streams.clone(),
        remote_track: new.remote_track.clone(),
        send: new.send.clone(),
        receive: new.receive.clone(),
    })
}

/// How many candidates of one description are handed on.
const MAX_CANDIDATES: usize = 128;

/// The candidates that stand in the remote description just set, and whether they are all.
pub(crate) fn candidates(state: &State, plan: &mut Plan) {
    let Some(described) = state.remote() else { return };
    let Some(tagged) = described.tagged else { return };
    let text = &described.text;
    let section = &text.media[tagged].section;
    let ufrag = state
        .session
        .transport
        .remote
        .as_ref()
        .map(|remote| remote.ice.ufrag.clone());
    plan.candidates = section
        .values("candidate")
        .filter(|value| {
            // RTCP is multiplexed: the second component's candidates lead nowhere (RFC 8835 §3.4).
            antiphon_sdp::Candidate::parse(value).is_some_and(|candidate| candidate.component == 1)
        })
        .take(MAX_CANDIDATES)
        .map(|value| RemoteCandidate {
            candidate: value.to_owned(),
            mid: section.mid().map(str::to_owned),
            m_line_index: u16::try_from(tagged).unwrap_or(u16::MAX),
            username_fragment: ufrag.clone(),
        })
        .collect();
    plan.end_of_candidates = section.end_of_candidates() || text.session.end_of_candidates();
}
