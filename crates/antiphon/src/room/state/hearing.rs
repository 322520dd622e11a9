//! How loud everybody is and who leads the talk, as the router hears it, and the packets of single receivers: told while somebody
//! listens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use antiphon_jsep::{MediaKind, TransceiverId};
use antiphon_peer_connection::Packet;

use super::State;
use super::heard::{Hearing, Sound};
use crate::room::error::Error;
use crate::room::facts::{Heard, Leading, Received, ReceiverFacts};
use crate::router::ProducerId;

impl State {
    /// Somebody listens to how loud everybody is, or who leads.
    pub(in crate::room) async fn hear(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed("room"));
        }
        if self.hearing.is_none() {
            self.hearing = Some(Hearing::begin(&self.home()?.router, Instant::now()).await?);
            self.tend_sound().await;
        }
        Ok(())
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
    pub(super) async fn tap(&mut self, peer: u64, receiver: u64) -> Result<(), Error> {
        let member = self.member_mut(peer)?;
        let receiver = member.receivers.get_mut(&receiver).ok_or(Error::Gone("receiver"))?;
        let wanted = receiver.facts.packets.any();
        if std::mem::replace(&mut receiver.tapped, wanted) != wanted {
            if let Some(intake) = &receiver.intake {
                intake.producer.set_copied(wanted).await?;
            }
            self.sync_watches().await;
        }
        Ok(())
    }

    /// A packet of a receiver that somebody listens to.
    pub(super) async fn handle_packet(&mut self, peer: u64, transceiver: TransceiverId, packet: Packet) {
        let Some(member) = self.members.get(&peer) else { return };
        let mut all = member.receivers.iter();
        let Some((&id, receiver)) = all.find(|(_, receiver)| receiver.transceiver() == Some(transceiver)) else {
            return;
        };
        if receiver.facts.packets.any() {
            receiver.facts.packets.tell(Received::Packet(packet));
        } else {
            // Whoever listened does no more. It is there.
            _ = self.tap(peer, id).await;
        }
    }

    /// When it is to be looked whether anybody still listens to the sound.
    pub(super) fn hearing_due(&self) -> Option<Instant> {
        Some(self.hearing.as_ref()?.look_at)
    }

    /// Has the router say no more of sound once nobody listens.
    pub(super) async fn hear_timeout(&mut self, now: Instant) {
        let Some(hearing) = self.hearing.as_mut().filter(|own| own.look_at <= now) else {
            return;
        };
        hearing.look_later(now);
        if !self.facts.heard.any() && !self.facts.leading.any() {
            self.hearing = None;
            if let Ok(home) = self.home() {
                // A router that is gone says nothing either.
                _ = Hearing::end(&home.router).await;
            }
            self.tend_sound().await;
        }
    }

    /// Tells what the router has told of sound.
    pub(super) async fn handle_sound(&mut self, sound: Sound) {
        match sound {
            Sound::Levels(levels) => {
                let facts = self.receivers_by_producer();
                let named = levels
                    .iter()
                    .filter_map(|one| Some(((*facts.get(&one.producer)?).clone(), one.level)));
                self.facts.heard.tell(Heard::Levels(named.collect()));
            }
            Sound::Leader(leader) => self.tell_leader(leader),
            Sound::Missed => {
                if let Ok(home) = self.home()
                    && let Ok(leader) = home.router.dominant().await
                {
                    self.tell_leader(leader);
                }
            }
        }
    }

    fn tell_leader(&self, leader: Option<ProducerId>) {
        let facts = leader.and_then(|leader| self.receivers_by_producer().get(&leader).copied().cloned());
        // Of one that is closed meanwhile the router tells next that it leads no more.
        if leader.is_none() || facts.is_some() {
            self.facts.leading.tell(Leading::Speaker(facts));
        }
    }

    /// All receivers, by the names that the router has for them which hears the whole room.
    fn receivers_by_producer(&self) -> BTreeMap<ProducerId, &Arc<ReceiverFacts>> {
        let receivers = self.members.values().flat_map(|member| member.receivers.values());
        receivers
            .filter_map(|receiver| {
                let facts = &receiver.facts;
                Some((self.heard_as(facts.peer.id, facts.id)?, facts))
            })
            .collect()
    }
}
