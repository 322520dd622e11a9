use std::time::{Duration, Instant};

use crate::INITIAL_WINDOW;

/// The receive window's size, which follows the bandwidth-delay product: it doubles when the application reads a quarter of it
/// within a round trip, up to a cap. A slow reader keeps it small.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    size: usize,
    cap: usize,
    consumed: usize,
    since: Instant,
}

impl ReceiveWindow {
    pub(crate) fn new(now: Instant, cap: usize) -> Self {
        Self {
            size: cap.min(INITIAL_WINDOW),
            cap,
            consumed: 0,
            since: now,
        }
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The application has read `bytes`. Returns whether the window is wider now.
    #[inline]
    pub(crate) fn consumed(&mut self, now: Instant, bytes: usize, rtt: Duration) -> bool {
        if self.size == self.cap {
            return false;
        }
        if now.saturating_duration_since(self.since) > rtt {
            self.since = now;
            self.consumed = 0;
        }
        self.consumed += bytes;
        if self.consumed < self.size / 4 {
            return false;
        }
        self.consumed = 0;
        self.since = now;
        self.widen();
        true
    }

    pub(crate) fn widen(&mut self) {
        self.size = (self.size * 2).min(self.cap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_fast_reader_widens_it_and_a_slow_one_does_not() {
        let now = Instant::now();
        let rtt = Duration::from_millis(10);
        let mut window = ReceiveWindow::new(now, 10 * INITIAL_WINDOW);
        assert!(!window.consumed(now, INITIAL_WINDOW / 4 - 1, rtt));
        assert!(!window.consumed(now + rtt * 2, INITIAL_WINDOW / 4 - 1, rtt), "too slow");
        assert!(window.consumed(now + rtt * 2, 1, rtt));
        assert_eq!(window.size(), 2 * INITIAL_WINDOW);
        for _ in 0..10 {
            window.consumed(now, 4 * INITIAL_WINDOW, rtt);
        }
        assert_eq!(window.size(), 10 * INITIAL_WINDOW, "never above the cap");
    }
}
