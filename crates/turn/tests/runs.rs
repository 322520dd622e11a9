//! Datagrams that come together leave together, and come to the same as one by one.

mod checked;
mod world;

use antiphon_netsim::Counting;
use antiphon_sansio::{BytesMut, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType as A, Message, Method};
use antiphon_turn::{CHANNEL_HEADER_LEN, Client, ClientConfig, channel_header, parse_channel_data};
use proptest::prelude::*;
use world::{CLIENT, PEER, World, addr, config, udp};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OTHER_CLIENT: &str = "203.0.113.2:2222";
const OTHER_PEER: &str = "9.9.9.10:8888";
const CHANNEL: u16 = 0x4001;
const OTHER_CHANNEL: u16 = 0x4002;

/// Two clients with an allocation each. Both have a channel to the one peer, and the first has one to the other.
fn world() -> World {
    world_of(config())
}

fn world_of(config: antiphon_turn::ServerConfig) -> World {
    let mut world = World::new(config);
    for client in [CLIENT, OTHER_CLIENT] {
        assert_eq!(world.allocate(udp(client)).code(), 200);
        bind(&mut world, client, CHANNEL, PEER);
    }
    bind(&mut world, CLIENT, OTHER_CHANNEL, OTHER_PEER);
    world
}

fn bind(world: &mut World, client: &str, number: u16, peer: &str) {
    let answer = world.alice(udp(client), Method::CHANNEL_BIND, |builder| {
        builder.channel_number(number);
        builder.xor_address(A::XOR_PEER_ADDRESS, addr(peer));
    });
    assert_eq!(answer.code(), 200);
}

/// Where the first client's peers send to, and where the second's.
fn relayed(world: &World, client: usize, peer: &str) -> Path {
    Path {
        local: world.opened[client].0,
        remote: addr(peer),
    }
}

fn message(number: u16, data: &[u8]) -> Vec<u8> {
    [&channel_header(number, data.len())[..], data].concat()
}

/// Datagrams of one length, and perhaps a shorter last one, as a batch.
fn deliver_batch(world: &mut World, path: Path, datagrams: &[Vec<u8>]) {
    let data = BytesMut::from(&datagrams.concat()[..]);
    let now = world.now;
    world.server.handle_datagrams(now, path, data, datagrams[0].len());
}

/// What leaves: where to, and the datagrams of each run.
fn sent(world: &mut World) -> Vec<(Path, Vec<Vec<u8>>)> {
    let mut out = TransmitBuf::new(64 * 1024, 2048);
    let mut runs = Vec::new();
    while let Some(transmit) = world.server.poll_transmit(&mut out) {
        let datagrams: Vec<Vec<u8>> = transmit.datagrams(&out).map(<[u8]>::to_vec).collect();
        let size = transmit.segment_size.unwrap_or(transmit.range.len());
        assert!(
            datagrams[..datagrams.len() - 1]
                .iter()
                .all(|datagram| datagram.len() == size)
        );
        runs.push((transmit.path, datagrams));
    }
    world.server.drained();
    runs
}

#[test]
fn what_a_client_sends_at_once_leaves_for_the_peer_at_once() {
    let mut world = world();
    let data = [vec![1; 100], vec![2; 100], vec![3; 60]];
    let datagrams: Vec<Vec<u8>> = data.iter().map(|data| message(CHANNEL, data)).collect();
    deliver_batch(&mut world, udp(CLIENT), &datagrams);
    let to_peer = relayed(&world, 0, PEER);
    assert_eq!(sent(&mut world), [(to_peer, data.to_vec())]);
    let counters = world.server.counters();
    assert_eq!((counters.to_peers, counters.bytes_to_peers), (3, 260));
}

