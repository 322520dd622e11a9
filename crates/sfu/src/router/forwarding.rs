//! The way of a packet through a router.

use std::time::Instant;

use antiphon_media::Packet;
use antiphon_peer_connection::{EncodingId, MediaKind, TransceiverId};

use super::Router;
use super::consuming::Taken;
use super::event::Event;
use super::names::{PeerKey, ProducerId};
use crate::draft::Draft;

impl Router {
    /// Takes a packet that a transceiver of a peer received, and hands what each consumer gets of it to `outlet`, which
    /// says whether the consumer's connection took it. `false`: the packet is also for the application of the peer, for no producer
    /// takes packets of this transceiver, or its packets are [copied](Self::set_copied).
    ///
    /// The outlet is called before this returns: there is no queue in between.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        peer: PeerKey,
        transceiver: TransceiverId,
        packet: &Packet,
        mut outlet: impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) -> bool {
        let Some(id) = self.receiving.get(&(peer, transceiver)).copied() else {
            return false;
        };
        self.forward(now, id, packet, &mut outlet);
        self.asks_if_wanted(id);
        self.producers.get(id).is_some_and(|own| !own.is_copied)
    }

    fn forward(
        &mut self,
        now: Instant,
        id: ProducerId,
        packet: &Packet,
        outlet: &mut impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) {
        let Some(producing) = self.producers.get_mut(id) else {
            return;
        };
        producing.packets += 1;
        producing.bytes += packet.payload.len() as u64;
        let facts = producing.track.take(now, packet);
        let (is_paused, kind) = (producing.paused, producing.kind);
        if producing.track.layers().version() != producing.shared {
            self.layers_changed(now, id);
        }
        // Layers are known, and their rates measured, while nobody gets them.
        let Some(facts) = facts.filter(|_| !is_paused) else {
            return;
        };
        let sequence = match kind {
            MediaKind::Video => packet.sequence,
            MediaKind::Audio => match self.hear(now, id, packet) {
                Some(sequence) => sequence,
                None => return,
            },
        };
        let Self {
            producers,
            consumers,
            changed,
            events,
            ..
        } = self;
        let Some(producing) = producers.get_mut(id) else {
            return;
        };
        let mut draft = None;
        for place in &producing.consumers {
            let Some(consuming) = consumers.get_mut(*place).filter(|own| own.on) else {
                continue;
            };
            let before = consuming.layer();
            let draft = draft.get_or_insert_with(|| Draft::new(packet));
            match consuming.take(now, (packet, sequence), &facts, producing.track.layers(), draft) {
                Taken::On => match outlet(consuming.peer, consuming.encoding, draft.packet()) {
                    true => consuming.sent += 1,
                    false => consuming.refused += 1,
                },
                Taken::Not => {}
                Taken::Foreign => events.push(Event::CodecForeign {
                    consumer: *place,
                    payload_type: packet.payload_type,
                }),
            }
            if let Some(consumer) = consuming.pictures_mut()
                && let Some(encoding) = consumer.poll_key_frame(now)
            {
                producing.track.want_key_frame(encoding);
            }
            if consuming.layer() != before && !std::mem::replace(&mut consuming.is_changed, true) {
                changed.push_back(*place);
            }
        }
    }

    fn asks_if_wanted(&mut self, id: ProducerId) {
        let producing = self.producers.get(id);
        if producing.is_some_and(|own| !own.is_asking && own.track.wants_key_frame()) {
            self.asks(id);
        }
    }
}
