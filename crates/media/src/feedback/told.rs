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
    /// Feedback packets of RFC 8888 that were written.
    pub(crate) ccfb_messages: u64,
    /// Packets that came with ECT, and with CE.
    pub(crate) with_ect: u64,
    pub(crate) with_ce: u64,
}

impl Told {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            enabled: false,
            numbers: twcc::Arrivals::new(),
            streams: ccfb::Arrivals::default(),
            own: ReceiveSide::new(config),
            ccfb_messages: 0,
            with_ect: 0,
            with_ce: 0,
        }
    }

    /// What any receiver negotiated. RFC 8888 comes first: it needs no number in each packet, and has room for marks. Our own estimate
    /// is for who knows neither that nor transport-wide feedback.
    pub(crate) fn negotiated(&mut self, feedback: Feedback) {
        let Feedback {
            ccfb,
            transport_cc,
            remb,
            ..
        } = feedback;
        self.streams.enable(ccfb);
        self.numbers.enable(transport_cc && !ccfb);
        self.own.enable(remb && !transport_cc && !ccfb);
        self.enabled = ccfb || transport_cc || remb;
    }

    /// A packet came.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, arrival: &Arrival) {
        match arrival.ecn {
            Ecn::NotEct => {}
            Ecn::Ect0 | Ecn::Ect1 => self.with_ect += 1,
            Ecn::Ce => self.with_ce += 1,
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
            match self.streams.write(reporter, micros, ntp, out) {
                Ok(written) => self.ccfb_messages += u64::from(written),
                Err(_) => break,
            }
        }
        if let Some((bps, ssrcs)) = self.own.take_due(now) {
            // Lost if it does not fit; the next one is a second away.
            let _ = rtcp::write_remb(reporter, bps, ssrcs, out);
        }
    }
}
