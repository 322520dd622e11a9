//! What goes from whom to whom: every receiver of a peer is a sender of every other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use antiphon_jsep::{Direction, MediaKind, TransceiverId};
use antiphon_peer_connection::RtcRtpTransceiverInit;

use super::State;
use super::members::{Intake, Member, Receiver, Row, Sender};
use crate::handle::PeerHandle;
use crate::room::codecs::can_take;
use crate::room::error::Error;
use crate::room::events::Listeners;
use crate::room::facts::{PeerNews, ReceiverFacts, ReceiverNews, RtpParameters, SenderFacts, SenderNews};
use crate::room::log::LogTag;
use crate::router::{ConsumeOptions, ProduceOptions};

/// The longest id of a stream in a description (RFC 8830 §2).
const MAX_STREAM_ID: usize = 64;

impl State {
    /// An exchange with a peer has ended: what it sends now, and what it takes.
    pub(super) async fn follow_exchange(&mut self, peer: u64) -> Result<(), Error> {
        let handle = self.member(peer)?.transport()?.handle.clone();
        let rows: Vec<Row> = handle.with(|pc, _| pc.transceivers().map(Row::of).collect()).await?;
        let mut rows: BTreeMap<TransceiverId, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
        self.follow_receivers(peer, &handle, &mut rows).await?;
        self.follow_senders(peer, &rows).await?;
        self.sync_watches().await;
        Ok(())
    }

    async fn follow_receivers(
        &mut self,
        peer: u64,
        handle: &PeerHandle,
        rows: &mut BTreeMap<TransceiverId, Row>,
    ) -> Result<(), Error> {
        let member = self.member_mut(peer)?;
        let mut gone = Vec::new();
        for (&id, receiver) in &mut member.receivers {
            let transceiver = receiver.transceiver();
            let row = transceiver.and_then(|transceiver| rows.get_mut(&transceiver));
            match row.and_then(|row| row.receives.take_if(|parameters| receiver.is_same(parameters))) {
                None => gone.push(id),
                Some(parameters) if parameters != *receiver.parameters => {
                    receiver.parameters = Arc::new(parameters);
                    receiver
                        .facts
                        .news
                        .tell(ReceiverNews::Parameters(receiver.parameters.clone()));
                }
                Some(_) => {}
            }
        }
        for receiver in gone {
            self.remove_receiver(peer, receiver).await;
        }
        let receiving: Vec<_> = self
            .member(peer)?
            .transport()?
            .receiving
            .iter()
            .map(|own| (own.transceiver, own.kind))
            .collect();
        for (transceiver, kind) in receiving {
            if let Some(parameters) = rows.get_mut(&transceiver).and_then(|row| row.receives.take()) {
                self.add_receiver(peer, handle, transceiver, kind, parameters).await?;
            }
        }
        Ok(())
    }

    async fn add_receiver(
        &mut self,
        peer: u64,
        handle: &PeerHandle,
        transceiver: TransceiverId,
        kind: MediaKind,
        parameters: RtpParameters,
    ) -> Result<(), Error> {
        let site = self.site(self.member(peer)?.site)?;
        let producer = site
            .router
            .produce(handle, transceiver, ProduceOptions::default())
            .await?;
        let id = self.ids.next();
        let member = self.member_mut(peer)?;
        let facts = Arc::new(ReceiverFacts {
            id,
            kind,
            peer: member.facts.clone(),
            news: Listeners::default(),
            packets: Listeners::default(),
        });
        let receiver = Receiver {
            facts: facts.clone(),
            parameters: Arc::new(parameters),
            intake: Some(Intake {
                handle: handle.clone(),
                transceiver,
                producer,
            }),
            crossed: BTreeMap::new(),
            tapped: false,
        };
        self.publish_track(peer, &receiver).await;
        let member = self.member_mut(peer)?;
        member.receivers.insert(id, receiver);
        member.facts.news.tell(PeerNews::NewReceiver(facts));
        self.log
            .step(LogTag::Rtp, || format!("peer {peer} sends {kind}: receiver {id}"));
        // Who listens hears the whole room.
        self.tend_crossings(peer, id).await;
        self.give_to_others(peer, id)
    }

    /// Everybody else gets a track that is new.
    pub(super) fn give_to_others(&mut self, peer: u64, id: u64) -> Result<(), Error> {
        let others: Vec<u64> = self.members.keys().copied().filter(|&other| other != peer).collect();
        for other in others {
            if self.add_sender(other, peer, id)?
                && let Some(connection) = &mut self.member_mut(other)?.connection
            {
                connection.negotiation.mark(Instant::now());
            }
        }
        Ok(())
    }

    /// A track of a peer ends, for everybody.
    pub(super) async fn remove_receiver(&mut self, peer: u64, receiver: u64) {
        let Some(removed) = self
            .members
            .get_mut(&peer)
            .and_then(|member| member.receivers.remove(&receiver))
        else {
            return;
        };
        if let Some(intake) = &removed.intake {
            // Of a producer whose peer is gone nothing is left to close.
            _ = intake.producer.close().await;
        }
        removed.end();
        self.forget_track(&removed).await;
        self.log
            .step(LogTag::Rtp, || format!("receiver {receiver} of peer {peer} is closed"));
        for member in self.members.values_mut() {
            remove_senders(member, receiver).await;
        }
    }

