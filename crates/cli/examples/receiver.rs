//! Saves what a browser sends: video as `received.ivf` (VP8), sound as `received.opus` (Ogg).
//!
//!     cargo run --release -p antiphon-cli --example receiver        then open http://127.0.0.1:8082
//!
//! Play the files with any player, for example `ffplay received.ivf`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use antiphon::{Api, Event, MediaKind, PeerConnection, RtcConfiguration, RtcSessionDescription, TransceiverId};
use antiphon_cli::files::{IvfWriter, OggOpusWriter};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};

const PAGE: &str = r#"<!doctype html><title>Receiver</title><button id=go>Record</button> <button id=end>Stop</button><br>
<video id=v autoplay playsinline muted></video><script>
let pc;
go.onclick = async () => {
  pc = new RTCPeerConnection();
  v.srcObject = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const track of v.srcObject.getTracks()) pc.addTrack(track, v.srcObject);
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== 'complete') await new Promise((r) => { pc.onicegatheringstatechange = r; });
  const answer = await fetch('/offer', { method: 'POST', body: pc.localDescription.sdp });
  await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
};
end.onclick = () => pc.close();
</script>"#;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let api = Api::builder().loopback(true).build()?;
    let app = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(record))
        .with_state(api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8082").await?;
    println!("open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn record(State(api): State<Api>, offer: String) -> Result<String, (StatusCode, String)> {
    answer(api, offer)
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn answer(api: Api, offer: String) -> Result<String, AnyError> {
    let mut configuration = RtcConfiguration::default();
    let codecs = Arc::make_mut(&mut configuration.settings.capabilities);
    codecs.video.retain(|codec| codec.name == "VP8");
    codecs.audio.retain(|codec| codec.name == "opus");
    let mut pc = api.peer_connection(configuration).await?;
    // Transceivers that the offer makes receive; nothing else has to be said.
    pc.set_remote_description(RtcSessionDescription::offer(offer)).await?;
    pc.set_local_description(None).await?;
    let mut kinds = BTreeMap::new();
    while let Some(event) = pc.next_event().await {
        match event {
            Event::Track { transceiver, kind, .. } => _ = kinds.insert(transceiver, kind),
            Event::IceCandidate(None) => break,
            _ => {}
        }
    }
    let answer = pc.local_description().await?.ok_or("no answer")?;
    tokio::spawn(async move {
        if let Err(error) = save(pc, kinds).await {
            println!("stopped: {error}");
        }
    });
    Ok(answer.sdp)
}

/// Writes frames until the browser goes.
async fn save(mut pc: PeerConnection, mut kinds: BTreeMap<TransceiverId, MediaKind>) -> Result<(), AnyError> {
    let mut video = IvfWriter::new(BufWriter::new(File::create("received.ivf")?));
    let mut sound = OggOpusWriter::new(BufWriter::new(File::create("received.opus")?), 1, 2)?;
    while let Some(event) = pc.next_event().await {
        match event {
            Event::Track { transceiver, kind, .. } => _ = kinds.insert(transceiver, kind),
            Event::Frame {
                transceiver: id, frame, ..
            } => match kinds.get(&id) {
                // Nothing before the first key frame can be decoded.
                Some(MediaKind::Video) if !video.write_frame(frame.timestamp, &frame.data)? => {
                    pc.request_key_frame(id).await?;
                }
                Some(MediaKind::Video) => {}
                Some(MediaKind::Audio) => sound.write_packet(frame.timestamp, frame.data)?,
                None => {}
            },
            Event::ConnectionStateChange(state) if matches!(state.as_str(), "disconnected" | "failed") => break,
            Event::DtlsStateChange(state) if state.as_str() == "closed" => break,
            _ => {}
        }
    }
    println!(
        "{} frames in received.ivf, {} packets in received.opus",
        video.frames(),
        sound.packets()
    );
    video.finish()?;
    sound.finish()?;
    Ok(())
}
