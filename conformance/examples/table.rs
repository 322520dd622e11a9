//! Prints one table over plaintext captures of RTP: `cargo run -p antiphon-conformance --example table -- --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use antiphon_conformance::{capture, table};

const HELP: &str = "\
Prints one table over plaintext captures of RTP and RTCP.

    cargo run -p antiphon-conformance --example table -- [--ffmpeg] [FOLDER or FILE ...]

A FOLDER is searched for plain-*-rtp.pcapng, which Chromium's log becomes, and for captures in folders whose name has
\"unencrypted-rtp\". A FILE is any pcap or pcapng with plain RTP in UDP, or in TCP between lengths (RFC 4571): of Ethernet, raw IP, a loopback, or
Linux's \"any\"; its last packet may be cut short. Without either it is the captures of this repository.

Descriptions (*.sdp) in the folder of a capture say what the identifiers and payload types mean; without them every
extension is unknown, and of payload types only the static ones of RFC 3551 are known. Where a stats.json is beside it, what the browser itself counted is printed next to what was found.

Columns: RTP packets read; elements of header extensions typed and unknown; RTCP packets typed and unknown; packets
written back byte for byte (RTP packets and RTCP datagrams). Below each capture its streams: packets, retransmissions
and padding among them, whole frames, key frames, broken frames; of repairs (FlexFEC) packets alone. Below the table is what did not hold, with the number
of the datagram in its file, and what was left out: datagrams that begin like RTP and are none, or are encrypted. The
exit status is 1 if anything did not hold, or was encrypted.

    --ffmpeg    writes the frames of each stream of VP8, VP9, AV1, H.264, H.265 and Opus to a file, lets ffprobe decode it, and says
                how many frames went in and came out, and what it complained of. Behind a lost packet nothing is decoded
                before the next key frame.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let asks_ffmpeg = arguments.iter().any(|argument| argument == "--ffmpeg");
    let files = arguments.iter().filter(|argument| *argument != "--ffmpeg");
    let mut paths: Vec<PathBuf> = files.map(PathBuf::from).collect();
    if paths.is_empty() {
        paths.push(capture::fixtures().join("packets"));
    }
    let files = table::captures(&paths);
    if files.is_empty() {
        eprintln!("no plaintext capture there; --help says what is looked for");
        return ExitCode::FAILURE;
    }
    let mut rows = Vec::new();
    let mut holds = true;
    for file in files {
        match table::row(&file) {
            Ok(row) => rows.push(row),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                holds = false;
            }
        }
    }
    print!("{}", table::render(&rows));
    if asks_ffmpeg {
        holds &= decode(&rows);
    }
    if holds && rows.iter().all(table::Row::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Lets ffprobe decode every stream, and prints what it says. Whether all of it holds.
fn decode(rows: &[table::Row]) -> bool {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("a folder for the frames: {error}");
            return false;
        }
    };
    let mut holds = true;
    println!("\ndecoded by FFmpeg");
    for row in rows {
        for stream in &row.streams {
            let head = format!("{}: {:08x} {}", row.name, stream.ssrc, stream.encoding);
            match table::decode(stream, folder.path()) {
                Ok(None) => {}
                Ok(Some(decoded)) => {
                    println!("{head}: {} of {} frames", decoded.decoded, decoded.given);
                    for complaint in &decoded.complaints {
                        println!("    {complaint}");
                    }
                    holds &= decoded.holds();
                }
                Err(error) => {
                    println!("{head}: {error}");
                    holds = false;
                }
            }
        }
    }
    holds
}
