//! How two peers of one process meet: the place of your signalling. Over a network the two descriptions go as text, through
//! whatever connects the two programs already (a WebSocket, WHIP, a sheet of paper).

use antiphon::{Error, Event, PeerConnection, RtcIceGatheringState, RtcSessionDescription};

/// Sets the offer or the answer and waits until it holds all our addresses, so that no candidates need to follow it.
async fn described(pc: &mut PeerConnection) -> Result<RtcSessionDescription, Error> {
    pc.set_local_description(None).await?;
    while pc.ice_gathering_state().await? != RtcIceGatheringState::Complete {
        pc.next_event().await;
    }
    Ok(pc.local_description().await?.expect("it was just set"))
}

/// `caller` offers what it has, and `callee` answers.
pub(crate) async fn meet(caller: &mut PeerConnection, callee: &mut PeerConnection) -> Result<(), Error> {
    let offer = described(caller).await?;
    callee.set_remote_description(offer).await?;
    let answer = described(callee).await?;
    caller.set_remote_description(answer).await
}

/// Waits for the first event that `wanted` finds something in.
pub(crate) async fn first<T>(pc: &mut PeerConnection, mut wanted: impl FnMut(Event) -> Option<T>) -> Option<T> {
    loop {
        let event = pc.next_event().await?;
        if let Some(found) = wanted(event) {
            return Some(found);
        }
    }
}
