//! Decrypted RTP of one end: header extensions checked, frames put together.

use std::collections::BTreeMap;

use antiphon_rtp::ParseError;
use antiphon_rtp::extension::{Map, Values};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_rtp::payload::{Depacketizer, Joiner, Start, red};
use antiphon_sansio::{Bytes, Unwrapper16};

use crate::session::Codec;

/// What was wrong with an RTP packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// Header or payload descriptor.
    #[error("RTP: {0}")]
    Parse(#[from] ParseError),
    /// An identifier that no description maps.
    #[error("header extension {0} was not negotiated")]
    UnknownExtension(u8),
    /// An extension that we know, whose value we did not read.
    #[error("the value of header extension {0} was not read")]
    Unread(u8),
    /// A payload type that no description maps.
    #[error("payload type {0} was not negotiated")]
    UnknownPayloadType(u8),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounts {
    /// Elements of header extensions, all negotiated.
    pub elements: usize,
    /// Those whose meaning we know, each of them read.
    pub elements_known: usize,
    /// Packets of the retransmission format with a packet inside.
    pub retransmissions: usize,
    /// Packets without payload: padding, to probe the path.
    pub padding: usize,
    /// Packets of redundant data; each holds one of another format.
    pub red: usize,
    /// Packets of ULPFEC.
    pub repair: usize,
    /// Packets of the Opus format.
    pub opus: usize,
    /// Packets of the VP8 format.
    pub vp8: usize,
}

/// A packet kept for frames.
#[derive(Clone, Debug)]
struct Piece {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    format: Depacketizer,
}

/// A frame put together from a source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The RTP timestamp that all its packets bear.
    pub timestamp: u32,
    /// Whether it can be decoded alone.
    pub key_frame: bool,
    /// The bytes of the frame, without payload descriptors.
    pub data: Vec<u8>,
}

/// The frames of one source.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Whole frames, in order.
    pub frames: Vec<Frame>,
    /// Packets that are in none of them.
    pub left_over: usize,
}

/// What one end sends.
#[derive(Debug)]
pub struct Media {
    map: Map,
    uris: BTreeMap<u8, String>,
    codecs: BTreeMap<u8, Codec>,
    repeats: BTreeMap<u32, u32>,
    unwrappers: BTreeMap<u32, Unwrapper16>,
    sources: BTreeMap<u32, BTreeMap<u64, Option<Piece>>>,
    /// What was counted.
    pub counts: MediaCounts,
}

impl Media {
    /// `codecs` are those that the receiver has described, `repeats` says which source retransmits for which.
    pub fn new(
        (map, uris): (Map, BTreeMap<u8, String>),
        codecs: BTreeMap<u8, Codec>,
        repeats: BTreeMap<u32, u32>,
    ) -> Self {
        Self {
            map,
            uris,
            codecs,
            repeats,
            unwrappers: BTreeMap::new(),
            sources: BTreeMap::new(),
            counts: MediaCounts::default(),
        }
    }

    /// Takes a decrypted packet.
    ///
    /// # Errors
    /// If the descriptions name no such payload type, or the packet, one of its header extensions or its payload is malformed.
    pub fn handle_rtp(&mut self, bytes: &Bytes) -> Result<(), MediaError> {
        let packet = Packet::parse(bytes)?;
        self.check_extensions(&packet)?;
        let header = packet.header;
        let codec = self.codecs.get(&header.payload_type);
        let codec = codec
            .ok_or(MediaError::UnknownPayloadType(header.payload_type))?
            .clone();
        let payload = bytes.slice(packet.payload_range());
        if payload.is_empty() {
            self.counts.padding += 1;
            self.keep(header.ssrc, header.sequence, None);
        } else if codec.name.eq_ignore_ascii_case("rtx") {
            let original = codec
                .repeats
                .ok_or(MediaError::UnknownPayloadType(header.payload_type))?;
            // RFC 4588 §4: the original sequence number stands before the original payload.
            let number = *payload.first_chunk::<2>().ok_or(ParseError::Short)?;
            self.counts.retransmissions += 1;
            if let Some(source) = self.repeats.get(&header.ssrc).copied() {
                let piece = self.piece(&header, original, payload.slice(2..))?;
                self.keep(source, u16::from_be_bytes(number), piece);
            }
        } else {
            let piece = self.piece(&header, header.payload_type, payload)?;
            match piece.as_ref().map(|piece| piece.format) {
                Some(Depacketizer::Opus) => self.counts.opus += 1,
                Some(Depacketizer::Vp8) => self.counts.vp8 += 1,
                _ => {}
            }
            self.keep(header.ssrc, header.sequence, piece);
        }
        Ok(())
    }

