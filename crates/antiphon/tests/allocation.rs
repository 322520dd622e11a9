//! What whole peers allocate for bulk data, sockets and driver included: nothing for a packet.

mod pair;

use antiphon::{DataChannel, Message, PeerHandle, RtcConfiguration};
use antiphon_netsim::Counting;
use bytes::Bytes;

use pair::{connected, within};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two ends of one channel, and the handles that keep their connections.
async fn pair() -> (DataChannel, DataChannel, [PeerHandle; 2]) {
    let mut configuration = RtcConfiguration::default();
    // Which messages take one datagram must not depend on how far path MTU discovery has come.
    configuration.settings.mtu = 1200;
    configuration.settings.max_mtu = 1200;
    connected(configuration).await
}

/// Sends so many messages, each a clone of one, and takes them all.
async fn carry_messages(near: &DataChannel, far: &mut DataChannel, message: &Bytes, messages: usize) {
    let sending = async {
        for _ in 0..messages {
            near.send(Message::binary(message.clone())).await.unwrap();
        }
    };
    let receiving = async {
        for _ in 0..messages {
            assert_eq!(far.recv().await.unwrap().data.len(), message.len());
        }
    };
    within("the messages", async { tokio::join!(sending, receiving) }).await;
}

/// Datagrams that both ends have sent.
async fn packets(handles: &[PeerHandle; 2]) -> u64 {
    let mut sent = 0;
    for handle in handles {
        sent += handle.get_stats().await.unwrap().transport().unwrap().packets_sent;
    }
    sent
}

/// What a message of `size` bytes costs, in allocations of both ends and the application, and in datagrams: the difference that twice
/// as many messages make, so that what is allocated once, or now and then by the clock, does not count.
async fn steady(size: usize, messages: usize) -> (f64, f64) {
    let (near, mut far, handles) = pair().await;
    let message = Bytes::from(vec![7; size]);
    // Containers grow once, the congestion window opens, and path MTU discovery comes to its end.
    carry_messages(&near, &mut far, &message, 2 * messages).await;
    let mut spent = Vec::new();
    for part in [messages, 2 * messages] {
        let sent = packets(&handles).await;
        let before = Counting::everywhere().allocations;
        carry_messages(&near, &mut far, &message, part).await;
        let allocated = Counting::everywhere().allocations - before;
        spent.push((allocated as f64, (packets(&handles).await - sent) as f64));
    }
    let [(few, few_packets), (many, many_packets)] = spent[..] else {
        unreachable!()
    };
    let [allocated, packets] = [many - few, many_packets - few_packets].map(|n| n / messages as f64);
    (allocated, packets)
}

/// What is sent, and the allocations of a message that are its own: it is copied out of the datagram where it is small, so that it
/// pins nothing, and put together in one buffer where it takes several chunks (a large one that can be used again has two, for
/// its holders are counted; while the reader keeps up there is none). One that fills a chunk is cut from the datagram.
const CASES: [(usize, usize, f64); 4] = [
    (64, 40_000, 1.0),
    (1000, 20_000, 0.0),
    (1200, 20_000, 1.0),
    (65_536, 400, 2.0),
];

/// What is left for each datagram, messages' own apart, must be below `limit`.
async fn table(threads: &str, limit: f64) {
    println!("\n   bytes messages  datagrams  allocations      besides   ({threads})");
    println!("                  a message    a message   a datagram");
    for (size, messages, own) in CASES {
        let (allocated, packets) = steady(size, messages).await;
        let besides = (allocated - own) / packets;
        println!("{size:8} {messages:8} {packets:10.3} {allocated:12.4} {besides:12.5}");
        assert!(packets > 0.01, "messages took datagrams");
        assert!(
            besides < limit,
            "{size} bytes, {threads}: {besides} allocations a datagram"
        );
    }
}

#[test]
fn a_packet_costs_no_allocation() {
    // One allocation for twenty datagrams would be: the driver's memory for 32 KiB of them, if it could not be used again.
    let mut one = tokio::runtime::Builder::new_current_thread();
    one.enable_all().build().unwrap().block_on(table("one thread", 0.05));
    // Here a reader may be behind and hold that memory, which costs two allocations for each 27 datagrams that it is behind: 0.074, and
    // twice that in the difference if it was behind in the longer part alone. An allocation for each datagram would be 1.
    let mut two = tokio::runtime::Builder::new_multi_thread();
    let two = two.worker_threads(2).enable_all().build().unwrap();
    two.block_on(async { tokio::spawn(table("two threads", 0.25)).await.unwrap() });
}
