//! Whether RTP header extensions and CSRCs go out encrypted (RFC 9335), and the doubt whether the peer can read them
//! so.

use std::time::{Duration, Instant};

use antiphon_jsep::HeaderEncryptionPolicy;
use antiphon_srtp::Cryptex;

/// How long packets with encrypted header extensions may go out without any receiver report about them. Twice the
/// longest that RFC 3550 §6.2 lets a receiver of ours wait: 5 seconds, half as much again at random.
pub(crate) const MAX_UNREAD: Duration = Duration::from_secs(15);

/// When the first packet went out that the peer may or may not be able to read.
#[derive(Debug)]
struct Trial {
    since: Instant,
    /// The reports that had come by then.
    reports: u64,
}

#[derive(Debug)]
pub(crate) struct HeaderEncryption {
    policy: HeaderEncryptionPolicy,
    /// Whether the peer says that it takes them.
    negotiated: bool,
    trial: Option<Trial>,
    /// Whether a report has shown that the peer reads them.
    read: bool,
    /// Whether it has been given up: the peer says so, and reads nothing.
    unread: bool,
}

impl HeaderEncryption {
    pub(crate) fn new(policy: HeaderEncryptionPolicy) -> Self {
        Self {
            policy,
            negotiated: false,
            trial: None,
            read: false,
            unread: false,
        }
    }

    /// What our receiver does. Our description says what we take, and the peer may begin before its own arrives.
    pub(crate) fn receiving(&self) -> Cryptex {
        match self.policy {
            HeaderEncryptionPolicy::Disable => Cryptex::Off,
            HeaderEncryptionPolicy::Accept | HeaderEncryptionPolicy::Negotiate => Cryptex::Accept,
            HeaderEncryptionPolicy::Require => Cryptex::Require,
        }
    }

    pub(crate) fn set_negotiated(&mut self, negotiated: bool) {
        self.negotiated = negotiated;
    }

    /// Whether our sender encrypts them.
    pub(crate) fn sending(&self) -> bool {
        self.negotiated && !self.unread
    }

    /// An RTP packet goes out, and `reports` have come so far of what we send. `true`: from this packet on in the
    /// clear, for nobody reads them. A receiver that has Cryptex must take both (RFC 9335 §5.2), so nothing is lost by
    /// going back.
    pub(crate) fn gives_up(&mut self, now: Instant, reports: u64) -> bool {
        if self.read || !self.sending() || self.policy == HeaderEncryptionPolicy::Require {
            return false;
        }
        let trial = self.trial.get_or_insert(Trial { since: now, reports });
        self.read = reports > trial.reports;
        self.unread = !self.read && now.saturating_duration_since(trial.since) >= MAX_UNREAD;
        self.unread
    }
}
