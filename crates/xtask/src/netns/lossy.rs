//! `antiphon send` to `antiphon recv` over a bad link between two network namespaces: 20 % of the datagrams lost, 20 % late and out
//! of order. Half-way nothing comes through any more, until both ends have given the connection up; then the transfer goes on.
//!
//! ```text
//!  sender, and the server where the two meet ---- link.rs ----- receiver
//!  10.9.0.1                                                     10.9.0.2
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_netsim::LinkConfig;

use super::link::{Link, Shape};
use super::room::Room;
use super::voice::Voice;
use crate::live::Server;
use crate::shell::{log_file, run, work_dir};

/// How many MiB are sent, where the environment names no other number.
const MIB: u64 = 1024;
const MIB_VARIABLE: &str = "ANTIPHON_TRANSFER_MIB";
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// 20 % are lost, and another 20 % come behind others that were sent after them.
const LOSS: f64 = 0.2;
const LATE: f64 = 0.2;
const DELAY: Duration = Duration::from_millis(5);
/// Keeps a broken run finite: so long, and for each MiB beside; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(150);
const PATIENCE_PER_MIB: Duration = Duration::from_secs(1);

/// The file, and its hash as the system's own tool says it.
fn noise(folder: &Path, mib: u64) -> Result<(PathBuf, String), String> {
    let file = folder.join("noise.bin");
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/urandom", "bs=1M", "status=none"])
        .arg(format!("count={mib}"))
        .arg(format!("of={}", file.display()));
    if !run("dd", &mut dd)?.success {
        return Err("dd failed".to_owned());
    }
    let hash = hash_of(&file)?;
    Ok((file, hash))
}

fn hash_of(file: &Path) -> Result<String, String> {
    let sum = run("sha256sum", Command::new("sha256sum").arg(file))?;
    let hash = sum.text.split_whitespace().next().filter(|hash| hash.len() == 64);
    Ok(hash.ok_or_else(|| format!("no hash: {}", sum.text))?.to_owned())
}

/// Bytes of what has arrived so far.
fn arrived(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Runs it; what came of it in one line. `program` is the release build of `antiphon`.
pub(super) fn play(program: &Path) -> Result<String, String> {
    let mib = match std::env::var(MIB_VARIABLE) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{MIB_VARIABLE} is no number: {text}"))?,
        Err(_) => MIB,
    };
    let size = mib << 20;
    let patience = PATIENCE + PATIENCE_PER_MIB * u32::try_from(mib).unwrap_or(u32::MAX);
    // Twice the file: more than some machines have where temporary files go.
    let folder = work_dir().join(format!("lossy-{}", std::process::id()));
    fs::create_dir_all(folder.join("in")).map_err(|e| e.to_string())?;
    let outcome = transfer(program, &folder, size, patience);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

/// The link.
fn bad() -> Shape {
    let way = LinkConfig {
        delay: DELAY,
        loss: LOSS,
        reorder: LATE,
        reorder_delay: DELAY,
        ..LinkConfig::default()
    };
    Shape {
        forth: way.clone(),
        back: way,
    }
}

fn transfer(program: &Path, folder: &Path, size: u64, patience: Duration) -> Result<String, String> {
    let (file, hash) = noise(folder, size >> 20)?;
    let (here, there) = (Room::make("lossy-sender")?, Room::make("lossy-receiver")?);
    let link = Link::between((&here, SENDER), (&there, RECEIVER), bad())?;
    let mut serve = here.command(program);
    serve.args(["serve", "--listen", &format!("{SENDER}:0")]);
    let server = Server::of("lossy meeting place", &mut serve)?;
    let meet = ["--signal", server.url.as_str(), "--code", "over-a-bad-link"];
    let into = folder.join("in");
    let mut receiver = there.command(program);
    receiver.args(["recv", "--yes", "--into"]).arg(&into).args(meet);
    let mut sender = here.command(program);
    sender.arg("send").arg(&file).args(meet);
    let receiver = Voice::start("lossy receiver", &mut receiver)?;
    let sender = Voice::start("lossy sender", &mut sender)?;

    let began = Instant::now();
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            if began.elapsed() > patience {
                return Err(format!("{what}: not within {} s", patience.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    wait("the first byte", &|| arrived(&into) > 0)?;
    let first = Instant::now();
    wait("half of it", &|| arrived(&into) >= size / 2)?;
    link.cut(true);
    let (at, before) = (Instant::now(), first.elapsed());
    let kept = arrived(&into);
    let gave_up = |what: &str| {
        let log = log_file(what).map(fs::read_to_string);
        matches!(log, Ok(Ok(text)) if text.contains("trying again"))
    };
    wait("both give up", &|| gave_up("lossy sender") && gave_up("lossy receiver"))?;
    let silence = at.elapsed();
    link.cut(false);
    let mended = Instant::now();
    let sent = sender.line("the sender's hash", patience)?;
    let received = receiver.line("the receiver's hash", patience)?;
    let after = mended.elapsed();
    for (what, line) in [("sender", &sent), ("receiver", &received)] {
        if !line.starts_with(&hash) {
            return Err(format!("the {what} says {line:?}, the file's hash is {hash}"));
        }
    }
    if hash_of(&into.join("noise.bin"))? != hash {
        return Err("the file that arrived has another hash".to_owned());
    }
    let counts = link.counts();
    let [forth, back] = &counts.passed;
    let count = format!(
        "{} packets lost, {} late, {} too many",
        counts.lost, counts.late, counts.full
    );
    // What came through before the cut was not sent again: headers and acknowledgements alone are beyond the file.
    let through = forth.passed_bytes + back.passed_bytes;
    if through > size + size * 2 / 5 {
        return Err(format!(
            "{through} bytes came through for a file of {size}: it was sent anew; {count}"
        ));
    }
    let rate = |bytes: u64, time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    Ok(format!(
        "{} MiB, equal SHA-256 {}...; {:.1} MB/s up to the cut at {} %, given up by both after {:.0} s, {:.1} MB/s to meet again and finish; {count}",
        size >> 20,
        &hash[..12],
        rate(kept, before),
        kept * 100 / size,
        silence.as_secs_f64(),
        rate(size - kept, after),
    ))
}
