//! Real browsers and foreign stacks against `antiphon serve`.

mod examples;
mod server;
mod tables;

use std::collections::BTreeMap;
use std::process::Command;

use crate::asked::Asked;
use crate::report::Report;
use crate::setup::{Peers, peers};
use crate::shell::{example, root, run as run_command, tail};

pub(crate) use server::{SCRIPT_PATIENCE, START_PATIENCE, Server, antiphon, node, program, program_with_h264};
pub(crate) use tables::{Cells, Table, take_cells};

/// Runs the foreign peers that are asked for, and prints the tables.
pub(crate) fn run(report: &mut Report, asked: &Asked) {
    println!("live peers");
    let ready = || -> Result<_, String> {
        let program = program()?.display().to_string();
        let echo_frames = example("echo_frames")?.display().to_string();
        Ok((
            peers()?,
            Server::start("", &["--max-message", "16777216"])?,
            Server::start("over TLS", &["--tls"])?,
            [program, echo_frames],
        ))
    };
    let (peers, server, secure, programs) = match ready() {
        Ok(all) => all,
        Err(why) => return report.fail("set up the live tests", &why),
    };
    let mut cells: Cells = BTreeMap::new();
    for (what, mut command) in scripts(&peers, &server, &secure, &programs) {
        if asked.wants(what) {
            server::play(report, what, &mut command, &mut cells);
        }
    }
    examples::meet(report, asked, &peers, &mut cells);
    for table in tables::ALL {
        table.finish(report, &cells, asked.wants_all());
    }
}

/// Every foreign peer with its script, in the order in which they run.
fn scripts(
    peers: &Peers,
    server: &Server,
    secure: &Server,
    [program, echo_frames]: &[String; 2],
) -> [(&'static str, Command); 26] {
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
            "chromium asks our sender",
            node(peers, "parameters.mjs", &["chromium", &server.url]),
        ),
        (
            "firefox asks our sender",
            node(peers, "parameters.mjs", &["firefox", &server.url]),
        ),
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
