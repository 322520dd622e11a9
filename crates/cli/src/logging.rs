//! What the program writes to standard error.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Without `RUST_LOG`.
const DEFAULT: &str = "warn,antiphon_cli=info,antiphon::turn_server=info";

/// Dependencies whose finest level shows whole messages, and with them the passwords of ICE.
const TALKATIVE: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Starts logging, as `RUST_LOG` says; but nothing that shows a password, whatever it says.
pub fn start() {
    let said = std::env::var("RUST_LOG").ok().and_then(|said| said.parse().ok());
    let wanted: Targets = said.unwrap_or_else(|| DEFAULT.parse().expect("it is right"));
    let output = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    tracing_subscriber::registry()
        .with(wanted)
        .with(filter_fn(|metadata| !shows_secrets(metadata)))
        .with(output)
        .init();
}

fn shows_secrets(metadata: &Metadata<'_>) -> bool {
    let module = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() == Level::TRACE && TALKATIVE.contains(&module)
}
