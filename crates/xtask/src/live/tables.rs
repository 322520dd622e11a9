//! What the live tests must show: tables of cells that the scripts fill.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::report::Report;
use crate::shell::{Output, tail};

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

/// All, in the order in which they are printed.
pub(super) const ALL: [Table; 17] = [
    MEDIA,
    PLOTS,
    PARAMETERS,
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
];

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

/// How soon what the page asks of our sender is seen by the browser.
const PARAMETERS: Table = Table {
    title: "parameters of a sender and its track, changed while it sends",
    rows: &[("chromium", "offers"), ("firefox", "offers")],
    columns: &["active", "track", "maxBitrate"],
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
pub(super) const FIVE: [&str; 5] = ["chromium", "chromium", "chromium", "firefox", "firefox"];
/// The same with libwebrtc (in Node), which speaks Plan B.
pub(super) const WITH_PLAN_B: [&str; 3] = ["chromium", "firefox", "plan-b"];

const EXAMPLE_ROOM: Table = Table {
    title: "a room by the example room: one leaves, one joins, some answer wrongly",
    rows: &[
        ("chromium + chromium + chromium + firefox + firefox", "answers"),
        ("chromium + firefox + plan-b", "answers"),
    ],
    columns: &["everybody", "one leaves", "one joins", "offered again", "wrong answers"],
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
        "layer chosen",
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
    /// Prints the table; cells that nobody filled fail if it must be `whole`, and else a table without any is not printed.
    pub(crate) fn finish(&self, report: &mut Report, cells: &Cells, whole: bool) {
        let own = |(peer, role, feature): &(String, String, String)| {
            self.rows.contains(&(peer, role)) && self.columns.contains(&feature.as_str())
        };
        if !whole && !cells.keys().any(own) {
            return;
        }
        println!("\n{}\n\n| peer | role | {} |", self.title, self.columns.join(" | "));
        println!("|---|---|{}", "---|".repeat(self.columns.len()));
        for (peer, role) in self.rows {
            let row = self.columns.iter().map(|feature| {
                let cell = cells.get(&((*peer).to_owned(), (*role).to_owned(), (*feature).to_owned()));
                if whole && cell.is_none() {
                    report.missing(&format!("{peer} {role}: {feature}"));
                }
                cell.map_or("", |cell| cell.value.as_str())
            });
            println!("| {peer} | {role} | {} |", row.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
}
