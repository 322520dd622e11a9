//! Rooms on `/ws`: who comes in, what they hear of each other, what goes from one to the other, and what is refused.

mod common;

use std::time::Duration;

use antiphon::{
    Direction, Event, Frame, MediaKind, MediaStreamTrack, PeerConnection, RtcRtpTransceiverInit, RtcSessionDescription,
    TransceiverId,
};
use common::{Running, Socket, client, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// What a client can, as the page tells it.
async fn capabilities() -> String {
    let own = client().await;
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let init = RtcRtpTransceiverInit::new(Direction::SendRecv);
        own.add_transceiver(kind, init).await.unwrap();
    }
    own.create_offer(Default::default()).await.unwrap().sdp
}

async fn join(server: &Running, room: &str, name: &str, sdp: &str) -> Socket {
    let mut socket = server.socket().await;
    socket.expect("welcome").await;
    socket
        .send(json!({"type": "join", "room": room, "name": name, "sdp": sdp}))
        .await;
    socket
}

/// Somebody in a room.
struct Guest {
    socket: Socket,
    pc: PeerConnection,
    joined: Value,
}

impl Guest {
    async fn come(server: &Running, name: &str) -> Self {
        let mut socket = join(server, "stage", name, &capabilities().await).await;
        let joined = socket.expect("joined").await;
        Self {
            socket,
            pc: client().await,
            joined,
        }
    }

    fn id(&self) -> String {
        self.joined["you"].as_str().unwrap().to_owned()
    }

    /// It sends a track from the next answer on.
    async fn add(&self, kind: MediaKind, id: &str) -> TransceiverId {
        let track = MediaStreamTrack {
            kind,
            id: id.to_owned(),
            stream_ids: vec!["own".to_owned()],
        };
        self.pc.add_track(track).await.unwrap()
    }

    /// Answers the next offer; the table of tracks that follows, and the answer.
    async fn exchange(&mut self) -> (Value, String) {
        let offer = self.socket.expect("offer").await;
        let offer = RtcSessionDescription::offer(offer["sdp"].as_str().unwrap());
        self.pc.set_remote_description(offer).await.unwrap();
        self.pc.set_local_description(None).await.unwrap();
        let answer = self.pc.local_description().await.unwrap().unwrap().sdp;
        self.socket.send(json!({"type": "answer", "sdp": answer})).await;
        (self.socket.expect("tracks").await["tracks"].take(), answer)
    }
}

