//! The examples that meet a browser, as a newcomer starts them.

use std::path::Path;
use std::process::Command;

use super::server::{Server, node, play};
use super::tables::{Cells, FIVE, WITH_PLAN_B};
use crate::asked::Asked;
use crate::films::films;
use crate::report::Report;
use crate::setup::Peers;
use crate::shell::{example, root, work_dir};

/// An example with a file, which may be none.
fn start(name: &str, what: &str, file: &Path) -> Result<Server, String> {
    let mut run = Command::new(example(name)?);
    run.arg(file).arg("127.0.0.1:0").current_dir(root());
    Server::of(what, &mut run)
}

/// `get_started` with a film in VP9.
fn start_film() -> Result<Server, String> {
    let films = films()?;
    let film = films.iter().find(|(codec, _)| *codec == "vp9");
    let (_, film) = film.ok_or("there is no film in VP9")?;
    start("get_started", "get_started with a file", film)
}

/// Each browser with each example that is asked for, and browsers with each other in a room.
pub(super) fn meet(report: &mut Report, asked: &Asked, peers: &Peers, cells: &mut Cells) {
    let mut visit = |what: &str, start: &dyn Fn() -> Result<Server, String>, script: &str, arguments: [&[&str]; 2]| {
        if !asked.wants(what) {
            return;
        }
        match start() {
            Ok(server) => {
                let [before, after] = arguments;
                let all = [before, &[&server.url], after].concat();
                play(report, what, &mut node(peers, script, &all), cells);
            }
            Err(why) => report.fail(what, &why),
        }
    };
    for browser in ["chromium", "firefox"] {
        let pattern = || start("get_started", "get_started", Path::new(""));
        let words = ["get_started", "640x360"];
        let what = format!("{browser} on get_started");
        visit(&what, &pattern, "get_started.mjs", [&[browser], &words]);
        let words = ["get_started FILE", "320x180"];
        let what = format!("{browser} on get_started FILE");
        visit(&what, &start_film, "get_started.mjs", [&[browser], &words]);
        // ffprobe reads what a browser has sent, to its end.
        let file = work_dir().join("received.webm");
        let receiver = || start("receiver", "receiver", &file);
        let received = file.display().to_string();
        let what = format!("{browser} on receiver");
        visit(&what, &receiver, "receiver.mjs", [&[browser], &[&received]]);
    }
    let room = || Server::of("room", Command::new(example("room")?).arg("listen=127.0.0.1:0"));
    visit("a room of five browsers", &room, "example_room.mjs", [&[], &FIVE]);
    visit("a room with Plan B", &room, "example_room.mjs", [&[], &WITH_PLAN_B]);
}
