//! Nodes, their bus and their pipes, on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use antiphon_cluster::{
    Cluster, Config, Error, Event, Kind, NodeName, Peer, PeerId, PipeId, RoomName, Section, Subject, Track, TrackId,
};
use antiphon_sansio::Rng;

/// The room of all tests.
pub(crate) fn room() -> RoomName {
    RoomName::new("stage one").unwrap()
}

/// One end of a pipe.
#[derive(Debug, Default)]
struct End {
    exchange: u64,
    carried: BTreeSet<TrackId>,
}

struct Node {
    name: NodeName,
    run: u64,
    cluster: Cluster,
    listening: BTreeSet<Subject>,
    watches: bool,
    watched: BTreeSet<TrackId>,
    /// What it was told of others.
    told: BTreeMap<PeerId, BTreeSet<TrackId>>,
    heard: Vec<Event>,
    ends: BTreeMap<PipeId, End>,
    /// Our own peers and their tracks.
    own: BTreeMap<u64, BTreeSet<u64>>,
    connected: bool,
    alive: bool,
}

impl Node {
    fn new(name: NodeName, run: u64) -> Self {
        Self {
            cluster: Cluster::new(Config::new(name.clone(), run)),
            name,
            run,
            listening: BTreeSet::new(),
            watches: true,
            watched: BTreeSet::new(),
            told: BTreeMap::new(),
            heard: Vec::new(),
            ends: BTreeMap::new(),
            own: BTreeMap::new(),
            connected: false,
            alive: true,
        }
    }
}

/// What happens later.
#[derive(Debug)]
enum Later {
    Message(usize, Vec<u8>),
    Connected(usize),
    /// A connection ends at this node, since it has ended at the other.
    Ended(usize, u64, PipeId),
}

pub(crate) struct World {
    seed: u64,
    now: Instant,
    rng: Rng,
    nodes: Vec<Node>,
    later: BTreeMap<(Instant, u64), Later>,
    order: u64,
    next: u64,
    /// The latest arrival at each node: a bus keeps the order.
    arrivals: BTreeMap<usize, Instant>,
    bus: bool,
    /// The part of messages that the bus loses, from 0 to 1.
    pub(crate) loss: f64,
    /// A node, and one that it does not hear.
    pub(crate) deaf: Option<(usize, usize)>,
    /// Whether the other end of a connection hears nothing of its end.
    pub(crate) silent_ends: bool,
    /// All that was said on the bus.
    pub(crate) said: Vec<Vec<u8>>,
}

impl World {
    pub(crate) fn new(seed: u64, names: &[&str]) -> Self {
        let nodes = names.iter().map(|name| Node::new(NodeName::new(name).unwrap(), 1));
        let mut world = Self {
            seed,
            now: antiphon_netsim::start(),
            rng: Rng::from_u64(seed),
            nodes: nodes.collect(),
            later: BTreeMap::new(),
            order: 0,
            next: 0,
            arrivals: BTreeMap::new(),
            bus: true,
            loss: 0.0,
            deaf: None,
            silent_ends: false,
            said: Vec::new(),
        };
        for node in 0..world.nodes.len() {
            world.connect(node);
        }
        world
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }

    pub(crate) fn cluster(&mut self, node: usize) -> &mut Cluster {
        &mut self.nodes[node].cluster
    }

    pub(crate) fn heard(&self, node: usize) -> &[Event] {
        &self.nodes[node].heard
    }

    pub(crate) fn somebody_of(&self, node: usize) -> u64 {
        *self.nodes[node].own.keys().next().unwrap()
    }

    pub(crate) fn name_of_somebody(&self, node: usize) -> String {
        let peer = *self.nodes[node].own.keys().next().unwrap();
        format!("{} {peer}", self.nodes[node].name)
    }

    // What people do.

    pub(crate) fn join(&mut self, node: usize) -> Result<(), Error> {
        self.next += 1;
        let id = self.next;
        let own = &mut self.nodes[node];
        let peer = Peer {
            name: format!("{} {id}", own.name),
            details: "muted".to_owned(),
            ..Peer::default()
        };
        own.cluster.join(&room(), id, peer)?;
        own.own.insert(id, BTreeSet::new());
        for _ in 0..=self.below(2) {
            self.publish(node, id);
        }
        Ok(())
    }

