//! Networks with NATs in them: the same private addresses twice, double NAT, TCP through a NAT, addresses that go away.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_sansio::{Ecn, Local};

use super::address;
use crate::*;

/// Longer than any path here takes.
const LONG: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nat(network: &mut Network, config: NatConfig, outside: &str, behind: Option<NodeId>) -> NodeId {
    let node = network.add_node(Box::new(Nat::new(config, vec![ip(outside)])));
    network.place_node(node, behind);
    node
}

fn host_behind(network: &mut Network, behind: NodeId) -> HostId {
    let host = network.add_host();
    network.place(host, Some(behind));
    host
}

fn bind(network: &mut Network, host: HostId, at: &str) -> SocketId {
    network.bind(host, address(at)).unwrap()
}

/// Sends and says who got it, and from where it seemed to come.
fn send(network: &mut Network, from: SocketId, to: SocketAddr) -> Option<(Local, SocketAddr)> {
    network.send(from, to, Ecn::NotEct, b"x");
    network.advance(LONG);
    let got = network.receive().map(|delivery| delivery.datagram.path);
    assert!(network.receive().is_none());
    got.map(|path| (path.local, path.remote))
}

fn tcp_events(network: &mut Network) -> Vec<(HostId, TcpEvent)> {
    let mut all = Vec::new();
    // What one event sets off comes with the next second.
    for _ in 0..3 {
        network.advance(LONG);
        all.extend(std::iter::from_fn(|| network.receive_tcp()));
    }
    all
}

/// Two homes use 192.168.1.0/24, as homes do. An address of the one means another machine, or none, in the other.
#[test]
fn private_addresses_overlap() {
    let mut network = Network::new(1);
    let homes = ["20.1.0.1", "20.1.0.2"].map(|outside| nat(&mut network, NatConfig::port_restricted(), outside, None));
    let [a, b] = homes.map(|home| host_behind(&mut network, home));
    let neighbour = host_behind(&mut network, homes[0]);
    let (a, b) = (
        bind(&mut network, a, "192.168.1.2:25000"),
        bind(&mut network, b, "192.168.1.3:25000"),
    );
    // Nobody at home has it yet.
    assert_eq!(send(&mut network, a, address("192.168.1.3:25000")), None);
    let neighbour = bind(&mut network, neighbour, "192.168.1.3:25000");
    let (from, to) = (address("192.168.1.2:25000"), address("192.168.1.3:25000"));
    assert_eq!(send(&mut network, a, to), Some((neighbour.local(), from)));
    assert_eq!(send(&mut network, b, from), None, "nobody at this home has it");
    // The one in the other home is reached by its NAT, once it has sent something.
    assert_eq!(send(&mut network, a, address("20.1.0.2:25000")), None);
    assert_eq!(
        send(&mut network, b, address("20.1.0.1:25000")),
        Some((a.local(), address("20.1.0.2:25000")))
    );
    assert_eq!(
        send(&mut network, a, address("20.1.0.2:25000")),
        Some((b.local(), address("20.1.0.1:25000")))
    );
    // The same address in one home cannot be had twice; in the other it can.
    let [again, elsewhere] = homes.map(|home| host_behind(&mut network, home));
    assert_eq!(network.bind(again, address("192.168.1.3:1")), None);
    assert!(network.bind(elsewhere, address("192.168.1.2:25000")).is_some());
}

/// What has moved is found where it is now, and not where it was; an address that is taken there is lost.
#[test]
fn a_host_moves_with_its_addresses() {
    let mut network = Network::new(2);
    let home = nat(&mut network, NatConfig::full_cone(), "20.1.0.1", None);
    let host = network.add_host();
    let socket = bind(&mut network, host, "10.0.0.2:25000");
    let open = network.add_host();
    let open = bind(&mut network, open, "20.2.0.1:1");
    assert!(send(&mut network, open, address("10.0.0.2:25000")).is_some());
    network.send(open, address("10.0.0.2:25000"), Ecn::NotEct, b"on its way");
    network.place(host, Some(home));
    network.advance(LONG);
    // It was sent to this very host, and a link does not ask where a host has gone: it arrives.
    assert!(network.receive().is_some());
    assert_eq!(send(&mut network, open, address("10.0.0.2:25000")), None);
    assert_eq!(
        send(&mut network, socket, address("20.2.0.1:1")),
        Some((open.local(), address("20.1.0.1:25000")))
    );
    let taken = network.add_host();
    bind(&mut network, taken, "10.0.0.2:7");
    network.place(host, None);
    assert_eq!(send(&mut network, socket, address("20.2.0.1:1")), None);
    assert_eq!(send(&mut network, open, address("10.0.0.2:25000")), None);
}

