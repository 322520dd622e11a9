//! Browsers behind a link that is narrow, and changes: how our sender fills it as they watch `antiphon serve`, and how theirs does by our
//! feedback. The link carries 1 or 3 Mbit/s, 25 ms each way, with a queue of 300 ms; what passes is counted at the link.
//!
//! ```text
//!  antiphon serve ---- link.rs ----- Chromium or Firefox (conformance/live/shaped.mjs)
//!  10.9.0.1                          10.9.0.2
//! ```
//!
//! Everything is measured and printed. What is in [`HELD`] must hold; what is not is printed as it is: a cell joins the list when it
//! holds in every run, and leaves it never.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use antiphon_netsim::{Limit, LinkConfig};
use serde::Deserialize;

use super::link::{Link, SLOT, Shape};
use super::room::{Room, sweep};
use super::voice::Voice;
use crate::live::{Server, node, program_with_h264};
use crate::report::Report;
use crate::setup::{Peers, apt, peers};

const SERVER_END: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const BROWSER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Each way.
const DELAY: Duration = Duration::from_millis(25);
/// What a full queue takes to leave.
const QUEUE: Duration = Duration::from_millis(300);
/// The share of a link that its sender is to fill.
const FULL: f64 = 0.85;
/// More than this share of the link is too much, when it has become narrow.
const TOO_MUCH: f64 = 1.1;
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
const RECOVERS_WITHIN: Duration = Duration::from_secs(4);
/// Keep a broken run finite.
const START_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);

/// What must hold: a case by its name, and a column.
const HELD: [(&str, &str); 0] = [];

/// A time in which the link stays as it is.
struct Stretch {
    kbps: u64,
    lasts: Duration,
    /// What is looked at in it.
    column: &'static str,
    ask: Ask,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Is it full, from [`SETTLES_WITHIN`] on?
    Settles,
    /// Is what is sent little enough, after [`FOLLOWS_WITHIN`]?
    Follows,
    /// Is it full again, from [`RECOVERS_WITHIN`] on?
    Recovers,
}

const fn stretch(kbps: u64, seconds: u64, column: &'static str, ask: Ask) -> Stretch {
    Stretch {
        kbps,
        lasts: Duration::from_secs(seconds),
        column,
        ask,
    }
}

/// Each is a session of its own.
type Sessions = &'static [&'static [Stretch]];

const WATCHED: Sessions = &[
    &[stretch(1000, 8, "1 Mbit/s", Ask::Settles)],
    &[
        stretch(3000, 8, "3 Mbit/s", Ask::Settles),
        stretch(1000, 5, "drop to 1", Ask::Follows),
        stretch(3000, 8, "back to 3", Ask::Recovers),
    ],
];

const PUBLISHED: Sessions = &[
    &[stretch(1000, 8, "1 Mbit/s", Ask::Settles)],
    &[stretch(3000, 8, "3 Mbit/s", Ask::Settles)],
];

/// Who sends to whom.
struct Case {
    name: &'static str,
    browser: &'static str,
    /// Of the pattern; `None`: the browser sends.
    codec: Option<&'static str>,
    /// Words for the script.
    more: &'static [&'static str],
}

/// Those that run one after the other; the lanes run side by side.
const LANES: [&[Case]; 2] = [
    &[
        Case {
            name: "Chromium watches VP8",
            browser: "chromium",
            codec: Some("vp8"),
            more: &[],
        },
        Case {
            name: "Chromium sends",
            browser: "chromium",
            codec: None,
            more: &[],
        },
        Case {
            name: "Chromium sends, by RFC 8888",
            browser: "chromium",
            codec: None,
            more: &["ccfb"],
        },
    ],
    &[
        Case {
            name: "Firefox watches VP8",
            browser: "firefox",
            codec: Some("vp8"),
            more: &[],
        },
        Case {
            name: "Chromium watches H.264",
            browser: "chromium",
            codec: Some("h264"),
            more: &[],
        },
    ],
];

