//! How a node begins.

use std::time::Duration;

use crate::names::NodeName;

/// How a node begins. All nodes of a cluster have the same times.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, which no other node of the cluster has.
    pub node: NodeName,
    /// A number that is higher each time the node is started, for instance the milliseconds of the wall clock since 1970.
    pub run: u64,
    /// Time between two heartbeats; 500 ms.
    pub beat: Duration,
    /// How long a node may be silent on a bus that works until it is gone; 2 s.
    pub silence: Duration,
    /// How long the others may take to come back after the bus has; 10 s.
    pub grace: Duration,
    /// Time between two summaries of a room, by which lost messages are noticed; 2 s.
    pub digest: Duration,
    /// Time until an offer of a pipe that has no answer is sent again; 1 s.
    pub resend: Duration,
}

impl Config {
    /// The usual times. `run`: a number that is higher each time the node is started.
    pub fn new(node: NodeName, run: u64) -> Self {
        Self {
            node,
            run,
            beat: Duration::from_millis(500),
            silence: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            digest: Duration::from_secs(2),
            resend: Duration::from_secs(1),
        }
    }
}
