//! Client and server in memory: one client, one server, and a peer beyond it.

mod checked;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_netsim::{Checked, Machine, start};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType, Class, Key, Message, MessageBuilder, Method, TransactionId};
use antiphon_turn::{
    AllocationError, Client, ClientConfig, ClientEvent, MAX_PERMISSIONS, PeerPolicy, ServerAnswer, ServerConfig,
    ServerRequest,
};
use proptest::prelude::*;

use checked::{ServerMachine, server};

const CLIENT: &str = "203.0.113.1:1111";
const PEER: &str = "198.51.100.7:7777";
const RELAY: &str = "192.0.2.1";
const SECOND: Duration = Duration::from_secs(1);

struct World {
    now: Instant,
    client: Client,
    server: Checked<ServerMachine>,
    /// What reached the peer, and from where.
    peer_got: Vec<(SocketAddr, Vec<u8>)>,
    client_got: Vec<(SocketAddr, Vec<u8>)>,
    relays: Vec<(Local, SocketAddr)>,
    closed: Vec<Local>,
    /// Loses this many of the next messages from client to server.
    lose: usize,
    to_server: usize,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::new(
        "example.org",
        vec![RELAY.parse().unwrap(), "2001:db8::1".parse().unwrap()],
    )
    .user("alice", "secret");
    // The addresses of these tests are documentation addresses, which no real server relays to.
    config.policy = PeerPolicy {
        allow_private: true,
        ..PeerPolicy::default()
    };
    config
}

impl World {
    fn new(config: ServerConfig, user: ClientConfig) -> Self {
        let now = start();
        Self {
            now,
            client: Client::new(user, Rng::from_u64(1)),
            server: server(config, now, Rng::from_u64(2)),
            peer_got: Vec::new(),
            client_got: Vec::new(),
            relays: Vec::new(),
            closed: Vec::new(),
            lose: 0,
            to_server: 0,
        }
    }

    fn deliver_to_server(&mut self, from: SocketAddr, data: &[u8]) {
        let path = Path {
            local: Local::Socket(0),
            remote: from,
        };
        let data = BytesMut::from(data);
        self.server.handle_datagram(
            self.now,
            Datagram {
                path,
                ecn: Ecn::NotEct,
                data,
            },
        );
    }

    fn settle(&mut self) {
        let mut out = TransmitBuf::new(4096, 1500);
        for _ in 0..50 {
            let mut busy = false;
            while self.client.poll_transmit(self.now, &mut out) {
                busy = true;
                let range = out.finish();
                let data = out.bytes(range).to_vec();
                out.clear();
                self.to_server += 1;
                if self.lose > 0 {
                    self.lose -= 1;
                } else {
                    self.deliver_to_server(addr(CLIENT), &data);
                }
            }
            while let Some(request) = self.server.poll_io() {
                match request {
                    ServerRequest::BindRelay { request, ip } => {
                        let local = Local::Relay(self.relays.len() as u32);
                        let addr = SocketAddr::new(ip, 50_000 + self.relays.len() as u16);
                        self.relays.push((local, addr));
                        self.server
                            .handle_io(self.now, ServerAnswer::Bound { request, local, addr });
                    }
                    ServerRequest::Close(local) => self.closed.push(local),
                    _ => unreachable!(),
                }
            }
            while let Some(transmit) = self.server.poll_transmit(self.now, &mut out) {
                busy = true;
                for datagram in transmit.datagrams(&out) {
                    match transmit.path.local {
                        Local::Socket(_) if transmit.path.remote == addr(CLIENT) => {
                            let data = BytesMut::from(datagram);
                            if let Some((peer, data)) = self.client.handle_message(self.now, data) {
                                self.client_got.push((peer, data.to_vec()));
                            }
                        }
                        Local::Socket(_) => {}
                        relay => {
                            let from = self.relays.iter().find(|(local, _)| *local == relay).unwrap().1;
                            self.peer_got.push((from, datagram.to_vec()));
                        }
                    }
                }
                out.clear();
            }
            if !busy {
                self.server.drained();
                return;
            }
        }
        panic!("never comes to rest");
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let next = [self.client.poll_timeout(), self.server.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            self.now = next.map_or(end, |at| at.min(end)).max(self.now);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.settle();
            assert!(self.client.poll_timeout().is_none_or(|next| next > self.now), "law 2");
        }
    }

