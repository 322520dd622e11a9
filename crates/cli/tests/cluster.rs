//! Three nodes of one cluster, each a process, and Debian's NATS between them: `cargo xtask test --only cluster`.

mod common;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon::{Event, Frame, MediaKind, PeerConnection, TransceiverId};
use common::figures::Figures;
use common::guest::{Guest, answer, capabilities, join};
use common::{Running, Socket, client, http, within};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long calls go on without the bus.
const WITHOUT_BUS: Duration = Duration::from_secs(20);
/// The longest that pictures of the others may stand still when a node dies (issue 15).
const STILL: Duration = Duration::from_secs(3);

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that ends with this.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn nats(port: u16) -> Self {
        let port = port.to_string();
        Self::start(Command::new("nats-server").args(["-a", "127.0.0.1", "-p", &port]))
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

struct Node {
    name: &'static str,
    addr: SocketAddr,
    program: Program,
}

impl Node {
    fn start(name: &'static str, nats: u16) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["serve", "--listen", &addr.to_string(), "--node", name]);
        command.args(["--cluster", &format!("nats://127.0.0.1:{nats}")]);
        let program = Program::start(&mut command);
        Self { name, addr, program }
    }

    async fn rooms(&self) -> Value {
        let told = http(self.addr, "GET", "/rooms", &[], "").await;
        serde_json::from_str(&told.body).unwrap()
    }

    async fn is_up(&self) -> bool {
        tokio::net::TcpStream::connect(self.addr).await.is_ok()
    }

    async fn bus_works(&self) -> bool {
        self.rooms().await["cluster"]["bus_works"] == true
    }

    async fn nodes(&self) -> usize {
        self.rooms().await["cluster"]["nodes"].as_array().unwrap().len()
    }

    async fn people(&self) -> Vec<String> {
        let told = self.rooms().await;
        let people = told["rooms"][0]["participants"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = people
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Tracks that go to each other node, and come from it.
    async fn crossings(&self) -> BTreeMap<String, (u64, u64)> {
        let told = self.rooms().await;
        let pipes = told["rooms"][0]["pipes"].as_array().cloned().unwrap_or_default();
        let count = |pipe: &Value, what: &str| pipe[what].as_u64().unwrap();
        pipes
            .iter()
            .map(|pipe| {
                let node = pipe["node"].as_str().unwrap().to_owned();
                (node, (count(pipe, "sends"), count(pipe, "receives")))
            })
            .collect()
    }

    /// What is said to somebody who wants to come in.
    async fn ask_in(&self, name: &str) -> Value {
        let mut socket = Socket::connect(self.addr).await;
        socket.expect("welcome").await;
        let sdp = capabilities().await;
        socket
            .send(json!({"type": "join", "room": "stage", "name": name, "sdp": sdp}))
            .await;
        socket.next().await.unwrap()
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Of each sender when its newest picture came, and the longest time between two since it was asked last.
type Seen = Arc<Mutex<BTreeMap<u8, (Instant, Duration)>>>;

/// Somebody who films and looks at all others.
struct Person {
    tag: u8,
    node: &'static str,
    seen: Seen,
    task: JoinHandle<()>,
}

impl Drop for Person {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Person {
    async fn come(node: &Node, name: &str, tag: u8) -> Self {
        let mut socket = Socket::connect(node.addr).await;
        socket.expect("welcome").await;
        let sdp = capabilities().await;
        socket
            .send(json!({"type": "join", "room": "stage", "name": name, "sdp": sdp}))
            .await;
        let joined = socket.expect("joined").await;
        let pc = client().await;
        let mut guest = Guest { socket, pc, joined };
        let video = guest.add(MediaKind::Video, "camera").await;
        guest.exchange().await;
        let seen = Seen::default();
        let task = tokio::spawn(take_part(guest, video, tag, seen.clone()));
        Self {
            tag,
            node: node.name,
            seen,
            task,
        }
    }

    async fn sees(&self, tags: &[u8]) {
        let what = format!("pictures of {tags:?} for {}", self.tag);
        let asked = Instant::now();
        until(&what, async || {
            let seen = self.seen.lock().unwrap();
            tags.iter()
                .all(|tag| *tag == self.tag || seen.get(tag).is_some_and(|(at, _)| *at > asked))
        })
        .await;
    }

    /// Begins to measure anew.
    fn reset(&self) {
        let now = Instant::now();
        for seen in self.seen.lock().unwrap().values_mut() {
            *seen = (now, Duration::ZERO);
        }
    }

    /// The longest time without a picture of one of these since the last `reset`, this moment included.
    fn longest(&self, tags: &[u8]) -> Duration {
        let seen = self.seen.lock().unwrap();
        let of = |tag: &u8| seen.get(tag).map(|(at, gap)| at.elapsed().max(*gap));
        tags.iter()
            .filter(|tag| **tag != self.tag)
            .filter_map(of)
            .max()
            .unwrap()
    }
}

async fn take_part(guest: Guest, video: TransceiverId, tag: u8, seen: Seen) {
    let Guest { mut socket, mut pc, .. } = guest;
    let mut key_frame = true;
    let mut tick = tokio::time::interval(Duration::from_millis(40));
    for number in 0u32.. {
        tokio::select! {
            _ = tick.tick() => picture(&pc, video, number, (tag, std::mem::take(&mut key_frame))).await,
            message = socket.next_of_all() => {
                let Some(message) = message else { return };
                if message["type"] == "offer" {
                    let answer = answer(&pc, &message).await;
                    socket.send(json!({"type": "answer", "sdp": answer})).await;
                }
            }
            event = pc.next_event() => match event {
                Some(Event::KeyFrameRequested(_)) => key_frame = true,
                Some(Event::Frame { frame, .. }) => note(&seen, frame.data[frame.data.len() - 1]),
                Some(Event::PeerEnded(_)) | None => return,
                Some(_) => {}
            },
        }
    }
}

fn note(seen: &Seen, tag: u8) {
    let mut seen = seen.lock().unwrap();
    let (at, gap) = seen.entry(tag).or_insert((Instant::now(), Duration::ZERO));
    *gap = at.elapsed().max(*gap);
    *at = Instant::now();
}

async fn picture(pc: &PeerConnection, video: TransceiverId, number: u32, (tag, key_frame): (u8, bool)) {
    let Ok(Some(vp8)) = pc.payload_type(video, "VP8").await else {
        return;
    };
    let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    data[0] |= u8::from(!key_frame);
    data.resize(600, tag);
    // Before the connection stands it goes nowhere.
    _ = pc
        .send_frame(video, Frame::new(vp8, number.wrapping_mul(3600), data))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server on the path: cargo xtask test --only cluster"]
async fn three_nodes_a_dead_one_and_a_bus_that_goes_away() {
    let port = free_port();
    let nats = Program::nats(port);
    let nodes = ["east", "north", "west"].map(|name| Node::start(name, port));
    for node in &nodes {
        until("a node", async || node.is_up().await).await;
        until("the bus", async || node.bus_works().await && node.nodes().await == 2).await;
    }
    let mut people = Vec::new();
    for (node, name, tag) in [(0, "Ada", 1), (0, "Bob", 2), (1, "Cleo", 3), (2, "Dora", 4)] {
        people.push(Person::come(&nodes[node], name, tag).await);
    }
    let began = Instant::now();
    for person in &people {
        person.sees(&[1, 2, 3, 4]).await;
    }
    println!("everybody sees everybody {:?} after the last has come", began.elapsed());
    for node in &nodes {
        until("the names", async || {
            node.people().await == ["Ada", "Bob", "Cleo", "Dora"]
        })
        .await;
    }
    crossings(&nodes).await;
    go_on_without_bus(nats, &nodes, &people).await;
    let _nats = Program::nats(port);
    for node in &nodes {
        until("the bus is back", async || node.bus_works().await).await;
    }

    let eve = Person::come(&nodes[2], "Eve", 5).await;
    eve.sees(&[1, 2, 3, 4]).await;
    people.push(eve);
    people[0].sees(&[5]).await;
    lose_a_node(nodes, people).await;
}

/// Each stream crosses each pair of nodes once.
async fn crossings(nodes: &[Node; 3]) {
    let own = BTreeMap::from([("east", 2), ("north", 1), ("west", 1)]);
    for node in nodes {
        let told = node.crossings().await;
        println!("{}: tracks to and from other nodes: {told:?}", node.name);
        let others = own.iter().filter(|(name, _)| **name != node.name);
        let wanted = others.map(|(name, count)| ((*name).to_owned(), (own[node.name], *count)));
        assert_eq!(told, wanted.collect());
    }
}

async fn go_on_without_bus(nats: Program, nodes: &[Node; 3], people: &[Person]) {
    people.iter().for_each(Person::reset);
    nats.kill();
    let stopped = Instant::now();
    for node in nodes {
        until("the bus is away", async || !node.bus_works().await).await;
    }
    println!("the bus was missed after {:?}", stopped.elapsed());
    let refused = nodes[1].ask_in("Eve").await;
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("error"), &json!("away")),
        "{refused}"
    );
    println!("who comes then hears: {refused}");
    tokio::time::sleep(WITHOUT_BUS.saturating_sub(stopped.elapsed())).await;
    for person in people {
        let longest = person.longest(&[1, 2, 3, 4]);
        println!(
            "{} ({}): longest stop without the bus: {longest:?}",
            person.tag, person.node
        );
        assert!(longest < STILL);
    }
}

async fn lose_a_node(nodes: [Node; 3], mut people: Vec<Person>) {
    let [east, north, west] = nodes;
    people.retain(|person| person.node != "north");
    let left = [1, 2, 4, 5];
    people.iter().for_each(Person::reset);
    let killed = Instant::now();
    north.program.kill();
    for node in [&east, &west] {
        until("its people are gone", async || {
            node.people().await == ["Ada", "Bob", "Dora", "Eve"]
        })
        .await;
    }
    println!("the dead node's people are gone after {:?}", killed.elapsed());
    tokio::time::sleep(Duration::from_secs(5).saturating_sub(killed.elapsed())).await;
    for person in &people {
        let longest = person.longest(&left);
        println!(
            "{} ({}): longest stop when a node died: {longest:?}",
            person.tag, person.node
        );
        assert!(longest < STILL);
    }
    for person in &people {
        person.sees(&left).await;
    }
}

/// Nobody listens on the port of the bus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_bus_nobody_comes_in_and_the_figures_say_so() {
    let url = format!("nats://127.0.0.1:{}", free_port());
    let flags = ["--cluster", &url, "--node", "east", "--metrics", "127.0.0.1:0"];
    let server = Running::start(&flags).await;
    let sdp = capabilities().await;
    let mut socket = join(&server, "stage", "Ada", &sdp).await;
    let refused = socket.next().await.unwrap();
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("error"), &json!("away")),
        "{refused}"
    );
    let told = server.http("GET", "/rooms", &[], "").await;
    let told: Value = serde_json::from_str(&told.body).unwrap();
    let node = json!({"node": "east", "bus_works": false, "nodes": []});
    assert_eq!(
        (&told["cluster"], &told["rooms"]),
        (&node, &json!([])),
        "nobody is left in the room"
    );
    let figures = Figures::of(&server).await;
    assert_eq!(figures.get("antiphon_cluster_bus_works", &[]), Some(0.0));
    let refusals = figures.get("antiphon_room_joins_refused_total", &[("cause", "away")]);
    assert_eq!(refusals, Some(1.0));
    server.stop().await;
}
