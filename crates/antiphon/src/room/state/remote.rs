//! Peers of other nodes and what they send, and what other nodes hear of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antiphon_cluster::{Event, Kind, Peer, PeerId, Track, TrackId};
use antiphon_jsep::MediaKind;

use super::State;
use super::crossing::HOME;
use super::members::{Member, Receiver};
use super::span::{RemoteTrack, Turn};
use crate::room::codecs::described;
use crate::room::error::Error;
use crate::room::events::Listeners;
use crate::room::facts::{Details, PeerFacts, PeerNews, ReceiverFacts, RoomNews, RtpParameters};
use crate::room::log::LogTag;

impl State {
    /// Takes what is heard of other nodes.
    pub(super) async fn handle_turn(&mut self, turn: Turn) {
        let done = match turn {
            Turn::Notice(pipe, notice) => return self.handle_pipe_notice(pipe, notice).await,
            Turn::Event(Event::PeerJoined { peer, known, .. }) => {
                self.add_remote_peer(peer, &known);
                Ok(())
            }
            Turn::Event(Event::PeerChanged { peer, known, .. }) => {
                self.change_remote_peer(&peer, &known);
                Ok(())
            }
            Turn::Event(Event::PeerSaid { peer, text, .. }) => {
                let peer = self.span.as_ref().and_then(|span| span.peers.get(&peer));
                if let Some(member) = peer.and_then(|peer| self.members.get(peer)) {
                    member.facts.news.tell(PeerNews::Said(text.into()));
                }
                Ok(())
            }
            Turn::Event(Event::PeerLeft { peer, .. }) => self.remove_remote_peer(&peer).await,
            Turn::Event(Event::TrackAdded { id, track, .. }) => self.add_remote_track(id, &track),
            Turn::Event(Event::TrackRemoved { id, .. }) => {
                self.remove_remote_track(&id).await;
                Ok(())
            }
            Turn::Event(event) => return self.handle_pipe_event(event).await,
        };
        if let Err(error) = done {
            // What it is about has ended meanwhile.
            self.log.warn(|| format!("room {}: {error}", self.facts.id));
        }
    }

    fn add_remote_peer(&mut self, id: PeerId, known: &Peer) {
        let Some(span) = &mut self.span else { return };
        let facts = Arc::new(PeerFacts {
            id: self.ids.next(),
            name: known.name.as_str().into(),
            remote: Some(id.clone()),
            details: Details::new(&known.details),
            news: Listeners::default(),
        });
        self.log.step(LogTag::Cluster, || {
            let (name, node) = (&known.name, &id.node);
            format!("room {}: peer {} is {name:?} of node {node}", self.facts.id, facts.id)
        });
        span.peers.insert(id, facts.id);
        self.members.insert(facts.id, Member::new(facts.clone(), HOME));
        self.facts.news.tell(RoomNews::NewPeer(facts));
    }

    fn change_remote_peer(&mut self, id: &PeerId, known: &Peer) {
        let peer = self.span.as_ref().and_then(|span| span.peers.get(id));
        if let Some(member) = peer.and_then(|peer| self.members.get(peer)) {
            tell_details(&member.facts, &known.details);
        }
    }

    async fn remove_remote_peer(&mut self, id: &PeerId) -> Result<(), Error> {
        let span = self.span.as_mut();
        match span.and_then(|span| span.peers.remove(id)) {
            Some(peer) => self.close_peer(peer, None).await,
            None => Ok(()),
        }
    }

    fn add_remote_track(&mut self, id: TrackId, track: &Track) -> Result<(), Error> {
        let Some(span) = &mut self.span else { return Ok(()) };
        let peer = *span.peers.get(&id.sender()).ok_or(Error::Gone("peer"))?;
        let receiver = self.ids.next();
        let (peer_id, own) = (peer, receiver);
        span.tracks.insert(
            id,
            RemoteTrack {
                peer,
                receiver,
                watched: false,
            },
        );
        let member = self.members.get_mut(&peer).ok_or(Error::Gone("peer"))?;
        let kind = match track.kind {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        };
        let facts = Arc::new(ReceiverFacts {
            id: receiver,
            kind,
            peer: member.facts.clone(),
            news: Listeners::default(),
            packets: Listeners::default(),
        });
        let (stream, name) = track.name.split_once(' ').unwrap_or(("", &track.name));
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let parameters = RtpParameters {
            codecs: self.facts.capabilities.codecs(kind).iter().map(described).collect(),
            rids: track.encodings.clone(),
            track: text(name),
            streams: text(stream).into_iter().collect(),
            ..RtpParameters::default()
        };
        let receiver = Receiver {
            facts: facts.clone(),
            parameters: Arc::new(parameters),
            intake: None,
            crossed: BTreeMap::new(),
            tapped: false,
        };
        member.receivers.insert(own, receiver);
        member.facts.news.tell(PeerNews::NewReceiver(facts));
        self.log
            .step(LogTag::Rtp, || format!("peer {peer_id} sends {kind}: receiver {own}"));
        self.give_to_others(peer_id, own)
    }

    async fn remove_remote_track(&mut self, id: &TrackId) {
        let span = self.span.as_mut();
        if let Some(track) = span.and_then(|span| span.tracks.remove(id)) {
            self.remove_receiver(track.peer, track.receiver).await;
        }
    }

