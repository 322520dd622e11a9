//! A WebSocket whose first message was `join`: one participant of a room, until either end leaves.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::pulse::{Beat, Pulse, SEND_LIMIT};
use super::shared::Shared;
use super::signal::{self, MAX_SIGNAL};
use crate::server::rooms::{Join, Pace, Participant, Refusal, Reply, Request, Step, TYPES, Verdict};

/// The socket of a participant.
pub(super) struct Guest {
    pub(super) shared: Arc<Shared>,
    pub(super) socket: WebSocket,
    pub(super) session: u64,
}

/// The socket is gone, or is to go.
struct Gone;

/// Lets somebody into a room, and serves until the end.
pub(super) async fn serve(guest: Guest, join: Join) {
    let Guest {
        shared,
        socket,
        session,
    } = guest;
    let mut line = Line {
        socket,
        shared: shared.clone(),
    };
    let reason = match Participant::join(&shared.rooms, session, join).await {
        Ok((participant, joined)) => {
            tracing::info!(session, "takes part in a room");
            attend(&shared, &mut line, participant, joined).await;
            "bye"
        }
        Err(refusal) => {
            // Without a room there is nothing that this socket can do.
            tracing::debug!(code = refusal.code(), "not let into a room: {refusal}");
            _ = line
                .tell(&signal::Reply::error(refusal.code(), refusal.to_string()))
                .await;
            "refused"
        }
    };
    line.close(reason).await;
}

async fn attend(shared: &Shared, line: &mut Line, mut participant: Participant, joined: Reply) {
    let begun = async {
        line.tell(&joined).await?;
        negotiate(line, &mut participant).await
    };
    if begun.await.is_err() {
        return;
    }
    let mut pulse = Pulse::new(shared.patience.ping);
    let mut pace = Pace::messages(Instant::now().into_std());
    loop {
        let step = tokio::select! {
            () = shared.stopping() => return,
            message = line.socket.recv() => match message {
                Some(Ok(message)) => {
                    pulse.heard();
                    take(line, &mut participant, &mut pace, message).await
                }
                _ => return,
            },
            beat = pulse.beat() => match beat {
                Beat::Ping => line.send(Message::Ping(Bytes::new())).await,
                Beat::Dead => return,
            },
            step = participant.next() => match step {
                Step::News(news) => line.tell(&news).await,
                Step::Negotiate => negotiate(line, &mut participant).await,
                Step::Figures => figures(line, &mut participant).await,
                Step::Closed => return,
            },
        };
        if step.is_err() || participant.is_hopeless() {
            return;
        }
    }
}

/// Sends an offer, if one can be made now.
async fn negotiate(line: &mut Line, participant: &mut Participant) -> Result<(), Gone> {
    match participant.offer().await {
        Ok(Some(offer)) => line.tell(&offer).await,
        Ok(None) => Ok(()),
        Err(refusal) => line.refuse(&refusal).await,
    }
}

/// Tells how the pictures do, if there is something new.
async fn figures(line: &mut Line, participant: &mut Participant) -> Result<(), Gone> {
    match participant.pictures().await {
        Some(pictures) => line.tell(&pictures).await,
        None => Ok(()),
    }
}

async fn take(line: &mut Line, participant: &mut Participant, pace: &mut Pace, message: Message) -> Result<(), Gone> {
    let text = match message {
        Message::Text(text) => text,
        Message::Binary(_) => return line.error("binary", "signalling is JSON in text frames").await,
        Message::Ping(_) | Message::Pong(_) => return Ok(()),
        Message::Close(_) => return Err(Gone),
    };
    match pace.take(Instant::now().into_std()) {
        Verdict::Fits => {}
        Verdict::TooFast => return line.error("rate", "too many messages: this one was passed over").await,
        Verdict::Flood => {
            line.shared.rooms.messages_refused.count("flood");
            return Err(Gone);
        }
    }
    if text.len() > MAX_SIGNAL {
        let size = format!("a message has at most {MAX_SIGNAL} bytes");
        return line.error("size", &size).await;
    }
    let request = match signal::read(&text, &TYPES) {
        Ok(Request::Bye) => return Err(Gone),
        Ok(request) => request,
        Err(reply) => {
            line.shared.rooms.messages_refused.count(reply.code());
            return line.tell(&reply).await;
        }
    };
    match perform(participant, request).await {
        Ok(replies) => {
            for reply in replies {
                line.tell(&reply).await?;
            }
            Ok(())
        }
        Err(refusal) => line.refuse(&refusal).await,
    }
}

async fn perform(participant: &mut Participant, request: Request) -> Result<Vec<Reply>, Refusal> {
    match request {
        Request::Answer { sdp, screen } => return participant.answer(sdp, screen.as_deref()).await,
        Request::Publish { audio, video } => {
            let offer = participant.publish(audio, video).await?;
            return Ok(offer.into_iter().collect());
        }
        Request::Mute { audio, video } => participant.mute(audio, video).await,
        Request::Say { text } => participant.say(&text).await?,
        Request::Prefer { mid, layer } => participant.prefer(&mid, layer).await?,
        Request::Restart => participant.restart_ice().await?,
        Request::Bye => {}
    }
    Ok(Vec::new())
}

/// The way to the page.
struct Line {
    socket: WebSocket,
    shared: Arc<Shared>,
}

impl Line {
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let sent = timeout(SEND_LIMIT, self.socket.send(message)).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Gone) }
    }

    async fn tell(&mut self, what: &impl Serialize) -> Result<(), Gone> {
        // Strings, numbers, lists and options always serialise.
        let text = serde_json::to_string(what).unwrap_or_default();
        self.send(Message::Text(text.into())).await
    }

    async fn error(&mut self, code: &'static str, message: &str) -> Result<(), Gone> {
        self.shared.rooms.messages_refused.count(code);
        self.tell(&signal::Reply::error(code, message)).await
    }

    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), Gone> {
        tracing::debug!(code = refusal.code(), "refused in a room: {refusal}");
        self.error(refusal.code(), &refusal.to_string()).await
    }

    async fn close(mut self, reason: &'static str) {
        let frame = CloseFrame {
            code: close_code::NORMAL,
            reason: Utf8Bytes::from_static(reason),
        };
        _ = self.send(Message::Close(Some(frame))).await;
    }
}
