//! The TURN server alone: requests of several clients, with good signatures, over UDP and streams, and its driver's answers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType as A, Class, Key, Message, MessageBuilder, Method, TransactionId};
use antiphon_turn::{
    BehaviourSockets, MAX_GAIN_TENTHS, Server, ServerAnswer, ServerConfig, ServerCounters, ServerRequest,
};

const MAX_ALLOCATIONS: usize = 4;
const MAX_STEPS: usize = 300;

/// Reads the input as a list of small numbers; zeros when it is over.
struct Ops<'a>(&'a [u8]);

impl Ops<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
}

struct World {
    now: Instant,
    server: Server,
    nonces: [Vec<u8>; 4],
    /// The length of the Binding request that a stranger has just sent over UDP.
    stranger: Option<usize>,
    /// Sockets that the server asked for and did not close.
    open: BTreeSet<Local>,
    next: u16,
}

fn client(n: u8) -> Path {
    let n = n % 4;
    let remote = SocketAddr::from(([203, 0, 113, n], 1000));
    let local = if n < 2 {
        Local::Socket(0)
    } else {
        Local::Tcp(u32::from(n))
    };
    Path { local, remote }
}

fn peer(n: u8) -> SocketAddr {
    let ip: IpAddr = match n % 8 {
        0 | 1 => Ipv4Addr::new(9, 9, 9, n % 2).into(),
        2 => Ipv4Addr::new(127, 0, 0, 1).into(),
        3 => Ipv4Addr::new(8, 8, 4, 4).into(),
        4 => Ipv6Addr::new(0x2606, 0, 0, 0, 0, 0, 0, 1).into(),
        5 => Ipv6Addr::from(0xffff_7f00_0001u128).into(),
        6 => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::new(10, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, 49_152 + u16::from(n >> 3))
}

impl World {
    fn deliver(&mut self, path: Path, data: &[u8]) {
        let binding = Message::parse(data).is_ok_and(|message| message.method() == Method::BINDING);
        let stranger = matches!(path.local, Local::Socket(_)) && !self.server.has_allocation(&path);
        self.stranger = (binding && stranger).then_some(data.len());
        let data = BytesMut::from(data);
        let ecn = Ecn::NotEct;
        self.server.handle_datagram(self.now, Datagram { path, ecn, data });
    }

    fn request(&mut self, ops: &mut Ops<'_>) {
        let n = ops.next() % 4;
        let methods = [
            Method::ALLOCATE,
            Method::REFRESH,
            Method::CREATE_PERMISSION,
            Method::CHANNEL_BIND,
            Method::BINDING,
        ];
        let method = methods[usize::from(ops.next()) % methods.len()];
        let mut buffer = [0; 2048];
        let id = TransactionId([ops.next() % 8; 12]);
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, method, id);
        let wants = ops.next();
        if wants & 1 == 0 {
            builder.requested_transport(17);
        }
        for _ in 0..ops.next() % 4 {
            let value = ops.next();
            match ops.next() % 10 {
                0 => builder.lifetime(u32::from(value) * 8),
                1 => builder.xor_address(A::XOR_PEER_ADDRESS, peer(value)),
                2 => builder.channel_number(0x3ffe + u16::from(value % 8)),
                3 => builder.put(A::EVEN_PORT, &[value]),
                4 => builder.put_u32(A::REQUESTED_ADDRESS_FAMILY, u32::from(value % 4) << 24),
                5 => builder.put_u32(A::ADDITIONAL_ADDRESS_FAMILY, u32::from(value % 4) << 24),
                6 => builder.put(A::RESERVATION_TOKEN, &[value; 8]),
                7 => builder.put_u32(A::CHANGE_REQUEST, u32::from(value)),
                8 => builder.put(A(u16::from(value)), &[value; 7][..usize::from(value % 8)]),
                _ => builder.put(A::DONT_FRAGMENT, &[]),
            };
        }
        let key = Key::long_term("alice", "r", "secret");
        if wants & 2 == 0 {
            builder
                .username("alice")
                .realm("r")
                .nonce(&self.nonces[usize::from(n)])
                .integrity(&key);
        }
        if let Ok(len) = builder.finish() {
            self.deliver(client(n), &buffer[..len]);
        }
    }

    fn step(&mut self, ops: &mut Ops<'_>) {
        match ops.next() % 8 {
            0..=2 => self.request(ops),
            3 => {
                // From a client: ChannelData, or a Send indication.
                let (n, value) = (ops.next(), ops.next());
                let mut buffer = [0; 600];
                if value & 1 == 0 {
                    let len = value % 9;
                    let head = [0x40, ops.next() % 8, 0, len];
                    buffer[..4].copy_from_slice(&head);
                    self.deliver(client(n), &buffer[..4 + usize::from(len).next_multiple_of(4)]);
                } else {
                    let mut builder =
                        MessageBuilder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([0; 12]));
                    builder
                        .xor_address(A::XOR_PEER_ADDRESS, peer(ops.next()))
                        .put(A::DATA, &[value; 256][..usize::from(value)]);
                    let len = builder.finish().expect("it fits");
                    self.deliver(client(n), &buffer[..len]);
                }
            }
            4 => {
                let local = Local::Relay(u32::from(ops.next() % 16));
                let remote = peer(ops.next());
                let len = usize::from(ops.next());
                self.deliver(Path { local, remote }, &[7; 256][..len]);
            }
            5 => {
                let seconds = [1, 5, 30, 299, 600, 3600][usize::from(ops.next()) % 6];
                self.now += Duration::from_secs(seconds);
                self.server.handle_timeout(self.now);
                assert!(self.server.poll_timeout().is_none_or(|at| at > self.now), "law 2");
            }
            6 => self.server.handle_closed(Local::Tcp(u32::from(ops.next() % 4))),
            _ => {
                let n = usize::from(ops.next());
                let noise: Vec<u8> = (0..n).map(|_| ops.next()).collect();
                self.deliver(client(ops.next()), &noise);
            }
        }
    }

    /// The driver: sockets are opened, now and then not; what is closed was open.
    fn serve(&mut self, ops: &mut Ops<'_>) {
        while let Some(request) = self.server.poll_io() {
            self.next += 2;
            let locals = [u32::from(self.next), u32::from(self.next) + 1].map(Local::Relay);
            let fails = ops.next() % 8 == 7;
            let answer = match request {
                ServerRequest::Close(local) => {
                    assert!(self.open.remove(&local), "closed what was not open");
                    continue;
                }
                ServerRequest::BindRelay { request, .. } | ServerRequest::BindEven { request, .. } if fails => {
                    ServerAnswer::Failed { request }
                }
                ServerRequest::BindEven {
                    request,
                    ip,
                    and_next: true,
                } => {
                    self.open.extend(locals);
                    let (even, next) = (
                        SocketAddr::new(ip, 49_152 + self.next),
                        SocketAddr::new(ip, 49_153 + self.next),
                    );
                    ServerAnswer::BoundPair {
                        request,
                        even: (locals[0], even),
                        next: (locals[1], next),
                    }
                }
                ServerRequest::BindRelay { request, ip } | ServerRequest::BindEven { request, ip, .. } => {
                    self.open.insert(locals[0]);
                    ServerAnswer::Bound {
                        request,
                        local: locals[0],
                        addr: SocketAddr::new(ip, 49_152 + self.next),
                    }
                }
                other => unreachable!("{other:?}"),
            };
            self.server.handle_io(self.now, answer);
        }
    }

    fn drain(&mut self) {
        let mut out = TransmitBuf::new(4096, 2048);
        while let Some(transmit) = self.server.poll_transmit(&mut out) {
            let datagrams: Vec<Vec<u8>> = transmit.datagrams(&out).map(<[u8]>::to_vec).collect();
            out.clear();
            for data in datagrams {
                self.check(transmit.path, &data);
            }
        }
    }

    /// What the server sent is what it may send.
    fn check(&mut self, path: Path, data: &[u8]) {
        match path.local {
            Local::Relay(_) => {
                let ip = path.remote.ip();
                let good = [peer(0), peer(1), peer(4)].iter().any(|peer| peer.ip() == ip);
                assert!(good, "relayed to {ip} (V17)");
                assert!(self.open.contains(&path.local), "sent on a closed socket");
            }
            Local::Tcp(_) => assert!(data.len().is_multiple_of(4), "everything on a stream is padded"),
            Local::Socket(_) => {}
        }
        if let Some(len) = self.stranger.take() {
            assert!(
                data.len() * 10 <= len * MAX_GAIN_TENTHS,
                "{} for {len} (V16)",
                data.len()
            );
        }
        let n = (0..4).find(|n| client(*n) == path);
        if let (Some(n), Ok(message)) = (n, Message::parse(data))
            && let Some(nonce) = message.nonce()
        {
            self.nonces[usize::from(n)] = nonce.to_vec();
        }
    }
}

