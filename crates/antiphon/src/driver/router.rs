//! Which peer a datagram is for, when many peers share one socket.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use antiphon_stun::{Class, Message, is_stun};

use super::message::PeerId;

/// Five-tuples that one peer may hold; the least recently learned go first.
const MAX_TUPLES_PER_PEER: usize = 32;
/// User fragments of one peer: the old one still gets checks while a restart goes on.
const MAX_UFRAGS_PER_PEER: usize = 4;
/// Our own requests whose answers are awaited, over all peers.
const MAX_TRANSACTIONS: usize = 8192;

type Tuple = (u32, SocketAddr);
/// What peers and strangers choose is looked up here: the hash has a seed of its own.
type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// What is to be forgotten with a peer.
#[derive(Default)]
struct Held {
    tuples: VecDeque<Tuple>,
    ufrags: VecDeque<String>,
}

/// Routes by five-tuple, and on a miss by the user fragment of a STUN request or the transaction of a STUN response.
#[derive(Default)]
pub(crate) struct Router {
    tuples: Map<Tuple, PeerId>,
    held: Map<PeerId, Held>,
    ufrags: Map<String, PeerId>,
    transactions: Map<[u8; 12], PeerId>,
    transaction_order: VecDeque<[u8; 12]>,
    /// Grows whenever a five-tuple is learned or forgotten.
    generation: u64,
    /// Datagrams that were for nobody.
    pub(crate) unrouted: u64,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) peer: PeerId,
    /// The five-tuple is not this peer's yet: if the peer says that the datagram was authentic, call [`Router::learn`].
    pub(crate) new_tuple: bool,
}

impl Router {
    /// A peer uses this local user fragment.
    pub(crate) fn add_ufrag(&mut self, ufrag: &str, peer: PeerId) {
        if self.ufrags.contains_key(ufrag) {
            return;
        }
        self.ufrags.insert(ufrag.to_owned(), peer);
        let held = self.held.entry(peer).or_default();
        held.ufrags.push_back(ufrag.to_owned());
        if held.ufrags.len() > MAX_UFRAGS_PER_PEER
            && let Some(oldest) = held.ufrags.pop_front()
        {
            self.ufrags.remove(&oldest);
        }
    }

    /// Whose local user fragment this is.
    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<PeerId> {
        self.ufrags.get(ufrag).copied()
    }

    /// The peer's own request went out; its answer comes back to it from wherever.
    pub(crate) fn sent(&mut self, peer: PeerId, datagram: &[u8]) {
        if !is_stun(datagram) {
            return;
        }
        let Ok(message) = Message::parse(datagram) else { return };
        if message.class() != Class::Request {
            return;
        }
        let id: [u8; 12] = message.transaction_id().0;
        if self.transactions.insert(id, peer).is_none() {
            self.transaction_order.push_back(id);
        }
        while self.transaction_order.len() > MAX_TRANSACTIONS {
            if let Some(oldest) = self.transaction_order.pop_front() {
                self.transactions.remove(&oldest);
            }
        }
    }

    /// Whether a datagram is for anybody: a look that costs little, before it is copied anywhere.
    pub(crate) fn expects(&self, socket: u32, remote: SocketAddr, datagram: &[u8]) -> bool {
        self.knows(socket, remote) || (is_stun(datagram) && self.stun_route(datagram).is_some())
    }

    /// Whether this five-tuple is a peer's.
    pub(crate) fn knows(&self, socket: u32, remote: SocketAddr) -> bool {
        self.tuples.contains_key(&(socket, remote))
    }

    /// Whose this five-tuple is.
    pub(crate) fn owner(&self, socket: u32, remote: SocketAddr) -> Option<PeerId> {
        self.tuples.get(&(socket, remote)).copied()
    }

    /// The peers' addresses at this socket.
    pub(crate) fn known_at(&self, socket: u32) -> impl Iterator<Item = SocketAddr> {
        self.tuples
            .keys()
            .filter(move |(at, _)| *at == socket)
            .map(|(_, remote)| *remote)
    }

    /// Changes with every five-tuple that is learned or forgotten.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Who gets this datagram.
    pub(crate) fn route(&mut self, socket: u32, remote: SocketAddr, datagram: &[u8]) -> Option<Route> {
        let known = self.owner(socket, remote);
        if is_stun(datagram) {
            // A request that names another peer's fragment comes from a new peer behind the same address (or from a liar:
            // the tuple moves only after authentication).
            if let Some(peer) = self.stun_route(datagram) {
                return Some(Route {
                    peer,
                    new_tuple: known != Some(peer),
                });
            }
        }
        if known.is_none() {
            self.unrouted += 1;
        }
        known.map(|peer| Route { peer, new_tuple: false })
    }

