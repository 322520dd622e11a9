//! What is between two generations of ICE.

use antiphon_ice::Credentials;
use antiphon_jsep::RemoteTransport;

/// What is between two generations of ICE.
#[derive(Debug, Default)]
pub(crate) struct IceRestart {
    /// Credentials that a description was made with, but not set yet.
    pub(crate) next: Option<Credentials>,
    /// Our user name fragment when the last exchange ended.
    pub(crate) stable: Option<String>,
    /// The peer's new generation, which waits for ours: its offer restarts ICE, our answer is not set.
    pub(crate) remote: Option<RemoteTransport>,
    /// The candidates of that generation.
    pub(crate) candidates: Vec<antiphon_ice::Candidate>,
    /// Whether it has no more.
    pub(crate) end_of_candidates: bool,
}

impl IceRestart {
    pub(crate) fn forget_remote(&mut self) {
        self.remote = None;
        self.candidates.clear();
        self.end_of_candidates = false;
    }
}
