//! The frames of one stream, whole and broken.

use std::collections::BTreeMap;
use std::fmt;

use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::{Depacketizer, Joiner, red};
use bytes::Bytes;

use super::described::Described;
use super::said::{Counts, Said};

/// Encodings whose packets have a number and are part of no frame, by how their names begin.
const FRAMELESS: [&str; 5] = ["ulpfec", "flexfec", "telephone-event", "cn", "rtx"];
/// Frames by which a browser's count may differ: its statistics and its log do not end with the same packet.
const SLACK: u64 = 1;

/// A packet, once its payload was looked at.
#[derive(Clone, Debug)]
struct Piece {
    timestamp: u32,
    end: bool,
    key_frame: bool,
    payload: Vec<u8>,
}

/// A frame that is open: its packets so far.
struct Open<'a> {
    timestamp: u32,
    /// Whether none is missing so far.
    whole: bool,
    key_frame: bool,
    payloads: Vec<&'a [u8]>,
}

/// A frame of which every packet is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The RTP timestamp, in units of the encoding's clock rate.
    pub timestamp: u32,
    /// Whether it can be decoded alone.
    pub key_frame: bool,
    /// Whether frames right before it are missing.
    pub after_gap: bool,
    /// The frame as a decoder takes it.
    pub data: Bytes,
}

/// The packets of one source, in order.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    encoding: String,
    /// What it carries that has no frames, first of all.
    frameless: String,
    packets: usize,
    repeats: usize,
    /// By extended sequence number; `None` is padding.
    pieces: BTreeMap<i64, Option<Piece>>,
    newest: Option<i64>,
}

/// What one stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The encoding of its payloads: of a stream without frames that of its first packet, empty if no description names it.
    pub encoding: String,
    /// Packets, retransmissions among them.
    pub packets: usize,
    /// Retransmissions and padding on their source.
    pub repeats: usize,
    /// Frames of which every packet is there. Of sound each packet is one.
    pub frames: usize,
    /// Key frames among them.
    pub key_frames: usize,
    /// Frames of which a packet is missing.
    pub broken: usize,
    /// Frames whose packets do not fit together, although all are there.
    pub malformed: usize,
    /// The whole frames, in their order.
    pub whole: Vec<Whole>,
    /// Broken and malformed frames before the last whole one.
    missed: usize,
    /// What the browser that sent it says.
    pub sent: Option<Counts>,
    /// What the browser that received it says.
    pub received: Option<Counts>,
}

impl Stream {
    pub(super) fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            encoding: String::new(),
            frameless: String::new(),
            packets: 0,
            repeats: 0,
            pieces: BTreeMap::new(),
            newest: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes a packet in; `original` is the number that a retransmission repeats.
    pub(super) fn insert(
        &mut self,
        packet: &Packet<'_>,
        original: Option<u16>,
        described: &Described,
    ) -> Result<(), String> {
        let header = packet.header;
        self.packets += 1;
        let mut payload = packet.payload();
        let mut payload_type = header.payload_type;
        let mut sequence = header.sequence;
        if let Some(repeated) = described.repeats.get(&payload_type) {
            self.repeats += 1;
            // Padding, by which Chromium probes, repeats nothing.
            let (Some(original), true) = (original, payload.len() > 2) else {
                return Ok(());
            };
            (payload_type, sequence) = (*repeated, original);
            payload = payload.get(2..).unwrap_or_default();
        }
        let newest = self.newest.unwrap_or(i64::from(sequence));
        let extended = newest + i64::from(sequence.wrapping_sub(newest as u16) as i16);
        self.newest = Some(newest.max(extended));
        let place = self.pieces.entry(extended).or_default();
        if place.is_some() || payload.is_empty() {
            return Ok(());
        }
        let named = |payload_type: u8| described.encodings.get(&payload_type);
        if named(payload_type).is_some_and(|encoding| encoding.eq_ignore_ascii_case("red")) {
            // The newest payload of several is this packet's own.
            let blocks = red::parse(payload).map_err(|error| format!("red: {error}"))?;
            let Some(last) = blocks.last() else { return Ok(()) };
            (payload_type, payload) = (last.payload_type, last.payload);
        }
        let Some(encoding) = named(payload_type) else {
            return Ok(());
        };
        let frameless = FRAMELESS
            .iter()
            .any(|name| encoding.to_ascii_lowercase().starts_with(name));
        if frameless && self.frameless.is_empty() {
            self.frameless.clone_from(encoding);
        }
        if frameless || payload.is_empty() {
            return Ok(());
        }
        if self.encoding.is_empty() {
            self.encoding.clone_from(encoding);
        }
        let piece = Depacketizer::new(encoding).depacketize(payload, header.marker);
        let piece = piece.map_err(|error| format!("{encoding}: {error}"))?;
        *place = Some(Piece {
            timestamp: header.timestamp,
            end: piece.end,
            key_frame: piece.key_frame,
            payload: payload.to_vec(),
        });
        Ok(())
    }