    /// A peer that has just told its capabilities gets everything that there is. Its first offer describes all of it.
    pub(super) fn add_senders_of_room(&mut self, peer: u64) -> Result<(), Error> {
        let others = self.members.iter().filter(|(other, _)| **other != peer);
        let all: Vec<(u64, u64)> = others
            .flat_map(|(&other, member)| member.receivers.keys().map(move |&receiver| (other, receiver)))
            .collect();
        for (other, receiver) in all {
            self.add_sender(peer, other, receiver)?;
        }
        Ok(())
    }

    /// A peer gets a track of another. Whether that is to be negotiated: not for a peer that has not told its capabilities, which gets
    /// everything when it does, nor where no codec fits, nor for one that only sends.
    pub(super) fn add_sender(&mut self, to: u64, from: u64, receiver: u64) -> Result<bool, Error> {
        let member = self.member(to)?;
        if member.capabilities.is_none() || member.connection.as_ref().is_some_and(|own| !own.settings.subscribe) {
            return Ok(false);
        }
        let (_, decodable) = self.new_sender(to, from, receiver)?;
        Ok(decodable)
    }

    /// Makes a sender, for a peer that has told its capabilities. Its number, and whether a codec fits.
    pub(super) fn new_sender(&mut self, to: u64, from: u64, receiver: u64) -> Result<(u64, bool), Error> {
        let id = self.ids.next();
        let source = self
            .member(from)?
            .receivers
            .get(&receiver)
            .ok_or(Error::Gone("receiver"))?;
        let (source, codecs) = (source.facts.clone(), source.parameters.clone());
        let member = self.member_mut(to)?;
        let capabilities = member.capabilities.as_ref().ok_or(Error::NoCapabilities)?;
        let decodable = can_take(capabilities, source.kind, &codecs.codecs);
        let facts = Arc::new(SenderFacts {
            id,
            peer: member.facts.clone(),
            receiver: source,
            news: Listeners::default(),
        });
        let sender = Sender {
            facts: facts.clone(),
            transceiver: None,
            parameters: Arc::default(),
            enabled: true,
            preferred: (u8::MAX, u8::MAX),
            decodable,
            agreed: false,
            consumer: None,
        };
        member.senders.insert(id, sender);
        member.facts.news.tell(PeerNews::NewSender(facts));
        self.log.step(LogTag::Rtp, || {
            format!("receiver {receiver} goes to peer {to}: sender {id}")
        });
        Ok((id, decodable))
    }

    /// The streams of what a peer sends, as others see them.
    pub(super) fn streams_of(&self, peer: u64, receiver: u64) -> Vec<String> {
        let source = self.members.get(&peer);
        let source = source.and_then(|member| member.receivers.get(&receiver));
        source.map_or_else(Vec::new, stream_ids)
    }

