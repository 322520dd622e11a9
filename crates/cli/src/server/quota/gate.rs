//! The TCP connections that are open, and which of them makes room for a newcomer.
//!
//! A connection that does nothing costs a stranger nothing, so refusing newcomers would let him keep everybody out. Instead the
//! one that has waited longest ends: of the newcomer's own address if that has its share, else of the address that holds most.
//! Connections with a request under way and WebSockets are left alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::complaint::Complaint;
use super::places::{Full, Limits, address_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Says nothing, or not yet a whole request; the number grows with time.
    Waiting(u64),
    /// A request is being answered.
    Busy,
    /// A WebSocket, which has limits of its own.
    Upgraded,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    state: State,
    end: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Book {
    /// Numbers connections and moments.
    next: u64,
    connections: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
}

impl Book {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.connections.remove(&id)?;
        if let Some(here) = self.by_address.get_mut(&entry.address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }

    /// Ends the connection that has waited longest: of `address`, or of the address with the most.
    fn displace(&mut self, address: Option<IpAddr>) -> bool {
        let waiting = self.connections.iter().filter_map(|(id, entry)| match entry.state {
            State::Waiting(since) if address.is_none_or(|only| only == entry.address) => {
                let crowd = self.by_address.get(&entry.address).copied().unwrap_or(0);
                Some((std::cmp::Reverse(crowd), since, *id))
            }
            _ => None,
        });
        let Some((.., id)) = waiting.min() else { return false };
        if let Some(entry) = self.remove(id) {
            // A permit stays if nobody waits for it yet.
            entry.end.notify_one();
        }
        true
    }
}

/// The book of all connections.
#[derive(Debug)]
pub(in crate::server) struct Gate {
    limits: Limits,
    book: Mutex<Book>,
    crowded: Complaint,
}

impl Gate {
    pub(in crate::server) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            book: Mutex::default(),
            crowded: Complaint::default(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in; another one may end for it.
    pub(in crate::server) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Arc<Pass>, Full> {
        let address = address_of(from);
        let mut book = self.book();
        let here = book.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.limits.of(address) {
            self.complain("one address has its share of the connections: those that wait longest end");
            if !book.displace(Some(address)) {
                return Err(Full::Address);
            }
        }
        if book.connections.len() >= self.limits.all {
            self.complain("all places for connections are taken: those that wait longest end");
            if !book.displace(None) {
                return Err(Full::All);
            }
        }
        let id = book.number();
        let end = Arc::new(Notify::new());
        let entry = Entry {
            address,
            state: State::Waiting(id),
            end: end.clone(),
        };
        book.connections.insert(id, entry);
        *book.by_address.entry(address).or_default() += 1;
        let gate = self.clone();
        Ok(Arc::new(Pass { gate, id, end }))
    }

    fn complain(&self, what: &'static str) {
        if let Some(times) = self.crowded.say() {
            tracing::warn!(times, places = self.limits.all, "{what}");
        }
    }

    /// Ends one that only waits, if there is one: descriptors ran out.
    pub(in crate::server) fn make_room(&self) -> bool {
        self.book().displace(None)
    }
}

/// A connection's entry in the book; it goes with the last clone.
#[derive(Debug)]
pub(in crate::server) struct Pass {
    gate: Arc<Gate>,
    id: u64,
    end: Arc<Notify>,
}

impl Pass {
    /// Completes when the connection has to make room for another one.
    pub(in crate::server) async fn displaced(&self) {
        self.end.notified().await;
    }

    /// A request has come.
    pub(in crate::server) fn busy(&self) {
        self.set(|_| State::Busy);
    }

    /// It has been answered; the next one may come.
    pub(in crate::server) fn waiting(&self) {
        self.set(State::Waiting);
    }

    /// The connection is a WebSocket from now on.
    pub(in crate::server) fn upgraded(&self) {
        self.set(|_| State::Upgraded);
    }

    /// Whether no request is under way.
    pub(in crate::server) fn is_waiting(&self) -> bool {
        let book = self.gate.book();
        book.connections
            .get(&self.id)
            .is_none_or(|entry| matches!(entry.state, State::Waiting(_)))
    }

    fn set(&self, state: impl FnOnce(u64) -> State) {
        let mut book = self.gate.book();
        let now = book.number();
        if let Some(entry) = book.connections.get_mut(&self.id) {
            entry.state = state(now);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.book().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_out(pass: &Pass) -> bool {
        pass.displaced().now_or_never().is_some()
    }

    #[test]
    fn mend15_who_waits_longest_makes_room() {
        let gate = Gate::new(Limits::new(8, None));
        let [a, b] = [(); 2].map(|()| gate.enter(ip("192.0.2.1")).unwrap());
        a.busy();
        let c = gate.enter(ip("192.0.2.1")).unwrap();
        assert!(!is_out(&a) && is_out(&b) && !is_out(&c));
        // A request that was answered is newer than a connection that never said anything.
        a.waiting();
        let d = gate.enter(ip("192.0.2.1")).unwrap();
        assert!(!is_out(&a) && is_out(&c));
        a.busy();
        d.upgraded();
        assert_eq!(
            gate.enter(ip("192.0.2.1")).unwrap_err(),
            Full::Address,
            "both are in use"
        );
        assert!(gate.enter(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn mend15_a_crowd_makes_room_for_a_guest() {
        let gate = Gate::new(Limits::new(8, None));
        let guest = gate.enter(ip("192.0.2.9")).unwrap();
        // Through loopback comes whoever likes, as through a proxy.
        let crowd: Vec<_> = (0..3000).map(|_| gate.enter(ip("127.0.0.1")).unwrap()).collect();
        assert!(!is_out(&guest));
        assert_eq!(crowd.iter().filter(|pass| !is_out(pass)).count(), 7);
        let another = gate.enter(ip("192.0.2.10")).unwrap();
        assert!(!is_out(&guest) && !is_out(&another));
        drop((crowd, guest, another));
        let book = gate.book();
        assert!(book.connections.is_empty() && book.by_address.is_empty());
    }
}
