//! Where the peers of a room live, and which tracks cross from one of its workers to another: each once, and while somebody there gets
//! it.

use antiphon_jsep::{MediaKind, TransceiverId};

use super::State;
use super::members::{Crossed, Sender};
use crate::handle::PeerHandle;
use crate::room::error::Error;
use crate::room::facts::ReceiverFacts;
use crate::room::worker::Site;
use crate::router::{ConsumeOptions, Consumer, ProducerId};

/// The room's own worker, which hears the whole room while somebody listens. Connections to other nodes are there.
pub(super) const HOME: usize = 0;

impl State {
    /// A place where peers live.
    pub(super) fn site(&self, site: usize) -> Result<&Site, Error> {
        self.sites.get(site).ok_or(Error::Closed("worker"))
    }

    /// The room's own.
    pub(super) fn home(&self) -> Result<&Site, Error> {
        self.site(HOME)
    }

    /// Where the fewest peers live.
    pub(super) fn emptiest_site(&self) -> usize {
        let here = || self.members.values().filter(|member| member.facts.remote.is_none());
        let living = |site: &usize| here().filter(|member| member.site == *site).count();
        (0..self.sites.len()).min_by_key(living).unwrap_or(HOME)
    }

    /// Has a peer get what a receiver produces, wherever that lives; `None`: the receiver is gone.
    pub(super) async fn consume(
        &mut self,
        peer: u64,
        source: &ReceiverFacts,
        (handle, transceiver): (&PeerHandle, TransceiverId),
        options: ConsumeOptions,
    ) -> Result<Option<Consumer>, Error> {
        let site = self.member(peer)?.site;
        let Some(producer) = self.producer_at(source.peer.id, source.id, site).await? else {
            return Ok(None);
        };
        let consumed = self.site(site)?.router.consume(producer, handle, transceiver, options);
        Ok(Some(consumed.await?))
    }

    /// What a receiver is at a site. It crosses to there, unless it does already.
    pub(super) async fn producer_at(
        &mut self,
        peer: u64,
        receiver: u64,
        site: usize,
    ) -> Result<Option<ProducerId>, Error> {
        let Some(member) = self.members.get(&peer) else {
            return Ok(None);
        };
        let own = member.site;
        let Some(source) = member.receivers.get(&receiver) else {
            return Ok(None);
        };
        if let Some(producer) = source.at(own, site) {
            return Ok(Some(producer.id()));
        }
        let (from, to) = (&self.site(own)?.router, &self.site(site)?.router);
        let Some(intake) = &source.intake else {
            return Ok(None);
        };
        let (pipe, producer) = from.cross(intake.producer.id(), to).await?;
        let id = producer.id();
        let crossed = Crossed {
            pipe,
            producer,
            is_on: true,
        };
        // Nothing else happens in the room meanwhile.
        if let Some(source) = self.member_mut(peer)?.receivers.get_mut(&receiver) {
            source.crossed.insert(site, crossed);
        }
        Ok(Some(id))
    }

    /// Who gets a receiver has changed: it crosses to where somebody gets it, and to nowhere else; where all who could get it have it
    /// switched off, nothing crosses for a while.
    pub(super) async fn tend_crossings(&mut self, peer: u64, receiver: u64) {
        if self.sites.len() < 2 {
            return;
        }
        let Some(source) = self.members.get(&peer) else { return };
        let own = source.site;
        let Some(kind) = source.receivers.get(&receiver).map(|source| source.facts.kind) else {
            return;
        };
        for site in (0..self.sites.len()).filter(|site| *site != own) {
            let is_heard = site == HOME && kind == MediaKind::Audio && self.hearing.is_some();
            if is_heard && let Err(error) = self.producer_at(peer, receiver, site).await {
                self.log
                    .warn(|| format!("receiver {receiver} of peer {peer} is not heard: {error}"));
            }
            let there = self.members.values().filter(|member| member.site == site);
            let of_it = |sender: &&Sender| sender.facts.receiver.id == receiver && sender.consumer.is_some();
            let goes_out = site == HOME && self.goes_out(receiver);
            let (mut is_got, mut is_on) = (is_heard || goes_out, is_heard || goes_out);
            for sender in there.flat_map(|member| member.senders.values()).filter(of_it) {
                (is_got, is_on) = (true, is_on || sender.enabled);
            }
            let Some(member) = self.members.get_mut(&peer) else {
                return;
            };
            let Some(source) = member.receivers.get_mut(&receiver) else {
                return;
            };
            let Some(crossed) = source.crossed.get_mut(&site) else {
                continue;
            };
            // What is closed already needs nothing more.
            if !is_got {
                _ = crossed.pipe.close().await;
                _ = crossed.producer.close().await;
                source.crossed.remove(&site);
            } else if std::mem::replace(&mut crossed.is_on, is_on) != is_on {
                match is_on {
                    true => _ = crossed.pipe.resume().await,
                    false => _ = crossed.pipe.pause().await,
                }
            }
        }
    }

    /// The same for all sound, when somebody begins or ends to listen to the room.
    pub(super) async fn tend_sound(&mut self) {
        let all: Vec<(u64, u64)> = self
            .members
            .iter()
            .flat_map(|(&peer, member)| member.receivers.keys().map(move |&receiver| (peer, receiver)))
            .collect();
        for (peer, receiver) in all {
            self.tend_crossings(peer, receiver).await;
        }
    }

    /// The name of a receiver in the router that hears the whole room.
    pub(super) fn heard_as(&self, peer: u64, receiver: u64) -> Option<ProducerId> {
        let member = self.members.get(&peer)?;
        let producer = member.receivers.get(&receiver)?.at(member.site, HOME)?;
        Some(producer.id())
    }
}
