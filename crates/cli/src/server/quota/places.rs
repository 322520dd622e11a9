//! How many may be here at a time: in all, and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Bounds for what strangers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Limits {
    /// Together.
    pub(in crate::server) all: usize,
    /// From one address (IPv6: one network of 64 bits, which is what one customer gets).
    each: usize,
    /// From this machine itself.
    local: usize,
}

impl Limits {
    /// `each` is the share of one address. Without one it is a quarter of all, so that no single stranger keeps everybody out; but
    /// behind a proxy on this machine everybody comes from 127.0.0.1 or ::1, which may then have all.
    pub(in crate::server) fn new(all: usize, each: Option<usize>) -> Self {
        let all = all.max(1);
        Self {
            all,
            each: each.unwrap_or(all.div_ceil(4)).clamp(1, all),
            local: each.unwrap_or(all).clamp(1, all),
        }
    }

    /// The share of this address.
    pub(in crate::server) fn of(&self, address: IpAddr) -> usize {
        let from_here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&address);
        if from_here { self.local } else { self.each }
    }
}

/// What counts as one address.
pub(in crate::server) fn address_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        other => other,
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum Full {
    #[error("the server is full: try again later")]
    All,
    #[error("too many from your address: try again later")]
    Address,
}

/// Places of one kind.
#[derive(Clone, Debug)]
pub(in crate::server) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    /// Of all; changed only under the lock above.
    taken: watch::Sender<usize>,
}

impl Places {
    pub(in crate::server) fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            by_address: Mutex::default(),
            taken: watch::Sender::new(0),
        }))
    }

    /// Takes a place.
    pub(in crate::server) fn enter(&self, from: IpAddr) -> Result<Place, Full> {
        let address = address_of(from);
        let mut by_address = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.get(&address).copied().unwrap_or(0);
        if here >= self.0.limits.of(address) && here < self.0.limits.all {
            return Err(Full::Address);
        }
        if self.taken() >= self.0.limits.all {
            return Err(Full::All);
        }
        by_address.insert(address, here + 1);
        self.0.taken.send_modify(|taken| *taken += 1);
        Ok(Place {
            places: self.0.clone(),
            address,
        })
    }

    /// How many are taken.
    pub(in crate::server) fn taken(&self) -> usize {
        *self.0.taken.borrow()
    }

    /// Waits until all are free.
    pub(in crate::server) async fn emptied(&self) {
        // An error means that the sender is gone, and it is here.
        _ = self.0.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(in crate::server) struct Place {
    places: Arc<Inner>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.address);
            }
        }
        self.places.taken.send_modify(|taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn mend15_one_address_takes_its_share_and_no_more() {
        let places = Places::new(Limits::new(8, None));
        let mut held: Vec<Place> = (0..2).map(|_| places.enter(ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(places.enter(ip("192.0.2.1")).unwrap_err(), Full::Address);
        assert_eq!(places.enter(ip("::ffff:192.0.2.1")).unwrap_err(), Full::Address);
        // A customer has 2^64 addresses of IPv6.
        held.push(places.enter(ip("2001:db8::1")).unwrap());
        held.push(places.enter(ip("2001:db8::ffff:2")).unwrap());
        assert_eq!(places.enter(ip("2001:db8::3")).unwrap_err(), Full::Address);
        held.push(places.enter(ip("2001:db8:0:1::3")).unwrap());
        // A proxy on this machine may fill what is left.
        held.extend((0..3).map(|_| places.enter(ip("127.0.0.1")).unwrap()));
        assert_eq!(places.enter(ip("127.0.0.1")).unwrap_err(), Full::All);
        assert_eq!(places.enter(ip("198.51.100.1")).unwrap_err(), Full::All);
        held.clear();
        places.emptied().await;
        assert!(
            places.0.by_address.lock().unwrap().is_empty(),
            "nothing is kept of who has left"
        );
    }

    #[test]
    fn mend15_a_share_that_was_asked_for_holds_for_loopback_too() {
        let places = Places::new(Limits::new(8, Some(1)));
        let _held = places.enter(ip("127.0.0.1")).unwrap();
        assert_eq!(places.enter(ip("127.0.0.1")).unwrap_err(), Full::Address);
        assert!(places.enter(ip("127.0.0.2")).is_ok());
    }
}
