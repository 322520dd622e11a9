//! The pattern as H.264, over loopback, and who gets VP8 instead.
#![cfg(feature = "h264")]

mod common;

use std::sync::Arc;

use antiphon::whip::Endpoint;
use antiphon::{Api, Direction, Event, MediaCapabilities, MediaKind, RtcConfiguration, RtcRtpTransceiverInit};
use common::{Running, within};

/// Watches until so many frames have come, which are all of this codec; how many of them were key frames, and their bytes.
async fn watch(server: &Running, takes: &[&str], codec: &str, frames: usize) -> (usize, usize) {
    let mut configuration = RtcConfiguration::default();
    let mut capabilities = MediaCapabilities::default();
    capabilities.video.retain(|codec| takes.contains(&&*codec.name));
    configuration.settings.capabilities = Arc::new(capabilities);
    let api = Api::builder().loopback(true).build().unwrap();
    let mut pc = api.peer_connection(configuration).await.unwrap();
    let init = RtcRtpTransceiverInit::new(Direction::RecvOnly);
    let video = pc.add_transceiver(MediaKind::Video, init).await.unwrap();
    let endpoint = Endpoint::new(&format!("http://{}/whep", server.addr)).unwrap();
    let session = within("an answer", endpoint.connect(&mut pc)).await.unwrap();
    let transceivers = pc.transceivers().await.unwrap();
    let agreed = transceivers
        .iter()
        .find(|transceiver| transceiver.id() == video)
        .unwrap();
    let codecs = agreed.receive().unwrap().codecs.clone();
    let (mut seen, mut key_frames, mut bytes) = (0, 0, 0);
    while seen < frames {
        let Some(Event::Frame { frame, .. }) = within("a frame", pc.next_event()).await else {
            continue;
        };
        let named = codecs.iter().find(|own| own.payload_type == frame.payload_type);
        assert_eq!(named.map(|own| &*own.name), Some(codec));
        assert!(seen > 0 || frame.key_frame, "it begins with a key frame");
        seen += 1;
        key_frames += usize::from(frame.key_frame);
        bytes += frame.data.len();
        if seen == frames / 2 {
            pc.request_key_frame(video).await.unwrap();
        }
    }
    session.close().await.unwrap();
    (key_frames, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pattern_comes_as_h264_to_who_takes_it() {
    let server = Running::start(&["--udp-port", "0", "--codec", "h264"]).await;
    let (key_frames, bytes) = watch(&server, &["VP8", "H264"], "H264", 60).await;
    assert!((2..10).contains(&key_frames), "{key_frames} key frames");
    // Two seconds, key frames included: it follows an estimate that soon knows of loopback's rate, up to its own 3 Mbit/s.
    assert!(bytes < 3_000_000 / 8 * 2, "{bytes} bytes");
    let (key_frames, _) = watch(&server, &["VP8"], "VP8", 10).await;
    assert_eq!(key_frames, 10, "no frame of VP8 needs another");
    server.stop().await;

    // Without the flag VP8 comes first, and H.264 to who takes no VP8.
    let server = Running::start(&["--udp-port", "0"]).await;
    watch(&server, &["H264", "VP8"], "VP8", 10).await;
    watch(&server, &["H264"], "H264", 10).await;
    server.stop().await;
}
