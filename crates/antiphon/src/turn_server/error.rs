//! What keeps a server from starting.

use std::io;
use std::net::SocketAddr;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnServerError {
    /// A socket could not be bound.
    #[error("cannot bind {transport} {addr}: {source}")]
    Bind {
        /// "udp", "tcp", "tls" or "metrics".
        transport: &'static str,
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("TLS certificate or key: {0}")]
    Tls(String),
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// The machine's interfaces could not be listed.
    #[error("cannot list the interfaces of this machine: {0}")]
    Interfaces(io::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}
