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
    verdicts: [Verdict; FRAMES],
    count: usize,
    next: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            verdicts: [Verdict::default(); FRAMES],
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
        if let Some(place) = self.verdicts.get_mut(self.next) {
            *place = verdict;
        }
        self.next = (self.next + 1) % FRAMES;
        self.count = (self.count + 1).min(FRAMES);
    }

    /// The verdict about a frame. Most packets are of the newest.
    pub(crate) fn find(&self, key: u32) -> Option<Verdict> {
        (1..=self.count).find_map(|back| {
            let verdict = self.verdicts.get((self.next + FRAMES - back) % FRAMES)?;
            (verdict.key == key).then_some(*verdict)
        })
    }

    /// Whether a frame went on.
    pub(crate) fn went_on(&self, key: u32) -> bool {
        self.find(key).is_some_and(|verdict| verdict.goes_on)
    }
}
