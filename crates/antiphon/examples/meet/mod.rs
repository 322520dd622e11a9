//! How two peers of one process meet: the place of your signalling. Over a network the two descriptions go as text, through
//! whatever connects the two programs already (a WebSocket, WHIP, a sheet of paper).

use std::time::{Duration, Instant};

use antiphon::{Error, Event, Frame, PeerConnection, RtcIceGatheringState, RtcSessionDescription, TransceiverId};

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

/// Sends 60 pictures of 2000 bytes each, where your encoder would stand; a VP8 frame says in its first bit whether it can be decoded alone.
/// Returns how often the peer asked for such a one.
pub(crate) async fn film(mut pc: PeerConnection, video: TransceiverId) -> Result<(PeerConnection, u32), Error> {
    let vp8 = pc.payload_type(video, "VP8").await?.expect("the peer takes VP8");
    let mut tick = tokio::time::interval(Duration::from_millis(33));
    let (mut number, mut wanted, mut asked) = (0, true, 0);
    while number < 60 {
        tokio::select! {
            _ = tick.tick() => {
                let mut picture = vec![0x55; 2000];
                picture[0] = u8::from(!std::mem::take(&mut wanted));
                let mut frame = Frame::new(vp8, number * 3000, picture);
                frame.captured = Some(Instant::now());
                pc.send_frame(video, frame).await?;
                number += 1;
            }
            Some(event) = pc.next_event() => if matches!(event, Event::KeyFrameRequested(_)) {
                (wanted, asked) = (true, asked + 1);
            },
        }
    }
    Ok((pc, asked))
}

/// Waits for the next frame.
pub(crate) async fn frame(pc: &mut PeerConnection) -> Option<Frame> {
    let frame = |event| match event {
        Event::Frame { frame, .. } => Some(frame),
        _ => None,
    };
    first(pc, frame).await
}
