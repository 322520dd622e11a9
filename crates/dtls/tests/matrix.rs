//! Every version, every size of datagram and every misfortune of a network: all handshakes complete, and both ends' data
//! arrives. `cargo test -p antiphon-dtls --test matrix -- --nocapture` prints how many round trips each takes.
//!
//! The network and its clock are `antiphon-netsim`'s, which checks the laws of the convention around every call.

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_dtls::{
    AddressValidation, Certificate, Config, Connection, Event, HashAlgorithm, ProtocolVersion, Role, Versions,
};
use antiphon_netsim::{LinkConfig, Machine, Network, Node, Packet, PeerId, Simulation};
use antiphon_sansio::{Datagram, Ecn, Path, Rng, Transmit, TransmitBuf};

const ONE_WAY: Duration = Duration::from_millis(50);
const ROUND_TRIP: Duration = Duration::from_millis(100);
const MTUS: [usize; 4] = [256, 512, 1200, 1500];
/// IPv4 and UDP.
const HEADERS: usize = 28;
/// How often an application says the same once more.
const EVERY: Duration = Duration::from_millis(50);

/// A connection, and an application that greets the peer as soon as it may.
struct Peer {
    connection: Connection,
    path: Path,
    version: Option<ProtocolVersion>,
    /// When this end could send application data.
    connected_at: Option<Instant>,
    next_greeting: Option<Instant>,
    heard: bool,
    now: Instant,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

impl Machine for Peer {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.now = now;
        self.connection.handle_packet(now, datagram.into());
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.connection.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let mut wrote = self.connection.poll_transmit(now, out).is_some();
        if !wrote && self.next_greeting.is_some_and(|at| at <= now) {
            let (front, back) = self.connection.overhead();
            assert!(out.begin(front, back));
            out.put_slice(b"greetings");
            self.connection.seal(out).expect("it is connected");
            self.next_greeting = Some(now + EVERY);
            wrote = true;
        }
        wrote.then(|| Transmit {
            path: self.path,
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.connection.poll_event()?;
        match &event {
            Event::Connected(connected) => {
                self.version = Some(connected.version);
                self.connected_at = Some(self.now);
            }
            Event::ApplicationData(data) => {
                assert_eq!(data.data[..], *b"greetings");
                self.heard = true;
            }
            other => panic!("{other:?}"),
        }
        Some(event)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.connection.poll_timeout(), self.next_greeting]
            .into_iter()
            .flatten()
            .min()
    }

    fn close(&mut self, _now: Instant) {
        self.connection.close();
    }
}

/// What befalls single datagrams: the place of a NAT, in front of the client.
#[derive(Clone, Debug, Default)]
struct Fates {
    /// The number of the datagram from the client, or to it, that is lost.
    lost_from: Option<usize>,
    lost_to: Option<usize>,
    /// Bits flip in this part of them. Where UDP's checksum would see it, in what is not protected, that is a loss; of what
    /// is protected, the changed copy arrives, as behind a card that computes checksums wrongly.
    flips: f64,
}

#[derive(Debug)]
struct Courier {
    fates: Fates,
    rng: Rng,
    inside: SocketAddr,
    passed: Arc<Mutex<[usize; 2]>>,
}

const OUTSIDE: &str = "203.0.113.1:4000";

/// Where the first protected record of a datagram begins.
fn protected_from(datagram: &[u8]) -> usize {
    let mut at = 0;
    while at + 13 <= datagram.len() && datagram[at] >> 5 != 1 && datagram[at + 3..at + 5] == [0, 0] {
        at += 13 + usize::from(u16::from_be_bytes([datagram[at + 11], datagram[at + 12]]));
    }
    at.min(datagram.len())
}

impl Courier {
    fn carry(&mut self, direction: usize, packet: &mut Packet) -> Option<()> {
        let number = {
            let mut passed = self.passed.lock().unwrap();
            passed[direction] += 1;
            passed[direction] - 1
        };
        let lost = [self.fates.lost_from, self.fates.lost_to][direction];
        if lost == Some(number) {
            return None;
        }
        if self.rng.unit() < self.fates.flips {
            let bit = self.rng.below(8 * packet.data.len() as u32) as usize;
            if bit / 8 < protected_from(&packet.data) {
                return None;
            }
            packet.data[bit / 8] ^= 1 << (bit % 8);
        }
        Some(())
    }
}

impl Node for Courier {
    fn addresses(&self) -> Vec<IpAddr> {
        vec![OUTSIDE.parse::<SocketAddr>().unwrap().ip()]
    }

