//! What the two ends tell each other of arrivals: transport-wide feedback, RFC 8888 and REMB, written and read.

pub(crate) mod ccfb;
pub(crate) mod history;
pub(crate) mod large;
pub(crate) mod marks;
pub(crate) mod told;
pub(crate) mod twcc;

mod peer_clock;
mod remb;
