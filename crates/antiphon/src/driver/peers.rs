//! The peers of one driver: who has something to give, when the others will have, and whom a datagram is for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use antiphon_ice::IoEvent;
use antiphon_sansio::{Datagram, Local, Path};

use super::beat::Beat;
use super::message::PeerId;
use super::peer::Peer;
use super::router::Router;
use super::share::Share;
use crate::net::scratch::Batch;

/// Entries of the heap, for each peer, that may stand for nothing any more before it is made anew.
const MAX_STALE: usize = 4;

/// All peers of a driver.
pub(crate) struct Peers {
    /// The peers, each of which keeps its place as long as it lives: who knows the place need not look the peer up.
    places: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    map: HashMap<PeerId, u32, foldhash::fast::RandomState>,
    /// Peers that have something to give, in the order of their turns; each is in it once.
    busy: VecDeque<PeerId>,
    /// When machines want to go on. Deadlines mostly move away, packet by packet: an entry that comes too early is put back then,
    /// which costs less than to move it each time. One that is not its peer's [`Place::entry`](super::peer::Place) is stale.
    deadlines: BinaryHeap<Reverse<(Instant, PeerId)>>,
    /// What is far away is put off until then.
    beat: Beat,
    /// In one-port mode: whom a datagram is for.
    pub(super) router: Router,
    listening: Listening,
}

/// What is true of the socket that is listened to now.
#[derive(Debug, Default)]
struct Listening {
    /// Goes up with each socket.
    turn: u64,
    /// In which peers that share the socket are counted.
    period: u64,
    /// Peers that were heard in this turn, and had not been in this period.
    heard: usize,
    /// What each of them may have on its way to us.
    share: usize,
}

impl Peers {
    pub(crate) fn new(beat: Beat) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            map: HashMap::default(),
            busy: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            beat,
            router: Router::default(),
            listening: Listening::default(),
        }
    }

    pub(crate) fn insert(&mut self, id: PeerId, mut peer: Box<Peer>) {
        let slot = self.free.pop().unwrap_or(self.places.len() as u32);
        (peer.place.id, peer.place.slot) = (id, slot);
        mark(&mut self.busy, &mut peer);
        match self.places.get_mut(slot as usize) {
            Some(place) => *place = Some(peer),
            None => {
                // One more alone: most drivers have one peer.
                self.places.reserve_exact(usize::from(self.places.is_empty()));
                self.places.push(Some(peer));
            }
        }
        self.map.insert(id, slot);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        in_place(&mut self.places, *self.map.get(&id)?)
    }

    /// The peer in a place.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut Peer> {
        in_place(&mut self.places, slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let peers = self.places.iter().flatten();
        peers.map(|peer| (peer.place.id, peer.as_ref()))
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Box<Peer>> {
        self.router.forget(id);
        let slot = self.map.remove(&id)?;
        self.free.push(slot);
        self.places.get_mut(slot as usize)?.take()
    }
}

/// Whom a datagram is for.
impl Peers {
    /// Whether a datagram may be for a peer; if not it is dropped before it costs anything more. `owner` is whose the socket is, if it
    /// is one peer's alone.
    pub(super) fn expect(&mut self, owner: Option<PeerId>, path: Path, datagram: &[u8]) -> bool {
        if datagram.is_empty() {
            return false;
        }
        match (owner, path.local) {
            (Some(owner), _) => self
                .get_mut(owner)
                .is_some_and(|peer| peer.core.expects(&path, datagram)),
            (None, Local::Socket(socket)) => self.router.expects(socket, path.remote, datagram),
            (None, _) => false,
        }
    }

    /// What comes from now on comes from a socket of which each peer has its own.
    pub(super) fn listen(&mut self) {
        self.listening = Listening {
            turn: self.listening.turn + 1,
            period: 0,
            heard: 0,
            share: usize::MAX,
        };
    }

    /// What comes from now on comes from a socket that many share.
    pub(super) fn listen_for_all(&mut self, share: &mut Share, now: Instant) {
        let turn = self.listening.turn + 1;
        self.listening = Listening {
            turn,
            period: share.period(now, || turn),
            heard: 0,
            share: share.bytes(),
        };
    }

    /// How many peers were heard since [`Self::listen_for_all`] that had not been in its period.
    pub(super) fn heard(&self) -> usize {
        self.listening.heard
    }

    /// Hands what was received at `local` to its peers.
    pub(super) fn take(&mut self, owner: Option<PeerId>, local: Local, batch: Batch, now: Instant) {
        let (remote, ecn) = (batch.remote, batch.ecn);
        let path = Path { local, remote };
        for data in batch.datagrams() {
            let datagram = Datagram { path, ecn, data };
            if let Some(owner) = owner {
                self.deliver(owner, datagram, now);
                continue;
            }
            let Local::Socket(socket) = local else { continue };
            let Some(route) = self.router.route(socket, remote, &datagram.data) else {
                continue;
            };
            let peer = self.deliver(route.peer, datagram, now);
            if route.new_tuple && peer.is_some_and(|peer| peer.core.is_authenticated(&path)) {
                self.router.learn(socket, remote, route.peer);
            }
        }
    }

    /// Hands a datagram to a peer's machine.
    pub(super) fn deliver(&mut self, id: PeerId, datagram: Datagram, now: Instant) -> Option<&mut Peer> {
        let Listening {
            turn, period, share, ..
        } = self.listening;
        let peer = in_place(&mut self.places, *self.map.get(&id)?)?;
        mark(&mut self.busy, peer);
        if !is_media(&datagram.data) {
            peer.may_want();
        }
        if std::mem::replace(&mut peer.place.heard, turn) != turn {
            peer.core.set_receive_share(share);
            if std::mem::replace(&mut peer.place.counted, period) != period {
                self.listening.heard += 1;
            }
        }
        peer.arrived(now, datagram);
        Some(peer)
    }

