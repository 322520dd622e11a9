//! Connect and close, over and over: resident memory stays flat.
//!
//! `cargo test` runs a few hundred cycles; `ANTIPHON_CYCLES=10000` (as `cargo xtask test` sets it) runs them all.

use antiphon::{Api, Event, PeerConnection, RtcConfiguration};

/// Cycles before the first reading: allocators and pools settle.
const WARM_UP: usize = 100;
/// What a whole run may add, whatever its length: far below one connection's worth per hundred cycles.
const MAX_GROWTH_KIB: u64 = 8 * 1024;

/// This process's resident set in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process knows its size");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS is listed");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Tells `pc`'s candidates to `other` until `pc` is closed.
fn carry(mut pc: PeerConnection, other: antiphon::PeerHandle) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            if let Event::IceCandidate(candidate) = event {
                // The other end may be closed by now.
                let _ = other.add_ice_candidate(candidate).await;
            }
        }
    })
}

async fn cycle(api: &Api) {
    let caller = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let callee = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let (a, b) = (caller.handle(), callee.handle());
    let mut channel = a.create_data_channel("cycle", Default::default()).await.unwrap();
    a.set_local_description(None).await.unwrap();
    b.set_remote_description(a.local_description().await.unwrap().unwrap())
        .await
        .unwrap();
    b.set_local_description(None).await.unwrap();
    a.set_remote_description(b.local_description().await.unwrap().unwrap())
        .await
        .unwrap();
    let tasks = [carry(caller, b.clone()), carry(callee, a.clone())];
    channel.opened().await.unwrap();
    channel.send_text("hello").await.unwrap();
    a.close().await;
    b.close().await;
    drop((a, b, channel));
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat() {
    let cycles: usize = std::env::var("ANTIPHON_CYCLES")
        .ok()
        .map_or(300, |n| n.parse().expect("a number of cycles"));
    let only = Some(vec!["127.0.0.1".parse().unwrap()]);
    let api = Api::builder().loopback(true).only_addresses(only).build().unwrap();
    for _ in 0..WARM_UP {
        cycle(&api).await;
    }
    let before = resident_kib();
    for n in 0..cycles {
        cycle(&api).await;
        if (n + 1).is_multiple_of(1000) {
            println!("{} cycles: resident {} KiB", n + 1, resident_kib());
        }
    }
    let after = resident_kib();
    println!("{cycles} connect/close cycles: resident {before} KiB before, {after} KiB after");
    assert!(
        after <= before + MAX_GROWTH_KIB,
        "resident memory grew from {before} to {after} KiB"
    );
}