    /// The client sends to the peer. Returns how many bytes more than the data went to the server.
    fn send(&mut self, peer: SocketAddr, data: &[u8]) -> usize {
        let mut out = TransmitBuf::new(4096, 1500);
        let (front, back) = self.client.room(peer);
        out.set_path_room(front, back);
        assert!(out.begin(0, 0));
        out.put_slice(data);
        self.client.wrap(peer, &mut out);
        let range = out.finish();
        let message = out.bytes(range).to_vec();
        self.deliver_to_server(addr(CLIENT), &message);
        self.settle();
        message.len() - data.len()
    }

    fn peer_sends(&mut self, from: SocketAddr, data: &[u8]) {
        let path = Path {
            local: self.relays[0].0,
            remote: from,
        };
        let data = BytesMut::from(data);
        self.server.handle_datagram(
            self.now,
            Datagram {
                path,
                ecn: Ecn::NotEct,
                data,
            },
        );
        self.settle();
    }

    fn event(&mut self) -> Option<ClientEvent> {
        self.client.poll_event()
    }
}

/// With a policy that lets the test's documentation addresses through, by way of private ones.
fn private_peer() -> SocketAddr {
    addr("10.0.0.7:7777")
}

fn allocated() -> World {
    let mut world = World::new(config(), ClientConfig::new("alice", "secret"));
    world.settle();
    let relayed = addr("192.0.2.1:50000");
    assert_eq!(
        world.event(),
        Some(ClientEvent::Allocated {
            relayed,
            mapped: addr(CLIENT)
        })
    );
    assert_eq!(world.client.relayed(), Some(relayed));
    world
}

#[test]
fn data_flows_by_indications_and_then_by_a_channel() {
    let mut world = allocated();
    let peer = private_peer();
    world.send(peer, b"too early");
    assert!(world.peer_got.is_empty(), "no permission yet");
    world.client.permit(peer.ip());
    world.settle();
    for len in [0, 1, 2, 3, 4, 1000] {
        let data = vec![7; len];
        let overhead = world.send(peer, &data);
        assert!((36..40).contains(&overhead));
        assert_eq!(world.peer_got.pop(), Some((addr("192.0.2.1:50000"), data.clone())));
        world.peer_sends(peer, &data);
        assert_eq!(world.client_got.pop(), Some((peer, data)));
    }
    world.client.bind_channel(peer);
    world.settle();
    assert_eq!(world.client.room(peer), (4, 0));
    assert_eq!(world.send(peer, b"by channel"), 4);
    assert_eq!(
        world.peer_got.pop(),
        Some((addr("192.0.2.1:50000"), b"by channel".to_vec()))
    );
    world.peer_sends(peer, b"and back");
    assert_eq!(world.client_got.pop(), Some((peer, b"and back".to_vec())));
    // Another port of the same peer has the permission and no channel.
    let other = addr("10.0.0.7:8888");
    world.peer_sends(other, b"other port");
    assert_eq!(world.client_got.pop(), Some((other, b"other port".to_vec())));
    // Another peer has neither.
    world.peer_sends(addr("10.0.0.8:7777"), b"stranger");
    assert!(world.client_got.is_empty());
}

#[test]
fn it_lives_for_hours_and_survives_stale_nonces() {
    let mut world = allocated();
    let peer = private_peer();
    world.client.permit(peer.ip());
    world.client.bind_channel(peer);
    world.settle();
    for _ in 0..40 {
        world.run_for(300 * SECOND);
        assert_eq!(world.send(peer, b"still here"), 4);
        assert_eq!(world.peer_got.pop().map(|(_, data)| data), Some(b"still here".to_vec()));
    }
    assert_eq!(world.event(), None);
    assert_eq!(world.server.allocations(), 1);
    assert_eq!(world.relays.len(), 1);
}

#[test]
fn lost_messages_are_repeated() {
    for lose in 1..4 {
        let mut world = World::new(config(), ClientConfig::new("alice", "secret"));
        world.lose = lose;
        world.settle();
        world.run_for(20 * SECOND);
        assert!(matches!(world.event(), Some(ClientEvent::Allocated { .. })), "{lose}");
        assert_eq!(world.server.allocations(), 1);
    }
    let mut world = World::new(config(), ClientConfig::new("alice", "secret"));
    world.lose = usize::MAX;
    world.settle();
    world.run_for(20 * SECOND);
    assert_eq!(world.event(), Some(ClientEvent::Failed(AllocationError::TimedOut)));
    assert_eq!(world.to_server, 5);
    assert_eq!(world.client.poll_timeout(), None);
}

