//! Who may come in, how many at a time, how often and for how long. It counts and judges what it is shown, and uses no
//! other room of the server.

mod complaint;
mod door;
mod gate;
mod patience;
mod places;
mod tries;

pub(super) use complaint::Complaint;
pub(super) use door::{ANY, Bearer, Door, bearer, known_host, known_page};
pub(super) use gate::{Gate, Pass};
pub use patience::Patience;
pub(super) use places::{Full, Limits, Place, Places};
pub(super) use tries::Tries;
