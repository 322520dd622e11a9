//! The deadlines of a machine, by name.

use std::marker::PhantomData;
use std::time::Instant;

/// The earliest of some deadlines, if there is one.
#[inline]
pub fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    let mut first: Option<Instant> = None;
    // Most are `None`, and this is asked for each packet: an iterator that is flattened costs three times as much.
    for at in deadlines {
        if let Some(at) = at
            && first.is_none_or(|first| at < first)
        {
            first = Some(at);
        }
    }
    first
}

/// A fixed set of named timers. `K` is an enum whose discriminants are `0..N`.
///
/// ```
/// use antiphon_sansio::TimerTable;
/// # use std::time::{Duration, Instant};
/// #[derive(Clone, Copy)]
/// enum Timer { Retransmit, Consent }
/// impl From<Timer> for usize { fn from(t: Timer) -> usize { t as usize } }
///
/// # let now = Instant::now();
/// let mut timers = TimerTable::<Timer, 2>::default();
/// timers.set(Timer::Consent, now + Duration::from_secs(5));
/// assert_eq!(timers.next(), Some(now + Duration::from_secs(5)));
/// assert!(!timers.expire(Timer::Consent, now));
/// assert!(timers.expire(Timer::Consent, now + Duration::from_secs(5)));
/// assert_eq!(timers.next(), None);
/// # let _ = Timer::Retransmit;
/// ```
#[derive(Clone, Debug)]
pub struct TimerTable<K, const N: usize> {
    deadlines: [Option<Instant>; N],
    key: PhantomData<fn(K)>,
}

impl<K, const N: usize> Default for TimerTable<K, N> {
    fn default() -> Self {
        Self {
            deadlines: [None; N],
            key: PhantomData,
        }
    }
}

impl<K: Into<usize>, const N: usize> TimerTable<K, N> {
    /// Starts or restarts a timer.
    pub fn set(&mut self, timer: K, deadline: Instant) {
        self.deadlines[timer.into()] = Some(deadline);
    }

    /// Stops a timer.
    pub fn stop(&mut self, timer: K) {
        self.deadlines[timer.into()] = None;
    }

    /// Stops every timer.
    pub fn stop_all(&mut self) {
        self.deadlines = [None; N];
    }

    /// When a timer runs out, if it runs.
    pub fn get(&self, timer: K) -> Option<Instant> {
        self.deadlines[timer.into()]
    }

    /// If the timer has run out by `now`, stops it and says so.
    pub fn expire(&mut self, timer: K, now: Instant) -> bool {
        let deadline = &mut self.deadlines[timer.into()];
        let due = deadline.is_some_and(|at| at <= now);
        if due {
            *deadline = None;
        }
        due
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        earliest(self.deadlines)
    }
}
