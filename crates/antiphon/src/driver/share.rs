//! How much each peer of a shared socket may have on its way to it.
//!
//! The kernel has one buffer for all of them, and loses what does not fit. Windows are each peer's own: a hundred of 1 MiB fill the
//! buffer many times over. On a long way little of that is ever in the buffer; on a short one all of it may be. So the windows are
//! bounded when the buffer is seen to fill, and for a while after it.

use std::time::{Duration, Instant};

/// How long the windows stay bounded as they are after the buffer was last seen to fill. Then they are twice as wide for as long.
const LIFE: Duration = Duration::from_secs(1);
/// So often they are made twice as wide, before they are bounded no more.
const MAX_WIDENED: u32 = 6;
/// For so long the peers that are heard are counted. In one turn only a few of many are.
const PERIOD: Duration = Duration::from_millis(100);
/// The part of the buffer that is found in one turn where it fills.
const FILLING: usize = 16;
/// No window is made smaller than this, whatever is lost for it: a few datagrams.
const MIN_SHARE: usize = 9600;

/// Of one socket.
#[derive(Debug)]
pub(super) struct Share {
    /// What the kernel's buffer holds about, in bytes of datagrams.
    capacity: usize,
    /// Peers that were heard in this period, and in the one before it.
    senders: [usize; 2],
    /// When this period began, and its name.
    since: Option<Instant>,
    period: u64,
    /// The windows are bounded, and until then no wider than this.
    until: Option<Instant>,
    /// How often they were made twice as wide.
    widened: u32,
    /// Whether they were made narrower in this period.
    narrowed: bool,
}

impl Share {
    /// For a socket whose buffer the kernel says to have `granted` bytes, its own bookkeeping included.
    pub(super) fn new(granted: usize) -> Self {
        Self {
            // The kernel counts about twice what it holds.
            capacity: granted / 2,
            senders: [0; 2],
            since: None,
            period: 0,
            until: None,
            widened: 0,
            narrowed: false,
        }
    }

    /// The present period's name, another than `name` where a new one begins with this turn.
    pub(super) fn period(&mut self, now: Instant, name: impl FnOnce() -> u64) -> u64 {
        if self.since.is_none_or(|since| now >= since + PERIOD) {
            self.senders = [0, self.senders[0]];
            self.narrowed = false;
            (self.since, self.period) = (Some(now), name());
        }
        self.period
    }

    /// So many bytes were found in the buffer in one turn, of so many peers that had not been heard in this period.
    pub(super) fn found(&mut self, now: Instant, bytes: usize, senders: usize) {
        self.senders[0] += senders;
        let is_filling = bytes >= self.capacity / FILLING;
        match self.until {
            None if is_filling => (self.widened, self.narrowed) = (0, true),
            Some(_) if is_filling && !self.narrowed => {
                self.widened = self.widened.saturating_sub(1);
                self.narrowed = true;
            }
            Some(until) if !is_filling && until <= now => {
                self.widened += 1;
                // All at once they would fill the buffer many times over.
                self.until = (self.widened <= MAX_WIDENED).then_some(now + LIFE);
            }
            _ => {}
        }
        if is_filling {
            self.until = Some(now + LIFE);
        }
    }

    /// What each peer may have on its way.
    pub(super) fn bytes(&self) -> usize {
        match self.until {
            Some(_) => {
                let [now, before] = self.senders;
                let share = (self.capacity / now.max(before).max(1)).max(MIN_SHARE);
                share << self.widened
            }
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
        assert_eq!(share.period(now, || 7), 7);
        share.found(now, 1000, 100);
        assert_eq!(share.bytes(), usize::MAX, "many peers alone are no reason");
        share.found(now, 1 << 19, 0);
        assert_eq!(share.bytes(), (4 << 20) / 100);
        share.found(now, 1 << 19, 900);
        assert_eq!(share.bytes(), MIN_SHARE, "a few datagrams at least");
        assert_eq!(share.period(now + PERIOD, || 8), 8);
        share.found(now + PERIOD, 2000, 10);
        assert_eq!(share.bytes(), MIN_SHARE, "the others may be heard yet");
        assert_eq!(share.period(now + 2 * PERIOD, || 9), 9);
        share.found(now + 2 * PERIOD, 2000, 12);
        assert_eq!(share.bytes(), (4 << 20) / 12, "fewer speak now");
        assert_eq!(share.period(now + 2 * PERIOD, || 10), 9);
        for n in 1..=MAX_WIDENED {
            share.found(now + n * LIFE, 2000, 0);
            assert_eq!(share.bytes(), ((4 << 20) / 12) << n);
        }
        let later = now + MAX_WIDENED * LIFE + PERIOD;
        share.period(later, || 11);
        for senders in [20, 40] {
            share.found(later, 1 << 19, 20);
            let once = ((4 << 20) / senders) << (MAX_WIDENED - 1);
            assert_eq!(share.bytes(), once, "narrower, once in a period");
        }
        for n in 1..=2 {
            share.found(later + n * LIFE, 2000, 0);
        }
        assert_eq!(share.bytes(), usize::MAX);
    }
}
