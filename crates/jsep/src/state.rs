//! Everything that a description can change, as one value: a step works on a copy, and the copy replaces the original
//! only if the whole step is good. So nothing is ever half applied. The plan is the difference between two such values:
//! whatever way led from one to the other, a rollback included.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_sdp::SessionDescription;

use crate::congestion_feedback;
use crate::parameters::extmaps;
use crate::plan::{
    DataPlan, IceParameters, IceRole, Plan, RemoteTransport, TrackChange, TransceiverPlan, TransportPlan,
};
use crate::transceiver::{Negotiated, Transceiver};
use crate::types::{DtlsRole, RemoteCandidate, SdpType, SignalingState, TransceiverId};

/// How much of a header extension's name is kept: more than any that we know.
const MAX_URI: usize = 256;

/// A description that is set.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) kind: SdpType,
    pub(crate) text: Arc<SessionDescription>,
    /// The sections that run (or would run) on the transport, by index.
    pub(crate) members: Vec<usize>,
    /// The section whose transport attributes count (RFC 9143 §7.1), if there is a member at all.
    pub(crate) tagged: Option<usize>,
}

impl Described {
    pub(crate) fn parts(&self) -> (SdpType, &SessionDescription) {
        (self.kind, &self.text)
    }

    /// Whether feedback of RFC 8888 is agreed with that description of the peer's, `self` being ours.
    pub(crate) fn agrees_on_congestion_feedback(&self, remote: &Self) -> bool {
        let both = self.members.iter().filter(|index| remote.members.contains(index));
        let members: Vec<usize> = both.copied().collect();
        congestion_feedback::is_agreed(&self.text, &remote.text, &members)
    }
}

/// What `create_offer` or `create_answer` made last.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    pub(crate) kind: SdpType,
    pub(crate) description: Arc<SessionDescription>,
    /// For an offer: the transceiver of each section.
    pub(crate) slots: Vec<Option<TransceiverId>>,
}

/// What both ends have said of the transport.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TransportState {
    pub(crate) local: Option<IceParameters>,
    pub(crate) local_lite: bool,
    pub(crate) remote: Option<RemoteTransport>,
    pub(crate) ice_role: Option<IceRole>,
    pub(crate) dtls_role: Option<DtlsRole>,
    pub(crate) bundle: Vec<String>,
}

/// The part that a rollback restores whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Session {
    pub(crate) transport: TransportState,
    pub(crate) data: Option<DataPlan>,
}

/// What was negotiated when an exchange began.
#[derive(Debug, Clone)]
pub(crate) struct Stable {
    pub(crate) session: Session,
    pub(crate) transceivers: Vec<(TransceiverId, Negotiated)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) signaling: SignalingState,
    pub(crate) current_local: Option<Described>,
    pub(crate) pending_local: Option<Described>,
    pub(crate) current_remote: Option<Described>,
    pub(crate) pending_remote: Option<Described>,
    pub(crate) transceivers: Vec<Transceiver>,
    pub(crate) session: Session,
    pub(crate) stable: Option<Box<Stable>>,
    pub(crate) next_id: u32,
    /// The smallest number that was never a mid of ours or of the peer's.
    pub(crate) next_mid: u32,
    /// The mids of sections that the peer gave none (RFC 9429 §5.10), by index.
    pub(crate) generated_mids: BTreeMap<usize, String>,
    /// The stream of all tracks that the peer says no stream of (RFC 8830 §3.1): random.
    pub(crate) default_stream: String,
    /// Names our one DTLS association (RFC 8842 §4): random.
    pub(crate) tls_id: String,
    /// The highest `o=` version that was set locally. A rollback does not lower it.
    pub(crate) version: u64,
    /// What each header extension id has ever meant, refused sections included: Firefox will not have an id mean
    /// anything else later.
    pub(crate) extension_ids: BTreeMap<u8, String>,
    pub(crate) wants_data: bool,
    pub(crate) ice_restart_wanted: bool,
}

impl State {
    pub(crate) fn remote(&self) -> Option<&Described> {
        self.pending_remote.as_ref().or(self.current_remote.as_ref())
    }

    pub(crate) fn local(&self) -> Option<&Described> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    pub(crate) fn transceiver_at(&self, index: usize) -> Option<&Transceiver> {
        self.transceivers
            .iter()
            .find(|transceiver| transceiver.state.m_line_index == Some(index) && !transceiver.state.stopped)
    }

    pub(crate) fn transceiver_at_mut(&mut self, index: usize) -> Option<&mut Transceiver> {
        self.transceivers
            .iter_mut()
            .find(|transceiver| transceiver.state.m_line_index == Some(index) && !transceiver.state.stopped)
    }

