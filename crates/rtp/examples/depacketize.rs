//! Lists the frames in an unencrypted capture of RTP: `cargo run -p antiphon-rtp --example depacketize -- FILE.pcapng`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::process::ExitCode;

use antiphon_rtp::packet::{Header, Packet, is_rtcp};
use antiphon_rtp::payload::{Depacketizer, Joiner, Start, red};
use etherparse::{SlicedPacket, TransportSlice};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

const HELP: &str = "\
Lists the frames in an unencrypted capture of RTP.

    cargo run -p antiphon-rtp --example depacketize -- FILE [--map TYPE=NAME]... [--fmtp TYPE=PARAMETERS]...

FILE is pcap or pcapng: UDP over Ethernet, raw IP, or Linux \"any\".

--map 96=VP8                       what a dynamic payload type stands for: the line a=rtpmap of the session description
--fmtp 96=sprop-parameter-sets=..  its a=fmtp: H.264, H.265 and H.266 take parameter sets from it

Known names: VP8 VP9 AV1 H264 H265 H266 opus PCMU PCMA G722 L16 CN, and red, of which the primary payload is looked at. The static types
of RFC 3551 (0 PCMU, 8 PCMA, 9 G722, 10 and 11 L16, 13 CN) need no --map, nor do those that Chromium prefers (96 VP8, 98 VP9, 45 AV1,
111 opus, 63 and 118 red). Others are counted at the end.

Each line: seconds since the first packet, SSRC, format, RTP timestamp, packets, bytes, \"key\" if the frame can be decoded alone,
its size in pixels, its layers (s: spatial, t: temporal), its picture id. Packets are taken in the order of the file: a frame with
one lost, or out of order, is told as broken. The last lines count the frames of each stream, and what was not looked at.";

/// Payload types that mean the same in most captures.
const DEFAULTS: [(u8, &str); 12] = [
    (0, "PCMU"),
    (8, "PCMA"),
    (9, "G722"),
    (10, "L16"),
    (11, "L16"),
    (13, "CN"),
    (45, "AV1"),
    (63, "red"),
    (96, "VP8"),
    (98, "VP9"),
    (111, "opus"),
    (118, "red"),
];

/// What the command line says.
struct Options {
    file: String,
    names: BTreeMap<u8, String>,
    parameters: BTreeMap<u8, String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, Box<dyn Error>> {
        let names = DEFAULTS.map(|(payload_type, name)| (payload_type, name.to_owned()));
        let mut options = Self {
            file: String::new(),
            names: BTreeMap::from(names),
            parameters: BTreeMap::new(),
        };
        while let Some(arg) = args.next() {
            let mut pair = |what: &str| -> Result<(u8, String), Box<dyn Error>> {
                let value = args.next().unwrap_or_default();
                let (payload_type, value) = value.split_once('=').ok_or(what)?;
                Ok((payload_type.parse()?, value.to_owned()))
            };
            match arg.as_str() {
                "-h" | "--help" => return Ok(None),
                "--map" => options
                    .names
                    .extend([pair("--map wants TYPE=NAME, for instance 96=VP8")?]),
                "--fmtp" => options.parameters.extend([pair("--fmtp wants TYPE=PARAMETERS")?]),
                file => file.clone_into(&mut options.file),
            }
        }
        Ok(Some(options).filter(|options| !options.file.is_empty()))
    }
}

/// The packets of a frame so far, of one source.
struct Source {
    joiner: Joiner,
    format: Depacketizer,
    name: String,
    payloads: Vec<Vec<u8>>,
    timestamp: u32,
    key: bool,
    broken: bool,
    /// The number that must come next.
    next: Option<u16>,
    /// What was listed: whole frames, key frames among them, and broken ones.
    frames: usize,
    keys: usize,
    broken_frames: usize,
}

impl Source {
    fn new(name: &str, format: Depacketizer, fmtp: &str) -> Self {
        Self {
            joiner: Joiner::new(format, fmtp),
            format,
            name: name.to_owned(),
            payloads: Vec::new(),
            timestamp: 0,
            key: false,
            broken: false,
            next: None,
            frames: 0,
            keys: 0,
            broken_frames: 0,
        }
    }

