//! Writes the seeds of the fuzz corpora from the captured sessions: `cargo run -p antiphon-conformance --example fuzz_seeds`.
//!
//! Few and small on purpose: one file for each kind of message, not one for each message. What fuzzing finds later is added
//! by hand to the same folders.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_conformance::capture;
use antiphon_conformance::fuzz::TARGETS;
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_stun::{Class, Message};

struct Seeds {
    root: PathBuf,
    seen: BTreeSet<(String, String)>,
    /// Operations for `machine_turn_server`: one client's messages of each kind.
    to_turn_server: Vec<u8>,
}

impl Seeds {
    /// Keeps the first of each kind.
    fn add(&mut self, target: &str, kind: &str, data: &[u8]) -> Result<(), Box<dyn Error>> {
        if self.seen.insert((target.to_owned(), kind.to_owned())) {
            let folder = self.root.join(target);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(kind), data)?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut seeds = Seeds {
        root,
        seen: BTreeSet::new(),
        to_turn_server: Vec::new(),
    };
    let packets = capture::fixtures().join("packets");
    let mut sessions: Vec<_> = fs::read_dir(&packets)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    sessions.sort();
    for session in &sessions {
        from_wire(&mut seeds, session)?;
        // Of some sessions only the log of one end is here.
        let signalled = fs::read_to_string(session.join("candidates.json")).unwrap_or_default();
        for candidate in signalled.split("candidate:").skip(1) {
            let candidate = candidate.split('"').next().unwrap_or_default();
            let words: Vec<_> = candidate.split(' ').collect();
            if let [_, _, transport, _, _, _, "typ", kind, ..] = words[..] {
                seeds.add(
                    "decode_candidate",
                    &format!("{transport}-{kind}").to_lowercase(),
                    candidate.as_bytes(),
                )?;
            }
        }
        let logged = session.join("plain-A-rtp.pcapng");
        if logged.exists() {
            for datagram in capture::read(&logged)? {
                from_rtp(&mut seeds, &datagram.payload)?;
            }
        }
        let logged = session.join("plain-A-sctp.pcapng");
        if logged.exists() {
            for (_, _, packet) in capture::frames(&logged)? {
                seeds.add("decode_sctp", &format!("{:02x}", packet.get(12).unwrap_or(&0)), &packet)?;
            }
        }
    }
    from_descriptors(&mut seeds, &packets.join("chromium-chromium-av1-svc-L2T2"))?;
    let mut descriptions = Vec::new();
    for name in [
        "chromium-chromium-audio-video-data",
        "chromium-firefox-audio-video-data",
    ] {
        for entry in fs::read_dir(packets.join(name))? {
            descriptions.push(entry?.path());
        }
    }
    descriptions.sort();
    for path in descriptions {
        if path.extension().is_some_and(|extension| extension == "sdp") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read(&path)?;
            seeds.add("decode_sdp", &name, &text)?;
            seeds.add("roundtrip_sdp", &name, &text)?;
            // Taken as an offer and answered; then as an answer to an offer of ours.
            let seed = [&[1][..], &text, &[0, 5, 0, 4, 0, 2], &text].concat();
            seeds.add("machine_jsep", &name, &seed)?;
        }
    }
    let captured = std::mem::take(&mut seeds.to_turn_server);
    seeds.add("machine_turn_server", "captured", &captured)?;
    machines(&mut seeds)?;
    feedback(&mut seeds)?;
    for (target, _) in TARGETS {
        let count = seeds.seen.iter().filter(|(known, _)| known == target).count();
        println!("{target}: {count}");
    }
    Ok(())
}

