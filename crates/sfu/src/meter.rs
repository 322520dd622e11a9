//! What the layers of one encoding cost, measured.

use std::time::{Duration, Instant};

use crate::layer::{MAX_SPATIAL, MAX_TEMPORAL};

/// How long one count goes on; rates become known after the first.
pub(crate) const WINDOW: Duration = Duration::from_millis(250);
/// Counts that a rate is the mean of: two seconds.
const WINDOWS: usize = 8;

/// The bytes of one layer that came in each of the last windows, and in the one that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    closed: [u32; WINDOWS],
    open: u32,
}

/// Counts the bytes of each layer of an encoding, those apart that higher spatial layers need too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// By spatial and temporal layer, and by whether higher spatial layers need the frame.
    cells: [[[Cell; 2]; MAX_TEMPORAL]; MAX_SPATIAL],
    /// When the open window began.
    since: Option<Instant>,
    closed: usize,
    next: usize,
}

impl Meter {
    pub(crate) fn count(&mut self, spatial: u8, temporal: u8, is_shared: bool, bytes: usize) {
        let row = self.cells.get_mut(usize::from(spatial));
        let pair = row.and_then(|row| row.get_mut(usize::from(temporal).min(MAX_TEMPORAL - 1)));
        if let Some(cell) = pair.and_then(|pair| pair.get_mut(usize::from(is_shared))) {
            cell.open = cell.open.saturating_add(bytes as u32);
        }
    }

    /// Closes the open window if it is over. Whether it was.
    pub(crate) fn roll(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let mut elapsed = now.saturating_duration_since(since);
        if elapsed < WINDOW {
            return false;
        }
        // After a pause the windows that nothing came in are empty; more than all of them is as much as all.
        let mut steps = 0;
        while elapsed >= WINDOW && steps <= WINDOWS {
            let next = self.next;
            for cell in self.cells.iter_mut().flatten().flatten() {
                let open = std::mem::take(&mut cell.open);
                if let Some(place) = cell.closed.get_mut(next) {
                    *place = open;
                }
            }
            self.next = (next + 1) % WINDOWS;
            self.closed = (self.closed + 1).min(WINDOWS);
            elapsed -= WINDOW;
            steps += 1;
        }
        self.since = Some(if steps > WINDOWS { now } else { now - elapsed });
        true
    }

    /// Bits a second that a spatial layer needs, with each number of temporal layers.
    pub(crate) fn rates(&self, spatial: usize) -> [u32; MAX_TEMPORAL] {
        let mut rates = [0; MAX_TEMPORAL];
        let mut bytes = 0u64;
        for (temporal, rate) in rates.iter_mut().enumerate() {
            for (row, layers) in self.cells.iter().enumerate().take(spatial + 1) {
                let Some([own, shared]) = layers.get(temporal) else {
                    continue;
                };
                let total = |cell: &Cell| cell.closed.iter().map(|bytes| u64::from(*bytes)).sum::<u64>();
                bytes += total(shared) + if row == spatial { total(own) } else { 0 };
            }
            let millis = WINDOW.as_millis() as u64 * self.closed.max(1) as u64;
            *rate = (bytes * 8000 / millis).min(u32::MAX.into()) as u32;
        }
        rates
    }
}
