//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): an offer in a POST, the answer in its response.

use std::sync::Arc;
use std::time::Duration;

use antiphon::RtcIceCandidateInit;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, options};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::peer::{Outcome, Peer, Role};
use super::room::{Publisher, Room};
use super::sdpfrag;
use super::signal::Sound;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Gathering on the machine itself takes milliseconds; a STUN server that does not answer shall not hold up the answer.
const GATHER_LIMIT: Duration = Duration::from_secs(2);
/// A session that never connects ends.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// Requests that may wait for one session.
const MAX_REQUESTS: usize = 16;

/// Which side of the house a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Whip,
    Whep,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Whip => "/whip",
            Self::Whep => "/whep",
        }
    }
}

/// A session that HTTP can reach.
#[derive(Debug)]
pub(super) struct Resource {
    endpoint: Endpoint,
    etag: String,
    /// The user name fragment of the client's offer, to tell trickle from restart.
    ufrag: Option<String>,
    requests: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Candidates(Vec<RtcIceCandidateInit>, bool, oneshot::Sender<bool>),
    Close(oneshot::Sender<()>),
}

pub(super) fn routes() -> Router<Arc<Room>> {
    let endpoint = |endpoint: Endpoint| -> MethodRouter<Arc<Room>> {
        options(|| preflight("POST, OPTIONS", Some(("accept-post", SDP))))
            .post(move |room, query, headers, body| create(endpoint, room, query, headers, body))
            .fallback(|| not_allowed("POST, OPTIONS"))
    };
    let resource = |endpoint: Endpoint| -> MethodRouter<Arc<Room>> {
        options(|| preflight("PATCH, DELETE, OPTIONS", Some(("accept-patch", FRAGMENT))))
            .patch(move |room, id, headers, body| trickle(endpoint, room, id, headers, body))
            .delete(move |room, id| remove(endpoint, room, id))
            .fallback(|| not_allowed("PATCH, DELETE, OPTIONS"))
    };
    Router::new()
        .route("/whip", endpoint(Endpoint::Whip))
        .route("/whip/{id}", resource(Endpoint::Whip))
        .route("/whep", endpoint(Endpoint::Whep))
        .route("/whep/{id}", resource(Endpoint::Whep))
        .layer(from_fn(cross_origin))
}

/// RFC 9725 §4.1: pages of other origins publish and play here.
async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After"),
    );
    response
}

