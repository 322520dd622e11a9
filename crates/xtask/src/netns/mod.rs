//! Two peers behind two real NATs, in network namespaces of this machine: `ip netns`, veth and nftables masquerade.
//!
//! ```text
//!  left ---- left-nat ----+            +---- right-nat ---- right
//!  10.0.1.0/24            | 45.90.7.0  |           10.0.2.0/24
//!  left ---- away-nat ----+--- server -+
//!  10.0.3.0/24 (the interface that left moves to)
//! ```
//!
//! The namespaces have no way out of this machine. The address range between the routers is public in form only, because our
//! server relays to no private or reserved address. Signalling goes through the peers' standard input and output.

mod link;
mod lossy;
mod room;
pub(crate) mod shaped;
mod voice;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use room::{Room, must, sweep, wire};

use crate::live;
use crate::report::Report;
use crate::setup;
use crate::shell::{Service, end_with_children, example};

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Messages that must come through, each way, before and after the change.
const MESSAGES: u64 = 200;
const SERVER: &str = "45.90.7.10";
const USER: &str = "netns";
const PASSWORD: &str = "behind-two-nats";

/// How the NATs map.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nat {
    /// Keeps the port where it can: peers find each other through it.
    Masquerade,
    /// A port at random for each destination, as a symmetric NAT: only a relay helps.
    FullyRandom,
    /// Lets no UDP out besides: only a relay over TCP helps.
    NoUdp,
}

/// What happens to one side in mid-call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Its interface gets another address.
    Address,
    /// It moves to another interface, behind another NAT.
    Interface,
}

struct Scenario {
    name: &'static str,
    nat: Nat,
    server: &'static str,
    change: Change,
    /// What the pair in use must be, before and after.
    relayed: bool,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "two NATs, STUN, then another address",
        nat: Nat::Masquerade,
        server: "stun:45.90.7.10:3478",
        change: Change::Address,
        relayed: false,
    },
    Scenario {
        name: "two NATs, STUN, then another interface and NAT",
        nat: Nat::Masquerade,
        server: "stun:45.90.7.10:3478",
        change: Change::Interface,
        relayed: false,
    },
    Scenario {
        name: "two symmetric NATs, TURN, then another address",
        nat: Nat::FullyRandom,
        server: "turn:45.90.7.10:3478?transport=udp",
        change: Change::Address,
        relayed: true,
    },
    Scenario {
        name: "two NATs without UDP, TURN over TCP, then another interface and NAT",
        nat: Nat::NoUdp,
        server: "turn:45.90.7.10:3478?transport=tcp",
        change: Change::Interface,
        relayed: true,
    },
];

pub(crate) fn part(report: &mut Report) {
    let (program, peer) = match prepare() {
        Ok(programs) => programs,
        Err(why) => return report.fail("network namespaces", &why),
    };
    // They mostly wait, for timers that are as long as the standards want them: so all wait at the same time.
    let outcomes = std::thread::scope(|scope| {
        let timed = |play: &dyn Fn() -> Result<String, String>| {
            let started = Instant::now();
            (play(), started.elapsed())
        };
        let (program, peer) = (&program, &peer);
        let mut playing = Vec::new();
        for (tag, scenario) in SCENARIOS.iter().enumerate() {
            let play = move || timed(&|| play(tag, scenario, program, peer));
            playing.push((scenario.name, scope.spawn(play)));
        }
        let play = move || timed(&|| lossy::play(program));
        playing.push((
            "send and recv over a link that loses 20 % and is cut half-way",
            scope.spawn(play),
        ));
        let ended = playing.into_iter().map(|(name, thread)| (name, thread.join()));
        ended.collect::<Vec<_>>()
    });
    for (name, outcome) in outcomes {
        match outcome {
            Ok((Ok(detail), took)) => report.pass(name, &detail, took),
            Ok((Err(why), _)) => report.fail(name, &why),
            Err(_) => report.fail(name, "it panicked"),
        }
    }
}

/// Installs what is missing, and builds the program and the peer.
fn prepare() -> Result<(PathBuf, PathBuf), String> {
    setup::apt(&[
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("sysctl", "procps"),
        ("python3", "python3"),
    ])?;
    sweep();
    Ok((live::program()?, example("pipe_peer")?))
}

/// The rooms of one scenario.
struct Net {
    server: Room,
    left: Room,
    right: Room,
    /// They have nothing to do but be there.
    _routers: [Room; 3],
}