    fn stun_route(&self, datagram: &[u8]) -> Option<PeerId> {
        let message = Message::parse(datagram).ok()?;
        match message.class() {
            Class::Request | Class::Indication => {
                // RFC 8445 §7.2.2: the receiver's fragment comes first.
                let (ours, _) = message.username()?.split_once(':')?;
                self.ufrags.get(ours).copied()
            }
            _ => {
                let id: [u8; 12] = message.transaction_id().0;
                self.transactions.get(&id).copied()
            }
        }
    }

    /// The peer authenticated something from this five-tuple: it is the peer's from now on.
    pub(crate) fn learn(&mut self, socket: u32, remote: SocketAddr, peer: PeerId) {
        let tuple = (socket, remote);
        self.generation += 1;
        if let Some(before) = self.tuples.insert(tuple, peer)
            && let Some(held) = self.held.get_mut(&before)
        {
            held.tuples.retain(|t| *t != tuple);
        }
        let held = &mut self.held.entry(peer).or_default().tuples;
        held.push_back(tuple);
        if held.len() > MAX_TUPLES_PER_PEER
            && let Some(oldest) = held.pop_front()
        {
            self.tuples.remove(&oldest);
        }
    }

    /// The peer is gone. Its transactions stay until newer ones push them out: they name a peer that no longer exists, and
    /// numbers are never given twice.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        let Some(held) = self.held.remove(&peer) else { return };
        self.generation += 1;
        for tuple in held.tuples {
            self.tuples.remove(&tuple);
        }
        for ufrag in held.ufrags {
            self.ufrags.remove(&ufrag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8489 §5: a Binding request with a USERNAME.
    fn request(username: &[u8; 8]) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend([5; 12]);
        datagram.extend([0, 6, 0, 8]);
        datagram.extend(username);
        datagram
    }

    #[test]
    fn mend21_strangers_are_expected_by_a_fragment_of_ours_alone() {
        let mut router = Router::default();
        let remote = SocketAddr::from(([192, 0, 2, 1], 1));
        router.add_ufrag("aaaa", PeerId(1));
        assert!(router.expects(0, remote, &request(b"aaaa:xyz")));
        for nothing in [
            &request(b"bbbb:xyz")[..],
            &request(b"aaaaaxyz"),
            &request(b"aaaa:xyz")[..24],
            &[0, 1, 0, 0],
            &[22, 254, 253, 0],
            &[0x80; 40],
            &[],
        ] {
            assert!(!router.expects(0, remote, nothing), "{nothing:?}");
        }
        router.learn(0, remote, PeerId(1));
        assert!(router.expects(0, remote, &[0x80; 40]), "no stranger any more");
        assert!(!router.expects(1, remote, &[0x80; 40]), "at another socket it is");
    }

    #[test]
    fn what_a_peer_held_is_forgotten_with_it() {
        let mut router = Router::default();
        let (a, b) = (PeerId(1), PeerId(2));
        let remote = |n: u16| SocketAddr::from(([192, 0, 2, 1], n));
        router.add_ufrag("aaaa", a);
        router.add_ufrag("aaaa", b);
        assert_eq!(router.by_ufrag("aaaa"), Some(a), "who came first");
        for n in 0..100 {
            router.learn(0, remote(n), a);
        }
        assert_eq!(router.tuples.len(), MAX_TUPLES_PER_PEER);
        // A new peer behind the same address takes it over.
        router.learn(0, remote(99), b);
        let data = [128; 20];
        assert_eq!(router.route(0, remote(99), &data).unwrap().peer, b);
        assert_eq!(router.route(0, remote(98), &data).unwrap().peer, a);
        router.forget(a);
        assert_eq!(router.route(0, remote(98), &data), None);
        assert_eq!(router.by_ufrag("aaaa"), None);
        assert_eq!((router.tuples.len(), router.held.len(), router.unrouted), (1, 1, 1));
        for n in 0..100 {
            router.add_ufrag(&format!("frag{n}"), b);
        }
        assert_eq!(router.ufrags.len(), MAX_UFRAGS_PER_PEER);
    }
}
