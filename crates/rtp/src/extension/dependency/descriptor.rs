//! The descriptor of one packet, and what it says of its frame.

use antiphon_sansio::{Full, Writer};

use super::bits::{BitReader, BitWriter};
use super::structure::{Chains, Differences, Indications, Resolution, Structure};

/// Bytes that every descriptor has.
const MANDATORY: usize = 3;

/// Why a descriptor cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It ends before its last field, or a structure in it goes beyond what is taken here.
    #[error("a dependency descriptor that ends early or is too large")]
    Malformed,
    /// It needs a structure, and none has come: its key frame was lost.
    #[error("a dependency descriptor before its structure")]
    NoStructure,
    /// The structure has no such template: it belongs to another one, which was lost or is late.
    #[error("a dependency descriptor of another structure")]
    UnknownTemplate,
}

/// What every packet says, with or without its structure (§A.8.2 `mandatory_descriptor_fields`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStart {
    /// Whether it is the first packet of a frame.
    pub start: bool,
    /// Whether it is the last packet of a frame.
    pub end: bool,
    /// The template of the frame, 6 bits.
    pub template_id: u8,
    /// The number of the frame; those of one stream grow in decoding order.
    pub frame_number: u16,
}

impl FrameStart {
    /// Reads the first three bytes of a descriptor; `None` if there are fewer.
    #[inline]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[bits, high, low] = data.first_chunk::<MANDATORY>()?;
        Some(Self {
            start: bits & 0x80 != 0,
            end: bits & 0x40 != 0,
            template_id: bits & 0x3f,
            frame_number: u16::from_be_bytes([high, low]),
        })
    }
}

/// The descriptor of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// What every packet says.
    pub frame: FrameStart,
    /// The structure that begins with this frame, a key frame.
    pub structure: Option<Box<Structure>>,
    /// The decode targets that are there from now on, one bit each; `None`: as before, and with a structure all.
    pub active_targets: Option<u32>,
    /// What the frame is to each decode target, where it is not as in the template.
    pub indications: Option<Indications>,
    /// What the frame depends on, where it is not as in the template.
    pub differences: Option<Differences>,
    /// Where the chains stand, where that is not as in the template.
    pub chains: Option<Chains>,
}

/// What a descriptor says of its frame, its own fields and those of its template together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of the frame.
    pub number: u16,
    /// Its spatial layer.
    pub spatial: u8,
    /// Its temporal layer.
    pub temporal: u8,
    /// What it is to each decode target.
    pub indications: Indications,
    /// What it depends on.
    pub differences: Differences,
    /// Where the chains stand.
    pub chains: Chains,
    /// How large its picture is, if the structure says so.
    pub resolution: Option<Resolution>,
}

impl Frame {
    /// Whether it is part of one of these decode targets, one bit each: the others can do without it.
    pub fn is_for(&self, targets: u32) -> bool {
        self.indications.targets() & targets != 0
    }

    /// The numbers of the frames that it depends on.
    pub fn depends_on(&self) -> impl Iterator<Item = u16> + '_ {
        let all = self.differences.as_slice().iter();
        all.map(|difference| self.number.wrapping_sub(*difference))
    }

    /// The number of the last frame of a chain before this one. If that did not come, the chain is broken (§A.6); `None` if
    /// the chain needs no frame before this one.
    pub fn chain_before(&self, chain: usize) -> Option<u16> {
        match self.chains.get(chain) {
            0 => None,
            difference => Some(self.number.wrapping_sub(u16::from(difference))),
        }
    }
}

