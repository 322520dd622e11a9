//! How often one address may try something: codes at which nobody waits, and coming into rooms. Who tries without a pause is slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::places::address_of;

/// Codes that are tried at once. Who comes first to a meeting uses one up until the other end is there.
const MAX_CODES: u32 = 20;
/// A try of a code comes back in this time: 5760 a day, of 2^50 codes that `antiphon send` makes up.
const CODE_EVERY: Duration = Duration::from_secs(15);
/// Who comes into rooms at once, let in or not: a room full of people behind one address, and more.
const MAX_JOINS: u32 = 60;
/// Another one may come in this time.
const JOIN_EVERY: Duration = Duration::from_secs(1);
/// What a loopback address may try at once, behind which a proxy may have everybody.
const MAX_LOCAL: u32 = 1000;
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// What one address has used up, as of a time.
#[derive(Clone, Copy, Debug)]
struct Used {
    tries: u32,
    since: Instant,
}

impl Used {
    /// What is left of it, as one try comes back `every` so often.
    fn drained(self, now: Instant, every: Duration) -> Self {
        let returned = now.saturating_duration_since(self.since).as_nanos() / every.as_nanos();
        let returned = u32::try_from(returned).unwrap_or(u32::MAX);
        Self {
            tries: self.tries.saturating_sub(returned),
            since: self.since + every.saturating_mul(returned.min(self.tries)),
        }
    }
}

/// The tries of all addresses.
#[derive(Debug)]
pub(in crate::server) struct Tries {
    most: u32,
    every: Duration,
    used: Mutex<HashMap<IpAddr, Used>>,
}

impl Tries {
    /// Of codes.
    pub(in crate::server) fn codes() -> Self {
        Self::new(MAX_CODES, CODE_EVERY)
    }

    /// Of coming into rooms.
    pub(in crate::server) fn joins() -> Self {
        Self::new(MAX_JOINS, JOIN_EVERY)
    }

    fn new(most: u32, every: Duration) -> Self {
        Self {
            most,
            every,
            used: Mutex::default(),
        }
    }

    /// One more try from there; `false` if it had too many.
    pub(in crate::server) fn take(&self, now: Instant, from: IpAddr) -> bool {
        let mut addresses = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, used| used.drained(now, self.every).tries > 0);
        }
        if addresses.len() >= MAX_ADDRESSES {
            // Whoever has thousands of addresses has as many first tries: these gain them nothing more.
            addresses.clear();
        }
        let most = if from.is_loopback() { MAX_LOCAL } else { self.most };
        let fresh = Used { tries: 0, since: now };
        let used = addresses.entry(address_of(from)).or_insert(fresh);
        *used = used.drained(now, self.every);
        if used.tries == 0 {
            used.since = now;
        }
        let allowed = used.tries < most;
        used.tries += u32::from(allowed);
        allowed
    }

    /// It was no guess: the other end was there, or came.
    pub(in crate::server) fn give_back(&self, from: IpAddr) {
        let mut addresses = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = addresses.get_mut(&address_of(from)) {
            used.tries = used.tries.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(guesses: &Tries, now: Instant, from: &str) -> usize {
        (0..10_000).filter(|_| guesses.take(now, from.parse().unwrap())).count()
    }

    #[test]
    fn mend18_guesses_at_codes_are_slow_for_each_address() {
        let (guesses, now) = (Tries::codes(), Instant::now());
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
        let (guesses, now) = (Tries::codes(), Instant::now());
        let from = "203.0.113.1".parse().unwrap();
        for _ in 0..1000 {
            assert!(guesses.take(now, from));
            guesses.give_back(from);
        }
        for n in 0..100_000u32 {
            assert!(guesses.take(now, std::net::Ipv4Addr::from(n).into()));
        }
        assert!(guesses.used.lock().unwrap().len() <= MAX_ADDRESSES);
    }

    #[test]
    fn a_room_comes_at_once_and_then_one_after_the_other() {
        let (joins, now) = (Tries::joins(), Instant::now());
        assert_eq!(tries(&joins, now, "203.0.113.1"), 60);
        assert_eq!(tries(&joins, now + Duration::from_secs(5), "203.0.113.1"), 5);
        assert_eq!(tries(&joins, now, "127.0.0.1"), 1000, "a proxy may have everybody");
    }
}