/// A line of the script.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    ready: bool,
    connected: bool,
    stopped: bool,
    failed: Option<String>,
    feedback: Option<String>,
    frames: Option<f64>,
    freezes: f64,
    frozen: f64,
    /// Bits a second.
    target: Option<f64>,
    /// In milliseconds.
    rtt: Option<f64>,
}

/// One second of a session.
#[derive(Clone, Debug, Default)]
struct Second {
    kbps: u64,
    /// Came to the link, and left it: kbit/s.
    sent: f64,
    passed: f64,
    target: Option<f64>,
    rtt: Option<f64>,
    frames: f64,
}

/// What was asked of a stretch.
struct Finding {
    column: &'static str,
    holds: bool,
    text: String,
}

/// What came of a case.
#[derive(Default)]
struct Outcome {
    seconds: Vec<Second>,
    findings: Vec<Finding>,
    freezes: f64,
    frozen: f64,
    feedback: String,
}

/// Browsers behind a link that is narrow and changes.
pub(crate) fn part(report: &mut Report) {
    println!("a shaped link");
    let ready = || {
        apt(&[("ip", "iproute2")])?;
        sweep();
        Ok::<_, String>((peers()?, program_with_h264()?))
    };
    let (foreign, program) = match ready() {
        Ok(both) => both,
        Err(why) => return report.fail("set up the shaped link", &why),
    };
    let outcomes = std::thread::scope(|scope| {
        let (peers, program) = (&foreign, &program);
        let lanes = LANES.iter().enumerate().map(|(lane, cases)| {
            scope.spawn(move || {
                let numbered = cases.iter().enumerate();
                let play = |(n, case)| (case, play(case, lane * 10 + n, peers, program));
                numbered.map(play).collect::<Vec<_>>()
            })
        });
        let lanes: Vec<_> = lanes.collect();
        let ended = lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_default());
        ended.collect::<Vec<_>>()
    });
    let mut measured = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Ok(outcome) => measured.push((case, outcome)),
            Err(why) => report.fail(case.name, &why),
        }
    }
    print(&measured, report);
}

/// A link of so many kbit/s from the side that sends, and a wide one back.
fn narrow(case: &Case, kbps: u64) -> Shape {
    let narrow = LinkConfig {
        delay: DELAY,
        rate: Some((kbps * 1000).into()),
        queue: Limit::time(QUEUE),
        ..LinkConfig::default()
    };
    let wide = LinkConfig {
        delay: DELAY,
        ..LinkConfig::default()
    };
    if case.codec.is_some() {
        Shape {
            forth: narrow,
            back: wide,
        }
    } else {
        Shape {
            forth: wide,
            back: narrow,
        }
    }
}

/// The two ends with the link between, while a case runs.
struct Stage<'a> {
    case: &'a Case,
    link: Link,
    script: Voice,
    outcome: Outcome,
}

/// Runs one case.
fn play(case: &Case, number: usize, peers: &Peers, program: &Path) -> Result<Outcome, String> {
    let (here, there) = (
        Room::make(&format!("{number}-shaped-server"))?,
        Room::make(&format!("{number}-shaped-browser"))?,
    );
    let wide = LinkConfig::default();
    let shape = Shape {
        forth: wide.clone(),
        back: wide,
    };
    let link = Link::between((&here, SERVER_END), (&there, BROWSER), shape)?;
    let mut serve = here.command(program);
    serve.args(["serve", "--listen", &format!("{SERVER_END}:0")]);
    serve.args(["--codec", case.codec.unwrap_or("vp8")]);
    let server = Server::of(&format!("shaped server {number}"), &mut serve)?;
    let mode = if case.codec.is_some() { "watch" } else { "send" };
    let mut arguments = vec![mode, case.browser, &server.url];
    arguments.extend(case.more);
    let script = node(peers, "shaped.mjs", &arguments);
    let mut inside = there.command(script.get_program());
    inside.args(script.get_args());
    if let Some(folder) = script.get_current_dir() {
        inside.current_dir(folder);
    }
    let script = Voice::start(&format!("shaped browser {number}"), &mut inside)?;
    let mut stage = Stage {
        case,
        link,
        script,
        outcome: Outcome::default(),
    };
    stage.until("ready", START_PATIENCE, |line| line.ready)?;
    let sessions = if case.codec.is_some() { WATCHED } else { PUBLISHED };
    for session in sessions {
        stage.session(session)?;
    }
    _ = stage.script.tell("end");
    Ok(stage.outcome)
}

