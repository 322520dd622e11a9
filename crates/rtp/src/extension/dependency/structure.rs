//! The structure that comes with a key frame: decode targets, chains, and templates of frames (§A.8.2
//! `template_dependency_structure`).

use antiphon_sansio::Full;

use super::bits::{BitReader, BitWriter};

/// Most decode targets: their number has five bits.
pub(super) const MAX_TARGETS: usize = 32;
/// Most templates: their identifiers have six bits.
const MAX_TEMPLATES: usize = 64;
/// Spatial layers that a structure may have; libwebrtc takes four, AV1 has room for eight.
const MAX_SPATIAL: u8 = 8;
/// Temporal layers that a structure may have.
const MAX_TEMPORAL: u8 = 8;

/// What a frame is to a decode target (§A.8.3, table A.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Indication {
    /// No part of it.
    #[default]
    NotPresent,
    /// Part of it, and no other frame of it needs this one.
    Discardable,
    /// Part of it; all that follow can be decoded if this one can.
    Switch,
    /// Part of it, and needed.
    Required,
}

/// What a frame is to each of the decode targets, two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    /// What it is to target 0, 1 and so on; those behind the 32nd are left out, and those that are missing are not present.
    pub fn new(indications: impl IntoIterator<Item = Indication>) -> Self {
        let each = (0..MAX_TARGETS).zip(indications);
        Self(each.fold(0, |bits, (target, indication)| {
            bits | (indication as u64) << (2 * target)
        }))
    }

    /// What it is to a target.
    pub fn get(self, target: usize) -> Indication {
        let bits = if target < MAX_TARGETS {
            self.0 >> (2 * target) & 3
        } else {
            0
        };
        match bits {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    /// The targets that it is part of, one bit each.
    pub fn targets(self) -> u32 {
        (0..MAX_TARGETS).fold(0, |mask, target| {
            mask | u32::from(self.0 >> (2 * target) & 3 != 0) << target
        })
    }

    /// Those of the first targets.
    fn of(self, targets: u8) -> Self {
        Self(self.0 & u64::MAX >> (64 - 2 * u32::from(targets).clamp(1, 32)))
    }

    pub(super) fn read(bits: &mut BitReader<'_>, targets: u8) -> Option<Self> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(bits.bits(2)?) << (2 * target);
        }
        Some(Self(all))
    }

    pub(super) fn write(self, bits: &mut BitWriter<'_, '_>, targets: u8) -> Result<(), Full> {
        (0..targets).try_for_each(|target| bits.bits((self.0 >> (2 * target) & 3) as u16, 2))
    }
}

/// How many frames before this one those are that it depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    len: u8,
    values: [u16; Differences::MAX],
}

impl Differences {
    /// Most frames that one may depend on here; AV1 has at most seven, and descriptors with more are refused.
    pub const MAX: usize = 16;

    /// The first [`Self::MAX`] of these, each 1 to 4096, in a template 1 to 16.
    pub fn new(differences: impl IntoIterator<Item = u16>) -> Self {
        let mut all = Self::default();
        for difference in differences {
            all.push(difference);
        }
        all
    }

    /// The differences.
    pub fn as_slice(&self) -> &[u16] {
        self.values.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) fn push(&mut self, difference: u16) -> Option<()> {
        *self.values.get_mut(usize::from(self.len))? = difference;
        self.len += 1;
        Some(())
    }

    /// `frame_fdiffs`: of 4, 8 or 12 bits each.
    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let mut all = Self::default();
        loop {
            match bits.bits(2)? {
                0 => return Some(all),
                size => all.push(bits.bits(4 * u32::from(size))? + 1)?,
            }
        }
    }

    pub(super) fn write(&self, bits: &mut BitWriter<'_, '_>) -> Result<(), Full> {
        for difference in self.as_slice() {
            let less = difference.saturating_sub(1).min(0xfff);
            let size = match less {
                0..=0xf => 1,
                0x10..=0xff => 2,
                _ => 3,
            };
            bits.bits(size, 2)?;
            bits.bits(less, 4 * u32::from(size))?;
        }
        bits.bits(0, 2)
    }

    fn read_template(bits: &mut BitReader<'_>) -> Option<Self> {
        let mut all = Self::default();
        while bits.flag()? {
            all.push(bits.bits(4)? + 1)?;
        }
        Some(all)
    }

    fn write_template(&self, bits: &mut BitWriter<'_, '_>) -> Result<(), Full> {
        for difference in self.as_slice() {
            bits.flag(true)?;
            bits.bits(difference.saturating_sub(1).min(0xf), 4)?;
        }
        bits.flag(false)
    }
}

