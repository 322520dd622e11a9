//! The task that keeps a server's part of its cluster: it moves messages between the machine and the bus, and events to rooms.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use antiphon_cluster::{Cluster, Config, Event, NodeName, RoomName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::figures::ClusterFigures;
use super::line::{Incoming, Line, Outgoing};
use super::options::ClusterOptions;
use crate::room::error::Error;
use crate::room::link::{Call, Link, link};
use crate::room::log::{Log, LogTag};

/// Events that may wait for a room. While one has more than that, events of all rooms wait in the machine, which bounds them.
const MAX_EVENTS: usize = 1024;

/// This server as a node of its cluster.
pub(in crate::room) struct Node {
    name: NodeName,
    machine: Cluster,
    rooms: BTreeMap<RoomName, mpsc::Sender<Event>>,
    /// An event for a room that has too many waiting.
    held: Option<(RoomName, Event)>,
    displaced: bool,
    log: Log,
}

impl Node {
    /// Begins to connect to the bus. The node leaves the cluster when the last link is dropped; the task ends when that is said.
    pub(in crate::room) fn start(options: &ClusterOptions, log: Log) -> Result<(Link<Self>, JoinHandle<()>), Error> {
        let name = options.name()?;
        // A clock before 1970 is one that was not set.
        let started = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let run = u64::try_from(started.as_millis()).unwrap_or(u64::MAX);
        let line = options.open()?;
        let (link, calls) = link();
        let node = Self {
            machine: Cluster::new(Config::new(name.clone(), run)),
            name,
            rooms: BTreeMap::new(),
            held: None,
            displaced: false,
            log,
        };
        Ok((link, tokio::spawn(node.run(line, calls))))
    }

    /// What is asked of the machine.
    pub(in crate::room) fn machine(&mut self) -> &mut Cluster {
        &mut self.machine
    }

    /// A room of this server has this name from now on. What is heard of it on other nodes comes to the receiver.
    pub(in crate::room) fn open_room(&mut self, name: &RoomName) -> Result<(NodeName, mpsc::Receiver<Event>), Error> {
        // One that was cut off with its worker has not said so.
        if self.rooms.get(name).is_some_and(|room| !room.is_closed()) {
            return Err(Error::RoomNameTaken(name.to_string()));
        }
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        self.rooms.insert(name.clone(), events);
        Ok((self.name.clone(), receiver))
    }

    /// A room is over, and nobody is in it any more.
    pub(in crate::room) fn close_room(&mut self, name: &RoomName) {
        self.rooms.remove(name);
    }

    pub(in crate::room) fn figures(&self) -> ClusterFigures {
        ClusterFigures {
            node: self.name.to_string(),
            bus_works: self.machine.bus_works(),
            displaced: self.displaced,
            nodes: self.machine.nodes().map(ToString::to_string).collect(),
            counts: self.machine.counts(),
        }
    }

    async fn run(mut self, mut line: Line, mut calls: mpsc::Receiver<Call<Self>>) {
        loop {
            self.say(&line.outgoing);
            let due = self.machine.poll_timeout();
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let is_full = line.outgoing.capacity() == 0;
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => call(&mut self).await,
                    None => break,
                },
                incoming = line.incoming.recv() => match incoming {
                    Some(incoming) => self.hear(incoming),
                    // A bus that has ended does not come back.
                    None => return self.go_on_alone(calls).await,
                },
                () = deliver(&self.rooms, &mut self.held) => {}
                permit = line.outgoing.reserve(), if is_full => drop(permit),
                () = time => self.machine.handle_timeout(Instant::now()),
            }
        }
        self.machine.close();
        self.rooms.clear();
        while let Some(message) = self.machine.poll_message(Instant::now()) {
            if line.outgoing.send(Outgoing::Publish(message)).await.is_err() {
                break;
            }
        }
        drop(line.outgoing);
        // What it carried with has ended, or was ended.
        _ = line.carrier.await;
    }

    /// The bus is over. Rooms hear that it is away.
    async fn go_on_alone(mut self, mut calls: mpsc::Receiver<Call<Self>>) {
        self.machine.handle_disconnected();
        self.log.error(|| "the bus of the cluster is over".to_owned());
        while let Some(call) = calls.recv().await {
            call(&mut self).await;
            while self.machine.poll_event().is_some() {}
        }
    }

    fn hear(&mut self, incoming: Incoming) {
        let now = Instant::now();
        match incoming {
            Incoming::Connected => self.machine.handle_connected(now),
            Incoming::Disconnected => self.machine.handle_disconnected(),
            Incoming::Message(payload) => self.machine.handle_message(now, &payload),
        }
    }

    /// Hands out what the machine has to say, as far as there is room: subjects before messages.
    fn say(&mut self, outgoing: &mpsc::Sender<Outgoing>) {
        while self.held.is_none() {
            let Ok(permit) = outgoing.try_reserve() else { break };
            match self.machine.poll_event() {
                Some(Event::Listen(subject)) => permit.send(Outgoing::Listen(subject)),
                Some(Event::Ignore(subject)) => permit.send(Outgoing::Ignore(subject)),
                Some(event) => self.tell(event),
                None => break,
            }
        }
        let now = Instant::now();
        while let Ok(permit) = outgoing.try_reserve() {
            match self.machine.poll_message(now) {
                Some(message) => permit.send(Outgoing::Publish(message)),
                None => break,
            }
        }
    }

    /// Tells the room that an event is about.
    fn tell(&mut self, event: Event) {
        let room = match &event {
            Event::PeerJoined { room, .. }
            | Event::PeerChanged { room, .. }
            | Event::PeerSaid { room, .. }
            | Event::PeerLeft { room, .. }
            | Event::TrackAdded { room, .. }
            | Event::TrackRemoved { room, .. } => room.clone(),
            Event::PipeOpened { pipe }
            | Event::OfferWanted { pipe, .. }
            | Event::Offered { pipe, .. }
            | Event::Answered { pipe, .. }
            | Event::PipeClosed { pipe } => pipe.room.clone(),
            other => return self.note(other),
        };
        let Some(events) = self.rooms.get(&room) else { return };
        if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
            self.held = Some((room, event));
        }
    }

    /// What is not about one room.
    fn note(&mut self, event: &Event) {
        match event {
            Event::BusAway => self.log.warn(|| "the bus of the cluster is away".to_owned()),
            Event::BusBack => self.log.step(LogTag::Cluster, || "the bus works".to_owned()),
            Event::NodeUp(node) => self.log.step(LogTag::Cluster, || format!("node {node} is there")),
            Event::NodeGone(node) => self.log.warn(|| format!("node {node} is gone")),
            Event::Displaced => {
                self.displaced = true;
                let name = &self.name;
                self.log
                    .error(|| format!("another node called {name} was started: this one has left the cluster"));
            }
            _ => {}
        }
    }
}

/// Gives a room the event that waits for it. Cancel safe.
async fn deliver(rooms: &BTreeMap<RoomName, mpsc::Sender<Event>>, held: &mut Option<(RoomName, Event)>) {
    let Some((room, _)) = held else {
        return std::future::pending().await;
    };
    let permit = match rooms.get(room) {
        Some(events) => events.reserve().await.ok(),
        None => None,
    };
    // A room that is over hears nothing.
    if let (Some((_, event)), Some(permit)) = (held.take(), permit) {
        permit.send(event);
    }
}
