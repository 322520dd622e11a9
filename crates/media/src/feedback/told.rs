//! What the peer is told of arrivals, in the form that was negotiated.

use std::time::Instant;

use antiphon_rtp::rtcp;
use antiphon_sansio::{Ecn, Writer};

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
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Told {
    /// In front: what is due is asked with each packet that is sent.
    form: Form,
    /// Feedback packets of RFC 8888 that were written.
    pub(crate) ccfb_messages: u64,
    /// Packets that came with ECT, and with CE.
    pub(crate) with_ect: u64,
    pub(crate) with_ce: u64,
}

/// The form of feedback that was negotiated, with what is to be told. Many connections have none, and none has two.
#[derive(Debug, Default)]
enum Form {
    #[default]
    Nothing,
    /// Transport-wide feedback.
    Numbers(Box<twcc::Arrivals>),
    /// RFC 8888.
    Streams(Box<ccfb::Arrivals>),
    /// An estimate of our own, by REMB.
    Estimate(Box<ReceiveSide>),
}

impl Told {
    /// What any receiver negotiated. RFC 8888 comes first: it needs no number in each packet, and has room for marks. Our own estimate
    /// is for who knows neither that nor transport-wide feedback.
    pub(crate) fn negotiated(&mut self, feedback: Feedback, config: &Config) {
        let Feedback {
            ccfb,
            transport_cc,
            remb,
            ..
        } = feedback;
        let goes_on = match &self.form {
            Form::Streams(_) => ccfb,
            Form::Numbers(_) => transport_cc && !ccfb,
            Form::Estimate(_) => remb && !transport_cc && !ccfb,
            Form::Nothing => false,
        };
        if goes_on {
            return;
        }
        self.form = match (ccfb, transport_cc, remb) {
            (true, ..) => Form::Streams(Box::default()),
            (_, true, _) => Form::Numbers(Box::default()),
            (.., true) => Form::Estimate(Box::new(ReceiveSide::new(config))),
            _ => Form::Nothing,
        };
    }

    /// A packet came.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, arrival: &Arrival) {
        match arrival.ecn {
            Ecn::NotEct => {}
            Ecn::Ect0 | Ecn::Ect1 => self.with_ect += 1,
            Ecn::Ce => self.with_ce += 1,
        }
        let Arrival {
            micros, ssrc, sequence, ..
        } = *arrival;
        match &mut self.form {
            Form::Nothing => {}
            Form::Numbers(told) => {
                if let Some(number) = arrival.number {
                    told.arrive(now, micros, number, ssrc);
                }
            }
            Form::Streams(told) => told.arrive(now, micros, ssrc, sequence, arrival.ecn),
            Form::Estimate(own) => {
                if let Some(sent) = arrival.abs_send_time {
                    own.arrive(now, ssrc, sent, arrival.bytes);
                }
            }
        }
    }

    /// When something is due.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        match &self.form {
            Form::Nothing => None,
            Form::Numbers(told) => told.next(),
            Form::Streams(told) => told.next(),
            Form::Estimate(own) => own.next(),
        }
    }

    /// Writes what is due, as far as there is room; the rest is written with the next packet. `micros`: since the session began;
    /// `ntp`: the middle of the NTP time now.
    pub(crate) fn write(&mut self, now: Instant, reporter: u32, micros: u64, ntp: u32, out: &mut Writer<'_>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match &mut self.form {
            Form::Nothing => {}
            Form::Numbers(told) => while due(told.next()) && told.write(reporter, out).is_ok() {},
            Form::Streams(told) => {
                while due(told.next())
                    && let Ok(written) = told.write(reporter, micros, ntp, out)
                {
                    self.ccfb_messages += u64::from(written);
                }
            }
            Form::Estimate(own) => {
                if let Some((bps, ssrcs)) = own.take_due(now) {
                    // Lost if it does not fit; the next one is a second away.
                    let _ = rtcp::write_remb(reporter, bps, ssrcs, out);
                }
            }
        }
    }
}