/// For each chain, how many frames before this one its last frame was; 0 for none that is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chains([u8; MAX_TARGETS]);

impl Chains {
    /// The difference of chain 0, 1 and so on, each 0 to 255, in a template 0 to 15; those behind the 32nd are left out.
    pub fn new(differences: impl IntoIterator<Item = u8>) -> Self {
        let mut all = Self::default();
        for (place, difference) in all.0.iter_mut().zip(differences) {
            *place = difference;
        }
        all
    }

    /// The difference of a chain.
    pub fn get(&self, chain: usize) -> u8 {
        self.0.get(chain).copied().unwrap_or(0)
    }

    /// Those of the first chains.
    fn of(&self, chains: u8) -> Self {
        Self::new(self.0.into_iter().take(usize::from(chains)))
    }

    pub(super) fn read(bits: &mut BitReader<'_>, chains: u8, width: u32) -> Option<Self> {
        let mut all = Self::default();
        for place in all.0.iter_mut().take(usize::from(chains)) {
            *place = bits.bits(width)? as u8;
        }
        Some(all)
    }

    pub(super) fn write(&self, bits: &mut BitWriter<'_, '_>, chains: u8, width: u32) -> Result<(), Full> {
        let most = ((1u16 << width) - 1).min(255);
        let mut all = self.0.iter().take(usize::from(chains));
        all.try_for_each(|difference| bits.bits(u16::from(*difference).min(most), width))
    }
}

/// A frame as it often is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Its spatial layer, 0 to 7.
    pub spatial: u8,
    /// Its temporal layer, 0 to 7.
    pub temporal: u8,
    /// What it is to each decode target.
    pub indications: Indications,
    /// What it depends on.
    pub differences: Differences,
    /// Where the chains stand.
    pub chains: Chains,
}

/// Width and height in pixels, 1 to 65536 each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels in a line.
    pub width: u32,
    /// Lines of the picture.
    pub height: u32,
}

/// What the frames of a stream look like, from one key frame to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    id: u8,
    targets: u8,
    chains: u8,
    protected_by: [u8; MAX_TARGETS],
    templates: Vec<Template>,
    resolutions: Vec<Resolution>,
}

impl Structure {
    /// A structure whose templates are numbered from `id` on (6 bits), with so many decode targets (1 to 32), and for each
    /// target the chain that protects it: none if there are no chains at all.
    ///
    /// `None` if the templates (1 to 64, in the order of layers: each has the layer of the one before it, the next temporal
    /// layer, or the first temporal layer of the next spatial one), the chains or the resolutions (none, or one for each
    /// spatial layer) cannot be written.
    pub fn new(
        id: u8,
        targets: u8,
        protected_by: &[u8],
        templates: &[Template],
        resolutions: &[Resolution],
    ) -> Option<Self> {
        let counted = (1..=MAX_TARGETS as u8).contains(&targets) && (1..=MAX_TEMPLATES).contains(&templates.len());
        let chains = protected_by.iter().max().map_or(0, |last| last.saturating_add(1));
        let protected = protected_by.is_empty() || protected_by.len() == usize::from(targets);
        if id >= 64 || !counted || !protected || chains > targets {
            return None;
        }
        // The first template is of the lowest layer, and each layer follows from the one before it.
        let layers = templates.iter().map(|template| (template.spatial, template.temporal));
        let steps = std::iter::once((0, 0)).chain(layers.clone()).zip(layers);
        for (index, ((spatial, temporal), here)) in steps.enumerate() {
            let same = here == (spatial, temporal);
            let step = index > 0 && (here == (spatial, temporal + 1) || here == (spatial + 1, 0));
            if !same && !step || here.0 >= MAX_SPATIAL || here.1 >= MAX_TEMPORAL {
                return None;
            }
        }
        let spatial = templates.last().map_or(0, |last| usize::from(last.spatial) + 1);
        if !resolutions.is_empty() && resolutions.len() != spatial {
            return None;
        }
        let mut all = [0; MAX_TARGETS];
        all.iter_mut()
            .zip(protected_by)
            .for_each(|(place, chain)| *place = *chain);
        Some(Self {
            id,
            targets,
            chains,
            protected_by: all,
            templates: templates
                .iter()
                .map(|template| Template {
                    indications: template.indications.of(targets),
                    chains: template.chains.of(chains),
                    ..*template
                })
                .collect(),
            resolutions: resolutions.to_vec(),
        })
    }

    /// The number of its first template, 0 to 63.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// How many decode targets there are, 1 to 32.
    pub fn target_count(&self) -> u8 {
        self.targets
    }

    /// How many chains there are, 0 to 32.
    pub fn chain_count(&self) -> u8 {
        self.chains
    }

