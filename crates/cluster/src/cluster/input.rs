//! What comes from the bus.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Cluster, MAX_EVENTS, pipe_id, tell_left};
use crate::event::Event;
use crate::message::{Answer, Ask, Body, Close, Digest, Envelope, Offer, PeerState, Say, Unreadable, Watch};
use crate::names::{NodeName, RoomName};
use crate::nodes::Heard;
use crate::peer::{MAX_PEERS, Peer, PeerId, TrackId};
use crate::pipe::{Pipe, Step};
use crate::room::Remote;

impl Cluster {
    /// A message of a subject that is listened to, our own included: without those the bus counts as away.
    pub fn handle_message(&mut self, now: Instant, message: &[u8]) {
        if self.closed {
            return;
        }
        let envelope = match Envelope::parse(message) {
            Ok(envelope) => envelope,
            Err(Unreadable::TooLarge) => return self.counts.too_large += 1,
            Err(Unreadable::OtherVersion) => return self.counts.other_version += 1,
            Err(Unreadable::Malformed) => return self.counts.malformed += 1,
        };
        let node = envelope.node;
        if node == self.config.node {
            return self.handle_own(now, envelope.run, &envelope.body);
        }
        if self.events.len() >= MAX_EVENTS {
            return self.counts.unread += 1;
        }
        match self.nodes.hear(now, &node, envelope.run) {
            Heard::Known => {}
            Heard::New => self.events.push_back(Event::NodeUp(node.clone())),
            Heard::Again => {
                self.forget_node(&node);
                self.nodes.hear(now, &node, envelope.run);
                self.events.push_back(Event::NodeUp(node.clone()));
            }
            Heard::Stale => return self.counts.stale += 1,
            Heard::TooMany => return self.counts.too_many_nodes += 1,
        }
        self.counts.taken += 1;
        let room = match &envelope.body {
            Body::Beat {} => return,
            Body::Bye {} => return self.forget_node(&node),
            Body::Digest(Digest { room, .. })
            | Body::Peer(PeerState { room, .. })
            | Body::Ask(Ask { room, .. })
            | Body::Watch(Watch { room, .. })
            | Body::Say(Say { room, .. })
            | Body::Offer(Offer { room, .. })
            | Body::Answer(Answer { room, .. })
            | Body::Close(Close { room, .. }) => room.clone(),
        };
        if !self.acquaint(now, &room, &node, &envelope.body) {
            return self.counts.elsewhere += 1;
        }
        match envelope.body {
            Body::Beat {} | Body::Bye {} => {}
            Body::Digest(digest) => self.handle_digest(&room, &node, &digest),
            Body::Peer(state) => self.handle_peer(&room, &node, state),
            Body::Ask(ask) => self.handle_ask(&room, &node, &ask),
            Body::Watch(watch) => self.handle_watch(now, &room, &node, watch),
            Body::Say(say) => self.handle_say(&room, &node, say),
            Body::Offer(offer) => self.handle_offer(&room, &node, offer),
            Body::Answer(answer) => self.handle_answer(&room, &node, answer),
            Body::Close(close) => self.handle_close(&room, &node, &close),
        }
        self.due.insert(room.clone());
        self.settle(now, &room, &node);
    }

    /// Something of our own came back, or of somebody with our name.
    fn handle_own(&mut self, now: Instant, run: u64, body: &Body) {
        if run > self.config.run {
            self.end();
            self.events.push_back(Event::Displaced);
        } else if run < self.config.run {
            self.counts.stale += 1;
        } else if let Body::Beat {} = body {
            if self.bus.hear_own(now) {
                self.regain_bus(now);
            }
            for node in self.nodes.silent(now, self.config.silence) {
                self.forget_node(&node);
            }
        }
    }

    /// The bus works again: everything is told and asked for anew, and the others have a while to come back too.
    fn regain_bus(&mut self, now: Instant) {
        self.events.push_back(Event::BusBack);
        self.digest = Some(now + self.config.digest);
        self.nodes.excuse(
            (now + self.config.grace)
                .checked_sub(self.config.silence)
                .unwrap_or(now),
        );
        let rooms: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for room in self.rooms.values_mut() {
            room.tell_all();
            for remote in room.remotes.values_mut() {
                remote.heard = now;
                match &mut remote.pipe {
                    Some(Pipe::Offering(offering)) => {
                        if let Step::Offered(offered) = &mut offering.step {
                            offered.due = true;
                        }
                    }
                    Some(Pipe::Answering(answering)) => answering.due = answering.answer.is_some(),
                    None => {}
                }
            }
        }
        for room in rooms {
            self.settle_room(now, &room);
            self.due.insert(room);
        }
    }

