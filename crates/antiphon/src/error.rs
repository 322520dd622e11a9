//! What can go wrong at the edge of the process; protocol errors come from `peer_connection`.

/// Why a call on a handle failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer connection refused the call: its W3C error, with the reason.
    #[error(transparent)]
    Peer(#[from] antiphon_peer_connection::Error),
    /// The peer connection, or its endpoint, is closed.
    #[error("the peer connection is closed")]
    Closed,
    /// A socket could not be bound.
    #[error("cannot bind {addr}: {source}")]
    Bind {
        /// The address that was asked for.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What [`ApiBuilder::trusted_certificates_pem`](crate::ApiBuilder::trusted_certificates_pem) was given.
    #[error("trusted certificates: {0}")]
    TrustedCertificates(String),
    /// A router refused the call.
    #[error(transparent)]
    Router(#[from] antiphon_sfu::router::Error),
    /// A router was asked of an [`Api`](crate::Api) without [`one_port`](crate::ApiBuilder::one_port): its peers have a task each, and a
    /// router lives in one.
    #[error("only the peers of an Api with one port can have a router")]
    NotOnePort,
    /// A peer of another [`Api`](crate::Api) was named to a router.
    #[error("the peer and the router are of different Apis")]
    OtherApi,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// Why [`try_send`](crate::DataChannel::try_send) did not take a message.
#[derive(Debug, thiserror::Error)]
pub enum TrySendError {
    /// Too much is buffered: here is the message again.
    #[error("too much is buffered")]
    Full(antiphon_data_channel::Message),
    /// It cannot be sent at all.
    #[error(transparent)]
    Refused(#[from] Error),
}
