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

/// The newest verdicts. Most packets are of the newest frame of all: its verdict stands by itself, and with many consumers nothing else
/// has to come from memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    newest: Option<Verdict>,
    /// Once there were two.
    older: Option<Box<Older>>,
}

/// The verdicts before the newest.
#[derive(Clone, Debug)]
struct Older {
    /// The keys by themselves: a frame that is new is looked for among all of them.
    keys: [u32; FRAMES],
    /// Of each whether it goes on, and up to which layer.
    fates: [(bool, u8); FRAMES],
    count: usize,
    next: usize,
}

impl Default for Older {
    fn default() -> Self {
        Self {
            keys: [0; FRAMES],
            fates: [(false, 0); FRAMES],
            count: 0,
            next: 0,
        }
    }
}

impl Older {
    fn push(&mut self, verdict: Verdict) {
        if let (Some(key), Some(fate)) = (self.keys.get_mut(self.next), self.fates.get_mut(self.next)) {
            (*key, *fate) = (verdict.key, (verdict.goes_on, verdict.spatial));
        }
        self.next = (self.next + 1) % FRAMES;
        self.count = (self.count + 1).min(FRAMES);
    }

    fn find(&self, key: u32) -> Option<Verdict> {
        // Those that are in use stand in front.
        let place = self.keys.get(..self.count)?.iter().position(|own| *own == key)?;
        let (goes_on, spatial) = *self.fates.get(place)?;
        Some(Verdict { key, goes_on, spatial })
    }
}

impl Frames {
    pub(crate) fn clear(&mut self) {
        self.newest = None;
        if let Some(older) = &mut self.older {
            (older.count, older.next) = (0, 0);
        }
    }

    pub(crate) fn push(&mut self, verdict: Verdict) {
        if let Some(before) = self.newest.replace(verdict) {
            self.older.get_or_insert_default().push(before);
        }
    }

    /// The verdict about a frame; there is one for a frame.
    #[inline]
    pub(crate) fn find(&self, key: u32) -> Option<Verdict> {
        match self.newest {
            Some(newest) if newest.key == key => Some(newest),
            _ => self.older.as_ref()?.find(key),
        }
    }

    /// The same for a packet. One that `begins` its frame and is newer than all before it is of the newest frame, or of one that nothing
    /// was decided about: the others need not be looked at, which would be done once for each frame and consumer.
    #[inline]
    pub(crate) fn find_for(&self, key: u32, begins: bool) -> Option<Verdict> {
        match self.newest {
            Some(newest) if newest.key == key => Some(newest),
            _ if begins => None,
            _ => self.find(key),
        }
    }

    /// Whether a frame went on.
    pub(crate) fn went_on(&self, key: u32) -> bool {
        self.find(key).is_some_and(|verdict| verdict.goes_on)
    }
}
