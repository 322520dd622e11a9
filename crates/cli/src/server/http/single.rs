//! WHIP into rooms and WHEP out of them: sessions whose one offer is for a room.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::mpsc;

use super::resource::{Endpoint, Order, Resource};
use super::shared::Shared;
use super::wish::{self, MAX_REQUESTS, Opened, Session, secret_name, ufrag_of};
use crate::server::rooms::{Join, Refusal, Single};

/// What the session is for.
pub(super) enum InRoom {
    /// It sends to the room.
    Publish,
    /// It gets what this participant sends.
    Watch(String),
}

/// Makes a session in a room from an offer of somebody at `from`.
pub(super) async fn open(
    shared: Arc<Shared>,
    from: IpAddr,
    purpose: InRoom,
    join: Join,
) -> Result<Opened, wish::Refusal> {
    let place = shared
        .enter(from)
        .map_err(|full| wish::Refusal::for_now(full.to_string()))?;
    let session = shared.number();
    let mut join = join;
    if join.name.is_empty() && matches!(purpose, InRoom::Watch(_)) {
        // The others see that somebody watches.
        join.name = format!("viewer {session}");
    }
    let ufrag = ufrag_of(&join.sdp);
    let (endpoint, made) = match purpose {
        InRoom::Publish => (Endpoint::Whip, Single::publish(&shared.rooms, session, join).await),
        InRoom::Watch(participant) => {
            let made = Single::watch(&shared.rooms, session, join, &participant).await;
            (Endpoint::Whep, made)
        }
    };
    let (single, answer) = made.map_err(status)?;
    let id = secret_name().ok_or_else(|| wish::Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"))?;
    let etag = format!("\"{}\"", ufrag_of(&answer).unwrap_or_default());
    let (requests, orders) = mpsc::channel(MAX_REQUESTS);
    shared.resources().insert(
        id.clone(),
        Resource {
            endpoint,
            in_room: true,
            etag: etag.clone(),
            ufrag,
            requests,
        },
    );
    tracing::info!(session, endpoint = endpoint.path(), "session in a room");
    let traces = Session {
        shared,
        id: id.clone(),
        session,
        claim: None,
        _place: place,
    };
    tokio::spawn(attend(traces, single, orders));
    Ok(Opened { id, etag, answer })
}

/// Runs a session until it is deleted, ends by itself, or the server stops.
async fn attend(session: Session, mut single: Single, mut orders: mpsc::Receiver<Order>) {
    let connect = tokio::time::sleep(session.shared.patience.connect);
    tokio::pin!(connect);
    let mut judged = false;
    loop {
        tokio::select! {
            () = single.ended() => return,
            order = orders.recv() => match order {
                // The room's end is ICE-lite: it learns the client's addresses from its checks.
                Some(Order::Candidates(_, _, answer)) => _ = answer.send(true),
                // There is nothing to choose: each path gets what it carries.
                Some(Order::Choose(_)) => {}
                Some(Order::Layers(answer)) => _ = answer.send(Vec::new()),
                Some(Order::Close(done)) => {
                    session.shared.resources().remove(&session.id);
                    drop(single);
                    // Who asked may have gone away.
                    _ = done.send(());
                    return;
                }
                None => return,
            },
            () = &mut connect, if !judged => {
                judged = true;
                if !single.has_connected() {
                    return;
                }
            }
            () = session.shared.stopping() => return,
        }
    }
}

/// How HTTP says it.
pub(super) fn status(refusal: Refusal) -> wish::Refusal {
    let reason = refusal.to_string();
    let status = match refusal {
        Refusal::Token(_) => {
            return wish::Refusal {
                challenge: Some("Bearer"),
                ..wish::Refusal::new(StatusCode::UNAUTHORIZED, reason)
            };
        }
        Refusal::NoMoreRooms | Refusal::RoomFull | Refusal::Away(_) => return wish::Refusal::for_now(reason),
        Refusal::RoomName | Refusal::PersonName => StatusCode::BAD_REQUEST,
        Refusal::NoRight(_) => StatusCode::FORBIDDEN,
        Refusal::NobodyThere => StatusCode::NOT_FOUND,
        Refusal::NameTaken => StatusCode::CONFLICT,
        Refusal::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    wish::Refusal::new(status, reason)
}
