//! Sends video, frame by frame, to a peer that counts what arrives: `cargo run -p antiphon --example video`. The frames here
//! stand for those of your encoder; `get_started` of `antiphon-cli` sends real pictures and music to a browser.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use std::time::Duration;

use antiphon::{Api, Error, Event, Frame, MediaKind, PeerConnection, RtcConfiguration, TransceiverId};
use bytes::Bytes;

/// Where your encoder stands: every tenth frame can be decoded alone (a VP8 frame says so in its first bit).
fn encode(number: u32) -> Bytes {
    let mut frame = vec![0x55; 4000];
    frame[0] = u8::from(!number.is_multiple_of(10));
    Bytes::from(frame)
}

async fn send_video(pc: &PeerConnection, video: TransceiverId) -> Result<(), Error> {
    let vp8 = pc.payload_type(video, "VP8").await?.expect("the peer takes VP8");
    let mut tick = tokio::time::interval(Duration::from_millis(33));
    for number in 0..60 {
        tick.tick().await;
        let timestamp = number * 3000; // of a clock with 90 000 ticks a second
        let frame = Frame::new(vp8, timestamp, encode(number));
        pc.send_frame(video, frame).await?; // cut into packets, paced, repaired where some are lost
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let mut sender = api.peer_connection(RtcConfiguration::default()).await?;
    let mut receiver = api.peer_connection(RtcConfiguration::default()).await?;
    let video = sender.add_transceiver(MediaKind::Video, Default::default()).await?;
    meet::meet(&mut sender, &mut receiver).await?;

    let other_side = tokio::spawn(async move {
        let frame = |event| match event {
            Event::Frame { frame, .. } => Some(frame),
            _ => None,
        };
        let (mut frames, mut bytes) = (0, 0);
        while frames < 50 {
            let frame = meet::first(&mut receiver, frame).await.expect("frames come");
            (frames, bytes) = (frames + 1, bytes + frame.data.len());
        }
        println!("{frames} frames of {bytes} bytes came");
    });
    send_video(&sender, video).await?;
    other_side.await?;
    Ok(())
}
