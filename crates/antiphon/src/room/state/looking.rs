//! What is told of a room without changing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_jsep::MediaCapabilities;

use super::State;
use super::members::Member;
use crate::room::dump::{CrossingDump, PeerDump, ReceiverDump, RoomDump, SenderDump, TransportDump};
use crate::room::error::Error;
use crate::room::facts::{Delivery, ReceiverFacts, RtpParameters, SenderDelivery, SenderFacts, TransportFacts};
use crate::room::figures::{RoomFigures, Work};
use crate::router::{ConsumerStats, Scores, Shares};

impl State {
    pub(in crate::room) fn capabilities(&self, peer: u64) -> Result<Option<Arc<MediaCapabilities>>, Error> {
        Ok(self.member(peer)?.capabilities.clone())
    }

    pub(in crate::room) fn transports(&self, peer: u64) -> Result<Vec<Arc<TransportFacts>>, Error> {
        let transport = self.member(peer)?.transport().ok();
        Ok(transport.map(|transport| transport.facts.clone()).into_iter().collect())
    }

    pub(in crate::room) fn receivers(&self, peer: u64) -> Result<Vec<Arc<ReceiverFacts>>, Error> {
        let all = self.member(peer)?.receivers.values();
        Ok(all.map(|receiver| receiver.facts.clone()).collect())
    }

    pub(in crate::room) fn senders(&self, peer: u64) -> Result<Vec<Arc<SenderFacts>>, Error> {
        let all = self.member(peer)?.senders.values();
        Ok(all.map(|sender| sender.facts.clone()).collect())
    }

    pub(in crate::room) fn receiver_parameters(&self, peer: u64, id: u64) -> Result<Arc<RtpParameters>, Error> {
        let receiver = self.member(peer)?.receivers.get(&id).ok_or(Error::Gone("receiver"))?;
        Ok(receiver.parameters.clone())
    }

    /// How well the encodings of a receiver arrive.
    pub(in crate::room) async fn receiver_scores(&self, peer: u64, id: u64) -> Result<Scores, Error> {
        let receiver = self.member(peer)?.receivers.get(&id).ok_or(Error::Gone("receiver"))?;
        match &receiver.intake {
            Some(intake) => Ok(intake.producer.stats().await?.scores),
            None => Ok(Scores::default()),
        }
    }

    /// How well a sender does.
    pub(in crate::room) async fn delivery(&self, peer: u64, id: u64) -> Result<Delivery, Error> {
        let sender = self.member(peer)?.senders.get(&id).ok_or(Error::Gone("sender"))?;
        let Some(consumer) = &sender.consumer else {
            return Ok(Delivery::default());
        };
        let stats = consumer.stats().await?;
        Ok(Delivery {
            layer: stats.layer,
            score: stats.score,
        })
    }

    /// How all that goes to a peer does.
    pub(in crate::room) async fn deliveries(&self, peer: u64) -> Result<Vec<SenderDelivery>, Error> {
        let member = self.member(peer)?;
        let senders = member.senders.values();
        let sending = senders.filter_map(|sender| Some((sender.consumer.as_ref()?.id(), sender)));
        let sending: BTreeMap<_, _> = sending.collect();
        let router = &self.site(member.site)?.router;
        let all = router.deliveries(sending.keys().copied().collect()).await?;
        let one = |(stats, encodings): (ConsumerStats, Scores)| {
            let sender = sending.get(&stats.id)?;
            Some(SenderDelivery {
                sender: sender.facts.id,
                kind: sender.facts.receiver.kind,
                mid: sender.parameters.mid.clone(),
                delivery: Delivery {
                    layer: stats.layer,
                    score: stats.score,
                },
                encodings,
                is_starved: stats.is_starved,
            })
        };
        Ok(all.into_iter().filter_map(one).collect())
    }

    /// How a sender was negotiated, and whether it sends.
    pub(in crate::room) fn sender(&self, peer: u64, id: u64) -> Result<(Arc<RtpParameters>, bool), Error> {
        let sender = self.member(peer)?.senders.get(&id).ok_or(Error::Gone("sender"))?;
        Ok((sender.parameters.clone(), sender.active()))
    }

