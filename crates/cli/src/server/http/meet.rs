//! `/meet/CODE`: two ends that know the same code are put through to each other (docs/signalling.md, "/meet").
//!
//! The server reads nothing of what they say. It knows a code only while somebody waits there.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::endpoints::unavailable;
use super::pulse::{Beat, Pulse, READ_AT_ONCE, SEND_LIMIT};
use super::shared::Shared;
use super::signal::MAX_SIGNAL;
use crate::code::{CODE_RULE, is_code};
use crate::server::chat::Side;
use crate::server::quota::Place;

/// Messages of one end in one meeting; signalling needs a few dozen.
const MAX_MESSAGES: usize = 500;
/// Who says nothing and hears nothing for so long has gone home.
const IDLE: Duration = Duration::from_secs(900);

#[derive(Deserialize)]
struct Parameters {
    role: Side,
}

pub(in crate::server) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/meet/{code}", get(upgrade))
}

async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Path(code): Path<String>,
    Query(parameters): Query<Parameters>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
) -> Response {
    if !is_code(&code) {
        return (StatusCode::BAD_REQUEST, CODE_RULE).into_response();
    }
    let place = match shared.sockets.enter(from.ip()) {
        Ok(place) => place,
        Err(full) => return unavailable(&full.to_string()).into_response(),
    };
    ws.read_buffer_size(READ_AT_ONCE)
        .max_message_size(MAX_SIGNAL)
        .max_frame_size(MAX_SIGNAL)
        .on_upgrade(move |socket| serve(shared, code, parameters.role, from.ip(), place, socket))
}

async fn serve(shared: Arc<Shared>, code: String, side: Side, from: IpAddr, _place: Place, mut socket: WebSocket) {
    let session = shared.number();
    // Before the code is looked at: whether somebody waits there is what a guesser wants to hear.
    if !shared.guesses.take(Instant::now(), from) {
        return refuse(
            socket,
            "too many codes from your address at which nobody was: try again later",
        )
        .await;
    }
    let Some(mut heard) = shared.meetings.enter(&code, side) else {
        return refuse(socket, "somebody is there with this code already").await;
    };
    tracing::debug!(session, ?side, "waits at a meeting");
    let mut said = 0;
    let mut met = false;
    let mut pulse = Pulse::new(shared.patience.ping);
    let mut idle = pin!(sleep(IDLE));
    loop {
        tokio::select! {
            () = shared.stopping() => break,
            message = heard.recv() => {
                let Some(message) = message else { break };
                if !std::mem::replace(&mut met, true) {
                    shared.guesses.give_back(from);
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
                    if said > MAX_MESSAGES || !shared.meetings.pass(&code, side, text) {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => pulse.heard(),
                _ => break,
            },
        }
    }
    shared.meetings.leave(&code, side);
    _ = timeout(SEND_LIMIT, socket.send(Message::Close(None))).await;
}

async fn refuse(mut socket: WebSocket, message: &str) {
    let text = serde_json::json!({"type": "error", "message": message}).to_string();
    _ = timeout(SEND_LIMIT, socket.send(Message::Text(text.into()))).await;
    _ = timeout(SEND_LIMIT, socket.send(Message::Close(None))).await;
}