    pub(super) fn frames(&self, said: &Said) -> Frames {
        let mut frames = Frames {
            ssrc: self.ssrc,
            encoding: if self.encoding.is_empty() {
                self.frameless.clone()
            } else {
                self.encoding.clone()
            },
            packets: self.packets,
            repeats: self.repeats,
            frames: 0,
            key_frames: 0,
            broken: 0,
            malformed: 0,
            whole: Vec::new(),
            missed: 0,
            sent: said.sent(self.ssrc),
            received: said.received(self.ssrc),
        };
        let mut joiner = Joiner::new(Depacketizer::new(&self.encoding), "");
        // The number that comes next.
        let mut next = None;
        let mut open: Option<Open<'_>> = None;
        for (sequence, piece) in &self.pieces {
            let follows = next.is_none_or(|next| next == *sequence);
            next = Some(sequence + 1);
            if let Some(open) = &mut open {
                open.whole &= follows;
            }
            let Some(piece) = piece else { continue };
            let before = open.take();
            // Without an end, its last packet is missing.
            frames.broken += usize::from(before.as_ref().is_some_and(|open| open.timestamp != piece.timestamp));
            let mut frame = before.filter(|open| open.timestamp == piece.timestamp).unwrap_or(Open {
                timestamp: piece.timestamp,
                whole: follows,
                key_frame: false,
                payloads: Vec::new(),
            });
            frame.key_frame |= piece.key_frame;
            frame.payloads.push(&piece.payload);
            if !piece.end {
                open = Some(frame);
            } else if frame.whole {
                frames.add(&frame, &mut joiner);
            } else {
                frames.broken += 1;
            }
        }
        frames.broken += usize::from(open.is_some());
        frames
    }
}

impl Frames {
    fn add(&mut self, frame: &Open<'_>, joiner: &mut Joiner) {
        let missed = self.broken + self.malformed;
        self.frames += 1;
        self.key_frames += usize::from(frame.key_frame);
        let mut bytes = Vec::new();
        let Ok(joined) = joiner.join(frame.payloads.iter().copied(), &mut bytes) else {
            self.malformed += 1;
            return;
        };
        if let (Some(part), [only]) = (joined.part, &frame.payloads[..]) {
            bytes = only[part].to_vec();
        }
        let after_gap = missed != self.missed;
        self.missed = missed;
        self.whole.push(Whole {
            timestamp: frame.timestamp,
            key_frame: frame.key_frame,
            after_gap,
            data: bytes.into(),
        });
    }

    /// Whether a browser counted the same frames and key frames: at the end that logged it, or, of a stream with spatial
    /// layers, at the end that received it, where a picture of several layers is one frame. Its statistics and its log may end
    /// a frame apart.
    pub fn agrees(&self) -> bool {
        let said = [self.sent, self.received];
        let mut video = said
            .into_iter()
            .flatten()
            .filter_map(|said| said.frames.zip(said.key_frames))
            .peekable();
        video.peek().is_none()
            || video.any(|(frames, key_frames)| {
                frames.abs_diff(self.frames as u64) <= SLACK && key_frames == self.key_frames as u64
            })
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = if self.encoding.is_empty() { "?" } else { &self.encoding };
        write!(f, "{:08x} {encoding:<10} {:>5} packets", self.ssrc, self.packets)?;
        // Repairs, for instance, which are no media.
        if self.frames + self.broken + self.malformed == 0 {
            return f.write_str(", no frames");
        }
        write!(
            f,
            ", {:>4} again; {:>4} frames, {:>2} key, {:>2} broken",
            self.repeats, self.frames, self.key_frames, self.broken
        )?;
        if self.malformed > 0 {
            write!(f, ", {} malformed", self.malformed)?;
        }
        for (who, said) in [("sent", self.sent), ("received", self.received)] {
            match said {
                Some(Counts {
                    frames: Some(frames),
                    key_frames: Some(key_frames),
                    packets,
                }) => write!(f, "; {who}: {packets}, {frames} frames, {key_frames} key")?,
                Some(said) => write!(f, "; {who}: {}", said.packets)?,
                None => {}
            }
        }
        if self.agrees() {
            Ok(())
        } else {
            f.write_str(" (differs)")
        }
    }
}
