//! Rooms over several servers, which are the nodes of one cluster on a bus within the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon::room::{
    ClusterBus, ClusterError, ClusterOptions, Error, LocalBus, OfferOptions, Peer, PeerEvent, Room, RoomOptions,
    RtcPeerConnection, RtcPeerConnectionEvent, Server, ServerOptions,
};
use antiphon::{Event, MediaKind, PeerHandle};
use tokio::task::JoinHandle;

use crate::client::{Client, Joined, first, options, within};

/// Asks again and again until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, wait).await;
}

/// A server that is a node, with its room called "stage".
struct Node {
    server: Server,
    room: Room,
}

impl Node {
    async fn new(bus: &LocalBus, name: &str) -> Self {
        let cluster = ClusterOptions {
            node: name.to_owned(),
            bus: ClusterBus::Local(bus.clone()),
        };
        let options = ServerOptions {
            cluster: Some(cluster),
            ..options()
        };
        let server = Server::new(options).await.unwrap();
        let room = server.create_room(stage()).await.unwrap();
        let node = Self { server, room };
        until("the bus", async || node.bus_works().await).await;
        node
    }

    async fn bus_works(&self) -> bool {
        self.server.figures().await.unwrap().cluster.unwrap().bus_works
    }

    /// The names of all peers, and the nodes of those that are elsewhere.
    async fn peers(&self) -> Vec<String> {
        let peers = self.room.peers().await;
        let mut names: Vec<String> = peers
            .iter()
            .map(|peer| format!("{}@{}", peer.name(), peer.node().unwrap_or("here")))
            .collect();
        names.sort();
        names
    }

    /// How many tracks cross to each other node, and from it.
    async fn crossings(&self) -> Vec<(String, usize, usize)> {
        let pipes = self.room.dump().await.unwrap().pipes;
        pipes
            .into_iter()
            .map(|pipe| (pipe.node, pipe.sends.len(), pipe.receives.len()))
            .collect()
    }
}

fn stage() -> RoomOptions {
    RoomOptions {
        name: Some("stage".to_owned()),
        ..RoomOptions::browsers()
    }
}

/// Who got which pictures: of each sender the newest.
type Seen = Arc<Mutex<BTreeMap<u8, u32>>>;

/// Somebody who films, looks at everybody, and answers every offer.
struct Person {
    peer: Peer,
    seen: Seen,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Person {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Person {
    /// `tag` stands in each picture.
    async fn new(node: &Node, name: &str, tag: u8) -> Self {
        Self::of(Joined::new(&node.room, name).await, Some(tag)).await
    }

    /// Without a tag it is asked for layers, and sends them: their places stand in its pictures.
    async fn of(own: Joined, tag: Option<u8>) -> Self {
        let video = own.client.add(MediaKind::Video, "camera").await;
        own.exchange().await;
        let Joined {
            peer,
            pc,
            mut events,
            mut client,
        } = own;
        let handle = client.pc.handle();
        let negotiating = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if event == RtcPeerConnectionEvent::NegotiationNeeded {
                    exchange(&pc, &handle).await;
                }
            }
        });
        let seen = Seen::default();
        let told = seen.clone();
        let filming = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let mut number = 0;
            loop {
                tokio::select! {
                    _ = tick.tick() => {
                        number += 1;
                        match tag {
                            Some(tag) => client.picture(video, u32::from(tag) << 24 | number).await,
                            None => client.pictures(video, number).await,
                        }
                    }
                    event = client.pc.next_event() => match event {
                        Some(Event::Frame { frame, .. }) => note(&told, &frame.data),
                        Some(_) => {}
                        None => return,
                    },
                }
            }
        });
        Self {
            peer,
            seen,
            tasks: [negotiating, filming],
        }
    }

    fn newest(&self, tag: u8) -> Option<u32> {
        self.seen.lock().unwrap().get(&tag).copied()
    }

    /// Waits until it has got another picture of each of these.
    async fn sees(&self, tags: &[u8]) {
        for &tag in tags {
            let before = self.newest(tag);
            let what = format!("a picture of {tag} for {}", self.peer.name());
            until(&what, async || self.newest(tag) > before).await;
        }
    }
}

fn note(seen: &Seen, picture: &[u8]) {
    let tail: [u8; 4] = picture.split_at(10).1.try_into().unwrap();
    let [tag, ..] = tail;
    seen.lock().unwrap().insert(tag, u32::from_be_bytes(tail));
}

async fn exchange(pc: &RtcPeerConnection, client: &PeerHandle) {
    let offer = pc.create_offer(OfferOptions::default()).await.unwrap();
    pc.set_local_description(offer).await.unwrap();
    let offer = pc.local_description().await.unwrap().unwrap();
    client.set_remote_description(offer).await.unwrap();
    client.set_local_description(None).await.unwrap();
    let answer = client.local_description().await.unwrap().unwrap();
    pc.set_remote_description(answer).await.unwrap();
}

