//! The congestion controllers that are built in.

mod base_loss;
mod bbr;
mod control;
mod cubic;
mod hystart;
mod new_reno;
mod path_model;
#[cfg(test)]
mod tests;

pub use bbr::Bbr;
pub use control::{Ack, CongestionControl, Loss, RateSample};
pub use cubic::Cubic;
pub use new_reno::NewReno;

/// The congestion controllers that are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// RFC 9260 §7.2.
    NewReno,
    /// RFC 9438, with the slow start of RFC 9406.
    Cubic,
    /// A model of the path in the manner of BBRv3: holds its rate through random loss.
    #[default]
    Bbr,
}

impl Congestion {
    /// Makes the controller for packets of at most `max_packet` bytes.
    pub fn controller(self, max_packet: usize) -> Box<dyn CongestionControl> {
        match self {
            Self::NewReno => Box::new(NewReno::new(max_packet)),
            Self::Cubic => Box::new(Cubic::new(max_packet)),
            Self::Bbr => Box::new(Bbr::new(max_packet)),
        }
    }
}
