//! The one moment at which tests begin: protocol code is told the time, and so are its tests.

use std::sync::OnceLock;
use std::time::Instant;

/// The moment at which tests begin, the same for the whole process: the clock is read once, because nothing else makes an `Instant`.
/// Add to it what time shall pass.
pub fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