#[tokio::test]
async fn everybody_sees_everybody_and_each_track_crosses_once() {
    let bus = LocalBus::default();
    let nodes = [
        Node::new(&bus, "a").await,
        Node::new(&bus, "b").await,
        Node::new(&bus, "c").await,
    ];
    // Two on the first node: what crosses to it is for both.
    let mut people = vec![Person::new(&nodes[0], "dora", 4).await];
    for (node, (name, tag)) in nodes.iter().zip([("ann", 1), ("ben", 2), ("cleo", 3)]) {
        people.push(Person::new(node, name, tag).await);
    }
    for person in &people {
        let own: &[u8] = match person.peer.name() {
            "ann" => &[2, 3, 4],
            "ben" => &[1, 3, 4],
            "cleo" => &[1, 2, 4],
            _ => &[1, 2, 3],
        };
        person.sees(own).await;
    }
    assert_eq!(nodes[0].peers().await, ["ann@here", "ben@b", "cleo@c", "dora@here"]);
    assert_eq!(nodes[0].crossings().await, [("b".into(), 2, 1), ("c".into(), 2, 1)]);
    assert_eq!(nodes[1].crossings().await, [("a".into(), 1, 2), ("c".into(), 1, 1)]);
    assert_eq!(nodes[2].crossings().await, [("a".into(), 1, 2), ("b".into(), 1, 1)]);
    let figures = nodes[0].server.figures().await.unwrap();
    assert_eq!(figures.cluster.unwrap().nodes, ["b", "c"]);
    let room = figures.rooms[0];
    assert_eq!((room.peers, room.remote_peers, room.pipes), (4, 2, 2));
    assert_eq!((room.tracks_out, room.tracks_in), (4, 2));

    // One node ends: its own are gone, and the rest go on.
    let [first, second, third] = nodes;
    third.server.close().await;
    until("the others hear that cleo is gone", async || {
        first.peers().await == ["ann@here", "ben@b", "dora@here"]
            && second.peers().await == ["ann@a", "ben@here", "dora@a"]
    })
    .await;
    people[1].sees(&[2, 4]).await;
    people[2].sees(&[1, 4]).await;
    until("nothing is left of the pipes to it", async || {
        first.crossings().await == [("b".into(), 2, 1)] && second.crossings().await == [("a".into(), 1, 2)]
    })
    .await;
}

#[tokio::test]
async fn all_layers_of_a_track_cross_whoever_offers_the_pipe() {
    const LAYERS: [&str; 3] = ["l", "m", "h"];
    let bus = LocalBus::default();
    let nodes = [Node::new(&bus, "a").await, Node::new(&bus, "b").await];
    for (here, there) in [(0, 1), (1, 0)] {
        let own = Joined::layered(&nodes[here].room, "ann", &LAYERS).await;
        let ann = Person::of(own, None).await;
        let ben = Person::new(&nodes[there], "ben", 8).await;
        let cleo = Person::new(&nodes[there], "cleo", 9).await;
        ben.sees(&[2]).await;
        cleo.sees(&[2]).await;
        let senders = ben.peer.rtp_senders().await.unwrap();
        let of_ann = senders
            .iter()
            .find(|sender| sender.associated_rtp_receiver().peer().name() == "ann");
        of_ann.unwrap().set_preferred_layers(0, u8::MAX).await.unwrap();
        ben.sees(&[0]).await;
        let before = ben.newest(2);
        ben.sees(&[0, 0, 0]).await;
        assert_eq!(ben.newest(2), before, "it gets the small one alone");
        // It may have begun with the small one.
        let before = cleo.newest(0);
        cleo.sees(&[2, 2, 2]).await;
        assert_eq!(cleo.newest(0), before, "it gets the large one");
        let crossed = nodes[there].crossings().await;
        assert_eq!(crossed.iter().map(|(.., received)| received).sum::<usize>(), 1);
        for person in [ann, ben, cleo] {
            person.peer.close().await;
        }
        until("all are gone", async || {
            nodes[0].peers().await.is_empty() && nodes[1].peers().await.is_empty()
        })
        .await;
    }
}

#[tokio::test]
async fn calls_go_on_without_the_bus_and_joining_says_so() {
    let bus = LocalBus::default();
    let nodes = [Node::new(&bus, "a").await, Node::new(&bus, "b").await];
    let ann = Person::new(&nodes[0], "ann", 1).await;
    let ben = Person::new(&nodes[1], "ben", 2).await;
    ann.sees(&[2]).await;
    ben.sees(&[1]).await;
    bus.stop();
    until("the bus is away", async || {
        !nodes[0].bus_works().await && !nodes[1].bus_works().await
    })
    .await;
    for node in &nodes {
        let error = node.room.peer("eve").await.unwrap_err();
        assert!(matches!(error, Error::Cluster(ClusterError::BusAway)), "{error}");
        assert_eq!(
            error.to_string(),
            "the other machines cannot be reached at the moment: the message bus is away; try again later"
        );
    }
    ann.sees(&[2]).await;
    ben.sees(&[1]).await;
    bus.start();
    until("the bus is back", async || {
        nodes[0].bus_works().await && nodes[1].bus_works().await
    })
    .await;
    let eve = Person::new(&nodes[1], "eve", 3).await;
    eve.sees(&[1, 2]).await;
    ann.sees(&[2, 3]).await;
}

