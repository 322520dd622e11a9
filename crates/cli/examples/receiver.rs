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
use antiphon_container::{Codec, Format, Sample, Track, Writer};
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
    let create = |name| File::create(name).map(BufWriter::new);
    let (mut video, mut starts, mut counts) = (None, [None; 2], [0; 2]);
    let opus = Track::audio(Codec::Opus, 48_000, 2);
    let mut sound = Writer::new(create("received.opus")?, Format::Ogg, vec![opus])?;
    while let Some(event) = pc.next_event().await {
        match event {
            Event::Track { transceiver, kind, .. } => _ = kinds.insert(transceiver, kind),
            Event::Frame {
                transceiver: id, frame, ..
            } => {
                let Some(kind) = kinds.get(&id) else { continue };
                if *kind == MediaKind::Video && video.is_none() {
                    // Nothing before the first key frame can be decoded.
                    let Some(track) = Track::of_key_frame(Codec::Vp8, &frame.data) else {
                        pc.request_key_frame(id).await?;
                        continue;
                    };
                    video = Some(Writer::new(create("received.ivf")?, Format::Ivf, vec![track])?);
                }
                let index = usize::from(*kind == MediaKind::Audio);
                let start = *starts[index].get_or_insert(frame.timestamp);
                counts[index] += 1;
                let time = frame.timestamp.wrapping_sub(start).into();
                let (key_frame, data) = (frame.key_frame, frame.data);
                let sample = Sample {
                    track: 0,
                    time,
                    duration: None,
                    key_frame,
                    data,
                };
                match (kind, &mut video) {
                    (MediaKind::Video, Some(video)) => video.write(&sample)?,
                    _ => sound.write(&sample)?,
                }
            }
            Event::ConnectionStateChange(state) if matches!(state.as_str(), "disconnected" | "failed") => break,
            Event::DtlsStateChange(state) if state.as_str() == "closed" => break,
            _ => {}
        }
    }
    println!(
        "{} frames in received.ivf, {} packets in received.opus",
        counts[0], counts[1]
    );
    video.map(Writer::finish).transpose()?;
    sound.finish()?;
    Ok(())
}
