//! The routers of a driver: what one peer receives goes to others of the same driver within the turn, without a queue.

use std::collections::HashMap;
use std::time::Instant;

use antiphon_peer_connection as core;
use antiphon_sfu::router::{PeerKey, Request};
use core::{RtcPeerConnectionState, RtcSignalingState};

use super::message::{Hosted, Hosting, PeerId, RouterId, RouterMessage};
use super::peers::Peers;
use crate::error::Error;

/// Events of one peer that are kept room for between turns.
const KEPT: usize = 256;

/// The routers of a driver.
#[derive(Default)]
pub(super) struct Forwarding {
    routers: HashMap<RouterId, Hosted, foldhash::fast::RandomState>,
    /// When one of them wants to go on, or earlier.
    soonest: Option<Instant>,
    /// What a peer has just told. It is empty between calls.
    told: Vec<core::Event>,
}

/// A router and the peers that it may name: what calls of its handles run on.
struct AtRouter<'a> {
    id: RouterId,
    router: &'a mut antiphon_sfu::Router,
    peers: &'a mut Peers,
}

fn key(slot: u32) -> PeerKey {
    PeerKey(slot.into())
}

fn slot(key: PeerKey) -> u32 {
    key.0 as u32
}

impl Forwarding {
    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.routers.is_empty()
    }

    /// Hears what handles say of a router.
    pub(super) fn hear(&mut self, message: RouterMessage, peers: &mut Peers, now: Instant) {
        match message {
            RouterMessage::New(hosted) => _ = self.routers.insert(hosted.id, *hosted),
            RouterMessage::Gone(id) => _ = self.routers.remove(&id),
            RouterMessage::Call(id, call) => {
                // Of one that is gone the answer is dropped with the call.
                let Some(hosted) = self.routers.get_mut(&id) else {
                    return;
                };
                let router = &mut hosted.router;
                call(&mut AtRouter { id, router, peers }, now);
                self.settle(id, peers, now);
            }
        }
    }

    /// Takes all that a peer has to tell. Whether a reader of one of its channels was woken.
    pub(super) fn take_from(&mut self, id: PeerId, peers: &mut Peers, now: Instant) -> bool {
        let Some(peer) = peers.get_mut(id) else { return false };
        if peer.routers.is_empty() {
            return peer.dispatch(now);
        }
        let own = peer.place.slot;
        let mut told = std::mem::take(&mut self.told);
        while let Some(event) = peer.core.poll_event() {
            told.push(event);
        }
        let is_closed = peer.core.is_closed();
        if told.is_empty() && !is_closed {
            self.told = told;
            return false;
        }
        let mut woken = false;
        for event in told.drain(..) {
            woken |= self.take(own, event, peers, now);
        }
        told.shrink_to(KEPT);
        self.told = told;
        for place in 0.. {
            let routers = peers.at(own).map(|peer| &peer.routers);
            let Some(id) = routers.and_then(|routers| routers.get(place)).copied() else {
                break;
            };
            if is_closed && let Some(hosted) = self.routers.get_mut(&id) {
                hosted.router.remove_peer(key(own));
            }
            self.settle(id, peers, now);
        }
        woken
    }

    /// Takes one event of a peer: what is a router's goes there, what is its application's to the queue of that.
    fn take(&mut self, own: u32, event: core::Event, peers: &mut Peers, now: Instant) -> bool {
        let mut is_kept = false;
        let mut place = 0;
        while let Some(id) = peers.at(own).and_then(|peer| peer.routers.get(place)).copied() {
            place += 1;
            let Some(Hosted { router, .. }) = self.routers.get_mut(&id) else {
                // It is gone: the peer is not asked for it again.
                if let Some(peer) = peers.at(own) {
                    peer.routers.retain(|router| *router != id);
                    place -= 1;
                }
                continue;
            };
            match &event {
                core::Event::Packet { transceiver, packet } => {
                    is_kept |= router.handle_packet(now, key(own), *transceiver, packet, |key, encoding, packet| {
                        let peer = peers.wake_at(slot(key));
                        peer.is_some_and(|peer| peer.core.send_rtp(now, encoding, packet).is_ok())
                    });
                }
                core::Event::SignalingStateChange(RtcSignalingState::Stable) => {
                    let Some(peer) = peers.at(own) else { continue };
                    for transceiver in peer.core.transceivers() {
                        router.renegotiated(now, key(own), transceiver);
                    }
                }
                event => {
                    is_kept |= router.handle_event(now, key(own), event);
                    if is_kept && matches!(event, core::Event::TargetBitrate { .. }) {
                        let estimate = peers.at(own).and_then(|peer| peer.core.media_bitrate());
                        router.set_estimate(now, key(own), estimate);
                    }
                }
            }
            if is_kept {
                break;
            }
        }
        !is_kept && peers.at(own).is_some_and(|peer| peer.report(event, now))
    }

    /// Does what a router asks, and tells what happened in it.
    fn settle(&mut self, id: RouterId, peers: &mut Peers, now: Instant) {
        let Some(Hosted { router, events, .. }) = self.routers.get_mut(&id) else {
            return;
        };
        while let Some(request) = router.poll_request(now) {
            let Request::KeyFrame {
                peer,
                transceiver,
                ssrc,
            } = request;
            if let Some(peer) = peers.wake_at(slot(peer)) {
                // Who cannot be asked now is asked again.
                let _ = peer.core.request_key_frame_of(transceiver, ssrc);
            }
        }
        while let Some(event) = router.poll_event() {
            // An error means that nobody listens.
            let _ = events.send(event);
        }
        let next = router.poll_timeout();
        self.soonest = [self.soonest, next].into_iter().flatten().min();
    }

    /// When [`Self::expire`] is to be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.soonest
    }

    /// Lets the routers whose time has come go on.
    pub(super) fn expire(&mut self, peers: &mut Peers, now: Instant) {
        if self.soonest.is_none_or(|at| at > now) {
            return;
        }
        self.soonest = None;
        let ids: Vec<RouterId> = self.routers.keys().copied().collect();
        for id in ids {
            if let Some(Hosted { router, .. }) = self.routers.get_mut(&id)
                && router.poll_timeout().is_some_and(|at| at <= now)
            {
                router.handle_timeout(now);
            }
            self.settle(id, peers, now);
        }
    }

    /// A peer is gone from its place.
    pub(super) fn forget(&mut self, slot: u32, routers: &[RouterId], peers: &mut Peers, now: Instant) {
        for id in routers {
            if let Some(hosted) = self.routers.get_mut(id) {
                hosted.router.remove_peer(key(slot));
            }
            self.settle(*id, peers, now);
        }
    }
}

impl Hosting for AtRouter<'_> {
    fn router(&mut self) -> &mut antiphon_sfu::Router {
        self.router
    }

    fn join(&mut self, now: Instant, peer: PeerId) -> Result<(PeerKey, &mut core::PeerConnection), Error> {
        let peer = self.peers.get_mut(peer).ok_or(Error::Closed)?;
        if peer.core.is_closed() {
            return Err(Error::Closed);
        }
        let key = key(peer.place.slot);
        let is_connected = peer.core.connection_state() == RtcPeerConnectionState::Connected;
        self.router.add_peer(now, key, is_connected)?;
        if !peer.routers.contains(&self.id) {
            peer.routers.push(self.id);
        }
        Ok((key, &mut peer.core))
    }
}
