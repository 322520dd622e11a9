//! The way of a packet through a router.

use std::time::Instant;

use antiphon_media::Packet;
use antiphon_peer_connection::{EncodingId, TransceiverId};

use super::Router;
use super::consuming::Taken;
use super::event::Event;
use super::names::PeerKey;

impl Router {
    /// Takes a packet that a transceiver of a peer received, and hands what each consumer gets of it to `outlet`, which
    /// says whether the consumer's connection took it. `false`: no producer takes packets of this transceiver.
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
        let Self {
            producers,
            consumers,
            changed,
            events,
            ..
        } = self;
        let Some(producing) = producers.get_mut(id) else {
            return false;
        };
        producing.packets += 1;
        producing.bytes += packet.payload.len() as u64;
        let Some(facts) = producing.track.take(now, packet) else {
            if producing.track.wants_key_frame() {
                self.asks(id);
            }
            return true;
        };
        // Layers are known, and their rates measured, while nobody gets them.
        if producing.paused {
            return true;
        }
        for place in &producing.consumers {
            let Some(consuming) = consumers.get_mut(*place).filter(|own| own.on) else {
                continue;
            };
            let before = consuming.layer();
            match consuming.take(now, packet, &facts, producing.track.layers()) {
                Taken::On(written) => match outlet(consuming.peer, consuming.encoding, &written) {
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
        if producing.track.wants_key_frame() {
            self.asks(id);
        }
        true
    }
}