    /// The cluster lets a peer of ours in, or not.
    pub(super) async fn join_cluster(&self, id: u64, name: &str, details: &str) -> Result<(), Error> {
        let Some(span) = &self.span else { return Ok(()) };
        let (room, peer) = (
            span.name.clone(),
            Peer {
                name: name.to_owned(),
                details: details.to_owned(),
                ..Peer::default()
            },
        );
        let joined = span.ask(move |cluster, _| cluster.join(&room, id, peer)).await;
        joined.map_err(|error| match error {
            antiphon_cluster::Error::NameTaken => Error::DuplicateName(name.to_owned()),
            error => error.into(),
        })
    }

    /// Other nodes hear that a peer of ours is gone.
    pub(super) async fn leave_cluster(&mut self, facts: &PeerFacts) {
        let Some(span) = &mut self.span else { return };
        match &facts.remote {
            Some(id) => _ = span.peers.remove(id),
            None => {
                let (room, id) = (span.name.clone(), facts.id);
                span.tell(move |cluster, now| cluster.leave(now, &room, id)).await;
            }
        }
    }

    /// What the application says of a peer of ours is another text now.
    pub(in crate::room) async fn set_details(&mut self, peer: u64, details: String) -> Result<(), Error> {
        let facts = self.member(peer)?.facts.clone();
        if let Some(id) = &facts.remote {
            return Err(Error::Elsewhere(id.node.to_string()));
        }
        if details.len() > antiphon_cluster::MAX_DETAILS {
            return Err(antiphon_cluster::Error::TooLong("text about the peer").into());
        }
        tell_details(&facts, &details);
        if let Some(span) = &self.span {
            let room = span.name.clone();
            span.ask(move |cluster, _| cluster.set_details(&room, peer, details))
                .await?;
        }
        Ok(())
    }

    /// Other nodes hear what a peer of ours says.
    pub(in crate::room) async fn say(&mut self, peer: u64, text: String) -> Result<(), Error> {
        if let Some(id) = &self.member(peer)?.facts.remote {
            return Err(Error::Elsewhere(id.node.to_string()));
        }
        if let Some(span) = &self.span {
            let room = span.name.clone();
            span.ask(move |cluster, _| cluster.say(&room, peer, text)).await?;
        }
        Ok(())
    }

    /// Other nodes hear of a track of ours.
    pub(super) async fn publish_track(&self, peer: u64, receiver: &Receiver) {
        let Some(span) = &self.span else { return };
        let parameters = &receiver.parameters;
        let stream = parameters.streams.first().map_or("", String::as_str);
        let name = format!("{stream} {}", parameters.track.as_deref().unwrap_or_default());
        let known = Track {
            kind: match receiver.facts.kind {
                MediaKind::Audio => Kind::Audio,
                MediaKind::Video => Kind::Video,
            },
            // Longer ones are no ids (RFC 8830 §2).
            name: if name.len() <= antiphon_cluster::MAX_NAME {
                name
            } else {
                String::new()
            },
            encodings: parameters.rids.clone(),
        };
        let (room, id) = (span.name.clone(), receiver.facts.id);
        let published = span
            .ask(move |cluster, _| cluster.publish(&room, peer, id, known))
            .await;
        if let Err(error) = published {
            self.log
                .error(|| format!("other nodes do not get receiver {id} of peer {peer}: {error}"));
        }
    }

    /// A receiver is gone: other nodes hear of it if it was ours.
    pub(super) async fn forget_track(&mut self, receiver: &Receiver) {
        let Some(span) = &mut self.span else { return };
        let (peer, id) = (receiver.facts.peer.id, receiver.facts.id);
        if receiver.facts.peer.remote.is_some() {
            span.tracks.retain(|_, track| track.receiver != id);
            return;
        }
        let room = span.name.clone();
        span.tell(move |cluster, now| cluster.unpublish(now, &room, peer, id))
            .await;
    }

    /// Has the tracks of other nodes come here that somebody gets, and no others.
    pub(super) async fn sync_watches(&mut self) {
        let Some(span) = &mut self.span else { return };
        if span.tracks.is_empty() {
            return;
        }
        let senders = self.members.values().flat_map(|member| member.senders.values());
        let sent = senders.filter(|sender| sender.agreed);
        let mut wanted: BTreeSet<u64> = sent.map(|sender| sender.facts.receiver.id).collect();
        let receivers = self.members.values().flat_map(|member| &member.receivers);
        wanted.extend(receivers.filter(|(_, own)| own.tapped).map(|(&id, _)| id));
        let mut changed = Vec::new();
        for (id, track) in &mut span.tracks {
            let watched = wanted.contains(&track.receiver);
            if std::mem::replace(&mut track.watched, watched) != watched {
                changed.push((id.clone(), watched));
            }
        }
        if changed.is_empty() {
            return;
        }
        let room = span.name.clone();
        span.tell(move |cluster, now| {
            for (id, watched) in changed {
                // Of a track that is gone meanwhile we hear next.
                _ = match watched {
                    true => cluster.watch(now, &room, &id),
                    false => cluster.unwatch(now, &room, &id),
                };
            }
            Ok(())
        })
        .await;
    }
}

fn tell_details(facts: &PeerFacts, details: &str) {
    let details: Arc<str> = details.into();
    facts.details.set(details.clone());
    facts.news.tell(PeerNews::Details(details));
}