#[test]
fn closing_gives_it_back() {
    let mut world = allocated();
    world.client.close(world.now);
    world.settle();
    assert!(world.client.is_ended());
    assert_eq!(world.server.allocations(), 0);
    assert_eq!(world.closed, [world.relays[0].0]);
    // A client that vanishes is freed as well.
    let mut world = allocated();
    world.client = Client::new(ClientConfig::new("alice", "secret"), Rng::from_u64(9));
    world.lose = usize::MAX;
    world.run_for(601 * SECOND);
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn wrong_credentials_are_refused() {
    for (name, password) in [("alice", "guess"), ("bob", "secret"), ("", "")] {
        let mut world = World::new(config(), ClientConfig::new(name, password));
        world.settle();
        let failed = matches!(
            world.event(),
            Some(ClientEvent::Failed(AllocationError::Refused { code: 401, .. }))
        );
        assert!(failed, "{name}");
        assert_eq!(world.server.allocations(), 0);
        assert!(world.to_server <= 2, "it does not try again and again");
    }
}

#[test]
fn names_and_passwords_are_the_same_however_they_are_typed() {
    for (chosen, typed) in [
        (
            ("caf\u{e9}", "p\u{e4}ss word"),
            ("cafe\u{301}", "pa\u{308}ss\u{3000}word"),
        ),
        (
            ("cafe\u{301}", "pa\u{308}ss\u{3000}word"),
            ("caf\u{e9}", "p\u{e4}ss word"),
        ),
        // What the profile refuses is taken as it is.
        (("tab\tbed", "\u{200b}"), ("tab\tbed", "\u{200b}")),
    ] {
        let mut world = World::new(config().user(chosen.0, chosen.1), ClientConfig::new(typed.0, typed.1));
        world.settle();
        assert!(
            matches!(world.event(), Some(ClientEvent::Allocated { .. })),
            "{typed:?}"
        );
    }
    let mut world = World::new(
        config().user("caf\u{e9}", "secret"),
        ClientConfig::new("cafe", "secret"),
    );
    world.settle();
    assert!(matches!(world.event(), Some(ClientEvent::Failed(_))));
}

#[test]
fn quotas() {
    let mut config = config();
    config.max_allocations_per_user = 0;
    let mut world = World::new(config, ClientConfig::new("alice", "secret"));
    world.settle();
    assert!(matches!(
        world.event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 486, .. }))
    ));
    let mut config = self::config();
    config.max_allocations = 0;
    let mut world = World::new(config, ClientConfig::new("alice", "secret"));
    world.settle();
    assert!(matches!(
        world.event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 508, .. }))
    ));
    let mut config = self::config();
    config.relay_addrs.retain(|ip| ip.is_ipv6());
    let mut world = World::new(config, ClientConfig::new("alice", "secret"));
    world.settle();
    assert!(matches!(
        world.event(),
        Some(ClientEvent::Failed(AllocationError::Refused { code: 440, .. }))
    ));
}

#[test]
fn an_allocation_of_the_other_family() {
    let mut user = ClientConfig::new("alice", "secret");
    user.family = Some(antiphon_stun::AddressFamily::V6);
    let mut world = World::new(config(), user);
    world.settle();
    assert!(matches!(world.event(), Some(ClientEvent::Allocated { relayed, .. }) if relayed.is_ipv6()));
    let peer = addr("[fd00::7]:7");
    world.client.permit(peer.ip());
    world.settle();
    let overhead = world.send(peer, b"four");
    assert_eq!(overhead, 48);
    assert_eq!(world.peer_got.len(), 1);
}

#[test]
fn v17_the_way_inside_is_closed() {
    // V17, by every door: CreatePermission, ChannelBind, Send and ChannelData.
    let mut world = World::new(
        ServerConfig::new("example.org", vec![RELAY.parse().unwrap()]).user("alice", "secret"),
        ClientConfig::new("alice", "secret"),
    );
    world.settle();
    assert!(matches!(world.event(), Some(ClientEvent::Allocated { .. })));
    for ip in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"] {
        let peer = SocketAddr::new(ip.parse().unwrap(), 80);
        world.client.permit(peer.ip());
        world.settle();
        assert_eq!(world.event(), Some(ClientEvent::PermissionDenied(peer.ip())), "{ip}");
        world.client.bind_channel(peer);
        world.settle();
        assert_eq!(world.client.room(peer).0, 36, "{ip}: no channel");
        world.send(peer, b"GET /");
    }
    assert!(world.peer_got.is_empty());
    assert_eq!(world.server.counters().denied_peers, 10);
    // Our own relayed address: a permission, but only for ports that relay.
    world.client.permit(RELAY.parse().unwrap());
    world.settle();
    world.send(addr("192.0.2.1:22"), b"ssh");
    assert!(world.peer_got.is_empty());
    // A relayed port is reached inside the server: nothing leaves for its own address.
    world.send(addr("192.0.2.1:50000"), b"to a relayed port");
    assert!(world.peer_got.is_empty());
    assert_eq!(world.client_got.len(), 1);
}