#[test]
fn what_a_peer_sends_at_once_reaches_the_client_at_once() {
    let mut world = world();
    let data = [vec![1; 100], vec![2; 100], vec![3; 60]];
    let path = relayed(&world, 0, PEER);
    deliver_batch(&mut world, path, &data);
    let messages: Vec<Vec<u8>> = data.iter().map(|data| message(CHANNEL, data)).collect();
    assert_eq!(sent(&mut world), [(udp(CLIENT), messages)]);
    // By Data indications too, each of which has an id of its own.
    assert_eq!(world.permit(udp(CLIENT), addr("9.9.9.11:1")), 200);
    let path = relayed(&world, 0, "9.9.9.11:1");
    deliver_batch(&mut world, path, &data);
    let runs = sent(&mut world);
    let [(to, indications)] = &runs[..] else {
        panic!("{runs:?}")
    };
    assert_eq!(*to, udp(CLIENT));
    let indications: Vec<Message<'_>> = indications.iter().map(|bytes| Message::parse(bytes).unwrap()).collect();
    assert!(
        indications
            .iter()
            .zip(&data)
            .all(|(indication, data)| indication.data() == Some(data))
    );
    assert_ne!(indications[0].transaction_id(), indications[1].transaction_id());
    let counters = world.server.counters();
    assert_eq!((counters.to_clients, counters.bytes_to_clients), (6, 520));
}

#[test]
fn what_comes_alone_is_joined_with_what_waits_for_the_same_destination() {
    let mut world = world();
    let (first, second) = (relayed(&world, 0, PEER), relayed(&world, 1, PEER));
    for n in 0..3 {
        for client in [CLIENT, OTHER_CLIENT] {
            world.deliver(udp(client), &message(CHANNEL, &[n; 50]));
        }
    }
    // A shorter one ends a run, and what follows it begins one.
    world.deliver(udp(CLIENT), &message(CHANNEL, &[3; 20]));
    world.deliver(udp(CLIENT), &message(CHANNEL, &[4; 50]));
    let fifty = |n: u8| vec![n; 50];
    let runs = sent(&mut world);
    assert_eq!(
        runs,
        [
            (first, vec![fifty(0), fifty(1), fifty(2), vec![3; 20]]),
            (second, vec![fifty(0), fifty(1), fifty(2)]),
            (first, vec![fifty(4)]),
        ]
    );
}

#[test]
fn a_batch_of_many_kinds_is_taken_apart() {
    let mut world = world();
    let datagrams = [
        message(CHANNEL, &[1; 50]),
        message(OTHER_CHANNEL, &[2; 50]),
        // Nobody's channel, and no message at all.
        message(0x4003, &[3; 50]),
        vec![0xff; 54],
        message(CHANNEL, &[4; 50]),
        // Padding, which over UDP may follow.
        [message(CHANNEL, &[5; 47]), vec![0; 3]].concat(),
        message(CHANNEL, &[6; 50]),
    ];
    deliver_batch(&mut world, udp(CLIENT), &datagrams);
    let (peer, other) = (relayed(&world, 0, PEER), relayed(&world, 0, OTHER_PEER));
    assert_eq!(
        sent(&mut world),
        [
            (peer, vec![vec![1; 50], vec![4; 50], vec![5; 47]]),
            (other, vec![vec![2; 50]]),
            (peer, vec![vec![6; 50]]),
        ]
    );
    let counters = world.server.counters();
    assert_eq!(
        (counters.to_peers, counters.not_permitted, counters.malformed),
        (5, 1, 1)
    );
}

#[test]
fn between_two_clients_a_run_stays_one() {
    let mut world = world();
    let to = world.opened[1].1;
    bind(&mut world, CLIENT, 0x4004, &to.to_string());
    let from = world.opened[0].1;
    bind(&mut world, OTHER_CLIENT, 0x4005, &from.to_string());
    let data = [vec![1; 100], vec![2; 100]];
    let datagrams: Vec<Vec<u8>> = data.iter().map(|data| message(0x4004, data)).collect();
    deliver_batch(&mut world, udp(CLIENT), &datagrams);
    let messages: Vec<Vec<u8>> = data.iter().map(|data| message(0x4005, data)).collect();
    assert_eq!(sent(&mut world), [(udp(OTHER_CLIENT), messages)]);
}

