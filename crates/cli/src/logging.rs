//! What the program writes to standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

/// Without `RUST_LOG`.
const DEFAULT: &str = "warn,antiphon_cli=info,antiphon::turn_server=info";

/// Dependencies whose finest levels show whole messages, and with them the passwords of ICE: they stay above those levels,
/// although `RUST_LOG=trace` asks for all there is.
const DISCREET: [&str; 2] = ["tungstenite=debug", "tokio_tungstenite=debug"];

/// Starts logging, as `RUST_LOG` says.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let limits = DISCREET.iter().filter_map(|limit| limit.parse::<Directive>().ok());
    tracing_subscriber::fmt()
        .with_env_filter(limits.fold(filter, EnvFilter::add_directive))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}
