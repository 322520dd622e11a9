//! `/metrics` on the address of `--metrics`: the figures of the server, gathered when they are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon::room::{ClusterFigures, RoomFigures};
use antiphon::router::LATENCY_BOUNDS;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;

use super::shared::Shared;
use crate::server::metrics::{Kind, Page, write_process};
use crate::server::quota::known_host;
use crate::server::rooms::{OneRoom, RoomsFigures};

/// Rooms that have samples of their own, those with the most participants. What strangers call their rooms must not fill the memory of
/// who gathers figures.
const MAX_ROOM_LABELS: usize = 32;
/// The label under which the others are together. No room can be called so.
const OTHERS: &str = "";

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What can be asked on that address.
pub(in crate::server) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(answer))
        .layer(from_fn_with_state(shared.door.clone(), known_host))
        .with_state(shared)
}

async fn answer(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let figures = shared.rooms.figures().await;
    let mut page = Page::default();
    page.single(
        "antiphon_sessions",
        Kind::Gauge,
        "Sessions and participants.",
        shared.occupied(),
    );
    page.single(
        "antiphon_websockets",
        Kind::Gauge,
        "Open WebSockets.",
        shared.sockets.taken(),
    );
    let refused = &shared.sessions_refused;
    page.family(
        "antiphon_sessions_refused_total",
        Kind::Counter,
        "Sessions for which there was no place.",
    )
    .sample(&[], refused.load(std::sync::atomic::Ordering::Relaxed));
    write_rooms(&mut page, &figures);
    if let Some(cluster) = &figures.cluster {
        write_cluster(&mut page, cluster, &figures);
    }
    write_work(&mut page, &figures);
    write_process(&mut page);
    ([(CONTENT_TYPE, FORMAT), (CACHE_CONTROL, "no-store")], page.into_text())
}

/// The rooms with the most participants by name, and all others in one.
fn labelled(rooms: &BTreeMap<String, OneRoom>) -> Vec<(&str, OneRoom)> {
    let mut all: Vec<(&str, OneRoom)> = rooms.iter().map(|(name, room)| (name.as_str(), *room)).collect();
    all.sort_by_key(|(_, room)| std::cmp::Reverse(room.participants));
    let others = all.split_off(all.len().min(MAX_ROOM_LABELS));
    if !others.is_empty() {
        let mut sum = OneRoom::default();
        for (_, room) in others {
            sum.participants += room.participants;
            let (own, other): (&mut RoomFigures, _) = (&mut sum.forwarding, room.forwarding);
            own.receivers += other.receivers;
            own.remote_peers += other.remote_peers;
            own.pipes += other.pipes;
            own.tracks_out += other.tracks_out;
            own.tracks_in += other.tracks_in;
            own.senders += other.senders;
            own.shares.estimate += other.shares.estimate;
            own.shares.given += other.shares.given;
            own.shares.desired += other.shares.desired;
        }
        all.push((OTHERS, sum));
    }
    all
}

