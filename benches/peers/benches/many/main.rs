//! What a pair costs, and a forwarded packet: idle memory and set-up beside rustrtc and str0m, forwarding in memory beside str0m.
//!
//! Idle memory is that of processes of their own, so that no stack finds what another has left. The rest takes turns.

mod rustrtc;
mod str0m;

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_bench_peers::{Contender, compare};
use antiphon_benches::cost::{at, bare_seal, process_cpu, resident_kib};
use antiphon_benches::fan::{BURST, Fan, Way};
use antiphon_benches::meeting::{loopback, meet, meet_many};
use antiphon_benches::pair::{self, Pair};
use antiphon_peer_connection::RtcConfiguration;
use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};

/// What the program is told, in a process of its own, before the name of a stack.
const IDLE: &str = "--idle";
/// The stacks whose idle pairs are looked at.
const STACKS: [&str; 4] = [
    "antiphon",
    "rustrtc 0.4",
    "antiphon, no sockets",
    "str0m 0.25, no sockets",
];
/// Idle pairs: so many, and then so many more, whose memory counts.
const PAIRS: usize = 200;
const CALM: Duration = Duration::from_secs(2);
/// Pairs that meet one after the other, in each round of a stack.
const MEETINGS: usize = 50;
const ROUNDS: usize = 6;
/// Packets of one round of forwarding, to all receivers together.
const FORWARDED: usize = 5000;

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// One of ours without sockets, with a channel at each end.
fn without_sockets(number: usize, now: &mut Instant, out: &mut antiphon_peer_connection::TransmitBuf) -> Pair {
    let configuration = RtcConfiguration::default;
    let mut pair = Pair::new([configuration(), configuration()], *now, number as u64);
    pair.peers[0]
        .create_data_channel(*now, "bench", Default::default())
        .expect("a channel");
    pair.describe(*now, [str::to_owned; 2]);
    pair.connect(now, out);
    pair
}

/// KiB of resident memory for each idle pair of a stack, in this process.
fn idle(stack: &str) -> f64 {
    let (mut now, mut out) = (Instant::now(), pair::buffer());
    let mut pairs: Vec<Pair> = Vec::new();
    let mut theirs: Vec<str0m::Pair> = Vec::new();
    let (mut met, mut met_theirs) = (Vec::new(), Vec::new());
    let runtime = runtime();
    let mut sizes = Vec::new();
    for round in 0..2 {
        match stack {
            "antiphon" => met.extend(runtime.block_on(async {
                let api = loopback().build().expect("an api");
                meet_many(&api, &api, PAIRS).await
            })),
            "rustrtc 0.4" => {
                for _ in 0..PAIRS {
                    let one = runtime.block_on(async { tokio::spawn(rustrtc::meet()).await.expect("they meet") });
                    met_theirs.push(one);
                }
            }
            "antiphon, no sockets" => {
                pairs.extend((0..PAIRS).map(|n| without_sockets(round * PAIRS + n, &mut now, &mut out)));
            }
            _ => theirs.extend((0..PAIRS).map(|_| str0m::Pair::with_channel(&mut now))),
        }
        // A second of their time, in which those without sockets say what is left to say.
        for _ in 0..100 {
            now += Duration::from_millis(10);
            pairs.iter_mut().for_each(|pair| pair.settle(now, &mut out));
            theirs.iter_mut().for_each(|pair| pair.settle(now));
        }
        std::thread::sleep(CALM);
        sizes.push(resident_kib());
    }
    black_box((&pairs, &theirs, &met, &met_theirs));
    (sizes[1] as f64 - sizes[0] as f64) / PAIRS as f64
}

fn idle_table() {
    println!("\nan idle connected pair, resident ({PAIRS} pairs more)");
    let mut first = None;
    for stack in STACKS {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).args([IDLE, stack]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let kib: f64 = said.trim().parse().unwrap_or_else(|_| panic!("{stack}: {said}"));
        println!("  {stack:32} {kib:10.1} KiB {:7.2}x", kib / *first.get_or_insert(kib));
    }
}

fn setup_table() {
    let runtime = runtime();
    let api = runtime.block_on(async { loopback().build().expect("an api") });
    let mut figures = [const { Vec::new() }; 2];
    let mut cpu = [Duration::ZERO; 2];
    // The first round warms up, and does not count.
    for round in 0..=ROUNDS {
        for turn in 0..2 {
            let who = (round + turn) % 2;
            let start = process_cpu();
            let api = api.clone();
            let times: Vec<f64> = runtime.block_on(async {
                let meetings = async move {
                    let mut times = Vec::new();
                    for _ in 0..MEETINGS {
                        let took = match who {
                            0 => meet(&api, &api).await.expect("they meet").took,
                            _ => rustrtc::meet().await.took,
                        };
                        times.push(took.as_secs_f64() * 1e3);
                    }
                    times
                };
                tokio::spawn(meetings).await.expect("a round")
            });
            // What their ends cost is theirs.
            std::thread::sleep(Duration::from_millis(500));
            if round > 0 {
                cpu[who] += process_cpu() - start;
                figures[who].extend(times);
            }
        }
    }
    let count = (ROUNDS * MEETINGS) as f64;
    println!("\ncreateOffer to an open channel ({ROUNDS} interleaved rounds of {MEETINGS})");
    println!("  {:32} {:>9} {:>9} {:>12}", "", "p50 ms", "p90 ms", "CPU ms a pair");
    for ((name, times), cpu) in ["antiphon", "rustrtc 0.4"].iter().zip(&mut figures).zip(cpu) {
        let cpu = cpu.as_secs_f64() * 1e3 / count;
        println!("  {name:32} {:9.2} {:9.2} {cpu:12.2}", at(times, 0.5), at(times, 0.9));
    }
}

fn forward_tables(c: &mut Criterion) {
    for receivers in [10, 100, 500] {
        let rounds = FORWARDED.div_ceil(receivers * BURST);
        let [mut routed, mut ours] = [Way::Routed, Way::Plain].map(|way| Fan::new(receivers, way));
        let mut theirs = str0m::Fan::new(receivers);
        let check = |name: &str, sent: usize| {
            let due = rounds * receivers * BURST;
            assert!(
                sent >= due && sent <= due + rounds * receivers,
                "{name}: {sent} datagrams for {due} packets"
            );
        };
        let many = |forward: &mut dyn FnMut() -> (Duration, usize), name| {
            let (mut spent, mut sent) = (Duration::ZERO, 0);
            for _ in 0..rounds {
                let (took, datagrams) = forward();
                spent += took;
                sent += datagrams;
            }
            check(name, sent);
            spent
        };
        let units = (rounds * receivers * BURST) as u64;
        let seal = || Duration::from_nanos((bare_seal() * units as f64) as u64);
        let contenders = vec![
            Contender::new("the bare seal", seal),
            Contender::new("antiphon, routed", || many(&mut || routed.forward(), "antiphon, routed")),
            Contender::new("antiphon, no router", || many(&mut || ours.forward(), "antiphon")),
            Contender::new("str0m 0.25", || many(&mut || theirs.forward(), "str0m")),
        ];
        compare(
            c,
            &format!("forward to {receivers} receivers, in memory"),
            units,
            0,
            21,
            contenders,
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(stack) = arguments.iter().position(|word| word == IDLE) {
        println!("{}", idle(&arguments[stack + 1]));
        // Hundreds of connections need not say good-bye.
        std::process::exit(0);
    }
    idle_table();
    setup_table();
    let mut criterion = Criterion::default().configure_from_args();
    forward_tables(&mut criterion);
    criterion.final_summary();
}
