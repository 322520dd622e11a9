//! The states of an association (RFC 9260 §4), each with what exists in it and nowhere else.

use std::time::Instant;

use crate::chunk::Capabilities;
use crate::event::State;

/// What we know of the peer once its INIT or INIT ACK has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) tag: u32,
    /// How many streams we may send on.
    pub(super) streams: u16,
    /// How many it may send on.
    pub(super) incoming: u16,
    pub(super) capabilities: Capabilities,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing was asked for, and nobody has asked.
    Closed,
    /// INIT is sent.
    CookieWait {
        /// It is to be sent.
        due: bool,
        /// When we began to ask.
        since: Instant,
        /// INITs that stayed unanswered.
        tries: u32,
    },
    /// COOKIE ECHO is sent.
    CookieEchoed {
        peer: Peer,
        cookie: Vec<u8>,
        /// It is to be sent.
        due: bool,
        /// COOKIE ECHOs that stayed unanswered.
        tries: u32,
    },
    Established(Established),
    /// No packet is taken and none is made any more, but for replies that wait.
    Ended {
        peer: Option<Peer>,
        /// SHUTDOWN ACKs stayed unanswered: a peer that asks again gets one more.
        repeats_shutdown_ack: bool,
    },
}

/// Both ends have agreed.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) peer: Peer,
    pub(super) stage: Stage,
    /// Association.Error.Count (RFC 9260 §8.1).
    pub(super) errors: u32,
    pub(super) heartbeat: Heartbeat,
}

/// How far a shutdown has come (RFC 9260 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    Open,
    /// We close as soon as everything is acknowledged.
    Pending,
    Sent {
        /// SHUTDOWN is to be sent.
        due: bool,
    },
    /// The peer closes; we first finish sending.
    Received,
    AckSent {
        /// SHUTDOWN ACK is to be sent.
        due: bool,
        unanswered: u32,
    },
}

/// Whether the peer is there (RFC 9260 §8.3).
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// What the answer will bring back.
    pub(super) nonce: Option<[u8; 8]>,
    /// It is to be sent.
    pub(super) due: bool,
    pub(super) sent_at: Instant,
    /// The peer was heard since the last one.
    pub(super) heard: bool,
}

impl Established {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self {
            peer,
            stage: Stage::Open,
            errors: 0,
            heartbeat: Heartbeat {
                nonce: None,
                due: false,
                sent_at: now,
                heard: true,
            },
        }
    }
}

impl Phase {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Closed | Self::Ended { .. } => State::Closed,
            Self::CookieWait { .. } => State::CookieWait,
            Self::CookieEchoed { .. } => State::CookieEchoed,
            Self::Established(established) => match established.stage {
                Stage::Open => State::Established,
                Stage::Pending => State::ShutdownPending,
                Stage::Sent { .. } => State::ShutdownSent,
                Stage::Received => State::ShutdownReceived,
                Stage::AckSent { .. } => State::ShutdownAckSent,
            },
        }
    }

    #[inline]
    pub(super) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Closed | Self::CookieWait { .. } => None,
            Self::CookieEchoed { peer, .. } => Some(peer),
            Self::Established(established) => Some(&established.peer),
            Self::Ended { peer, .. } => peer.as_ref(),
        }
    }

    pub(super) fn peer_mut(&mut self) -> Option<&mut Peer> {
        match self {
            Self::Closed | Self::CookieWait { .. } => None,
            Self::CookieEchoed { peer, .. } => Some(peer),
            Self::Established(established) => Some(&mut established.peer),
            Self::Ended { peer, .. } => peer.as_mut(),
        }
    }

    #[inline]
    pub(super) fn established(&mut self) -> Option<&mut Established> {
        match self {
            Self::Established(established) => Some(established),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn stage(&self) -> Option<Stage> {
        match self {
            Self::Established(established) => Some(established.stage),
            _ => None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Closed | Self::CookieWait { .. } | Self::CookieEchoed { .. })
    }

    /// Whether our DATA flows, and its acknowledgements count.
    #[inline]
    pub(super) fn sends_data(&self) -> bool {
        matches!(self.stage(), Some(Stage::Open | Stage::Pending | Stage::Received))
    }

    /// Whether the peer's DATA is taken.
    #[inline]
    pub(super) fn takes_data(&self) -> bool {
        matches!(self.stage(), Some(Stage::Open | Stage::Pending | Stage::Sent { .. }))
    }

    /// Whether the peer's DATA is acknowledged.
    #[inline]
    pub(super) fn acknowledges_data(&self) -> bool {
        self.takes_data() || self.stage() == Some(Stage::Received)
    }

    /// Consecutive transmissions without an answer.
    pub(super) fn errors(&self) -> u32 {
        match self {
            Self::Established(established) => established.errors,
            _ => 0,
        }
    }

    /// The peer has answered.
    #[inline]
    pub(super) fn is_alive(&mut self) {
        if let Self::Established(established) = self {
            established.errors = 0;
        }
    }

    /// Whether a chunk of the handshake, of the shutdown, or a HEARTBEAT is to be sent.
    #[inline]
    pub(super) fn chunk_is_due(&self) -> bool {
        match self {
            Self::Closed | Self::Ended { .. } => false,
            Self::CookieWait { due, .. } | Self::CookieEchoed { due, .. } => *due,
            Self::Established(established) => {
                let shutdown = match established.stage {
                    Stage::Open | Stage::Pending | Stage::Received => false,
                    Stage::Sent { due } | Stage::AckSent { due, .. } => due,
                };
                shutdown || established.heartbeat.due
            }
        }
    }
}