impl DependencyDescriptor {
    /// Reads the data of an element. `newest` is the structure of the stream, of which the packet may bring another.
    ///
    /// # Errors
    /// If it ends early, or needs a structure or a template that is not there.
    pub fn parse(data: &[u8], newest: Option<&Structure>) -> Result<Self, DescriptorError> {
        let frame = FrameStart::parse(data).ok_or(DescriptorError::Malformed)?;
        let mut descriptor = Self {
            frame,
            ..Self::default()
        };
        let mut bits = BitReader::new(data.get(MANDATORY..).unwrap_or_default());
        // §A.8.2: the flags are there if anything is.
        let flags = if data.len() > MANDATORY {
            bits.bits(5).unwrap_or(0)
        } else {
            0
        };
        if flags & 0b10000 != 0 {
            let structure = Structure::read(&mut bits).ok_or(DescriptorError::Malformed)?;
            descriptor.structure = Some(Box::new(structure));
        }
        let structure = descriptor
            .structure
            .as_deref()
            .or(newest)
            .ok_or(DescriptorError::NoStructure)?;
        if structure.template(frame.template_id).is_none() {
            return Err(DescriptorError::UnknownTemplate);
        }
        let (targets, chains) = (structure.target_count(), structure.chain_count());
        let mut fields = || {
            if flags & 0b01000 != 0 {
                descriptor.active_targets = Some(bits.long(u32::from(targets))?);
            }
            if flags & 0b00100 != 0 {
                descriptor.indications = Some(Indications::read(&mut bits, targets)?);
            }
            if flags & 0b00010 != 0 {
                descriptor.differences = Some(Differences::read(&mut bits)?);
            }
            if flags & 0b00001 != 0 {
                descriptor.chains = Some(Chains::read(&mut bits, chains, 8)?);
            }
            Some(())
        };
        fields().ok_or(DescriptorError::Malformed)?;
        Ok(descriptor)
    }

    /// The frame. `newest` is as in [`Self::parse`]; `None` if the structure has no such template.
    pub fn resolve(&self, newest: Option<&Structure>) -> Option<Frame> {
        let structure = self.structure.as_deref().or(newest)?;
        let template = structure.template(self.frame.template_id)?;
        Some(Frame {
            number: self.frame.frame_number,
            spatial: template.spatial,
            temporal: template.temporal,
            indications: self.indications.unwrap_or(template.indications),
            differences: self.differences.unwrap_or(template.differences),
            chains: self.chains.unwrap_or(template.chains),
            resolution: structure.resolutions().get(usize::from(template.spatial)).copied(),
        })
    }

    fn write_bits(&self, newest: Option<&Structure>, bits: &mut BitWriter<'_, '_>) -> Result<(), Full> {
        let frame = &self.frame;
        bits.flag(frame.start)?;
        bits.flag(frame.end)?;
        bits.bits(u16::from(frame.template_id), 6)?;
        bits.bits(frame.frame_number, 16)?;
        let flags = [
            self.structure.is_some(),
            self.active_targets.is_some(),
            self.indications.is_some(),
            self.differences.is_some(),
            self.chains.is_some(),
        ];
        if !flags.contains(&true) {
            return Ok(());
        }
        flags.iter().try_for_each(|flag| bits.flag(*flag))?;
        if let Some(structure) = &self.structure {
            structure.write(bits)?;
        }
        let structure = self.structure.as_deref().or(newest);
        let (targets, chains) = structure.map_or((0, 0), |s| (s.target_count(), s.chain_count()));
        if let Some(active) = self.active_targets {
            bits.long(active, u32::from(targets))?;
        }
        if let Some(indications) = self.indications {
            indications.write(bits, targets)?;
        }
        if let Some(differences) = &self.differences {
            differences.write(bits)?;
        }
        if let Some(chains_at) = &self.chains {
            chains_at.write(bits, chains, 8)?;
        }
        Ok(())
    }

    /// How many bytes [`Self::write`] writes.
    pub fn written_len(&self, newest: Option<&Structure>) -> usize {
        let mut bits = BitWriter::counter();
        let counted = self.write_bits(newest, &mut bits);
        counted.and_then(|()| bits.finish()).unwrap_or(0)
    }

    /// Writes the data of an element. `newest` is as in [`Self::parse`].
    ///
    /// # Errors
    /// If there is no room for it in `out`, which is then unchanged.
    pub fn write(&self, newest: Option<&Structure>, out: &mut Writer<'_>) -> Result<(), Full> {
        let start = out.len();
        let mut bits = BitWriter::new(out);
        let written = self.write_bits(newest, &mut bits).and_then(|()| bits.finish());
        if written.is_err() {
            out.truncate(start);
        }
        written.map(drop)
    }
}
