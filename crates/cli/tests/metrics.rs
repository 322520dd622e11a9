//! `--metrics`: what Prometheus reads of rooms, before, while and after somebody is there.

mod common;

use antiphon::{Event, MediaKind};
use common::figures::Figures;
use common::guest::{Guest, capabilities, film, join};
use common::{Running, http, within};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rooms_do_is_read_as_figures() {
    let server = Running::start(&["--metrics", "127.0.0.1:0"]).await;
    let empty = Figures::of(&server).await;
    for name in [
        "antiphon_rooms",
        "antiphon_forwarded_packets_total",
        "antiphon_sessions",
    ] {
        assert_eq!(empty.get(name, &[]), Some(0.0), "{name}");
    }

    let mut ada = Guest::come(&server, "Ada").await;
    let video = ada.add(MediaKind::Video, "camera").await;
    ada.exchange().await;
    let mut grace = Guest::come(&server, "Grace").await;
    grace.exchange().await;
    let Guest { mut socket, pc, .. } = ada;
    let filming = tokio::spawn(film(pc, video));
    let mut frames = 0;
    within("pictures", async {
        while frames < 20 {
            let event = grace.pc.next_event().await.expect("it lives");
            frames += u32::from(matches!(event, Event::Frame { .. }));
        }
    })
    .await;
    let refused = join(&server, "stage", "ADA", &capabilities().await).await.next().await;
    assert_eq!(refused.unwrap()["code"], "name");
    socket.send(json!({"type": "say", "text": ""})).await;
    socket.expect("error").await;

    let figures = Figures::of(&server).await;
    let room = [("room", "stage")];
    assert_eq!(figures.value("antiphon_rooms"), 1.0);
    assert_eq!(figures.get("antiphon_room_participants", &room), Some(2.0));
    assert_eq!(figures.get("antiphon_room_tracks_received", &room), Some(1.0));
    assert_eq!(figures.get("antiphon_room_tracks_sent", &room), Some(1.0));
    let forwarded = figures.value("antiphon_forwarded_packets_total");
    let received = figures.value("antiphon_received_packets_total");
    assert!(forwarded >= 20.0 && received >= forwarded, "{received} {forwarded}");
    // A frame is 600 bytes.
    assert!(figures.value("antiphon_forwarded_bytes_total") >= 20.0 * 600.0);
    assert_eq!(figures.value("antiphon_forward_latency_seconds_count"), forwarded);
    assert!(figures.value("antiphon_forward_latency_seconds_sum") > 0.0);
    assert!(figures.get("antiphon_key_frames_asked_total", &[]).is_some());
    assert_eq!(
        figures.get("antiphon_room_joins_refused_total", &[("cause", "name")]),
        Some(1.0)
    );
    assert_eq!(
        figures.get("antiphon_room_messages_refused_total", &[("cause", "text")]),
        Some(1.0)
    );
    for (name, causes) in [
        ("antiphon_dropped_packets_total", 8),
        ("antiphon_layer_switches_total", 5),
    ] {
        assert_eq!(figures.labels(name).len(), causes, "{name}");
    }
    if cfg!(target_os = "linux") {
        assert!(figures.value("process_cpu_seconds_total") > 0.0);
        assert!(figures.value("process_resident_memory_bytes") > 1e6);
    }

    // With the room goes what it is now, and not what it has done.
    socket.send(json!({"type": "bye"})).await;
    within("the end", filming).await.unwrap();
    grace.socket.send(json!({"type": "bye"})).await;
    while grace.socket.next().await.is_some() {}
    let after = within("an empty server", async {
        loop {
            let figures = Figures::of(&server).await;
            assert!(figures.value("antiphon_forwarded_packets_total") >= forwarded);
            if figures.value("antiphon_rooms") == 0.0 {
                return figures;
            }
        }
    })
    .await;
    assert!(after.labels("antiphon_room_participants").is_empty());
    assert_eq!(empty.families, after.families);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_on_their_own_address_and_for_no_page_of_a_stranger() {
    let server = Running::start(&["--metrics", "127.0.0.1:0"]).await;
    let metrics = server.metrics.unwrap();
    assert_eq!(server.http("GET", "/metrics", &[], "").await.status, 404);
    assert_eq!(http(metrics, "GET", "/", &[], "").await.status, 404);
    let host = [("Host", "rebound.example")];
    assert_eq!(http(metrics, "GET", "/metrics", &host, "").await.status, 421);
    server.stop().await;
}
