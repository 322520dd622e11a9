//! The test pattern and its music in a browser, with the least signalling there can be: one POST.
//!
//!     cargo run --release -p antiphon-cli --example get_started        then open http://127.0.0.1:8081
//!
//! An argument names another address to listen on.

use std::sync::Arc;

use antiphon::{
    Api, Error, Event, Frame, MediaKind, MediaStreamTrack, PeerConnection, PeerHandle, RtcConfiguration,
    RtcSessionDescription, TransceiverId,
};
use antiphon_cli::sources::{AudioCodec, Sample, Studio, VideoCodec};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

const PAGE: &str = r#"<!doctype html><title>Get started</title><button id=go>Watch</button><br>
<video id=v autoplay playsinline controls></video><script>
go.onclick = async () => {
  const pc = new RTCPeerConnection(), media = new MediaStream();
  pc.ontrack = ({ track }) => { media.addTrack(track); v.srcObject = media; };
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((r) => { pc.onicegatheringstatechange = r; });
  const answer = await fetch('/offer', { method: 'POST', body: pc.localDescription.sdp });
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
};
</script>"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let studio = Studio::new();
    let app = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(watch))
        .with_state((api, studio));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Takes a browser's offer, gives the answer, and plays until the browser goes.
async fn watch(State((api, studio)): State<(Api, Studio)>, offer: String) -> Result<String, (StatusCode, String)> {
    answer(api, studio, offer)
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn answer(api: Api, studio: Studio, offer: String) -> Result<String, Error> {
    let mut configuration = RtcConfiguration::default();
    // What the studio makes, and nothing else.
    let codecs = Arc::make_mut(&mut configuration.settings.capabilities);
    codecs.video.retain(|codec| codec.name == "VP8");
    codecs.audio.retain(|codec| codec.name == "opus");
    let mut pc = api.peer_connection(configuration).await?;

    pc.set_remote_description(RtcSessionDescription::offer(offer)).await?;
    let tracks = [(MediaKind::Video, "VP8"), (MediaKind::Audio, "opus")];
    for (kind, codec) in tracks {
        let (id, stream_ids) = (codec.to_owned(), vec!["antiphon".to_owned()]);
        let track = MediaStreamTrack { kind, id, stream_ids };
        let transceiver = pc.add_track(track).await?;
        let feed = match kind {
            MediaKind::Video => studio.video(VideoCodec::Vp8, 9),
            MediaKind::Audio => studio.audio(AudioCodec::Opus),
        };
        tokio::spawn(play(feed, pc.handle(), transceiver, codec));
    }
    pc.set_local_description(None).await?;

    // One POST carries one answer, so it waits for our candidates.
    while !matches!(pc.next_event().await, Some(Event::IceCandidate(None)) | None) {}
    let answer = pc.local_description().await?.ok_or(Error::Closed)?;
    tokio::spawn(follow(pc));
    Ok(answer.sdp)
}

/// Prints what happens, and keeps the peer alive meanwhile.
async fn follow(mut pc: PeerConnection) {
    while let Some(event) = pc.next_event().await {
        if let Event::ConnectionStateChange(state) = event {
            println!("connection {state}");
            if matches!(state.as_str(), "failed" | "disconnected") {
                break;
            }
        }
    }
}

/// Sends every sample until the peer is closed.
async fn play(mut feed: Receiver<Sample>, peer: PeerHandle, transceiver: TransceiverId, codec: &str) {
    loop {
        let Sample { timestamp, data, .. } = match feed.recv().await {
            Ok(sample) => sample,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let payload_type = match peer.payload_type(transceiver, codec).await {
            Ok(Some(payload_type)) => payload_type,
            // Until the answer is set there is no payload type to send with.
            Ok(None) => continue,
            Err(_) => return,
        };
        let frame = Frame::new(payload_type, timestamp, data);
        if let Err(Error::Closed) = peer.send_frame(transceiver, frame).await {
            return;
        }
    }
}
