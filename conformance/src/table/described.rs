//! What the descriptions beside a capture say of its packets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use antiphon_rtp::extension::Map;
use antiphon_rtp::packet::Packet;

use super::said::Said;

/// The payload types that need no description (RFC 3551 §6), of encodings that are read here.
const STATIC: [(u8, &str); 6] = [
    (0, "PCMU"),
    (8, "PCMA"),
    (9, "G722"),
    (10, "L16"),
    (11, "L16"),
    (13, "CN"),
];

/// What the packets of a capture mean. Descriptions of a capture may be odd, so they are read line by line.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// Extensions that are known.
    pub(super) map: Map,
    /// The URI of every identifier.
    pub(super) uris: BTreeMap<u8, String>,
    /// The encoding of each payload type.
    pub(super) encodings: BTreeMap<u8, String>,
    /// The payload type that each payload type of retransmissions repeats.
    pub(super) repeats: BTreeMap<u8, u8>,
    /// The source that each source of retransmissions repeats.
    originals: BTreeMap<u32, u32>,
}

impl Described {
    /// The descriptions of the end that wrote the log (`plain-A-...`), or of both.
    pub(super) fn beside(file: &Path) -> Self {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let end = match name(file) {
            name if name.starts_with("plain-A") => Some(("-A-", "-for-B")),
            name if name.starts_with("plain-B") => Some(("-B-", "-for-A")),
            _ => None,
        };
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut files: Vec<_> = fs::read_dir(folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "sdp"));
        files.sort();
        let mut described = Self::default();
        // What one end said first, for an identifier keeps its meaning; what the other end adds comes after.
        let of_end =
            |path: &Path| end.is_none_or(|(own, foreign)| name(path).contains(own) && !name(path).contains(foreign));
        let (first, second): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| of_end(path));
        for path in first.iter().chain(&second) {
            described.add(&fs::read_to_string(path).unwrap_or_default());
        }
        for (payload_type, encoding) in STATIC {
            let encodings = &mut described.encodings;
            encodings.entry(payload_type).or_insert_with(|| encoding.to_owned());
        }
        described
    }

    fn add(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            if let Some((id, uri)) = line.strip_prefix("a=extmap:").and_then(|rest| rest.split_once(' ')) {
                let id = id.split('/').next().and_then(|id| id.parse::<u8>().ok());
                if let Some(id) = id.filter(|id| !self.uris.contains_key(id)) {
                    let uri = uri.split(' ').next().unwrap_or_default();
                    self.uris.insert(id, uri.to_owned());
                    self.map.insert_uri(id, uri);
                }
            } else if let Some((payload_type, rest)) =
                line.strip_prefix("a=rtpmap:").and_then(|rest| rest.split_once(' '))
            {
                if let (Ok(payload_type), Some(encoding)) = (payload_type.parse(), rest.split('/').next()) {
                    self.encodings
                        .entry(payload_type)
                        .or_insert_with(|| encoding.to_owned());
                }
            } else if let Some((payload_type, rest)) =
                line.strip_prefix("a=fmtp:").and_then(|rest| rest.split_once(' '))
            {
                let repeated = rest
                    .split(';')
                    .find_map(|parameter| parameter.trim().strip_prefix("apt="));
                if let (Ok(payload_type), Some(Ok(repeated))) = (payload_type.parse(), repeated.map(str::parse)) {
                    self.repeats.entry(payload_type).or_insert(repeated);
                }
            } else if let Some((original, repair)) = line
                .strip_prefix("a=ssrc-group:FID ")
                .and_then(|rest| rest.split_once(' '))
                && let (Ok(original), Ok(repair)) = (original.parse(), repair.parse())
            {
                self.originals.insert(repair, original);
            }
        }
    }

    /// The source of a packet, and of a retransmission the number that it repeats (RFC 4588 §4).
    pub(super) fn original(&self, packet: &Packet<'_>, said: &Said) -> (u32, Option<u16>) {
        let header = packet.header;
        if !self.repeats.contains_key(&header.payload_type) {
            return (header.ssrc, None);
        }
        let ssrc = self
            .originals
            .get(&header.ssrc)
            .or(said.repeats.get(&header.ssrc))
            .copied()
            .unwrap_or(header.ssrc);
        let number = packet.payload().first_chunk().map(|number| u16::from_be_bytes(*number));
        (ssrc, number)
    }
}
