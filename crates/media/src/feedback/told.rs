//! What the peer is told of arrivals, in the form that was negotiated.

use std::time::Instant;

use antiphon_rtp::rtcp;
use antiphon_sansio::{Ecn, Writer, earliest};

use super::remb::ReceiveSide;
use super::{ccfb, twcc};
use crate::config::{Config, Feedback};

/// A packet that came, as far as feedback speaks of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Microseconds since the session began.
    pub(crate) micros: u64,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    /// Its transport-wide number.
    pub(crate) number: Option<u16>,
    /// Its time of departure by the sender's clock.
    pub(crate) abs_send_time: Option<u32>,
    /// Its size.
    pub(crate) bytes: usize,
    /// The mark that it arrived with.
    pub(crate) ecn: Ecn,
}

/// All that the peer is told of arrivals.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Told {
    /// Whether the peer is told anything at all. In front: what is due is asked with each packet that is sent.
    enabled: bool,
    numbers: twcc::Arrivals,
    streams: ccfb::Arrivals,
    own: ReceiveSide,
    /// What any receiver negotiated.
    negotiated: Feedback,
    /// A packet came with a mark of ECN.
    marked: bool,
}

impl Told {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            enabled: false,
            numbers: twcc::Arrivals::new(),
            streams: ccfb::Arrivals::default(),
            own: ReceiveSide::new(config),
            negotiated: Feedback::default(),
            marked: false,
        }
    }

    /// What any receiver negotiated. Transport-wide feedback comes first, for browsers have used it longest; but it has no room for
    /// marks, so who sends some is answered by RFC 8888, if that was negotiated. Our own estimate is for who knows neither.
    pub(crate) fn negotiated(&mut self, feedback: Feedback) {
        self.negotiated = feedback;
        let streams = feedback.ccfb && (self.marked || !feedback.transport_cc);
        self.streams.enable(streams);
        self.numbers.enable(feedback.transport_cc && !streams);
        self.own.enable(feedback.remb && !feedback.transport_cc && !streams);
        self.enabled = streams || feedback.transport_cc || feedback.remb;
    }

    /// A packet came.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, arrival: &Arrival) {
        if arrival.ecn != Ecn::NotEct && !self.marked {
            self.marked = true;
            self.negotiated(self.negotiated);
        }
        if let Some(number) = arrival.number {
            self.numbers.arrive(now, arrival.micros, number, arrival.ssrc);
        }
        self.streams
            .arrive(now, arrival.micros, arrival.ssrc, arrival.sequence, arrival.ecn);
        if let Some(sent) = arrival.abs_send_time {
            self.own.arrive(now, arrival.ssrc, sent, arrival.bytes);
        }
    }

    /// When something is due.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        if !self.enabled {
            return None;
        }
        earliest([self.numbers.next(), self.streams.next(), self.own.next()])
    }

    /// Writes what is due, as far as there is room; the rest is written with the next packet. `micros`: since the session began;
    /// `ntp`: the middle of the NTP time now.
    pub(crate) fn write(&mut self, now: Instant, reporter: u32, micros: u64, ntp: u32, out: &mut Writer<'_>) {
        while self.numbers.next().is_some_and(|at| at <= now) {
            if self.numbers.write(reporter, out).is_err() {
                break;
            }
        }
        while self.streams.next().is_some_and(|at| at <= now) {
            if self.streams.write(reporter, micros, ntp, out).is_err() {
                break;
            }
        }
        if let Some((bps, ssrcs)) = self.own.take_due(now) {
            // Lost if it does not fit; the next one is a second away.
            let _ = rtcp::write_remb(reporter, bps, ssrcs, out);
        }
    }
}
