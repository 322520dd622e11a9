//! Sound and pictures of one group are played in step: what would be played earlier is held back until the slowest.
//!
//! How long each takes from capture to playing is known beforehand: by sender reports (RFC 3550 §6.4.1), or by the capture times that the
//! sources tell themselves (abs-capture-time), which a forwarder leaves as they are. So nothing is measured at the output, and nothing can
//! swing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Output;
use crate::inbound::Inbound;

/// A source that has been silent for so long holds nobody up.
const TALKING: Duration = Duration::from_secs(5);
/// Streams that are farther apart than this, microseconds, are not of one clock.
const MAX_APART: i64 = 10_000_000;

/// How long media takes from its capture until it is played, microseconds, each from a moment that is the same for all of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// By sender reports.
    reported: Option<i64>,
    /// By the capture times of the sources.
    captured: Option<i64>,
}

impl Way {
    fn of(source: &Inbound, now: Instant) -> Option<Self> {
        let config = &source.section.config;
        let talks = source
            .last_packet
            .is_some_and(|at| now.saturating_duration_since(at) < TALKING);
        if config.output != Output::Playout || source.left || !talks {
            return None;
        }
        let (timestamp, clock_rate, at) = source.playout.natural()?;
        let clock = source
            .clock
            .and_then(|clock| clock.captured(timestamp, clock_rate, now));
        Some(Self {
            reported: clock.map(|captured| between(captured, at)),
            captured: source.playout.natural_capture().map(|(ntp, at)| {
                let seconds = (ntp >> 32) as i64 * 1_000_000;
                let rest = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
                between(now, at) - seconds - rest as i64
            }),
        })
    }
}

/// The slowest of a group.
#[derive(Clone, Copy, Debug)]
struct Group {
    reported: i64,
    captured: i64,
    /// Whether all tell their capture times.
    all_captured: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            reported: i64::MIN,
            captured: i64::MIN,
            all_captured: true,
        }
    }
}

/// Holds back what is early in its group.
pub(crate) fn keep_in_step(now: Instant, sources: &mut [Option<Inbound>]) {
    let in_group = |source: &&Inbound| source.section.config.sync_group.is_some();
    if sources.iter().flatten().filter(in_group).count() < 2 {
        return;
    }
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for source in sources.iter().flatten() {
        let (Some(name), Some(way)) = (&source.section.config.sync_group, Way::of(source, now)) else {
            continue;
        };
        let group = groups.entry(name.clone()).or_default();
        group.reported = group.reported.max(way.reported.unwrap_or(i64::MIN));
        group.captured = group.captured.max(way.captured.unwrap_or(i64::MIN));
        group.all_captured &= way.captured.is_some();
    }
    for source in sources.iter_mut().flatten() {
        let (Some(name), Some(way)) = (&source.section.config.sync_group, Way::of(source, now)) else {
            continue;
        };
        let Some(group) = groups.get(name) else { continue };
        let (slowest, own) = if group.all_captured {
            (group.captured, way.captured)
        } else {
            (group.reported, way.reported)
        };
        let behind = own.map(|own| slowest.saturating_sub(own));
        if let Some(behind) = behind.filter(|behind| (0..=MAX_APART).contains(behind)) {
            source.playout.keep_in_step(behind);
        }
    }
}

/// From one moment to another, microseconds.
fn between(from: Instant, to: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    micros(to.saturating_duration_since(from)) - micros(from.saturating_duration_since(to))
}
