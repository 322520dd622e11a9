//! How often an address that has not shown itself is sent checks, by all agents together (RFC 8445 §19.5.1).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered at a time; while so many are being checked, new ones wait.
pub const MAX_CONTACTS: usize = 4096;

/// How many checks an address may be sent at once: the first of a few sessions that begin together behind one NAT.
const BURST: u32 = 32;

/// The mean time between two checks after that. A single agent's Ta is as long.
const INTERVAL: Duration = Duration::from_millis(50);

/// How many places an address gets back when a pair is answered: that of the check which was answered, and those of the
/// other pairs of the same session, of which most are never answered. So a crowd behind one NAT, or on one machine, is
/// checked without delay.
const RETURNED: u32 = 8;

/// When an address that is not remembered yet may be tried again, if there is no room to remember it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A budget of checks for each address that peers name, shared by all agents that hold a clone of it.
///
/// One agent keeps to its pace (RFC 8445 §14.2), but whoever makes a thousand sessions with a server, all of which name
/// one victim, would have it send a thousand times as much. Checks to an address from which a Binding message with
/// valid MESSAGE-INTEGRITY came need no budget: that peer is there, and wants them. The first answer on a pair gives
/// its address some of the budget back. IPv6 addresses count by their /64.
#[derive(Clone, Debug, Default)]
pub struct ContactBudget {
    shared: Arc<Mutex<Contacts>>,
}

#[derive(Debug, Default)]
struct Contacts {
    /// When the budget of an address will be full again.
    full_at: HashMap<IpAddr, Instant>,
    /// Checks that had to wait.
    postponed: u64,
}

impl ContactBudget {
    /// Takes the place of one check to `ip`.
    ///
    /// # Errors
    /// When to ask again, if there is none now.
    pub fn take(&self, now: Instant, ip: IpAddr) -> Result<(), Instant> {
        // Nothing panics half way through a change.
        let mut contacts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = contacts.take(now, ip);
        contacts.postponed += u64::from(taken.is_err());
        taken
    }

    /// The first check of a pair with a peer at `ip` was answered, with a valid MESSAGE-INTEGRITY.
    pub fn answered(&self, now: Instant, ip: IpAddr) {
        let mut contacts = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = contacts.full_at.get_mut(&target(ip)) {
            let earlier = full_at.checked_sub(INTERVAL * RETURNED);
            *full_at = earlier.unwrap_or(now).max(now);
        }
    }

    /// How many checks had to wait so far.
    pub fn postponed(&self) -> u64 {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).postponed
    }
}

impl Contacts {
    fn take(&mut self, now: Instant, ip: IpAddr) -> Result<(), Instant> {
        let target = target(ip);
        if let Some(full_at) = self.full_at.get_mut(&target) {
            let from = (*full_at).max(now);
            let reserve = INTERVAL * (BURST - 1);
            if from > now + reserve {
                return Err(from - reserve);
            }
            *full_at = from + INTERVAL;
            return Ok(());
        }
        if self.full_at.len() >= MAX_CONTACTS {
            // Who has been left alone for long enough is as good as new.
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_CONTACTS {
                return Err(now + PATIENCE);
            }
        }
        self.full_at.insert(target, now + INTERVAL);
        Ok(())
    }
}

/// Who an address belongs to, as far as it tells: one of IPv6 is free to choose half of its own.
fn target(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_budget_and_its_neighbour_another() {
        let start = antiphon_netsim::start();
        let budget = ContactBudget::default();
        let clone = budget.clone();
        let victim = IpAddr::from([192, 0, 2, 1]);
        let mut sent = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            while budget.take(now, victim).is_ok() || clone.take(now, victim).is_ok() {
                sent += 1;
            }
            let again = budget.take(now, victim).unwrap_err();
            assert!(again > now && again <= now + INTERVAL);
        }
        assert_eq!(sent, BURST + 200 - 1, "however many ask");
        assert!(budget.postponed() > 10_000);
        assert!(budget.take(start, IpAddr::from([192, 0, 2, 2])).is_ok());
        let in_one_network = (0..1000u16).filter(|n| {
            let ip = IpAddr::from([0x2001, 0xdb8, 0, 7, *n, 1, 2, 3]);
            budget.take(start, ip).is_ok()
        });
        assert_eq!(in_one_network.count(), BURST as usize);
    }

    #[test]
    fn mend19_a_crowd_at_one_address_whose_peers_answer_does_not_wait() {
        let start = antiphon_netsim::start();
        let budget = ContactBudget::default();
        let nat = IpAddr::from([192, 0, 2, 1]);
        // A thousand sessions in a second: four checks of each, of which one is answered.
        for session in 0..1000 {
            let now = start + Duration::from_millis(session);
            assert!((0..4).all(|_| budget.take(now, nat).is_ok()), "session {session}");
            budget.answered(now, nat);
        }
        assert_eq!(budget.postponed(), 0);
        // One who answers helps a flood by no more than that.
        let now = start + Duration::from_secs(1);
        while budget.take(now, nat).is_ok() {}
        budget.answered(now, nat);
        assert_eq!(
            (0..100).filter(|_| budget.take(now, nat).is_ok()).count(),
            RETURNED as usize
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let start = antiphon_netsim::start();
        let budget = ContactBudget::default();
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let many = MAX_CONTACTS as u32;
        let taken = |now, range: std::ops::Range<u32>| range.filter(|n| budget.take(now, address(*n)).is_ok()).count();
        assert_eq!(taken(start, 0..2 * many), MAX_CONTACTS, "no room for more");
        assert_eq!(
            taken(start + PATIENCE, 2 * many..4 * many),
            MAX_CONTACTS,
            "the first are forgotten"
        );
        let contacts = budget.shared.lock().unwrap();
        assert_eq!(contacts.full_at.len(), MAX_CONTACTS);
    }
}
