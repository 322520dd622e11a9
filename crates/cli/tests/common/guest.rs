//! A participant of a room that is no browser.

use std::time::Duration;

use antiphon::{
    Direction, Event, Frame, MediaKind, MediaStreamTrack, PeerConnection, RtcRtpTransceiverInit, RtcSessionDescription,
    TransceiverId,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Running, Socket, client};

/// What a client can, as the page tells it.
pub async fn capabilities() -> String {
    let own = client().await;
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let init = RtcRtpTransceiverInit::new(Direction::SendRecv);
        own.add_transceiver(kind, init).await.unwrap();
    }
    own.create_offer(Default::default()).await.unwrap().sdp
}

pub async fn join(server: &Running, room: &str, name: &str, sdp: &str) -> Socket {
    let mut socket = server.socket().await;
    socket.expect("welcome").await;
    socket
        .send(json!({"type": "join", "room": room, "name": name, "sdp": sdp}))
        .await;
    socket
}

/// Somebody in a room.
pub struct Guest {
    pub socket: Socket,
    pub pc: PeerConnection,
    pub joined: Value,
}

impl Guest {
    pub async fn come(server: &Running, name: &str) -> Self {
        Self::come_with(server, json!({"name": name})).await
    }

    /// Into the room `stage`, with these members of `join`.
    pub async fn come_with(server: &Running, mut members: Value) -> Self {
        let mut socket = server.socket().await;
        socket.expect("welcome").await;
        members["type"] = json!("join");
        members["room"] = json!("stage");
        members["sdp"] = json!(capabilities().await);
        socket.send(members).await;
        let joined = socket.expect("joined").await;
        Self {
            socket,
            pc: client().await,
            joined,
        }
    }

    pub fn id(&self) -> String {
        self.joined["you"].as_str().unwrap().to_owned()
    }

    /// It sends a track from the next answer on.
    pub async fn add(&self, kind: MediaKind, id: &str) -> TransceiverId {
        let track = MediaStreamTrack {
            kind,
            id: id.to_owned(),
            stream_ids: vec!["own".to_owned()],
        };
        self.pc.add_track(track).await.unwrap()
    }

    /// Answers the next offer; the table of tracks that follows, and the answer.
    pub async fn exchange(&mut self) -> (Value, String) {
        let offer = self.socket.expect("offer").await;
        let answer = answer(&self.pc, &offer).await;
        self.socket.send(json!({"type": "answer", "sdp": answer})).await;
        (self.socket.expect("tracks").await["tracks"].take(), answer)
    }
}

/// Sends pictures until the server ends the connection.
pub async fn film(mut pc: PeerConnection, video: TransceiverId) {
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

/// What somebody who watches has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub frames: u64,
    pub offers: u64,
}

/// Watches, and answers every offer, until the server ends the socket or the connection.
pub async fn attend(guest: Guest, seen: watch::Sender<Seen>) {
    let Guest { mut socket, mut pc, .. } = guest;
    loop {
        tokio::select! {
            message = socket.next_of_all() => {
                let Some(message) = message else { return };
                if message["type"] == "offer" {
                    seen.send_modify(|seen| seen.offers += 1);
                    let answer = answer(&pc, &message).await;
                    if !socket.try_send(json!({"type": "answer", "sdp": answer})).await {
                        return;
                    }
                }
            }
            event = pc.next_event() => match event {
                Some(Event::Frame { .. }) => seen.send_modify(|seen| seen.frames += 1),
                Some(Event::PeerEnded(_)) | None => return,
                Some(_) => {}
            },
        }
    }
}

/// The answer to an offer of the server, which is set.
pub async fn answer(pc: &PeerConnection, offer: &Value) -> String {
    let offer = RtcSessionDescription::offer(offer["sdp"].as_str().unwrap());
    pc.set_remote_description(offer).await.unwrap();
    pc.set_local_description(None).await.unwrap();
    pc.local_description().await.unwrap().unwrap().sdp
}
