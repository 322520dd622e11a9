//! The receiving half: which TSNs have arrived, and messages put together from their fragments.

mod data_tracker;
mod partial;
mod pieces;
mod reassembly;
mod spares;
mod window;

pub(crate) use data_tracker::{AckUrgency, Arrival, DataTracker};
pub(crate) use reassembly::{Fragment, Reassembly};
pub(crate) use window::ReceiveWindow;
