//! Says a thing once in a while, however often it happens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No sooner than this is it said again.
const EPISODE: Duration = Duration::from_secs(60);

/// Something that strangers can make happen as often as they like.
#[derive(Debug, Default)]
pub(in crate::server) struct Complaint(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When it was last said.
    last: Option<Instant>,
    /// How often it has happened since.
    times: u64,
}

impl Complaint {
    /// How often it has happened since it was last said, if it is to be said now.
    pub(in crate::server) fn say(&self) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.times += 1;
        if told.last.is_some_and(|last| last.elapsed() < EPISODE) {
            return None;
        }
        told.last = Some(Instant::now());
        Some(std::mem::take(&mut told.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend15_a_flood_is_said_once() {
        let complaint = Complaint::default();
        assert_eq!(complaint.say(), Some(1));
        assert!((0..1000).all(|_| complaint.say().is_none()));
    }
}