#[test]
fn a_run_is_cut_where_its_cap_is() {
    let mut config = config();
    // A second's worth at once: 10 datagrams of 100 bytes, and the one that goes over.
    config.max_bps_allocation = Some(8000);
    let mut world = world_of(config);
    let datagrams = vec![message(CHANNEL, &[7; 100]); 30];
    deliver_batch(&mut world, udp(CLIENT), &datagrams);
    let runs = sent(&mut world);
    assert_eq!((runs.len(), runs[0].1.len()), (1, 10));
    let counters = world.server.counters();
    assert_eq!(
        (
            counters.to_peers,
            counters.over_allocation_rate,
            counters.bytes_over_rate
        ),
        (10, 20, 2000)
    );
}

#[test]
fn of_a_run_that_is_too_long_to_relay_the_short_end_passes() {
    let mut world = world();
    let data = [vec![1; 1501], vec![2; 1501], vec![3; 1500]];
    let path = relayed(&world, 0, PEER);
    deliver_batch(&mut world, path, &data);
    assert_eq!(sent(&mut world), [(udp(CLIENT), vec![message(CHANNEL, &data[2])])]);
    assert_eq!(world.server.counters().overflow, 2);
}

#[test]
fn more_than_the_queue_holds_is_lost_at_its_end() {
    let mut world = world();
    let datagrams = vec![message(CHANNEL, &[7; 8]); antiphon_turn::MAX_QUEUE + 5];
    deliver_batch(&mut world, udp(CLIENT), &datagrams);
    let sent: usize = sent(&mut world).iter().map(|(_, datagrams)| datagrams.len()).sum();
    assert_eq!(sent, antiphon_turn::MAX_QUEUE);
    let counters = world.server.counters();
    assert_eq!(
        (counters.to_peers, counters.overflow),
        (antiphon_turn::MAX_QUEUE as u64, 5)
    );
}

#[test]
fn relaying_allocates_nothing() {
    let mut world = world();
    let now = world.now;
    let mut arena = BytesMut::with_capacity(64 * 1024);
    let mut out = TransmitBuf::new(64 * 1024, 2048);
    let batch = message(CHANNEL, &[7; 1200]).repeat(10);
    let peer_batch = vec![8; 1200 * 10];
    let paths = [
        udp(CLIENT),
        udp(OTHER_CLIENT),
        relayed(&world, 0, PEER),
        relayed(&world, 1, PEER),
    ];
    let mut relay_all = |world: &mut World| {
        let mut datagrams = 0;
        for path in paths {
            let (bytes, stride) = match path.local {
                Local::Relay(_) => (&peer_batch, 1200),
                _ => (&batch, 1204),
            };
            arena.clear();
            assert!(arena.try_reclaim(bytes.len()), "nobody holds what was relayed");
            arena.extend_from_slice(bytes);
            world.server.handle_datagrams(now, path, arena.split(), stride);
            out.clear();
            while let Some(transmit) = world.server.poll_transmit(&mut out) {
                datagrams += transmit.datagrams(&out).count();
            }
        }
        world.server.drained();
        datagrams
    };
    for _ in 0..3 {
        relay_all(&mut world);
    }
    let (count, datagrams) = Counting::during(|| (0..10).map(|_| relay_all(&mut world)).sum::<usize>());
    assert_eq!((datagrams, count.allocations), (400, 0));
}