impl Stage<'_> {
    fn next(&self, what: &str, patience: Duration) -> Result<Line, String> {
        let text = self.script.line(what, patience)?;
        let line: Line = serde_json::from_str(&text).map_err(|error| format!("{what}: {error}: {text}"))?;
        match line.failed {
            Some(why) => Err(format!("{what}: {why}")),
            None => Ok(line),
        }
    }

    /// The first line that is so.
    fn until(&self, what: &str, patience: Duration, is_it: impl Fn(&Line) -> bool) -> Result<Line, String> {
        let end = Instant::now() + patience;
        loop {
            let line = self.next(what, end.saturating_duration_since(Instant::now()))?;
            if is_it(&line) {
                return Ok(line);
            }
        }
    }

    /// A connection, from its beginning to its end.
    fn session(&mut self, stretches: &[Stretch]) -> Result<(), String> {
        let Some(first) = stretches.first() else { return Ok(()) };
        self.link.shape(narrow(self.case, first.kbps));
        self.script.tell("start")?;
        let connected = self.until("connects", ANSWER_PATIENCE, |line| line.connected)?;
        self.outcome.feedback = connected.feedback.unwrap_or_default();
        let began = Instant::now();
        let mut samples = Vec::new();
        let mut end = began;
        for stretch in stretches {
            self.link.shape(narrow(self.case, stretch.kbps));
            end += stretch.lasts;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                match self.script.try_line(left) {
                    Some(text) => {
                        let line: Line = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
                        if let Some(why) = line.failed {
                            return Err(why);
                        }
                        samples.push((Instant::now() - began, line));
                    }
                    None if Instant::now() < end => return Err("the browser says nothing more".to_owned()),
                    None => {}
                }
            }
        }
        self.script.tell("stop")?;
        self.until("stops", ANSWER_PATIENCE, |line| line.stopped)?;
        self.look(stretches, began, &samples);
        Ok(())
    }

    /// Works the figures out.
    fn look(&mut self, stretches: &[Stretch], began: Instant, samples: &[(Duration, Line)]) {
        let direction = usize::from(self.case.codec.is_none());
        let counts = self.link.counts();
        let passed = &counts.passed[direction];
        let first = self.link.slot(began);
        let rate = |slots: &[u64], from: Duration, to: Duration| {
            let slot = |at: Duration| first + (at.as_millis() / SLOT.as_millis()) as usize;
            let bytes: u64 = slots.iter().skip(slot(from)).take(slot(to) - slot(from)).sum();
            bytes as f64 * 8.0 / 1000.0 / (to - from).as_secs_f64()
        };
        let second = Duration::from_secs(1);
        let mut from = Duration::ZERO;
        for stretch in stretches {
            let to = from + stretch.lasts;
            let link = stretch.kbps as f64;
            let finding = match stretch.ask {
                Ask::Settles | Ask::Recovers => {
                    let within = if stretch.ask == Ask::Settles {
                        SETTLES_WITHIN
                    } else {
                        RECOVERS_WITHIN
                    };
                    let share = rate(&passed.passed_by_slot, from + within, to) / link;
                    let mut reached = None;
                    let mut at = from;
                    while at + second / 2 <= to {
                        let share = rate(&passed.passed_by_slot, at, at + second / 2) / link;
                        if share >= FULL && reached.is_none() {
                            reached = Some(at + second / 2 - from);
                        }
                        at += SLOT;
                    }
                    let reached = reached.map_or("never".to_owned(), |at| format!("after {:.1} s", at.as_secs_f64()));
                    Finding {
                        column: stretch.column,
                        holds: share >= FULL,
                        text: format!("{:.0} % from {} s on, there {reached}", share * 100.0, within.as_secs()),
                    }
                }
                Ask::Follows => {
                    let at = from + FOLLOWS_WITHIN;
                    let share = rate(&passed.sent_by_slot, at, at + second) / link;
                    Finding {
                        column: stretch.column,
                        holds: share <= TOO_MUCH,
                        text: format!("{:.0} % after {} s", share * 100.0, FOLLOWS_WITHIN.as_secs()),
                    }
                }
            };
            self.outcome.findings.push(finding);
            while from + second <= to {
                let to = from + second;
                let known = |line: &(Duration, Line)| line.0 <= to;
                let frames = |until: Duration| {
                    let before = samples
                        .iter()
                        .rev()
                        .find(|(at, line)| *at <= until && line.frames.is_some());
                    before.and_then(|(_, line)| line.frames).unwrap_or(0.0)
                };
                let last = samples.iter().rev().find(|line| known(line)).map(|(_, line)| line);
                self.outcome.seconds.push(Second {
                    kbps: stretch.kbps,
                    sent: rate(&passed.sent_by_slot, from, to),
                    passed: rate(&passed.passed_by_slot, from, to),
                    target: last.and_then(|line| line.target).map(|bits| bits / 1000.0),
                    rtt: last.and_then(|line| line.rtt),
                    frames: frames(to) - frames(from),
                });
                from = to;
            }
        }
        if let Some((_, line)) = samples.last() {
            self.outcome.freezes += line.freezes;
            self.outcome.frozen += line.frozen;
        }
    }
}

