//! VP9 (RFC 9628): a descriptor, and a part of a layer frame.
//!
//! ```text
//!      0 1 2 3 4 5 6 7
//!     |I|P|L|F|B|E|V|Z|  §4.2: what follows; B, E: a layer frame begins, ends
//! I:  |M| picture id  |  7 or 15 bits
//! L:  |TID  |U| SID |D|  the layer
//!     |   TL0PICIDX   |  where F is 0 (non-flexible mode)
//! P,F:| P_DIFF      |N|  up to three times, where P and F are 1 (flexible mode)
//! V:  | N_S |Y|G|-|-|-|  the scalability structure, §4.2.1
//!   Y:| width, height |  16 bits each, N_S + 1 times
//!   G:|     N_G       |
//!     |TID  |U| R |-|-|  N_G times, each followed by R times | P_DIFF |
//! ```
//!
//! A frame is the whole picture: all layer frames of one timestamp, up to the marker (§4.1). Where there are several, the joined
//! frame ends with a superframe index (VP9 bitstream, annex B), by which decoders and files tell them apart, and a frame that ends
//! with one is cut into layer frames again.

mod superframe;

use std::ops::Range;

use antiphon_sansio::Reader;

use super::facts::FrameFacts;
use super::layout::{Cut, Layout, MAX_OWN, Piece, Slices, Start};
use super::{FrameError, Joined, MAX_FRAME};
use crate::ParseError;
use crate::bitstream::Resolution;
use crate::bitstream::vp9::{is_key_frame, resolution};
use superframe::{layer_frames, write_index};

pub use superframe::MAX_LAYERS;

/// Most pictures that one refers to (§4.2: P_DIFF, up to three).
pub const MAX_REFERENCES: usize = 3;

/// The payload descriptor (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// The running number of the picture, and whether it has 15 bits and not 7.
    pub picture_id: Option<(u16, bool)>,
    /// P: the picture is predicted from others.
    pub predicted: bool,
    /// The layer; `None` where there is only one.
    pub layer: Option<Layer>,
    /// F: flexible mode, in which each picture names those that it refers to.
    pub flexible: bool,
    /// B: a layer frame begins here.
    pub begin: bool,
    /// E: it ends here.
    pub end: bool,
    /// Z: no higher spatial layer refers to this one.
    pub not_referred: bool,
    /// How far back the pictures are that this one refers to, 1 to 127 each; 0 in unused places.
    pub differences: [u8; MAX_REFERENCES],
    /// The scalability structure, as it is on the wire ([`Structure::parse`]).
    pub structure: Option<&'a [u8]>,
}

/// The layer of a frame (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// TID: the temporal layer, 0 to 7.
    pub temporal: u8,
    /// U: a receiver may go up to this temporal layer here.
    pub switching_point: bool,
    /// SID: the spatial layer, 0 to 7.
    pub spatial: u8,
    /// D: it needs the layer below of the same picture.
    pub depends: bool,
    /// TL0PICIDX: the running number of pictures of temporal layer 0. In non-flexible mode only, and always there.
    pub base_picture_index: Option<u8>,
}

