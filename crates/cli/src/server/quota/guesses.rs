//! How often one address may try codes at which nobody waits: whoever guesses is slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::places::address_of;

/// Tries at once. Who comes first to a meeting uses one up until the other end is there.
const TRIES: u32 = 20;
/// Those of a loopback address, behind which a proxy may have everybody.
const LOCAL_TRIES: u32 = 1000;
/// One comes back in this time: 5760 a day, of 2^50 codes that `antiphon send` makes up.
const RETURN: Duration = Duration::from_secs(15);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// What one address has used up, as of a time.
#[derive(Clone, Copy, Debug)]
struct Used {
    tries: u32,
    since: Instant,
}

impl Used {
    fn drained(self, now: Instant) -> Self {
        let returned = now.saturating_duration_since(self.since).as_nanos() / RETURN.as_nanos();
        let returned = u32::try_from(returned).unwrap_or(u32::MAX);
        Self {
            tries: self.tries.saturating_sub(returned),
            since: self.since + RETURN.saturating_mul(returned.min(self.tries)),
        }
    }
}

/// The tries of all addresses.
#[derive(Debug, Default)]
pub(in crate::server) struct Guesses(Mutex<HashMap<IpAddr, Used>>);

impl Guesses {
    /// One more try from there; `false` if it had too many.
    pub(in crate::server) fn take(&self, now: Instant, from: IpAddr) -> bool {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, used| used.drained(now).tries > 0);
        }
        if addresses.len() >= MAX_ADDRESSES {
            // Whoever has thousands of addresses has as many first tries: these gain them nothing more.
            addresses.clear();
        }
        let most = if from.is_loopback() { LOCAL_TRIES } else { TRIES };
        let fresh = Used { tries: 0, since: now };
        let used = addresses.entry(address_of(from)).or_insert(fresh);
        *used = used.drained(now);
        if used.tries == 0 {
            used.since = now;
        }
        let allowed = used.tries < most;
        used.tries += u32::from(allowed);
        allowed
    }

    /// It was no guess: the other end was there, or came.
    pub(in crate::server) fn give_back(&self, from: IpAddr) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = addresses.get_mut(&address_of(from)) {
            used.tries = used.tries.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(guesses: &Guesses, now: Instant, from: &str) -> usize {
        (0..10_000).filter(|_| guesses.take(now, from.parse().unwrap())).count()
    }

    #[test]
    fn mend18_guesses_at_codes_are_slow_for_each_address() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        assert_eq!(tries(&guesses, now, "203.0.113.1"), 20);
        assert_eq!(tries(&guesses, now, "203.0.113.2"), 20, "another address has its own");
        assert_eq!(tries(&guesses, now, "2001:db8::1"), 20);
        assert_eq!(tries(&guesses, now, "2001:db8::2"), 0, "one customer has one network");
        // An hour of guessing without a pause: four a minute.
        let hour = (1..=36_000)
            .filter(|n| guesses.take(now + Duration::from_millis(100) * *n, "203.0.113.1".parse().unwrap()));
        assert_eq!(hour.count(), 240);
        let later = now + Duration::from_secs(100_000);
        assert_eq!(
            tries(&guesses, later, "203.0.113.1"),
            20,
            "a pause gives back no more than there was"
        );
    }

    #[test]
    fn who_meets_is_no_guesser_and_the_table_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let from = "203.0.113.1".parse().unwrap();
        for _ in 0..1000 {
            assert!(guesses.take(now, from));
            guesses.give_back(from);
        }
        for n in 0..100_000u32 {
            assert!(guesses.take(now, std::net::Ipv4Addr::from(n).into()));
        }
        assert!(guesses.0.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