    /// Tells a peer's machine what became of a request.
    pub(crate) fn tell(&mut self, id: PeerId, event: IoEvent, now: Instant) {
        if let Some(peer) = self.wake(id) {
            peer.may_want();
            peer.core.handle_io(now, event);
        }
    }
}

/// Whose turn it is.
impl Peers {
    /// The peer, which is drained soon: it is about to have something to do.
    pub(crate) fn wake(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.wake_at(*self.map.get(&id)?)
    }

    /// The same of the peer in a place.
    #[inline]
    pub(crate) fn wake_at(&mut self, slot: u32) -> Option<&mut Peer> {
        let peer = in_place(&mut self.places, slot)?;
        mark(&mut self.busy, peer);
        Some(peer)
    }

    /// Wakes all peers that `chosen` says yes to, which may change them.
    pub(crate) fn wake_where(&mut self, mut chosen: impl FnMut(PeerId, &mut Peer) -> bool) {
        for peer in self.places.iter_mut().flatten() {
            if chosen(peer.place.id, peer) {
                peer.may_want();
                mark(&mut self.busy, peer);
            }
        }
    }

    /// One of those who wait for their turn, in the order of these.
    pub(super) fn busy_at(&self, place: usize) -> Option<PeerId> {
        self.busy.get(place).copied()
    }

    /// How many wait for their turn.
    pub(crate) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Who has waited longest. Drain it, or put it back.
    pub(crate) fn next_busy(&mut self) -> Option<PeerId> {
        self.busy.pop_front()
    }

    /// Puts off a peer whose turn it was.
    pub(crate) fn put_back(&mut self, id: PeerId) {
        self.busy.push_back(id);
    }

    /// The peer whose turn it is: what it is told from now on it has to be woken for again. If it `may_have_changed`, its datagrams on
    /// a shared port are found by the user fragment that it has now.
    pub(super) fn begin_turn(&mut self, id: PeerId, may_have_changed: bool) -> Option<(&mut Peer, &mut Router)> {
        let Self {
            places, map, router, ..
        } = self;
        let peer = in_place(places, *map.get(&id)?)?;
        peer.place.marked = false;
        if may_have_changed && peer.routed_ufrag != peer.core.local_ufrag() {
            peer.core.local_ufrag().clone_into(&mut peer.routed_ufrag);
            router.add_ufrag(&peer.routed_ufrag, id);
        }
        Some((peer, router))
    }

    /// A peer, and who knows whom datagrams are for.
    pub(super) fn with_router(&mut self, id: PeerId) -> Option<(&mut Peer, &mut Router)> {
        let Self {
            places, map, router, ..
        } = self;
        Some((in_place(places, *map.get(&id)?)?, router))
    }

    /// Lets the machines whose time has come go on.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let slot = self.map.get(&id).copied();
            let Some(peer) = slot.and_then(|slot| in_place(&mut self.places, slot)) else {
                continue;
            };
            if peer.place.entry != Some(at) {
                continue;
            }
            peer.place.entry = None;
            match peer.place.deadline {
                Some(deadline) if deadline > now => {
                    peer.place.entry = Some(deadline);
                    self.deadlines.push(Reverse((deadline, id)));
                }
                Some(_) => {
                    (peer.place.wanted, peer.place.deadline) = (None, None);
                    mark(&mut self.busy, peer);
                    peer.may_want();
                    peer.core.handle_timeout(now);
                }
                None => {}
            }
        }
    }

    /// When to call [`Self::expire`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Comes back to a peer at `at`, or a little later: see [`Beat`].
    pub(crate) fn schedule(&mut self, id: PeerId, at: Option<Instant>, now: Instant) {
        let slot = self.map.get(&id).copied();
        let Some(peer) = slot.and_then(|slot| in_place(&mut self.places, slot)) else {
            return;
        };
        if peer.place.wanted == at {
            // It keeps its place: what was far away when it was first named may be near now.
            return;
        }
        peer.place.wanted = at;
        let at = at.map(|at| self.beat.put_off(at, now));
        peer.place.deadline = at;
        let Some(at) = at.filter(|at| peer.place.entry.is_none_or(|entry| *at < entry)) else {
            return;
        };
        peer.place.entry = Some(at);
        self.deadlines.push(Reverse((at, id)));
        if self.deadlines.len() > MAX_STALE * (self.map.len() + 16) {
            let Self {
                places, map, deadlines, ..
            } = self;
            let entry = |id: &PeerId| {
                let place = places.get(*map.get(id)? as usize)?;
                place.as_ref()?.place.entry
            };
            deadlines.retain(|Reverse((at, id))| entry(id) == Some(*at));
        }
    }
}

/// Whether it is RTP or RTCP (RFC 9443 §2).
fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// The peer in a place.
#[inline]
fn in_place(places: &mut [Option<Box<Peer>>], slot: u32) -> Option<&mut Peer> {
    places.get_mut(slot as usize)?.as_deref_mut()
}

/// Puts a peer among those that are drained next.
#[inline]
fn mark(busy: &mut VecDeque<PeerId>, peer: &mut Peer) {
    if !std::mem::replace(&mut peer.place.marked, true) {
        busy.push_back(peer.place.id);
    }
}