impl<'a> Descriptor<'a> {
    /// Parses the descriptor at the front of `payload`; returns it and its length. A payload that ends with its descriptor is
    /// refused: it carries nothing.
    ///
    /// # Errors
    /// If it is cut off, nothing follows it, or more than three pictures are referred to.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<(Self, usize), ParseError> {
        let mut reader = Reader::new(payload);
        let flags = reader.u8()?;
        let flag = |bit: u8| flags & bit != 0;
        let mut descriptor = Self {
            predicted: flag(0x40),
            flexible: flag(0x10),
            begin: flag(0x08),
            end: flag(0x04),
            not_referred: flag(0x01),
            ..Self::default()
        };
        if flag(0x80) {
            let first = reader.u8()?;
            descriptor.picture_id = Some(if first & 0x80 != 0 {
                (u16::from(first & 0x7f) << 8 | u16::from(reader.u8()?), true)
            } else {
                (first.into(), false)
            });
        }
        if flag(0x20) {
            let byte = reader.u8()?;
            descriptor.layer = Some(Layer {
                temporal: byte >> 5,
                switching_point: byte & 0x10 != 0,
                spatial: byte >> 1 & 7,
                depends: byte & 1 != 0,
                base_picture_index: if descriptor.flexible { None } else { Some(reader.u8()?) },
            });
        }
        if descriptor.predicted && descriptor.flexible {
            let mut more = true;
            for place in &mut descriptor.differences {
                if !more {
                    break;
                }
                let byte = reader.u8()?;
                // §4.2: a picture does not refer to itself. Such a reference would end the list when it is written again.
                *place = Some(byte >> 1)
                    .filter(|difference| *difference > 0)
                    .ok_or(ParseError::Value)?;
                more = byte & 1 != 0;
            }
            if more {
                return Err(ParseError::Value);
            }
        }
        if flag(0x02) {
            let rest = reader.rest();
            let (_, len) = Structure::parse(rest)?;
            descriptor.structure = Some(reader.take(len)?);
        }
        if reader.is_empty() {
            return Err(ParseError::Short);
        }
        Ok((descriptor, payload.len() - reader.remaining()))
    }

    /// Writes the descriptor to the front of `out` and returns its length; `None` if there is no room.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut out = antiphon_sansio::Writer::new(out);
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let flags = bit(self.picture_id.is_some(), 0x80)
            | bit(self.predicted, 0x40)
            | bit(self.layer.is_some(), 0x20)
            | bit(self.flexible, 0x10)
            | bit(self.begin, 0x08)
            | bit(self.end, 0x04)
            | bit(self.structure.is_some(), 0x02)
            | bit(self.not_referred, 0x01);
        out.put_u8(flags).ok()?;
        match self.picture_id {
            Some((id, true)) => out.put_u16(0x8000 | id).ok()?,
            Some((id, false)) => out.put_u8(id as u8 & 0x7f).ok()?,
            None => {}
        }
        if let Some(layer) = self.layer {
            let byte = layer.temporal << 5
                | bit(layer.switching_point, 0x10)
                | (layer.spatial & 7) << 1
                | u8::from(layer.depends);
            out.put_u8(byte).ok()?;
            if !self.flexible {
                out.put_u8(layer.base_picture_index.unwrap_or(0)).ok()?;
            }
        }
        if self.predicted && self.flexible {
            let count = self
                .differences
                .iter()
                .take_while(|difference| **difference > 0)
                .count()
                .max(1);
            for (index, difference) in self.differences.iter().take(count).enumerate() {
                out.put_u8(difference << 1 | u8::from(index + 1 < count)).ok()?;
            }
        }
        if let Some(structure) = self.structure {
            out.put_slice(structure).ok()?;
        }
        Some(out.len())
    }

    /// Whether a picture begins here.
    fn start(&self) -> Start {
        match (self.begin, self.layer) {
            (false, _) => Start::No,
            (true, None) => Start::Yes,
            (true, Some(layer)) if layer.spatial == 0 => Start::Yes,
            // The lowest layer of a picture may be left out on the way.
            (true, Some(_)) => Start::Maybe,
        }
    }
}

/// The scalability structure (RFC 9628 §4.2.1): which layers there are, and how the pictures of a group depend on each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Structure<'a> {
    /// How many spatial layers there are, 1 to 8.
    pub layers: u8,
    /// Width and height of each, as on the wire; empty if they are not told.
    sizes: &'a [u8],
    /// The pictures of a group, as on the wire with their number before them; empty if they are not told.
    group: &'a [u8],
}

