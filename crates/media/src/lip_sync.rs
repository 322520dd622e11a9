//! Sound and pictures of one group are played in step: what would be played earlier is held back until the slowest.
//!
//! How long each takes from capture to playing is known beforehand. How long its way is tell sender reports (RFC 3550 §6.4.1), or the
//! capture times that the sources tell themselves (abs-capture-time), which a forwarder leaves as they are; how long it is held back is
//! chosen here. So nothing is measured at the output, nothing can swing, and another delay of the one is that of the other at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Output;
use crate::inbound::Inbound;
use crate::playout::Ways;

/// A source that has been silent for so long holds nobody up.
const TALKING: Duration = Duration::from_secs(5);
/// Streams that are farther apart than this, microseconds, are not of one clock.
const MAX_APART: i64 = 10_000_000;

/// Measures how long the media of each source takes from its capture to us, microseconds, each from a moment that is the same for all of
/// a group: a report has come. All is told by `origin`, a moment that stays.
pub(crate) fn measure(now: Instant, origin: Instant, sources: &mut [Option<Inbound>]) {
    for source in sources.iter_mut().flatten().filter(|source| takes_part(source, now)) {
        let Some((timestamp, clock_rate, at)) = source.playout.arrival() else {
            continue;
        };
        let clock = source
            .clock
            .and_then(|clock| clock.captured(timestamp, clock_rate, now));
        let captured = source.playout.capture_arrival().map(|(ntp, at)| {
            let seconds = (ntp >> 32) as i64 * 1_000_000;
            let rest = ((ntp & 0xffff_ffff) * 1_000_000) >> 32;
            between(origin, at) - seconds - rest as i64
        });
        source.playout.note_ways(Ways {
            reported: clock.map(|captured| between(captured, at)),
            captured,
        });
    }
}

/// Whether a source is held back, or holds others back.
fn takes_part(source: &Inbound, now: Instant) -> bool {
    let config = &source.section.config;
    let talks = source
        .last_packet
        .is_some_and(|at| now.saturating_duration_since(at) < TALKING);
    config.sync_group.is_some() && config.output == Output::Playout && !source.left && talks
}

/// The slowest of a group.
#[derive(Clone, Copy, Debug)]
struct Group {
    slowest: Ways,
    /// Whether all tell their capture times.
    all_captured: bool,
}

/// Holds back what is early in its group.
pub(crate) fn keep_in_step(now: Instant, sources: &mut [Option<Inbound>]) {
    let in_group = |source: &&Inbound| source.section.config.sync_group.is_some();
    if sources.iter().flatten().filter(in_group).count() < 2 {
        return;
    }
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for source in sources.iter().flatten().filter(|source| takes_part(source, now)) {
        let (Some(name), Some(ways)) = (&source.section.config.sync_group, source.playout.ways()) else {
            continue;
        };
        let group = groups.entry(name.clone()).or_insert(Group {
            slowest: Ways::default(),
            all_captured: true,
        });
        // What is not known is the least.
        group.slowest.reported = group.slowest.reported.max(ways.reported);
        group.slowest.captured = group.slowest.captured.max(ways.captured);
        group.all_captured &= ways.captured.is_some();
    }
    for source in sources.iter_mut().flatten().filter(|source| takes_part(source, now)) {
        let (Some(name), Some(ways)) = (&source.section.config.sync_group, source.playout.ways()) else {
            continue;
        };
        let Some(group) = groups.get(name) else { continue };
        let both = if group.all_captured {
            group.slowest.captured.zip(ways.captured)
        } else {
            group.slowest.reported.zip(ways.reported)
        };
        let ahead = both.map(|(slowest, own)| slowest.saturating_sub(own));
        if let Some(ahead) = ahead.filter(|ahead| (0..=MAX_APART).contains(ahead)) {
            source.playout.keep_in_step(ahead);
        }
    }
}

/// From one moment to another, microseconds.
fn between(from: Instant, to: Instant) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    micros(to.saturating_duration_since(from)) - micros(from.saturating_duration_since(to))
}
