//! The sending half: what waits, what is on its way, and how much may be.

pub(crate) mod congestion;
mod delivery;
mod newest;
mod outstanding;
mod pacer;
mod path_mtu;
mod rack;
mod rto;
mod schedule;
mod send_queue;
#[cfg(test)]
mod tests;

pub(crate) use outstanding::{Outstanding, PathTime};
pub(crate) use pacer::Pacer;
pub(crate) use path_mtu::{Next, PathMtu};
pub(crate) use rto::Rto;
pub use schedule::Scheduler;
pub(crate) use send_queue::{Cut, Queued, SendQueue};
