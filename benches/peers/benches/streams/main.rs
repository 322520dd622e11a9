//! Ten streams of 2 Mbit/s from one connection to another: what a packet of 1200 bytes costs, sent and received, with all that a
//! browser negotiates (MID, RTX, transport-wide feedback; pacing where a stack has it). Their packets do not come together: every 4.8 ms
//! one of each stream, the streams one after the other; one task of the application gives them all, when they are due.
//!
//! Whole stacks over loopback UDP run in processes of their own, so that a process's time is one stack's, and take turns. What the
//! machines alone cost, without sockets and tasks, is measured in this process.

mod memory;
mod ours;
mod str0m;
mod webrtc;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use antiphon_benches::cost::{at, process_cpu};
use antiphon_benches::fan::PAYLOAD;
use tokio::runtime::{Builder, Runtime};

/// What the program is told, in a process of its own, before the name of a stack.
const STACK: &str = "--stack";
const STACKS: [&str; 5] = [
    "antiphon",
    "antiphon, gathering nothing",
    "str0m 0.25",
    "str0m 0.25, unpaced",
    "webrtc 0.21",
];
pub const STREAMS: usize = 10;
/// Between two packets of a stream, of about 1200 bytes: 2 Mbit/s.
pub const INTERVAL: Duration = Duration::from_micros(4800);
/// How much later each stream begins than the one before it.
pub const STAGGER: Duration = Duration::from_micros(480);
/// How long one turn of a stack is.
const WINDOW: Duration = Duration::from_secs(3);
/// Before what is on its way at the end counts as lost.
const REST: Duration = Duration::from_millis(100);
const ROUNDS: usize = 5;

/// From which packets count the time at which they were made.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A payload that says when it was made.
pub fn payload() -> Vec<u8> {
    let mut payload = vec![0x55; PAYLOAD];
    payload[..8].copy_from_slice(&(EPOCH.elapsed().as_nanos() as u64).to_be_bytes());
    payload
}

/// When the next packet of each stream is due, for one task or thread that gives them all.
pub struct Schedule {
    due: [Instant; STREAMS],
    end: Instant,
}

impl Schedule {
    /// So long from now on.
    pub fn new(window: Duration) -> Self {
        let start = Instant::now();
        Self {
            due: std::array::from_fn(|n| start + STAGGER * n as u32),
            end: start + window,
        }
    }

    /// When something is due next; `None`: all is sent.
    pub fn next(&self) -> Option<Instant> {
        self.due.iter().copied().min().filter(|at| *at < self.end)
    }

    /// A stream whose packet is due.
    pub fn take_due(&mut self, now: Instant) -> Option<usize> {
        let due = self.due.iter_mut().enumerate();
        let (stream, at) = due.min_by_key(|(_, at)| **at)?;
        if *at > now || *at >= self.end {
            return None;
        }
        *at += INTERVAL;
        Some(stream)
    }
}

/// How long each packet took that has come, in microseconds.
#[derive(Default)]
pub struct Received(Mutex<Vec<f64>>);

impl Received {
    /// A packet came.
    pub fn note(&self, payload: &[u8]) {
        if let Some(made) = payload.first_chunk() {
            let took = EPOCH.elapsed().as_nanos() as u64 - u64::from_be_bytes(*made);
            self.0.lock().expect("nobody panics").push(took as f64 / 1e3);
        }
    }

    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }
}

/// Two connected peers of one stack, in a process of their own.
enum Pair {
    Ours(ours::Pair),
    Str0m(str0m::Pair),
    Webrtc(webrtc::Pair),
}

impl Pair {
    async fn connect(stack: &str) -> Self {
        match stack {
            "antiphon" => Self::Ours(ours::Pair::connect(true).await),
            "antiphon, gathering nothing" => Self::Ours(ours::Pair::connect(false).await),
            "str0m 0.25" => Self::Str0m(str0m::Pair::connect(true)),
            "str0m 0.25, unpaced" => Self::Str0m(str0m::Pair::connect(false)),
            _ => Self::Webrtc(webrtc::Pair::connect().await),
        }
    }

    /// Sends for so long; how many packets that were.
    async fn send(&self, window: Duration) -> u64 {
        match self {
            Self::Ours(pair) => pair.send(window).await,
            Self::Str0m(pair) => pair.send(window),
            Self::Webrtc(pair) => pair.send(window).await,
        }
    }

