//! How much each peer of a shared socket may have on its way to it.
//!
//! The kernel has one buffer for all of them, and loses what does not fit. Windows are each peer's own: a hundred of 1 MiB fill the
//! buffer many times over. On a long way little of that is ever in the buffer; on a short one all of it may be. So the windows are
//! bounded when the buffer is seen to fill, and for a while after it.

use std::time::{Duration, Instant};

/// How long the windows stay bounded after the buffer was last seen to fill.
const LIFE: Duration = Duration::from_secs(1);
/// No window is made smaller than this, whatever is lost for it: a few datagrams.
const MIN_SHARE: usize = 9600;

/// Of one socket.
#[derive(Debug)]
pub(super) struct Share {
    /// What the kernel's buffer holds about, in bytes of datagrams.
    capacity: usize,
    /// Peers that were heard in one turn, of late.
    senders: usize,
    /// The windows are bounded until then.
    until: Option<Instant>,
}

impl Share {
    /// For a socket whose buffer the kernel says to have `granted` bytes, its own bookkeeping included.
    pub(super) fn new(granted: usize) -> Self {
        Self {
            // The kernel counts about twice what it holds.
            capacity: granted / 2,
            senders: 0,
            until: None,
        }
    }

    /// So many bytes were found in the buffer in one turn, of so many peers.
    pub(super) fn found(&mut self, now: Instant, bytes: usize, senders: usize) {
        if bytes >= self.capacity / 8 {
            self.until = Some(now + LIFE);
        } else if self.until.is_some_and(|until| until <= now) {
            self.until = None;
        }
        // Not all of them are heard in each turn.
        self.senders = senders.max(self.senders - self.senders / 8);
    }

    /// What each peer may have on its way.
    pub(super) fn bytes(&self) -> usize {
        match self.until {
            Some(_) => (self.capacity / self.senders.max(1)).max(MIN_SHARE),
            None => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_bounded_while_the_buffer_fills() {
        let now = antiphon_netsim::start();
        let mut share = Share::new(8 << 20);
        share.found(now, 1000, 100);
        assert_eq!(share.bytes(), usize::MAX, "many peers alone are no reason");
        share.found(now, 1 << 20, 100);
        assert_eq!(share.bytes(), (4 << 20) / 100);
        share.found(now, 1 << 20, 1000);
        assert_eq!(share.bytes(), MIN_SHARE, "a few datagrams at least");
        for _ in 0..100 {
            share.found(now, 2000, 10);
        }
        assert!(share.bytes() > (4 << 20) / 20, "fewer speak now: {}", share.bytes());
        share.found(now + LIFE, 2000, 10);
        assert_eq!(share.bytes(), usize::MAX);
    }
}