    /// Whether a message about a room means anything here. The other node has somebody there, then, or had.
    fn acquaint(&mut self, now: Instant, room: &RoomName, node: &NodeName, body: &Body) -> bool {
        let revision = self.next_revision();
        let Some(here) = self.rooms.get_mut(room) else {
            return false;
        };
        let leaves = matches!(body, Body::Digest(digest) if digest.peers.is_empty());
        if leaves && !here.remotes.contains_key(node) {
            return false;
        }
        let remote = here.remotes.entry(node.clone());
        remote.or_insert_with(|| Remote::new(now, revision)).heard = now;
        true
    }

    fn handle_digest(&mut self, room: &RoomName, node: &NodeName, digest: &Digest) {
        if digest.peers.is_empty() {
            return self.forget_remote(room, node);
        }
        let Some(here) = self.rooms.get_mut(room) else { return };
        if digest.ask {
            here.digest = true;
            for local in here.locals.values_mut() {
                local.due = true;
            }
        }
        let Some(remote) = here.remotes.get_mut(node) else {
            return;
        };
        let known = |peer: &u64| remote.peers.get(peer).map_or(0, |(revision, _)| *revision);
        let newer = digest.peers.iter().filter(|(peer, revision)| *revision > known(peer));
        remote.missing = newer.map(|(peer, _)| *peer).collect();
        let watches = digest.watches.iter().find(|(of, _)| *of == self.config.node);
        remote.wanted_missing = watches.is_some_and(|(_, revision)| *revision > remote.wanted_revision);
        remote.watching_due |= digest.ask;
        let listed: BTreeSet<u64> = digest.peers.iter().map(|(peer, _)| *peer).collect();
        let gone: Vec<u64> = remote
            .peers
            .keys()
            .filter(|peer| !listed.contains(peer))
            .copied()
            .collect();
        for peer in gone {
            if let Some((_, known)) = remote.peers.remove(&peer) {
                let node = node.clone();
                tell_left(&mut self.events, room, PeerId { node, peer }, &known);
            }
        }
        self.watch_what_is_there(room, node);
    }

    fn handle_say(&mut self, room: &RoomName, node: &NodeName, say: Say) {
        let remote = self.rooms.get(room).and_then(|here| here.remotes.get(node));
        if !remote.is_some_and(|remote| remote.peers.contains_key(&say.id)) {
            return self.counts.late += 1;
        }
        self.events.push_back(Event::PeerSaid {
            room: room.clone(),
            peer: PeerId {
                node: node.clone(),
                peer: say.id,
            },
            text: say.text,
        });
    }

    fn handle_peer(&mut self, room: &RoomName, node: &NodeName, state: PeerState) {
        let Some(remote) = self.rooms.get_mut(room).and_then(|here| here.remotes.get_mut(node)) else {
            return;
        };
        let peer = PeerId {
            node: node.clone(),
            peer: state.id,
        };
        let before = match remote.peers.get(&state.id) {
            Some((revision, _)) if *revision >= state.revision => return self.counts.late += 1,
            None if remote.peers.len() >= MAX_PEERS => return self.counts.malformed += 1,
            Some((_, known)) => Some(known.clone()),
            None => None,
        };
        remote.missing.remove(&state.id);
        remote.peers.insert(state.id, (state.revision, state.peer.clone()));
        let (room, known) = (room.clone(), state.peer);
        let old = before.clone().unwrap_or_default();
        if before.is_none() {
            let (room, peer, known) = (room.clone(), peer.clone(), known.clone());
            self.events.push_back(Event::PeerJoined { room, peer, known });
        } else if (&old.name, &old.details) != (&known.name, &known.details) {
            let (room, peer, known) = (room.clone(), peer.clone(), known.clone());
            self.events.push_back(Event::PeerChanged { room, peer, known });
        }
        let others = self.tell_tracks(&room, &peer, &old, &known);
        // A track that is another now is watched by nobody: who watched it heard of its end.
        let revision = self.next_revision();
        if let Some(remote) = self.remote_mut(&room, node) {
            for track in others {
                if remote.watching.remove(&(peer.peer, track)).is_some() {
                    remote.watching_revision = revision;
                    remote.watching_due = true;
                }
            }
        }
    }

    /// Tells which tracks of a peer are others than before. Those that ended.
    fn tell_tracks(&mut self, room: &RoomName, peer: &PeerId, old: &Peer, known: &Peer) -> Vec<u64> {
        let id = |track| TrackId {
            node: peer.node.clone(),
            peer: peer.peer,
            track,
        };
        let mut ended = Vec::new();
        for (&track, was) in &old.tracks {
            if known.tracks.get(&track) != Some(was) {
                ended.push(track);
                let (room, id) = (room.clone(), id(track));
                self.events.push_back(Event::TrackRemoved { room, id });
            }
        }
        for (&track, is) in &known.tracks {
            if old.tracks.get(&track) != Some(is) {
                let (room, id, track) = (room.clone(), id(track), is.clone());
                self.events.push_back(Event::TrackAdded { room, id, track });
            }
        }
        ended
    }