#[test]
fn the_client_wraps_and_unwraps_where_the_data_lies() {
    let now = antiphon_netsim::start();
    let mut world = World::new(config());
    let mut client = Client::new(ClientConfig::new("alice", "secret"), Rng::from_u64(1));
    let mut out = TransmitBuf::new(64 * 1024, 1500);
    let mut settle = |client: &mut Client, world: &mut World| {
        while client.poll_transmit(now, &mut out) {
            let range = out.finish();
            world.deliver(udp(CLIENT), out.bytes(range));
            out.clear();
            for (_, answer) in world.sent() {
                client.handle_message(now, BytesMut::from(&answer[..]));
            }
        }
        while client.poll_event().is_some() {}
    };
    settle(&mut client, &mut world);
    client.permit(addr(OTHER_PEER).ip());
    client.bind_channel(addr(PEER));
    settle(&mut client, &mut world);
    assert_eq!(client.room(addr(PEER)).0, CHANNEL_HEADER_LEN);

    let mut arena = BytesMut::with_capacity(64 * 1024);
    let mut exchange = |client: &mut Client, peer: &str| {
        let (front, back) = client.room(addr(peer));
        out.clear();
        out.set_path_room(front, back);
        let mut end = None;
        for _ in 0..10 {
            assert!(out.begin(0, 0));
            out.put_slice(&[7; 1000]);
            client.wrap(addr(peer), &mut out);
            let range = out.finish();
            // Side by side, as one call sends them.
            assert!(end.is_none_or(|end| end == range.start));
            end = Some(range.end);
        }
        arena.clear();
        assert!(arena.try_reclaim(1004), "nobody holds what came");
        arena.extend_from_slice(&channel_header(0x4000, 1000));
        arena.extend_from_slice(&[8; 1000]);
        let place = arena[4..].as_ptr();
        let (from, data) = client.handle_message(now, arena.split()).unwrap();
        assert_eq!((from, data.len(), data.as_ptr()), (addr(PEER), 1000, place));
    };
    exchange(&mut client, PEER);
    let (count, ()) = Counting::during(|| {
        exchange(&mut client, PEER);
        exchange(&mut client, OTHER_PEER);
    });
    assert_eq!(count.allocations, 0);
}

proptest! {
    #[test]
    fn together_or_one_by_one_is_the_same(
        datagrams in prop::collection::vec((0usize..4, 0usize..5, 0usize..3, any::<u8>()), 1..60),
        together in any::<bool>(),
    ) {
        let mut world = world();
        let sources = [udp(CLIENT), udp(OTHER_CLIENT), relayed(&world, 0, PEER), relayed(&world, 1, OTHER_PEER)];
        // What each destination must get, in order.
        let mut expected = std::collections::BTreeMap::<Path, Vec<Vec<u8>>>::new();
        let mut waiting: Vec<(Path, Vec<u8>)> = Vec::new();
        for (source, len, channel, byte) in datagrams {
            let data = vec![byte; [0, 1, 30, 30, 31][len]];
            let path = sources[source];
            let (to, arrives, datagram) = match source {
                0 | 1 => {
                    let number = [CHANNEL, OTHER_CHANNEL, 0x4009][channel];
                    let to = match (source, channel) {
                        (_, 0) => Some(relayed(&world, source, PEER)),
                        (0, 1) => Some(relayed(&world, 0, OTHER_PEER)),
                        _ => None,
                    };
                    (to, data.clone(), message(number, &data))
                }
                2 => (Some(udp(CLIENT)), message(CHANNEL, &data), data),
                // The second client has no permission for the other peer.
                _ => (None, Vec::new(), data),
            };
            if let Some(to) = to {
                expected.entry(to).or_default().push(arrives);
            }
            // A batch is what GRO would make of it.
            let joins = together && !datagram.is_empty() && waiting.last().is_some_and(|(last, first)| *last == path && first.len() == datagram.len());
            if !joins && !waiting.is_empty() {
                let batch: Vec<Vec<u8>> = waiting.iter().map(|(_, bytes)| bytes.clone()).collect();
                deliver_batch(&mut world, waiting[0].0, &batch);
                waiting.clear();
            }
            waiting.push((path, datagram));
        }
        let batch: Vec<Vec<u8>> = waiting.iter().map(|(_, bytes)| bytes.clone()).collect();
        deliver_batch(&mut world, waiting[0].0, &batch);
        let mut got = std::collections::BTreeMap::<Path, Vec<Vec<u8>>>::new();
        for (path, datagrams) in sent(&mut world) {
            for datagram in datagrams {
                if let Some((number, _)) = parse_channel_data(&datagram) && matches!(path.local, Local::Socket(_)) {
                    prop_assert_eq!(number, CHANNEL);
                }
                got.entry(path).or_default().push(datagram);
            }
        }
        prop_assert_eq!(got, expected);
    }
}
