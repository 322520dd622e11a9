//! The HTTP of WHIP and WHEP: which requests are for a session, and how they are answered. The sessions are in `wish`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, ORIGIN,
    RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, options};
use serde::Deserialize;

use super::resource::Endpoint;
use super::sdpfrag;
use super::shared::Shared;
use super::signal::MAX_SIGNAL;
use super::single::{self, InRoom};
use super::wish::{self, Opened, Purpose, Refusal, candidates, close, open};
use crate::server::media::{DEFAULT_STREAM, LayerChoice, is_name};
use crate::server::quota::{Bearer, bearer};
use crate::server::rooms::Join;

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const JSON: &str = "application/json";

pub(in crate::server) fn routes() -> Router<Arc<Shared>> {
    let endpoint = |endpoint: Endpoint| -> MethodRouter<Arc<Shared>> {
        options(|| preflight("POST, OPTIONS", Some(("accept-post", SDP))))
            .post(move |shared, from, name, query, headers, body| {
                create(endpoint, shared, from, name, query, headers, body)
            })
            .fallback(|| not_allowed("POST, OPTIONS"))
    };
    let resource = |endpoint: Endpoint| -> MethodRouter<Arc<Shared>> {
        options(|| preflight("PATCH, DELETE, OPTIONS", Some(("accept-patch", FRAGMENT))))
            .patch(move |shared, path, headers, body| trickle(endpoint, shared, path, headers, body))
            .delete(move |shared, path, headers| remove(endpoint, shared, path, headers))
            .fallback(|| not_allowed("PATCH, DELETE, OPTIONS"))
    };
    let layers = |endpoint: Endpoint| -> MethodRouter<Arc<Shared>> {
        let methods = match endpoint {
            Endpoint::Whip => "GET, OPTIONS",
            Endpoint::Whep => "GET, POST, OPTIONS",
        };
        let router = options(move || preflight(methods, None))
            .get(move |shared, path, headers| tell_layers(endpoint, shared, path, headers))
            .fallback(move || not_allowed(methods));
        match endpoint {
            Endpoint::Whip => router,
            Endpoint::Whep => {
                router.post(move |shared, path, headers, body| choose_layers(endpoint, shared, path, headers, body))
            }
        }
    };
    let mut router = Router::new();
    for side in [Endpoint::Whip, Endpoint::Whep] {
        let path = side.path();
        router = router
            .route(path, endpoint(side))
            .route(&format!("{path}/{{name}}"), endpoint(side))
            .route(&format!("{path}/{{name}}/{{id}}"), resource(side))
            .route(&format!("{path}/{{name}}/{{id}}/layers"), layers(side));
    }
    router = router.route(
        "/rooms",
        options(|| preflight("GET, OPTIONS", None))
            .get(tell_rooms)
            .fallback(|| not_allowed("GET, OPTIONS")),
    );
    router.layer(from_fn(cross_origin))
}

/// RFC 9725 §4.1: pages of other origins publish and play here, as far as the door lets them in.
async fn cross_origin(request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate"),
        );
    }
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
    /// The layers that a watcher wants at most.
    layer: Option<u8>,
    temporal: Option<u8>,
    /// The room that it is about, and in it what the newcomer is called and whom it watches.
    room: Option<String>,
    name: Option<String>,
    participant: Option<String>,
}

/// RFC 9725 §4.7: who may publish or play shows a bearer token, in every request but OPTIONS.
fn authorised(shared: &Shared, endpoint: Endpoint, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = match endpoint {
        Endpoint::Whip => &shared.door.whip,
        Endpoint::Whep => &shared.door.whep,
    };
    match bearer(token.as_ref(), headers) {
        Bearer::Right => Ok(()),
        Bearer::Missing => Err(Refusal::unauthorised("Bearer", "a bearer token is needed")),
        // RFC 6750 §3.1.
        Bearer::Wrong => Err(Refusal::unauthorised(
            "Bearer error=\"invalid_token\"",
            "the token is wrong",
        )),
    }
}

/// The same for a session that there is. In a room that asks for tokens of its own the secret name of the session does.
fn authorised_for(shared: &Shared, endpoint: Endpoint, id: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let in_room = shared.resources().get(id).is_some_and(|resource| resource.in_room);
    match in_room && shared.rooms.asks_for_tokens() {
        true => Ok(()),
        false => authorised(shared, endpoint, headers),
    }
}

/// The token that a request shows, if it shows one.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Which rooms there are, and who is in them.
async fn tell_rooms(
    State(shared): State<Arc<Shared>>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // Who may watch may look.
    if !shared.rooms.asks_for_tokens() {
        authorised(&shared, Endpoint::Whep, &headers)?;
    }
    let told = shared.rooms.summary(choice.room.as_deref(), shown(&headers)).await;
    // Numbers, texts and lists always serialise.
    let text = serde_json::to_string(&told.map_err(single::status)?).unwrap_or_default();
    Ok(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, "no-store")], text).into_response())
}