pub(super) fn machine(data: &[u8]) {
    play(data);
}

/// Returns what the server did.
fn play(data: &[u8]) -> ServerCounters {
    let now = antiphon_netsim::start();
    let relays = vec![
        Ipv4Addr::new(8, 8, 4, 4).into(),
        Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1).into(),
    ];
    let mut config = ServerConfig::new("r", relays).user("alice", "secret");
    config.max_allocations = MAX_ALLOCATIONS;
    config.dont_fragment = true;
    let mut server = Server::new(config, now, Rng::from_u64(1));
    let socket = |n: u32, ip: [u8; 4], port| (Local::Socket(n), SocketAddr::from((ip, port)));
    server.set_behaviour_sockets(BehaviourSockets {
        sockets: [
            socket(0, [8, 8, 4, 4], 1),
            socket(1, [8, 8, 4, 4], 2),
            socket(2, [8, 8, 4, 5], 1),
            socket(3, [8, 8, 4, 5], 2),
        ],
    });
    let mut world = World {
        now,
        server,
        nonces: Default::default(),
        stranger: None,
        open: BTreeSet::new(),
        next: 0,
    };
    let mut ops = Ops(data);
    for n in 0..4 {
        // The first challenge, so that signed requests count.
        let mut buffer = [0; 28];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::ALLOCATE, TransactionId([9; 12]));
        let len = builder.requested_transport(17).finish().expect("it fits");
        world.deliver(client(n), &buffer[..len]);
        world.drain();
    }
    for _ in 0..MAX_STEPS {
        if ops.0.is_empty() {
            break;
        }
        world.step(&mut ops);
        world.serve(&mut ops);
        world.drain();
        assert!(world.server.allocations() <= MAX_ALLOCATIONS, "law 7");
    }
    world.server.close();
    world.serve(&mut ops);
    world.drain();
    assert_eq!(world.server.allocations(), 0);
    assert!(world.open.is_empty(), "sockets outlive the server");
    assert_eq!(world.server.poll_timeout(), None, "law 6");
    world.server.counters()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's answers and what the operations mean may change: the seeds must still get past the login.
    #[test]
    fn the_seeds_reach_what_they_are_for() {
        let seed = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/machine_turn_server");
            play(&std::fs::read(format!("{folder}/{name}")).unwrap())
        };
        let plain = seed("plain");
        assert!(
            plain.allocated > 0 && plain.to_peers > 0 && plain.to_clients > 0,
            "{plain:?}"
        );
        assert!(seed("dual").allocated > 0 && seed("even").allocated > 0);
        let captured = seed("captured");
        assert!(captured.bindings > 0 && captured.unauthorized > 0, "{captured:?}");
    }
}