    fn outbound(&mut self, _now: Instant, mut packet: Packet) -> Option<Packet> {
        self.carry(0, &mut packet)?;
        packet.source = OUTSIDE.parse().unwrap();
        Some(packet)
    }

    fn inbound(&mut self, _now: Instant, mut packet: Packet) -> Option<Packet> {
        self.carry(1, &mut packet)?;
        packet.destination = self.inside;
        Some(packet)
    }
}

/// One kind of handshake.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    client: Versions,
    server: Versions,
    validation: AddressValidation,
    version: ProtocolVersion,
    /// Round trips before the client's application data goes out.
    round_trips: u32,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "1.2",
        client: Versions::Dtls12,
        server: Versions::Dtls12,
        validation: AddressValidation::ByIce,
        version: ProtocolVersion::Dtls12,
        round_trips: 2,
    },
    Kind {
        name: "1.3 X25519MLKEM768",
        client: Versions::Dtls13,
        server: Versions::Dtls13,
        validation: AddressValidation::ByIce,
        version: ProtocolVersion::Dtls13,
        round_trips: 1,
    },
    Kind {
        name: "1.3 with HelloRetryRequest",
        client: Versions::Dtls12And13,
        server: Versions::Dtls12And13,
        validation: AddressValidation::Cookie,
        version: ProtocolVersion::Dtls13,
        round_trips: 2,
    },
    Kind {
        name: "1.3 offered, 1.2 taken",
        client: Versions::Dtls12And13,
        server: Versions::Dtls12,
        validation: AddressValidation::ByIce,
        version: ProtocolVersion::Dtls12,
        round_trips: 2,
    },
];

struct Outcome {
    /// From the start to the moment when the client may send application data.
    client: Duration,
    /// Datagrams from the client and to it.
    passed: [usize; 2],
    retransmissions: u64,
}

fn run(
    kind: Kind,
    mtu: usize,
    seed: u64,
    fates: Fates,
    link: LinkConfig,
    certificates: &[Arc<Certificate>; 2],
) -> Outcome {
    let mut network = Network::new(seed);
    // Whatever is larger than the MTU vanishes.
    network.set_default_link(LinkConfig {
        delay: ONE_WAY,
        mtu: mtu + HEADERS,
        ..link
    });
    let hosts = [network.add_host(), network.add_host()];
    let sockets = ["10.0.0.1:4000", "10.0.0.2:4000"];
    let sockets = [0, 1].map(|at| network.bind(hosts[at], sockets[at].parse().unwrap()).unwrap());
    let passed = Arc::new(Mutex::new([0, 0]));
    let courier = network.add_node(Box::new(Courier {
        fates,
        rng: Rng::from_u64(seed).fork("courier"),
        inside: network.address(sockets[0]),
        passed: passed.clone(),
    }));
    network.place(hosts[0], Some(courier));
    let remotes = [network.address(sockets[1]), OUTSIDE.parse().unwrap()];
    let now = network.now();
    let mut simulation = Simulation::with_max_datagram(network, mtu);
    let roles = [(0, Role::Client, kind.client), (1, Role::Server, kind.server)];
    let peers: [PeerId; 2] = roles.map(|(at, role, versions)| {
        let mut config = Config::new(certificates[at].clone());
        config.versions = versions;
        config.mtu = mtu;
        config.address_validation = kind.validation;
        config.handshake_timeout = Duration::from_secs(600);
        let mut connection = Connection::new(config, role, Rng::from_u64(seed).fork_numbered("dtls", at as u64));
        connection.set_rtt(ROUND_TRIP);
        let theirs = certificates[1 - at].fingerprint(HashAlgorithm::Sha256);
        connection.set_remote_fingerprints(vec![theirs]);
        let peer = Peer {
            connection,
            path: Path {
                local: sockets[at].local(),
                remote: remotes[at],
            },
            version: None,
            connected_at: None,
            next_greeting: None,
            heard: false,
            now,
        };
        simulation.add(hosts[at], peer)
    });
    // Something must happen for the client to be asked what it has to say.
    simulation.call(peers[0], |_, _| ());
    let done = simulation.run_until(Duration::from_secs(300), |simulation| {
        for peer in peers {
            let idle = simulation.peer(peer);
            if idle.connected_at.is_some() && idle.next_greeting.is_none() {
                simulation.call(peer, |peer, now| peer.next_greeting = Some(now));
            }
        }
        peers.iter().all(|peer| simulation.peer(*peer).heard)
    });
    let [client, server] = peers.map(|peer| simulation.peer(peer));
    assert!(
        done,
        "{}, mtu {mtu}, seed {seed}: {:?} {:?}",
        kind.name, client.connected_at, server.connected_at
    );
    assert_eq!(
        (client.version, server.version),
        (Some(kind.version), Some(kind.version))
    );
    let stats = [client, server].map(|peer| peer.connection.stats());
    let passed = *passed.lock().unwrap();
    Outcome {
        client: client.connected_at.unwrap() - now,
        passed,
        retransmissions: stats.iter().map(|stats| stats.retransmissions).sum(),
    }
}

