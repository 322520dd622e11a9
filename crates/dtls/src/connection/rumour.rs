//! Fatal alerts that came unprotected, and how they are put to the test before they are believed.

use std::time::{Duration, Instant};

use crate::alert::AlertDescription;

/// How long such an alert waits for a sign that the peer goes on all the same, in times of the base of the retransmission
/// timer, and at least and at most.
const RUMOUR_TIMEOUTS: u32 = 5;
const MIN_RUMOUR: Duration = Duration::from_secs(1);
const MAX_RUMOUR: Duration = Duration::from_secs(3);
/// How often our flight is sent in that time.
const RUMOUR_PROBES: u32 = 10;

/// A fatal alert that came unprotected. Anybody who can write the peer's address into a datagram can send one.
///
/// It is put to the test: our flight goes out again, several times, and a peer that has not given up answers it or repeats
/// its own. If it is heard of no more, the alert was its last word. So a forger ends nothing, and a peer that has failed is
/// believed within seconds and not at the end of the handshake's time. Once the peer has shown that it has keys, its own
/// alerts are protected, and others are not looked at.
#[derive(Default)]
pub(super) struct Rumour {
    /// What the first alert said; `None` if there was none.
    description: Option<AlertDescription>,
    /// When it is believed; `None` after a sign of life.
    believed_at: Option<Instant>,
}

impl Rumour {
    /// Hears an alert. If it is put to the test from now on, says how often our flight is to be sent.
    pub(super) fn hear(&mut self, now: Instant, description: AlertDescription, base_rto: Duration) -> Option<Duration> {
        self.description.get_or_insert(description);
        if self.believed_at.is_some() {
            return None;
        }
        let patience = (RUMOUR_TIMEOUTS * base_rto).clamp(MIN_RUMOUR, MAX_RUMOUR);
        self.believed_at = Some(now + patience);
        Some(patience / RUMOUR_PROBES)
    }

    /// The peer has given a sign of life. Says whether there was a rumour of its end.
    pub(super) fn deny(&mut self) -> bool {
        self.believed_at = None;
        self.description.is_some()
    }

    /// Nothing was said.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What was said.
    pub(super) fn description(&self) -> Option<AlertDescription> {
        self.description
    }

    /// When it is believed.
    pub(super) fn believed_at(&self) -> Option<Instant> {
        self.believed_at
    }
}