    fn publish(&mut self, node: usize, peer: u64) {
        self.next += 1;
        let (id, own) = (self.next, &mut self.nodes[node]);
        let track = Track {
            kind: if id.is_multiple_of(2) { Kind::Audio } else { Kind::Video },
            name: "camera".to_owned(),
            encodings: ["l", "m", "h"].map(str::to_owned).into(),
        };
        own.cluster.publish(&room(), peer, id, track).unwrap();
        own.own.get_mut(&peer).unwrap().insert(id);
    }

    fn somebody(&mut self, node: usize) -> Option<u64> {
        let count = self.nodes[node].own.len() as u32;
        let place = (count > 0).then(|| self.rng.below(count) as usize)?;
        self.nodes[node].own.keys().nth(place).copied()
    }

    pub(crate) fn unpublish(&mut self, node: usize) {
        let Some(peer) = self.somebody(node) else { return };
        let own = &mut self.nodes[node];
        if let Some(track) = own.own.get_mut(&peer).unwrap().pop_first() {
            own.cluster.unpublish(self.now, &room(), peer, track).unwrap();
        }
    }

    pub(crate) fn leave(&mut self, node: usize) {
        let Some(peer) = self.somebody(node) else { return };
        let own = &mut self.nodes[node];
        own.own.remove(&peer);
        own.cluster.leave(self.now, &room(), peer).unwrap();
    }

    pub(crate) fn do_something(&mut self) {
        let node = self.below(self.nodes.len() as u32) as usize;
        match self.below(8) {
            // A bus of which three messages in a row are lost counts as away.
            0 | 1 => _ = self.join(node),
            2 => self.leave(node),
            3 => self.unpublish(node),
            4 | 5 => {
                if let Some(peer) = self.somebody(node)
                    && self.nodes[node].own[&peer].len() < 4
                {
                    self.publish(node, peer);
                }
            }
            6 => self.watch_nothing(node),
            _ => self.watch_all(node),
        }
    }

    pub(crate) fn watch_nothing(&mut self, node: usize) {
        let (now, own) = (self.now, &mut self.nodes[node]);
        own.watches = false;
        for track in std::mem::take(&mut own.watched) {
            // It was watched twice: by two peers, say.
            own.cluster.unwatch(now, &room(), &track).unwrap();
            own.cluster.unwatch(now, &room(), &track).unwrap();
        }
        self.drain(node);
    }

    pub(crate) fn watch_all(&mut self, node: usize) {
        let own = &mut self.nodes[node];
        own.watches = true;
        let tracks: Vec<TrackId> = own.told.values().flatten().cloned().collect();
        for track in tracks {
            watch(own, self.now, track);
        }
        self.drain(node);
    }

    // What happens to machines.

    pub(crate) fn kill(&mut self, node: usize) {
        let dead = &mut self.nodes[node];
        dead.alive = false;
        dead.connected = false;
        dead.own.clear();
        // The other ends find out by themselves, after the time of consent (RFC 7675).
        for pipe in std::mem::take(&mut dead.ends).into_keys() {
            self.end_other(node, &pipe, Duration::from_secs(30));
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        let (name, run) = (self.nodes[node].name.clone(), self.nodes[node].run);
        self.nodes[node] = Node::new(name, run + 1);
        if self.bus {
            self.connect(node);
        }
    }

    pub(crate) fn start_double(&mut self, node: usize) {
        let (name, run) = (self.nodes[node].name.clone(), self.nodes[node].run);
        self.nodes.push(Node::new(name, run + 1));
        self.connect(self.nodes.len() - 1);
    }

    pub(crate) fn close(&mut self, node: usize) {
        self.nodes[node].cluster.close();
        self.nodes[node].own.clear();
        self.drain(node);
        assert_eq!(self.nodes[node].cluster.poll_timeout(), None);
        assert_eq!(self.nodes[node].ends.len(), 0);
        self.nodes[node].alive = false;
    }

    /// The bus ends. `heard`: the nodes' clients are told so; else it hangs.
    pub(crate) fn stop_bus(&mut self, heard: bool) {
        self.bus = false;
        for node in 0..self.nodes.len() {
            if heard && self.nodes[node].alive {
                self.nodes[node].connected = false;
                self.nodes[node].cluster.handle_disconnected();
            }
            self.drain(node);
        }
    }

    pub(crate) fn start_bus(&mut self) {
        self.bus = true;
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive && !self.nodes[node].connected {
                let after = Duration::from_millis(u64::from(self.below(4000)));
                self.do_later(after, Later::Connected(node));
            }
        }
    }

