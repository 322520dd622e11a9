//! What is published: nothing is queued. What is due is marked, and written as it stands when the bus can take it, so a
//! slow bus hears the newest state and no backlog grows.

use std::time::Instant;

use super::Cluster;
use crate::message::{Ask, Body, Close, Digest, Envelope, PeerState, Publish, Say, Watch};
use crate::names::{NodeName, RoomName};
use crate::peer::MAX_PEERS;
use crate::pipe::{Pipe, Step};
use crate::room::{Remote, Room};
use crate::subject::Subject;

impl Cluster {
    /// The next message for the bus.
    pub fn poll_message(&mut self, now: Instant) -> Option<Publish> {
        if std::mem::take(&mut self.bye) {
            return self.publish_to(Subject::Nodes, Body::Bye {});
        }
        if self.bus.take_due() {
            return self.publish_to(Subject::Nodes, Body::Beat {});
        }
        // While the bus is away what is due waits, and there is only the question whether it is back.
        if !self.bus.works() {
            return None;
        }
        if let Some(room) = self.left.pop_first() {
            let digest = Digest {
                room: room.clone(),
                ask: false,
                peers: Vec::new(),
                watches: Vec::new(),
            };
            return self.publish_to(Subject::Room(room), Body::Digest(digest));
        }
        while let Some(name) = self.due.first().cloned() {
            if let Some((subject, body)) = self.next_of_room(now, &name) {
                return self.publish_to(subject, body);
            }
            self.due.remove(&name);
        }
        None
    }

    fn next_of_room(&mut self, now: Instant, name: &RoomName) -> Option<(Subject, Body)> {
        let again = now + self.config.resend;
        let room = self.rooms.get_mut(name)?;
        if let Some(body) = told(room, name) {
            return Some((Subject::Room(name.clone()), body));
        }
        let (node, body) = room.remotes.iter_mut().find_map(|(node, remote)| {
            let body = asked(remote, name).or_else(|| piped(remote, name, again))?;
            Some((node.clone(), body))
        })?;
        if let Body::Offer(_) = body {
            self.timers.insert((again, name.clone(), node.clone()));
        }
        Some((Subject::Node(node), body))
    }

    fn publish_to(&self, subject: Subject, body: Body) -> Option<Publish> {
        let node: NodeName = self.config.node.clone();
        // The limits of all that goes into a message leave it below its own.
        let payload = Envelope::new(node, self.config.run, body).write()?;
        Some(Publish { subject, payload })
    }
}

/// What all nodes of a room are to hear: its peers, and then the summary, so that nobody asks for what is on its way.
fn told(room: &mut Room, name: &RoomName) -> Option<Body> {
    if let Some((&id, local)) = room.locals.iter_mut().find(|(_, local)| local.due) {
        local.due = false;
        return Some(Body::Peer(PeerState {
            room: name.clone(),
            id,
            revision: local.revision,
            peer: local.peer.clone(),
        }));
    }
    if let Some((id, text)) = room.words.pop_front() {
        let room = name.clone();
        return Some(Body::Say(Say { room, id, text }));
    }
    if !room.digest {
        return None;
    }
    let digest = room.digest(name);
    room.digest = false;
    room.ask = false;
    Some(Body::Digest(digest))
}

/// What one node is to hear of what is missed and watched here.
fn asked(remote: &mut Remote, room: &RoomName) -> Option<Body> {
    if remote.wanted_missing || !remote.missing.is_empty() {
        let missing = std::mem::take(&mut remote.missing);
        return Some(Body::Ask(Ask {
            room: room.clone(),
            peers: missing.into_iter().take(MAX_PEERS).collect(),
            watch: std::mem::take(&mut remote.wanted_missing),
        }));
    }
    if std::mem::take(&mut remote.watching_due) {
        return Some(Body::Watch(Watch {
            room: room.clone(),
            revision: remote.watching_revision,
            tracks: remote.watching.keys().copied().collect(),
            pipe: remote.answering(),
        }));
    }
    None
}

/// What one node is to hear of the pipe to it.
fn piped(remote: &mut Remote, room: &RoomName, again: Instant) -> Option<Body> {
    if let Some(pipe) = remote.closing.take() {
        let room = room.clone();
        return Some(Body::Close(Close { room, pipe }));
    }
    match &mut remote.pipe {
        Some(Pipe::Offering(offering)) => {
            let Step::Offered(offered) = &mut offering.step else {
                return None;
            };
            if !std::mem::take(&mut offered.due) {
                return None;
            }
            offered.tries += 1;
            offered.again = again;
            Some(Body::Offer(offered.offer.clone()))
        }
        Some(Pipe::Answering(answering)) => match std::mem::take(&mut answering.due) {
            true => answering.answer.clone().map(Body::Answer),
            false => None,
        },
        None => None,
    }
}
