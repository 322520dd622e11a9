//! The sending half: what waits, what is on its way, and how much may be.

pub(crate) mod congestion;
mod outstanding;
mod rto;
mod send_queue;
#[cfg(test)]
mod tests;

pub(crate) use outstanding::Outstanding;
pub(crate) use rto::Rto;
pub(crate) use send_queue::{Queued, SendQueue};
