//! One table over plaintext captures: what of each file is read, typed and written back, how many frames its streams have, and
//! what did not hold.

mod decode;
mod described;
mod elements;
mod frames;
mod left_out;
mod said;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_rtp::extension::dependency;
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::rtcp;
use antiphon_sansio::Writer;

use self::described::Described;
use self::frames::Stream;
use self::said::Said;
use crate::capture::{self, CaptureError};

pub use decode::{DecodeError, Decoded, decode};
pub use frames::{Frames, Whole};
pub use left_out::LeftOut;
pub use said::Counts;

/// Most faults that are kept of one file; the others are counted.
const MAX_FAULTS: usize = 20;

/// What was found in one capture.
#[derive(Debug, Default)]
pub struct Row {
    /// The folder and the file.
    pub name: String,
    /// RTP packets that were read.
    pub rtp: usize,
    /// Elements of header extensions that have a type and are of its form.
    pub extensions: usize,
    /// Elements that nobody knows, by URI, or by number where no description names it.
    pub unknown_extensions: BTreeMap<String, usize>,
    /// RTCP packets that have a type, by its name.
    pub rtcp: BTreeMap<&'static str, usize>,
    /// RTCP packets that nobody knows, by packet type and format.
    pub unknown_rtcp: BTreeMap<(u8, u8), usize>,
    /// Packets that were written back byte for byte, each RTP packet and each compound counted once.
    pub written_back: usize,
    /// Datagrams that look like RTP and were not read, and why.
    pub left_out: BTreeMap<LeftOut, usize>,
    /// The streams, retransmissions put in their places.
    pub streams: Vec<Frames>,
    /// What did not hold, with the number of its packet in the file, the first from 1 on.
    pub faults: Vec<(usize, String)>,
    /// How many more there were.
    pub more_faults: usize,
}

impl Row {
    fn fault(&mut self, number: usize, what: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((number, what));
        } else {
            self.more_faults += 1;
        }
    }

    /// Whether all of it is known, written back, and as the browsers say. Other protocols beside RTP are no fault.
    pub fn holds(&self) -> bool {
        let malformed: usize = self.streams.iter().map(|stream| stream.malformed).sum();
        !self.left_out.contains_key(&LeftOut::Encrypted)
            && self.faults.is_empty()
            && self.unknown_extensions.is_empty()
            && self.unknown_rtcp.is_empty()
            && malformed == 0
    }
}

/// The plaintext captures under these files and folders, in order: `plain-*-rtp.pcapng`, and other captures whose name is
/// given or whose folder says `unencrypted-rtp`.
pub fn captures(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_file() {
            found.push(path.clone());
            continue;
        }
        let mut below: Vec<PathBuf> = fs::read_dir(path)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        below.sort();
        let (folders, files): (Vec<_>, Vec<_>) = below.into_iter().partition(|path| path.is_dir());
        let plain = path.to_string_lossy().contains("unencrypted-rtp");
        found.extend(files.into_iter().filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let capture = name.ends_with(".pcap") || name.ends_with(".pcapng");
            capture && (plain || name.starts_with("plain-") && name.ends_with("-rtp.pcapng"))
        }));
        found.extend(captures(&folders));
    }
    found
}

/// Reads one capture, with the descriptions and the statistics beside it if they are there.
///
/// # Errors
/// If the capture cannot be read.
pub fn row(file: &Path) -> Result<Row, CaptureError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut row = Row {
        name: format!("{}/{}", name(folder), name(file)),
        ..Row::default()
    };
    let described = Described::beside(file);
    let said = Said::beside(file);
    // A source keeps its SSRC when its address changes.
    let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
    let mut dependencies: BTreeMap<u32, dependency::Stream> = BTreeMap::new();
    let datagrams = capture::read(file)?;
    let left_out = left_out::left_out(&datagrams);
    for (number, datagram) in (1..).zip(&datagrams) {
        let bytes = &datagram.payload[..];
        // The rest are STUN, DTLS and others.
        if !left_out::looks_like_rtp(bytes) {
            continue;
        }
        if let Some(why) = left_out.get(&(datagram.source, datagram.destination)) {
            *row.left_out.entry(*why).or_default() += 1;
            continue;
        }
        if is_rtcp(bytes) {
            compound(&mut row, number, bytes);
            continue;
        }
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                row.fault(number, format!("RTP: {error}"));
                continue;
            }
        };
        row.rtp += 1;
        let mut same = head(&packet, bytes);
        for (id, data) in packet.elements() {
            let Some(kind) = described.map.kind(id) else {
                let name = described.uris.get(&id).cloned();
                let name = name.unwrap_or_else(|| format!("id {id}, which no description names"));
                *row.unknown_extensions.entry(name).or_default() += 1;
                continue;
            };
            let stream = dependencies.entry(packet.header.ssrc).or_default();
            let repeats = described.repeats.contains_key(&packet.header.payload_type);
            match elements::again(kind, data, stream, repeats) {
                Ok(again) => {
                    row.extensions += 1;
                    same &= again == data;
                    if again != data {
                        row.fault(
                            number,
                            format!("{kind:?} is written as {again:02x?} and came as {data:02x?}"),
                        );
                    }
                }
                Err(what) => row.fault(number, format!("{kind:?}: {what}: {data:02x?}")),
            }
        }
        row.written_back += usize::from(same);
        // A retransmission is its original again.
        let (ssrc, original) = described.original(&packet, &said);
        let stream = streams.entry(ssrc).or_insert_with(|| Stream::new(ssrc));
        if let Err(what) = stream.insert(&packet, original, &described) {
            row.fault(number, what);
        }
    }
    let streams = streams.into_values().filter(|stream| !stream.is_empty());
    row.streams = streams.map(|stream| stream.frames(&said)).collect();
    Ok(row)
}

