//! How many packets the path marks.

use super::told::Told;

/// How much the marks of one feedback count, whether they are more or fewer than before: as with Prague. Who forgets more slowly than he
/// learns overrates marks that come in lumps, and gets half of his share beside Prague (docs/decisions/0037).
const GAIN: f64 = 1.0 / 16.0;

/// The part of the packets that is marked.
#[derive(Debug, Default)]
pub(super) struct Marks {
    alpha: f64,
}

impl Marks {
    /// Feedback came.
    pub(super) fn update(&mut self, told: &Told) {
        if told.packets == 0 {
            return;
        }
        let part = f64::from(told.marked) / f64::from(told.packets);
        self.alpha += GAIN * (part - self.alpha);
    }

    /// The part of the packets that is marked, smoothed, 0 to 1.
    pub(super) fn alpha(&self) -> f64 {
        self.alpha
    }
}
