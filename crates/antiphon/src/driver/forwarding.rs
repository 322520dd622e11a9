//! The routers of a driver: what one peer receives goes to others of the same driver within the turn, without a queue.

use std::collections::HashMap;
use std::time::Instant;

use antiphon_peer_connection as core;
use antiphon_sfu::router::{PeerKey, ProducerId, Request};
use core::{EncodingId, RtcPeerConnectionState, RtcSignalingState, TransceiverId};

use super::crossings::Crossings;
use super::latency::Latency;
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
    /// Routers of which packets went on in this turn.
    moved: Vec<RouterId>,
    /// Packets of one transceiver that it told one behind the other. It is empty between calls.
    run: Vec<core::Packet>,
}

/// A router and the peers that it may name: what calls of its handles run on.
struct AtRouter<'a> {
    id: RouterId,
    router: &'a mut antiphon_sfu::Router,
    latency: Latency,
    crossings: &'a mut Crossings,
    peers: &'a mut Peers,
}

fn key(slot: u32) -> PeerKey {
    PeerKey(slot.into())
}

fn slot(key: PeerKey) -> u32 {
    key.0 as u32
}

/// Hands a peer's connection a packet. Whether it took it.
#[inline]
fn send(peers: &mut Peers, now: Instant, (key, encoding): (PeerKey, EncodingId), packet: &core::Packet) -> bool {
    let peer = peers.wake_at(slot(key));
    peer.is_some_and(|peer| peer.core.send_rtp(now, encoding, packet).is_ok())
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
                let mut at = AtRouter {
                    id,
                    router: &mut hosted.router,
                    latency: hosted.latency,
                    crossings: &mut hosted.crossings,
                    peers,
                };
                call(&mut at, now);
                self.settle(id, peers, now);
            }
            RouterMessage::Came(id, producer) => self.came(id, producer, peers, now),
            RouterMessage::Asked(id, consumer) => {
                if let Some(Hosted { router, crossings, .. }) = self.routers.get_mut(&id) {
                    crossings.asked(now, router, consumer);
                }
                self.settle(id, peers, now);
            }
        }
    }

    /// Takes what has come for a producer without a peer.
    fn came(&mut self, id: RouterId, producer: ProducerId, peers: &mut Peers, now: Instant) {
        let Some(hosted) = self.routers.get_mut(&id) else {
            return;
        };
        let before = hosted.moved;
        let Hosted {
            router,
            crossings,
            moved,
            ..
        } = hosted;
        crossings.came(now, router, producer, &mut self.run, |key, encoding, packet| {
            let is_taken = send(peers, now, (key, encoding), packet);
            *moved += u64::from(is_taken);
            is_taken
        });
        self.run.shrink_to(KEPT);
        if before == 0 && *moved > 0 {
            self.moved.push(id);
        }
        self.settle(id, peers, now);
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
        let mut running = None;
        for event in told.drain(..) {
            match event {
                core::Event::Packet { transceiver, packet } => {
                    if let Some(before) = running.replace(transceiver).filter(|before| *before != transceiver) {
                        woken |= self.take_run(own, before, peers, now);
                    }
                    self.run.push(packet);
                }
                event => {
                    if let Some(transceiver) = running.take() {
                        woken |= self.take_run(own, transceiver, peers, now);
                    }
                    woken |= self.take(own, event, peers, now);
                }
            }
        }
        if let Some(transceiver) = running {
            woken |= self.take_run(own, transceiver, peers, now);
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

    /// The routers that a peer takes part in, one after the other: which one has this place. Those that are gone are forgotten.
    fn router_at(&mut self, own: u32, place: usize, peers: &mut Peers) -> Option<&mut Hosted> {
        loop {
            let peer = peers.at(own)?;
            let id = *peer.routers.get(place)?;
            if self.routers.contains_key(&id) {
                return self.routers.get_mut(&id);
            }
            peer.routers.remove(place);
        }
    }

    /// Takes the packets that a transceiver of a peer received together: what no router keeps goes to its application.
    fn take_run(&mut self, own: u32, transceiver: TransceiverId, peers: &mut Peers, now: Instant) -> bool {
        let mut run = std::mem::take(&mut self.run);
        let mut is_kept = false;
        for place in 0.. {
            let Some(hosted) = self.router_at(own, place, peers).filter(|_| !is_kept) else {
                break;
            };
            let Hosted { id, router, moved, .. } = hosted;
            let (id, before) = (*id, *moved);
            is_kept = router.handle_packets(now, key(own), transceiver, &run, |key, encoding, packet| {
                let is_taken = send(peers, now, (key, encoding), packet);
                *moved += u64::from(is_taken);
                is_taken
            });
            if before == 0 && *moved > 0 {
                self.moved.push(id);
            }
        }
        let mut woken = false;
        for packet in run.drain(..) {
            let event = core::Event::Packet { transceiver, packet };
            woken |= !is_kept && peers.at(own).is_some_and(|peer| peer.report(event, now));
        }
        run.shrink_to(KEPT);
        self.run = run;
        woken
    }

    /// Takes one event of a peer that is no packet: what is a router's goes there, what is its application's to the queue of that.
    fn take(&mut self, own: u32, event: core::Event, peers: &mut Peers, now: Instant) -> bool {
        let mut is_kept = false;
        for place in 0.. {
            let Some(Hosted { router, .. }) = self.router_at(own, place, peers).filter(|_| !is_kept) else {
                break;
            };
            match &event {
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
        }
        !is_kept && peers.at(own).is_some_and(|peer| peer.report(event, now))
    }

    /// Does what a router asks, and tells what happened in it.
    fn settle(&mut self, id: RouterId, peers: &mut Peers, now: Instant) {
        let Some(Hosted {
            router,
            events,
            crossings,
            ..
        }) = self.routers.get_mut(&id)
        else {
            return;
        };
        while let Some(request) = router.poll_request(now) {
            // Who cannot be asked now is asked again.
            match request {
                Request::KeyFrame {
                    peer,
                    transceiver,
                    ssrc,
                } => {
                    if let Some(peer) = peers.wake_at(slot(peer)) {
                        let _ = peer.core.request_key_frame_of(transceiver, ssrc);
                    }
                }
                Request::DirectKeyFrame { producer, ssrc } => crossings.ask(producer, ssrc),
                Request::Desire { peer, bitrate } => {
                    if let Some(peer) = peers.wake_at(slot(peer)) {
                        peer.core.set_desired_bitrate(now, Some(bitrate));
                    }
                }
                Request::Reports {
                    consumer,
                    peer,
                    encoding,
                } => {
                    let reported = peers.at(slot(peer)).and_then(|peer| peer.core.reported(encoding));
                    if let Some(reported) = reported {
                        // It was there a moment ago.
                        let _ = router.set_reported(consumer, reported);
                    }
                }
            }
        }
        crossings.fetch(router, &mut self.run);
        crossings.look(router);
        while let Some(event) = router.poll_event() {
            crossings.hear(&event);
            // An error means that nobody listens.
            let _ = events.send(event);
        }
        let next = router.poll_timeout();
        self.soonest = [self.soonest, next].into_iter().flatten().min();
    }

    /// What a turn that began at `began` was to send is with the system.
    pub(super) fn end_turn(&mut self, began: Instant) {
        if self.moved.is_empty() {
            return;
        }
        let time = began.elapsed();
        for id in self.moved.drain(..) {
            if let Some(hosted) = self.routers.get_mut(&id) {
                hosted.latency.record(time, std::mem::take(&mut hosted.moved));
            }
        }
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

    fn latency(&self) -> Latency {
        self.latency
    }

    fn crossings(&mut self) -> &mut Crossings {
        self.crossings
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
