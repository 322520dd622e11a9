//! How much memory a server holds, and whether it gives back what a flood made it take.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// What a server's memory may have grown by when a flood is over: a fifth.
const MEMORY: f64 = 1.2;
/// How long it may take until that is so.
const CALM: Duration = Duration::from_secs(60);

/// Resident memory of a process, in KiB.
pub(super) fn memory(process: u32) -> Result<u64, String> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("{path}: no VmRSS"))
}

/// Waits until the memory of a process is within a fifth of `before`; what it is then, or in the end.
pub(super) fn calm(process: u32, before: u64) -> Result<(u64, bool), String> {
    let began = Instant::now();
    loop {
        let now = memory(process)?;
        let back = now as f64 <= before as f64 * MEMORY;
        if back || began.elapsed() > CALM {
            return Ok((now, back));
        }
        thread::sleep(Duration::from_millis(200));
    }
}
