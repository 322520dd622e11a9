//! The HTTP of WHIP and WHEP: which requests are for a session, and how they are answered. The sessions are in `wish`.

use std::sync::Arc;

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
use serde::Deserialize;

use super::room::Room;
use super::sdpfrag;
use super::wish::{Endpoint, Refusal, candidates, close, open};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

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
    let opened = match open(room, endpoint, source, offer).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.into_response(),
    };
    let location = format!("{}/{}", endpoint.path(), opened.id);
    let headers = [(CONTENT_TYPE, SDP), (LOCATION, &location), (ETAG, &opened.etag)];
    let mut response = (StatusCode::CREATED, headers, opened.answer).into_response();
    response
        .headers_mut()
        .insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    response
}

async fn trickle(
    endpoint: Endpoint,
    State(room): State<Arc<Room>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
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
    let tag = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    match candidates(&room, endpoint, &id, tag, fragment).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn remove(endpoint: Endpoint, State(room): State<Arc<Room>>, Path(id): Path<String>) -> Response {
    match close(&room, endpoint, &id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = refuse(self.status, self.reason);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
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
