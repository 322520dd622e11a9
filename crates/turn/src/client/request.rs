//! The requests of a client that are to be answered.

use std::net::{IpAddr, SocketAddr};

use antiphon_stun::{Method, Transaction};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Allocate,
    Refresh { seconds: u32 },
    Permission(IpAddr),
    Channel(SocketAddr, u16),
}

impl Kind {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Refresh { .. } => Method::REFRESH,
            Self::Permission(_) => Method::CREATE_PERMISSION,
            Self::Channel(..) => Method::CHANNEL_BIND,
        }
    }
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    /// `None` until it is sent for the first time.
    pub(super) transaction: Option<Transaction>,
    /// To be sent at the next `poll_transmit`.
    pub(super) due: bool,
    pub(super) tries: u8,
}

impl Request {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            transaction: None,
            due: true,
            tries: 0,
        }
    }
}