fn round_trips(time: Duration) -> f64 {
    time.as_secs_f64() / ROUND_TRIP.as_secs_f64()
}

fn print(kind: Kind, mtu: usize, what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let mean = times.iter().map(|time| round_trips(*time)).sum::<f64>() / times.len() as f64;
    println!(
        "{:28} mtu {mtu:4}  {what:24} {:3} runs, round trips to the client's data: best {:4.1}, mean {mean:4.1}, worst {:5.1}",
        kind.name,
        times.len(),
        round_trips(times[0]),
        round_trips(times[times.len() - 1]),
    );
}

fn matrix(kind: Kind) {
    let certificates = [common::certificate(), common::certificate()];
    let mut counts = BTreeMap::new();
    for mtu in MTUS {
        let clear = run(kind, mtu, 1, Fates::default(), LinkConfig::default(), &certificates);
        assert_eq!(clear.client, kind.round_trips * ROUND_TRIP, "{}, mtu {mtu}", kind.name);
        assert_eq!(clear.retransmissions, 0);
        print(kind, mtu, "nothing happens", &mut [clear.client]);
        counts.insert(mtu, clear.passed);

        // Each datagram of the handshake, and the first after it, is lost once.
        let mut times = Vec::new();
        for (direction, count) in clear.passed.into_iter().enumerate() {
            for number in 0..count {
                let mut fates = Fates::default();
                *[&mut fates.lost_from, &mut fates.lost_to][direction] = Some(number);
                times.push(run(kind, mtu, 1, fates, LinkConfig::default(), &certificates).client);
            }
        }
        let worst = times.iter().max().unwrap();
        assert!(
            *worst < clear.client + 7 * ROUND_TRIP,
            "{} mtu {mtu}: {worst:?}",
            kind.name
        );
        print(kind, mtu, "each datagram lost once", &mut times);

        let rough: [(&str, f64, LinkConfig); 5] = [
            (
                "a fifth lost",
                0.0,
                LinkConfig {
                    loss: 0.2,
                    ..LinkConfig::default()
                },
            ),
            (
                "half of them twice",
                0.0,
                LinkConfig {
                    duplicate: 0.5,
                    ..LinkConfig::default()
                },
            ),
            (
                "a third out of order",
                0.0,
                LinkConfig {
                    reorder: 0.33,
                    reorder_delay: Duration::from_millis(120),
                    ..LinkConfig::default()
                },
            ),
            ("bits flip in a fifth", 0.2, LinkConfig::default()),
            (
                "all of it at once",
                0.05,
                LinkConfig {
                    loss: 0.1,
                    duplicate: 0.2,
                    reorder: 0.2,
                    reorder_delay: Duration::from_millis(120),
                    ..LinkConfig::default()
                },
            ),
        ];
        for (what, flips, link) in rough {
            let mut times: Vec<Duration> = (0..12)
                .map(|seed| {
                    let fates = Fates {
                        flips,
                        ..Fates::default()
                    };
                    run(kind, mtu, seed, fates, link.clone(), &certificates).client
                })
                .collect();
            print(kind, mtu, what, &mut times);
        }
    }
    println!("{}: datagrams from and to the client by MTU: {counts:?}", kind.name);
}

#[test]
fn dtls_12() {
    matrix(KINDS[0]);
}

#[test]
fn dtls_13() {
    matrix(KINDS[1]);
}

#[test]
fn dtls_13_with_hello_retry_request() {
    matrix(KINDS[2]);
}

#[test]
fn dtls_12_where_13_was_offered() {
    matrix(KINDS[3]);
}
