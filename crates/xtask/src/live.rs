//! Real browsers and foreign stacks against `antiphon serve`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use crate::films::films;
use crate::report::Report;
use crate::setup::{Peers, peers};
use crate::shell::{Output, Service, cargo, example, root, run as run_command, run_within, tail, work_dir};

/// How long a server may take to say its address, and a script to end: bounds for a busy machine.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const SCRIPT_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// One measurement, as the scripts under `conformance/live` print it: a line of JSON.
#[derive(Deserialize)]
pub(crate) struct Cell {
    peer: String,
    role: String,
    feature: String,
    /// A number measured at the foreign end, with its unit.
    value: String,
    ok: bool,
}

/// By peer, role and feature.
pub(crate) type Cells = BTreeMap<(String, String, String), Cell>;

/// What must be there; an empty cell is a failure. Each table has its rows (peer and role) and its columns (features).
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) rows: &'static [(&'static str, &'static str)],
    pub(crate) columns: &'static [&'static str],
}

const MEDIA: Table = Table {
    title: "media and data",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
        ("aiortc", "offers"),
        ("aiortc", "answers"),
        ("libwebrtc (node)", "offers"),
        ("libwebrtc (node)", "answers"),
    ],
    columns: &["video", "audio", "data"],
};

/// The DTLS role is the peer's; ours is the other.
const SECURITY: Table = Table {
    title: "DTLS, its group and suite, and SRTP",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
        ("firefox (DTLS 1.2)", "offers"),
        ("firefox (DTLS 1.2)", "answers"),
        ("aiortc", "offers"),
        ("aiortc", "answers"),
        ("libwebrtc (node)", "offers"),
        ("libwebrtc (node)", "answers"),
    ],
    columns: &["DTLS client", "DTLS server"],
};

/// Files between the page and `antiphon send` and `antiphon recv`; the role is the page's.
const FILES: Table = Table {
    title: "files between the page and send and recv",
    rows: &[
        ("chromium", "sends"),
        ("chromium", "receives"),
        ("firefox", "sends"),
        ("firefox", "receives"),
    ],
    columns: &["files"],
};

/// Data channels of every kind with messages of every size that the peer takes; "chunks" is what our association says.
const CHANNELS: Table = Table {
    title: "data channels",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("chromium (I-DATA)", "offers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
        ("aiortc", "offers"),
        ("aiortc", "answers"),
        ("libwebrtc (node)", "offers"),
        ("libwebrtc (node)", "answers"),
    ],
    columns: &["chunks", "reliable", "unordered", "maxRetransmits", "maxPacketLifeTime"],
};

const MANY: Table = Table {
    title: "many data channels",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
    ],
    columns: &["1000 channels, 10 times"],
};

/// A figure to read, not to pass: the browser shares the machine with us.
const RATES: Table = Table {
    title: "rates, 64 KiB messages",
    rows: &[("chromium", "offers"), ("chromium (I-DATA)", "offers")],
    columns: &["MB/s"],
};

/// What the page plots of a session over an emulated link.
const PLOTS: Table = Table {
    title: "the page's plots over an emulated link",
    rows: &[("chromium", "offers"), ("firefox", "offers")],
    columns: &["plots"],
};

const EXAMPLES: Table = Table {
    title: "the examples get_started, with a file too, and receiver",
    rows: &[("chromium", "offers"), ("firefox", "offers")],
    columns: &["get_started", "get_started FILE", "receiver"],
};

/// Who meets in the example `room`.
const PARTICIPANTS: [&str; 3] = ["chromium", "chromium", "firefox"];

const EXAMPLE_ROOM: Table = Table {
    title: "a room of browsers, by the example room: one leaves and one joins",
    rows: &[("chromium + chromium + firefox", "answers")],
    columns: &["room"],
};

/// Whole frames of each codec, from the browser to us and back to its decoder; and keys of a telephone that it plays.
const CODECS: Table = Table {
    title: "codecs by whole frames, and keys of a telephone, played",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
    ],
    columns: &["VP8", "VP9", "H264", "AV1", "plays keys"],
};

/// Keys that we play, known by their tones on the page.
const KEYS: Table = Table {
    title: "keys of a telephone, heard",
    rows: &[("chromium", "offers"), ("chromium", "answers")],
    columns: &["hears keys"],
};

