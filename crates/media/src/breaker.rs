//! The circuit breakers of RFC 8083: when a stream has to cease, because nobody says that it arrives, because it does not, or because it
//! takes ten times what TCP would take on the same path; and when it may begin again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Why a stream has ceased (RFC 8083 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitBreaker {
    /// §4.1: for 15 s nobody has said anything about what is sent.
    RtcpTimeout,
    /// §4.2: five reports in a row say that nothing of it has arrived since the one before.
    MediaTimeout,
    /// §4.3: it sends more than ten times what TCP would, with the losses and the round trip that are reported.
    Congestion,
}

/// RFC 8083 §4.1: three times the deterministic interval of reports, which is 5 s. It is also the longest time over which losses are looked
/// at (§4.3).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(15);
/// RFC 8083 §4.2: the threshold k of reports without progress.
const STUCK: f64 = 5.0;
/// RFC 8083 §4.3: no stream takes more than so many times what TCP would.
const FACTOR: f64 = 10.0;
/// RFC 8083 §4.3: ten times the time from one packet of sound to the next ...
const SOUND: Duration = Duration::from_millis(200);
/// ... and so many round trips, or ...
const ROUND_TRIPS: u32 = 10;
/// ... intervals of reports are looked at, whichever is longest.
const INTERVALS: u32 = 3;
/// A packet counts as one of TCP, in bytes, as RFC 4828 §3 has it. Sound has small packets, and so has video where little may be sent: by
/// their own size a call of 40 kbit/s would be stopped on a path that others have filled, where each packet waits for a second and every
/// tenth is lost.
const SEGMENT: f64 = 1460.0;
/// Reports closer than this count as one.
const CLOSE: Duration = Duration::from_millis(250);
/// Most intervals that are remembered: more than [`TIMEOUT`] has.
const MAX_INTERVALS: usize = 64;
/// Whoever ceased again and again waits no longer than this.
const MAX_PAUSE: Duration = Duration::from_secs(240);
/// Who has sent for so long since it began again is trusted as before.
const TRUSTED: Duration = Duration::from_secs(60);

/// What a stream has sent: its packets, and their bytes with RTP headers. Retransmissions on an SSRC of their own are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A report block about the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) at: Instant,
    /// The highest sequence number that has arrived, with its cycles.
    pub(crate) highest: u32,
    /// The part that was lost since the block before, 0 to 1.
    pub(crate) lost: f64,
    /// What the stream had sent by now.
    pub(crate) sent: Sent,
}

/// What is sent while nobody speaks of it.
#[derive(Debug, Default)]
pub(crate) struct Unheard {
    /// Since when.
    pub(crate) since: Option<Instant>,
    /// When that was last looked at.
    pub(crate) looked: Option<Instant>,
    /// Packets of all senders when that was last looked at.
    pub(crate) packets: u64,
}

/// What is between two reports.
#[derive(Clone, Copy, Debug)]
struct Interval {
    seconds: f64,
    lost: f64,
    sent: Sent,
}

/// Since when, why, and until when a stream has ceased.
#[derive(Clone, Copy, Debug)]
struct Ceased {
    since: Instant,
    cause: CircuitBreaker,
    until: Instant,
}

/// Watches over one stream.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    last: Option<Report>,
    /// What had been sent when a report last showed progress, and how many reports in a row have not.
    progress: Sent,
    stuck: u32,
    /// The time between reports, smoothed.
    interval: Option<Duration>,
    intervals: VecDeque<Interval>,
    ceased: Option<Ceased>,
    began_again: Option<Instant>,
    /// How often in a row it has ceased, and how often in all.
    in_a_row: u32,
    pub(crate) trips: u32,
}

/// RFC 8083 §4.3: what TCP would send, bits a second, by the simplified equation, which the clause recommends.
fn tcp(bytes_a_packet: f64, round_trip: Duration, lost: f64) -> f64 {
    bytes_a_packet * 8.0 / (round_trip.as_secs_f64().max(0.001) * (2.0 * lost / 3.0).sqrt())
}

