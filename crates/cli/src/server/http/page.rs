//! The page: a few small files, compiled in.

use std::sync::{Arc, LazyLock};

use antiphon::Congestion;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;

use super::shared::Shared;
use crate::transfer::RULES;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Everything from this origin; nobody may frame the page, which can ask for a camera.
const POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob: mediastream:; frame-ancestors 'none'";

/// The congestion controllers that the page may choose from, the default first.
static CONTROLLERS: LazyLock<String> = LazyLock::new(|| {
    let all = Congestion::ALL.map(|one| json!({ "word": one.word(), "name": one.name() }));
    json!(all).to_string()
});

macro_rules! asset {
    ($kind:expr, $file:literal) => {
        get(async || file($kind, include_str!(concat!("../../../web/", $file))))
    };
}

pub(in crate::server) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", asset!(HTML, "index.html"))
        .route("/style.css", asset!("text/css; charset=utf-8", "style.css"))
        .route("/icon.svg", asset!("image/svg+xml", "icon.svg"))
        .route("/app.js", asset!(SCRIPT, "app.js"))
        .route("/session.js", asset!(SCRIPT, "session.js"))
        .route("/figures.js", asset!(SCRIPT, "figures.js"))
        .route("/plots.js", asset!(SCRIPT, "plots.js"))
        .route("/transfer.js", asset!(SCRIPT, "transfer.js"))
        .route("/meet.js", asset!(SCRIPT, "meet.js"))
        .route("/room.js", asset!(SCRIPT, "room.js"))
        .route("/room-view.js", asset!(SCRIPT, "room-view.js"))
        .route("/names.js", asset!(SCRIPT, "names.js"))
        .route("/sha256.js", asset!(SCRIPT, "sha256.js"))
        .route(
            "/controllers.json",
            get(async || file("application/json", &CONTROLLERS)),
        )
        .route("/rules.json", get(async || file("application/json", &RULES)))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        // The next version of the program serves the next version of the page.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}