/// What a link loses comes back without being asked for.
const REDUNDANCY: Table = Table {
    title: "redundancy, over a link that loses packets",
    rows: &[("chromium", "offers"), ("chromium", "answers")],
    columns: &["RED from it", "RED to it", "FlexFEC-03 to it", "ULPFEC to it"],
};

/// Our pattern over a link that loses packets, beside another Chromium over such a link at the same time.
const FREEZES: Table = Table {
    title: "losses as they are seen and heard",
    rows: &[("chromium", "watches us")],
    columns: &["pictures at 5 % loss", "sound at 5 % loss"],
};

/// A picture in several layers, of which a second browser is given one after the other.
const LAYERS: Table = Table {
    title: "layers of a publisher, chosen for a watcher",
    rows: &[
        ("chromium", "VP8 simulcast"),
        ("chromium", "VP9 L3T3_KEY"),
        ("chromium", "AV1 L2T2"),
        ("firefox", "VP8 simulcast"),
        ("antiphon", "VP8, 3 sizes"),
        ("antiphon", "VP8, 2 sizes"),
    ],
    columns: &["layers", "switched", "longest gap", "fewer frames"],
};

/// Three Chromium and a Firefox in one room of the page: what each counts of every other, in all its browsers.
const ROOM: Table = Table {
    title: "a room of the page",
    rows: &[("chromium", "in a room"), ("firefox", "in a room")],
    columns: &[
        "everybody",
        "layers sent",
        "chat",
        "muted",
        "speaker",
        "screen",
        "no screen",
        "one leaves",
        "one joins",
        "same name",
    ],
};

const PATHS: Table = Table {
    title: "other ways",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
    ],
    columns: &["page over HTTPS", "addresses hidden by mDNS"],
};

/// A running `antiphon serve`, ended when dropped.
pub(crate) struct Server {
    service: Service,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
}

/// The examples that meet a browser, as a newcomer starts them.
struct Examples {
    pattern: Server,
    /// `get_started` with a film in VP9.
    film: Server,
    receiver: Server,
    room: Server,
    /// What `receiver` writes.
    received: PathBuf,
}

impl Examples {
    fn start() -> Result<Self, String> {
        let films = films()?;
        let film = films.iter().find(|(codec, _)| *codec == "vp9");
        let (_, film) = film.ok_or("there is no film in VP9")?;
        let received = work_dir().join("received.webm");
        let start = |name: &str, what: &str, file: &Path| {
            let mut run = Command::new(example(name)?);
            run.arg(file).arg("127.0.0.1:0").current_dir(root());
            Server::of(what, &mut run)
        };
        Ok(Self {
            pattern: start("get_started", "get_started", Path::new(""))?,
            film: start("get_started", "get_started with a file", film)?,
            receiver: start("receiver", "receiver", &received)?,
            room: Server::of("room", Command::new(example("room")?).arg("listen=127.0.0.1:0"))?,
            received,
        })
    }

    /// Each browser with each of them. ffprobe reads what a browser has sent, to its end.
    fn meet(&self, report: &mut Report, peers: &Peers, cells: &mut Cells) {
        for browser in ["chromium", "firefox"] {
            let watch = |server: &Server, title: &str, size: &str| {
                node(peers, "get_started.mjs", &[browser, &server.url, title, size])
            };
            let received = self.received.display().to_string();
            let each = [
                ("get_started", watch(&self.pattern, "get_started", "640x360")),
                ("get_started FILE", watch(&self.film, "get_started FILE", "320x180")),
                (
                    "receiver",
                    node(peers, "receiver.mjs", &[browser, &self.receiver.url, &received]),
                ),
            ];
            for (title, mut command) in each {
                let what = format!("{browser} on {title}");
                match run_within(SCRIPT_PATIENCE, &what, &mut command) {
                    Ok(output) => take_cells(report, &what, &output, cells),
                    Err(why) => report.fail(&what, &why),
                }
            }
        }
        let arguments = [&self.room.url, "room"].into_iter().chain(PARTICIPANTS);
        let mut command = node(peers, "example_room.mjs", &arguments.collect::<Vec<&str>>());
        match run_within(SCRIPT_PATIENCE, "a room of browsers", &mut command) {
            Ok(output) => take_cells(report, "a room of browsers", &output, cells),
            Err(why) => report.fail("a room of browsers", &why),
        }
    }
}