    /// All decode targets, one bit each.
    pub fn all_targets(&self) -> u32 {
        u32::MAX >> (MAX_TARGETS as u32 - u32::from(self.targets).clamp(1, 32))
    }

    /// The chain that protects a decode target; `None` if there are no chains.
    pub fn protected_by(&self, target: usize) -> Option<u8> {
        let chain = self.protected_by.get(target).filter(|_| self.chains > 0);
        chain.copied()
    }

    /// The templates, in the order of layers.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The size of each spatial layer; none if it is not said.
    pub fn resolutions(&self) -> &[Resolution] {
        &self.resolutions
    }

    /// The template of a number, as packets name it.
    #[inline]
    pub fn template(&self, template_id: u8) -> Option<&Template> {
        // §A.8.2 frame_dependency_definition: the numbers go round at 64.
        self.templates.get(usize::from(template_id.wrapping_sub(self.id) & 63))
    }

    /// The highest spatial and temporal layer of a decode target (§A.8.2 `decode_target_layers`).
    pub fn layers(&self, target: usize) -> (u8, u8) {
        let of = self
            .templates
            .iter()
            .filter(|t| t.indications.get(target) != Indication::NotPresent);
        of.fold((0, 0), |(spatial, temporal), template| {
            (spatial.max(template.spatial), temporal.max(template.temporal))
        })
    }

    /// The decode targets within these layers, one bit each.
    pub fn targets_within(&self, spatial: u8, temporal: u8) -> u32 {
        (0..usize::from(self.targets)).fold(0, |mask, target| {
            let (s, t) = self.layers(target);
            mask | u32::from(s <= spatial && t <= temporal) << target
        })
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let id = bits.bits(6)? as u8;
        let targets = bits.bits(5)? as u8 + 1;
        let mut templates = Vec::new();
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            if templates.len() == MAX_TEMPLATES {
                return None;
            }
            templates.push(Template {
                spatial,
                temporal,
                ..Template::default()
            });
            match bits.bits(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => break,
            }
            if spatial >= MAX_SPATIAL || temporal >= MAX_TEMPORAL {
                return None;
            }
        }
        for template in &mut templates {
            template.indications = Indications::read(bits, targets)?;
        }
        for template in &mut templates {
            template.differences = Differences::read_template(bits)?;
        }
        let chains = bits.below(u16::from(targets) + 1)? as u8;
        let mut protected_by = [0; MAX_TARGETS];
        if chains > 0 {
            for place in protected_by.iter_mut().take(usize::from(targets)) {
                *place = bits.below(u16::from(chains))? as u8;
            }
            for template in &mut templates {
                template.chains = Chains::read(bits, chains, 4)?;
            }
        }
        let mut resolutions = Vec::new();
        if bits.flag()? {
            for _ in 0..=spatial {
                resolutions.push(Resolution {
                    width: u32::from(bits.bits(16)?) + 1,
                    height: u32::from(bits.bits(16)?) + 1,
                });
            }
        }
        Some(Self {
            id,
            targets,
            chains,
            protected_by,
            templates,
            resolutions,
        })
    }

    pub(super) fn write(&self, bits: &mut BitWriter<'_, '_>) -> Result<(), Full> {
        bits.bits(u16::from(self.id), 6)?;
        bits.bits(u16::from(self.targets.saturating_sub(1)), 5)?;
        let mut layers = self
            .templates
            .iter()
            .map(|template| (template.spatial, template.temporal))
            .peekable();
        while let Some((spatial, temporal)) = layers.next() {
            let step = match layers.peek() {
                None => 3,
                Some(next) if *next == (spatial, temporal) => 0,
                Some((next, _)) if *next == spatial => 1,
                Some(_) => 2,
            };
            bits.bits(step, 2)?;
        }
        for template in &self.templates {
            template.indications.write(bits, self.targets)?;
        }
        for template in &self.templates {
            template.differences.write_template(bits)?;
        }
        bits.below(u16::from(self.targets) + 1, u16::from(self.chains))?;
        if self.chains > 0 {
            for chain in self.protected_by.iter().take(usize::from(self.targets)) {
                bits.below(u16::from(self.chains), u16::from(*chain))?;
            }
            for template in &self.templates {
                template.chains.write(bits, self.chains, 4)?;
            }
        }
        bits.flag(!self.resolutions.is_empty())?;
        for resolution in &self.resolutions {
            bits.bits(resolution.width.saturating_sub(1).min(0xffff) as u16, 16)?;
            bits.bits(resolution.height.saturating_sub(1).min(0xffff) as u16, 16)?;
        }
        Ok(())
    }
}
