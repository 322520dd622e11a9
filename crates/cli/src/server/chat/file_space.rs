//! Room for the files that sessions send, in all and for each: taken as their bytes come, for who announces much may send nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// For all sessions together, in bytes.
const MAX_ALL: u64 = 256 * 1024 * 1024;
/// For one session, over all its channels, in bytes: the largest file.
pub(in crate::server) const MAX_EACH: u64 = 64 * 1024 * 1024;

/// Who has how much.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct FileSpace(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    by_session: HashMap<u64, u64>,
}

impl FileSpace {
    /// Room for a file of this session, none of it taken yet.
    pub(in crate::server) fn open(&self, session: u64) -> Space {
        Space {
            files: self.clone(),
            session,
            bytes: 0,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Taken) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one file takes; given back when dropped.
#[derive(Debug)]
pub(in crate::server) struct Space {
    files: FileSpace,
    session: u64,
    bytes: u64,
}

impl Space {
    /// Takes so many bytes more.
    pub(in crate::server) fn grow(&mut self, bytes: u64) -> Result<(), &'static str> {
        self.files.with(|taken| {
            let session = taken.by_session.get(&self.session).copied().unwrap_or(0);
            if session + bytes > MAX_EACH {
                return Err("your files take all the room of a session");
            }
            if taken.all + bytes > MAX_ALL {
                return Err("no room for the file now: others keep theirs here");
            }
            taken.all += bytes;
            taken.by_session.insert(self.session, session + bytes);
            Ok(())
        })?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.files.with(|taken| {
            taken.all -= self.bytes;
            if let Some(session) = taken.by_session.get_mut(&self.session) {
                *session -= self.bytes;
                if *session == 0 {
                    taken.by_session.remove(&self.session);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend16_room_is_taken_by_bytes_and_shared() {
        let files = FileSpace::default();
        // Whoever announces takes nothing yet.
        let announced: Vec<Space> = (0..100).map(|session| files.open(session)).collect();
        let mut first = files.open(1);
        first.grow(MAX_EACH - 1).unwrap();
        // A second channel of the same session shares its room.
        let mut second = files.open(1);
        second.grow(1).unwrap();
        assert!(second.grow(1).is_err() && first.grow(1).is_err());
        let mut others: Vec<Space> = (2..5).map(|session| files.open(session)).collect();
        for other in &mut others {
            other.grow(MAX_EACH).unwrap();
        }
        assert!(files.open(9).grow(1).is_err(), "all is taken");
        drop(first);
        files.open(9).grow(1).unwrap();
        drop((announced, second, others));
        files.with(|taken| assert!(taken.all == 0 && taken.by_session.is_empty()));
    }
}