impl Server {
    /// Starts the release build on a free port, with these flags of `serve`, and waits until it says its address.
    pub(crate) fn start(what: &str, flags: &[&str]) -> Result<Self, String> {
        let mut command = antiphon()?;
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
        Self::of(&format!("antiphon serve {what}"), &mut command)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.service.id()
    }

    /// Any program that prints the address at which it serves a page.
    pub(crate) fn of(what: &str, command: &mut Command) -> Result<Self, String> {
        let (found, address) = mpsc::channel();
        let service = Service::start(what, command, move |line| {
            if let Some(start) = line.find("http") {
                let url: String = line[start..].chars().take_while(|c| !c.is_whitespace()).collect();
                let _ = found.send(url.trim_end_matches('/').to_owned());
            }
        })?;
        match address.recv_timeout(START_PATIENCE) {
            Ok(url) => Ok(Self { service, url }),
            Err(_) => Err(format!("{what} did not print its address")),
        }
    }
}

/// The release build of `antiphon`, up to date.
pub(crate) fn antiphon() -> Result<Command, String> {
    let mut command = Command::new(program()?);
    command.current_dir(root());
    Ok(command)
}

/// Where the release build of `antiphon` is, up to date.
pub(crate) fn program() -> Result<PathBuf, String> {
    build(&[])
}

/// The same with the pattern as H.264 too: a copy of its own, for the other takes its place when it is built.
pub(crate) fn program_with_h264() -> Result<PathBuf, String> {
    let built = build(&["--features", "h264"])?;
    let own = work_dir().join("antiphon-h264");
    fs::copy(&built, &own).map_err(|e| format!("{}: {e}", own.display()))?;
    Ok(own)
}

fn build(more: &[&str]) -> Result<PathBuf, String> {
    let mut build = cargo(&["build", "--release", "--package", "antiphon-cli"]);
    let built = run_command("build antiphon", build.args(more))?;
    if !built.success {
        return Err(format!("cannot build antiphon:\n{}", tail(&built.text, 40)));
    }
    Ok(work_dir().parent().expect("inside target").join("release/antiphon"))
}

/// Runs all foreign peers and prints the table.
pub(crate) fn run(report: &mut Report) {
    println!("live peers");
    let ready = || -> Result<_, String> {
        let program = program()?.display().to_string();
        let echo_frames = example("echo_frames")?.display().to_string();
        Ok((
            peers()?,
            Server::start("", &["--max-message", "16777216"])?,
            Server::start("over TLS", &["--tls"])?,
            Examples::start()?,
            [program, echo_frames],
        ))
    };
    let (peers, server, secure, examples, programs) = match ready() {
        Ok(all) => all,
        Err(why) => return report.fail("set up the live tests", &why),
    };
    let mut cells: Cells = BTreeMap::new();
    for (what, mut command) in scripts(&peers, &server, &secure, &programs) {
        match run_within(SCRIPT_PATIENCE, what, &mut command) {
            Ok(output) => take_cells(report, what, &output, &mut cells),
            Err(why) => report.fail(what, &why),
        }
    }
    examples.meet(report, &peers, &mut cells);
    for table in [
        MEDIA,
        PLOTS,
        CODECS,
        KEYS,
        REDUNDANCY,
        FREEZES,
        LAYERS,
        ROOM,
        SECURITY,
        CHANNELS,
        MANY,
        RATES,
        FILES,
        PATHS,
        EXAMPLES,
        EXAMPLE_ROOM,
    ] {
        table.finish(report, &cells);
    }
}

