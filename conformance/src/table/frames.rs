//! The frames of one stream, whole and broken.

use std::collections::BTreeMap;
use std::fmt;

use antiphon_rtp::packet::Packet;
use antiphon_rtp::payload::{Depacketizer, red};

use super::described::Described;
use super::said::{Counts, Said};

/// Encodings whose packets have a number and are part of no frame, by how their names begin.
const FRAMELESS: [&str; 5] = ["ulpfec", "flexfec", "telephone-event", "cn", "rtx"];
/// Frames by which a browser's count may differ: its statistics and its log do not end with the same packet.
const SLACK: u64 = 1;

/// A packet, once its payload was looked at.
#[derive(Clone, Copy, Debug)]
struct Piece {
    timestamp: u32,
    end: bool,
    key_frame: bool,
}

/// The packets of one source, in order.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    encoding: String,
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
    /// The encoding of its payloads.
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
        });
        Ok(())
    }

    pub(super) fn frames(&self, said: &Said) -> Frames {
        let mut frames = Frames {
            ssrc: self.ssrc,
            encoding: self.encoding.clone(),
            packets: self.packets,
            repeats: self.repeats,
            frames: 0,
            key_frames: 0,
            broken: 0,
            sent: said.sent(self.ssrc),
            received: said.received(self.ssrc),
        };
        // The number that comes next, and the frame that is open: its time, whether it is whole so far, and a key frame.
        let mut next = None;
        let mut open: Option<(u32, bool, bool)> = None;
        for (sequence, piece) in &self.pieces {
            let follows = next.is_none_or(|next| next == *sequence);
            next = Some(sequence + 1);
            if let Some((_, whole, _)) = &mut open {
                *whole &= follows;
            }
            let Some(piece) = piece else { continue };
            let (_, whole, key_frame) = match open.take() {
                Some(frame) if frame.0 == piece.timestamp => frame,
                // The one before has no end: its last packet is missing.
                Some(_) => {
                    frames.broken += 1;
                    (piece.timestamp, follows, false)
                }
                None => (piece.timestamp, follows, false),
            };
            let key_frame = key_frame || piece.key_frame;
            if !piece.end {
                open = Some((piece.timestamp, whole, key_frame));
            } else if whole {
                frames.frames += 1;
                frames.key_frames += usize::from(key_frame);
            } else {
                frames.broken += 1;
            }
        }
        frames.broken += usize::from(open.is_some());
        frames
    }
}

impl Frames {
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
        write!(
            f,
            "{:08x} {encoding:<8} {:>5} packets, {:>4} again; {:>4} frames, {:>2} key, {:>2} broken",
            self.ssrc, self.packets, self.repeats, self.frames, self.key_frames, self.broken
        )?;
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
