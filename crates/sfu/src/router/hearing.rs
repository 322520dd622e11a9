//! What a router hears of its peers' connections, and what it asks of them.

use std::time::Instant;

use antiphon_peer_connection::{EncodingId, Event as Told, PeerEnd, RtcPeerConnectionState, TransceiverId};

use super::Router;
use super::event::{Closed, Request};
use super::names::{ConsumerId, PeerKey, ProducerId};
use super::producing::Producing;

impl Router {
    /// Hears what a peer's connection tells. All of its events may be shown; most do not concern a router. Packets come
    /// by [`Self::handle_packet`], other codecs by [`Self::renegotiated`], estimates by [`Self::set_estimate`]. Whether it was a thing between a consumer
    /// and its connection, of which nobody else need hear.
    pub fn handle_event<C>(&mut self, now: Instant, peer: PeerKey, event: &Told<C>) -> bool {
        match event {
            Told::TargetBitrate { encoding, .. } | Told::KeyFrameRequested(encoding) => {
                let id = self.consumer_of(peer, *encoding);
                if let Some(id) = id {
                    self.hear_consumer(now, id, event);
                }
                return id.is_some();
            }
            Told::SendingRestarted(encoding) => {
                if let Some(id) = self.consumer_of(peer, *encoding) {
                    self.hear_consumer(now, id, event);
                }
            }
            Told::SourceEnded { transceiver, ssrc } => {
                if let Some(id) = self.receiving.get(&(peer, *transceiver))
                    && let Some(producing) = self.producers.get_mut(*id)
                {
                    producing.track.source_ended(*ssrc);
                }
            }
            Told::TrackUnmuted {
                transceiver,
                ssrc,
                rid: None,
                layer: Some(layer),
            } => {
                if let Some(id) = self.receiving.get(&(peer, *transceiver))
                    && let Some(producing) = self.producers.get_mut(*id)
                {
                    producing.track.place_source(*ssrc, *layer);
                }
            }
            Told::TrackEnded(transceiver) => self.transceiver_ended(peer, *transceiver),
            Told::ConnectionStateChange(RtcPeerConnectionState::Closed) => self.remove_peer(peer),
            Told::ConnectionStateChange(state) => {
                // One that is disconnected may be back with the next packet.
                let is_connected = matches!(
                    state,
                    RtcPeerConnectionState::Connected | RtcPeerConnectionState::Disconnected
                );
                self.set_connected(now, peer, is_connected);
            }
            // An ICE restart may bring a silent peer back.
            Told::PeerEnded(end) if *end != PeerEnd::Silence => self.remove_peer(peer),
            _ => {}
        }
        false
    }

    fn hear_consumer<C>(&mut self, now: Instant, id: ConsumerId, event: &Told<C>) {
        let Some(consuming) = self.consumers.get_mut(id) else {
            return;
        };
        let Some(producing) = self.producers.get(consuming.producer) else {
            return;
        };
        match event {
            Told::KeyFrameRequested(encoding) => {
                _ = consuming.key_frame_requested(now, &producing.track, encoding.rid);
            }
            Told::SendingRestarted(encoding) => consuming.restarted(&producing.track, encoding.rid),
            // The estimate of the whole connection comes by itself.
            _ => return,
        }
        self.ask(now, id);
    }

    fn consumer_of(&self, peer: PeerKey, encoding: EncodingId) -> Option<ConsumerId> {
        let first = EncodingId::from(encoding.transceiver);
        let exact = self.sending.get(&(peer, encoding));
        exact.or_else(|| self.sending.get(&(peer, first))).copied()
    }

    fn transceiver_ended(&mut self, peer: PeerKey, transceiver: TransceiverId) {
        if let Some(id) = self.receiving.get(&(peer, transceiver)) {
            self.remove_producer(*id, Closed::Transceiver);
        }
        let Some(own) = self.peers.get(&peer) else { return };
        for id in own.consumers.clone() {
            let consuming = self.consumers.get(id);
            if consuming.is_some_and(|own| own.is_on(transceiver)) {
                self.remove_consumer(id, Closed::Transceiver);
            }
        }
    }

