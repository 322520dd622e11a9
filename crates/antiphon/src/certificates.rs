//! Certificates made ahead: each connection shows one of its own, and does not wait until it is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use antiphon_dtls::{Certificate, CertificateParams};
use antiphon_peer_connection as core;

use crate::error::Error;

/// How many wait for connections to come.
const AHEAD: usize = 4;

/// Where connections get their certificates from.
///
/// RFC 8827 §6.5: a new key pair for every call by default, so that two peers cannot tell by it that they talk to the same
/// end.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The application's, for every connection.
    given: Option<Arc<Certificate>>,
    stock: Mutex<Stock>,
}

#[derive(Debug, Default)]
struct Stock {
    ready: Vec<Arc<Certificate>>,
    /// A task makes more.
    filling: bool,
}

impl Certificates {
    /// With `given`, every connection shows that. Without, one is made now.
    ///
    /// # Errors
    /// If none can be made.
    pub(crate) fn new(given: Option<Arc<Certificate>>) -> Result<Arc<Self>, Error> {
        let ready = match given {
            Some(_) => Vec::new(),
            None => vec![make()?],
        };
        Ok(Arc::new(Self {
            given,
            stock: Mutex::new(Stock { ready, filling: false }),
        }))
    }

    /// One for a new connection, and another is made for the next.
    ///
    /// # Errors
    /// If none is ready, and none can be made.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Arc<Certificate>, Error> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let (ready, fills) = {
            let mut stock = self.stock();
            (stock.ready.pop(), !std::mem::replace(&mut stock.filling, true))
        };
        if fills {
            tokio::spawn(fill(Arc::downgrade(self)));
        }
        ready.map_or_else(make, Ok)
    }

    /// The mutex is held for a push or a pop: keys are made outside.
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one that was made ahead. Whether more are wanted.
    fn put(&self, made: Result<Arc<Certificate>, Error>) -> bool {
        let mut stock = self.stock();
        // Who comes when none can be made is told why.
        let failed = made.is_err();
        stock.ready.extend(made);
        stock.filling = !failed && stock.ready.len() < AHEAD;
        stock.filling
    }
}

fn make() -> Result<Arc<Certificate>, Error> {
    let made = Certificate::generate(&CertificateParams::default()).map_err(core::Error::Certificate)?;
    Ok(Arc::new(made))
}

/// Makes one at a time, and lets others run in between.
async fn fill(certificates: Weak<Certificates>) {
    while certificates
        .upgrade()
        .is_some_and(|certificates| certificates.put(make()))
    {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_connection_has_one_of_its_own_unless_one_is_given() {
        let certificates = Certificates::new(None).unwrap();
        let mut taken: Vec<_> = (0..3 * AHEAD).map(|_| certificates.take().unwrap()).collect();
        for _ in 0..4 * AHEAD {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            certificates.stock().ready.len(),
            AHEAD,
            "made ahead, and no more than that"
        );
        assert!(!certificates.stock().filling);
        taken.extend((0..AHEAD).map(|_| certificates.take().unwrap()));
        let mut keys: Vec<_> = taken.iter().map(|certificate| certificate.der().clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4 * AHEAD);

        let given = taken.remove(0);
        let certificates = Certificates::new(Some(given.clone())).unwrap();
        assert!(Arc::ptr_eq(&certificates.take().unwrap(), &given));
        assert!(Arc::ptr_eq(&certificates.take().unwrap(), &given));
    }
}
