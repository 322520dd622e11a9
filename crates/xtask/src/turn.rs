//! coturn's own tools against `antiphon turn` on loopback: UDP, TCP and TLS, channels and indications, no loss.

use std::fs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::live::antiphon;
use crate::report::Report;
use crate::setup::apt;
use crate::shell::{Service, run_within, tail, work_dir};

/// How long one tool may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages of each client in each direction, and clients.
const MESSAGES: &str = "200";
const CLIENTS: &str = "4";

struct Addresses {
    udp: u16,
    tls: u16,
}

/// Everything that coturn's tools can ask of a server.
pub(crate) fn run(report: &mut Report) {
    println!("antiphon turn with coturn's tools");
    let started = match start() {
        Ok(started) => started,
        Err(why) => return report.fail("start antiphon turn", &why),
    };
    let (_service, addresses) = started;
    // All at once: each of them mostly waits, and together they are many users of one server.
    let mut ways = Vec::new();
    for (transport, flags) in [("UDP", &[][..]), ("TCP", &["-t"]), ("TLS", &["-t", "-S"])] {
        for (way, more) in [("channels", &[][..]), ("indications", &["-s"])] {
            let port = if transport == "TLS" {
                addresses.tls
            } else {
                addresses.udp
            };
            ways.push((format!("{transport}, {way}"), [flags, more].concat(), port));
        }
    }
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = ways
            .iter()
            .map(|(what, flags, port)| scope.spawn(move || uclient(what, flags, *port)))
            .collect();
        running
            .into_iter()
            .map(|run| run.join().expect("it does not panic"))
            .collect()
    });
    println!("\n| turnutils_uclient | result |\n|---|---|");
    for ((what, ..), (result, took)) in ways.iter().zip(results) {
        let part = format!("uclient over {what}");
        match result {
            Ok(sum) => {
                println!("| {what} | {sum} |");
                report.pass(&part, &sum, took);
            }
            Err(why) => report.fail(&part, &why),
        }
    }
    let port = addresses.udp.to_string();
    let mut stun = Command::new("turnutils_stunclient");
    stun.args(["-p", &port, "127.0.0.1"]);
    says(report, "stunclient", &mut stun, "reflexive addr: 127.0.0.1");
    for (what, flag, verdict) in [
        ("natdiscovery, mapping", "-m", "NAT with Endpoint Independent Mapping"),
        (
            "natdiscovery, filtering",
            "-f",
            "NAT with Endpoint Independent Filtering",
        ),
    ] {
        let mut discovery = Command::new("turnutils_natdiscovery");
        discovery.args([flag, "-p", &port, "127.0.0.1"]);
        says(report, what, &mut discovery, verdict);
    }
}

/// Clients that send to each other through relays of theirs.
fn uclient(what: &str, flags: &[&str], port: u16) -> (Result<String, String>, Duration) {
    let mut command = Command::new("turnutils_uclient");
    command.args([
        "-u", "alice", "-w", "secret", "-y", "-c", "-n", MESSAGES, "-m", CLIENTS, "-l", "300",
    ]);
    command.args(flags).args(["-p", &port.to_string(), "127.0.0.1"]);
    let started = Instant::now();
    let result = run_within(PATIENCE, what, &mut command).and_then(|output| no_loss(&output.text));
    (result, started.elapsed())
}

fn says(report: &mut Report, what: &str, command: &mut Command, verdict: &str) {
    match run_within(PATIENCE, what, command) {
        Ok(output) if output.text.contains(verdict) => report.pass(what, verdict, output.took),
        Ok(output) => report.fail(what, &tail(&output.text, 30)),
        Err(why) => report.fail(what, &why),
    }
}

/// Starts the server with a certificate made now, on free ports of two loopback addresses.
fn start() -> Result<(Service, Addresses), String> {
    apt(&[("turnutils_uclient", "coturn"), ("openssl", "openssl")])?;
    let folder = work_dir().join("turn");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
        "-keyout",
    ]);
    make.arg(&key).arg("-out").arg(&certificate);
    let made = run_within(PATIENCE, "certificate", &mut make)?;
    if !made.success {
        return Err(made.text);
    }
    let mut command = antiphon()?;
    command.args([
        "turn",
        "--listen",
        "127.0.0.1:0",
        "--tls-listen",
        "127.0.0.1:0",
        "--realm",
        "example.org",
    ]);
    command.args([
        "--alternate-listen",
        "127.0.0.2:3479",
        "--user",
        "alice:secret",
        "--allow-loopback-peers",
    ]);
    command.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key);
    let (lines, said) = mpsc::channel();
    let service = Service::start("antiphon turn", &mut command, move |line| {
        _ = lines.send(line.to_owned())
    })?;
    let mut addresses = Addresses { udp: 0, tls: 0 };
    loop {
        let line = said
            .recv_timeout(PATIENCE)
            .map_err(|_| "antiphon turn never said that it is ready".to_owned())?;
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        match (line.split(' ').next(), port) {
            (Some("udp"), Some(port)) if addresses.udp == 0 => addresses.udp = port,
            (Some("tls"), Some(port)) => addresses.tls = port,
            (Some("ready"), _) => return Ok((service, addresses)),
            _ => {}
        }
    }
}

/// What `turnutils_uclient` sums up, if nothing was lost.
fn no_loss(text: &str) -> Result<String, String> {
    let sums: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("Total lost packets"))
        .collect();
    let counts = text.lines().rev().find(|line| line.contains("tot_send_msgs"));
    match (sums.last(), counts) {
        (Some(lost), Some(counts)) if lost.contains("Total lost packets 0 ") => {
            let counts = counts.rsplit(": ").next().unwrap_or(counts);
            Ok(format!("{counts}; lost 0"))
        }
        _ => Err(tail(text, 30)),
    }
}