    pub(in crate::room) fn dump(&self) -> RoomDump {
        RoomDump {
            id: self.facts.id,
            name: self.options.name.clone(),
            peers: self.members.values().map(|member| self.dump_member(member)).collect(),
            pipes: self.dump_pipes(),
            crossings: self.crossings(),
        }
    }

    pub(in crate::room) async fn figures(&self) -> Result<RoomFigures, Error> {
        let (mut work, mut shares) = (Work::default(), Shares::default());
        for site in &self.sites {
            let (totals, own, latency) = site.router.figures().await?;
            work += Work { totals, latency };
            shares += own;
        }
        let pipes = self.dump_pipes();
        Ok(RoomFigures {
            id: self.facts.id,
            peers: self.members.len(),
            remote_peers: self.span.as_ref().map_or(0, |span| span.peers.len()),
            pipes: pipes.len(),
            tracks_out: pipes.iter().map(|pipe| pipe.sends.len()).sum(),
            tracks_in: pipes.iter().map(|pipe| pipe.receives.len()).sum(),
            receivers: self.members.values().map(|member| member.receivers.len()).sum(),
            senders: self.members.values().map(|member| member.senders.len()).sum(),
            shares,
            work,
        })
    }

    pub(in crate::room) fn dump_peer(&self, peer: u64) -> Result<PeerDump, Error> {
        Ok(self.dump_member(self.member(peer)?))
    }

    fn dump_member(&self, member: &Member) -> PeerDump {
        PeerDump {
            worker: self.site(member.site).map_or(self.facts.worker, |site| site.worker),
            ..dump(member)
        }
    }

    /// What crosses from one worker to another.
    fn crossings(&self) -> Vec<CrossingDump> {
        let receivers = self.members.values().flat_map(|member| member.receivers.values());
        let crossings = receivers.flat_map(|receiver| {
            receiver.crossed.iter().filter_map(|(site, crossed)| {
                Some(CrossingDump {
                    receiver: receiver.facts.id,
                    worker: self.sites.get(*site)?.worker,
                    active: crossed.is_on,
                })
            })
        });
        crossings.collect()
    }

    pub(in crate::room) async fn dump_transport(&self, peer: u64) -> Result<TransportDump, Error> {
        let member = self.member(peer)?;
        let transport = member.transport()?;
        let local = transport.handle.local_description().await?;
        let candidates = local.iter().flat_map(|local| local.sdp.lines());
        let mut candidates: Vec<String> = candidates
            .filter_map(|line| line.strip_prefix("a=candidate:"))
            .map(str::to_owned)
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        let connection = member.connection.as_ref();
        Ok(TransportDump {
            id: transport.facts.id,
            max_bitrate: connection.and_then(|connection| connection.settings.max_bitrate),
            ice_local_candidates: candidates,
            stats: transport.handle.get_stats().await?,
        })
    }
}

fn dump(member: &Member) -> PeerDump {
    let negotiation = member.connection.as_ref().map(|connection| &connection.negotiation);
    let receivers = member.receivers.values().map(|receiver| ReceiverDump {
        id: receiver.facts.id,
        kind: receiver.facts.kind,
        parameters: RtpParameters::clone(&receiver.parameters),
    });
    let senders = member.senders.values().map(|sender| SenderDump {
        id: sender.facts.id,
        receiver: sender.facts.receiver.id,
        parameters: RtpParameters::clone(&sender.parameters),
        active: sender.active(),
    });
    PeerDump {
        id: member.facts.id,
        name: member.facts.name.to_string(),
        node: member.facts.remote.as_ref().map(|id| id.node.to_string()),
        worker: 0,
        has_capabilities: member.capabilities.is_some(),
        signaling_state: negotiation.map(|negotiation| negotiation.state()),
        is_busy: negotiation.is_some_and(|negotiation| negotiation.is_busy()),
        receivers: receivers.collect(),
        senders: senders.collect(),
    }
}
