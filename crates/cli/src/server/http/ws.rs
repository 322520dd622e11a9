//! The WebSocket at `/ws`: one socket, one session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::endpoints::unavailable;
use super::participant::{self, Guest};
use super::pulse::{Beat, Pulse, READ_AT_ONCE, SEND_LIMIT};
use super::shared::Shared;
use super::signal::{self, MAX_SIGNAL, Mode, Offerer, Reply, Request};
use crate::link::LinkSpec;
use crate::server::media::{NO_WAY, Outcome, Peer, Sending, Wishes};
use crate::server::quota::Place;
use crate::server::rooms::Join;

/// Anything beyond this ends the socket; up to it a message that is too long gets an error and the session lives.
const MAX_FRAME: usize = 4 * MAX_SIGNAL;
/// So that a plot shows what a second can hide.
const STATS_EVERY: Duration = Duration::from_millis(500);

pub(in crate::server) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/ws", get(upgrade))
}

async fn upgrade(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
) -> Response {
    let place = match shared.sockets.enter(from.ip()) {
        Ok(place) => place,
        Err(full) => return unavailable(&full.to_string()).into_response(),
    };
    ws.read_buffer_size(READ_AT_ONCE)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| serve(shared, from.ip(), place, socket))
}

async fn serve(shared: Arc<Shared>, from: IpAddr, _place: Place, socket: WebSocket) {
    let session = shared.number();
    let connection = Connection {
        shared: shared.clone(),
        from,
        socket,
        session,
        mode: Mode::default(),
        peer: None,
        place: None,
        joins: None,
        farewell: (close_code::NORMAL, "bye"),
    };
    // Dropping the connection drops the peer, whose driver then says goodbye.
    connection.run().await;
    tracing::info!(session, "signalling ended");
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    _ = socket
        .send(Message::Close(Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })))
        .await;
}

struct Connection {
    shared: Arc<Shared>,
    from: IpAddr,
    socket: WebSocket,
    session: u64,
    mode: Mode,
    peer: Option<Peer>,
    /// Taken with the peer: a socket that says nothing takes it from nobody.
    place: Option<Place>,
    /// The room that the socket is for from now on.
    joins: Option<Join>,
    /// The code and the reason that close the socket.
    farewell: (u16, &'static str),
}

/// The socket is gone.
struct Gone;

impl Connection {
    async fn run(mut self) {
        let mut tick = interval(STATS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self
            .send(Reply::Welcome {
                session: self.session.to_string(),
            })
            .await
            .is_err()
        {
            return;
        }
        let shared = self.shared.clone();
        let opened = Instant::now();
        let mut pulse = Pulse::new(shared.patience.ping);
        loop {
            // When what this socket is for must have happened.
            let due = match &self.peer {
                None => Some(opened + shared.patience.start),
                Some(peer) if !peer.has_connected() => Some(opened + shared.patience.start + shared.patience.connect),
                Some(_) => None,
            };
            let step = tokio::select! {
                () = shared.stopping() => break,
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => {
                        pulse.heard();
                        self.take(message).await
                    }
                    _ => break,
                },
                beat = pulse.beat() => match beat {
                    Beat::Ping => self.send_raw(Message::Ping(Bytes::new())).await,
                    Beat::Dead => break,
                },
                // It may have connected since this turn began.
                () = until(due) => {
                    if self.peer.as_ref().is_some_and(Peer::has_connected) {
                        continue;
                    }
                    let reply = Reply::error("idle", "nothing has come of this socket: open it again when you need it");
                    _ = self.send(reply).await;
                    break;
                }
                outcome = next(&mut self.peer) => match outcome {
                    Outcome::Closed => break,
                    outcome => self.signal(outcome).await,
                },
                _ = tick.tick() => self.report().await,
            };
            if step.is_err() {
                break;
            }
            if let Some(join) = self.joins.take() {
                let guest = Guest {
                    shared,
                    socket: self.socket,
                    session: self.session,
                };
                return participant::serve(guest, join).await;
            }
        }
        if let Some(peer) = self.peer.take() {
            peer.close().await;
        }
        let (code, reason) = self.farewell;
        close(self.socket, code, reason).await;
    }