    /// What a payload of that type is to a frame; unwraps redundant data. `None` for repair data and the like.
    fn piece(&mut self, header: &Header, payload_type: u8, payload: Bytes) -> Result<Option<Piece>, MediaError> {
        let codec = self
            .codecs
            .get(&payload_type)
            .ok_or(MediaError::UnknownPayloadType(payload_type))?;
        if codec.name.eq_ignore_ascii_case("red") {
            self.counts.red += 1;
            let blocks = red::parse(&payload)?;
            let Some(primary) = blocks.last() else { return Ok(None) };
            return self.piece(header, primary.payload_type, payload.slice_ref(primary.payload));
        }
        if codec.name.eq_ignore_ascii_case("ulpfec") {
            self.counts.repair += 1;
            return Ok(None);
        }
        let format = codec.format;
        format.depacketize(&payload, header.marker)?;
        Ok(Some(Piece {
            timestamp: header.timestamp,
            marker: header.marker,
            payload,
            format,
        }))
    }

    fn keep(&mut self, ssrc: u32, sequence: u16, piece: Option<Piece>) {
        let index = self.unwrappers.entry(ssrc).or_default().unwrap(sequence.into());
        self.sources.entry(ssrc).or_default().entry(index).or_insert(piece);
    }

    /// The VP8 frames of each source that has some.
    pub fn vp8_frames(&self) -> BTreeMap<u32, Frames> {
        let mut all = BTreeMap::new();
        for (ssrc, packets) in &self.sources {
            let frames = assemble(packets);
            if !frames.frames.is_empty() {
                all.insert(*ssrc, frames);
            }
        }
        all
    }

    fn check_extensions(&mut self, packet: &Packet<'_>) -> Result<(), MediaError> {
        for (id, data) in packet.elements() {
            if !self.uris.contains_key(&id) {
                return Err(MediaError::UnknownExtension(id));
            }
            self.counts.elements += 1;
            if self.map.kind(id).is_some() {
                // One element alone, so that it shows whether its value was taken.
                let before = Values::default();
                let mut alone = Map::default();
                self.map.kind(id).into_iter().for_each(|kind| alone.insert(id, kind));
                if packet.values(&alone) == before && !data.is_empty() {
                    return Err(MediaError::Unread(id));
                }
                self.counts.elements_known += 1;
            }
        }
        Ok(())
    }
}

/// Makes frames of the payloads from each start to the marker, where no packet is missing between.
fn assemble(packets: &BTreeMap<u64, Option<Piece>>) -> Frames {
    let mut out = Frames::default();
    let mut joiner = Joiner::new(Depacketizer::Vp8, "");
    // The pieces of a frame, and the number that must come next.
    let mut open: Vec<&Piece> = Vec::new();
    let mut next = 0;
    for (index, piece) in packets {
        // A packet of padding alone belongs to no frame, and breaks none: it comes after a marker.
        let Some(piece) = piece else { continue };
        if piece.format != Depacketizer::Vp8 {
            continue;
        }
        let Ok(look) = piece.format.depacketize(&piece.payload, piece.marker) else {
            continue;
        };
        if open
            .last()
            .is_some_and(|last| next != *index || last.timestamp != piece.timestamp)
        {
            out.left_over += open.len();
            open.clear();
        }
        if open.is_empty() && look.start != Start::Yes {
            out.left_over += 1;
            continue;
        }
        open.push(piece);
        next = index + 1;
        if !look.end {
            continue;
        }
        let mut data = Vec::new();
        let payloads = open.iter().map(|piece| &piece.payload[..]);
        match joiner.join(payloads, &mut data) {
            Ok(joined) => {
                if let Some(part) = joined.part {
                    data.extend_from_slice(&open[0].payload[part]);
                }
                let first = piece.format.depacketize(&open[0].payload, open[0].marker);
                out.frames.push(Frame {
                    timestamp: piece.timestamp,
                    key_frame: first.is_ok_and(|first| first.key_frame),
                    data,
                });
            }
            Err(_) => out.left_over += open.len(),
        }
        open.clear();
    }
    out.left_over += open.len();
    out
}
