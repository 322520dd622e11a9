//! How much may be sent, and how fast: the seam behind which the controllers are, and the choice between them.

mod acked;
mod control;
mod gcc;
mod limited;
mod probe_result;
mod probes;
mod remb;
mod sample;
mod scream;
#[cfg(test)]
mod simulation;
mod steering;

pub use control::{CongestionControl, Demand, Figures, PacketId, PacketResult, Probe, ProbeId, Sent};
pub(crate) use gcc::Gcc;
pub(crate) use scream::Scream;
pub(crate) use steering::Steering;

/// The congestion controllers that are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// Delay trend, loss and REMB (draft-ietf-rmcat-gcc-02).
    #[default]
    Gcc,
    /// A window that marks of ECN, delay and loss steer (SCReAMv2, draft-johansson-ccwg-rfc8298bis-screamv2). It asks for marks of L4S, which
    /// are set where feedback of RFC 8888 was negotiated.
    Scream,
}

impl Congestion {
    /// All that there are, the default first.
    pub const ALL: [Self; 2] = [Self::Gcc, Self::Scream];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gcc => Gcc::NAME,
            Self::Scream => Scream::NAME,
        }
    }

    /// One word for it, for command lines and configuration files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Scream => "scream",
        }
    }

    /// Makes the controller. It begins with the rate `start`, and stays between `min` and `max`, bits a second.
    pub fn controller(self, start: u64, min: u64, max: u64) -> Box<dyn CongestionControl> {
        match self {
            Self::Gcc => Box::new(Gcc::new(start, min, max)),
            Self::Scream => Box::new(Scream::new(start, min, max)),
        }
    }
}