#[test]
fn an_address_is_taken_away_and_comes_back() {
    let mut network = Network::new(3);
    let (here, there) = (network.add_host(), network.add_host());
    let socket = bind(&mut network, here, "10.0.0.1:1");
    let other = bind(&mut network, here, "10.0.0.9:1");
    let far = bind(&mut network, there, "10.0.0.2:2");
    network.listen_tcp(there, address("10.0.0.2:80")).unwrap();
    let (connection, _) = network.connect_tcp(here, address("10.0.0.1:0"), address("10.0.0.2:80"));
    let events = tcp_events(&mut network);
    let Some((_, TcpEvent::Accepted { connection: theirs, .. })) = events.first() else {
        panic!("{events:?}")
    };
    // Already under way: there is nobody any more who would take it.
    network.send(far, address("10.0.0.1:1"), Ecn::NotEct, b"too late");
    network.remove_address(here, ip("10.0.0.1"));
    network.advance(LONG);
    assert!(network.receive().is_none());
    assert_eq!(send(&mut network, far, address("10.0.0.1:1")), None);
    assert_eq!(send(&mut network, socket, address("10.0.0.2:2")), None);
    network.send_tcp(connection, b"lost");
    network.send_tcp(*theirs, b"lost too");
    assert_eq!(tcp_events(&mut network), vec![]);
    assert_eq!(network.stats().unroutable, 5, "each of them is counted");
    // The host's other address does not care, nor do those of others.
    assert!(send(&mut network, other, address("10.0.0.2:2")).is_some());
    network.remove_address(here, ip("10.0.0.2"));
    assert!(
        send(&mut network, other, address("10.0.0.2:2")).is_some(),
        "it is not his"
    );
    network.add_address(here, ip("10.0.0.1"));
    assert!(send(&mut network, socket, address("10.0.0.2:2")).is_some());
    network.send_tcp(*theirs, b"found again");
    assert!(matches!(&tcp_events(&mut network)[..], [(host, TcpEvent::Data { .. })] if *host == here));
}

/// Out through both, back through both; each has a table of its own, and the provider's other customers are outside of it.
#[test]
fn double_nat() {
    let mut network = Network::new(4);
    let provider = nat(&mut network, NatConfig::port_restricted(), "20.1.0.1", None);
    let home = nat(&mut network, NatConfig::full_cone(), "100.64.0.1", Some(provider));
    let inner = host_behind(&mut network, home);
    let inner = bind(&mut network, inner, "192.168.1.2:25000");
    let open = network.add_host();
    let (server, stranger) = (
        bind(&mut network, open, "20.2.0.1:3478"),
        bind(&mut network, open, "20.2.0.1:666"),
    );
    // From outside: neither the home's outer address nor the host's is one.
    for unseen in ["100.64.0.1:25000", "192.168.1.2:25000", "20.1.0.1:25000"] {
        assert_eq!(send(&mut network, server, address(unseen)), None);
    }
    let outer = address("20.1.0.1:25000");
    assert_eq!(
        send(&mut network, inner, address("20.2.0.1:3478")),
        Some((server.local(), outer))
    );
    assert_eq!(
        send(&mut network, server, outer),
        Some((inner.local(), address("20.2.0.1:3478")))
    );
    assert_eq!(
        send(&mut network, stranger, outer),
        None,
        "the provider's NAT filters by port"
    );
    // A customer next door sees the home's NAT alone, a full cone: it may answer whoever is sent to by it.
    let next_door = host_behind(&mut network, provider);
    let next_door = bind(&mut network, next_door, "100.64.0.7:9");
    let seen = address("100.64.0.1:25000");
    assert_eq!(
        send(&mut network, inner, address("100.64.0.7:9")),
        Some((next_door.local(), seen))
    );
    assert_eq!(
        send(&mut network, next_door, seen),
        Some((inner.local(), address("100.64.0.7:9")))
    );
    // And both NATs may be the same kind of small home box with the same private network behind: only the way matters.
    let second = nat(&mut network, NatConfig::symmetric(), "100.64.0.2", Some(provider));
    let twin = host_behind(&mut network, second);
    let twin = bind(&mut network, twin, "192.168.1.2:25000");
    let (to, from) = send(&mut network, twin, address("20.2.0.1:3478")).unwrap();
    assert_eq!((to, from.ip()), (server.local(), outer.ip()));
    assert_ne!(from, outer, "the provider's NAT keeps the two apart");
    assert_eq!(send(&mut network, server, from).map(|(at, _)| at), Some(twin.local()));
}

