//! Transceivers: the table of what is sent and received, and the calls of the application.

mod calls;
mod dtmf;
mod table;
mod transform;

pub use table::MAX_TRANSCEIVERS;
pub(crate) use table::Transceivers;
