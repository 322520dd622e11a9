//! Who waits at which code, and what they pass to each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

/// Messages that wait for an end that is slow.
const QUEUE: usize = 64;

/// Which of the two ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(in crate::server) enum Side {
    /// It has the files.
    Send,
    /// It wants them.
    Recv,
}

impl Side {
    fn index(self) -> usize {
        self as usize
    }
}

/// Who waits where. Bounded by the room's sockets: each end holds a place there.
#[derive(Debug, Default)]
pub(in crate::server) struct Meetings(Mutex<HashMap<String, [Option<mpsc::Sender<Utf8Bytes>>; 2]>>);

impl Meetings {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, [Option<mpsc::Sender<Utf8Bytes>>; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat; both are told when the second one comes.
    pub(in crate::server) fn enter(&self, code: &str, side: Side) -> Option<mpsc::Receiver<Utf8Bytes>> {
        let mut meetings = self.lock();
        let seats = meetings.entry(code.to_owned()).or_default();
        if seats[side.index()].is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        seats[side.index()] = Some(sender);
        if seats.iter().all(Option::is_some) {
            for seat in seats.iter().flatten() {
                // A queue that is new, or of somebody who only waited: there is room.
                _ = seat.try_send(Utf8Bytes::from_static(r#"{"type":"peer"}"#));
            }
        }
        Some(receiver)
    }

    /// Passes a message on. `false` if the other end does not keep up.
    pub(in crate::server) fn pass(&self, code: &str, from: Side, message: Utf8Bytes) -> bool {
        let meetings = self.lock();
        let other = meetings.get(code).and_then(|seats| seats[1 - from.index()].as_ref());
        // Who speaks to an empty seat will be told of it.
        other.is_none_or(|seat| !matches!(seat.try_send(message), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// Gives the seat up; the other end is told.
    pub(in crate::server) fn leave(&self, code: &str, side: Side) {
        let mut meetings = self.lock();
        if let Some(seats) = meetings.get_mut(code) {
            seats[side.index()] = None;
            match &seats[1 - side.index()] {
                Some(other) => _ = other.try_send(Utf8Bytes::from_static(r#"{"type":"left"}"#)),
                None => _ = meetings.remove(code),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: Result<Utf8Bytes, mpsc::error::TryRecvError>) -> String {
        message.unwrap().to_string()
    }

    #[test]
    fn two_meet_one_leaves_another_comes() {
        let meetings = Meetings::default();
        let mut sender = meetings.enter("abcd", Side::Send).unwrap();
        assert!(meetings.enter("abcd", Side::Send).is_none(), "one seat of a kind");
        assert!(sender.try_recv().is_err());
        let mut receiver = meetings.enter("abcd", Side::Recv).unwrap();
        for heard in [&mut sender, &mut receiver] {
            assert!(text(heard.try_recv()).contains("peer"));
        }
        assert!(meetings.pass("abcd", Side::Send, "hello".into()));
        assert_eq!(text(receiver.try_recv()), "hello");
        assert!(sender.try_recv().is_err());
        meetings.leave("abcd", Side::Recv);
        assert!(text(sender.try_recv()).contains("left"));
        assert!(meetings.pass("abcd", Side::Send, "to nobody".into()));
        let mut receiver = meetings.enter("abcd", Side::Recv).unwrap();
        assert!(
            text(receiver.try_recv()).contains("peer"),
            "what was said to nobody is gone"
        );
        for _ in 0..QUEUE {
            assert!(meetings.pass("abcd", Side::Send, "x".into()));
        }
        assert!(
            !meetings.pass("abcd", Side::Send, "x".into()),
            "nobody fills our memory"
        );
        meetings.leave("abcd", Side::Recv);
        meetings.leave("abcd", Side::Send);
        assert!(meetings.lock().is_empty());
    }
}
