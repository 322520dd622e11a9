//! Two nodes of a cluster, a bus that loses, repeats and reorders, and a third that says what it likes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_cluster::{
    Cluster, Config, Event, Kind, MAX_NODES, NodeName, Peer, PipeId, Publish, RoomName, Section, Track, TrackId,
};
use antiphon_sansio::Reader;

/// Messages that wait on the bus of this run.
const MAX_WAITING: usize = 64;

/// A node and what its application has to remember.
struct Node {
    cluster: Cluster,
    tracks: Vec<TrackId>,
    pipes: Vec<PipeId>,
}

/// Two bytes an operation, the first of them what and who; raw messages follow with their length.
pub(super) fn machine(data: &[u8]) {
    let mut now = antiphon_netsim::start();
    let room = RoomName::new("r").expect("a short name");
    let mut nodes = ["a", "m"].map(|name| Node {
        cluster: Cluster::new(Config::new(NodeName::new(name).expect("a short name"), 1)),
        tracks: Vec::new(),
        pipes: Vec::new(),
    });
    let mut bus: VecDeque<Publish> = VecDeque::new();
    let mut input = Reader::new(data);
    while let (Ok(what), Ok(number)) = (input.u8(), input.u8()) {
        let own = &mut nodes[usize::from(what & 1)];
        let id = u64::from(number & 7);
        match what >> 1 {
            0 => own.cluster.handle_connected(now),
            1 => own.cluster.handle_disconnected(),
            2..6 => {
                let peer = Peer {
                    name: number.to_string(),
                    ..Peer::default()
                };
                _ = own.cluster.join(&room, id, peer);
            }
            6 => _ = own.cluster.leave(now, &room, id),
            7..11 => {
                let track = Track {
                    kind: Kind::Video,
                    name: String::new(),
                    encodings: vec![number.to_string()],
                };
                _ = own.cluster.publish(&room, id, u64::from(number >> 3), track);
            }
            11 => _ = own.cluster.unpublish(now, &room, id, u64::from(number >> 3)),
            12..16 => {
                if let Some(track) = pick(&own.tracks, number) {
                    _ = own.cluster.watch(now, &room, &track);
                }
            }
            16 => {
                if let Some(track) = pick(&own.tracks, number) {
                    _ = own.cluster.unwatch(now, &room, &track);
                }
            }
            17 => {
                if let Some(pipe) = pick(&own.pipes, number) {
                    _ = own.cluster.pipe_failed(now, &pipe);
                }
            }
            18 => _ = bus.pop_front(),
            19 => bus.extend(bus.front().cloned()),
            20 => bus.rotate_left(usize::from(number) % bus.len().max(1)),
            21..25 => {
                let Ok(raw) = input.take(usize::from(number)) else {
                    return;
                };
                own.cluster.handle_message(now, raw);
            }
            25 if number == 255 => own.cluster.close(),
            25..30 => now += Duration::from_millis(u64::from(number) * 20),
            _ => {
                for message in bus.drain(..) {
                    for node in &mut nodes {
                        node.cluster.handle_message(now, &message.payload);
                    }
                }
            }
        }
        for node in &mut nodes {
            serve(node, now, &mut bus);
        }
    }
}

fn pick<T: Clone>(list: &[T], number: u8) -> Option<T> {
    list.get(usize::from(number) % list.len().max(1)).cloned()
}

/// Takes what a node has to say, to its application and to the bus.
fn serve(node: &mut Node, now: Instant, bus: &mut VecDeque<Publish>) {
    node.cluster.handle_timeout(now);
    while let Some(event) = node.cluster.poll_event() {
        match event {
            Event::TrackAdded { id, .. } => {
                assert!(!node.tracks.contains(&id), "a track is told once");
                node.tracks.push(id);
            }
            Event::TrackRemoved { id, .. } => {
                let place = node.tracks.iter().position(|known| *known == id);
                node.tracks.remove(place.expect("what ends has begun"));
            }
            Event::PipeOpened { pipe } => node.pipes.push(pipe),
            Event::PipeClosed { pipe } => node.pipes.retain(|known| *known != pipe),
            Event::OfferWanted { pipe, exchange, tracks } => {
                let section = |track| Section {
                    mid: "0".to_owned(),
                    track,
                };
                let sections = tracks.into_iter().map(section).collect();
                let offered = node.cluster.offer(now, &pipe, exchange, "offer".to_owned(), sections);
                assert!(
                    offered.is_ok() || !node.cluster.pipes().any(|(known, _)| known == pipe),
                    "it was asked for"
                );
            }
            // The pipe may have ended since.
            Event::Offered { pipe, exchange, .. } => {
                _ = node.cluster.answer(&pipe, exchange, "answer".to_owned());
            }
            _ => {}
        }
    }
    let mut said = 0;
    while let Some(message) = node.cluster.poll_message(now) {
        said += 1;
        assert!(said < 4096, "what is said has an end");
        if bus.len() < MAX_WAITING {
            bus.push_back(message);
        }
    }
    assert!(node.cluster.poll_timeout().is_none_or(|due| due > now), "law 2");
    assert!(
        node.cluster.nodes().count() <= MAX_NODES,
        "more nodes than there may be"
    );
}
