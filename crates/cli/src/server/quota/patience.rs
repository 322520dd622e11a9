//! How long strangers may take.

use std::time::Duration;

/// How long the server waits for what. The defaults suit the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For the first byte of a connection, and from it (or from the answer before) to the end of a request's head; so this is how long
    /// a connection may be idle too.
    pub header: Duration,
    /// For a whole request, its body included.
    pub request: Duration,
    /// For a connection with all its requests; what is under way then may still end.
    pub connection: Duration,
    /// Between two pings to a WebSocket, and from a ping to an answer.
    pub ping: Duration,
    /// For a WebSocket at `/ws` until it says what it is for.
    pub start: Duration,
    /// For a session until its peers have connected.
    pub connect: Duration,
    /// For everything that has to be said before the server stops.
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            request: Duration::from_secs(20),
            connection: Duration::from_secs(300),
            ping: Duration::from_secs(20),
            start: Duration::from_secs(20),
            connect: Duration::from_secs(60),
            stop: Duration::from_secs(5),
        }
    }
}