impl Breaker {
    /// A report block came; the breaker that it trips, if it does.
    pub(crate) fn report(&mut self, report: Report, round_trip: Duration, sound: bool) -> Option<CircuitBreaker> {
        if self.ceased.is_some() {
            return None;
        }
        let Some(last) = self.last.replace(report) else {
            self.progress = report.sent;
            return None;
        };
        let elapsed = report.at.saturating_duration_since(last.at);
        let smoothed = self.interval.map_or(elapsed, |old| (old * 7 + elapsed) / 8);
        let interval = smoothed.max(CLOSE);
        self.interval = Some(interval);
        self.remember(last, report, elapsed);
        if report.highest != last.highest {
            (self.progress, self.stuck) = (report.sent, 0);
        } else if last.sent.packets > self.progress.packets {
            // What was sent before the last report had all the time since to arrive.
            self.stuck += 1;
        }
        // RFC 8083 §4.2: MEDIA_TIMEOUT.
        let longest = round_trip.max(interval);
        if f64::from(self.stuck) >= (STUCK * longest.as_secs_f64() / interval.as_secs_f64()).ceil() {
            return Some(self.trip(report.at, CircuitBreaker::MediaTimeout, TIMEOUT));
        }
        // RFC 8083 §4.3: CB_INTERVAL. How many frames of pictures depend on each other is not known here: the longest time is taken.
        let framing = if sound { SOUND } else { TIMEOUT };
        let time = framing
            .max(ROUND_TRIPS * round_trip)
            .max(INTERVALS * interval)
            .min(TIMEOUT);
        let count = (time.as_secs_f64() / interval.as_secs_f64()).ceil() as usize;
        (self.intervals.len() >= count && self.is_congested(count, round_trip))
            .then(|| self.trip(report.at, CircuitBreaker::Congestion, time))
    }

