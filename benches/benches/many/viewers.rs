//! A server that sends what it has to 50 viewers. It has a thread of its own, whose processor time is what counts.

use std::time::{Duration, Instant};

use antiphon::{Api, MediaKind, Packet, PeerConnection, PeerHandle, TransceiverId};
use antiphon_benches::cost::thread_cpu;
use antiphon_benches::fan::{configuration, next, packet, send_only};
use antiphon_benches::meeting::{connect, loopback};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::figures::Measured;

pub(crate) const VARIANTS: [&str; 2] = ["one port", "own sockets"];
const VIEWERS: usize = 50;
/// The server has news so often: what came in between it forwards at once.
const TICK: Duration = Duration::from_millis(5);
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);

fn one_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

/// One viewer as the server sees it.
struct Seat {
    peer: PeerConnection,
    transceiver: TransceiverId,
}

/// A peer whose tasks run at `side`.
async fn peer(api: &Api, side: &Runtime) -> PeerConnection {
    let api = api.clone();
    let made = side.spawn(async move { api.peer_connection(configuration()).await });
    made.await.expect("a task").expect("a peer")
}

/// One viewer, as the server sees it and as it is; nobody but its own statistics counts its packets.
async fn seat(server: (&Api, &Runtime), viewers: (&Api, &Runtime)) -> (Seat, PeerHandle) {
    let mut ours = peer(server.0, server.1).await;
    let transceiver = ours.add_transceiver(MediaKind::Video, send_only()).await;
    let mut viewer = peer(viewers.0, viewers.1).await;
    connect(&mut ours, &mut viewer).await.expect("they connect");
    let handle = viewer.handle();
    viewers
        .1
        .spawn(async move { while viewer.next_event().await.is_some() {} });
    let seat = Seat {
        peer: ours,
        transceiver: transceiver.expect("a transceiver"),
    };
    (seat, handle)
}

/// Packets that the server's connections have sent, and packets that the viewers have.
async fn counted(seats: &[PeerHandle], viewers: &[PeerHandle]) -> [u64; 2] {
    let mut counted = [0; 2];
    for seat in seats {
        let report = seat.get_stats().await.expect("statistics");
        counted[0] += report.outbound_rtp().map(|stream| stream.packets_sent).sum::<u64>();
    }
    for viewer in viewers {
        let report = viewer.get_stats().await.expect("statistics");
        counted[1] += report.inbound_rtp().map(|stream| stream.packets_received).sum::<u64>();
    }
    counted
}

/// Forwards `rate` packets a second to everybody, for ever.
async fn forward(seats: Vec<Seat>, mut packet: Packet, rate: u32) {
    let handles: Vec<(PeerHandle, TransceiverId)> = seats.iter().map(|s| (s.peer.handle(), s.transceiver)).collect();
    for mut seat in seats {
        // Requests for key frames are not answered.
        tokio::spawn(async move { while seat.peer.next_event().await.is_some() {} });
    }
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each = (f64::from(rate) * TICK.as_secs_f64()).round() as u32;
    loop {
        tick.tick().await;
        for _ in 0..each {
            next(&mut packet, Instant::now());
            for (peer, transceiver) in &handles {
                // What is not taken shows in the statistics.
                _ = peer.forward_rtp(*transceiver, packet.clone());
            }
        }
    }
}

pub(crate) fn measure(variant: &str, rate: u32, long: bool) -> Vec<Measured> {
    let window = Duration::from_secs(if long { 10 } else { 3 });
    let (server_side, viewer_side) = (one_thread(), one_thread());
    let api = |at: &Runtime, one_port: bool| {
        let _inside = at.enter();
        let builder = if one_port { loopback().one_port(0) } else { loopback() };
        builder.build().expect("an api")
    };
    let server = api(&server_side, variant == "one port");
    let viewers = api(&viewer_side, false);

    let main = Builder::new_current_thread().enable_all().build().expect("a runtime");
    main.block_on(async {
        let (mut seats, mut watching) = (Vec::new(), Vec::new());
        for _ in 0..VIEWERS {
            let (seat, viewer) = seat((&server, &server_side), (&viewers, &viewer_side)).await;
            seats.push(seat);
            watching.push(viewer);
        }
        let payload_type = seats[0].peer.payload_type(seats[0].transceiver, "VP8").await;
        let packet = packet(payload_type.expect("a peer").expect("VP8"), Instant::now());
        let handles: Vec<PeerHandle> = seats.iter().map(|seat| seat.peer.handle()).collect();
        server_side.spawn(forward(seats, packet, rate));
        sleep(WARM_UP).await;
        let cpu = || async {
            server_side
                .spawn(async { thread_cpu() })
                .await
                .expect("the thread's time")
        };
        let before = (counted(&handles, &watching).await, cpu().await, Instant::now());
        sleep(window).await;
        let after = (counted(&handles, &watching).await, cpu().await, Instant::now());
        let [sent, received] = [0, 1].map(|n| (after.0[n] - before.0[n]) as f64);
        let (spent, seconds) = (after.1 - before.1, after.2 - before.2);
        let due = f64::from(rate) * VIEWERS as f64 * seconds.as_secs_f64();
        vec![
            Measured::new("for each CPU-second", sent / spent.as_secs_f64(), "packets"),
            Measured::new("of those due, sent", 100.0 * sent / due, "%"),
            Measured::new("of those sent, received", 100.0 * received / sent, "%"),
        ]
    })
}
