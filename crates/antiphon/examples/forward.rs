//! A server that forwards: what one peer publishes goes on to another, packet by packet, and requests for key frames go back:
//! `cargo run -p antiphon --example forward`. Publisher, server and viewer are one process here.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use std::time::Duration;

use antiphon::{
    Api, Direction, Event, Frame, MediaKind, Output, PeerConnection, RtcConfiguration, RtcRtpTransceiverInit,
    TransceiverId,
};
use bytes::Bytes;

async fn forward(mut from: PeerConnection, incoming: TransceiverId, mut to: PeerConnection, outgoing: TransceiverId) {
    loop {
        tokio::select! {
            event = from.next_event() => match event {
                Some(Event::Packet { packet, .. }) => _ = to.forward_rtp(outgoing, packet), // never waits: a full queue drops it
                Some(_) => {}
                None => return,
            },
            event = to.next_event() => match event {
                Some(Event::KeyFrameRequested(_)) => _ = from.request_key_frame(incoming).await,
                Some(_) => {}
                None => return,
            },
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let mut server = RtcConfiguration::default();
    server.settings.receive_output = Output::Packets; // and not whole frames
    let mut publisher = api.peer_connection(RtcConfiguration::default()).await?;
    let mut from = api.peer_connection(server.clone()).await?;
    let mut to = api.peer_connection(server).await?;
    let mut viewer = api.peer_connection(RtcConfiguration::default()).await?;

    let send_only = || RtcRtpTransceiverInit {
        direction: Direction::SendOnly,
        ..Default::default()
    };
    let video = publisher.add_transceiver(MediaKind::Video, send_only()).await?;
    meet::meet(&mut publisher, &mut from).await?;
    let incoming = from.transceivers().await?[0].id();
    let outgoing = to.add_transceiver(MediaKind::Video, send_only()).await?;
    meet::meet(&mut to, &mut viewer).await?;

    let vp8 = publisher
        .payload_type(video, "VP8")
        .await?
        .expect("the server takes VP8");
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(33));
        for number in 0u32.. {
            tick.tick().await;
            let mut data = vec![0x55; 4000];
            data[0] = u8::from(!number.is_multiple_of(10));
            let frame = Frame::new(vp8, number * 3000, Bytes::from(data));
            if publisher.send_frame(video, frame).await.is_err() {
                break;
            }
        }
    });
    let forwarding = tokio::spawn(forward(from, incoming, to, outgoing));
    for _ in 0..50 {
        let frame = |event| match event {
            Event::Frame { frame, .. } => Some(frame),
            _ => None,
        };
        meet::first(&mut viewer, frame).await.expect("frames come");
    }
    println!("50 frames came through the server");
    publishing.abort();
    forwarding.abort();
    Ok(())
}