/// Whether the header and the CSRCs of a packet are written as they came.
fn head(packet: &Packet<'_>, bytes: &[u8]) -> bool {
    let csrcs: Vec<u32> = packet.csrcs().collect();
    let mut buffer = [0; 12 + 15 * 4];
    let mut out = Writer::new(&mut buffer);
    let written = packet
        .header
        .write(&csrcs, &Default::default(), &Default::default(), &mut out);
    let head = out.finish();
    // Padding and extension have bits of the first byte, and are looked at for themselves.
    head[0] |= bytes[0] & 0x30;
    written.is_ok() && bytes.starts_with(head)
}

/// One RTCP datagram: each packet of it read, and all written back.
fn compound(row: &mut Row, number: usize, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len() + 300];
    let mut out = Writer::new(&mut buffer);
    let mut packets = rtcp::packets(bytes);
    while let Some(packet) = packets.next() {
        let packet = match packet {
            Ok(packet) => packet,
            Err(error) => {
                row.fault(number, format!("RTCP: {error}: {bytes:02x?}"));
                return;
            }
        };
        match name(&packet) {
            Ok(name) => *row.rtcp.entry(name).or_default() += 1,
            Err(unknown) => *row.unknown_rtcp.entry(unknown).or_default() += 1,
        }
        if packet.write(packets.padding(), &mut out).is_err() {
            row.fault(number, format!("RTCP is written longer than it came: {bytes:02x?}"));
            return;
        }
    }
    if out.finish() == bytes {
        row.written_back += 1;
    } else {
        row.fault(number, format!("RTCP is not written as it came: {bytes:02x?}"));
    }
}

/// The name of a packet, or its packet type and format.
fn name(packet: &rtcp::Packet<'_>) -> Result<&'static str, (u8, u8)> {
    Ok(match packet {
        rtcp::Packet::SenderReport(_) => "SR",
        rtcp::Packet::ReceiverReport(_) => "RR",
        rtcp::Packet::Sdes(_) => "SDES",
        rtcp::Packet::Bye(_) => "BYE",
        rtcp::Packet::App(_) => "APP",
        rtcp::Packet::ExtendedReport(report) => {
            let unknown = report.blocks().find_map(|block| match block {
                rtcp::XrBlock::Unknown { block_type, .. } => Some(block_type),
                _ => None,
            });
            match unknown {
                Some(block_type) => return Err((rtcp::XR, block_type)),
                None => "XR",
            }
        }
        rtcp::Packet::Nack(_) => "NACK",
        rtcp::Packet::TransportFeedback(_) => "TWCC",
        rtcp::Packet::Ccfb(_) => "CCFB",
        rtcp::Packet::Pli(_) => "PLI",
        rtcp::Packet::Fir(_) => "FIR",
        rtcp::Packet::Remb(_) => "REMB",
        rtcp::Packet::Tmmbr(_) => "TMMBR",
        rtcp::Packet::Tmmbn(_) => "TMMBN",
        rtcp::Packet::SenderReportRequest(_) => "SR-REQ",
        rtcp::Packet::SliceLoss(_) => "SLI",
        rtcp::Packet::ReferencePicture(_) => "RPSI",
        rtcp::Packet::ApplicationFeedback(_) => "AFB",
        rtcp::Packet::Unknown(raw) => return Err((raw.packet_type, raw.count)),
        _ => return Err((0, 0)),
    })
}

/// The rows as a table, streams under their files, and below it what did not hold.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(20);
    let _ = writeln!(
        text,
        "{:width$} {:>6} {:>6} {:>8} {:>6} {:>8} {:>9}",
        "capture", "RTP", "typed", "unknown", "RTCP", "unknown", "the same"
    );
    for row in rows {
        let unknown: usize = row.unknown_extensions.values().sum();
        let typed: usize = row.rtcp.values().sum();
        let _ = writeln!(
            text,
            "{:width$} {:>6} {:>6} {:>8} {:>6} {:>8} {:>9}",
            row.name,
            row.rtp,
            row.extensions,
            unknown,
            typed,
            row.unknown_rtcp.values().sum::<usize>(),
            row.written_back,
        );
        for stream in &row.streams {
            let _ = writeln!(text, "  {stream}");
        }
    }
    for row in rows {
        for (uri, count) in &row.unknown_extensions {
            let _ = writeln!(text, "{}: {count} elements unknown: {uri}", row.name);
        }
        for ((packet_type, format), count) in &row.unknown_rtcp {
            let _ = writeln!(
                text,
                "{}: {count} RTCP packets unknown: {packet_type}, {format}",
                row.name
            );
        }
        for (why, count) in &row.left_out {
            let why = match why {
                LeftOut::NoRtp => "they are no RTP, though they begin like it",
                LeftOut::Encrypted => "they are encrypted (SRTP)",
            };
            let _ = writeln!(text, "{}: {count} datagrams left out: {why}", row.name);
        }
        for (number, what) in &row.faults {
            let _ = writeln!(text, "{}: packet {number}: {what}", row.name);
        }
        if row.more_faults > 0 {
            let _ = writeln!(text, "{}: {} faults more", row.name, row.more_faults);
        }
    }
    text
}
