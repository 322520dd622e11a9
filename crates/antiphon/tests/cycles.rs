//! Connect and close, over and over: memory stays flat.
//!
//! `cargo test` runs a few hundred cycles; `ANTIPHON_CYCLES=10000` (as `cargo xtask test` sets it) runs them all.

use antiphon::{Api, Event, PeerConnection, RtcConfiguration};
use antiphon_netsim::Counting;

/// Cycles before the first reading: allocators and pools settle.
const WARM_UP: usize = 100;
/// Readings are taken over the whole run; the lowest of its first and of its last quarter are compared, because a peer may still
/// be saying good-bye when one is taken.
const READINGS: usize = 100;
/// How many bytes in use a whole run may add, whatever its length: less than one peer, of the thousands that came and went.
const MAX_GROWTH: usize = 64 * 1024;
/// The same for the resident set, which the system's allocator alone moves by several MiB to and fro.
const MAX_RESIDENT_GROWTH_KIB: u64 = 16 * 1024;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let mut readings = Vec::with_capacity(READINGS);
    for n in 0..cycles {
        cycle(&api).await;
        if (n + 1).is_multiple_of(cycles.div_ceil(READINGS)) {
            readings.push((Counting::in_use(), resident_kib()));
        }
        if (n + 1).is_multiple_of(1000) {
            let (bytes, resident) = readings.last().expect("a reading at least every thousand");
            println!("{} cycles: {bytes} bytes in use, resident {resident} KiB", n + 1);
        }
    }
    let quarter = readings.len().div_ceil(4);
    let (first, last) = (&readings[..quarter], &readings[readings.len() - quarter..]);
    let in_use = |some: &[(usize, u64)]| some.iter().map(|(bytes, _)| *bytes).min().expect("readings");
    let resident = |some: &[(usize, u64)]| some.iter().map(|(_, kib)| *kib).min().expect("readings");
    let (before, after) = (in_use(first), in_use(last));
    let (resident_before, resident_after) = (resident(first), resident(last));
    println!(
        "{cycles} connect/close cycles: {before} bytes in use in the first quarter, {after} in the last; resident {resident_before} \
         and {resident_after} KiB"
    );
    assert!(
        after <= before + MAX_GROWTH,
        "memory in use grew from {before} to {after} bytes"
    );
    assert!(
        resident_after <= resident_before + MAX_RESIDENT_GROWTH_KIB,
        "resident memory grew from {resident_before} to {resident_after} KiB"
    );
}