    /// Whether a section of the last finished exchange was refused by either side: its place may be used again
    /// (RFC 9429 §5.2.2).
    pub(crate) fn is_recyclable(&self, index: usize) -> bool {
        [&self.current_local, &self.current_remote]
            .into_iter()
            .flatten()
            .any(|described| described.text.media.get(index).is_some_and(|media| media.is_rejected()))
    }

    /// Remembers where to return to, when an exchange begins.
    pub(crate) fn leave_stable(&mut self) {
        if self.signaling == SignalingState::Stable {
            self.stable = Some(Box::new(Stable {
                session: self.session.clone(),
                transceivers: self
                    .transceivers
                    .iter()
                    .map(|transceiver| (transceiver.id, transceiver.state.clone()))
                    .collect(),
            }));
        }
    }

    /// Returns to where the exchange began (RFC 9429 §4.1.10.2). What the application has set meanwhile stays.
    pub(crate) fn roll_back(&mut self) {
        if let Some(stable) = self.stable.take() {
            self.session = stable.session;
            self.transceivers.retain_mut(|transceiver| {
                let before = stable.transceivers.iter().find(|(id, _)| *id == transceiver.id);
                // A transceiver of the offer that is gone goes too, unless `add_track` has taken it into use.
                if before.is_none() && transceiver.from_remote && !transceiver.from_add_track {
                    return false;
                }
                transceiver.state = before.map(|(_, negotiated)| negotiated.clone()).unwrap_or_default();
                // Stopped meanwhile, without a section that would have to end first, it is gone at once.
                !transceiver.stopping || transceiver.state.m_line_index.is_some()
            });
        }
        self.pending_local = None;
        self.pending_remote = None;
        self.signaling = SignalingState::Stable;
    }

    /// What has to happen on the way from this state to `new`.
    pub(crate) fn plan_to(&self, new: &Self) -> Plan {
        let old = self;
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

    /// An exchange has ended, and its descriptions will be kept: they take no more memory than they need.
    pub(crate) fn compact(&mut self) {
        for described in [&mut self.current_local, &mut self.current_remote]
            .into_iter()
            .flatten()
        {
            Arc::make_mut(&mut described.text).compact();
        }
    }

    /// Notes the meaning of every header extension id of a finished exchange.
    pub(crate) fn note_extension_ids(&mut self) {
        for described in [&self.current_remote, &self.current_local].into_iter().flatten() {
            let text = &described.text;
            for map in (0..text.media.len()).flat_map(|index| extmaps(text, index)) {
                let id = self.extension_ids.entry(map.id as u8);
                id.or_insert_with(|| map.uri.chars().take(MAX_URI).collect());
            }
        }
    }

    /// The mid of a section, generated if the peer gave none.
    pub(crate) fn mid_of(&self, description: &SessionDescription, index: usize) -> Option<String> {
        let own = description.media.get(index).and_then(|media| media.section.mid());
        own.or_else(|| self.generated_mids.get(&index).map(String::as_str))
            .map(str::to_owned)
    }

    /// Gives a mid to each section of the peer's offer that has none (RFC 9429 §5.10).
    pub(crate) fn generate_mids(&mut self, description: &SessionDescription) {
        for (index, media) in description.media.iter().enumerate() {
            if media.section.mid().is_some() {
                self.generated_mids.remove(&index);
            } else if !media.is_rejected() && !self.generated_mids.contains_key(&index) {
                self.generated_mids.insert(index, self.next_mid.to_string());
                self.next_mid += 1;
            }
        }
    }

    /// Notes every number that is somewhere a mid, so that a new mid was never one before.
    pub(crate) fn note_mids(&mut self, description: &SessionDescription) {
        for mid in description.media.iter().filter_map(|media| media.section.mid()) {
            if let Ok(number) = mid.parse::<u32>() {
                // A peer that names a section 4294967295 gets no say in our numbering.
                if number < u32::MAX / 2 {
                    self.next_mid = self.next_mid.max(number + 1);
                }
            }
        }
    }
}

fn transport(old: &State, new: &State) -> TransportPlan {
    let (before, after) = (&old.session.transport, &new.session.transport);
    let differs = |a: Option<_>, b: Option<_>| a.is_some() && b.is_some() && a != b;
    let remote_ice = |remote: &Option<RemoteTransport>| remote.as_ref().map(|remote| remote.ice.clone());
    TransportPlan {
        gather: after.local.is_some() && before.local != after.local,
        local: after.local.clone(),
        remote: after.remote.clone(),
        remote_changed: before.remote != after.remote,
        remote_ice_restart: differs(remote_ice(&before.remote).as_ref(), remote_ice(&after.remote).as_ref()),
        ice_role: after.ice_role,
        dtls_role: after.dtls_role,
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