    async fn send(&mut self, reply: Reply) -> Result<(), Gone> {
        self.send_raw(Message::Text(reply.to_json().into())).await
    }

    async fn send_raw(&mut self, message: Message) -> Result<(), Gone> {
        let sent = tokio::time::timeout(SEND_LIMIT, self.socket.send(message)).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Gone) }
    }

    async fn take(&mut self, message: Message) -> Result<(), Gone> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return self
                    .send(Reply::error("binary", "signalling is JSON in text frames"))
                    .await;
            }
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(Gone),
        };
        if text.len() > MAX_SIGNAL {
            return self
                .send(Reply::error(
                    "size",
                    format!("a message has at most {MAX_SIGNAL} bytes"),
                ))
                .await;
        }
        let request = match signal::parse(&text) {
            Ok(Request::Bye) => return Err(Gone),
            Ok(Request::Join(join)) => return self.join(join).await,
            Ok(request) => request,
            Err(reply) => return self.send(reply).await,
        };
        let performed = self.perform(request).await;
        self.answer(performed).await
    }

    async fn answer(&mut self, performed: Result<Option<Reply>, Reply>) -> Result<(), Gone> {
        match performed {
            // Without a place there is nothing that this socket can do.
            Err(reply) if reply.is_limit() => {
                self.farewell = (close_code::AGAIN, "full");
                _ = self.send(reply).await;
                Err(Gone)
            }
            Ok(Some(reply)) | Err(reply) => self.send(reply).await,
            Ok(None) => Ok(()),
        }
    }

    async fn perform(&mut self, request: Request) -> Result<Option<Reply>, Reply> {
        match request {
            Request::Start {
                mode,
                offerer,
                audio,
                congestion,
            } => {
                if self.peer.is_some() {
                    return Err(Reply::error("state", "this session has started"));
                }
                self.mode = mode;
                let peer = self.start(Wishes { audio, congestion }).await?;
                if offerer == Offerer::Browser {
                    return Ok(None);
                }
                peer.prepare_offer()
                    .await
                    .map_err(|e| Reply::error("state", e.to_string()))?;
                let sdp = peer.offer().await.map_err(|e| Reply::error("state", e.to_string()))?;
                Ok(Some(Reply::Offer { sdp }))
            }
            Request::Offer { sdp } => {
                let peer = self.start(Wishes::default()).await?;
                let offering = peer
                    .is_offering()
                    .await
                    .map_err(|e| Reply::error("state", e.to_string()))?;
                if offering {
                    return Err(Reply::error(
                        "state",
                        "two offers crossed: roll yours back and answer ours",
                    ));
                }
                let sdp = peer.answer(sdp).await.map_err(|e| Reply::error("sdp", e.to_string()))?;
                Ok(Some(Reply::Answer { sdp }))
            }
            Request::Answer { sdp } => {
                let Some(peer) = &mut self.peer else {
                    return Err(Reply::error("state", "no offer was made"));
                };
                let offering = peer
                    .is_offering()
                    .await
                    .map_err(|e| Reply::error("state", e.to_string()))?;
                if !offering {
                    return Err(Reply::error("state", "no offer waits for an answer"));
                }
                peer.accept(sdp).await.map_err(|e| Reply::error("sdp", e.to_string()))?;
                Ok(None)
            }
            Request::Candidate { candidate } => {
                let peer = self.start(Wishes::default()).await?;
                peer.add_candidate(candidate)
                    .await
                    .map_err(|e| Reply::error("candidate", e.to_string()))?;
                Ok(None)
            }
            Request::Link { link } => self.emulate(link).await,
            Request::Video(sending) => self.direct(sending).await,
            Request::Restart => {
                let Some(peer) = &self.peer else {
                    return Err(Reply::error("state", "nothing to restart"));
                };
                // The offer follows when the connection says that it is needed.
                peer.restart_ice()
                    .await
                    .map_err(|e| Reply::error("state", e.to_string()))?;
                Ok(None)
            }
            Request::Join(_) | Request::Bye => Ok(None),
        }
    }

    /// Puts an emulated link between the two ends, or takes it away.
    async fn emulate(&mut self, link: Option<LinkSpec>) -> Result<Option<Reply>, Reply> {
        let link = link.map(LinkSpec::checked).transpose();
        let link = link.map_err(|why| Reply::error("link", why))?;
        let peer = self.start(Wishes::default()).await?;
        let changed = peer.set_link(link).await;
        changed.map_err(|e| Reply::error("state", e.to_string()))?;
        Ok(None)
    }

    /// Sends the video of this session otherwise from now on.
    async fn direct(&mut self, sending: Sending) -> Result<Option<Reply>, Reply> {
        let sending = sending.checked().map_err(|why| Reply::error("video", why))?;
        let none = || Reply::error("state", "no video is sent yet");
        let peer = self.peer.as_mut().ok_or_else(none)?;
        let changed = peer.set_sending(sending).await;
        match changed.map_err(|e| Reply::error("state", e.to_string()))? {
            true => Ok(None),
            false => Err(none()),
        }
    }

    /// The socket is for a room when this turn is over.
    async fn join(&mut self, join: Join) -> Result<(), Gone> {
        let refused = if self.peer.is_some() {
            Reply::error("state", "this session has started: open another socket for a room")
        } else if !self.shared.joins.take(Instant::now(), self.from) {
            self.shared.rooms.joins_refused.count("often");
            Reply::error(
                "limit",
                "too many have come from your address just now: try again in a moment",
            )
        } else {
            match self.take_place() {
                Ok(()) => {
                    self.joins = Some(join);
                    return Ok(());
                }
                Err(reply) => {
                    self.shared.rooms.joins_refused.count("limit");
                    reply
                }
            }
        };
        self.answer(Err(refused)).await
    }

    /// Counts as a session from now on.
    fn take_place(&mut self) -> Result<(), Reply> {
        if self.place.is_none() {
            let place = self.shared.enter(self.from);
            self.place = Some(place.map_err(|full| Reply::error("limit", full.to_string()))?);
        }
        Ok(())
    }

    /// The peer, made on first use.
    async fn start(&mut self, wishes: Wishes) -> Result<&mut Peer, Reply> {
        if self.peer.is_none() {
            self.take_place()?;
            let peer = Peer::new(self.shared.setup.clone(), self.session, self.mode.into(), wishes).await;
            self.peer = Some(peer.map_err(|e| Reply::error("state", e.to_string()))?);
        }
        self.peer.as_mut().ok_or_else(|| Reply::error("state", "no peer"))
    }

    async fn signal(&mut self, outcome: Outcome) -> Result<(), Gone> {
        match outcome {
            Outcome::Candidate(candidate) => self.send(Reply::Candidate { candidate }).await,
            Outcome::Negotiate => {
                let Some(peer) = &mut self.peer else { return Ok(()) };
                match peer.is_offering().await {
                    Ok(false) => {}
                    _ => return Ok(()),
                }
                match peer.offer().await {
                    Ok(sdp) => self.send(Reply::Offer { sdp }).await,
                    Err(error) => {
                        tracing::debug!(session = self.session, %error, "no offer now");
                        Ok(())
                    }
                }
            }
            Outcome::Gathered => match &self.peer {
                Some(peer) if !peer.has_way().await => {
                    _ = self.send(Reply::error("sockets", NO_WAY)).await;
                    Err(Gone)
                }
                _ => Ok(()),
            },
            Outcome::Closed => Ok(()),
        }
    }

    async fn report(&mut self) -> Result<(), Gone> {
        let Some(peer) = &mut self.peer else { return Ok(()) };
        let Ok(mut stats) = peer.figures().await else {
            return Ok(());
        };
        stats.mode = self.mode.as_str();
        self.send(Reply::Stats { stats: Box::new(stats) }).await
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn next(peer: &mut Option<Peer>) -> Outcome {
    match peer {
        Some(peer) => peer.next().await,
        None => std::future::pending().await,
    }
}
