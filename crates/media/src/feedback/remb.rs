//! The receiver's own estimate, sent as REMB.

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use super::peer_clock::PeerClock;
use crate::config::Config;
use crate::congestion::{CongestionControl, Gcc, PacketId, PacketResult, Sent};

/// A REMB leaves at least this often while media comes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Media that came this long ago no longer counts.
const IDLE: Duration = Duration::from_secs(2);
/// Most sources that one REMB names.
const MAX_SSRCS: usize = 32;
/// The round trip, which a receiver does not know.
const RTT: Duration = Duration::from_millis(100);
/// How many packets are taken in at a time before the estimate is brought up to date.
const BATCH: usize = 20;

/// The receiver's own estimate, for peers without transport-wide feedback: the delay controller runs here, on the senders'
/// abs-send-time, and its result is sent as REMB (draft-alvestrand-rmcat-remb-03).
#[derive(Debug)]
pub(crate) struct ReceiveSide {
    estimator: Gcc,
    /// The senders' clock.
    clock: PeerClock,
    /// The newest abs-send-time, unwrapped from 24 bits, in 2^-18 s.
    sent: Option<i64>,
    batch: Vec<PacketResult>,
    ssrcs: Vec<u32>,
    last_packet: Option<Instant>,
    next: Option<Instant>,
}

impl ReceiveSide {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            clock: PeerClock::default(),
            estimator: Gcc::new(config.start_bitrate, config.min_bitrate, config.max_bitrate),
            sent: None,
            batch: Vec::new(),
            ssrcs: Vec::new(),
            last_packet: None,
            next: None,
        }
    }

    /// A packet came that carried its sending time.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, ssrc: u32, abs_send_time: u32, bytes: usize) {
        let wire = i64::from(abs_send_time);
        let sent = self.sent.map_or(wire, |last| last + (((wire - last) << 40) >> 40));
        self.sent = Some(self.sent.map_or(sent, |last| last.max(sent)));
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() < MAX_SSRCS {
            self.ssrcs.push(ssrc);
        }
        self.last_packet = Some(now);
        self.next.get_or_insert(now + INTERVAL / 2);
        self.batch.push(PacketResult {
            sent: Sent {
                id: PacketId(0),
                total: 0,
                padding: false,
                at: self.clock.at(now, sent * 1_000_000 / (1 << 18)),
                bytes,
                ecn: Ecn::NotEct,
                probe: None,
            },
            arrival: Some(now),
            ecn: Ecn::NotEct,
        });
        if self.batch.len() >= BATCH {
            let estimator = &mut self.estimator;
            let before = estimator.target_rate(now);
            estimator.on_feedback(now, RTT, &self.batch);
            self.batch.clear();
            let dropped = estimator
                .target_rate(now)
                .zip(before)
                .is_some_and(|(after, before)| after * 100 < before * 97);
            if dropped {
                // draft-alvestrand-rmcat-remb-03 §2.2: a decrease is told at once.
                self.next = Some(now);
            }
        }
    }

    /// When a REMB is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The estimate and the sources it covers, if it is time to send them.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(u64, &[u32])> {
        if self.next.is_none_or(|at| at > now) {
            return None;
        }
        let idle = self
            .last_packet
            .is_none_or(|at| now.saturating_duration_since(at) > IDLE);
        self.next = (!idle).then(|| now + INTERVAL);
        if idle {
            self.ssrcs.clear();
            return None;
        }
        Some((self.estimator.target_rate(now)?, &self.ssrcs))
    }
}
