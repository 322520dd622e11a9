//! A server that forwards layers: a publisher sends a picture in two sizes (simulcast), and each viewer is given the
//! one that its path carries: `cargo run -p antiphon --example layers`. Publisher, server and viewer are one process
//! here.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use std::time::{Duration, Instant};

use antiphon::{
    Api, Direction, Event, Frame, MediaKind, Output, PeerConnection, Rid, RtcConfiguration, RtcRtpEncodingParameters,
    RtcRtpTransceiverInit, TransceiverId,
};
use antiphon_sfu::{Consumer, ConsumerConfig, Producer, Wish};
use bytes::Bytes;
use tokio::sync::watch;

/// One track to one viewer. With more viewers there is a consumer for each, and still one producer.
async fn forward(
    (mut from, incoming): (PeerConnection, TransceiverId),
    (mut to, outgoing): (PeerConnection, TransceiverId),
    level: watch::Receiver<u8>,
) {
    let mut producer = Producer::new([(96, "VP8")], &[]);
    let mut consumer = Consumer::new(ConsumerConfig::default());
    let mut wish = Wish::default();
    loop {
        tokio::select! {
            event = from.next_event() => match event {
                Some(Event::Packet { packet, .. }) => {
                    let now = Instant::now();
                    wish.level = *level.borrow();
                    consumer.set_wish(wish);
                    if let Some(facts) = producer.take(now, &packet)
                        && let Some(written) = consumer.take(now, &packet, &facts, producer.layers())
                    {
                        to.forward_rtp(outgoing, written); // never waits: a full queue drops it
                    }
                    if let Some(encoding) = consumer.poll_key_frame(now) {
                        producer.want_key_frame(encoding);
                    }
                    if let Some(ssrc) = producer.poll_key_frame(now) {
                        _ = from.request_key_frame_of(incoming, ssrc).await;
                    }
                }
                Some(_) => {}
                None => return,
            },
            event = to.next_event() => match event {
                Some(Event::KeyFrameRequested(_)) => consumer.need_key_frame(),
                Some(Event::TargetBitrate { bps, .. }) => wish.bitrate = Some(bps),
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

    let sizes = ["small", "large"];
    let init = RtcRtpTransceiverInit {
        send_encodings: sizes.map(RtcRtpEncodingParameters::layer).into(),
        ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    };
    let video = publisher.add_transceiver(MediaKind::Video, init).await?;
    meet::meet(&mut publisher, &mut from).await?;
    let incoming = from.transceivers().await?[0].id();
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let outgoing = to.add_transceiver(MediaKind::Video, init).await?;
    meet::meet(&mut to, &mut viewer).await?;

    let vp8 = publisher
        .payload_type(video, "VP8")
        .await?
        .expect("the server takes VP8");
    let publishing = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(33));
        for number in 0u32.. {
            tick.tick().await;
            for (size, bytes) in sizes.into_iter().zip([500, 4000]) {
                let rid = Rid::new(size.as_bytes()).expect("a short name");
                let mut data = vec![bytes as u8; bytes];
                data[0] = u8::from(!number.is_multiple_of(10)); // each tenth is a key frame
                let frame = Frame::new(vp8, number * 3000, Bytes::from(data));
                _ = publisher.send_frame((video, rid), frame).await;
            }
        }
    });
    let (level, levels) = watch::channel(1);
    let forwarding = tokio::spawn(forward((from, incoming), (to, outgoing), levels));
    for (wanted, bytes) in [(1, 4000), (0, 500), (1, 4000)] {
        level.send_replace(wanted);
        let of_size = |event| matches!(event, Event::Frame { frame, .. } if frame.data.len() == bytes).then_some(());
        for _ in 0..20 {
            meet::first(&mut viewer, of_size).await.expect("frames come");
        }
        println!("20 frames of {bytes} bytes came through the server");
    }
    publishing.abort();
    forwarding.abort();
    Ok(())
}
