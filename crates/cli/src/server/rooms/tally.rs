//! How often something was refused, by cause.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by causes, of which the program has a fixed number.
#[derive(Debug, Default)]
pub(in crate::server) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub(in crate::server) fn count(&self, cause: &'static str) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(cause)
            .or_default() += 1;
    }

    /// All causes that there were, and how often.
    pub(in crate::server) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
