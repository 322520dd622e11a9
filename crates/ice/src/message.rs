//! The STUN messages that an agent sends, and how they are written.

use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Class, MessageBuilder, Method, TransactionId, WriteError};

use crate::config::Role;
use crate::session::Session;

/// Room for the longest check: two user fragments of 256 characters and every attribute.
pub(crate) const MAX_MESSAGE: usize = 768;

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
        /// The priority of a peer-reflexive candidate that the peer may learn from it.
        priority: u32,
        role: Role,
        tie_breaker: u64,
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
    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Check { path, .. } | Self::Response { path, .. } | Self::Probe { path, .. } => *path,
        }
    }

    /// The generation whose credentials it needs, if it needs any.
    pub(crate) fn generation(&self) -> Option<u32> {
        match self {
            Self::Check { generation, .. } | Self::Response { generation, .. } => Some(*generation),
            Self::Probe { .. } => None,
        }
    }

    /// Writes it. `None` if the credentials of its generation are gone.
    pub(crate) fn write(&self, session: Option<&Session>, buffer: &mut [u8]) -> Option<Result<usize, WriteError>> {
        match *self {
            Self::Check {
                id,
                priority,
                role,
                tie_breaker,
                use_candidate,
                nomination,
                ..
            } => {
                let session = session?;
                let remote = session.remote()?;
                let mut builder = MessageBuilder::new(buffer, Class::Request, Method::BINDING, id);
                // RFC 8445 §7.2.2: the peer's fragment first, the key is the peer's password.
                builder.ice_username(remote.ufrag(), session.local().ufrag());
                let attribute = match role {
                    Role::Controlling => AttributeType::ICE_CONTROLLING,
                    Role::Controlled => AttributeType::ICE_CONTROLLED,
                };
                builder.put_u64(attribute, tie_breaker);
                if use_candidate {
                    builder.use_candidate();
                }
                if let Some(number) = nomination {
                    builder.put_u32(AttributeType::NOMINATION, number);
                }
                builder.priority(priority).integrity(remote.key()).fingerprint();
                Some(builder.finish())
            }
            Self::Response { path, id, outcome, .. } => {
                let session = session?;
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
                builder.integrity(session.local().key()).fingerprint();
                Some(builder.finish())
            }
            Self::Probe { id, .. } => {
                let mut builder = MessageBuilder::new(buffer, Class::Request, Method::BINDING, id);
                builder.fingerprint();
                Some(builder.finish())
            }
        }
    }
}