impl Net {
    /// The rooms, wired and routed. `tag` tells the scenarios apart, which run at the same time.
    fn build(tag: usize, nat: Nat) -> Result<Self, String> {
        let make = |room: &str| Room::make(&format!("{tag}-{room}"));
        let (server, left, right) = (make("server")?, make("left")?, make("right")?);
        let routers = [make("left-nat")?, make("right-nat")?, make("away-nat")?];
        server.inside("ip link add br0 type bridge")?;
        server.inside(&format!("ip addr add {SERVER}/24 dev br0"))?;
        server.inside("ip link set br0 up")?;
        // As on the internet, what has no destination vanishes on its way: no send fails at once.
        server.inside("ip route add default via 45.90.7.1")?;
        let inner = [(&left, "eth0"), (&right, "eth0"), (&left, "wlan0")];
        for ((n, router), (peer, interface)) in (1..).zip(&routers).zip(inner) {
            wire(router, "wan", &server, &format!("port{n}"))?;
            server.inside(&format!("ip link set port{n} master br0"))?;
            server.inside(&format!("ip link set port{n} up"))?;
            router.inside(&format!("ip addr add 45.90.7.{}/24 dev wan", 20 + n))?;
            router.inside("ip link set wan up")?;
            wire(router, "lan", peer, interface)?;
            router.inside(&format!("ip addr add 10.0.{n}.1/24 dev lan"))?;
            router.inside("ip link set lan up")?;
            router.inside("sysctl -qw net.ipv4.ip_forward=1")?;
            must(router.command("nft").args(["-f", "-"]), &rules(nat))?;
        }
        for (n, peer) in [(1, &left), (2, &right)] {
            peer.inside(&format!("ip addr add 10.0.{n}.2/24 dev eth0"))?;
            peer.inside("ip link set eth0 up")?;
            peer.inside(&format!("ip route add default via 10.0.{n}.1"))?;
        }
        Ok(Self {
            server,
            left,
            right,
            _routers: routers,
        })
    }

    fn change(&self, change: Change) -> Result<(), String> {
        self.left.inside("ip addr flush dev eth0")?;
        match change {
            Change::Address => {
                self.left.inside("ip addr add 10.0.1.77/24 dev eth0")?;
                self.left.inside("ip route add default via 10.0.1.1")
            }
            Change::Interface => {
                self.left.inside("ip link set eth0 down")?;
                self.left.inside("ip addr add 10.0.3.2/24 dev wlan0")?;
                self.left.inside("ip link set wlan0 up")?;
                self.left.inside("ip route add default via 10.0.3.1")
            }
        }
    }
}

/// A router's rules. What comes unasked is dropped, as every router at home does; an answer of its own, or a connection that it
/// tracks for itself, would spoil the hole that the peer behind it punches.
fn rules(nat: Nat) -> String {
    let masquerade = match nat {
        Nat::Masquerade => "masquerade",
        Nat::FullyRandom | Nat::NoUdp => "masquerade fully-random",
    };
    let forbidden = match nat {
        Nat::NoUdp => "meta l4proto udp drop",
        Nat::Masquerade | Nat::FullyRandom => "",
    };
    format!(
        "table ip nat {{\n chain out {{ type nat hook postrouting priority srcnat\n  oifname \"wan\" {masquerade}\n }}\n}}\n\
         table ip filter {{\n chain in {{ type filter hook input priority filter\n  iifname \"wan\" ct state new drop\n }}\n \
         chain through {{ type filter hook forward priority filter\n  iifname \"wan\" ct state new drop\n  {forbidden}\n }}\n}}\n"
    )
}

/// What one of the peers says.
enum Said {
    Line(Side, String),
    Gone(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// One peer's process.
struct Peer {
    child: Child,
    stdin: ChildStdin,
    got: u64,
    sent: Option<u64>,
    end: Option<u64>,
    pair: String,
    connected: bool,
}

impl Peer {
    fn start(
        side: Side,
        room: &Room,
        program: &Path,
        scenario: &Scenario,
        said: mpsc::Sender<Said>,
    ) -> Result<Self, String> {
        let role = match side {
            Side::Left => "offer",
            Side::Right => "answer",
        };
        let mut command = room.command(program);
        command.args([role, "--ice-server", scenario.server]);
        command.args(["--turn-user", USER, "--turn-password", PASSWORD]);
        let log = crate::shell::log_file(&format!("netns {}", room.tag()))?;
        let log = fs::File::create(log).map_err(|e| e.to_string())?;
        let mut child = command
            .env("RUST_LOG", "debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start the {side:?} peer: {e}"))?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(Said::Line(side, line)).is_err() {
                    return;
                }
            }
            let _ = said.send(Said::Gone(side));
        });
        Ok(Self {
            child,
            stdin,
            got: 0,
            sent: None,
            end: None,
            pair: String::new(),
            connected: false,
        })
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.stdin, "{line}").map_err(|e| format!("a peer takes no more lines: {e}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        end_with_children(&mut self.child);
    }
}

