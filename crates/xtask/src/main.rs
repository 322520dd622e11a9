//! The chores of this repository. `cargo xtask test` runs every test there is.
#![forbid(unsafe_code)]

mod asked;
mod checks;
mod cluster;
mod crowd;
mod curves;
mod files;
mod films;
mod fuzz;
mod house;
mod janus;
mod live;
mod miri;
#[cfg(target_os = "linux")]
mod netns;
mod packages;
mod party;
mod peers;
mod relay;
mod report;
mod rfc;
mod scoreboard;
mod setup;
mod shell;
mod siege;
mod streams;
mod turn;
mod usrsctp;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use asked::Asked;
use report::Report;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every test there is, and installs what they need (browsers from apt, foreign peers from npm and pip).
    ///
    /// Fails where something cannot be installed or run; nothing is skipped silently. `--only` picks parts by name.
    Test {
        /// Run only these parts (repeatable).
        #[arg(long, value_enum)]
        only: Vec<Part>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Writes docs/rfc-coverage.md from the clauses that comments cite.
    Rfc {
        /// Fail if the file on disk differs, instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Looks over the house: circles of files, sizes and documentation of each crate, beside the table in docs/architecture.md.
    ///
    /// Prints the table, and writes it into the page.
    House(house::HouseArgs),
    /// Fuzzes one target, or all: with cargo-fuzz and the nightly compiler where they are, else on the stable one.
    Fuzz(fuzz::FuzzArgs),
    /// Draws docs/curves.svg from benches/figures/many.csv, which `cargo bench -p antiphon-benches --bench many` writes.
    Curves,
    /// Writes the scoreboard of congestion control anew, with all its seeds, and its plots: after a change that is meant to move it.
    Scoreboard,
    /// Takes the pictures of the page for the README, with headless browsers.
    Picture,
}

/// The parts of `cargo xtask test`, in the order in which they begin; [`Part::lane`] says which go beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// rustfmt, clippy without warnings, rustdoc without warnings, file lengths, the table of the house, forbidden packages.
    Lint,
    /// Every package: no unused dependency, built with the lowest versions that its manifest states, complete when it is packed.
    Packages,
    /// `cargo test --workspace`: hermetic, no network and no browser.
    Hermetic,
    /// The scoreboard of congestion control with all its seeds: nothing that held falls.
    Scoreboard,
    /// Each crate compiled with only that crate selected, tests and examples included: its features and dependencies suffice.
    Alone,
    /// The codecs' tests under Miri; installs the component where the toolchain allows, else says so.
    Miri,
    /// A short run of every fuzz target over changed corpus files and noise, on the stable compiler.
    Fuzz,
    /// The examples that end by themselves.
    Examples,
    /// 10 000 connect and close cycles of two in-process peers; resident memory must stay flat.
    Cycles,
    /// Files: FFmpeg's are read and ours are read by FFmpeg (from apt), in every format; each is played to our server and recorded from
    /// it, frame by frame the same; frames of captures are decoded by FFmpeg.
    Files,
    /// Files go by WHIP to a Janus (from apt) and come back from it by WHEP, in every codec of pictures. In a network namespace.
    Janus,
    /// Handshakes with the system's OpenSSL in both roles: every suite, every kind of certificate.
    Openssl,
    /// Associations with usrsctp (Debian's library, a small program of ours around it) over UDP.
    Usrsctp,
    /// coturn's own tools (from apt) against `antiphon turn`: UDP, TCP, TLS, channels, indications, behaviour discovery.
    Turn,
    /// Two peers behind two real NATs in network namespaces, through our own server; their addresses change in mid-call.
    /// And files over a link that loses, reorders and is cut: 1 GiB, or as many MiB as ANTIPHON_TRANSFER_MIB says.
    Netns,
    /// Strangers besiege `antiphon serve` with connections, handshakes and WebSockets that come to nothing, while a guest wants the page.
    Siege,
    /// Many peers on one port: idle ones, ones that all come at once, and bad ones among good. A tenth of each load, or `--whole`.
    Crowd,
    /// Three nodes of `antiphon serve` with rooms in common, and NATS (from apt) between them: a node is killed, NATS is away for a while.
    Cluster,
    /// Through TURN servers: our side through coturn, and browsers through ours.
    Relay,
    /// werift, libdatachannel, Pion and GStreamer in all that they can do; OBS-like, ffmpeg, GStreamer and browser publishers (WHIP),
    /// each watched by Chromium, Firefox and werift (WHEP). In a network namespace.
    Peers,
    /// Chromium and Firefox behind a link of 1 and 3 Mbit/s that changes: how our sender fills it, and how Chromium's does by our feedback.
    /// In network namespaces; both codecs of the pattern.
    Shaped,
    /// A room of `antiphon serve` with 20 participants for 20 seconds, or with `--whole` 50 for a minute: two Chromium, two Firefox and guests
    /// of ours. Everybody gets everybody; the server's figures are what the clients count.
    Party,
    /// Chromium, Firefox, aiortc and libwebrtc in Node against `antiphon serve`, as offerer and as answerer.
    Live,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The parts that go one after the other with it, beside those after them that mostly wait; empty: it goes by itself.
    fn lane(self) -> &'static [Self] {
        /// An interpreter computes for minutes, and has a folder of its own.
        const INTERPRETED: &[Part] = &[Part::Miri];
        const COMPUTED: &[Part] = &[Part::Fuzz, Part::Examples, Part::Cycles, Part::Files, Part::Crowd];
        [INTERPRETED, COMPUTED]
            .into_iter()
            .find(|lane| lane.contains(&self))
            .unwrap_or_default()
    }

    /// Whether it must have the machine for itself: browsers decode there, and rates are looked at.
    fn wants_quiet(self) -> bool {
        matches!(self, Self::Shaped | Self::Party | Self::Live)
    }

    fn run(self, report: &mut Report, asked: &Asked) {
        match self {
            Self::Lint => checks::lint(report),
            Self::Packages => packages::check(report),
            Self::Hermetic => checks::hermetic(report),
            Self::Scoreboard => scoreboard::part(report),
            Self::Alone => checks::alone(report),
            Self::Miri => miri::run_all(report),
            Self::Fuzz => fuzz::part(report),
            Self::Examples => checks::examples(report),
            Self::Cycles => checks::cycles(report),
            Self::Files => files::run_all(report),
            Self::Janus => janus::part(report),
            Self::Openssl => checks::openssl(report),
            Self::Usrsctp => usrsctp::run_all(report),
            Self::Turn => turn::run(report),
            #[cfg(target_os = "linux")]
            Self::Netns => netns::part(report),
            #[cfg(target_os = "linux")]
            Self::Shaped => netns::shaped::part(report),
            #[cfg(not(target_os = "linux"))]
            Self::Netns | Self::Shaped => report.fail("network namespaces", "Linux alone has them"),
            Self::Party => party::part(report, asked),
            Self::Live => live::run(report, asked),
            Self::Siege => siege::run(report),
            Self::Crowd => crowd::run_all(report, asked),
            Self::Cluster => cluster::part(report),
            Self::Relay => relay::run_all(report),
            Self::Peers => peers::part(report),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Test { only, asked } => test(&only, &asked),
        Chore::Rfc { check } => rfc::run(check),
        Chore::House(args) => house::run(&args),
        Chore::Fuzz(args) => fuzz::run_targets(&args),
        Chore::Curves => curves::run(),
        Chore::Scoreboard => scoreboard::write(),
        Chore::Picture => live::picture(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test(only: &[Part], asked: &Asked) -> Result<(), String> {
    let parts = if only.is_empty() { Part::value_variants() } else { only };
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let run = |parts: Vec<Part>| {
            let mut report = Report::kept_back();
            for part in parts {
                report.part(&part.name());
                part.run(&mut report, asked);
            }
            report.end_part();
            report
        };
        let mut beside = Vec::new();
        for part in parts {
            let lane = part.lane();
            if lane.contains(part) && parts.len() > 1 {
                // The first of a lane takes the others along.
                let own: Vec<Part> = parts.iter().copied().filter(|other| lane.contains(other)).collect();
                if own.first() == Some(part) {
                    beside.push(scope.spawn(move || run(own)));
                }
                continue;
            }
            if part.wants_quiet() {
                report.take(&mut beside);
            }
            report.part(&part.name());
            part.run(&mut report, asked);
        }
        report.take(&mut beside);
    });
    report.close()
}