impl<'a> Structure<'a> {
    /// Parses a structure at the front of `bytes`; returns it and its length.
    ///
    /// # Errors
    /// If it is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), ParseError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let layers = (flags >> 5) + 1;
        let sizes = if flags & 0x10 != 0 {
            reader.take(4 * usize::from(layers))?
        } else {
            &[]
        };
        let mut group: &[u8] = &[];
        if flags & 0x08 != 0 {
            let behind = reader.rest();
            for _ in 0..reader.u8()? {
                let references = reader.u8()? >> 2 & 3;
                reader.take(references.into())?;
            }
            group = &behind[..behind.len() - reader.remaining()];
        }
        let structure = Self { layers, sizes, group };
        Ok((structure, bytes.len() - reader.remaining()))
    }

    /// The size of a spatial layer, if it is told.
    pub fn size(&self, layer: usize) -> Option<Resolution> {
        let size = self.sizes.get(4 * layer..4 * layer + 4)?;
        Some(Resolution {
            width: u16::from_be_bytes([size[0], size[1]]).into(),
            height: u16::from_be_bytes([size[2], size[3]]).into(),
        })
    }

    /// The pictures of a group, one after another: temporal layer, whether a receiver may go up to it there, and how far back the
    /// pictures are that it refers to.
    pub fn group(&self) -> impl Iterator<Item = (u8, bool, &'a [u8])> + use<'a> {
        let mut rest = self.group.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (&first, behind) = rest.split_first()?;
            let (references, behind) = behind.split_at_checked(usize::from(first >> 2 & 3))?;
            rest = behind;
            Some((first >> 5, first & 0x10 != 0, references))
        })
    }

    /// Writes a structure to the front of `out` and returns its length; `None` if there is no room. `sizes` are those of the layers,
    /// or empty; of a picture in `group` only the first three references are written.
    pub fn write(layers: u8, sizes: &[Resolution], group: &[(u8, bool, &[u8])], out: &mut [u8]) -> Option<usize> {
        let mut out = antiphon_sansio::Writer::new(out);
        let layers = layers.clamp(1, MAX_LAYERS as u8);
        let sized = sizes.len() == usize::from(layers);
        let flags = (layers - 1) << 5 | u8::from(sized) << 4 | u8::from(!group.is_empty()) << 3;
        out.put_u8(flags).ok()?;
        for size in sizes.iter().take(if sized { MAX_LAYERS } else { 0 }) {
            out.put_u16(size.width as u16).ok()?;
            out.put_u16(size.height as u16).ok()?;
        }
        if !group.is_empty() {
            let count = group.len().min(255);
            out.put_u8(count as u8).ok()?;
            for (temporal, switching_point, references) in &group[..count] {
                let references = &references[..references.len().min(MAX_REFERENCES)];
                let count = references.len() as u8;
                out.put_u8(temporal << 5 | u8::from(*switching_point) << 4 | count << 2)
                    .ok()?;
                out.put_slice(references).ok()?;
            }
        }
        Some(out.len())
    }
}

/// Cuts frames in flexible mode: each picture refers to the one before, a key frame tells the layers and their sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packetizer {
    picture_id: u16,
}

impl Packetizer {
    /// Picture ids begin with the low 15 bits of `start`.
    pub fn new(start: u16) -> Self {
        Self {
            picture_id: start & 0x7fff,
        }
    }

    /// Appends the packets of `frame` to `cuts`.
    ///
    /// # Errors
    /// [`FrameError::Size`] if `max` leaves no room beside the descriptor.
    pub fn packetize(&self, frame: &[u8], max: usize, cuts: &mut Vec<Cut>) -> Result<(), FrameError> {
        let (frames, count) = layer_frames(frame);
        let key_frame = is_key_frame(frame);
        let mut structure = [0; MAX_OWN];
        let mut structure_len = 0;
        if key_frame {
            let mut sizes = [Resolution::default(); MAX_LAYERS];
            let mut known = 0;
            for (size, range) in sizes.iter_mut().zip(&frames[..count]) {
                let Some(told) = frame.get(range.clone()).and_then(resolution) else {
                    break;
                };
                *size = told;
                known += 1;
            }
            let sizes = &sizes[..known];
            let room = &mut structure[..MAX_OWN - FIXED];
            let written = Structure::write(count as u8, sizes, &[], room);
            structure_len = written
                .or_else(|| Structure::write(count as u8, &[], &[], room))
                .unwrap_or(0);
        }
        self.cut(&frames[..count], key_frame, &structure[..structure_len], max, cuts)
    }

    /// Appends the packets of a frame that cannot be read: of one layer, and a key frame or not, as is told.
    ///
    /// # Errors
    /// As [`Self::packetize`].
    pub fn packetize_opaque(
        &self,
        frame: &[u8],
        key_frame: bool,
        max: usize,
        cuts: &mut Vec<Cut>,
    ) -> Result<(), FrameError> {
        self.cut(std::slice::from_ref(&(0..frame.len())), key_frame, &[], max, cuts)
    }

    fn cut(
        &self,
        frames: &[Range<usize>],
        key_frame: bool,
        structure: &[u8],
        max: usize,
        cuts: &mut Vec<Cut>,
    ) -> Result<(), FrameError> {
        let count = frames.len();
        for (index, range) in frames.iter().enumerate() {
            let mut descriptor = Descriptor {
                picture_id: Some((self.picture_id, true)),
                predicted: !key_frame,
                layer: (count > 1).then(|| Layer {
                    spatial: index as u8,
                    depends: index > 0,
                    ..Layer::default()
                }),
                flexible: true,
                begin: true,
                not_referred: index + 1 == count,
                differences: [u8::from(!key_frame), 0, 0],
                structure: (index == 0 && !structure.is_empty()).then_some(structure),
                ..Descriptor::default()
            };
            let mut own = [0; MAX_OWN];
            let first = descriptor.write(&mut own).ok_or(FrameError::Size)?;
            let room = max
                .checked_sub(first)
                .filter(|room| *room > 0)
                .ok_or(FrameError::Size)?;
            let parts = Slices::new(range.len(), room);
            let parts_count = parts.len();
            for (number, part) in parts.enumerate() {
                descriptor.end = number + 1 == parts_count;
                let len = descriptor.write(&mut own).ok_or(FrameError::Size)?;
                let mut layout = Layout::default();
                layout.push(&own[..len], range.start + part.start..range.start + part.end);
                let marker = descriptor.end && index + 1 == count;
                cuts.push(Cut { layout, marker });
                (descriptor.begin, descriptor.structure) = (false, None);
            }
        }
        Ok(())
    }

