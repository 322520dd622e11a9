//! The web server: connections and TLS, the page, the WebSockets, WHIP and WHEP. It asks `quota` who may come in, makes
//! the peers of `media` and the participants of `rooms`, and leads who meets to `chat`; none of these knows of it.

mod endpoints;
mod meet;
mod metrics;
mod page;
mod participant;
mod pulse;
mod resource;
mod sdpfrag;
mod shared;
mod signal;
mod single;
mod tls;
mod web;
mod wish;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub(super) use metrics::router as metrics_router;
pub(super) use shared::Shared;
pub(super) use tls::{Identity, config};
pub(super) use web::Web;

use super::quota::{known_host, known_page};

/// All that can be asked of the server, and who may ask it.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .merge(ws::routes())
        .merge(meet::routes())
        .merge(endpoints::routes())
        .layer(from_fn_with_state(shared.door.clone(), known_page))
        .merge(page::routes())
        .layer(from_fn_with_state(shared.door.clone(), known_host))
        .with_state(shared)
}
