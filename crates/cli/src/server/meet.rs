//! `/meet/CODE`: two ends that know the same code are put through to each other (docs/signalling.md, "/meet").
//!
//! The server reads nothing of what they say. It knows a code only while somebody waits there.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::MAX_SIGNAL;
use super::endpoints::unavailable;
use super::places::Place;
use super::pulse::{Beat, Pulse};
use super::room::Room;
use super::ws::SEND_LIMIT;
use crate::transfer::{CODE_RULE, is_code};

/// Messages that wait for an end that is slow.
const QUEUE: usize = 64;
/// Messages of one end in one meeting; signalling needs a few dozen.
const MAX_MESSAGES: usize = 500;
/// Who says nothing and hears nothing for so long has gone home.
const IDLE: Duration = Duration::from_secs(900);

/// Which of the two ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Side {
    Send,
    Recv,
}

impl Side {
    fn index(self) -> usize {
        self as usize
    }
}

#[derive(Deserialize)]
struct Parameters {
    role: Side,
}

/// Who waits where. Bounded by the room's sockets: each end holds a place there.
#[derive(Debug, Default)]
pub(super) struct Meetings(Mutex<HashMap<String, [Option<mpsc::Sender<Utf8Bytes>>; 2]>>);

impl Meetings {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, [Option<mpsc::Sender<Utf8Bytes>>; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat; both are told when the second one comes.
    fn enter(&self, code: &str, side: Side) -> Option<mpsc::Receiver<Utf8Bytes>> {
        let mut meetings = self.lock();
        let seats = meetings.entry(code.to_owned()).or_default();
        if seats[side.index()].is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        seats[side.index()] = Some(sender);
        if seats.iter().all(Option::is_some) {
            for seat in seats.iter().flatten() {
                // A queue that is new, or of somebody who only waited: there is room.
                _ = seat.try_send(Utf8Bytes::from_static(r#"{"type":"peer"}"#));
            }
        }
        Some(receiver)
    }

    /// Passes a message on. `false` if the other end does not keep up.
    fn pass(&self, code: &str, from: Side, message: Utf8Bytes) -> bool {
        let meetings = self.lock();
        let other = meetings.get(code).and_then(|seats| seats[1 - from.index()].as_ref());
        // Who speaks to an empty seat will be told of it.
        other.is_none_or(|seat| !matches!(seat.try_send(message), Err(mpsc::error::TrySendError::Full(_))))
    }

    fn leave(&self, code: &str, side: Side) {
        let mut meetings = self.lock();
        if let Some(seats) = meetings.get_mut(code) {
            seats[side.index()] = None;
            match &seats[1 - side.index()] {
                Some(other) => _ = other.try_send(Utf8Bytes::from_static(r#"{"type":"left"}"#)),
                None => _ = meetings.remove(code),
            }
        }
    }
}

pub(super) fn routes() -> Router<Arc<Room>> {
    Router::new().route("/meet/{code}", get(upgrade))
}

async fn upgrade(
    State(room): State<Arc<Room>>,
    Path(code): Path<String>,
    Query(parameters): Query<Parameters>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
) -> Response {
    if !is_code(&code) {
        return (StatusCode::BAD_REQUEST, CODE_RULE).into_response();
    }
    let place = match room.sockets.enter(from.ip()) {
        Ok(place) => place,
        Err(full) => return unavailable(&full.to_string()).into_response(),
    };
    ws.max_message_size(MAX_SIGNAL)
        .max_frame_size(MAX_SIGNAL)
        .on_upgrade(move |socket| serve(room, code, parameters.role, from.ip(), place, socket))
}

async fn serve(room: Arc<Room>, code: String, side: Side, from: IpAddr, _place: Place, mut socket: WebSocket) {
    let session = room.number();
    // Before the code is looked at: whether somebody waits there is what a guesser wants to hear.
    if !room.guesses.take(Instant::now(), from) {
        return refuse(
            socket,
            "too many codes from your address at which nobody was: try again later",
        )
        .await;
    }
    let Some(mut heard) = room.meetings.enter(&code, side) else {
        return refuse(socket, "somebody is there with this code already").await;
    };
    tracing::debug!(session, ?side, "waits at a meeting");
    let mut said = 0;
    let mut met = false;
    let mut pulse = Pulse::new(room.patience.ping);
    let mut idle = pin!(sleep(IDLE));
    loop {
        tokio::select! {
            () = room.stopping() => break,
            message = heard.recv() => {
                let Some(message) = message else { break };
                if !std::mem::replace(&mut met, true) {
                    room.guesses.give_back(from);
                }
                let sent = timeout(SEND_LIMIT, socket.send(Message::Text(message))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
                idle.as_mut().reset(Instant::now() + IDLE);
            }
            beat = pulse.beat() => {
                let ping = socket.send(Message::Ping(Bytes::new()));
                if beat == Beat::Dead || !matches!(timeout(SEND_LIMIT, ping).await, Ok(Ok(()))) {
                    break;
                }
            }
            () = &mut idle => break,
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    pulse.heard();
                    idle.as_mut().reset(Instant::now() + IDLE);
                    said += 1;
                    if said > MAX_MESSAGES || !room.meetings.pass(&code, side, text) {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => pulse.heard(),
                _ => break,
            },
        }
    }
    room.meetings.leave(&code, side);
    _ = timeout(SEND_LIMIT, socket.send(Message::Close(None))).await;
}

async fn refuse(mut socket: WebSocket, message: &str) {
    let text = serde_json::json!({"type": "error", "message": message}).to_string();
    _ = timeout(SEND_LIMIT, socket.send(Message::Text(text.into()))).await;
    _ = timeout(SEND_LIMIT, socket.send(Message::Close(None))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: Result<Utf8Bytes, mpsc::error::TryRecvError>) -> String {
        message.unwrap().to_string()
    }

    #[test]
    fn two_meet_one_leaves_another_comes() {
        let meetings = Meetings::default();
        let mut sender = meetings.enter("abcd", Side::Send).unwrap();
        assert!(meetings.enter("abcd", Side::Send).is_none(), "one seat of a kind");
        assert!(sender.try_recv().is_err());
        let mut receiver = meetings.enter("abcd", Side::Recv).unwrap();
        for heard in [&mut sender, &mut receiver] {
            assert!(text(heard.try_recv()).contains("peer"));
        }
        assert!(meetings.pass("abcd", Side::Send, "hello".into()));
        assert_eq!(text(receiver.try_recv()), "hello");
        assert!(sender.try_recv().is_err());
        meetings.leave("abcd", Side::Recv);
        assert!(text(sender.try_recv()).contains("left"));
        assert!(meetings.pass("abcd", Side::Send, "to nobody".into()));
        let mut receiver = meetings.enter("abcd", Side::Recv).unwrap();
        assert!(
            text(receiver.try_recv()).contains("peer"),
            "what was said to nobody is gone"
        );
        for _ in 0..QUEUE {
            assert!(meetings.pass("abcd", Side::Send, "x".into()));
        }
        assert!(
            !meetings.pass("abcd", Side::Send, "x".into()),
            "nobody fills our memory"
        );
        meetings.leave("abcd", Side::Recv);
        meetings.leave("abcd", Side::Send);
        assert!(meetings.lock().is_empty());
    }
}