/// Sends pictures until the server ends the connection.
async fn film(mut pc: PeerConnection, video: TransceiverId) {
    let mut key_frame = true;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for number in 0u32.. {
        tokio::select! {
            _ = tick.tick() => {
                let Ok(Some(vp8)) = pc.payload_type(video, "VP8").await else { continue };
                let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
                data[0] |= u8::from(!std::mem::take(&mut key_frame));
                data.resize(600, 7);
                // Before the connection stands it goes nowhere.
                _ = pc.send_frame(video, Frame::new(vp8, number * 1800, data)).await;
            }
            event = pc.next_event() => match event {
                Some(Event::KeyFrameRequested(_)) => key_frame = true,
                Some(Event::PeerEnded(_)) | None => return,
                Some(_) => {}
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participants_get_each_other_and_hear_who_comes_and_goes() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    assert_eq!(ada.joined["participants"].as_array().unwrap().len(), 1);
    let video = ada.add(MediaKind::Video, "camera").await;
    let (tracks, _) = ada.exchange().await;
    assert_eq!(tracks, json!([]), "nobody else is there");

    let mut grace = Guest::come(&server, "Grace").await;
    let names: Vec<_> = grace.joined["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["Ada", "Grace"]);
    assert_eq!(ada.socket.expect("entered").await["participant"]["name"], "Grace");
    let (tracks, _) = grace.exchange().await;
    assert_eq!(tracks.as_array().unwrap().len(), 1, "{tracks}");
    assert_eq!(
        (&tracks[0]["participant"], &tracks[0]["source"]),
        (&json!(ada.id()), &json!("camera"))
    );

    let id = ada.id();
    let Guest {
        socket: mut of_ada, pc, ..
    } = ada;
    let filming = tokio::spawn(film(pc, video));
    within("pictures", async {
        while !matches!(grace.pc.next_event().await.expect("it lives"), Event::Frame { .. }) {}
    })
    .await;

    grace
        .socket
        .send(json!({"type": "say", "text": " Cookies 4 life "}))
        .await;
    for socket in [&mut of_ada, &mut grace.socket] {
        let said = socket.expect("said").await;
        assert_eq!(
            (&said["name"], &said["text"]),
            (&json!("Grace"), &json!("Cookies 4 life"))
        );
    }
    of_ada
        .send(json!({"type": "mute", "audio": true, "video": false}))
        .await;
    let muted = grace.socket.expect("muted").await;
    assert_eq!(
        muted["participant"],
        json!({"id": id, "name": "Ada", "audio_muted": true, "video_muted": false})
    );
    of_ada.send(json!({"type": "bye"})).await;
    assert_eq!(grace.socket.expect("left").await["id"], json!(id));
    // What she sent is gone with the next exchange.
    let (tracks, _) = grace.exchange().await;
    assert_eq!(tracks, json!([]));
    within("the end of what Ada sends", filming).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_is_a_second_picture_and_is_told_from_the_camera() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    ada.add(MediaKind::Video, "camera").await;
    ada.exchange().await;
    let mut grace = Guest::come(&server, "Grace").await;
    grace.exchange().await;

    ada.socket
        .send(json!({"type": "publish", "audio": 1, "video": 2}))
        .await;
    let offer = ada.socket.expect("offer").await["sdp"].as_str().unwrap().to_owned();
    ada.add(MediaKind::Video, "screen").await;
    ada.pc
        .set_remote_description(RtcSessionDescription::offer(offer))
        .await
        .unwrap();
    ada.pc.set_local_description(None).await.unwrap();
    let answer = ada.pc.local_description().await.unwrap().unwrap().sdp;
    let sections = answer.split("\r\nm=").filter(|section| section.starts_with("video"));
    let sending = sections.filter(|section| section.contains("a=sendonly"));
    let mids: Vec<_> = sending
        .filter_map(|section| section.lines().find_map(|line| line.strip_prefix("a=mid:")))
        .collect();
    assert_eq!(mids.len(), 2, "{answer}");
    ada.socket
        .send(json!({"type": "answer", "sdp": answer, "screen": mids[1]}))
        .await;

    let (tracks, _) = grace.exchange().await;
    let mut sources: Vec<_> = tracks
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["source"].as_str().unwrap())
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["camera", "screen"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_come_in_hears_why() {
    let server = Running::start(&[]).await;
    let sdp = capabilities().await;
    let _ada = Guest::come(&server, "Ada").await;
    for (room, name, sdp, code) in [
        ("no room", "Grace", &*sdp, "room"),
        (&"x".repeat(65), "Grace", &sdp, "room"),
        ("stage", "", &sdp, "name"),
        ("stage", "\u{202e}Grace", &sdp, "name"),
        ("stage", &"x".repeat(65), &sdp, "name"),
        ("stage", "ADA", &sdp, "name"),
        ("stage", "Grace", "nonsense", "sdp"),
    ] {
        let mut socket = join(&server, room, name, sdp).await;
        let refused = socket.next().await.unwrap();
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("error"), &json!(code)),
            "{refused}"
        );
        assert!(socket.next().await.is_none(), "the socket closes");
    }
    // Nobody of them was left in the room, and the name is free.
    let grace = Guest::come(&server, "Grace").await;
    assert_eq!(grace.joined["participants"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_participant_may_not_say_is_refused_and_the_room_goes_on() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let refused = async |socket: &mut Socket, text: String| {
        socket.send_raw(Message::Text(text.into())).await;
        socket.expect("error").await["code"].as_str().unwrap().to_owned()
    };
    for (message, code) in [
        ("{".to_owned(), "json"),
        (json!({"type": "start"}).to_string(), "type"),
        (
            json!({"type": "join", "room": "stage", "name": "Two", "sdp": ""}).to_string(),
            "type",
        ),
        (
            json!({"type": "publish", "audio": 2, "video": 1}).to_string(),
            "publish",
        ),
        (
            json!({"type": "publish", "audio": 1, "video": 3}).to_string(),
            "publish",
        ),
        (json!({"type": "say", "text": "  "}).to_string(), "text"),
        (json!({"type": "say", "text": "x".repeat(2001)}).to_string(), "text"),
        ("x".repeat(300 * 1024), "size"),
    ] {
        assert_eq!(refused(&mut ada.socket, message).await, code);
    }
    ada.socket.send_raw(Message::Binary(vec![1].into())).await;
    assert_eq!(ada.socket.expect("error").await["code"], "binary");
    ada.socket.send(json!({"type": "say", "text": "still here"})).await;
    assert_eq!(ada.socket.expect("said").await["text"], "still here");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_wrong_answer_comes_another_offer() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    ada.socket.expect("offer").await;
    ada.socket.send(json!({"type": "answer", "sdp": "v=0 nonsense"})).await;
    assert_eq!(ada.socket.expect("error").await["code"], "sdp");
    ada.socket.send(json!({"type": "answer", "sdp": "v=0"})).await;
    assert_eq!(
        ada.socket.expect("error").await["code"],
        "state",
        "the offer is given up"
    );
    let (tracks, answer) = ada.exchange().await;
    assert_eq!(tracks, json!([]));
    // Once more is once too often.
    ada.socket.send(json!({"type": "answer", "sdp": answer})).await;
    assert_eq!(ada.socket.expect("error").await["code"], "state");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_the_room_is_sent_away_and_the_others_stay() {
    let server = Running::start(&[]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let mut mallory = Guest::come(&server, "Mallory").await;
    ada.socket.expect("entered").await;
    const HANDFUL: u32 = 20;
    let mut refused = 0;
    // In handfuls, each of which is answered before the next: what is sent after the end is lost.
    'flood: loop {
        for _ in 0..HANDFUL {
            let mute = json!({"type": "mute", "audio": true, "video": true});
            if !mallory.socket.try_send(mute).await {
                break 'flood;
            }
        }
        for _ in 0..HANDFUL {
            let Some(message) = mallory.socket.next().await else {
                break 'flood;
            };
            refused += u32::from(message["code"] == "rate");
        }
    }
    assert!(refused >= 100, "{refused}");
    ada.socket.expect("left").await;
    ada.socket.send(json!({"type": "say", "text": "still here"})).await;
    assert_eq!(ada.socket.expect("said").await["text"], "still here");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_is_a_session_like_others() {
    let server = Running::start(&["--max-sessions", "1"]).await;
    let mut ada = Guest::come(&server, "Ada").await;
    let mut refused = join(&server, "stage", "Grace", &capabilities().await).await;
    assert_eq!(refused.next().await.unwrap()["code"], "limit");
    assert!(refused.next().await.is_none(), "the socket closes");
    ada.socket.send(json!({"type": "bye"})).await;
    while ada.socket.next().await.is_some() {}
    // A session of another kind is no participant afterwards.
    let mut other = server.socket().await;
    loop {
        other
            .send(json!({"type": "start", "mode": "data", "offerer": "server"}))
            .await;
        let reply = other.next().await;
        // The place comes back when the session has ended, which the close frame may outrun.
        match reply {
            Some(reply) if reply["type"] == "welcome" => {}
            Some(reply) if reply["type"] == "offer" => break,
            _ => other = server.socket().await,
        }
    }
    other
        .send(json!({"type": "join", "room": "stage", "name": "Ada", "sdp": ""}))
        .await;
    assert_eq!(other.expect("error").await["code"], "state");
    server.stop().await;
}
