//! Every kind of NAT and firewall against every other: does the connection come about, and by the path that theory
//! allows?
//!
//! The table is in `docs/nat-matrix.md`; `NAT_MATRIX=write cargo test -p antiphon-ice --test nat_matrix` writes it
//! anew.

mod world;

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use antiphon_ice::CandidateKind;
use antiphon_netsim::{Dependence, Firewall, FirewallConfig, LinkConfig, Nat, NatConfig, Network};
use world::{Place, World};

/// Seeds on links that lose two of a hundred packets and jitter: there each seed is a run of its own.
const ROUGH_SEEDS: u64 = 20;

/// On links that do neither, seeds differ only in what the agents draw: a few show the least times.
const CLEAN_SEEDS: u64 = 4;

fn link(is_rough: bool) -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(25),
        jitter: Duration::from_millis(if is_rough { 10 } else { 0 }),
        loss: if is_rough { 0.02 } else { 0.0 },
        ..LinkConfig::default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    FullCone,
    AddressRestricted,
    PortRestricted,
    Symmetric,
    DoubleNat,
    UdpBlocked,
    OnlyTcp443,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Open, "open"),
    (Kind::FullCone, "full cone"),
    (Kind::AddressRestricted, "address-restricted"),
    (Kind::PortRestricted, "port-restricted"),
    (Kind::Symmetric, "symmetric"),
    (Kind::DoubleNat, "double NAT"),
    (Kind::UdpBlocked, "UDP blocked"),
    (Kind::OnlyTcp443, "only TCP 443"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathKind {
    Udp,
    Tcp,
    Relay,
}

impl PathKind {
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "direct",
            Self::Tcp => "TCP",
            Self::Relay => "relay",
        }
    }
}

/// What theory needs to know of a kind. Independent of the simulation's code: RFC 4787 in one line each.
struct Traits {
    public: bool,
    udp: bool,
    mapping: Dependence,
    filtering: Dependence,
    /// Whether TCP goes out to any port.
    tcp: bool,
}

fn traits(kind: Kind) -> Traits {
    use Dependence::{Address, AddressAndPort, Endpoint};
    let nat = |mapping, filtering| Traits {
        public: false,
        udp: true,
        mapping,
        filtering,
        tcp: true,
    };
    match kind {
        Kind::Open => Traits {
            public: true,
            ..nat(Endpoint, Endpoint)
        },
        Kind::FullCone => nat(Endpoint, Endpoint),
        Kind::AddressRestricted => nat(Endpoint, Address),
        Kind::PortRestricted | Kind::DoubleNat => nat(Endpoint, AddressAndPort),
        Kind::Symmetric => nat(AddressAndPort, AddressAndPort),
        Kind::UdpBlocked => Traits {
            udp: false,
            ..nat(Endpoint, AddressAndPort)
        },
        Kind::OnlyTcp443 => Traits {
            udp: false,
            tcp: false,
            ..nat(Endpoint, AddressAndPort)
        },
    }
}

/// Whether a check of `from` gets in at `to`, which has sent checks to all that it knows of `from`.
fn gets_in(from: &Traits, to: &Traits) -> bool {
    // Where to send it: the port that the STUN server saw is the one that `from` must use.
    let findable = to.public || to.mapping == Dependence::Endpoint;
    let expected = match to.filtering {
        Dependence::Endpoint => true,
        // The NAT of `from` has one address: whichever port it comes from, that address was sent to.
        Dependence::Address => true,
        Dependence::AddressAndPort => from.public || from.mapping == Dependence::Endpoint,
    };
    findable && (to.public || expected)
}

fn expected(a: Kind, b: Kind) -> PathKind {
    let (a, b) = (traits(a), traits(b));
    if a.udp && b.udp && (gets_in(&a, &b) || gets_in(&b, &a)) {
        PathKind::Udp
    } else if (a.tcp && b.public) || (b.tcp && a.public) {
        PathKind::Tcp
    } else {
        PathKind::Relay
    }
}

fn place(network: &mut Network, kind: Kind, at: usize) -> Place {
    let external: IpAddr = format!("20.1.0.{}", at + 1).parse().unwrap();
    let inside: IpAddr = format!("10.0.{}.2", at + 1).parse().unwrap();
    let node: Box<dyn antiphon_netsim::Node> = match kind {
        Kind::Open => {
            return Place {
                address: format!("20.2.0.{}", at + 1).parse().unwrap(),
                behind: None,
            };
        }
        Kind::FullCone => Box::new(Nat::new(NatConfig::full_cone(), vec![external])),
        Kind::AddressRestricted => Box::new(Nat::new(NatConfig::address_restricted(), vec![external])),
        Kind::PortRestricted | Kind::DoubleNat => Box::new(Nat::new(NatConfig::port_restricted(), vec![external])),
        Kind::Symmetric => Box::new(Nat::new(NatConfig::symmetric(), vec![external])),
        Kind::UdpBlocked => Box::new(Firewall::new(
            FirewallConfig {
                udp: false,
                tcp_ports: None,
            },
            vec![external],
        )),
        Kind::OnlyTcp443 => Box::new(Firewall::new(
            FirewallConfig {
                udp: false,
                tcp_ports: Some(vec![443]),
            },
            vec![external],
        )),
    };
    let mut behind = network.add_node(node);
    if kind == Kind::DoubleNat {
        let home: IpAddr = format!("100.64.0.{}", at + 1).parse().unwrap();
        let inner = network.add_node(Box::new(Nat::new(NatConfig::port_restricted(), vec![home])));
        network.place_node(inner, Some(behind));
        behind = inner;
    }
    Place {
        address: inside,
        behind: Some(behind),
    }
}

