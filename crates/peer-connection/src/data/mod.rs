//! Data channels: the association under them, and the calls of the application.

mod association;
mod calls;

pub(crate) use association::Data;
pub use association::MAX_EARLY_SCTP_PACKETS;
