//! The test pattern and its music in a browser, or a file, with the least signalling there can be: one POST.
//!
//!     cargo run --release -p antiphon-cli --example get_started        then open http://127.0.0.1:8081
//!     cargo run --release -p antiphon-cli --example get_started -- film.mp4
//!
//! Any kind of file will do. A second argument names another address to listen on ("" is no file).

use antiphon::{
    Api, Error, Event, Frame, MediaCapabilities, MediaFile, MediaKind, MediaStreamTrack, PeerConnection, PeerHandle,
    RtcConfiguration, RtcSessionDescription, TransceiverId,
};
use antiphon_cli::sources::{AudioCodec, Sample, Studio, VideoCodec};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use tokio::sync::broadcast::{Receiver, error::RecvError};

type AnyError = Box<dyn std::error::Error + Send + Sync>;
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
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().filter(|file| !file.is_empty());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let state = (Api::builder().loopback(true).build()?, Studio::new(), file);
    let watch = async |State((api, studio, file)): State<(Api, Studio, Option<String>)>, offer: String| {
        let answer = answer(api, studio, file, offer).await;
        answer.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
    };
    let app = axum::Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(watch))
        .with_state(state);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Takes a browser's offer, and plays until the browser goes.
async fn answer(api: Api, studio: Studio, file: Option<String>, offer: String) -> Result<String, AnyError> {
    let file = file.map(MediaFile::open).transpose()?;
    let mut configuration = RtcConfiguration::default();
    // Every codec in every profile: nothing is encoded for the file.
    configuration.settings.capabilities = MediaCapabilities::recording().into();
    let mut pc = api.peer_connection(configuration).await?;
    pc.set_remote_description(RtcSessionDescription::offer(offer)).await?;
    // The first track of each kind, by its place in the file; or what the studio makes.
    let mut places = Vec::new();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let is_video = kind == MediaKind::Video;
        let index = match &file {
            Some(file) => file.tracks().iter().position(|track| track.is_video() == is_video),
            None => Some(0),
        };
        let Some(index) = index else { continue };
        let (id, stream_ids) = (kind.to_string(), vec!["antiphon".to_owned()]);
        places.push((index, pc.add_track(MediaStreamTrack { kind, id, stream_ids }).await?));
    }
    pc.set_local_description(None).await?;
    if let Some(file) = file {
        let mut playback = file.looping(true).play(&pc.handle(), &places).await?;
        tokio::spawn(async move { while playback.next_event().await.is_some() {} });
    } else {
        tokio::spawn(play(studio.video(VideoCodec::Vp8, 9), pc.handle(), places[0].1, "VP8"));
        tokio::spawn(play(studio.audio(AudioCodec::Opus), pc.handle(), places[1].1, "opus"));
    }
    // One POST, one answer: it waits for our candidates.
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