    fn remember(&mut self, last: Report, report: Report, elapsed: Duration) {
        if elapsed > TIMEOUT {
            // A pause says nothing of the path.
            self.intervals.clear();
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let sent = Sent {
            packets: report.sent.packets.saturating_sub(last.sent.packets),
            bytes: report.sent.bytes.saturating_sub(last.sent.bytes),
        };
        if let Some(newest) = self
            .intervals
            .back_mut()
            .filter(|newest| newest.seconds + seconds < CLOSE.as_secs_f64())
        {
            let whole = (newest.seconds + seconds).max(1e-6);
            newest.lost = (newest.lost * newest.seconds + report.lost * seconds) / whole;
            newest.seconds = whole;
            newest.sent.packets += sent.packets;
            newest.sent.bytes += sent.bytes;
            return;
        }
        if self.intervals.len() >= MAX_INTERVALS {
            self.intervals.pop_front();
        }
        self.intervals.push_back(Interval {
            seconds,
            lost: report.lost,
            sent,
        });
    }

    /// Whether it sends far too much, by the last reports. RFC 8083 §4.3: each loss counts by the time that it speaks of. Marks of ECN are no
    /// losses: §7 leaves them out.
    fn is_congested(&self, count: usize, round_trip: Duration) -> bool {
        let (mut seconds, mut lost, mut sent) = (0.0, 0.0, Sent::default());
        for interval in self.intervals.iter().rev().take(count) {
            seconds += interval.seconds;
            lost += interval.lost * interval.seconds;
            sent.packets += interval.sent.packets;
            sent.bytes += interval.sent.bytes;
        }
        if lost <= 0.0 || sent.packets == 0 || seconds <= 0.0 {
            return false;
        }
        // Whoever has fallen already is not asked to fall once more: both what it sends now and what it has sent must be too much.
        let newest = self.intervals.back();
        let newest = newest.map_or(0.0, |newest| newest.sent.bytes as f64 / newest.seconds.max(1e-6));
        let rate = (sent.bytes as f64 / seconds).min(newest) * 8.0;
        rate > FACTOR * tcp(SEGMENT, round_trip, lost / seconds)
    }

    /// It has to cease. RFC 8083 §4.5: at least for the time in which that was found out; each time in a row twice as long.
    pub(crate) fn trip(&mut self, now: Instant, cause: CircuitBreaker, time: Duration) -> CircuitBreaker {
        if self
            .began_again
            .is_none_or(|at| now.saturating_duration_since(at) > TRUSTED)
        {
            self.in_a_row = 0;
        }
        let pause = (time * (1 << self.in_a_row.min(4))).min(MAX_PAUSE);
        self.in_a_row += 1;
        self.trips += 1;
        self.ceased = Some(Ceased {
            since: now,
            cause,
            until: now + pause,
        });
        cause
    }

    /// Somebody speaks of what is sent: who ceased for want of that need wait no longer than once (RFC 8083 §4.5: restarted when there is
    /// information that the trouble has gone).
    pub(crate) fn heard(&mut self) {
        if let Some(ceased) = &mut self.ceased
            && ceased.cause == CircuitBreaker::RtcpTimeout
        {
            ceased.until = ceased.until.min(ceased.since + TIMEOUT);
        }
    }

    /// Whether it may begin again by now.
    pub(crate) fn may_begin(&self, now: Instant) -> bool {
        self.ceased.is_some_and(|ceased| ceased.until <= now)
    }

    /// Begins again: what was known is forgotten. Whether it had ceased.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let ceased = self.ceased.is_some();
        if ceased {
            *self = Self {
                began_again: Some(now),
                in_a_row: self.in_a_row,
                trips: self.trips,
                ..Self::default()
            };
        }
        ceased
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    /// Reports each second on a stream of so many bits a second that loses a part; how many until it ceases.
    fn reports(rate: f64, lost: f64, round_trip: u64, arrives: bool) -> Option<(u32, CircuitBreaker)> {
        let mut breaker = Breaker::default();
        let mut sent = Sent::default();
        for second in 0..120 {
            let report = Report {
                at: start() + Duration::from_secs(second),
                highest: if arrives { sent.packets as u32 } else { 7 },
                lost,
                sent,
            };
            if let Some(cause) = breaker.report(report, Duration::from_millis(round_trip), false) {
                return Some((second as u32, cause));
            }
            sent.packets += (rate / 8.0 / 1100.0) as u64;
            sent.bytes += (rate / 8.0) as u64;
        }
        None
    }

    #[test]
    fn ten_times_what_tcp_would_send_is_too_much() {
        // RFC 8083 §4.3 with 1460 bytes, 50 ms, 20 %: 640 kbit/s.
        let tcp = tcp(SEGMENT, Duration::from_millis(50), 0.2);
        assert!((tcp - 639_700.0).abs() < 1000.0, "{tcp}");
        assert_eq!(reports(6_200_000.0, 0.2, 50, true), None);
        assert_eq!(
            reports(6_600_000.0, 0.2, 50, true),
            Some((15, CircuitBreaker::Congestion))
        );
        assert_eq!(reports(50_000_000.0, 0.0, 50, true), None);
        // A round trip of 300 ms, of which most is a queue.
        assert_eq!(
            reports(2_000_000.0, 0.1, 300, true),
            Some((15, CircuitBreaker::Congestion))
        );
    }

    #[test]
    fn sound_on_a_path_that_others_have_filled_goes_on() {
        let mut breaker = Breaker::default();
        let mut sent = Sent::default();
        for second in 0..60 {
            let report = Report {
                at: start() + Duration::from_secs(second),
                highest: sent.packets as u32,
                lost: 0.4,
                sent,
            };
            assert_eq!(breaker.report(report, Duration::from_millis(600), true), None);
            sent = Sent {
                packets: sent.packets + 50,
                bytes: sent.bytes + 5200,
            };
        }
    }

    #[test]
    fn five_reports_without_progress_are_a_timeout() {
        // The first shows what had arrived, and what was sent before the second may be on its way.
        assert_eq!(reports(1e6, 0.0, 50, false), Some((6, CircuitBreaker::MediaTimeout)));
        assert_eq!(reports(0.0, 0.0, 50, false), None, "nothing is sent");
    }

    #[test]
    fn a_pause_lasts_as_long_as_it_took_and_twice_as_long_the_next_time() {
        let mut now = start();
        let mut breaker = Breaker::default();
        for pause in [15, 30, 60, 120, 240, 240] {
            breaker.trip(now, CircuitBreaker::RtcpTimeout, TIMEOUT);
            assert!(!breaker.may_begin(now + Duration::from_secs(pause - 1)));
            now += Duration::from_secs(pause);
            assert!(breaker.may_begin(now) && breaker.begin(now));
            assert!(!breaker.begin(now));
            now += Duration::from_secs(20);
        }
        assert_eq!(breaker.trips, 6);
        // Somebody speaks of it again: the least time is enough.
        breaker.trip(now, CircuitBreaker::RtcpTimeout, TIMEOUT);
        breaker.heard();
        assert!(!breaker.may_begin(now + Duration::from_secs(14)) && breaker.may_begin(now + TIMEOUT));
        // After a good minute it is as new.
        breaker.begin(now + TIMEOUT);
        now += TIMEOUT + Duration::from_secs(61);
        breaker.trip(now, CircuitBreaker::Congestion, Duration::from_secs(8));
        assert!(breaker.may_begin(now + Duration::from_secs(8)));
    }
}