    pub(crate) fn fail_a_pipe(&mut self) {
        let all: Vec<(usize, PipeId)> = (0..self.nodes.len())
            .flat_map(|node| self.nodes[node].ends.keys().map(move |pipe| (node, pipe.clone())))
            .collect();
        if all.is_empty() {
            return;
        }
        let (node, pipe) = all[self.below(all.len() as u32) as usize].clone();
        self.end(node, &pipe);
        self.drain(node);
    }

    /// All connections of a node fail.
    pub(crate) fn fail_pipes(&mut self, node: usize) {
        let pipes: Vec<PipeId> = self.nodes[node].ends.keys().cloned().collect();
        for pipe in pipes {
            self.end(node, &pipe);
        }
        self.drain(node);
    }

    /// How many pipes a node has been told to open.
    pub(crate) fn opened(&self, node: usize) -> usize {
        let heard = self.nodes[node].heard.iter();
        heard.filter(|event| matches!(event, Event::PipeOpened { .. })).count()
    }

    fn connect(&mut self, node: usize) {
        self.nodes[node].connected = true;
        self.nodes[node].cluster.handle_connected(self.now);
        self.drain(node);
    }

    // What is true.

    /// Who gets which track now, once for each pipe that carries it.
    pub(crate) fn flows(&self) -> Vec<(NodeName, TrackId)> {
        let mut flows = Vec::new();
        for node in self.nodes.iter().filter(|node| node.alive) {
            for (pipe, end) in &node.ends {
                let other = self.nodes.iter().find(|other| other.alive && other.name == pipe.node);
                let id = PipeId {
                    node: node.name.clone(),
                    ..pipe.clone()
                };
                let Some(there) = other.and_then(|other| other.ends.get(&id)) else {
                    continue;
                };
                let common = end.carried.intersection(&there.carried);
                let theirs = common.filter(|track| track.node == pipe.node);
                flows.extend(theirs.map(|track| (node.name.clone(), track.clone())));
            }
        }
        flows.sort();
        flows
    }

    /// Those that have nothing to do with a node.
    pub(crate) fn flows_without(&self, node: usize) -> Vec<(NodeName, TrackId)> {
        let name = &self.nodes[node].name;
        let mut flows = self.flows();
        flows.retain(|(to, track)| to != name && track.node != *name);
        flows
    }

    /// How many peers of another node a node lists.
    pub(crate) fn lists(&self, node: usize, other: usize) -> usize {
        let peers = self.nodes[node].told.keys();
        peers.filter(|peer| peer.node == self.nodes[other].name).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.nodes.iter().map(|node| node.ends.len()).sum()
    }

