//! What was decided about the newest frames of a source, so that each packet of a frame, in whichever order, has the
//! same fate.

/// Frames that are remembered: a second of three layers at 30 frames a second, without the frames of a burst.
const FRAMES: usize = 96;

/// What was decided about one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The number of the frame, or the timestamp of the picture.
    pub(crate) key: u32,
    /// Whether it goes on. Of a picture with several layers: whether anything of it can.
    pub(crate) goes_on: bool,
    /// The highest spatial layer of the picture that goes on.
    pub(crate) spatial: u8,
}

/// The newest verdicts.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// The keys by themselves: a frame that is new is looked for among all of them.
    keys: [u32; FRAMES],
    /// Of each whether it goes on, and up to which layer.
    fates: [(bool, u8); FRAMES],
    count: usize,
    next: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            keys: [0; FRAMES],
            fates: [(false, 0); FRAMES],
            count: 0,
            next: 0,
        }
    }
}

impl Frames {
    pub(crate) fn clear(&mut self) {
        (self.count, self.next) = (0, 0);
    }

    pub(crate) fn push(&mut self, verdict: Verdict) {
        if let (Some(key), Some(fate)) = (self.keys.get_mut(self.next), self.fates.get_mut(self.next)) {
            (*key, *fate) = (verdict.key, (verdict.goes_on, verdict.spatial));
        }
        self.next = (self.next + 1) % FRAMES;
        self.count = (self.count + 1).min(FRAMES);
    }

    /// The verdict about a frame. Most packets are of the newest; there is one verdict for a frame.
    #[inline]
    pub(crate) fn find(&self, key: u32) -> Option<Verdict> {
        let newest = self.next.checked_sub(1).unwrap_or(FRAMES - 1);
        let place = match self.keys.get(newest) {
            Some(own) if *own == key && self.count > 0 => newest,
            // Those that are in use stand in front.
            _ => self.keys.get(..self.count)?.iter().position(|own| *own == key)?,
        };
        let (goes_on, spatial) = *self.fates.get(place)?;
        Some(Verdict { key, goes_on, spatial })
    }

    /// Whether a frame went on.
    pub(crate) fn went_on(&self, key: u32) -> bool {
        self.find(key).is_some_and(|verdict| verdict.goes_on)
    }
}