async fn preflight(methods: &'static str, accept: Option<(&'static str, &'static str)>) -> Response {
    let allow = [
        (ALLOW, methods),
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Authorization, If-Match"),
    ];
    let mut response = (StatusCode::NO_CONTENT, allow).into_response();
    if let Some((name, value)) = accept {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn not_allowed(methods: &'static str) -> Response {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(ALLOW, methods)],
        "see docs/signalling.md",
    )
        .into_response()
}

#[derive(Debug, Default, Deserialize)]
struct Choice {
    source: Option<String>,
}

async fn create(
    endpoint: Endpoint,
    State(room): State<Arc<Room>>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_type(&headers, SDP) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "POST an SDP offer as application/sdp",
        );
    }
    if !accepts_sdp(&headers) {
        return refuse(StatusCode::NOT_ACCEPTABLE, "the answer is application/sdp");
    }
    let Ok(offer) = String::from_utf8(body.to_vec()) else {
        return refuse(StatusCode::BAD_REQUEST, "SDP is UTF-8");
    };
    if !offer.starts_with("v=0") {
        return refuse(StatusCode::BAD_REQUEST, "the body is no SDP");
    }
    let source = match (endpoint, choice.source.as_deref()) {
        (Endpoint::Whip, _) | (Endpoint::Whep, Some("pattern")) => None,
        (Endpoint::Whep, Some("whip")) => match room.newest_publisher() {
            Some(publisher) => Some(publisher),
            None => return refuse(StatusCode::NOT_FOUND, "nobody publishes now"),
        },
        (Endpoint::Whep, None) => room.newest_publisher(),
        (Endpoint::Whep, Some(_)) => return refuse(StatusCode::NOT_FOUND, "source is pattern or whip"),
    };
    let Some((session, place)) = room.enter() else {
        let headers = [(RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "too many sessions").into_response();
    };
    let (role, key_frames) = match (endpoint, source) {
        (Endpoint::Whip, _) => {
            let (publisher, key_frames) = Publisher::new(session);
            (Role::Publish(publisher), Some(key_frames))
        }
        (Endpoint::Whep, Some(publisher)) => (Role::Watch(publisher), None),
        (Endpoint::Whep, None) => (Role::Pattern, None),
    };
    let ufrag = ufrag_of(&offer);
    let mut peer = match Peer::new(room.clone(), session, role.clone(), Sound::Opus, key_frames).await {
        Ok(peer) => peer,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    if let Err(error) = peer.answer(offer).await {
        // Well-formed or not, the description cannot be used (RFC 9725 §4.2).
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    }
    // No trickle towards the client in WHIP: the answer waits for our candidates (RFC 9725 §4.3.1).
    _ = timeout(GATHER_LIMIT, async {
        while !matches!(peer.next().await, Outcome::Gathered | Outcome::Closed) {}
    })
    .await;
    let answer = match peer.local_sdp().await {
        Ok(answer) => answer,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let id = match secret_name() {
        Some(id) => id,
        None => return refuse(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"),
    };
    let etag = format!("\"{}\"", ufrag_of(&answer).unwrap_or_default());
    let (requests, orders) = mpsc::channel(MAX_REQUESTS);
    room.resources().insert(
        id.clone(),
        Resource {
            endpoint,
            etag: etag.clone(),
            ufrag,
            requests,
        },
    );
    if let Role::Publish(publisher) = role {
        room.publish(publisher);
    }
    tracing::info!(session, endpoint = endpoint.path(), "session");
    let location = format!("{}/{id}", endpoint.path());
    tokio::spawn(attend(
        Session {
            room,
            id,
            session,
            _place: place,
        },
        peer,
        orders,
    ));
    let headers = [(CONTENT_TYPE, SDP), (LOCATION, &location), (ETAG, &etag)];
    let mut response = (StatusCode::CREATED, headers, answer).into_response();
    response
        .headers_mut()
        .insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    response
}

/// The traces of a session in the room; they go with it.
struct Session {
    room: Arc<Room>,
    id: String,
    session: u64,
    _place: OwnedSemaphorePermit,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.room.resources().remove(&self.id);
        self.room.unpublish(self.session);
        tracing::info!(session = self.session, "session ended");
    }
}

/// Runs a session until it is deleted, fails, or the server stops.
async fn attend(session: Session, mut peer: Peer, mut orders: mpsc::Receiver<Order>) {
    let connect = tokio::time::sleep(CONNECT_LIMIT);
    tokio::pin!(connect);
    let mut farewell = None;
    loop {
        tokio::select! {
            outcome = peer.next() => if matches!(outcome, Outcome::Closed) { break },
            order = orders.recv() => match order {
                Some(Order::Candidates(candidates, end, answer)) => {
                    let mut taken = true;
                    for candidate in candidates {
                        taken &= peer.add_candidate(Some(candidate)).await.is_ok();
                    }
                    if end {
                        taken &= peer.add_candidate(None).await.is_ok();
                    }
                    _ = answer.send(taken);
                }
                Some(Order::Close(done)) => {
                    farewell = Some(done);
                    break;
                }
                None => break,
            },
            () = &mut connect, if !peer.has_connected() => break,
            () = session.room.stopping() => break,
        }
    }
    // Watchers and new requests must not find a session that is saying goodbye.
    session.room.resources().remove(&session.id);
    session.room.unpublish(session.session);
    peer.close().await;
    if let Some(done) = farewell {
        _ = done.send(());
    }
}

async fn trickle(
    endpoint: Endpoint,
    State(room): State<Arc<Room>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (etag, ufrag, requests) = {
        let resources = room.resources();
        match resources.get(&id).filter(|resource| resource.endpoint == endpoint) {
            Some(resource) => (resource.etag.clone(), resource.ufrag.clone(), resource.requests.clone()),
            None => return refuse(StatusCode::NOT_FOUND, "no such session"),
        }
    };
    if !is_type(&headers, FRAGMENT) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "PATCH takes application/trickle-ice-sdpfrag",
        );
    }
    let fragment = match std::str::from_utf8(&body).ok().and_then(sdpfrag::parse) {
        Some(fragment) => fragment,
        None => return refuse(StatusCode::BAD_REQUEST, "the body is no SDP fragment"),
    };
    // RFC 9725 §4.3.1: an entity tag that is not ours belongs to another ICE session. §4.3.3: `*` asks for a restart.
    let tag = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let restart = fragment
        .ufrag
        .as_ref()
        .is_some_and(|theirs| ufrag.as_ref().is_some_and(|ours| ours != theirs));
    if restart {
        return refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "ICE cannot be restarted here yet: make a new session",
        );
    }
    if tag.is_some_and(|tag| tag != "*" && tag != etag) {
        return refuse(
            StatusCode::PRECONDITION_FAILED,
            "the ICE session has another entity tag",
        );
    }
    let (answer, taken) = oneshot::channel();
    if requests
        .send(Order::Candidates(fragment.candidates, fragment.end, answer))
        .await
        .is_err()
    {
        return refuse(StatusCode::NOT_FOUND, "the session has ended");
    }
    match taken.await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => refuse(StatusCode::BAD_REQUEST, "a candidate was refused"),
        Err(_) => refuse(StatusCode::NOT_FOUND, "the session has ended"),
    }
}