    /// Everybody knows of everybody, by lists and by events, and has exactly what it watches, each once.
    pub(crate) fn assert_whole(&self, when: &str) {
        let seed = self.seed;
        let mut wanted = Vec::new();
        for node in self.nodes.iter().filter(|node| node.alive) {
            let mut all: BTreeMap<PeerId, BTreeSet<TrackId>> = BTreeMap::new();
            let others = self.nodes.iter().filter(|other| other.alive && other.name != node.name);
            for other in others.filter(|_| !node.own.is_empty()) {
                for (&peer, tracks) in &other.own {
                    let node = other.name.clone();
                    let id = |&track| TrackId {
                        node: node.clone(),
                        peer,
                        track,
                    };
                    let tracks = tracks.iter().map(id).collect();
                    all.insert(PeerId { node, peer }, tracks);
                }
            }
            let (name, counts) = (&node.name, node.cluster.counts());
            assert_eq!(node.told, all, "seed {seed}, {name}: what was told, {when}; {counts:?}");
            let room = room();
            let listed: BTreeSet<PeerId> = node.cluster.peers(&room).map(|(id, _)| id).collect();
            assert_eq!(
                listed,
                all.keys().cloned().collect(),
                "seed {seed}, {name}: the list, {when}"
            );
            let tracks: BTreeSet<TrackId> = all.into_values().flatten().collect();
            if node.watches {
                assert_eq!(node.watched, tracks, "seed {seed}, {name}: what it watches, {when}");
            }
            wanted.extend(node.watched.iter().map(|track| (name.clone(), track.clone())));
        }
        wanted.sort();
        assert_eq!(self.flows(), wanted, "seed {seed}: what crosses, {when}");
    }

