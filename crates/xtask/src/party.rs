//! A full room of `antiphon serve`: guests of ours and real browsers, and the server's figures beside what all of them count.

use std::net::{Ipv4Addr, TcpListener};

use crate::asked::Asked;
use crate::live::{Cells, SCRIPT_PATIENCE, Server, Table, node, take_cells};
use crate::report::Report;
use crate::setup::peers;
use crate::shell::{example, run_within};

const PARTY: Table = Table {
    title: "a full room",
    rows: &[
        ("guests", "in a full room"),
        ("chromium", "in a full room"),
        ("firefox", "in a full room"),
    ],
    columns: &["everybody"],
};

const SERVER: Table = Table {
    title: "its server",
    rows: &[("serve", "in a full room")],
    columns: &["forwarded", "lost", "CPU and memory", "figures"],
};

/// A room with 20 participants for 20 seconds, or the whole: 50 for a minute.
pub(crate) fn part(report: &mut Report, asked: &Asked) {
    println!("a full room");
    let [participants, seconds] = if asked.whole { ["50", "60"] } else { ["20", "20"] };
    let ready = || {
        let foreign = peers()?;
        let guests = example("guests")?;
        // The system gives a port that is free, and seldom the same again soon.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let metrics = free.map_err(|error| format!("no free port: {error}"))?.to_string();
        let server = Server::start("for a party", &["--metrics", &metrics, "--max-sessions", "64"])?;
        Ok::<_, String>((foreign, guests, metrics, server))
    };
    let (foreign, guests, metrics, server) = match ready() {
        Ok(all) => all,
        Err(why) => return report.fail("set up the full room", &why),
    };
    let (metrics, guests) = (format!("http://{metrics}/metrics"), guests.display().to_string());
    let arguments = [&server.url, &metrics, &guests, participants, seconds];
    let mut cells = Cells::new();
    match run_within(
        SCRIPT_PATIENCE,
        "a full room",
        &mut node(&foreign, "party.mjs", &arguments),
    ) {
        Ok(output) => take_cells(report, "a full room", &output, &mut cells),
        Err(why) => report.fail("a full room", &why),
    }
    for table in [PARTY, SERVER] {
        table.finish(report, &cells, true);
    }
}