    /// Gives each new sender its place in the connection, for the offer that is made now.
    pub(super) async fn place_senders(&mut self, peer: u64) -> Result<(), Error> {
        let member = self.member(peer)?;
        let handle = member.transport()?.handle.clone();
        let new = member
            .senders
            .values()
            .filter(|sender| sender.decodable && sender.transceiver.is_none());
        let new: Vec<_> = new
            .map(|sender| {
                let source = &sender.facts.receiver;
                (sender.facts.clone(), self.streams_of(source.peer.id, source.id))
            })
            .collect();
        for (facts, streams) in new {
            let init = RtcRtpTransceiverInit {
                streams,
                track_id: Some(format!("sender-{}", facts.id)),
                ..RtcRtpTransceiverInit::new(Direction::SendOnly)
            };
            let transceiver = match handle.add_transceiver(facts.receiver.kind, init).await {
                Ok(transceiver) => transceiver,
                Err(crate::Error::Peer(antiphon_peer_connection::Error::TooMany(what))) => {
                    self.log
                        .error(|| format!("peer {peer} gets no more tracks: too many {what}"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(sender) = self.member_mut(peer)?.senders.get_mut(&facts.id) {
                sender.transceiver = Some(transceiver);
            }
        }
        Ok(())
    }

    async fn follow_senders(&mut self, peer: u64, rows: &BTreeMap<TransceiverId, Row>) -> Result<(), Error> {
        let senders: Vec<u64> = self.member(peer)?.senders.keys().copied().collect();
        for id in senders {
            let Some(sender) = self.member_mut(peer)?.senders.get_mut(&id) else {
                continue;
            };
            let Some(transceiver) = sender.transceiver else {
                continue;
            };
            let sends = rows.get(&transceiver).and_then(|row| row.sends.as_ref());
            sender.agreed = sends.is_some();
            if let Some(sends) = sends
                && *sends != *sender.parameters
            {
                sender.parameters = Arc::new(sends.clone());
                sender
                    .facts
                    .news
                    .tell(SenderNews::Parameters(sender.parameters.clone()));
            }
            if sender.agreed {
                self.begin_sending(peer, id).await?;
            } else if let Some(consumer) = sender.consumer.take() {
                let source = sender.facts.receiver.clone();
                if sender.enabled {
                    sender.facts.news.tell(SenderNews::Active(false));
                }
                // Of one whose source is gone nothing is left to close.
                _ = consumer.close().await;
                self.tend_crossings(source.peer.id, source.id).await;
            }
        }
        Ok(())
    }

    /// A sender that was agreed on forwards from now on, if its track comes in.
    pub(super) async fn begin_sending(&mut self, peer: u64, id: u64) -> Result<(), Error> {
        let member = self.member(peer)?;
        let Some(sender) = member.senders.get(&id) else {
            return Ok(());
        };
        let (Some(transceiver), true, None) = (sender.transceiver, sender.agreed, &sender.consumer) else {
            return Ok(());
        };
        let (level, temporal) = sender.preferred;
        let options = ConsumeOptions {
            paused: !sender.enabled,
            level,
            temporal,
            ..ConsumeOptions::default()
        };
        let source = sender.facts.receiver.clone();
        let handle = member.transport()?.handle.clone();
        let consumer = match self.consume(peer, &source, (&handle, transceiver), options).await {
            Ok(Some(consumer)) => consumer,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.log
                    .warn(|| format!("peer {peer}: sender {id} cannot send: {error}"));
                return Ok(());
            }
        };
        if let Some(sender) = self.member_mut(peer)?.senders.get_mut(&id) {
            sender.consumer = Some(consumer);
            if sender.enabled {
                sender.facts.news.tell(SenderNews::Active(true));
            }
        }
        self.tend_crossings(source.peer.id, source.id).await;
        Ok(())
    }

    pub(in crate::room) async fn request_key_frame(&mut self, peer: u64, receiver: u64) -> Result<(), Error> {
        let member = self.member(peer)?;
        let receiver = member.receivers.get(&receiver).ok_or(Error::Gone("receiver"))?;
        // One that does not come in yet begins with a key frame.
        let Some(intake) = &receiver.intake else { return Ok(()) };
        Ok(intake.handle.request_key_frame(intake.transceiver).await?)
    }

    /// Lets a sender send, or not, without an exchange. `tell`: whether listeners hear of it.
    pub(in crate::room) async fn enable(
        &mut self,
        peer: u64,
        sender: u64,
        enabled: bool,
        tell: bool,
    ) -> Result<(), Error> {
        let member = self.member_mut(peer)?;
        let sender = member.senders.get_mut(&sender).ok_or(Error::Gone("sender"))?;
        let before = sender.active();
        sender.enabled = enabled;
        if let Some(consumer) = &sender.consumer {
            if enabled {
                consumer.resume().await?;
            } else {
                consumer.pause().await?;
            }
        }
        let has_changed = sender.active() != before;
        if tell && has_changed {
            sender.facts.news.tell(SenderNews::Active(!before));
        }
        let source = sender.facts.receiver.clone();
        if has_changed {
            self.tend_crossings(source.peer.id, source.id).await;
        }
        Ok(())
    }

    /// A sender sends no larger layers than these.
    pub(in crate::room) async fn prefer(
        &mut self,
        peer: u64,
        sender: u64,
        level: u8,
        temporal: u8,
    ) -> Result<(), Error> {
        let member = self.member_mut(peer)?;
        let sender = member.senders.get_mut(&sender).ok_or(Error::Gone("sender"))?;
        sender.preferred = (level, temporal);
        if let Some(consumer) = &sender.consumer {
            consumer.set_preferred_layers(level, temporal).await?;
        }
        Ok(())
    }
}

/// A receiver is gone: a peer gets nothing of it any more, and its connection loses the section with the next exchange.
pub(super) async fn remove_senders(member: &mut Member, receiver: u64) {
    let own = member
        .senders
        .iter()
        .find(|(_, sender)| sender.facts.receiver.id == receiver);
    let Some(sender) = own.map(|(&id, _)| id).and_then(|id| member.senders.remove(&id)) else {
        return;
    };
    sender.facts.news.tell(SenderNews::Close);
    if let Some(consumer) = &sender.consumer {
        // Its producer may have taken it along.
        _ = consumer.close().await;
    }
    let Some(transceiver) = sender.transceiver else { return };
    if let Ok(transport) = member.transport() {
        // Of a connection that is gone, or a transceiver that the client has refused, nothing is left to stop.
        _ = transport.handle.stop_transceiver(transceiver).await;
    }
    if let Some(connection) = &mut member.connection {
        connection.negotiation.mark(Instant::now());
    }
}

/// Streams as others see them: those of two peers are never one, whatever the clients call them.
fn stream_ids(source: &Receiver) -> Vec<String> {
    let peer = source.facts.peer.id;
    let own = source.parameters.streams.iter();
    let mut ids: Vec<String> = own
        .map(|stream| format!("peer-{peer}-{stream}").chars().take(MAX_STREAM_ID).collect())
        .collect();
    if ids.is_empty() {
        ids.push(format!("peer-{peer}"));
    }
    ids
}
