//! Connectivity checks and what follows from them (RFC 8445 §6 to §9), each part in a room of its own.

mod checks;
mod connections;
mod consent;
mod exchange;
mod ids;
mod list;
mod liveness;
mod local;
mod nomination;
mod pair;
mod previous;
mod remote;

pub use checks::MAX_EARLY_CHECKS;
pub(crate) use checks::{Checks, Outside};
pub use connections::MAX_CONNECTIONS;
pub(crate) use ids::PairId;
pub use list::MAX_PAIRS;
pub use local::MAX_LOCAL_CANDIDATES;
pub use remote::MAX_REMOTE_CANDIDATES;
