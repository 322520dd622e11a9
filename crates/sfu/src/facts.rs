//! What one packet says of its layer, read once for all consumers.

use std::sync::Arc;

use antiphon_media::Packet;
use antiphon_media::extension::Kind;
use antiphon_media::extension::dependency::{DependencyDescriptor, Frame, Stream};
use antiphon_rtp::bitstream;
use antiphon_rtp::payload::{Depacketizer, Start, vp8, vp9};

/// What one packet says of its layer: the producer reads it, and each consumer is shown it beside the packet.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The encoding of the packet: its place among those of the track.
    pub encoding: u8,
    /// The spatial layer, as the packet has it.
    pub spatial: u8,
    /// The temporal layer, as the packet has it.
    pub temporal: u8,
    /// Whether it is the first packet of a frame, as far as it says so; a picture with several spatial layers has
    /// several frames.
    pub start: bool,
    /// Whether it is the last packet of a frame.
    pub end: bool,
    /// Whether it is the first packet of a picture that can be decoded alone.
    pub key_frame: bool,
    pub(crate) body: Body,
    pub(crate) dependency: Option<Dependency>,
}

/// The dependency descriptor of a packet, with what it needs to be understood.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) descriptor: DependencyDescriptor,
    pub(crate) frame: Frame,
    /// The structure that it is read by.
    pub(crate) stream: Arc<Stream>,
}

/// The payload descriptor, if it has numbers that a consumer gets anew.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// Nothing is changed.
    Plain,
    /// Padding of the source: no payload at all.
    Padding,
    /// The descriptor, and its length.
    Vp8(vp8::Descriptor, u8),
    /// What of the descriptor matters here.
    Vp9(Vp9),
}

/// The parts of a VP9 descriptor that have a fixed place, at its front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vp9 {
    pub(crate) flags: u8,
    pub(crate) picture_id: Option<(u16, bool)>,
    /// The byte of the layer, and TL0PICIDX behind it, which is there in non-flexible mode.
    pub(crate) layer: Option<(u8, Option<u8>)>,
    pub(crate) switching_point: bool,
    /// P: predicted from other pictures.
    pub(crate) predicted: bool,
    /// D: needs the layer below of the same picture.
    pub(crate) depends: bool,
    /// Z: no higher spatial layer refers to it.
    pub(crate) not_referred: bool,
}

impl Facts {
    /// Reads the payload of a packet. `None` if it is none of its format.
    pub(crate) fn read(encoding: u8, format: Depacketizer, packet: &Packet) -> Option<Self> {
        let mut facts = Self {
            encoding,
            spatial: 0,
            temporal: 0,
            start: false,
            end: packet.marker,
            key_frame: false,
            body: Body::Plain,
            dependency: None,
        };
        if packet.payload.is_empty() {
            facts.body = Body::Padding;
            return Some(facts);
        }
        match format {
            Depacketizer::Vp8 => facts.read_vp8(&packet.payload)?,
            Depacketizer::Vp9 => facts.read_vp9(&packet.payload)?,
            format => {
                let piece = format.depacketize(&packet.payload, packet.marker).ok()?;
                facts.start = piece.start != Start::No;
                facts.key_frame = piece.key_frame;
            }
        }
        Some(facts)
    }

    fn read_vp8(&mut self, payload: &[u8]) -> Option<()> {
        let (descriptor, len) = vp8::Descriptor::parse(payload).ok()?;
        self.start = descriptor.starts_frame();
        self.temporal = descriptor.temporal_layer.map_or(0, |(layer, _)| layer);
        self.key_frame = self.start && payload.get(len).is_some_and(|byte| bitstream::vp8::is_key_frame(*byte));
        self.body = Body::Vp8(descriptor, len as u8);
        Some(())
    }

    fn read_vp9(&mut self, payload: &[u8]) -> Option<()> {
        let (descriptor, _) = vp9::Descriptor::parse(payload).ok()?;
        let layer = descriptor.layer.unwrap_or_default();
        self.spatial = layer.spatial;
        self.temporal = layer.temporal;
        self.start = descriptor.begin;
        self.end = descriptor.end;
        self.key_frame = descriptor.begin && !descriptor.predicted && layer.spatial == 0;
        let flags = *payload.first()?;
        // The byte of the layer stands behind the flags and the picture id.
        let at = 1 + descriptor.picture_id.map_or(0, |(_, long)| 1 + usize::from(long));
        let layer_byte = payload.get(at).copied().filter(|_| descriptor.layer.is_some());
        self.body = Body::Vp9(Vp9 {
            flags,
            picture_id: descriptor.picture_id,
            layer: layer_byte.map(|byte| (byte, layer.base_picture_index)),
            switching_point: layer.switching_point,
            predicted: descriptor.predicted,
            depends: layer.depends,
            not_referred: descriptor.not_referred,
        });
        Some(())
    }

    /// Takes in what the dependency descriptor says, which knows more than the payload.
    pub(crate) fn set_dependency(&mut self, descriptor: DependencyDescriptor, stream: &Arc<Stream>) -> Option<()> {
        let frame = descriptor.resolve(stream.structure())?;
        self.spatial = frame.spatial;
        self.temporal = frame.temporal;
        self.start = descriptor.frame.start;
        self.end = descriptor.frame.end;
        self.key_frame = descriptor.structure.is_some() && descriptor.frame.start && frame.spatial == 0;
        self.dependency = Some(Dependency {
            descriptor,
            frame,
            stream: stream.clone(),
        });
        Some(())
    }

    /// Whether higher spatial layers need the frame; `above`: the decode targets of those.
    pub(crate) fn is_shared(&self, above: u32) -> bool {
        match (&self.dependency, self.body) {
            (Some(dependency), _) => dependency.frame.is_for(above),
            (None, Body::Vp9(vp9)) => !vp9.not_referred,
            (None, _) => false,
        }
    }

    /// Whether the stream has several spatial layers, and nothing but the dependency descriptor says so.
    pub(crate) fn has_spatial_layers_by_descriptor_alone(&self) -> bool {
        let structure = self.dependency.as_ref().and_then(|own| own.stream.structure());
        let highest = structure.and_then(|structure| structure.templates().last());
        matches!(self.body, Body::Plain) && highest.is_some_and(|template| template.spatial > 0)
    }

    /// Whether it continues or begins a picture without a word of layers: simulcast or one layer of a format that says
    /// nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.dependency.is_none() && matches!(self.body, Body::Plain)
    }
}

/// The data of the dependency descriptor of a packet.
pub(crate) fn descriptor_of(packet: &Packet) -> Option<&[u8]> {
    let others = &packet.extensions.others;
    if others.is_empty() {
        return None;
    }
    others.borrow().get(Kind::DependencyDescriptor)
}
