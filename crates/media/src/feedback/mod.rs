//! What the two ends tell each other of arrivals: transport-wide feedback and REMB, written and read.

pub(crate) mod history;
pub(crate) mod large;
pub(crate) mod remb;
pub(crate) mod twcc;

mod peer_clock;