#[test]
fn tcp_through_nats() {
    for double in [false, true] {
        let mut network = Network::new(5);
        let provider = nat(&mut network, NatConfig::symmetric(), "20.1.0.1", None);
        let behind = match double {
            true => nat(&mut network, NatConfig::port_restricted(), "100.64.0.1", Some(provider)),
            false => provider,
        };
        let inner = host_behind(&mut network, behind);
        network.add_address(inner, ip("10.0.0.2"));
        network.listen_tcp(inner, address("10.0.0.2:80")).unwrap();
        let open = network.add_host();
        network.add_address(open, ip("20.2.0.1"));
        network.listen_tcp(open, address("20.2.0.1:443")).unwrap();

        let (ours, from) = network.connect_tcp(inner, address("10.0.0.2:0"), address("20.2.0.1:443"));
        let events = tcp_events(&mut network);
        let [
            (
                server,
                TcpEvent::Accepted {
                    connection: theirs,
                    remote,
                    ..
                },
            ),
            (client, TcpEvent::Connected { connection }),
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((server, client, connection), (open, inner, ours));
        assert_eq!(remote.ip(), ip("20.1.0.1"), "the listener sees the outer NAT");
        assert_ne!(remote, from);
        network.send_tcp(ours, b"question");
        network.send_tcp(theirs, b"answer");
        let said: Vec<_> = tcp_events(&mut network)
            .into_iter()
            .map(|(host, event)| match event {
                TcpEvent::Data { remote, bytes, .. } => (host, remote, bytes.to_vec()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(said.contains(&(open, remote, b"question".to_vec())));
        assert!(said.contains(&(inner, address("20.2.0.1:443"), b"answer".to_vec())));
        network.close_tcp(theirs);
        assert_eq!(
            tcp_events(&mut network),
            [(inner, TcpEvent::Closed { connection: ours })]
        );
        // A port where nobody listens is refused, also through the NATs.
        let (refused, _) = network.connect_tcp(inner, address("10.0.0.2:0"), address("20.2.0.1:22"));
        assert_eq!(
            tcp_events(&mut network),
            [(inner, TcpEvent::Refused { connection: refused })]
        );
        // From outside there is no way in, to a listener or to the port of the connection: nothing is ever heard.
        for target in ["20.1.0.1:80".to_owned(), "10.0.0.2:80".to_owned(), remote.to_string()] {
            network.connect_tcp(open, address("20.2.0.1:0"), address(&target));
            assert_eq!(tcp_events(&mut network), vec![], "{target}");
        }
    }
}

/// The same port of the same private address, in two homes: each connection reaches its own.
#[test]
fn tcp_listeners_overlap() {
    let mut network = Network::new(6);
    let homes = ["20.1.0.1", "20.1.0.2"].map(|outside| nat(&mut network, NatConfig::full_cone(), outside, None));
    for home in homes {
        let (server, client) = (host_behind(&mut network, home), host_behind(&mut network, home));
        network.add_address(server, ip("192.168.1.3"));
        network.add_address(client, ip("192.168.1.2"));
        let at = network.listen_tcp(server, address("192.168.1.3:80"));
        assert_eq!(at, Some(address("192.168.1.3:80")), "free in this home");
        assert_eq!(network.listen_tcp(server, address("192.168.1.3:80")), None);
        network.connect_tcp(client, address("192.168.1.2:0"), address("192.168.1.3:80"));
        let hosts: Vec<HostId> = tcp_events(&mut network).into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, [server, client]);
        network.close_listener(server, address("192.168.1.3:80"));
        let (refused, _) = network.connect_tcp(client, address("192.168.1.2:0"), address("192.168.1.3:80"));
        assert_eq!(
            tcp_events(&mut network),
            [(client, TcpEvent::Refused { connection: refused })]
        );
        network.listen_tcp(server, address("192.168.1.3:80")).unwrap();
    }
}

/// What a link loses of TCP comes late, and holds up what is behind it; the bytes stay in order.
#[test]
fn tcp_mends_losses_in_order() {
    let mut network = Network::new(7);
    let home = nat(&mut network, NatConfig::port_restricted(), "20.1.0.1", None);
    let inner = host_behind(&mut network, home);
    network.add_address(inner, ip("10.0.0.2"));
    let open = network.add_host();
    network.add_address(open, ip("20.2.0.1"));
    network.listen_tcp(open, address("20.2.0.1:443")).unwrap();
    network.set_default_link(LinkConfig::lossy(Duration::from_millis(20), 0.3));
    let (ours, _) = network.connect_tcp(inner, address("10.0.0.2:0"), address("20.2.0.1:443"));
    tcp_events(&mut network);
    for n in 0..=255u8 {
        network.send_tcp(ours, &[n]);
        network.advance(Duration::from_millis(1));
    }
    let got: Vec<u8> = tcp_events(&mut network)
        .into_iter()
        .flat_map(|(_, event)| match event {
            TcpEvent::Data { bytes, .. } => bytes.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, (0..=255).collect::<Vec<u8>>());
}
