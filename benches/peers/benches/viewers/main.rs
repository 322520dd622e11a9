//! One publisher and 50 viewers: what a packet costs that a server forwards over loopback UDP, and how late it comes.
//!
//! The server is a process of its own, so that a process's time is one stack's, and says so by its output; publisher and viewers are ours
//! for every stack, and run in this process. Ours and str0m's have one port; `webrtc` has a socket for each connection. Packets carry the time at which
//! they were made: what is told of lateness is from the publisher's hand to the viewer's.

mod audience;
mod ours;
mod str0m;
mod webrtc;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon_benches::cost::{at, process_cpu};

use audience::Audience;

/// What the program is told, in a process of its own, before the name of a stack.
const STACK: &str = "--stack";
const STACKS: [&str; 3] = ["antiphon", "str0m 0.25", "webrtc 0.21"];
const VIEWERS: usize = 50;
/// Packets a second that the publisher sends.
const RATES: [u32; 3] = [200, 1000, 4000];
/// What a server does not forward at least this part of is too much for it: then nothing more is asked of it.
const ENOUGH: f64 = 0.95;
/// How busy a server is where its lateness is looked at.
const BUSY: f64 = 0.7;
/// How long one turn of a stack is, and how many there are.
const WINDOW: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
/// Before what is on its way at the end counts as lost.
const REST: Duration = Duration::from_millis(200);

/// A forwarder: it offers each connection, and then does what it is for by itself.
trait Server {
    /// An offer of a connection that takes pictures, or sends what the first one takes.
    fn offer(&mut self, sends: bool) -> String;
    /// The answer to the last offer.
    fn answer(&mut self, sdp: String);
}

/// A description in one line, and back.
fn to_line(sdp: &str) -> String {
    sdp.replace("\r\n", "\u{1}")
}

fn from_line(line: &str) -> String {
    line.trim_end_matches('\n').replace('\u{1}', "\r\n")
}

/// In a process of its own: a line comes, and a line goes back.
fn serve(stack: &str) {
    let mut server: Box<dyn Server> = match stack {
        "antiphon" => Box::new(ours::Forwarder::new()),
        "str0m 0.25" => Box::new(str0m::Forwarder::new()),
        _ => Box::new(webrtc::Forwarder::new()),
    };
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
        let said = match line.trim_end_matches('\n') {
            "take" => to_line(&server.offer(false)),
            "send" => to_line(&server.offer(true)),
            "cpu" => process_cpu().as_nanos().to_string(),
            answer => {
                server.answer(from_line(answer));
                "taken".to_owned()
            }
        };
        let mut out = std::io::stdout();
        writeln!(out, "{said}")
            .and_then(|()| out.flush())
            .expect("the parent listens");
        line.clear();
    }
    // The tasks of some stacks would run on.
    std::process::exit(0);
}

/// A server in a process of its own, and those at the other ends of its connections.
struct Contender {
    name: &'static str,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    audience: Audience,
}

/// What one turn has shown.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Packets to viewers for each second of the server's processor time.
    each: f64,
    /// The part of a processor that the server had.
    busy: f64,
    /// The part of what was due that came.
    came: f64,
    /// How late: the median and the 99th percentile, in microseconds.
    late: [f64; 2],
}

impl Contender {
    fn new(name: &'static str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args([STACK, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let mut own = Self {
            name,
            child,
            to: to.expect("its input"),
            from: BufReader::new(from.expect("its output")),
            audience: Audience::new(),
        };
        for place in 0..=VIEWERS {
            let offer = from_line(&own.ask(if place == 0 { "take" } else { "send" }));
            let answer = own.audience.answer(offer, place == 0);
            own.ask(&to_line(&answer));
            own.audience.connected();
        }
        own
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").expect("it listens");
        let mut said = String::new();
        self.from.read_line(&mut said).expect("it answers");
        assert!(!said.is_empty(), "{} has gone", self.name);
        said
    }

    fn cpu(&mut self) -> Duration {
        Duration::from_nanos(self.ask("cpu").trim().parse().expect("a number"))
    }

    /// So many packets a second for a while.
    fn turn(&mut self, rate: f64) -> Turn {
        self.audience.take();
        let (cpu, start) = (self.cpu(), Instant::now());
        let sent = self.audience.publish(rate, WINDOW);
        let (spent, passed) = (self.cpu() - cpu, start.elapsed());
        std::thread::sleep(REST);
        let mut late = self.audience.take();
        let came = late.len() as f64;
        if late.is_empty() {
            late.push(f64::INFINITY);
        }
        Turn {
            each: came / spent.as_secs_f64(),
            busy: spent.as_secs_f64() / passed.as_secs_f64(),
            came: came / (sent * VIEWERS as u64) as f64,
            late: [0.5, 0.99].map(|share| at(&mut late, share)),
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The medians of several turns.
fn median(turns: &[Turn]) -> Turn {
    let of = |what: fn(&Turn) -> f64| at(&mut turns.iter().map(what).collect::<Vec<_>>(), 0.5);
    Turn {
        each: of(|turn| turn.each),
        busy: of(|turn| turn.busy),
        came: of(|turn| turn.came),
        late: [of(|turn| turn.late[0]), of(|turn| turn.late[1])],
    }
}

fn row(name: &str, rate: f64, turn: &Turn) {
    println!(
        "  {name:14} {rate:9.0} {:16.0} {:8.0} % {:8.1} % {:10.0} {:8.0}",
        turn.each,
        100.0 * turn.busy,
        100.0 * turn.came,
        turn.late[0],
        turn.late[1]
    );
}

fn head(title: &str) {
    println!("\n{title}");
    println!(
        "  {:14} {:>9} {:>16} {:>10} {:>10} {:>10} {:>8}",
        "", "packets/s", "a CPU-second", "of a core", "came", "late p50", "p99 us"
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(stack) = arguments.iter().position(|word| word == STACK) {
        return serve(&arguments[stack + 1]);
    }
    let only = arguments.iter().skip_while(|word| *word != "--only").nth(1);
    let chosen = STACKS.iter().filter(|name| only.is_none_or(|only| name.contains(only.as_str())));
    let mut contenders: Vec<Contender> = chosen.map(|name| Contender::new(name)).collect();
    head(&format!("1 publisher, {VIEWERS} viewers over loopback ({ROUNDS} interleaved rounds; median)"));
    let mut best = vec![0f64; contenders.len()];
    let mut able = vec![true; contenders.len()];
    for rate in RATES.map(f64::from) {
        let mut turns = vec![Vec::new(); contenders.len()];
        for round in 0..ROUNDS {
            for step in 0..contenders.len() {
                let place = (round + step) % contenders.len();
                if able[place] {
                    turns[place].push(contenders[place].turn(rate));
                }
            }
        }
        for (place, turns) in turns.iter().enumerate().filter(|(_, turns)| !turns.is_empty()) {
            let turn = median(turns);
            row(contenders[place].name, rate, &turn);
            able[place] = turn.came >= ENOUGH;
            if able[place] || best[place] == 0.0 {
                best[place] = turn.each;
            }
        }
    }
    head(&format!("as many as make the server {:.0} % busy", 100.0 * BUSY));
    for (contender, each) in contenders.iter_mut().zip(best) {
        let rate = each * BUSY / VIEWERS as f64;
        let turns: Vec<Turn> = (0..ROUNDS).map(|_| contender.turn(rate)).collect();
        row(contender.name, rate, &median(&turns));
    }
}
