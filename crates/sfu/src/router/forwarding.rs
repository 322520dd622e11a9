//! The way of packets through a router.

use std::time::Instant;

use antiphon_media::Packet;
use antiphon_peer_connection::{EncodingId, MediaKind, TransceiverId};

use super::Router;
use super::consuming::Taken;
use super::event::Event;
use super::going::Going;
use super::names::{PeerKey, ProducerId};
use crate::draft::Draft;

impl Router {
    /// Takes one packet: a run of one, as [`Self::handle_packets`] has it.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        peer: PeerKey,
        transceiver: TransceiverId,
        packet: &Packet,
        outlet: impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) -> bool {
        self.handle_packets(now, peer, transceiver, std::slice::from_ref(packet), outlet)
    }

    /// Takes packets that a transceiver of a peer received together, in the order in which they came, and hands what each consumer gets
    /// of them to `outlet`, which says whether the consumer's connection took it. `false`: the packets are also for the
    /// application of the peer, for no producer takes packets of this transceiver, or they are [copied](Self::set_copied).
    ///
    /// The outlet is called before this returns: there is no queue in between. A consumer gets all that is for it before the next one
    /// has its turn: what its connection knows is then in the processor's caches, which costs most where there are many.
    pub fn handle_packets(
        &mut self,
        now: Instant,
        peer: PeerKey,
        transceiver: TransceiverId,
        packets: &[Packet],
        mut outlet: impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) -> bool {
        let Some(id) = self.receiving.get(&(peer, transceiver)).copied() else {
            return false;
        };
        self.take_run(now, id, packets, &mut outlet);
        self.producers.get(id).is_some_and(|own| !own.is_copied)
    }

    /// Takes packets of one producer.
    pub(super) fn take_run(
        &mut self,
        now: Instant,
        id: ProducerId,
        packets: &[Packet],
        outlet: &mut impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) {
        for (place, packet) in packets.iter().enumerate() {
            self.look_at(now, id, (place, packet), packets, outlet);
        }
        self.hand_out(now, id, packets, outlet);
        self.asks_if_wanted(id);
    }

    /// Reads what a packet says of its layer, and keeps it for the consumers if it goes on.
    fn look_at(
        &mut self,
        now: Instant,
        id: ProducerId,
        (place, packet): (usize, &Packet),
        packets: &[Packet],
        outlet: &mut impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) {
        let Some(producing) = self.producers.get_mut(id) else {
            return;
        };
        producing.packets += 1;
        producing.bytes += packet.payload.len() as u64;
        let facts = producing.track.take(now, packet);
        let (is_paused, kind) = (producing.paused, producing.kind);
        if facts.is_some() && producing.payload_type != Some(packet.payload_type) {
            producing.note_payload_type(packet.payload_type);
        }
        if producing.track.layers().version() != producing.shared {
            // What came before goes on by what was known then.
            self.hand_out(now, id, packets, outlet);
            self.layers_changed(now, id);
        }
        // Layers are known, and their rates measured, while nobody gets them.
        let Some(facts) = facts.filter(|_| !is_paused) else {
            return;
        };
        let Some(producing) = self.producers.get_mut(id) else {
            return;
        };
        producing.arrivals.take(facts.encoding, packet);
        let has_pipes = producing.pipes > 0;
        self.begin_scoring(now);
        let heard = match kind {
            MediaKind::Video => Some(packet.sequence),
            MediaKind::Audio => self.hear(now, id, packet),
        };
        if heard.is_none() && !has_pipes {
            return;
        }
        self.run.push(Going {
            place,
            sequence: heard.unwrap_or(packet.sequence),
            is_quiet: heard.is_none(),
            facts,
            draft: None,
        });
    }

    /// Shows each consumer what has been kept, and keeps nothing of it.
    fn hand_out(
        &mut self,
        now: Instant,
        id: ProducerId,
        packets: &[Packet],
        outlet: &mut impl FnMut(PeerKey, EncodingId, &Packet) -> bool,
    ) {
        let Self {
            producers,
            consumers,
            changed,
            events,
            run,
            fetching,
            ..
        } = self;
        let Some(producing) = producers.get_mut(id).filter(|_| !run.is_empty()) else {
            return run.clear();
        };
        for place in &producing.consumers {
            let Some(consuming) = consumers.get_mut(*place).filter(|own| own.on) else {
                continue;
            };
            let (before, is_pipe) = (consuming.layer(), consuming.is_pipe());
            for going in &mut *run {
                let Some(packet) = packets.get(going.place) else {
                    continue;
                };
                let Going {
                    sequence, facts, draft, ..
                } = going;
                if going.is_quiet && !is_pipe {
                    continue;
                }
                let draft = draft.get_or_insert_with(|| Draft::new(packet));
                let mut across = None;
                match consuming.take(now, (packet, *sequence), facts, &producing.track, draft) {
                    Taken::On => {}
                    Taken::Across(rid) => across = rid,
                    Taken::Not => continue,
                    Taken::Foreign => {
                        events.push(Event::CodecForeign {
                            consumer: *place,
                            payload_type: packet.payload_type,
                        });
                        continue;
                    }
                }
                let is_taken = match consuming.to {
                    Some((peer, own)) => {
                        let rid = across.or(own.rid);
                        outlet(peer, EncodingId { rid, ..own }, draft.packet())
                    }
                    None => {
                        if consuming.post(draft.packet(), across) {
                            fetching.push(*place);
                        }
                        true
                    }
                };
                match is_taken {
                    true => {
                        consuming.sent += 1;
                        consuming.bytes += draft.packet().payload.len() as u64;
                    }
                    false => consuming.refused += 1,
                }
            }
            while let Some(encoding) = consuming.wanted_key_frame(now) {
                producing.track.want_key_frame(encoding);
            }
            if consuming.layer() != before {
                consuming.switched(before);
                if !std::mem::replace(&mut consuming.is_changed, true) {
                    changed.push_back(*place);
                }
            }
        }
        run.clear();
    }

    fn asks_if_wanted(&mut self, id: ProducerId) {
        let producing = self.producers.get(id);
        if producing.is_some_and(|own| !own.is_asking && own.track.wants_key_frame()) {
            self.asks(id);
        }
    }
}
