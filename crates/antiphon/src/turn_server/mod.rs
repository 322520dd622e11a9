//! A STUN and TURN server inside this process: sockets for the machine of `antiphon-turn`.
//!
//! ```
//! use antiphon::turn_server::{PeerPolicy, TurnServer, TurnServerConfig};
//!
//! # async fn run() -> Result<(), antiphon::turn_server::TurnServerError> {
//! let mut config = TurnServerConfig::new("example.org").user("alice", "secret");
//! config.listen = vec!["127.0.0.1:0".parse().unwrap()];
//! // For tests on one machine only: whoever may allocate reaches every service of this machine.
//! config.server.policy = PeerPolicy { allow_loopback: true, ..PeerPolicy::default() };
//! let server = TurnServer::start(config).await?;
//! println!("turn:{}?transport=udp", server.udp_addrs()[0]);
//! println!("turn:{}?transport=tcp", server.tcp_addrs()[0]);
//! server.stop().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```

mod config;
mod connections;
mod core;
mod error;
mod metrics;
mod relays;
mod server;
mod sockets;
mod stats;
mod stream;
#[cfg(test)]
mod tests;

pub use antiphon_turn::{PeerPolicy, Rate, ServerConfig, ServerCounters, TimeLimited};
pub use config::{RelayAddress, TlsIdentity, TurnServerConfig};
pub use error::TurnServerError;
pub use server::TurnServer;
pub use stats::TurnServerStats;