/// Both peers, and what they have said.
struct Call {
    left: Peer,
    right: Peer,
    said: Receiver<Said>,
    notes: Vec<String>,
}

impl Call {
    fn start(net: &Net, scenario: &Scenario, program: &Path) -> Result<Self, String> {
        let (saying, said) = mpsc::channel();
        let right = Peer::start(Side::Right, &net.right, program, scenario, saying.clone())?;
        let left = Peer::start(Side::Left, &net.left, program, scenario, saying)?;
        Ok(Self {
            left,
            right,
            said,
            notes: Vec::new(),
        })
    }

    /// Carries signals from one to the other until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Peer, &Peer) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.left, &self.right) {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = |why: String, notes: &[String]| Err(format!("{what}: {why}\n{}", notes.join("\n")));
            let (side, line) = match self.said.recv_timeout(left) {
                Ok(Said::Line(side, line)) => (side, line),
                Ok(Said::Gone(side)) => return failed(format!("the {side:?} peer has ended"), &self.notes),
                Err(_) => return failed(format!("nothing within {} s", PATIENCE.as_secs()), &self.notes),
            };
            let (here, there) = match side {
                Side::Left => (&mut self.left, &mut self.right),
                Side::Right => (&mut self.right, &mut self.left),
            };
            let (kind, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let number = || rest.parse().map_err(|_| format!("no number: {line:?}"));
            if kind != "got" {
                let shown: String = line.chars().take(160).collect();
                self.notes.push(format!("{side:?}: {shown}"));
            }
            match kind {
                "signal" => there.tell(&line)?,
                "got" => here.got = number()?,
                "sent" => here.sent = Some(number()?),
                "end" => here.end = Some(number()?),
                "pair" => rest.clone_into(&mut here.pair),
                "state" => {
                    here.connected = rest == "connected";
                    if rest == "failed" || rest == "closed" {
                        return failed(format!("the {side:?} peer's connection has {rest}"), &self.notes);
                    }
                }
                "error" => return failed(format!("the {side:?} peer: {rest}"), &self.notes),
                _ => {}
            }
        }
        Ok(())
    }
}

fn play(tag: usize, scenario: &Scenario, program: &Path, peer: &Path) -> Result<String, String> {
    let net = Net::build(tag, scenario.nat)?;
    let (ready, lines) = mpsc::channel();
    let mut command = net.server.command(program);
    command
        .args(["turn", "--listen", &format!("{SERVER}:3478"), "--realm", "netns"])
        .args(["--user", &format!("{USER}:{PASSWORD}")]);
    let _server = Service::start(&format!("netns {}", net.server.tag()), &mut command, move |line| {
        let _ = ready.send(line.to_owned());
    })?;
    while lines
        .recv_timeout(PATIENCE)
        .map_err(|_| "the server did not say that it is ready".to_owned())?
        != "ready"
    {}

    let mut call = Call::start(&net, scenario, peer)?;
    call.until("connect", |left, right| left.got >= MESSAGES && right.got >= MESSAGES)?;
    check_pair(scenario, &call)?;
    let before = (call.left.got, call.right.got, call.left.pair.clone());

    net.change(scenario.change)?;
    let changed = Instant::now();
    call.until("go on after the change", |left, right| {
        left.got >= before.0 + MESSAGES && right.got >= before.1 + MESSAGES && left.pair != before.2
    })?;
    let took = changed.elapsed();
    check_pair(scenario, &call)?;

    call.left.tell("stop")?;
    call.right.tell("stop")?;
    call.until("end", |left, right| {
        [left.sent, left.end, right.sent, right.end].iter().all(Option::is_some)
    })?;
    if call.left.end != call.right.sent || call.right.end != call.left.sent {
        return Err(format!(
            "sent {:?} and {:?}, arrived {:?} and {:?}",
            call.left.sent, call.right.sent, call.right.end, call.left.end
        ));
    }
    Ok(format!(
        "{} + {} messages in order, none lost; {} more each way {:.1} s after the change; {}",
        call.left.sent.unwrap_or_default(),
        call.right.sent.unwrap_or_default(),
        MESSAGES,
        took.as_secs_f64(),
        call.left.pair,
    ))
}

/// Whether the pair in use is of the kind that these NATs allow.
fn check_pair(scenario: &Scenario, call: &Call) -> Result<(), String> {
    let relayed = call.left.pair.contains("typ relay") || call.right.pair.contains("typ relay");
    if relayed == scenario.relayed {
        return Ok(());
    }
    Err(format!(
        "the pair is of the wrong kind: left {:?}, right {:?}\n{}",
        call.left.pair,
        call.right.pair,
        call.notes.join("\n")
    ))
}