/// The path in the end, and how long the connection took.
fn connect(kinds: [Kind; 2], seed: u64, is_rough: bool) -> Result<(PathKind, Duration), String> {
    // Other dice in every cell, lest all cells meet the same losses.
    let dice = seed << 8 | (kinds[0] as u64) << 4 | kinds[1] as u64;
    let mut world = World::new(
        dice,
        link(is_rough),
        |network, at| place(network, kinds[at], at),
        |config| config.tcp.passive = true,
    );
    world.begin();
    let failed = |world: &World, what: &str| {
        format!(
            "{kinds:?}, seed {seed}, rough {is_rough}: {what}; {:?} {:?}",
            world.agent(0).state(),
            world.agent(1).state()
        )
    };
    if !world.run(Duration::from_secs(30), World::is_connected) {
        return Err(failed(&world, "no connection"));
    }
    let took = world.simulation.now() - world.start;
    // Better paths may be found yet.
    world.run(Duration::from_secs(10), |_| false);
    let mut paths = [0, 1].map(|at| world.selected(at));
    // The two describe the same path, each from its end; a relay may show at one end only.
    let relayed = paths
        .iter()
        .flatten()
        .any(|(local, remote, _)| [*local, *remote].contains(&CandidateKind::Relayed));
    let Some((.., is_tcp)) = paths[0].take() else {
        return Err(failed(&world, "no pair is selected"));
    };
    // Of four datagrams a path of several rough links loses some, but hardly ever all.
    let copies = if is_rough { 4 } else { 1 };
    for _ in 0..copies {
        for at in 0..2 {
            world.send(at, b"\x80 what theory allows");
        }
    }
    world.run(Duration::from_secs(1), |_| false);
    for at in 0..2 {
        if !(1..=copies).contains(&world.received(at).len()) {
            return Err(failed(&world, "a datagram did not arrive"));
        }
    }
    let kind = match (relayed, is_tcp) {
        (true, _) => PathKind::Relay,
        (false, true) => PathKind::Tcp,
        (false, false) => PathKind::Udp,
    };
    Ok((kind, took))
}

#[test]
fn every_pair_connects_by_the_path_that_theory_allows() {
    let mut wrong = String::new();
    let mut table = String::from("|  |");
    for (_, name) in KINDS {
        _ = write!(table, " {name} |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(KINDS.len()));
    table.push('\n');
    let rows: Vec<(String, String)> = std::thread::scope(|scope| {
        let rows = KINDS.map(|(a, name)| {
            scope.spawn(move || {
                let (mut row, mut wrong) = (format!("| **{name}** |"), String::new());
                for (b, _) in KINDS {
                    let mut run = |seeds, is_rough| {
                        let mut times = Vec::new();
                        for seed in 0..seeds {
                            match connect([a, b], seed, is_rough) {
                                Ok((path, took)) => {
                                    times.push(took.as_millis());
                                    if path != expected(a, b) {
                                        _ = writeln!(
                                            wrong,
                                            "{a:?} to {b:?}, seed {seed}, rough {is_rough}: {path:?}, not {:?}",
                                            expected(a, b)
                                        );
                                    }
                                }
                                Err(why) => _ = writeln!(wrong, "{why}"),
                            }
                        }
                        times.sort_unstable();
                        let median = times.get(times.len() / 2).copied().unwrap_or(0);
                        (median, times.last().copied().unwrap_or(0))
                    };
                    let ((clean, _), (median, longest)) = (run(CLEAN_SEEDS, false), run(ROUGH_SEEDS, true));
                    let name = expected(a, b).name();
                    _ = write!(row, " {name} {clean}, {median} to {longest} ms |");
                }
                (row, wrong)
            })
        });
        rows.into_iter().map(|row| row.join().unwrap()).collect()
    });
    for (row, complaints) in rows {
        table.push_str(&row);
        table.push('\n');
        wrong.push_str(&complaints);
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong}");

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/nat-matrix.md");
    let head = include_str!("world/nat-matrix.head.md");
    let text = format!("{head}\n{table}");
    if std::env::var("NAT_MATRIX").is_ok_and(|what| what == "write") {
        std::fs::write(page, &text).unwrap();
    }
    // Times may move with the agent's pacing; which path it is may not.
    let kinds = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    assert_eq!(
        kinds(&std::fs::read_to_string(page).unwrap_or_default()),
        kinds(&text),
        "docs/nat-matrix.md is stale"
    );
}