async fn remove(endpoint: Endpoint, State(room): State<Arc<Room>>, Path(id): Path<String>) -> Response {
    let requests = {
        let resources = room.resources();
        resources
            .get(&id)
            .filter(|resource| resource.endpoint == endpoint)
            .map(|resource| resource.requests.clone())
    };
    let Some(requests) = requests else {
        return refuse(StatusCode::NOT_FOUND, "no such session");
    };
    let (done, closed) = oneshot::channel();
    if requests.send(Order::Close(done)).await.is_ok() {
        // An error means that it ended by itself meanwhile.
        _ = closed.await;
    }
    StatusCode::OK.into_response()
}

fn refuse(status: StatusCode, reason: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], reason.into()).into_response()
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

/// Whether `Accept`, if there is one, has room for SDP.
fn accepts_sdp(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            !refused
                && ["*/*", "application/*", SDP]
                    .iter()
                    .any(|known| kind.eq_ignore_ascii_case(known))
        })
}

fn ufrag_of(sdp: &str) -> Option<String> {
    sdp.lines()
        .find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:"))
        .map(str::to_owned)
}

/// The name of a session is what authorises DELETE and PATCH, so it must not be guessed (RFC 9725 §5).
fn secret_name() -> Option<String> {
    let mut name = [0; 18];
    SystemRandom::new().fill(&mut name).ok()?;
    Some(BASE64_URL_SAFE_NO_PAD.encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            accepts_sdp(&headers)
        };
        assert!(accepts_sdp(&HeaderMap::new()));
        for value in [
            "*/*",
            "application/sdp",
            "text/html, application/*;q=0.8",
            "Application/SDP",
        ] {
            assert!(accepts(value), "{value}");
        }
        for value in ["text/html", "application/json", "application/sdp;q=0", ""] {
            assert!(!accepts(value), "{value}");
        }
    }

    #[test]
    fn content_types() {
        let is = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            is_type(&headers, SDP)
        };
        assert!(is("application/sdp") && is("Application/SDP; charset=utf-8"));
        assert!(!is("application/sdpx") && !is("") && !is_type(&HeaderMap::new(), SDP));
    }
}
