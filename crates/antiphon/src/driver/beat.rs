//! How late a peer may be served whose time is far away, so that many are served together.
//!
//! A peer that has nothing to say asks for consent every five seconds, and SCTP looks now and then whether the other end is there. To
//! wake a thread for each of a thousand such peers at its own moment costs most of what they use of a processor: the system calls,
//! and the code and tables that are out of the caches each time. None of them needs its moment: the drivers of an
//! [`Api`](crate::Api) have a common beat, and what is a second away or more waits for it, by a thirtieth of that time at most.

use std::time::{Duration, Instant};

/// What is at least so far away waits for the next multiple of so long.
const SLOTS: [(Duration, Duration); 3] = [
    (Duration::from_millis(4096), Duration::from_millis(128)),
    (Duration::from_millis(2048), Duration::from_millis(64)),
    (Duration::from_millis(1024), Duration::from_millis(32)),
];

/// The beat of all drivers of an [`Api`](crate::Api).
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    start: Instant,
}

impl Beat {
    pub(super) fn new(start: Instant) -> Self {
        Self { start }
    }

    /// When to do what is wanted at `at`: never earlier, and what is near at that very time.
    pub(super) fn put_off(self, at: Instant, now: Instant) -> Instant {
        let distance = at.saturating_duration_since(now);
        let Some((_, slot)) = SLOTS.iter().find(|(least, _)| distance >= *least) else {
            return at;
        };
        let since = at.saturating_duration_since(self.start).as_nanos();
        let past = since % slot.as_nanos();
        // Less than a slot, which is far from what 64 bits can say.
        at + Duration::from_nanos(((slot.as_nanos() - past) % slot.as_nanos()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_far_away_waits_a_little_and_never_the_other_way(now in 0u64..10_000_000, after in 0u64..100_000_000) {
            let start = antiphon_netsim::start();
            let beat = Beat::new(start);
            let now = start + Duration::from_micros(now);
            let at = now + Duration::from_micros(after);
            let done = beat.put_off(at, now);
            prop_assert!(done >= at);
            prop_assert!(done - at <= (at - now) / 30, "{:?} late of {:?}", done - at, at - now);
            prop_assert!(after > 1_000_000 || done == at);
        }
    }

    #[test]
    fn peers_that_want_about_the_same_time_have_the_same() {
        let start = antiphon_netsim::start();
        let beat = Beat::new(start);
        let ms = |ms| start + Duration::from_millis(ms);
        let now = ms(1000);
        let done: Vec<_> = (5990..=6010).map(|at| beat.put_off(ms(at), now)).collect();
        assert!(done.iter().all(|at| *at == ms(47 * 128)), "{done:?}");
        assert_eq!(beat.put_off(ms(47 * 128), now), ms(47 * 128), "it is there already");
    }
}