/// Prints one table of what was sent second by second, and one of what holds.
fn print(outcomes: &[(&Case, Outcome)], report: &mut Report) {
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
    for (case, outcome) in outcomes {
        let feedback = &outcome.feedback;
        println!(
            "\n{} (feedback {feedback}): kbit/s at the link, and beside it\n",
            case.name
        );
        println!("| s | link | sent | passed | target | round trip, ms | frames |");
        println!("|---|---|---|---|---|---|---|");
        for (n, second) in outcome.seconds.iter().enumerate() {
            let Second { kbps, sent, passed, .. } = second;
            let (target, rtt) = (shown(second.target), shown(second.rtt));
            println!(
                "| {n} | {kbps} | {sent:.0} | {passed:.0} | {target} | {rtt} | {:.0} |",
                second.frames
            );
        }
    }
    println!("\nbehind a shaped link\n");
    println!("| | 1 Mbit/s | 3 Mbit/s | drop to 1 | back to 3 | freezes |");
    println!("|---|---|---|---|---|---|");
    for (case, outcome) in outcomes {
        let cell = |column: &str| {
            let finding = outcome.findings.iter().find(|finding| finding.column == column);
            finding.map_or("-".to_owned(), |finding| {
                let holds = if finding.holds { "holds" } else { "does not hold" };
                format!("{holds}: {}", finding.text)
            })
        };
        let cells = ["1 Mbit/s", "3 Mbit/s", "drop to 1", "back to 3"].map(cell).join(" | ");
        let Outcome { freezes, frozen, .. } = outcome;
        println!("| {} | {cells} | {freezes:.0} of {frozen:.1} s |", case.name);
    }
    println!();
    for (case, outcome) in outcomes {
        for finding in &outcome.findings {
            let what = format!("{}, {}", case.name, finding.column);
            if finding.holds {
                report.pass(&what, &finding.text, Duration::ZERO);
            } else if HELD.contains(&(case.name, finding.column)) {
                report.fail(&what, &finding.text);
            } else {
                println!("  --    {what}: does not hold yet: {}", finding.text);
            }
        }
    }
}
