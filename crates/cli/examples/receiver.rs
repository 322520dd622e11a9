//! Saves what a browser sends, in any codec, sound and picture in step.
//!
//!     cargo run --release -p antiphon-cli --example receiver -- me.webm        then open http://127.0.0.1:8082
//!
//! The name says what it becomes: `.webm` or `.mp4`; or of one track, `.opus`, `.ivf`, `.h264`, `.h265` or `.obu`. Each recording takes
//! the place of the one before. A second argument names another address to listen on.

use antiphon::container::{Codec, Format};
use antiphon::{
    Api, Event, MediaCapabilities, PeerConnection, Recorder, RtcConfiguration, RtcPeerConnectionState,
    RtcSessionDescription,
};
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
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "received.webm".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8082".to_owned());
    let state = (Api::builder().loopback(true).build()?, name);
    let record = async |State((api, name)): State<(Api, String)>, offer: String| {
        let refused = |error: AnyError| (StatusCode::BAD_REQUEST, error.to_string());
        answer(api, name, offer).await.map_err(refused)
    };
    let app = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(record))
        .with_state(state);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn answer(api: Api, name: String, offer: String) -> Result<String, AnyError> {
    // Any codec that the file can hold.
    let format = Format::of_extension(&name).ok_or("no file has this extension")?;
    let mut codecs = MediaCapabilities::recording();
    codecs.video.retain(|codec| format.holds(&Codec::of_name(&codec.name)));
    codecs.audio.retain(|codec| format.holds(&Codec::of_name(&codec.name)));
    let mut configuration = RtcConfiguration::default();
    configuration.settings.capabilities = codecs.into();
    let mut pc = api.peer_connection(configuration).await?;
    // Transceivers that the offer makes receive; nothing else has to be said.
    pc.set_remote_description(RtcSessionDescription::offer(offer)).await?;
    pc.set_local_description(None).await?;
    while !matches!(pc.next_event().await, Some(Event::IceCandidate(None)) | None) {}
    let answer = pc.local_description().await?.ok_or("no answer")?;
    tokio::spawn(async move {
        if let Err(error) = save(pc, name).await {
            println!("stopped: {error}");
        }
    });
    Ok(answer.sdp)
}

/// Writes what comes until the browser goes.
async fn save(mut pc: PeerConnection, name: String) -> Result<(), AnyError> {
    let mut recorder = Recorder::create(&name)?;
    let feed = recorder.feed(pc.handle());
    while let Some(event) = pc.next_event().await {
        feed.handle_event(&event);
        match event {
            Event::PeerEnded(_) | Event::ConnectionStateChange(RtcPeerConnectionState::Failed) => break,
            _ => {}
        }
    }
    let stats = recorder.finish().await?;
    println!("{} frames and packets in {name}", stats.written);
    Ok(())
}