fn write_rooms(page: &mut Page, figures: &RoomsFigures) {
    page.single(
        "antiphon_rooms",
        Kind::Gauge,
        "Rooms that there are.",
        figures.rooms.len(),
    );
    let rooms = labelled(&figures.rooms);
    type Figure = fn(&OneRoom) -> u64;
    let families: [(&'static str, &str, Figure); 6] = [
        ("antiphon_room_participants", "Who is in a room.", |room| {
            room.participants as u64
        }),
        (
            "antiphon_room_tracks_received",
            "Tracks that participants send.",
            |room| room.forwarding.receivers as u64,
        ),
        (
            "antiphon_room_tracks_sent",
            "Tracks that participants get, each counted for each of them.",
            |room| room.forwarding.senders as u64,
        ),
        (
            "antiphon_room_estimate_bits_per_second",
            "What the paths to the participants carry, all together.",
            |room| room.forwarding.shares.estimate,
        ),
        (
            "antiphon_room_allocated_bits_per_second",
            "What of that the pictures are given.",
            |room| room.forwarding.shares.given,
        ),
        (
            "antiphon_room_desired_bits_per_second",
            "What the pictures would take if there were enough.",
            |room| room.forwarding.shares.desired,
        ),
    ];
    for (name, help, figure) in families {
        let mut family = page.family(name, Kind::Gauge, help);
        for (room, own) in &rooms {
            family.sample(&[("room", room)], figure(own));
        }
    }
    let mut family = page.family(
        "antiphon_room_joins_refused_total",
        Kind::Counter,
        "Who was not let into a room.",
    );
    for (cause, count) in &figures.joins_refused {
        family.sample(&[("cause", cause)], count);
    }
    let help = "Messages of participants that were refused or passed over.";
    let mut family = page.family("antiphon_room_messages_refused_total", Kind::Counter, help);
    for (cause, count) in &figures.messages_refused {
        family.sample(&[("cause", cause)], count);
    }
}

/// The server as a node of its cluster, and what crosses between nodes.
fn write_cluster(page: &mut Page, cluster: &ClusterFigures, figures: &RoomsFigures) {
    let help = "Whether the message bus works, so that people can join: 1 or 0.";
    page.single(
        "antiphon_cluster_bus_works",
        Kind::Gauge,
        help,
        u64::from(cluster.bus_works),
    );
    let help = "Other nodes that are there.";
    page.single("antiphon_cluster_nodes", Kind::Gauge, help, cluster.nodes.len());
    let rooms = labelled(&figures.rooms);
    type Figure = fn(&RoomFigures) -> usize;
    let families: [(&'static str, &str, Figure); 4] = [
        (
            "antiphon_room_remote_participants",
            "Who is in a room on other nodes.",
            |own| own.remote_peers,
        ),
        ("antiphon_room_pipes", "Connections of a room to other nodes.", |own| {
            own.pipes
        }),
        (
            "antiphon_room_tracks_to_nodes",
            "Tracks of this node that go to others, each counted for each node.",
            |own| own.tracks_out,
        ),
        (
            "antiphon_room_tracks_from_nodes",
            "Tracks of other nodes that come to this one.",
            |own| own.tracks_in,
        ),
    ];
    for (name, help, figure) in families {
        let mut family = page.family(name, Kind::Gauge, help);
        for (room, own) in &rooms {
            family.sample(&[("room", room)], figure(&own.forwarding));
        }
    }
    let help = "Messages of the bus, by what became of them.";
    let mut family = page.family("antiphon_cluster_messages_total", Kind::Counter, help);
    let counts = &cluster.counts;
    for (fate, count) in [
        ("taken", counts.taken),
        ("too_large", counts.too_large),
        ("other_version", counts.other_version),
        ("malformed", counts.malformed),
        ("stale", counts.stale),
        ("too_many_nodes", counts.too_many_nodes),
        ("elsewhere", counts.elsewhere),
        ("late", counts.late),
        ("unread", counts.unread),
    ] {
        family.sample(&[("fate", fate)], count);
    }
    let help = "Offers of connections between nodes that were sent again, or given up.";
    let mut family = page.family("antiphon_cluster_offers_total", Kind::Counter, help);
    family.sample(&[("fate", "resent")], counts.resent);
    family.sample(&[("fate", "renewed")], counts.renewed);
}

fn write_work(page: &mut Page, figures: &RoomsFigures) {
    let (totals, latency) = (&figures.work.totals, &figures.work.latency);
    let counters = [
        (
            "antiphon_received_packets_total",
            "Packets of media that came for rooms.",
            totals.packets,
        ),
        ("antiphon_received_bytes_total", "Their bytes of payload.", totals.bytes),
        (
            "antiphon_forwarded_packets_total",
            "Packets that went on, counted for each receiver.",
            totals.sent,
        ),
        (
            "antiphon_forwarded_bytes_total",
            "Their bytes of payload.",
            totals.sent_bytes,
        ),
        (
            "antiphon_key_frames_asked_total",
            "Key frames that publishers were asked for.",
            totals.key_frames_asked,
        ),
        (
            "antiphon_key_frame_requests_unheard_total",
            "Key frames that receivers asked for more often than they are heard.",
            totals.key_frames_unheard,
        ),
    ];
    for (name, help, value) in counters {
        page.single(name, Kind::Counter, help, value);
    }
    let dropped = &totals.dropped;
    let mut family = page.family(
        "antiphon_dropped_packets_total",
        Kind::Counter,
        "Packets that did not go on.",
    );
    for (cause, count) in [
        ("malformed", dropped.malformed),
        ("descriptor", dropped.descriptors),
        ("encodings", dropped.encodings),
        ("sources", dropped.sources),
        ("quieter", totals.quieter),
        ("layer", totals.left_out),
        ("late", totals.late),
        ("refused", totals.refused),
    ] {
        family.sample(&[("cause", cause)], count);
    }
    let switches = &totals.switches;
    let help = "How often receivers changed from one layer to another.";
    let mut family = page.family("antiphon_layer_switches_total", Kind::Counter, help);
    for (cause, count) in [
        ("up", switches.up),
        ("down", switches.down),
        ("starved", switches.starved),
        ("claimed", switches.claimed),
        ("source", switches.source),
    ] {
        family.sample(&[("cause", cause)], count);
    }
    let help = "How long forwarded packets were in the program, from the socket to the socket.";
    let name = "antiphon_forward_latency_seconds";
    page.histogram(name, help, &LATENCY_BOUNDS, latency.counts(), latency.sum());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_rooms_have_labels_and_none_is_lost() {
        let one = |participants| OneRoom {
            participants,
            ..OneRoom::default()
        };
        let mut rooms: BTreeMap<String, OneRoom> = (0..200).map(|n| (format!("room-{n}"), one(1))).collect();
        rooms.insert("large".to_owned(), one(7));
        let told = labelled(&rooms);
        assert_eq!(told.len(), MAX_ROOM_LABELS + 1);
        assert_eq!(told[0].0, "large");
        assert_eq!(told.last().unwrap().0, OTHERS);
        let sum: usize = told.iter().map(|(_, room)| room.participants).sum();
        assert_eq!(sum, 207);
    }
}
