//! Whether an offer would change anything (W3C webrtc-pc, "check if negotiation is needed").

use antiphon_sdp::MediaDescription;

use crate::answer::says_msids;
use crate::state::State;
use crate::survey::Content;
use crate::transceiver::Transceiver;
use crate::types::{SdpType, SignalingState};

pub(crate) fn check(state: &State) -> bool {
    if state.signaling != SignalingState::Stable {
        return false;
    }
    state.ice_restart_wanted
        || (state.wants_data && !has_data_section(state))
        || state
            .transceivers
            .iter()
            .any(|transceiver| transceiver_needs(state, transceiver))
}

fn has_data_section(state: &State) -> bool {
    state.current_local.as_ref().is_some_and(|described| {
        described
            .text
            .media
            .iter()
            .enumerate()
            .any(|(index, media)| Content::of(media) == Content::Data && !state.is_recyclable(index))
    })
}

fn transceiver_needs(state: &State, transceiver: &Transceiver) -> bool {
    if transceiver.state.stopped {
        return false;
    }
    let sections = transceiver.state.m_line_index.and_then(|index| {
        let (local, remote) = (state.current_local.as_ref()?, state.current_remote.as_ref()?);
        Some((
            local,
            local.text.media.get(index)?,
            remote,
            remote.text.media.get(index)?,
        ))
    });
    let Some((local, local_media, remote, remote_media)) = sections else {
        return !transceiver.stopping;
    };
    if transceiver.stopping {
        return true;
    }
    let wanted = transceiver.direction();
    let says = |described: &crate::state::Described, media: &MediaDescription| described.text.direction_of(media);
    if wanted.sends() && !says_msids(&local_media.section, &transceiver.sender) {
        // An answer writes no msid where the offer gave it no room to send: there is nothing to be won then.
        let room = local.kind == SdpType::Offer || says(remote, remote_media).receives();
        if room {
            return true;
        }
    }
    match local.kind {
        SdpType::Offer => {
            let (ours, theirs) = (says(local, local_media), says(remote, remote_media).reversed());
            wanted != ours && wanted != theirs
        }
        _ => says(local, local_media) != wanted.intersect(says(remote, remote_media).reversed()),
    }
}
