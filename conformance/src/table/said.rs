//! What the browsers' own statistics say of the streams of a capture.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// What a browser says of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets, retransmissions among them.
    pub packets: u64,
    /// Frames that were sent, or received whole; `None` of sound.
    pub frames: Option<u64>,
    /// Key frames among them; `None` of sound.
    pub key_frames: Option<u64>,
}

/// What `stats.json` beside a capture says, by SSRC.
#[derive(Debug, Default)]
pub(super) struct Said {
    sent: BTreeMap<u32, Counts>,
    received: BTreeMap<u32, Counts>,
    /// The source that each source of retransmissions repeats.
    pub(super) repeats: BTreeMap<u32, u32>,
}

impl Said {
    /// Reads it; nothing is said where it is not there.
    pub(super) fn beside(file: &Path) -> Self {
        let text = fs::read_to_string(file.with_file_name("stats.json")).unwrap_or_default();
        let mut said = Self::default();
        let Ok(Value::Object(ends)) = serde_json::from_str(&text) else {
            return said;
        };
        for entry in ends.values().filter_map(Value::as_array).flatten() {
            let number = |name: &str| entry.get(name).and_then(Value::as_u64);
            let source = |name: &str| number(name).and_then(|ssrc| u32::try_from(ssrc).ok());
            let Some(ssrc) = source("ssrc") else { continue };
            if let Some(repeats) = source("rtxSsrc") {
                said.repeats.insert(repeats, ssrc);
            }
            match entry.get("type").and_then(Value::as_str) {
                Some("outbound-rtp") => {
                    let counts = Counts {
                        packets: number("packetsSent").unwrap_or(0),
                        frames: number("framesSent"),
                        key_frames: number("keyFramesEncoded"),
                    };
                    said.sent.insert(ssrc, counts);
                }
                Some("inbound-rtp") => {
                    let counts = Counts {
                        packets: number("packetsReceived").unwrap_or(0),
                        frames: number("framesReceived"),
                        key_frames: number("keyFramesDecoded"),
                    };
                    said.received.insert(ssrc, counts);
                }
                _ => {}
            }
        }
        said
    }

    /// What the sender says of a stream.
    pub(super) fn sent(&self, ssrc: u32) -> Option<Counts> {
        self.sent.get(&ssrc).copied()
    }

    /// What the receiver says of a stream.
    pub(super) fn received(&self, ssrc: u32) -> Option<Counts> {
        self.received.get(&ssrc).copied()
    }
}
