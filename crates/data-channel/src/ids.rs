//! Stream ids of our parity.

use std::collections::BTreeSet;

/// Stream ids of our parity (RFC 8832 §6): even for the DTLS client, odd for the server. The lowest free one goes
/// first, so that a peer with few streams is enough as long as possible.
#[derive(Debug)]
pub(crate) struct IdPool {
    parity: u16,
    next: u32,
    returned: BTreeSet<u16>,
}

impl IdPool {
    pub(crate) fn new(dtls_client: bool) -> Self {
        let parity = u16::from(!dtls_client);
        Self {
            parity,
            next: u32::from(parity),
            returned: BTreeSet::new(),
        }
    }

    /// Whether we, and not the peer, give out this id.
    pub(crate) fn is_ours(&self, id: u16) -> bool {
        id % 2 == self.parity
    }

    /// A free id below `limit`. Negotiated channels may occupy ids as well: `taken` knows.
    pub(crate) fn take(&mut self, limit: u16, taken: impl Fn(u16) -> bool) -> Option<u16> {
        while let Some(id) = self.returned.pop_first() {
            if !taken(id) && id < limit {
                return Some(id);
            }
        }
        // Never 65535, which is illegal (RFC 8832 §6): a limit of 65535 ends before it.
        while self.next < u32::from(limit) {
            let id = self.next as u16;
            self.next += 2;
            if !taken(id) {
                return Some(id);
            }
        }
        None
    }

    pub(crate) fn give_back(&mut self, id: u16) {
        if self.is_ours(id) && u32::from(id) < self.next {
            self.returned.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_reuse_and_exhaustion() {
        let mut pool = IdPool::new(false);
        assert_eq!(pool.take(10, |id| id == 3), Some(1));
        assert_eq!(pool.take(10, |id| id == 3), Some(5));
        pool.give_back(3);
        pool.give_back(1);
        assert_eq!(pool.take(10, |_| false), Some(1));
        assert_eq!(pool.take(10, |_| false), Some(3));
        assert_eq!(pool.take(10, |_| false), Some(7));
        assert_eq!(pool.take(10, |_| false), Some(9));
        assert_eq!(pool.take(10, |_| false), None);
        let mut all = IdPool::new(false);
        let last = std::iter::from_fn(|| all.take(u16::MAX, |_| false)).last();
        assert_eq!(last, Some(65_533));
    }
}
