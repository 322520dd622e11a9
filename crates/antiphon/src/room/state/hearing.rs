//! How loud everybody is and who leads the talk, and the packets of single receivers: worked out while somebody listens.

use std::sync::Arc;
use std::time::Instant;

use antiphon_jsep::{MediaKind, TransceiverId};
use antiphon_peer_connection::Packet;
use antiphon_sfu::speakers::Event;

use super::State;
use super::heard::Hearing;
use crate::room::error::Error;
use crate::room::facts::{Heard, Leading, Received};

impl State {
    /// Somebody listens to how loud everybody is, or who leads.
    pub(in crate::room) async fn hear(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed("room"));
        }
        if self.hearing.is_none() {
            self.hearing = Some(Hearing::new(Instant::now()));
            for (peer, receiver) in self.sounds() {
                self.hear_receiver(peer, receiver).await?;
            }
        }
        Ok(())
    }

    /// A receiver is heard from now on, if it is sound and somebody listens.
    pub(super) async fn hear_receiver(&mut self, peer: u64, receiver: u64) -> Result<(), Error> {
        let facts = self
            .member(peer)?
            .receivers
            .get(&receiver)
            .ok_or(Error::Gone("receiver"))?
            .facts
            .clone();
        if let Some(hearing) = &mut self.hearing
            && facts.kind == MediaKind::Audio
        {
            hearing.add(&facts);
            self.tap(peer, receiver).await?;
        }
        Ok(())
    }

    /// A receiver is gone.
    pub(super) fn unhear(&mut self, receiver: u64) {
        if let Some(hearing) = &mut self.hearing {
            hearing.remove(receiver);
        }
        self.tell_heard();
    }

    /// Somebody listens to a receiver's packets: they come here besides being forwarded. A decoder needs a key frame to begin.
    pub(in crate::room) async fn take_packets(&mut self, peer: u64, receiver: u64) -> Result<(), Error> {
        self.tap(peer, receiver).await?;
        let facts = &self
            .member(peer)?
            .receivers
            .get(&receiver)
            .ok_or(Error::Gone("receiver"))?
            .facts;
        if facts.kind == MediaKind::Video {
            self.request_key_frame(peer, receiver).await?;
        }
        Ok(())
    }

    /// Has a receiver's packets come here as long as they are for somebody.
    async fn tap(&mut self, peer: u64, receiver: u64) -> Result<(), Error> {
        let hears = self.hearing.is_some();
        let member = self.member_mut(peer)?;
        let receiver = member.receivers.get_mut(&receiver).ok_or(Error::Gone("receiver"))?;
        let wanted = receiver.facts.packets.any() || (hears && receiver.facts.kind == MediaKind::Audio);
        if std::mem::replace(&mut receiver.tapped, wanted) != wanted {
            receiver.producer.set_copied(wanted).await?;
        }
        Ok(())
    }

    /// A packet of a receiver that somebody listens to.
    pub(super) async fn handle_packet(&mut self, peer: u64, transceiver: TransceiverId, packet: Packet) {
        let Some(member) = self.members.get(&peer) else { return };
        let mut all = member.receivers.iter();
        let Some((&id, receiver)) = all.find(|(_, receiver)| receiver.transceiver == transceiver) else {
            return;
        };
        let is_heard = match &mut self.hearing {
            Some(hearing) if receiver.facts.kind == MediaKind::Audio => {
                hearing.take(Instant::now(), id, &packet);
                true
            }
            _ => false,
        };
        if receiver.facts.packets.any() {
            receiver.facts.packets.tell(Received::Packet(packet));
        } else if !is_heard {
            // Whoever listened does no more. It is there.
            _ = self.tap(peer, id).await;
        }
    }

    /// When levels are due.
    pub(super) fn hearing_due(&self) -> Option<Instant> {
        self.hearing.as_ref()?.speakers.poll_timeout()
    }

    /// Tells what was heard, if it is time.
    pub(super) async fn hear_timeout(&mut self, now: Instant) {
        let Some(hearing) = &mut self.hearing else { return };
        hearing.speakers.handle_timeout(now);
        self.tell_heard();
        if !self.facts.heard.any() && !self.facts.leading.any() {
            self.hearing = None;
            for (peer, receiver) in self.sounds() {
                // It is there.
                _ = self.tap(peer, receiver).await;
            }
        }
    }

    fn tell_heard(&mut self) {
        let Some(hearing) = &mut self.hearing else { return };
        while let Some(event) = hearing.speakers.poll_event() {
            match event {
                Event::Volumes(volumes) => {
                    let level = volumes
                        .iter()
                        .filter_map(|volume| Some((hearing.at(volume.producer)?, volume.level)));
                    self.facts.heard.tell(Heard::Levels(level.collect()));
                }
                Event::Silence => self.facts.heard.tell(Heard::Levels(Arc::default())),
                Event::Dominant(number) => {
                    let leader = number.and_then(|number| hearing.at(number));
                    self.facts.leading.tell(Leading::Speaker(leader));
                }
            }
        }
    }

    /// The receivers of sound, and whose they are.
    fn sounds(&self) -> Vec<(u64, u64)> {
        let of = |(&peer, member): (&u64, &super::members::Member)| {
            let all = member.receivers.iter();
            let sounds = all.filter(|(_, receiver)| receiver.facts.kind == MediaKind::Audio);
            sounds.map(|(&id, _)| (peer, id)).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of).collect()
    }
}