    /// What is gone is watched no more.
    fn watch_what_is_there(&mut self, room: &RoomName, node: &NodeName) {
        let revision = self.next_revision();
        let Some(remote) = self.remote_mut(room, node) else {
            return;
        };
        let mut watching = std::mem::take(&mut remote.watching);
        let before = watching.len();
        watching.retain(|&(peer, track), _| remote.has(peer, track));
        if watching.len() < before {
            remote.watching_revision = revision;
            remote.watching_due = true;
        }
        remote.watching = watching;
    }

    fn handle_ask(&mut self, room: &RoomName, node: &NodeName, ask: &Ask) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        for peer in &ask.peers {
            match here.locals.get_mut(peer) {
                Some(local) => local.due = true,
                // It has gone meanwhile.
                None => here.digest = true,
            }
        }
        if let Some(remote) = here.remotes.get_mut(node) {
            remote.watching_due |= ask.watch;
        }
    }

    fn handle_watch(&mut self, now: Instant, room: &RoomName, node: &NodeName, watch: Watch) {
        let offers = self.config.node < *node;
        let hold = now + self.config.resend;
        let Some(remote) = self.remote_mut(room, node) else {
            return;
        };
        if watch.revision < remote.wanted_revision {
            return self.counts.late += 1;
        }
        remote.wanted = watch.tracks.into_iter().collect();
        remote.wanted_revision = watch.revision;
        remote.wanted_missing = false;
        // It had the pipe when it answered. If it has none now, or another, it lost it.
        if offers
            && let Some(Pipe::Offering(offering)) = &remote.pipe
            && matches!(offering.step, Step::Settled | Step::Wanted(_))
            && !offering.carried.is_empty()
            && watch.pipe != Some(offering.number)
        {
            // Not at once: what has failed there may fail again.
            remote.hold = Some(hold);
            self.counts.renewed += 1;
            self.timers.insert((hold, room.clone(), node.clone()));
            self.drop_pipe(room, node);
        }
    }

    fn handle_offer(&mut self, room: &RoomName, node: &NodeName, offer: Offer) {
        let revision = self.next_revision();
        let own = self.config.node.clone();
        let mut nodes = offer.sections.iter().map(|section| &section.track.node);
        if *node >= own || !nodes.all(|of| of == node || *of == own) {
            return self.counts.malformed += 1;
        }
        let Some(remote) = self.remote_mut(room, node) else {
            return;
        };
        match &mut remote.pipe {
            Some(Pipe::Answering(answering)) if answering.number == offer.pipe => {
                if offer.exchange <= answering.exchange {
                    // The answer may have been lost.
                    answering.due = offer.exchange == answering.exchange && answering.answer.is_some();
                    return self.counts.late += 1;
                }
                answering.exchange = offer.exchange;
                answering.answer = None;
                answering.due = false;
            }
            Some(pipe) if pipe.number() > offer.pipe => return self.counts.late += 1,
            _ if offer.exchange != 1 => {
                // It offers more of a pipe that is lost here, and hears so.
                remote.watching_revision = revision;
                remote.watching_due = true;
                return self.counts.late += 1;
            }
            _ => {
                self.drop_pipe(room, node);
                let pipe = pipe_id(room, node, offer.pipe);
                self.events.push_back(Event::PipeOpened { pipe });
                if let Some(remote) = self.remote_mut(room, node) {
                    remote.pipe = Some(Pipe::answering(offer.pipe));
                }
            }
        }
        self.events.push_back(Event::Offered {
            pipe: pipe_id(room, node, offer.pipe),
            exchange: offer.exchange,
            sdp: offer.sdp,
            sections: offer.sections,
        });
    }

    fn handle_answer(&mut self, room: &RoomName, node: &NodeName, answer: Answer) {
        let Some(remote) = self.remote_mut(room, node) else {
            return;
        };
        let offering = match &mut remote.pipe {
            Some(Pipe::Offering(offering)) if offering.number == answer.pipe => offering,
            _ => return self.counts.late += 1,
        };
        let Step::Offered(offered) = &mut offering.step else {
            return self.counts.late += 1;
        };
        if offering.exchange != answer.exchange {
            return self.counts.late += 1;
        }
        offering.carried = std::mem::take(&mut offered.tracks);
        offering.step = Step::Settled;
        self.events.push_back(Event::Answered {
            pipe: pipe_id(room, node, answer.pipe),
            sdp: answer.sdp,
        });
    }

    fn handle_close(&mut self, room: &RoomName, node: &NodeName, close: &Close) {
        let answers = *node < self.config.node;
        let has = |remote: &mut Remote| remote.has_pipe(close.pipe);
        match answers && self.remote_mut(room, node).is_some_and(has) {
            true => self.drop_pipe(room, node),
            false => self.counts.late += 1,
        }
    }
}