fn from_wire(seeds: &mut Seeds, session: &Path) -> Result<(), Box<dyn Error>> {
    // Where datagrams were lost on purpose each side has a view of its own.
    let mut files = ["session.pcap", "session-view-A.pcap"]
        .map(|name| session.join(name))
        .into_iter();
    let Some(file) = files.find(|file| file.exists()) else {
        return Ok(());
    };
    for datagram in capture::read(&file)? {
        let data = &datagram.payload[..];
        match data.first() {
            Some(0..=3) if data.len() >= 20 => from_stun(seeds, data)?,
            Some(20..=63) if data.len() > 25 => {
                let kind = format!("{:02x}-{:02x}", data[0], if data[0] == 22 { data[13] } else { 0 });
                seeds.add("decode_dtls_record", &kind, data)?;
                from_dtls(seeds, data)?;
            }
            Some(128..=191) if data.len() > 12 => {
                let kind = if is_rtcp(data) { "rtcp" } else { "rtp" };
                for profile in 0..4 {
                    let seed = [&[profile], data].concat();
                    seeds.add("roundtrip_srtp", &format!("{kind}-{profile}"), &seed)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// One of each type and number of attributes.
fn from_stun(seeds: &mut Seeds, data: &[u8]) -> Result<(), Box<dyn Error>> {
    let Ok(message) = Message::parse(data) else {
        return Ok(());
    };
    let attributes: Vec<_> = message.attributes().collect();
    let named = format!("{:02x}{:02x}-{:02}", data[0], data[1], attributes.len());
    if seeds.seen.contains(&("decode_stun".to_owned(), named.clone())) {
        return Ok(());
    }
    seeds.add("decode_stun", &named, data)?;
    // Method, class, transaction; then of each attribute its number and nine bytes.
    let class = match message.class() {
        Class::Request => 0,
        Class::Indication => 1,
        Class::Success => 2,
        Class::Error => 3,
    };
    let [high, low] = message.method().number().to_be_bytes();
    let mut seed = vec![high, low, class, data[19]];
    for attribute in attributes {
        let mut value = [0; 9];
        let len = value.len().min(attribute.value.len());
        value[..len].copy_from_slice(&attribute.value[..len]);
        seed.extend(attribute.kind.0.to_be_bytes());
        seed.extend(value);
    }
    seeds.add("roundtrip_stun", &named, &seed)?;
    // Bytes as they are, from client 0: their length, they, and whose they are.
    if let (0 | 1, Ok(len)) = (class, u8::try_from(data.len())) {
        seeds.to_turn_server.extend([7, len]);
        seeds.to_turn_server.extend(data);
        seeds.to_turn_server.push(0);
    }
    Ok(())
}

/// Whole handshake messages in the clear, as `decode_handshake` takes them.
fn from_dtls(seeds: &mut Seeds, mut data: &[u8]) -> Result<(), Box<dyn Error>> {
    while let Some(header) = data.first_chunk::<13>() {
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let Some((record, rest)) = data[13..].split_at_checked(len) else {
            break;
        };
        data = rest;
        let clear = header[0] == 22 && header[3..5] == [0, 0];
        if clear && record.len() > 12 && record[1..4] == record[9..12] {
            let role = u8::from(matches!(record[0], 2..=4 | 12..=14));
            let seed = [&[role, record[0]][..], &record[2..4], &record[12..]].concat();
            seeds.add("decode_handshake", &format!("{:02}", record[0]), &seed)?;
        }
    }
    Ok(())
}

fn from_rtp(seeds: &mut Seeds, data: &[u8]) -> Result<(), Box<dyn Error>> {
    if is_rtcp(data) {
        let kind = format!("{}-{}", data[1], data[0] & 31);
        seeds.add("decode_rtcp", &kind, data)?;
        seeds.add("roundtrip_rtcp", &kind, data)
    } else {
        let kind = format!("{:02x}-{}", data[0] & 0xf0, data[1] & 127);
        seeds.add("decode_rtp", &kind, data)?;
        seeds.add("roundtrip_rtp", &kind, data)
    }
}

/// Descriptors of one stream, each after its length, from its key frame on.
fn from_descriptors(seeds: &mut Seeds, session: &Path) -> Result<(), Box<dyn Error>> {
    // What the offer of this session says of identifiers.
    const DESCRIPTOR: u8 = 13;
    let mut all = Vec::new();
    for datagram in capture::read(&session.join("plain-A-rtp.pcapng"))? {
        let Ok(packet) = Packet::parse(&datagram.payload) else {
            continue;
        };
        for (_, data) in packet.elements().filter(|(id, _)| *id == DESCRIPTOR) {
            if all.len() < 400 {
                all.push(data.len() as u8);
                all.extend_from_slice(data);
            }
        }
    }
    seeds.add("decode_dependency_descriptor", "av1-svc", &all)
}

/// Lists of operations: a life without accidents, one with loss, and one with noise.
fn machines(seeds: &mut Seeds) -> Result<(), Box<dyn Error>> {
    let deliver = [0x00, 0, 0x80, 0].repeat(12);
    let act = |end: u8, action: u8, argument: u8| [end | (action & 7) << 4 | 0x0c | (action >> 3 & 3) | 1, argument];
    let mut talk = deliver.clone();
    for argument in [0, 1, 0x21, 0x42, 0x83, 5, 9] {
        for action in 0..16 {
            talk.extend(act(0, action, argument));
            talk.extend([0x80, 0, 0x00, 0]);
        }
        talk.extend([0x0a, 0]);
    }
    let lossy: Vec<u8> = (0..60u8)
        .flat_map(|n| [[0, 0], [0x80, 0], [if n % 3 == 0 { 5 } else { 0x85 }, 0], [0x0a, 0]].concat())
        .collect();
    let noisy: Vec<u8> = (0..40u8)
        .flat_map(|n| {
            [
                vec![0x87, n.wrapping_mul(7), n | 1],
                vec![7, n, 0xff],
                vec![8, n],
                vec![0, 0, 0x80, 0, 0x0a, 0],
            ]
            .concat()
        })
        .collect();
    for target in [
        "machine_data_channel",
        "machine_dtls",
        "machine_ice",
        "machine_media",
        "machine_peers",
        "machine_sctp",
        "machine_turn",
    ] {
        for (name, operations) in [
            ("peace", &deliver),
            ("talk", &talk),
            ("loss", &lossy),
            ("noise", &noisy),
        ] {
            seeds.add(target, name, operations)?;
        }
    }
    Ok(())
}

/// Operations for `machine_congestion`: what is sent is reported on, as an honest peer does, in each of its three forms.
fn feedback(seeds: &mut Seeds) -> Result<(), Box<dyn Error>> {
    let (mut alone, mut numbered, mut by_stream) = (vec![0u8], vec![1u8], vec![2u8]);
    for n in 0..40u8 {
        // A packet or a frame, and 8 ms.
        alone.extend([0, 4, 176, 0, 1, 7, 1, 0x2d]);
        numbered.extend([0, 0x0f, 0xa0, 7, 1, 0x2d]);
        by_stream.extend([0, 0x0f, 0xa0, 7, 1, 0x2d]);
        if n % 4 == 3 {
            alone.extend([2, 4]);
            (n - 3..=n).for_each(|packet| alone.extend([0, packet, 3, 0x2f]));
            alone.push(0x2f);
            numbered.extend([2, 0, 4 * (n - 3), 0, n, 1, 16]);
            numbered.extend([80; 16]);
            by_stream.extend([2, 0, 4 * (n - 3), 16]);
            by_stream.extend([0x80, 10].repeat(16));
            by_stream.extend([0; 4]);
        }
    }
    seeds.add("machine_congestion", "alone", &alone)?;
    seeds.add("machine_congestion", "numbered", &numbered)?;
    seeds.add("machine_congestion", "by-stream", &by_stream)
}
