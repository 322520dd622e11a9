//! Transceivers: the table of what is sent and received, and the calls of the application.

mod calls;
mod table;

pub use calls::MAX_TRANSCEIVERS;
pub(crate) use table::Row;
