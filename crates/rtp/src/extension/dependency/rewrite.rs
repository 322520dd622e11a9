//! What is remembered of a stream from packet to packet, and how its descriptors are written for one receiver.

use antiphon_sansio::{Full, Writer};

use super::descriptor::{DependencyDescriptor, DescriptorError, Frame};
use super::structure::Structure;

/// The newest structure of one RTP stream: all that must be known to read its descriptors.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    newest: Option<Newest>,
}

#[derive(Clone, Debug)]
struct Newest {
    structure: Box<Structure>,
    /// The frame that brought it.
    since: u16,
    /// The decode targets that the sender has, and the frame that said so.
    active: u32,
    active_since: u16,
}

/// Whether a frame number is `other`, or after it.
fn is_at_or_after(number: u16, other: u16) -> bool {
    number.wrapping_sub(other) < 0x8000
}

impl Stream {
    /// The newest structure; `None` before the first.
    pub fn structure(&self) -> Option<&Structure> {
        self.newest.as_ref().map(|newest| &*newest.structure)
    }

    /// The decode targets that the sender says it sends, one bit each; none before the first structure.
    pub fn active_targets(&self) -> u32 {
        self.newest.as_ref().map_or(0, |newest| newest.active)
    }

    /// Reads the descriptor of a packet and takes its structure, if that is newer than what is known: a late packet changes
    /// nothing.
    ///
    /// # Errors
    /// As [`DependencyDescriptor::parse`].
    pub fn read(&mut self, data: &[u8]) -> Result<DependencyDescriptor, DescriptorError> {
        let descriptor = DependencyDescriptor::parse(data, self.structure())?;
        let number = descriptor.frame.frame_number;
        if let Some(structure) = &descriptor.structure {
            let newer = self
                .newest
                .as_ref()
                .is_none_or(|newest| is_at_or_after(number, newest.since));
            if newer {
                self.newest = Some(Newest {
                    active: structure.all_targets(),
                    active_since: number,
                    since: number,
                    structure: structure.clone(),
                });
            }
        }
        if let (Some(newest), Some(active)) = (&mut self.newest, descriptor.active_targets)
            && is_at_or_after(number, newest.active_since)
        {
            (newest.active, newest.active_since) = (active, number);
        }
        Ok(descriptor)
    }

    /// What a descriptor says of its frame.
    pub fn resolve(&self, descriptor: &DependencyDescriptor) -> Option<Frame> {
        descriptor.resolve(self.structure())
    }
}

/// Writes the descriptors of a stream for one receiver, who gets some of its decode targets, under numbers of its own.
///
/// The templates stay as they are; the receiver is told by the bitmask of active decode targets what it can wait for. That
/// stands in every packet for as long as it is not what the structure says by itself, so that no loss hides it (§A.4).
///
/// ```
/// use antiphon_rtp::extension::dependency::{
///     Chains, DependencyDescriptor, Differences, FrameStart, Indication, Indications, Rewriter, Stream, Structure, Template,
/// };
/// use antiphon_sansio::Writer;
///
/// // One spatial layer and two temporal ones; the lower is a target of its own.
/// let template = |temporal, low, high, differences: &[u16]| Template {
///     temporal,
///     indications: Indications::new([low, high]),
///     differences: Differences::new(differences.iter().copied()),
///     chains: Chains::new([if differences.is_empty() { 0 } else { 1 }]),
///     ..Template::default()
/// };
/// use Indication::{Discardable, NotPresent, Required, Switch};
/// let templates = [
///     template(0, Switch, Switch, &[]),
///     template(0, Switch, Required, &[2]),
///     template(1, NotPresent, Discardable, &[1]),
/// ];
/// let structure = Structure::new(0, 2, &[0, 0], &templates, &[]).expect("layers in order");
/// let key = DependencyDescriptor {
///     frame: FrameStart { start: true, end: true, template_id: 0, frame_number: 7 },
///     structure: Some(Box::new(structure)),
///     ..DependencyDescriptor::default()
/// };
/// let mut bytes = [0; 64];
/// let mut out = Writer::new(&mut bytes);
/// key.write(None, &mut out)?;
///
/// let mut stream = Stream::default();
/// let descriptor = stream.read(out.finish())?;
/// let structure = stream.structure().expect("the key frame brought it");
/// let mut rewriter = Rewriter::default();
/// rewriter.select(structure.targets_within(0, 0));
/// let mut bytes = [0; 64];
/// let mut out = Writer::new(&mut bytes);
/// rewriter.rewrite(&descriptor, &stream, &mut out)?;
/// let mut receiver = Stream::default();
/// receiver.read(out.finish())?;
/// assert_eq!(receiver.active_targets(), 0b01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rewriter {
    /// The decode targets that the receiver gets, as far as they are there.
    targets: u32,
    /// What is added to each frame number.
    shift: u16,
    /// Whether the receiver was told of active targets since the last structure.
    told: bool,
}

impl Default for Rewriter {
    fn default() -> Self {
        Self {
            targets: u32::MAX,
            shift: 0,
            told: false,
        }
    }
}

impl Rewriter {
    /// From now on the receiver gets these decode targets, one bit each. Which of them can be begun with which frame is said
    /// by its [`Indication::Switch`](super::Indication::Switch).
    pub fn select(&mut self, targets: u32) {
        self.targets = targets;
    }

    /// The decode targets that the receiver gets.
    pub fn selected(&self) -> u32 {
        self.targets
    }

    /// From now on `shift` is added to frame numbers. Differences speak of numbers, so this is for where another stream of
    /// the same source takes over with a key frame: its numbers shall go on from those of the last one.
    pub fn shift(&mut self, shift: u16) {
        self.shift = shift;
    }

    /// Writes the descriptor of a packet of `stream`, which has read it.
    ///
    /// # Errors
    /// If there is no room for it in `out`, which is then unchanged.
    pub fn rewrite(
        &mut self,
        descriptor: &DependencyDescriptor,
        stream: &Stream,
        out: &mut Writer<'_>,
    ) -> Result<(), Full> {
        let mut written = descriptor.clone();
        written.frame.frame_number = descriptor.frame.frame_number.wrapping_add(self.shift);
        let newest = descriptor.structure.as_deref().or(stream.structure());
        let all = newest.map_or(0, Structure::all_targets);
        let there = match (&descriptor.structure, descriptor.active_targets) {
            (_, Some(active)) => active,
            (Some(_), None) => all,
            (None, None) => stream.active_targets(),
        };
        let active = there & self.targets & all;
        if descriptor.structure.is_some() {
            self.told = false;
        }
        self.told |= active != all;
        written.active_targets = self.told.then_some(active);
        written.write(newest, out)
    }
}
