//! Two peers in one process open a data channel and talk: `cargo run --release -p antiphon --example data_channel`.
//!
//! The walk-through that every WebRTC library begins with: each peer's candidates go to the other, one offers, the other
//! answers, a channel opens, a message goes each way, both close, and the program ends by itself.

use antiphon::{Api, DataChannel, Error, Event, MessageKind, PeerConnection, PeerHandle, RtcConfiguration};

const MESSAGE: &str = "Cookies 4 life";

/// Prints what happens to a peer and carries its candidates to the other; returns the channel that the other opened, if any.
async fn carry(name: &'static str, mut pc: PeerConnection, other: PeerHandle) -> Result<Option<DataChannel>, Error> {
    let mut incoming = None;
    while let Some(event) = pc.next_event().await {
        match event {
            Event::IceCandidate(candidate) => other.add_ice_candidate(candidate).await?,
            Event::ConnectionStateChange(state) => println!("{name}: connection {state}"),
            Event::DataChannel(channel) => {
                println!("{name}: incoming channel {:?}", channel.label());
                incoming = Some(channel);
                break;
            }
            _ => {}
        }
    }
    // Candidates go on being carried while the channel is in use.
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            if let Event::ConnectionStateChange(state) = event {
                println!("{name}: connection {state}");
            }
        }
    });
    Ok(incoming)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let caller = api.peer_connection(RtcConfiguration::default()).await?;
    let callee = api.peer_connection(RtcConfiguration::default()).await?;
    let (caller_handle, callee_handle) = (caller.handle(), callee.handle());

    let mut channel = caller.create_data_channel("test", Default::default()).await?;
    println!("caller: created channel {:?}", channel.label());

    caller.set_local_description(None).await?;
    let offer = caller.local_description().await?.expect("an offer is set");
    println!("caller: offer of {} bytes", offer.sdp.len());
    callee.set_remote_description(offer).await?;
    callee.set_local_description(None).await?;
    let answer = callee.local_description().await?.expect("an answer is set");
    println!("callee: answer of {} bytes", answer.sdp.len());
    caller.set_remote_description(answer).await?;

    let callee_side = tokio::spawn(carry("callee", callee, caller_handle.clone()));
    let caller_side = tokio::spawn(carry("caller", caller, callee_handle.clone()));

    channel.opened().await?;
    println!("caller: channel open, sending {MESSAGE:?}");
    channel.send_text(MESSAGE).await?;

    let mut incoming = callee_side.await??.expect("the callee is told of the channel");
    let message = incoming.recv().await.expect("a message comes");
    assert_eq!(message.kind, MessageKind::Text);
    println!("callee: received {:?}", String::from_utf8_lossy(&message.data));
    incoming.send_binary(&b"And milk"[..]).await?;

    let reply = channel.recv().await.expect("a reply comes");
    println!("caller: received {:?}", String::from_utf8_lossy(&reply.data));

    caller_handle.close().await;
    callee_handle.close().await;
    while incoming.recv().await.is_some() {}
    caller_side.abort();
    println!("both closed");
    Ok(())
}