    /// What has come so far.
    fn received(&self) -> &Received {
        match self {
            Self::Ours(pair) => pair.received(),
            Self::Str0m(pair) => pair.received(),
            Self::Webrtc(pair) => pair.received(),
        }
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// In a process of its own: a turn for each line that comes, and a line of figures for each turn.
fn serve(stack: &str) {
    let runtime = runtime();
    let pair = Arc::new(runtime.block_on(Pair::connect(stack)));
    let mut came = String::new();
    while std::io::stdin().read_line(&mut came).is_ok_and(|read| read > 0) {
        pair.received().take();
        let start = process_cpu();
        // On the runtime's threads, as an application would.
        let sending = pair.clone();
        let sent = runtime.block_on(async { tokio::spawn(async move { sending.send(WINDOW).await }).await });
        let sent = sent.expect("nobody panics");
        std::thread::sleep(REST);
        let spent = process_cpu() - start;
        let mut delays = pair.received().take();
        let received = delays.len();
        let [usual, long] = [0.5, 0.99].map(|share| at(&mut delays, share));
        let line = format!("{} {sent} {received} {usual:.0} {long:.0}\n", spent.as_nanos());
        let mut out = std::io::stdout();
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .expect("the parent listens");
        came.clear();
    }
    // The tasks of some stacks would run on.
    std::process::exit(0);
}

/// A stack in a process of its own.
struct Contender {
    name: &'static str,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Microseconds of processor time for each packet that came, a figure a turn.
    costs: Vec<f64>,
    /// How long a packet took from one program's hand to the other's: the median and the 99th percentile of each turn.
    delays: [Vec<f64>; 2],
    lost: i64,
}

impl Contender {
    fn new(name: &'static str, stack: &str, program: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .args([STACK, stack])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let (to, from) = (child.stdin.take(), child.stdout.take());
        Self {
            name,
            child,
            to: to.expect("its input"),
            from: BufReader::new(from.expect("its output")),
            costs: Vec::new(),
            delays: [const { Vec::new() }; 2],
            lost: 0,
        }
    }

    /// Lets it have a turn, which counts or warms up.
    fn turn(&mut self, counts: bool) {
        self.to.write_all(b"go\n").expect("it listens");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        let figures: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [nanos, sent, received, usual, long] = figures[..] else {
            panic!("{}: {line}", self.name);
        };
        let due = (WINDOW.as_micros() / INTERVAL.as_micros()) as u64 * STREAMS as u64;
        if counts {
            assert!(sent * 10 >= due * 9, "{}: {line}", self.name);
            self.costs.push(nanos as f64 / 1e3 / received as f64);
            // Some stacks send what they held back in a later turn.
            self.lost = self.lost + sent as i64 - received as i64;
            self.delays[0].push(usual as f64);
            self.delays[1].push(long as f64);
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(stack) = arguments.iter().position(|word| word == STACK) {
        return serve(&arguments[stack + 1]);
    }
    // Another build of this bench, whose own stack takes turns too.
    let beside = arguments.iter().skip_while(|word| *word != "--beside").nth(1);
    let only = arguments.iter().skip_while(|word| *word != "--only").nth(1);
    let own = std::env::current_exe().expect("this program");
    let chosen = STACKS
        .iter()
        .filter(|name| only.is_none_or(|only| name.contains(only.as_str())));
    let mut contenders: Vec<Contender> = chosen.map(|name| Contender::new(name, name, &own)).collect();
    contenders.extend(beside.map(|program| Contender::new("the other build", STACKS[0], program.as_ref())));
    for round in 0..=ROUNDS {
        let count = contenders.len();
        for place in 0..count {
            contenders[(round + place) % count].turn(round > 0);
        }
    }
    println!("\n{STREAMS} streams of 2 Mbit/s over loopback, the whole stack ({ROUNDS} interleaved rounds; median)");
    println!(
        "  {:32} {:>26} {:>8} {:>13} {:>8} {:>6}",
        "", "CPU us sent and received", "", "delay p50 us", "p99 us", "behind"
    );
    let mut first = None;
    for contender in &mut contenders {
        let cost = at(&mut contender.costs, 0.5);
        let ratio = cost / *first.get_or_insert(cost);
        let [usual, long] = [0, 1].map(|n| at(&mut contender.delays[n], 0.5));
        println!(
            "  {:32} {cost:26.2} {ratio:7.2}x {usual:13.0} {long:8.0} {:6}",
            contender.name, contender.lost
        );
    }
    drop(contenders);
    if only.is_none() {
        memory::table();
    }
}