    /// Of sound each packet is a frame, and decoded alone.
    fn is_sound(&self) -> bool {
        let pictures = ["VP8", "VP9", "AV1", "H264", "H265", "H266"];
        !pictures.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    fn take(&mut self, at: f64, header: Header, payload: &[u8]) {
        if header.timestamp != self.timestamp {
            self.finish(at, header.ssrc);
        }
        let gap = self.next.is_some_and(|next| next != header.sequence);
        self.next = Some(header.sequence.wrapping_add(1));
        if payload.is_empty() {
            return;
        }
        let Ok(piece) = self.format.depacketize(payload, header.marker) else {
            println!("{at:10.3} {:08x} {:5} a malformed packet", header.ssrc, self.name);
            return;
        };
        if self.payloads.is_empty() {
            self.key = false;
            self.broken = piece.start == Start::No || gap && piece.start != Start::Yes;
        } else {
            self.broken |= gap;
        }
        self.key |= piece.key_frame;
        self.timestamp = header.timestamp;
        self.payloads.push(payload.to_vec());
        if piece.end {
            self.finish(at, header.ssrc);
        }
    }

    /// A packet that is none of a frame.
    fn pass(&mut self, sequence: u16) {
        if self.next == Some(sequence) {
            self.next = Some(sequence.wrapping_add(1));
        }
    }

    /// Prints the frame whose packets are there.
    fn finish(&mut self, at: f64, ssrc: u32) {
        let payloads = std::mem::take(&mut self.payloads);
        if payloads.is_empty() {
            return;
        }
        let count = payloads.len();
        let head = format!("{at:10.3} {ssrc:08x} {:5} {:10} {count:4}", self.name, self.timestamp);
        let mut bytes = Vec::new();
        match self
            .joiner
            .join(payloads.iter().map(|payload| &payload[..]), &mut bytes)
        {
            Ok(joined) if !self.broken => {
                let len = joined.part.map_or(bytes.len(), |part| part.len());
                let facts = joined.facts;
                let size = facts.resolution.map(|size| format!("{}x{}", size.width, size.height));
                let picture = facts.picture_id.map(|id| format!("picture {id}"));
                self.frames += 1;
                if self.is_sound() {
                    println!("{head} {len:8}");
                    return;
                }
                self.keys += usize::from(self.key);
                let line = format!(
                    "{head} {len:8} {:3} {:9} s{} t{} {}",
                    if self.key { "key" } else { "" },
                    size.unwrap_or_default(),
                    facts.spatial,
                    facts.temporal,
                    picture.unwrap_or_default()
                );
                println!("{}", line.trim_end());
                return;
            }
            Ok(_) => println!("{head} broken: a packet of it is missing"),
            Err(error) => println!("{head} broken: {error}"),
        }
        self.broken_frames += 1;
    }
}

fn main() -> ExitCode {
    match list() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), Box<dyn Error>> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{HELP}");
        return Ok(());
    };
    let mut sources: BTreeMap<(u32, u8), Source> = BTreeMap::new();
    let mut unknown: BTreeMap<u8, usize> = BTreeMap::new();
    let mut first = None;
    datagrams(&options.file, |at, payload| {
        let begin = *first.get_or_insert_with(|| {
            println!("   seconds ssrc     name   timestamp pkts    bytes");
            at
        });
        let at = at - begin;
        let packet = Packet::parse(payload).ok().filter(|_| !is_rtcp(payload));
        let Some(packet) = packet else { return };
        let (header, mut payload) = (packet.header, packet.payload());
        let mut payload_type = header.payload_type;
        let name_of = |payload_type: u8| options.names.get(&payload_type).map_or("", String::as_str);
        // RFC 2198 §3: the primary payload is the last.
        if name_of(payload_type).eq_ignore_ascii_case("red")
            && let Some(primary) = red::parse(payload).ok().and_then(Iterator::last)
        {
            (payload_type, payload) = (primary.payload_type, primary.payload);
        }
        let name = name_of(payload_type);
        let format = Depacketizer::new(name);
        if !format.has_frames() {
            *unknown.entry(payload_type).or_default() += 1;
            // What repairs a stream takes numbers of it, and is no gap.
            for (_, source) in sources.range_mut((header.ssrc, 0)..=(header.ssrc, u8::MAX)) {
                source.pass(header.sequence);
            }
            return;
        }
        let fmtp = options.parameters.get(&payload_type).map_or("", String::as_str);
        let source = sources.entry((header.ssrc, payload_type));
        source
            .or_insert_with(|| Source::new(name, format, fmtp))
            .take(at, header, payload);
    })?;
    println!();
    for ((ssrc, _), source) in &sources {
        let keys = format!(", {} key frames", source.keys);
        println!(
            "{ssrc:08x} {}: {} frames{}, {} broken",
            source.name,
            source.frames,
            if source.is_sound() { "" } else { &keys },
            source.broken_frames
        );
    }
    if sources.is_empty() && unknown.is_empty() {
        println!("no packet of RTP in UDP");
    }
    for (payload_type, packets) in unknown {
        println!(
            "payload type {payload_type}: {packets} packets not looked at; if a=rtpmap:{payload_type} names a format, add --map {payload_type}=NAME"
        );
    }
    Ok(())
}

/// Calls `each` with the time in seconds and the payload of every UDP datagram in a file.
fn datagrams(file: &str, mut each: impl FnMut(f64, &[u8])) -> Result<(), Box<dyn Error>> {
    let mut reader = create_reader(1 << 20, File::open(file).map_err(|error| format!("{file}: {error}"))?)
        .map_err(|error| format!("{file}: {error}"))?;
    let mut links = Vec::new();
    let mut frame = |at: f64, link: Option<&Linktype>, bytes: &[u8]| {
        let parsed = match link {
            Some(&Linktype::ETHERNET) => SlicedPacket::from_ethernet(bytes),
            Some(&Linktype::LINUX_SLL) => SlicedPacket::from_linux_sll(bytes),
            _ => SlicedPacket::from_ip(bytes),
        };
        let transport = parsed.ok().and_then(|parsed| parsed.transport);
        if let Some(TransportSlice::Udp(udp)) = transport {
            each(at, udp.payload());
        }
    };
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => links = vec![(header.network, 1_000_000)],
                    PcapBlockOwned::Legacy(packet) => {
                        let at = f64::from(packet.ts_sec) + f64::from(packet.ts_usec) / 1e6;
                        frame(at, links.first().map(|(link, _)| link), packet.data);
                    }
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        links.push((interface.linktype, interface.ts_resolution().unwrap_or(1_000_000)));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                        let link = links.get(packet.if_id as usize);
                        let rate = link.map_or(1_000_000, |(_, rate)| *rate);
                        frame(ticks as f64 / rate as f64, link.map(|(link, _)| link), packet.data);
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| format!("{file}: {error:?}"))?,
            Err(error) => return Err(format!("{file}: {error:?}").into()),
        }
    }
}
