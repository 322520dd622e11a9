//! What waits to be sent, and how it is written.

use std::time::Instant;

use antiphon_sansio::{Ecn, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::{AttributeType, Class, MessageBuilder, Method, TransactionId, WriteError};

use crate::agent::{Agent, Session};
use crate::config::Role;
use crate::tcp::is_placeholder;

/// The most messages that wait to be sent; the oldest are dropped, as a network would drop them.
pub const MAX_OUTGOING: usize = 256;

/// Room for the longest check: two user fragments of 256 characters and every attribute.
const MAX_MESSAGE: usize = 768;

/// How many unknown attributes an answer names.
pub(crate) const MAX_UNKNOWN: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Success,
    RoleConflict,
    Unknown([AttributeType; MAX_UNKNOWN], usize),
}

/// A message that waits to be sent. It is written only when it leaves, so waiting costs no allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outgoing {
    /// A connectivity or consent check.
    Check {
        path: Path,
        id: TransactionId,
        generation: u32,
        priority: u32,
        role: Role,
        use_candidate: bool,
        nomination: Option<u32>,
    },
    /// The answer to a check.
    Response {
        path: Path,
        id: TransactionId,
        generation: u32,
        outcome: Outcome,
    },
    /// A question to a STUN server.
    Probe { path: Path, id: TransactionId },
}

impl Outgoing {
    fn path(&self) -> Path {
        match self {
            Self::Check { path, .. } | Self::Response { path, .. } | Self::Probe { path, .. } => *path,
        }
    }
}

impl Agent {
    pub(crate) fn push_outgoing(&mut self, outgoing: Outgoing) {
        if self.outgoing.len() >= MAX_OUTGOING {
            self.outgoing.pop_front();
            self.counters.dropped_responses += 1;
        }
        self.outgoing.push_back(outgoing);
    }

    /// Writes the next datagram as a segment of its own and says where it goes; `None` when there is nothing to send, or no
    /// room in `out`. Sets the path room of `out` to zero: set it again for what you write yourself.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        out.set_path_room(0, 0);
        // Permissions first: the check that needs one follows right behind.
        if let Some(transmit) = self.relays.poll_transmit(now, out) {
            return Some(transmit);
        }
        while let Some(&outgoing) = self.outgoing.front() {
            let path = outgoing.path();
            // What goes to a STUN server over TLS has no frame of RFC 4571 around it (RFC 8489 §6.2.2).
            let framed = !matches!(outgoing, Outgoing::Probe { .. });
            let (front, back) = if framed { self.path_room(&path) } else { (0, 0) };
            if !out.begin(front, back) {
                return None;
            }
            self.outgoing.pop_front();
            let mut buffer = [0; MAX_MESSAGE];
            match self.write(outgoing, &mut buffer) {
                Some(Ok(len)) if len <= out.remaining() => out.put_slice(&buffer[..len]),
                _ => {
                    // Its generation is gone, or a TransmitBuf for tiny datagrams: nothing that the peer could not survive.
                    out.rollback();
                    continue;
                }
            }
            let path = if framed { self.frame(path, out) } else { path };
            if matches!(path.local, Local::Relay(_)) || is_placeholder(path.local) {
                // The allocation or connection is gone.
                out.rollback();
                continue;
            }
            return Some(Transmit {
                path,
                range: out.finish(),
                segment_size: None,
                ecn: Ecn::NotEct,
            });
        }
        None
    }

    fn session(&self, generation: u32) -> Option<&Session> {
        if self.session.generation == generation {
            return Some(&self.session);
        }
        self.previous
            .as_ref()
            .map(|previous| &previous.session)
            .filter(|session| session.generation == generation)
    }

    /// `None` if the generation of the message is gone.
    fn write(&self, outgoing: Outgoing, buffer: &mut [u8]) -> Option<Result<usize, WriteError>> {
        match outgoing {
            Outgoing::Check {
                id,
                generation,
                priority,
                role,
                use_candidate,
                nomination,
                ..
            } => {
                let session = self.session(generation)?;
                let remote = session.remote.as_ref()?;
                let mut builder = MessageBuilder::new(buffer, Class::Request, Method::BINDING, id);
                // RFC 8445 §7.2.2: the peer's fragment first, the key is the peer's password.
                builder.ice_username(&remote.credentials.ufrag, &session.local.credentials.ufrag);
                let attribute = match role {
                    Role::Controlling => AttributeType::ICE_CONTROLLING,
                    Role::Controlled => AttributeType::ICE_CONTROLLED,
                };
                builder.put_u64(attribute, self.tie_breaker);
                if use_candidate {
                    builder.use_candidate();
                }
                if let Some(number) = nomination {
                    builder.put_u32(AttributeType::NOMINATION, number);
                }
                builder.priority(priority).integrity(&remote.key).fingerprint();
                Some(builder.finish())
            }
            Outgoing::Response {
                path,
                id,
                generation,
                outcome,
            } => {
                let session = self.session(generation)?;
                let class = match outcome {
                    Outcome::Success => Class::Success,
                    Outcome::RoleConflict | Outcome::Unknown(..) => Class::Error,
                };
                let mut builder = MessageBuilder::new(buffer, class, Method::BINDING, id);
                match outcome {
                    Outcome::Success => builder.xor_mapped_address(path.remote),
                    Outcome::RoleConflict => builder.error_code(487, "Role Conflict"),
                    Outcome::Unknown(kinds, count) => builder
                        .error_code(420, "Unknown Attribute")
                        .unknown_attributes(&kinds[..count]),
                };
                builder.integrity(&session.local.key).fingerprint();
                Some(builder.finish())
            }
            Outgoing::Probe { id, .. } => {
                let mut builder = MessageBuilder::new(buffer, Class::Request, Method::BINDING, id);
                builder.fingerprint();
                Some(builder.finish())
            }
        }
    }
}
