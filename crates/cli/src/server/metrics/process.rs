//! What the system says of this process, under the names that Prometheus gives to it. What it does not say is left out.

use super::exposition::{Kind, Page};

/// Writes the figures of this process.
pub(in crate::server) fn write(page: &mut Page) {
    if let Some(seconds) = cpu_seconds() {
        let help = "CPU time of all threads, of the program and of the system for it.";
        page.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
    }
    if let Some(bytes) = resident_bytes() {
        page.single(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Memory that is held.",
            bytes,
        );
    }
}

#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}
