//! How much may be sent, and how fast: the seam behind which the controllers are, and the choice between them.

mod control;
mod gcc;
#[cfg(test)]
mod simulation;
mod steering;

pub use control::{CongestionControl, Demand, Figures, PacketId, PacketResult, Probe, ProbeId, Sent};
pub(crate) use gcc::Gcc;
pub(crate) use steering::Steering;

/// The congestion controllers that are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// Delay trend, loss and REMB (draft-ietf-rmcat-gcc-02).
    #[default]
    Gcc,
}

impl Congestion {
    /// All that there are, the default first.
    pub const ALL: [Self; 1] = [Self::Gcc];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gcc => "GoogCC",
        }
    }

    /// One word for it, for command lines and configuration files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
        }
    }

    /// Makes the controller. It begins with the rate `start`, and stays between `min` and `max`, bits a second.
    pub fn controller(self, start: u64, min: u64, max: u64) -> Box<dyn CongestionControl> {
        match self {
            Self::Gcc => Box::new(Gcc::new(start, min, max)),
        }
    }
}
