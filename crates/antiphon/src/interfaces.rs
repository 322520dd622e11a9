//! The machine's own addresses, and word of their changes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::address_changes::AddressChanges;

/// Changes come in bursts: an interface that comes up gets several addresses.
const SETTLE: Duration = Duration::from_millis(20);
/// A new IPv6 address cannot be bound before duplicate address detection is done with it (RFC 4862 §5.4), which nothing
/// announces: the list is read again this long after a change.
const DETECTION: Duration = Duration::from_secs(2);

/// Which of the machine's addresses become candidates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceFilter {
    /// Loopback addresses too. Browsers gather none of their own, but reach ours: the page of `antiphon serve` relies on it.
    pub loopback: bool,
    /// IPv6 addresses too.
    pub ipv6: bool,
    /// If set, these addresses and no others.
    pub only: Option<Vec<IpAddr>>,
    /// If set, the addresses of interfaces with these names (`eth0`, `wlan0`) and no others.
    pub interfaces: Option<Vec<String>>,
    /// Interfaces with these names are left out, for instance those of containers (`docker0`).
    pub except: Vec<String>,
}

impl Default for InterfaceFilter {
    fn default() -> Self {
        Self {
            loopback: false,
            ipv6: true,
            only: None,
            interfaces: None,
            except: Vec::new(),
        }
    }
}

impl InterfaceFilter {
    fn takes(&self, name: &str, address: IpAddr) -> bool {
        let named = |names: &[String]| names.iter().any(|n| n == name);
        if named(&self.except) || self.interfaces.as_deref().is_some_and(|names| !named(names)) {
            return false;
        }
        if let Some(only) = &self.only {
            return only.contains(&address);
        }
        if address.is_loopback() {
            return self.loopback && (self.ipv6 || address.is_ipv4());
        }
        match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
            // A link-local address means nothing without its scope, and deprecated site-local ones (RFC 8421 §3) go unused.
            IpAddr::V6(v6) => self.ipv6 && !v6.is_unicast_link_local() && v6.segments()[0] & 0xffc0 != 0xfec0,
        }
    }
}

/// Every interface as the system lists it: one entry per address.
pub(crate) type Interfaces = Arc<[if_addrs::Interface]>;

/// Asks the system.
fn list() -> Interfaces {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list the interfaces");
        Vec::new()
    });
    found.into()
}

/// The addresses of `found` that pass `filter`, in a stable order: IPv4 before IPv6, loopback last.
pub(crate) fn select(filter: &InterfaceFilter, found: &[if_addrs::Interface]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = found
        .iter()
        .filter(|interface| filter.takes(&interface.name, interface.ip()))
        .map(if_addrs::Interface::ip)
        .collect();
    addresses.sort_by_key(|a| (a.is_loopback(), a.is_ipv6(), *a));
    addresses.dedup();
    addresses
}

/// The addresses that pass `filter` at this moment.
pub(crate) fn now(filter: &InterfaceFilter) -> Vec<IpAddr> {
    select(filter, &list())
}

/// The list of interfaces, read again whenever the system says that it may have changed, for all who ask.
#[derive(Clone)]
pub(crate) struct InterfaceWatch {
    list: watch::Receiver<Interfaces>,
    listeners: Arc<Listeners>,
}

impl std::fmt::Debug for InterfaceWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterfaceWatch").finish_non_exhaustive()
    }
}

/// Who wants to be told when there is something else.
pub(crate) trait Listener: Send + Sync {
    /// Must not wait.
    fn interfaces_changed(&self);
}

/// All who want to, and are there still.
#[derive(Default)]
struct Listeners(Mutex<Vec<Weak<dyn Listener>>>);

impl Listeners {
    fn add(&self, listener: Weak<dyn Listener>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            // Before it grows.
            all.retain(|listener| listener.strong_count() > 0);
        }
        all.push(listener);
    }

    fn tell(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|listener| {
            listener
                .upgrade()
                .map(|listener| listener.interfaces_changed())
                .is_some()
        });
    }
}

impl InterfaceWatch {
    /// Reads the list and follows the system's word of addresses that come and go. The task ends with the last receiver.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start() -> Self {
        let (changes, receiver) = watch::channel(list());
        let listeners = Arc::new(Listeners::default());
        tokio::spawn(follow(changes, listeners.clone()));
        Self {
            list: receiver,
            listeners,
        }
    }

    /// Has this one told whenever there is something else, as long as it is there.
    pub(crate) fn tell(&self, listener: Weak<dyn Listener>) {
        self.listeners.add(listener);
    }

    /// What there is now.
    pub(crate) fn list(&self) -> Interfaces {
        // Nobody follows: the system does not tell, or the task is gone with its runtime.
        if self.list.has_changed().is_err() {
            return list();
        }
        self.list.borrow().clone()
    }
}

/// Keeps the list as the system has it.
async fn follow(changes: watch::Sender<Interfaces>, listeners: Arc<Listeners>) {
    let read = || {
        let found = list();
        let differs = changes.send_if_modified(|known| {
            let differs = *known != found;
            if differs {
                *known = found;
            }
            differs
        });
        if differs {
            listeners.tell();
        }
    };
    let mut system = match AddressChanges::new() {
        Ok(system) => system,
        Err(error) => {
            tracing::warn!(%error, "the system does not tell of changing addresses");
            return;
        }
    };
    // What changed before the system was asked to tell.
    read();
    loop {
        let told = tokio::select! {
            () = changes.closed() => return,
            told = system.next() => told,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the system tells of changing addresses no more");
            return;
        }
        // What else belongs to this change, then one word for all of it.
        while let Ok(Ok(())) = tokio::time::timeout(SETTLE, system.next()).await {}
        read();
        let _ = tokio::time::timeout(DETECTION, async {
            while let Ok(()) = system.next().await {
                read();
            }
        })
        .await;
        read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_by_kind() {
        let filter = InterfaceFilter::default();
        let takes = |text: &str| filter.takes("eth0", text.parse().unwrap());
        assert!(takes("192.0.2.1") && takes("2001:db8::1"));
        assert!(
            !takes("127.0.0.1") && !takes("::1") && !takes("fe80::1") && !takes("169.254.3.4") && !takes("fec0::1")
        );
        let filter = InterfaceFilter {
            loopback: true,
            ipv6: false,
            ..InterfaceFilter::default()
        };
        assert!(filter.takes("lo", "127.0.0.1".parse().unwrap()) && !filter.takes("lo", "::1".parse().unwrap()));
    }

    #[test]
    fn filter_by_name() {
        let address = "192.0.2.1".parse().unwrap();
        let filter = InterfaceFilter {
            interfaces: Some(vec!["eth0".into(), "wlan0".into()]),
            except: vec!["wlan0".into()],
            ..InterfaceFilter::default()
        };
        assert!(filter.takes("eth0", address));
        assert!(!filter.takes("wlan0", address) && !filter.takes("docker0", address));
    }

    #[tokio::test]
    async fn all_who_ask_share_one_list() {
        let watch = InterfaceWatch::start();
        let first = watch.list();
        assert!(first.iter().any(|interface| interface.ip().is_loopback()), "{first:?}");
        assert!(Arc::ptr_eq(&first, &watch.clone().list()));
    }

    #[test]
    fn without_a_task_the_system_is_asked() {
        let (sender, list) = watch::channel(Interfaces::from([]));
        drop(sender);
        let listeners = Arc::default();
        assert!(!InterfaceWatch { list, listeners }.list().is_empty());
    }
}