async fn create(
    endpoint: Endpoint,
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    name: Option<Path<String>>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    // Rooms that ask for tokens say themselves who may come in.
    if choice.room.is_none() || !shared.rooms.asks_for_tokens() {
        authorised(&shared, endpoint, &headers)?;
    }
    let refuse = |status, reason: &'static str| Err(Refusal::new(status, reason));
    if !is_type(&headers, SDP) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "POST an SDP offer as application/sdp",
        );
    }
    if !accepts_sdp(&headers) {
        return refuse(StatusCode::NOT_ACCEPTABLE, "the answer is application/sdp");
    }
    let name = name.map(|Path(name)| name);
    if !name.as_deref().is_none_or(is_name) {
        return refuse(
            StatusCode::NOT_FOUND,
            "the name of a stream has 1 to 64 letters, digits, dashes, dots and underscores",
        );
    }
    let offer =
        String::from_utf8(whole(body).await?).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "SDP is UTF-8"))?;
    if !offer.starts_with("v=0") {
        return refuse(StatusCode::BAD_REQUEST, "the body is no SDP");
    }
    let (opened, named) = match &choice.room {
        Some(room) => {
            let opened = open_in_room(endpoint, shared, from.ip(), (room, name), &choice, (&headers, offer)).await?;
            (opened, room.clone())
        }
        None => {
            let purpose = purpose(endpoint, &shared, name.as_deref(), &choice)?;
            let opened = open(shared, from.ip(), purpose, offer).await?;
            (opened, name.unwrap_or_else(|| DEFAULT_STREAM.to_owned()))
        }
    };
    let location = format!("{}/{named}/{}", endpoint.path(), opened.id);
    let headers = [(CONTENT_TYPE, SDP), (LOCATION, &location), (ETAG, &opened.etag)];
    let mut response = (StatusCode::CREATED, headers, opened.answer).into_response();
    response
        .headers_mut()
        .insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    Ok(response)
}

/// What a session outside rooms is for.
fn purpose(endpoint: Endpoint, shared: &Shared, name: Option<&str>, choice: &Choice) -> Result<Purpose, Refusal> {
    let refuse = |status, reason: &'static str| Err(Refusal::new(status, reason));
    let stream = name.unwrap_or(DEFAULT_STREAM);
    let layers = LayerChoice {
        layer: choice.layer,
        temporal: choice.temporal,
    };
    Ok(match endpoint {
        Endpoint::Whip => match shared.streams.claim(stream) {
            Some(claim) => Purpose::Publish(claim),
            None => return refuse(StatusCode::CONFLICT, "somebody publishes under this name"),
        },
        Endpoint::Whep => match (choice.source.as_deref(), shared.streams.publisher(stream)) {
            (Some("pattern"), _) => Purpose::Pattern,
            (None | Some("whip"), Some(publisher)) => Purpose::Watch(publisher, layers),
            (None, None) if name.is_none() => Purpose::Pattern,
            (None | Some("whip"), None) => {
                return refuse(StatusCode::NOT_FOUND, "nobody publishes under this name now");
            }
            (Some(_), _) => return refuse(StatusCode::NOT_FOUND, "source is pattern or whip"),
        },
    })
}

/// A session whose offer is for a room: the query says which, and the path or the query how the newcomer is called.
async fn open_in_room(
    endpoint: Endpoint,
    shared: Arc<Shared>,
    from: IpAddr,
    (room, name): (&str, Option<String>),
    choice: &Choice,
    (headers, offer): (&HeaderMap, String),
) -> Result<Opened, Refusal> {
    let purpose = match (endpoint, &choice.participant) {
        (Endpoint::Whip, _) => InRoom::Publish,
        (Endpoint::Whep, Some(participant)) => InRoom::Watch(participant.clone()),
        (Endpoint::Whep, None) => {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "name whom you want to watch: /whep?room=R&participant=P",
            ));
        }
    };
    let join = Join {
        room: room.to_owned(),
        name: choice.name.clone().or(name).unwrap_or_default(),
        token: shown(headers).map(str::to_owned),
        record: false,
        sdp: offer,
    };
    single::open(shared, from, purpose, join).await
}

async fn trickle(
    endpoint: Endpoint,
    State(shared): State<Arc<Shared>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    authorised_for(&shared, endpoint, &id, &headers)?;
    if !is_type(&headers, FRAGMENT) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "PATCH takes application/trickle-ice-sdpfrag",
        ));
    }
    let body = whole(body).await?;
    let fragment = std::str::from_utf8(&body).ok().and_then(sdpfrag::parse);
    let fragment = fragment.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "the body is no SDP fragment"))?;
    let tag = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    candidates(&shared, endpoint, &id, tag, fragment).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which layers a session publishes or watches.
async fn tell_layers(
    endpoint: Endpoint,
    State(shared): State<Arc<Shared>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    authorised_for(&shared, endpoint, &id, &headers)?;
    let layers = wish::layers(&shared, endpoint, &id).await?;
    // Numbers, texts and lists always serialise.
    let text = serde_json::to_string(&layers).unwrap_or_default();
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

/// A watcher chooses its layers.
async fn choose_layers(
    endpoint: Endpoint,
    State(shared): State<Arc<Shared>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    authorised_for(&shared, endpoint, &id, &headers)?;
    if !is_type(&headers, JSON) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "POST a choice as application/json",
        ));
    }
    let choice = serde_json::from_slice(&whole(body).await?);
    let choice = choice.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    wish::choose(&shared, endpoint, &id, choice).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    endpoint: Endpoint,
    State(shared): State<Arc<Shared>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    authorised_for(&shared, endpoint, &id, &headers)?;
    close(&shared, endpoint, &id).await?;
    Ok(StatusCode::OK)
}

/// Reads a body, which nobody need take in before it is known that it may come.
async fn whole(body: Body) -> Result<Vec<u8>, Refusal> {
    let body = to_bytes(body, MAX_SIGNAL).await;
    let body = body.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "at most 256 KiB"))?;
    Ok(body.into())
}

/// What there is no room for now.
pub(in crate::server) fn unavailable(reason: &str) -> impl IntoResponse + use<> {
    let headers = [(RETRY_AFTER, HeaderValue::from(wish::RETRY_AFTER))];
    (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{reason}\n"))
}

impl Refusal {
    fn unauthorised(challenge: &'static str, reason: &'static str) -> Self {
        Self {
            challenge: Some(challenge),
            ..Self::new(StatusCode::UNAUTHORIZED, reason)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.status, kind, self.reason.into_owned()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
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