    // Time.

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_watching(time, World::assert_once);
    }

    /// Runs for less than so many milliseconds.
    pub(crate) fn run_a_while(&mut self, bound: u32) {
        let time = self.below(bound);
        self.run(Duration::from_millis(u64::from(time)));
    }

    /// No stream crosses twice between the same nodes, at no time.
    fn assert_once(&self) {
        let flows = self.flows();
        assert!(flows.windows(2).all(|pair| pair[0] != pair[1]), "seed {}", self.seed);
    }

    pub(crate) fn run_watching(&mut self, time: Duration, check: impl Fn(&World)) {
        let until = self.now + time;
        (0..self.nodes.len()).for_each(|node| self.drain(node));
        loop {
            let alive = self.nodes.iter().filter(|node| node.alive);
            let timers = alive.filter_map(|node| node.cluster.poll_timeout());
            let next = timers.chain(self.later.keys().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let later = entry.remove();
                self.happen(later);
            }
            for node in 0..self.nodes.len() {
                if self.nodes[node].alive {
                    self.nodes[node].cluster.handle_timeout(self.now);
                    self.drain(node);
                    let timeout = self.nodes[node].cluster.poll_timeout();
                    assert!(timeout.is_none_or(|at| at > self.now), "a timer that is due is served");
                }
            }
            check(self);
        }
        self.now = until;
    }

    fn do_later(&mut self, after: Duration, later: Later) {
        self.order += 1;
        self.later.insert((self.now + after, self.order), later);
    }

    fn happen(&mut self, later: Later) {
        match later {
            Later::Message(node, message) => {
                if self.nodes[node].alive && self.bus {
                    self.nodes[node].cluster.handle_message(self.now, &message);
                    self.drain(node);
                }
            }
            Later::Connected(node) => {
                if self.nodes[node].alive && self.bus {
                    self.connect(node);
                }
            }
            Later::Ended(node, run, pipe) => {
                let has = self.nodes[node].run == run && self.nodes[node].ends.contains_key(&pipe);
                if self.nodes[node].alive && has {
                    self.end(node, &pipe);
                    self.drain(node);
                }
            }
        }
    }

    /// A connection fails at this node.
    fn end(&mut self, node: usize, pipe: &PipeId) {
        self.nodes[node].ends.remove(pipe);
        self.nodes[node].cluster.pipe_failed(self.now, pipe).unwrap();
        self.end_other(node, pipe, Duration::from_millis(20));
    }

    fn end_other(&mut self, node: usize, pipe: &PipeId, after: Duration) {
        let other = self
            .nodes
            .iter()
            .position(|other| other.alive && other.name == pipe.node);
        let Some(other) = other.filter(|_| !self.silent_ends) else {
            return;
        };
        let id = PipeId {
            node: self.nodes[node].name.clone(),
            ..pipe.clone()
        };
        let run = self.nodes[other].run;
        self.do_later(after, Later::Ended(other, run, id));
    }

    /// Serves all that a node has to say, to its application and to the bus.
    fn drain(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].cluster.poll_event() {
            self.nodes[node].heard.push(event.clone());
            self.handle_event(node, event);
        }
        while let Some(message) = self.nodes[node].cluster.poll_message(self.now) {
            self.said.push(message.payload.clone());
            if !self.bus || !self.nodes[node].connected {
                continue;
            }
            for to in 0..self.nodes.len() {
                let listens = self.nodes[to].connected && self.nodes[to].listening.contains(&message.subject);
                if !listens || self.deaf == Some((to, node)) || self.rng.unit() < self.loss {
                    continue;
                }
                let at = self.now + Duration::from_micros(u64::from(200 + self.below(5000)));
                let at = at.max(*self.arrivals.entry(to).or_insert(at));
                self.arrivals.insert(to, at);
                self.do_later(at - self.now, Later::Message(to, message.payload.clone()));
            }
        }
    }

    fn handle_event(&mut self, node: usize, event: Event) {
        let own = &mut self.nodes[node];
        match event {
            Event::Listen(subject) => assert!(own.listening.insert(subject)),
            Event::Ignore(subject) => assert!(own.listening.remove(&subject)),
            Event::PeerJoined { peer, known, .. } => {
                assert_eq!(known.details, "muted");
                assert!(own.told.insert(peer, BTreeSet::new()).is_none());
            }
            Event::PeerLeft { peer, .. } => assert_eq!(own.told.remove(&peer), Some(BTreeSet::new())),
            Event::TrackAdded { id, track, .. } => {
                assert_eq!(track.encodings.len(), 3);
                assert!(own.told.get_mut(&id.sender()).unwrap().insert(id.clone()));
                if own.watches {
                    watch(own, self.now, id);
                }
            }
            Event::TrackRemoved { id, .. } => {
                assert!(own.told.get_mut(&id.sender()).unwrap().remove(&id));
                own.watched.remove(&id);
            }
            Event::PipeOpened { pipe } => assert!(own.ends.insert(pipe, End::default()).is_none()),
            Event::PipeClosed { pipe } => {
                assert!(own.ends.remove(&pipe).is_some());
                self.end_other(node, &pipe, Duration::from_millis(20));
            }
            Event::OfferWanted { pipe, exchange, tracks } => self.offer(node, &pipe, exchange, tracks),
            Event::Offered {
                pipe,
                exchange,
                sdp,
                sections,
            } => {
                let end = own.ends.get_mut(&pipe).unwrap();
                assert_eq!(exchange, end.exchange + 1, "no exchange is left out or told twice");
                end.exchange = exchange;
                end.carried = sections.into_iter().map(|section| section.track).collect();
                own.cluster
                    .answer(&pipe, exchange, sdp.replace("offer", "answer"))
                    .unwrap();
            }
            Event::Answered { pipe, sdp } => {
                let end = own.ends.get_mut(&pipe).unwrap();
                assert_eq!(sdp, format!("answer {} {}", pipe.number, end.exchange));
            }
            _ => {}
        }
    }

    fn offer(&mut self, node: usize, pipe: &PipeId, exchange: u64, tracks: Vec<TrackId>) {
        // Some connections cannot be made.
        if self.below(20) == 0 {
            return self.end(node, pipe);
        }
        let own = &mut self.nodes[node];
        let end = own.ends.get_mut(pipe).unwrap();
        end.exchange = exchange;
        end.carried = tracks.iter().cloned().collect();
        let sections = tracks.into_iter().zip(0..).map(|(track, mid)| Section {
            mid: mid.to_string(),
            track,
        });
        let sdp = format!("offer {} {exchange}", pipe.number);
        let sections = sections.collect();
        own.cluster.offer(self.now, pipe, exchange, sdp, sections).unwrap();
    }
}

fn watch(node: &mut Node, now: Instant, track: TrackId) {
    if node.watched.insert(track.clone()) {
        node.cluster.watch(now, &room(), &track).unwrap();
        node.cluster.watch(now, &room(), &track).unwrap();
    }
}
