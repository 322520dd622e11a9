//! Associations with usrsctp: our `crates/sctp/examples/usrsctp_peer.rs` and `conformance/live/usrsctp_peer.c` over UDP.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Report;
use crate::setup::{apt_files, c_program};
use crate::shell::{example, run, tail};

const TITLE: &str = "SCTP with usrsctp";

/// Builds both ends, lets them talk and prints the table.
pub(crate) fn run_all(report: &mut Report) {
    println!("{TITLE}");
    let output = compile().and_then(|peer| {
        let ours = example("usrsctp_peer")?;
        run(TITLE, Command::new(ours).arg(peer))
    });
    let output = match output {
        Ok(output) => output,
        Err(why) => return report.fail(TITLE, &why),
    };
    let table: Vec<&str> = output.text.lines().filter(|line| line.starts_with('|')).collect();
    println!("\n{}\n", table.join("\n"));
    match output.text.lines().find(|line| line.ends_with("cases passed")) {
        Some(sum) if output.success => report.pass(TITLE, sum, output.took),
        _ => report.fail(TITLE, &tail(&output.text, 40)),
    }
}

/// The foreign end, from Debian's library and our source.
fn compile() -> Result<PathBuf, String> {
    apt_files(&[(Path::new("/usr/include/usrsctp.h"), "libusrsctp-dev")])?;
    c_program("usrsctp_peer", &["-lusrsctp", "-lpthread"])
}