    /// Whether a peer can be sent to.
    pub(super) fn set_connected(&mut self, now: Instant, peer: PeerKey, is_connected: bool) {
        let Some(own) = self.peers.get_mut(&peer) else { return };
        if std::mem::replace(&mut own.is_connected, is_connected) == is_connected {
            return;
        }
        let all = own.consumers.clone();
        self.turn(now, &all);
    }

    /// Has the source asked for what a consumer wants.
    pub(super) fn ask(&mut self, now: Instant, id: ConsumerId) {
        let Some(consuming) = self.consumers.get_mut(id) else {
            return;
        };
        let producer = consuming.producer;
        let Some(producing) = self.producers.get_mut(producer) else {
            return;
        };
        let mut asks = false;
        while let Some(encoding) = consuming.poll_key_frame(now, &producing.track) {
            producing.track.want_key_frame(encoding);
            asks = true;
        }
        if asks {
            self.asks(producer);
        }
    }

    /// A producer is among those that want a key frame.
    pub(super) fn asks(&mut self, id: ProducerId) {
        if let Some(producing) = self.producers.get_mut(id)
            && !std::mem::replace(&mut producing.is_asking, true)
        {
            self.asking.push(id);
        }
    }

    /// What the host is to do next.
    ///
    /// A source is asked for a key frame once, however many consumers want it, and again each half second while none
    /// comes; two requests for one encoding are never nearer than that.
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        while let Some(peer) = self.desiring.pop() {
            if let Some(own) = self.peers.get(&peer) {
                let bitrate = own.desired;
                return Some(Request::Desire { peer, bitrate });
            }
        }
        let mut place = 0;
        while let Some(id) = self.asking.get(place) {
            let producing = self.producers.get_mut(*id).filter(|own| own.track.wants_key_frame());
            let Some(producing) = producing else {
                let id = self.asking.swap_remove(place);
                if let Some(producing) = self.producers.get_mut(id) {
                    producing.is_asking = false;
                }
                continue;
            };
            if let Some(ssrc) = producing.track.poll_key_frame(now) {
                producing.key_frames_asked += 1;
                return Some(match producing.from {
                    Some((peer, transceiver)) => Request::KeyFrame {
                        peer,
                        transceiver,
                        ssrc,
                    },
                    None => Request::DirectKeyFrame { producer: *id, ssrc },
                });
            }
            place += 1;
        }
        self.poll_reports()
    }

    /// The time that [`Self::poll_timeout`] named has come: [`Self::poll_request`] may have something again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.share(now);
        self.score(now);
        self.speakers.handle_timeout(now);
        self.tell_speakers();
        let mut place = 0;
        while let Some(id) = self.asking.get(place).copied() {
            place += 1;
            let Some(own) = self.producers.get(id) else { continue };
            // Whoever is not connected, or paused, waits for nothing.
            let in_vain = own.track.poll_timeout().is_some_and(|at| at <= now) && !self.is_awaited(own);
            if in_vain && let Some(producing) = self.producers.get_mut(id) {
                producing.track.forget_key_frames();
            }
        }
    }

    /// Whether anybody waits for what a producer sends.
    fn is_awaited(&self, producing: &Producing) -> bool {
        let mut consumers = producing.consumers.iter();
        consumers.any(|id| self.consumers.get(*id).is_some_and(|own| own.on))
    }

    /// When [`Self::handle_timeout`] is to be called, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let asking = self.asking.iter().filter_map(|id| self.producers.get(*id));
        let asking = asking.filter_map(|own| own.track.poll_timeout());
        let others = [self.beat, self.waits, self.scoring.at, self.speakers.poll_timeout()];
        asking.chain(others.into_iter().flatten()).min()
    }
}