/// Every foreign peer with its script, in the order in which they run.
fn scripts(
    peers: &Peers,
    server: &Server,
    secure: &Server,
    [program, echo_frames]: &[String; 2],
) -> [(&'static str, Command); 24] {
    let id = server.id().to_string();
    let channels = |peer: &str| node(peers, "channels.mjs", &[peer, &server.url, &id]);
    [
        (
            "chromium on the page",
            node(peers, "page.mjs", &["chromium", &server.url]),
        ),
        (
            "firefox on the page",
            node(peers, "page.mjs", &["firefox", &server.url]),
        ),
        ("chromium's plots", node(peers, "plots.mjs", &["chromium", &server.url])),
        ("firefox's plots", node(peers, "plots.mjs", &["firefox", &server.url])),
        (
            "chromium's codecs",
            node(peers, "codecs.mjs", &["chromium", echo_frames]),
        ),
        ("firefox's codecs", node(peers, "codecs.mjs", &["firefox", echo_frames])),
        ("redundancy", node(peers, "redundancy.mjs", &["chromium", echo_frames])),
        ("freezes", node(peers, "freezes.mjs", &["chromium", &server.url])),
        (
            "chromium's security",
            node(peers, "security.mjs", &["chromium", &server.url]),
        ),
        (
            "firefox's security",
            node(peers, "security.mjs", &["firefox", &server.url]),
        ),
        (
            "firefox with DTLS 1.2",
            node(peers, "security.mjs", &["firefox-dtls12", &server.url]),
        ),
        ("chromium's channels", channels("chromium")),
        ("chromium's channels with I-DATA", channels("chromium-idata")),
        ("firefox's channels", channels("firefox")),
        (
            "chromium on other ways",
            node(peers, "paths.mjs", &["chromium", &server.url, &secure.url]),
        ),
        (
            "firefox on other ways",
            node(peers, "paths.mjs", &["firefox", &server.url, &secure.url]),
        ),
        ("libwebrtc (node)", node(peers, "wrtc_peer.mjs", &[&server.url])),
        ("aiortc", {
            let mut python = Command::new(&peers.python);
            python.arg(peers.node.join("aiortc_peer.py")).arg(&server.url);
            python
        }),
        ("WHIP and WHEP", node(peers, "whip_whep.mjs", &[&server.url])),
        ("a room", node(peers, "rooms.mjs", &[&server.url])),
        ("layers", node(peers, "layers.mjs", &[&server.url, program])),
        (
            "chromium and files",
            node(peers, "meet.mjs", &["chromium", &server.url, program]),
        ),
        (
            "firefox and files",
            node(peers, "meet.mjs", &["firefox", &server.url, program]),
        ),
        ("hostile signalling", node(peers, "hostile.mjs", &[&server.url])),
    ]
}

pub(crate) fn node(peers: &Peers, script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(peers.node.join(script)).args(args).current_dir(&peers.node);
    command
}

pub(crate) fn take_cells(report: &mut Report, what: &str, output: &Output, cells: &mut Cells) {
    let mut seen = 0;
    for line in output.text.lines() {
        let Ok(cell) = serde_json::from_str::<Cell>(line) else {
            continue;
        };
        seen += 1;
        let name = format!("{} {}: {}", cell.peer, cell.role, cell.feature);
        if cell.ok {
            report.pass(&name, &cell.value, Duration::ZERO);
        } else {
            report.fail(&name, &cell.value);
        }
        cells.insert((cell.peer.clone(), cell.role.clone(), cell.feature.clone()), cell);
    }
    if !output.success || seen == 0 {
        report.fail(what, &tail(&output.text, 40));
    } else {
        report.pass(what, &format!("{seen} measurements"), output.took);
    }
}

impl Table {
    /// Prints the table; cells that nobody filled fail.
    pub(crate) fn finish(&self, report: &mut Report, cells: &Cells) {
        println!("\n{}\n\n| peer | role | {} |", self.title, self.columns.join(" | "));
        println!("|---|---|{}", "---|".repeat(self.columns.len()));
        for (peer, role) in self.rows {
            let row = self.columns.iter().map(|feature| {
                let cell = cells.get(&((*peer).to_owned(), (*role).to_owned(), (*feature).to_owned()));
                if cell.is_none() {
                    report.missing(&format!("{peer} {role}: {feature}"));
                }
                cell.map_or("", |cell| cell.value.as_str())
            });
            println!("| {peer} | {role} | {} |", row.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
}

/// Takes the README's pictures: of a session, and of a room.
pub(crate) fn picture() -> Result<(), String> {
    let peers = peers()?;
    let server = Server::start("", &[])?;
    for (script, file) in [("picture.mjs", "docs/page.png"), ("room_picture.mjs", "docs/room.png")] {
        let file = root().join(file).display().to_string();
        let output = run_command(script, &mut node(&peers, script, &[&server.url, &file]))?;
        if !output.success {
            return Err(tail(&output.text, 30));
        }
    }
    Ok(())
}
