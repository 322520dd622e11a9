//! A viewer while strangers send to the server's media port whatever they like: frames are counted at the viewer.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::memory::{calm, memory};
use crate::live::{START_PATIENCE, antiphon};
use crate::report::Report;
use crate::shell::{Service, example, run_within, tail};

/// What strangers send in a second, all together.
const RATE: u64 = 90_000;
/// Frames a second that the viewer must still get.
const LEAST_FRAMES: u32 = 25;
/// The viewer looks for so long; the flood comes in between, and stops by itself.
const SECONDS: u32 = 22;
const FLOOD_FROM: u32 = 8;
const FLOOD_SECONDS: u32 = 10;

/// Floods the port with everything that a stranger can make.
pub(super) fn run(report: &mut Report) {
    println!("{RATE} datagrams of strangers a second, and a viewer");
    for (what, datagram) in [
        ("noise", vec![0xff; 120]),
        ("SRTP", rtp()),
        ("DTLS", dtls()),
        ("STUN requests", stun()),
    ] {
        let began = Instant::now();
        match watch(&datagram) {
            Ok(seen) => {
                let Seen {
                    frames,
                    sent,
                    memory,
                    calm,
                } = seen;
                let detail = format!(
                    "{frames} frames a second, {sent} datagrams of strangers a second, memory {} and {} KiB",
                    memory.0, memory.1
                );
                if frames >= LEAST_FRAMES && calm {
                    report.pass(&format!("a viewer under {what}"), &detail, began.elapsed());
                } else {
                    report.fail(&format!("a viewer under {what}"), &detail);
                }
            }
            Err(why) => report.fail(&format!("a viewer under {what}"), &why),
        }
    }
}

/// What came of a flood.
struct Seen {
    /// The mean of frames a second while it lasted.
    frames: u32,
    /// Datagrams of strangers a second.
    sent: u64,
    /// KiB of resident memory before it and after it, and whether the latter is no more than a fifth above the former.
    memory: (u64, u64),
    calm: bool,
}

/// A viewer before, during and after a flood of this datagram.
fn watch(datagram: &[u8]) -> Result<Seen, String> {
    let mut command = antiphon()?;
    let viewer = example("viewer")?;
    let (lines, said) = mpsc::channel();
    command.args(["serve", "--listen", "127.0.0.1:0", "--interface", "lo"]);
    let service = Service::start("serve for strangers", &mut command, move |line| {
        _ = lines.send(line.to_owned());
    })?;
    let word_after = |before: &str| loop {
        let line = said
            .recv_timeout(START_PATIENCE)
            .map_err(|_| "the server says nothing")?;
        if let Some((_, rest)) = line.split_once(before) {
            return Ok::<_, String>(rest.split_whitespace().next().unwrap_or_default().to_owned());
        }
    };
    let url = word_after("serves at ")?;
    let target: SocketAddr = word_after("UDP ")?.parse().map_err(|e| format!("{e}"))?;
    let (datagram, process) = (datagram.to_vec(), service.id());
    let strangers = thread::spawn(move || {
        thread::sleep(Duration::from_secs(u64::from(FLOOD_FROM)));
        let before = memory(process)?;
        let sent = send(target, datagram).map_err(|e| e.to_string())?;
        let (after, calm) = calm(process, before)?;
        Ok::<_, String>((sent, (before, after), calm))
    });
    let mut command = Command::new(viewer);
    command.args([format!("{url}/whep"), SECONDS.to_string()]);
    let output = run_within(Duration::from_secs(120), "viewer", &mut command)?;
    let (sent, memory, calm) = strangers.join().map_err(|_| "the strangers panicked")??;
    if !output.success {
        return Err(tail(&output.text, 10));
    }
    // "second 9: 30 frames, 1200 kbit"
    let frames: Vec<u32> = output
        .text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("second ")?
                .split_once(": ")?
                .1
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    // The first second of the flood is that in which it begins.
    let during = frames
        .get(FLOOD_FROM as usize + 1..(FLOOD_FROM + FLOOD_SECONDS) as usize)
        .ok_or_else(|| tail(&output.text, 10))?;
    let frames = during.iter().sum::<u32>() / during.len() as u32;
    Ok(Seen {
        frames,
        sent,
        memory,
        calm,
    })
}

/// Sends from a few sockets, evenly; how many datagrams a second it came to.
fn send(target: SocketAddr, mut datagram: Vec<u8>) -> std::io::Result<u64> {
    let sockets: Vec<UdpSocket> = (0..4)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(target)?;
            Ok(socket)
        })
        .collect::<std::io::Result<_>>()?;
    let (began, length) = (Instant::now(), Duration::from_secs(u64::from(FLOOD_SECONDS)));
    let mut sent = 0u64;
    while began.elapsed() < length {
        let due = began.elapsed().as_micros() as u64 * RATE / 1_000_000;
        while sent < due {
            // No two are alike: transaction ids and sequence numbers lie here.
            datagram[12..16].copy_from_slice(&(sent as u32).to_be_bytes());
            // What the kernel refuses counts as sent and lost.
            _ = sockets[sent as usize % sockets.len()].send(&datagram);
            sent += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(sent / length.as_secs())
}

/// RFC 3550 §5.1: a header, and noise.
fn rtp() -> Vec<u8> {
    let mut datagram = vec![7; 200];
    datagram[..2].copy_from_slice(&[0x80, 96]);
    datagram
}

/// RFC 6347 §4.1: the header of a handshake record, and noise.
fn dtls() -> Vec<u8> {
    let mut datagram = vec![0; 200];
    datagram[..3].copy_from_slice(&[22, 254, 253]);
    datagram[11..13].copy_from_slice(&[0, 187]);
    datagram
}

/// RFC 8489 §5: a Binding request with a USERNAME that nobody has and a MESSAGE-INTEGRITY that nobody made.
fn stun() -> Vec<u8> {
    let mut datagram = vec![0, 1, 0, 44, 0x21, 0x12, 0xa4, 0x42];
    datagram.extend([7; 12]);
    datagram.extend([0, 6, 0, 13]);
    datagram.extend(b"nobody:nobody\0\0\0");
    datagram.extend([0, 8, 0, 20]);
    datagram.extend([9; 20]);
    datagram
}