#[test]
fn strangers_get_no_more_than_they_send() {
    let mut world = allocated();
    let stranger = addr("198.51.100.66:666");
    let mut buffer = [0; 600];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    builder.requested_transport(17);
    let len = builder.finish().unwrap();
    world.deliver_to_server(stranger, &buffer[..len]);
    let mut out = TransmitBuf::new(4096, 1500);
    let reply = world.server.poll_transmit(world.now, &mut out).unwrap();
    let reply = Message::parse(out.bytes(reply.range)).unwrap().as_bytes().to_vec();
    let message = Message::parse(&reply).unwrap();
    assert_eq!(message.error_code().unwrap().code, 401);
    assert_eq!(message.realm(), Some("example.org"));
    // A good signature over somebody else's nonce.
    let nonce = message.nonce().unwrap();
    let key = Key::long_term("alice", "example.org", "secret");
    let mut buffer = [0; 600];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([2; 12]));
    builder
        .requested_transport(17)
        .username("alice")
        .realm("example.org")
        .nonce(nonce)
        .integrity(&key);
    let len = builder.finish().unwrap();
    world.deliver_to_server(addr("198.51.100.67:666"), &buffer[..len]);
    out.clear();
    let reply = world.server.poll_transmit(world.now, &mut out).unwrap();
    assert_eq!(
        Message::parse(out.bytes(reply.range))
            .unwrap()
            .error_code()
            .unwrap()
            .code,
        438
    );
    // Data without an allocation goes nowhere and is not answered.
    world.deliver_to_server(stranger, &[0x40, 0, 0, 4, 1, 2, 3, 4]);
    let mut builder = MessageBuilder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([3; 12]));
    builder
        .xor_address(AttributeType::XOR_PEER_ADDRESS, private_peer())
        .put(AttributeType::DATA, b"x");
    let len = builder.finish().unwrap();
    world.deliver_to_server(stranger, &buffer[..len]);
    assert!(world.server.poll_transmit(world.now, &mut out).is_none());
    assert_eq!(world.server.counters().not_permitted, 2);
}

#[test]
fn permissions_are_bounded() {
    let mut world = allocated();
    for n in 0..1000u32 {
        world.client.permit(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
    }
    world.settle();
    world.send(addr("10.0.0.5:1"), b"x");
    assert_eq!(world.peer_got.len(), 1);
    world.send(
        SocketAddr::new(std::net::Ipv4Addr::from(0x0a00_0000 + MAX_PERMISSIONS as u32).into(), 1),
        b"x",
    );
    assert_eq!(world.peer_got.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_from_anywhere(messages in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..120)), 1..30)) {
        let mut world = allocated();
        for (from, data) in messages {
            match from {
                0 => world.deliver_to_server(addr(CLIENT), &data),
                1 => world.deliver_to_server(addr(PEER), &data),
                2 => world.peer_sends(private_peer(), &data),
                _ => {
                    let _ = world.client.handle_message(world.now, BytesMut::from(&data[..]));
                }
            }
            world.settle();
        }
        prop_assert_eq!(world.server.allocations(), 1);
    }

    #[test]
    fn any_attributes_under_a_good_signature(
        method in prop_oneof![Just(3u16), Just(4), Just(8), Just(9), 0u16..32],
        attributes in prop::collection::vec((prop_oneof![0u16..0x30, 0x8000u16..0x8030], prop::collection::vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let mut world = allocated();
        // A nonce of our own to sign with.
        let mut buffer = [0; 1000];
        let builder = MessageBuilder::new(&mut buffer, Class::Request, Method::REFRESH, TransactionId([1; 12]));
        let len = builder.finish().unwrap();
        world.deliver_to_server(addr(CLIENT), &buffer[..len]);
        let mut out = TransmitBuf::new(4096, 1500);
        let reply = world.server.poll_transmit(world.now, &mut out).unwrap();
        let nonce = Message::parse(out.bytes(reply.range)).unwrap().nonce().unwrap().to_vec();
        let key = Key::long_term("alice", "example.org", "secret");
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::new(method), TransactionId([2; 12]));
        builder.username("alice").realm("example.org").nonce(&nonce);
        for (kind, value) in attributes.iter().filter(|(kind, _)| ![8, 0x1c, 0x8028].contains(kind)) {
            builder.put(AttributeType(*kind), value);
        }
        builder.integrity(&key);
        let len = builder.finish().unwrap();
        world.deliver_to_server(addr(CLIENT), &buffer[..len]);
        world.settle();
        prop_assert!(world.server.allocations() <= 1);
    }
}