    /// The next frame has the next picture id.
    pub fn advance(&mut self) {
        self.picture_id = self.picture_id.wrapping_add(1) & 0x7fff;
    }
}

/// Bytes of our descriptor beside the structure: flags, picture id, layer, one reference.
const FIXED: usize = 5;

/// What a payload is to its frame. A key frame is not predicted and begins with the lowest spatial layer.
///
/// # Errors
/// If the descriptor is cut off, or nothing follows it.
#[inline]
pub fn depacketize(payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
    let (descriptor, _) = Descriptor::parse(payload)?;
    let start = descriptor.start();
    Ok(Piece {
        start,
        end: marker,
        key_frame: start == Start::Yes && !descriptor.predicted,
    })
}

pub(super) fn join<'a>(
    mut payloads: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<Joined, ParseError> {
    let first = payloads.next().ok_or(ParseError::Short)?;
    let (descriptor, len) = Descriptor::parse(first)?;
    if descriptor.start() == Start::No {
        return Err(ParseError::Value);
    }
    let mut facts = FrameFacts {
        picture_id: descriptor.picture_id.map(|(id, _)| id),
        ..FrameFacts::default()
    };
    if let Some(layer) = descriptor.layer {
        facts.temporal = layer.temporal;
        facts.spatial = layer.spatial;
        facts.switching_point = layer.switching_point;
        facts.base_picture_index = layer.base_picture_index;
    }
    if !descriptor.predicted {
        facts.resolution = first.get(len..).and_then(resolution);
        let structure = descriptor.structure.and_then(|bytes| Structure::parse(bytes).ok());
        if let Some((structure, _)) = structure {
            facts.resolution = structure.size(usize::from(structure.layers) - 1).or(facts.resolution);
        }
    }
    if payloads.clone().next().is_none() {
        return Ok(Joined::part(len..first.len(), facts));
    }
    let start = out.len();
    out.reserve(first.len() + payloads.clone().map(<[u8]>::len).sum::<usize>() + 2 + 4 * MAX_LAYERS);
    out.extend_from_slice(first.get(len..).unwrap_or_default());
    // Where the layer frames begin behind the first.
    let mut begins = [0; MAX_LAYERS];
    let mut count = 1;
    let mut open = !descriptor.end;
    for payload in payloads {
        let (descriptor, len) = Descriptor::parse(payload)?;
        if descriptor.begin {
            let place = begins.get_mut(count).ok_or(ParseError::Value)?;
            *place = out.len() - start;
            count += 1;
            facts.spatial = facts.spatial.max(descriptor.layer.map_or(0, |layer| layer.spatial));
        } else if !open {
            return Err(ParseError::Value);
        }
        open = !descriptor.end;
        let part = payload.get(len..).unwrap_or_default();
        if out.len() + part.len() > MAX_FRAME {
            return Err(ParseError::Value);
        }
        out.extend_from_slice(part);
    }
    if count > 1 {
        write_index(&begins[..count], start, out);
    }
    Ok(Joined::appended(facts))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::superframe::superframe;
    use super::*;

    fn key(payload: &[u8]) -> bool {
        depacketize(payload, false).is_ok_and(|piece| piece.key_frame)
    }

    #[test]
    fn key_frames_are_recognised() {
        assert!(key(&[0x88, 0x01, 0xaa]));
        assert!(key(&[0xa8, 0x81, 0x02, 0x00, 0x00, 0xaa]));
        assert!(!key(&[0xa8, 0x81, 0x02, 0x02, 0x00, 0xaa]), "upper spatial layer");
        assert!(!key(&[0xc8, 0x01, 0xaa]), "predicted");
        assert!(!key(&[]));
    }

    #[test]
    fn a_key_frame_of_chromium_is_read() {
        // Flexible mode, one layer of 320x240, the beginning of the frame.
        let payload = [
            0x9b, 0x81, 0x8d, 0x10, 0x01, 0x40, 0x00, 0xf0, 0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf0,
        ];
        let (descriptor, len) = Descriptor::parse(&payload).unwrap();
        assert_eq!((len, descriptor.picture_id), (8, Some((0x18d, true))));
        let size = Resolution {
            width: 320,
            height: 240,
        };
        let (structure, _) = Structure::parse(descriptor.structure.unwrap()).unwrap();
        assert_eq!(
            (structure.layers, structure.size(0), structure.size(1)),
            (1, Some(size), None)
        );
        assert!(is_key_frame(&payload[8..]));
        assert_eq!(resolution(&payload[8..]), Some(size));
    }

    /// Frames of layers: shown, and none of them ends like an index.
    fn picture(key_frame: bool, layers: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut begins = Vec::new();
        for (index, len) in layers.iter().enumerate() {
            begins.push(out.len());
            out.push(if key_frame && index == 0 { 0x82 } else { 0x86 });
            out.resize(out.len() + len, 7);
        }
        if layers.len() > 1 {
            write_index(&begins, 0, &mut out);
        }
        out
    }

    proptest! {
        #[test]
        fn layers_come_back(key_frame: bool, layers in vec(1usize..4000, 1..=MAX_LAYERS), max in 60usize..1400) {
            let frame = picture(key_frame, &layers);
            let packetizer = Packetizer::new(7);
            let mut cuts = Vec::new();
            packetizer.packetize(&frame, max, &mut cuts).unwrap();
            let payloads: Vec<_> = cuts.iter().map(|cut| {
                let mut payload = Vec::new();
                cut.layout.write(&frame, |part| payload.extend_from_slice(part));
                payload
            }).collect();
            prop_assert!(payloads.iter().all(|payload| payload.len() <= max));
            let begins = payloads.iter().filter(|payload| Descriptor::parse(payload).unwrap().0.begin).count();
            prop_assert_eq!(begins, layers.len());
            let mut out = Vec::new();
            let joined = join(payloads.iter().map(|payload| &payload[..]), &mut out).unwrap();
            if let Some(part) = joined.part {
                out.extend_from_slice(&payloads[0][part]);
            }
            prop_assert!(out == frame);
            prop_assert_eq!(usize::from(joined.facts.spatial), layers.len() - 1);
            prop_assert_eq!(joined.facts.picture_id, Some(7));
        }

        #[test]
        fn descriptors_are_read_as_written(bytes in vec(any::<u8>(), 0..80)) {
            let _ = (resolution(&bytes), superframe(&bytes), join([&bytes[..]; 2].into_iter(), &mut Vec::new()));
            if let Ok((descriptor, len)) = Descriptor::parse(&bytes) {
                let mut out = [0; 80];
                prop_assert_eq!(descriptor.write(&mut out), Some(len));
                out[len] = 9;
                prop_assert_eq!(Descriptor::parse(&out[..=len]), Ok((descriptor, len)));
            }
        }

        #[test]
        fn structures_are_read_as_written(
            sizes in vec((any::<u16>(), any::<u16>()), 1..=MAX_LAYERS),
            sized: bool,
            group in vec((0u8..8, any::<bool>(), vec(any::<u8>(), 0..=MAX_REFERENCES)), 0..20),
        ) {
            let layers = sizes.len() as u8;
            let size = |(width, height): (u16, u16)| Resolution { width: width.into(), height: height.into() };
            let sizes: Vec<_> = sizes.into_iter().map(size).filter(|_| sized).collect();
            let group: Vec<_> = group.iter().map(|(t, u, references)| (*t, *u, &references[..])).collect();
            let mut out = [0; 200];
            let len = Structure::write(layers, &sizes, &group, &mut out).unwrap();
            let (structure, read) = Structure::parse(&out[..len]).unwrap();
            prop_assert_eq!((read, structure.layers), (len, layers));
            prop_assert!((0..sizes.len()).all(|layer| structure.size(layer) == Some(sizes[layer])));
            prop_assert!(structure.group().eq(group));
        }
    }

    #[test]
    fn what_is_hidden_goes_with_what_is_shown() {
        let mut frame = picture(false, &[30, 20]);
        frame[0] = 0x84;
        let mut cuts = Vec::new();
        Packetizer::new(0).packetize(&frame, 1200, &mut cuts).unwrap();
        assert_eq!((cuts.len(), cuts[0].marker), (1, true));
    }
}
