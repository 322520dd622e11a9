//! Whole sessions over loopback UDP, with our own peer connection as the client.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon::{
    DataChannel, Direction, Event, Frame, MediaKind, Message, MessageKind, RtcDataChannelInit, RtcDtlsTransportState,
    RtcRtpTransceiverInit, RtcSessionDescription,
};
use antiphon_cli::sources::{Studio, VideoCodec};
use common::{Running, client, drive, whole_offer, within};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");
const FRAMES: usize = 10;

/// Counts frames until both kinds have come.
#[derive(Default)]
struct Seen {
    video: usize,
    audio: usize,
}

impl Seen {
    fn take(&mut self, frame: &Frame) -> bool {
        if frame.data.len() >= 10 && frame.data[3..6] == [0x9d, 0x01, 0x2a] {
            assert_eq!(u16::from_le_bytes([frame.data[6], frame.data[7]]) & 0x3fff, 640);
            self.video += 1;
        } else {
            self.audio += 1;
        }
        self.video >= FRAMES && self.audio >= FRAMES
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_when_the_server_offers() {
    let server = Running::start(&["--udp-port", "0"]).await;
    let mut socket = server.socket().await;
    socket
        .send(json!({ "type": "start", "mode": "watch", "offerer": "server", "audio": "pcmu" }))
        .await;
    let mut pc = client().await;
    let mut seen = Seen::default();
    let (found, mut channels) = mpsc::unbounded_channel::<DataChannel>();
    drive(&mut pc, &mut socket, async |event| {
        match event {
            Event::Frame { frame, .. } => return seen.take(&frame),
            Event::DataChannel(channel) => found.send(channel).unwrap(),
            _ => {}
        }
        false
    })
    .await;
    let mut labels = Vec::new();
    for _ in 0..3 {
        labels.push(within("a channel", channels.recv()).await.unwrap().label().to_owned());
    }
    labels.sort();
    assert_eq!(labels, ["chat", "echo", "file"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_and_talk_when_the_client_offers() {
    let server = Running::start(&[]).await;
    let mut socket = server.socket().await;
    let mut pc = client().await;
    for kind in [MediaKind::Video, MediaKind::Audio] {
        pc.add_transceiver(kind, RtcRtpTransceiverInit::new(Direction::RecvOnly))
            .await
            .unwrap();
    }
    let channel = async |label: &str| {
        pc.create_data_channel(label, RtcDataChannelInit::default())
            .await
            .unwrap()
    };
    let (mut echo, mut chat, mut file) = (channel("echo").await, channel("chat").await, channel("file").await);
    pc.set_local_description(None).await.unwrap();
    let offer = pc.local_description().await.unwrap().unwrap();
    socket.send(json!({ "type": "offer", "sdp": offer.sdp })).await;
    let mut seen = Seen::default();
    drive(&mut pc, &mut socket, async |event| match event {
        Event::Frame { frame, .. } => seen.take(&frame),
        _ => false,
    })
    .await;
    // Events go on while the channels are used.
    let events = tokio::spawn(goodbye(pc));

    within("open", echo.opened()).await.unwrap();
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::binary(vec![7; 100_000]),
        Message::binary(vec![]),
    ] {
        echo.send(message.clone()).await.unwrap();
        assert_eq!(within("an echo", echo.recv()).await.unwrap(), message);
    }

    within("open", chat.opened()).await.unwrap();
    let spoken = async |chat: &mut DataChannel| -> Value {
        let message = within("chat", chat.recv()).await.unwrap();
        assert_eq!(message.kind, MessageKind::Text);
        serde_json::from_slice(&message.data).unwrap()
    };
    assert_eq!(spoken(&mut chat).await["from"], "Antiphon");
    chat.send_text("good day").await.unwrap();
    let line = spoken(&mut chat).await;
    assert_eq!((&line["text"], &line["you"]), (&json!("good day"), &json!(true)));

    within("open", file.opened()).await.unwrap();
    let reply = async |file: &mut DataChannel| -> Value {
        serde_json::from_slice(&within("a reply", file.recv()).await.unwrap().data).unwrap()
    };
    file.send_text(r#"{"type":"fetch"}"#).await.unwrap();
    assert_eq!(reply(&mut file).await["type"], "error");
    file.send_text(r#"{"type":"file","name":"abc","size":3}"#)
        .await
        .unwrap();
    for byte in [b"a", b"b", b"c"] {
        file.send_binary(&byte[..]).await.unwrap();
    }
    // FIPS 180-4's own example.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    file.send_text(format!(r#"{{"type":"end","sha256":"{sha256}"}}"#))
        .await
        .unwrap();
    assert_eq!(
        reply(&mut file).await,
        json!({ "type": "received", "bytes": 3, "sha256": sha256 })
    );
    file.send_text(r#"{"type":"fetch"}"#).await.unwrap();
    assert_eq!(
        reply(&mut file).await,
        json!({ "type": "file", "name": "abc", "size": 3 })
    );
    assert_eq!(
        within("bytes", file.recv()).await.unwrap(),
        Message::binary(&b"abc"[..])
    );
    assert_eq!(reply(&mut file).await, json!({ "type": "end", "sha256": sha256 }));
    for (text, refusal) in [
        (r#"{"type":"file","name":"big","size":99999999999}"#, "error"),
        (r#"{"type":"end","sha256":""}"#, "error"),
        (r#"{"type":"fetch","size":99999999999}"#, "error"),
        ("what?", "error"),
    ] {
        file.send_text(text).await.unwrap();
        assert_eq!(reply(&mut file).await["type"], refusal, "{text}");
    }
    server.stop().await;
    within("the goodbye", events).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_gives_back_what_was_sent() {
    let server = Running::start(&[]).await;
    let mut socket = server.socket().await;
    socket.send(json!({ "type": "start", "mode": "echo" })).await;
    let mut pc = client().await;
    let video = pc
        .add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::default())
        .await
        .unwrap();
    pc.set_local_description(None).await.unwrap();
    let offer = pc.local_description().await.unwrap().unwrap();
    socket.send(json!({ "type": "offer", "sdp": offer.sdp })).await;
    let always = Arc::new(AtomicBool::new(true));
    let sender = tokio::spawn(send_pattern(pc.handle(), video, always));
    let mut seen = 0;
    drive(&mut pc, &mut socket, async |event| {
        if let Event::Frame { frame, .. } = event {
            assert_eq!(&frame.data[3..6], &[0x9d, 0x01, 0x2a]);
            seen += 1;
        }
        seen >= FRAMES
    })
    .await;
    sender.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whip_reaches_whep() {
    let server = Running::start(&["--udp-port", "0"]).await;

    // A fresh server plays the pattern.
    let (mut first, resource) = play(&server, "/whep").await;
    frames(&mut first).await;
    assert_eq!(server.http("DELETE", &resource, &[], "").await.status, 200);
    assert_eq!(server.http("DELETE", &resource, &[], "").await.status, 404, "gone");

    // A publisher comes.
    let mut publisher = client().await;
    let video = publisher
        .add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::new(Direction::SendOnly))
        .await
        .unwrap();
    let offer = whole_offer(&mut publisher).await;
    let created = server.http("POST", "/whip", &[SDP], &offer).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    assert!(created.header("etag").unwrap().starts_with('"'));
    assert!(
        created.body.contains("a=candidate:"),
        "no trickle from the server:\n{}",
        created.body
    );
    assert!(created.body.contains("a=recvonly"));
    let whip = created.header("location").unwrap().to_owned();
    publisher
        .set_remote_description(RtcSessionDescription::answer(created.body))
        .await
        .unwrap();
    // It sends key frames only when asked: watchers see anything only if their wish goes all the way.
    let wanted = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(send_pattern(publisher.handle(), video, wanted.clone()));
    let events = tokio::spawn(async move {
        while let Some(event) = publisher.next_event().await {
            match event {
                Event::KeyFrameRequested(_) => wanted.store(true, Ordering::Relaxed),
                Event::DtlsStateChange(RtcDtlsTransportState::Closed) => return,
                _ => {}
            }
        }
    });

    // By default the newest publisher plays.
    let (mut watcher, resource) = play(&server, "/whep?source=whip").await;
    frames(&mut watcher).await;
    let (mut other, _) = play(&server, "/whep").await;
    frames(&mut other).await;

    // Trickle towards the server.
    let candidate = "a=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n";
    assert_eq!(
        server.http("PATCH", &resource, &[FRAGMENT], candidate).await.status,
        204
    );
    // RFC 8839 §5.1: one of a transport that nobody here knows is discarded, and refuses no other.
    let unknown = "a=mid:0\r\na=candidate:1 1 ssltcp 2105524479 203.0.113.9 443 typ host\r\n\
        a=candidate:2 1 udp 2122260223 127.0.0.1 9 typ host\r\n";
    assert_eq!(server.http("PATCH", &resource, &[FRAGMENT], unknown).await.status, 204);
    assert_eq!(
        server
            .http("PATCH", &resource, &[FRAGMENT, ("If-Match", "\"other\"")], candidate)
            .await
            .status,
        412
    );
    assert_eq!(server.http("PATCH", &resource, &[SDP], candidate).await.status, 415);
    assert_eq!(
        server.http("PATCH", &resource, &[FRAGMENT], "nonsense").await.status,
        400
    );
    let restart = "a=ice-ufrag:new1\r\na=ice-pwd:0123456789012345678901\r\n";
    assert_eq!(
        server
            .http("PATCH", &resource, &[FRAGMENT, ("If-Match", "*")], restart)
            .await
            .status,
        422
    );
    assert_eq!(
        server
            .http("PATCH", &whip.replace("whip", "whep"), &[FRAGMENT], candidate)
            .await
            .status,
        404
    );

    assert_eq!(server.http("DELETE", &whip, &[], "").await.status, 200);
    assert_eq!(
        server.http("POST", "/whep?source=whip", &[SDP], "v=0\r\n").await.status,
        404,
        "nobody publishes any more"
    );
    sender.abort();
    server.stop().await;
    within("the goodbye", events).await.unwrap();
}

/// Returns when the far end has ended the connection in an orderly way.
async fn goodbye(mut pc: antiphon::PeerConnection) {
    while let Some(event) = pc.next_event().await {
        if matches!(event, Event::DtlsStateChange(RtcDtlsTransportState::Closed)) {
            return;
        }
    }
}

/// POSTs a receiving offer and takes the answer.
async fn play(server: &Running, path: &str) -> (antiphon::PeerConnection, String) {
    let mut pc = client().await;
    pc.add_transceiver(MediaKind::Video, RtcRtpTransceiverInit::new(Direction::RecvOnly))
        .await
        .unwrap();
    let offer = whole_offer(&mut pc).await;
    let created = server
        .http("POST", path, &[SDP, ("Accept", "application/sdp")], &offer)
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    let resource = created.header("location").unwrap().to_owned();
    pc.set_remote_description(RtcSessionDescription::answer(created.body))
        .await
        .unwrap();
    (pc, resource)
}

async fn frames(pc: &mut antiphon::PeerConnection) {
    let mut seen = 0;
    while seen < FRAMES {
        let event = within("a frame", pc.next_event()).await.expect("the connection lives");
        if let Event::Frame { frame, .. } = event {
            assert_eq!(&frame.data[3..6], &[0x9d, 0x01, 0x2a]);
            seen += 1;
        }
    }
}

/// Sends the pattern until aborted: a key frame when `wanted`, and otherwise what only looks like an inter frame (RFC 6386 §9.1: the
/// lowest bit), which no decoder here will see through.
async fn send_pattern(peer: antiphon::PeerHandle, transceiver: antiphon::TransceiverId, wanted: Arc<AtomicBool>) {
    let studio = Studio::new();
    let mut feed = studio.video(VideoCodec::Vp8, 3);
    let always = wanted.load(Ordering::Relaxed);
    loop {
        let Ok(sample) = feed.recv().await else { continue };
        let Ok(Some(payload_type)) = peer.payload_type(transceiver, "VP8").await else {
            continue;
        };
        let key_frame = always || wanted.swap(false, Ordering::Relaxed);
        let mut data = sample.data.to_vec();
        data[0] |= u8::from(!key_frame);
        let frame = Frame::new(payload_type, sample.timestamp, data);
        // Not connected yet, or the queue is full: the next one.
        _ = peer.send_frame(transceiver, frame).await;
    }
}