#[tokio::test]
async fn a_track_crosses_while_somebody_there_gets_it() {
    let bus = LocalBus::default();
    let nodes = [Node::new(&bus, "a").await, Node::new(&bus, "b").await];
    let ann = Person::new(&nodes[0], "ann", 1).await;
    let mut told = nodes[1].room.events();
    // Somebody who has told no capabilities gets nothing.
    let guest = nodes[1].room.peer_with_details("guest", "looks in").await.unwrap();
    let arrival = first(&mut told, |event| match event {
        antiphon::room::RoomEvent::NewPeer(peer) if peer.name() == "ann" => Some(peer),
        _ => None,
    })
    .await;
    assert_eq!(arrival.node(), Some("a"));
    until("its track is known", async || {
        arrival.rtp_receivers().await.is_ok_and(|all| all.len() == 1)
    })
    .await;
    assert_eq!(nodes[1].crossings().await, []);
    // What is said of a peer is heard on the other node, now and later.
    let mirrored = async || nodes[0].room.get_peer("guest").await;
    until("the guest is seen", async || mirrored().await.is_some()).await;
    let seen = mirrored().await.unwrap();
    assert_eq!(&*seen.details(), "looks in");
    let mut changes = seen.events();
    guest.set_details("is bored").await.unwrap();
    let details = first(&mut changes, |event| match event {
        PeerEvent::DetailsChange(details) => Some(details),
        _ => None,
    })
    .await;
    assert_eq!(&*details, "is bored");
    guest.say("hello over there").await.unwrap();
    let said = first(&mut changes, |event| match event {
        PeerEvent::Said(text) => Some(text),
        _ => None,
    })
    .await;
    assert_eq!(&*said, "hello over there");

    let ben = Person::new(&nodes[1], "ben", 2).await;
    ben.sees(&[1]).await;
    until("both cross", async || {
        nodes[1].crossings().await == [("a".into(), 1, 1)]
    })
    .await;
    ben.peer.close().await;
    until("nobody gets anything", async || nodes[1].crossings().await.is_empty()).await;
    until("nor the other way", async || nodes[0].crossings().await.is_empty()).await;
    // Who looks at the packets themselves gets them too.
    let receivers = arrival.rtp_receivers().await.unwrap();
    let mut packets = receivers[0].packets().await.unwrap();
    within("a packet", packets.next()).await.unwrap();
    assert_eq!(nodes[1].crossings().await, [("a".into(), 0, 1)]);
    ann.peer.close().await;
    until("ann is gone", async || nodes[1].peers().await == ["guest@here"]).await;
    assert!(arrival.closed() && receivers[0].closed());
}

#[tokio::test]
async fn a_peer_of_another_node_is_that_nodes_affair() {
    let bus = LocalBus::default();
    let nodes = [Node::new(&bus, "a").await, Node::new(&bus, "b").await];
    nodes[0].room.peer("ann").await.unwrap();
    nodes[1].room.peer("ben").await.unwrap();
    until("ann is seen", async || nodes[1].room.get_peer("ann").await.is_some()).await;
    let ann = nodes[1].room.get_peer("ann").await.unwrap();
    let capabilities = ann.set_capabilities(Client::capabilities().await).await;
    assert!(matches!(capabilities, Err(Error::Elsewhere(node)) if node == "a"));
    assert!(matches!(ann.set_details("mine").await, Err(Error::Elsewhere(_))));
    ann.close().await;
    assert!(!ann.closed(), "it is not ours to close");
    let taken = nodes[1].room.peer("ann").await.unwrap_err();
    assert!(matches!(taken, Error::DuplicateName(_)), "{taken}");
    let again = nodes[1].server.create_room(stage()).await.unwrap_err();
    assert!(matches!(again, Error::RoomNameTaken(_)), "{again}");
    nodes[1].room.close().await;
    let again = nodes[1].server.create_room(stage()).await.unwrap();
    assert!(!again.closed());
    until("ben is gone", async || nodes[0].peers().await == ["ann@here"]).await;
}

#[tokio::test]
async fn a_node_needs_a_name_that_can_be_one() {
    let cluster = ClusterOptions {
        node: "my node".to_owned(),
        bus: ClusterBus::Local(LocalBus::default()),
    };
    let options = ServerOptions {
        cluster: Some(cluster),
        ..options()
    };
    let error = Server::new(options).await.unwrap_err();
    assert_eq!(
        (error.name(), error.to_string().as_str()),
        (
            "TypeError",
            "node: \"my node\": a node's name has 1 to 64 letters, digits, '-' or '_'"
        )
    );
}
