//! RTCP out: reports, feedback and requests to the peer.

use std::time::{Duration, Instant};

use antiphon_rtp::rtcp::{self, Dlrr, FirEntry, Pli};
use antiphon_sansio::Writer;

use super::{MAX_RTCP, Session};
use crate::config::Kind;
use crate::inbound::Inbound;
use crate::nack::{Answers, Way};

/// The first report comes this long after the first packet, sent or received (RFC 3550 §6.2: half the interval).
pub(super) const FIRST_REPORT: Duration = Duration::from_millis(500);
/// RFC 4585 §3.4: T_rr_interval; RFC 8834 lets a group of two be this quick.
const INTERVAL: Duration = Duration::from_secs(1);
/// With sound alone.
const AUDIO_INTERVAL: Duration = Duration::from_millis(2500);
/// RFC 3550 §6.4.1: five bits of count.
const MAX_BLOCKS: usize = 31;

impl Session {
    /// The SSRC that reports and asks: that of the first sender, or one of its own.
    pub(super) fn reporter(&self) -> u32 {
        let first = self.senders.iter().next();
        first.map_or(self.local_ssrc, |(_, sender)| sender.config.ssrc)
    }

    /// The regular report's time: marks what it speaks of, and sets the next (RFC 3550 §6.3.1: 0.5 to 1.5 intervals).
    fn schedule(&mut self, now: Instant) {
        if self.reports.at.is_none_or(|at| at > now) {
            return;
        }
        self.watch(now);
        let mut any = false;
        for sender in self
            .senders
            .iter_mut()
            .filter(|sender| sender.count.packets > 0 && sender.active)
        {
            sender.report_due = true;
            any = true;
        }
        for (_, source) in self.routing.sources_mut() {
            source.report_due = std::mem::take(&mut source.active);
            any |= source.report_due;
        }
        let video = self.senders.iter().any(|(_, sender)| sender.config.kind == Kind::Video)
            || self.routing.sources().any(Inbound::is_video);
        let interval = if video { INTERVAL } else { AUDIO_INTERVAL };
        // Silence on all sides needs no reports; the next packet starts them again.
        self.reports.due = any;
        self.reports.at = any.then(|| now + interval.mul_f64(0.5 + self.rng.unit()));
    }

    /// Writes what is due of reports and feedback into the scratch space, at most `room` bytes; returns how many.
    pub(super) fn write_rtcp(&mut self, now: Instant, room: usize) -> usize {
        self.schedule(now);
        let mut scratch = std::mem::take(&mut self.scratch.rtcp);
        // A connection without media never needs it.
        if scratch.is_empty() {
            scratch = vec![0; MAX_RTCP].into_boxed_slice();
        }
        let len = {
            let room = room.min(MAX_RTCP).min(scratch.len());
            let mut out = Writer::new(&mut scratch[..room]);
            self.compose(now, &mut out);
            out.len()
        };
        self.scratch.rtcp = scratch;
        len
    }

    fn feedback_due(&self, now: Instant) -> bool {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        !self.reports.byes.is_empty()
            || due(self.told.next())
            || self
                .routing
                .sources()
                .any(|source| due(source.nack.next()) || due(source.request_due()))
    }

    fn compose(&mut self, now: Instant, out: &mut Writer<'_>) {
        let report = self.senders.iter().any(|(_, sender)| sender.report_due)
            || self.routing.sources().any(|source| source.report_due);
        self.reports.due = report;
        if !report && !self.feedback_due(now) {
            return;
        }
        // RFC 3550 §6.1: a compound begins with a report; RFC 5506 lets feedback alone go without.
        if report || !self.config.reduced_size || !self.reports.byes.is_empty() {
            self.compose_report(now, out);
        }
        let reporter = self.reporter();
        self.compose_requests(now, reporter, out);
        let (micros, ntp) = (self.elapsed.micros(now), self.anchor.ntp_middle(now));
        self.told.write(now, reporter, micros, ntp, out);
        let byes = &mut self.reports.byes;
        if !byes.is_empty() {
            let count = byes.len().min(MAX_BLOCKS);
            if rtcp::write_bye(&byes[..count], None, out).is_ok() {
                byes.drain(..count);
            }
        }
    }

    /// Reports, names and reference times.
    fn compose_report(&mut self, now: Instant, out: &mut Writer<'_>) {
        let reporter = self.reporter();
        self.scratch.blocks.clear();
        self.scratch.ssrcs.clear();
        self.scratch.ssrcs.push(reporter);
        // Leave room for the name and a little feedback.
        let most = out.free().saturating_sub(300) / 24;
        for (_, source) in self.routing.sources_mut().filter(|(_, source)| source.report_due) {
            if self.scratch.blocks.len() == most.min(MAX_BLOCKS) {
                break;
            }
            source.report_due = false;
            self.scratch.blocks.extend(source.reception.report(now, source.ssrc));
        }
        let mut first = true;
        for sender in self.senders.iter_mut().filter(|sender| sender.report_due) {
            let Some(info) = sender.sender_info(now, &self.anchor) else {
                sender.report_due = false;
                continue;
            };
            let blocks = if first { &self.scratch.blocks[..] } else { &[] };
            // Each report costs its name too.
            let room = 28 + blocks.len() * 24 + (self.config.cname.len() + 12) * (self.scratch.ssrcs.len() + 1);
            if out.free() < room || self.scratch.ssrcs.len() == MAX_BLOCKS {
                break;
            }
            if rtcp::write_sender_report(sender.config.ssrc, &info, blocks, out).is_err() {
                break;
            }
            sender.report_due = false;
            sender.reported = true;
            first = false;
            if sender.config.ssrc != reporter {
                self.scratch.ssrcs.push(sender.config.ssrc);
            }
        }
        if first {
            let _ = rtcp::write_receiver_report(reporter, &self.scratch.blocks, out);
        }
        let _ = rtcp::write_cname(&self.scratch.ssrcs, self.config.cname.as_bytes(), out);
        if self.config.receiver_rtt {
            let _ = rtcp::write_rrtr(reporter, self.anchor.ntp(now), out);
            if !self.reports.reference_times.is_empty() {
                let entries: Vec<_> = self
                    .reports
                    .reference_times
                    .drain(..)
                    .map(|(ssrc, last_rr, at)| {
                        let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
                        let delay = u32::try_from(delay).unwrap_or(u32::MAX);
                        Dlrr { ssrc, last_rr, delay }
                    })
                    .collect();
                let _ = rtcp::write_dlrr(reporter, &entries, out);
            }
        }
    }

    /// NACK, PLI and FIR of the sources that have something to ask for.
    fn compose_requests(&mut self, now: Instant, reporter: u32, out: &mut Writer<'_>) {
        let answers = self.answers();
        let way = self.way();
        self.scratch.due.clear();
        self.routing.due(now, &mut self.scratch.due);
        for index in 0..self.scratch.due.len() {
            let id = self.scratch.due[index];
            if let Some(source) = self.routing.source_mut(id) {
                write_nack(now, source, reporter, way, answers, &mut self.scratch.sequences, out);
                write_key_frame_request(now, source, reporter, answers, out);
            }
            self.routing.reschedule(id);
        }
    }
}

fn write_nack(
    now: Instant,
    source: &mut Inbound,
    reporter: u32,
    way: Way,
    answers: Answers,
    sequences: &mut Vec<u16>,
    out: &mut Writer<'_>,
) {
    if source.nack.next().is_none_or(|at| at > now) || out.free() < 64 {
        return;
    }
    let given_up = source.nack.take_due(now, way, source.patience(answers), sequences);
    source.key_frames.wanted |= given_up && source.is_video();
    if sequences.is_empty() {
        return;
    }
    // What does not fit is asked for with the next round.
    let pairs = rtcp::nack_pairs(sequences.iter().copied()).take((out.free() - 12) / 4);
    if rtcp::write_nack(reporter, source.ssrc, pairs, out).is_ok() {
        source.count.nacks += 1;
    }
}

fn write_key_frame_request(now: Instant, source: &mut Inbound, reporter: u32, answers: Answers, out: &mut Writer<'_>) {
    if source.request_due().is_none_or(|at| at > now) || out.free() < 20 {
        return;
    }
    let pli = source.codec().is_some_and(|codec| codec.feedback.pli);
    let media = source.ssrc;
    let written = if pli {
        let pli = Pli {
            sender: reporter,
            media,
        };
        rtcp::write_pli(pli, out)
    } else {
        source.key_frames.fir_sequence = source.key_frames.fir_sequence.wrapping_add(1);
        let entry = FirEntry {
            ssrc: media,
            sequence: source.key_frames.fir_sequence,
        };
        rtcp::write_fir(reporter, &[entry], out)
    };
    if written.is_ok() {
        source.count.plis += u32::from(pli);
        source.count.firs += u32::from(!pli);
        source.key_frames.note_request(now, answers.first);
    }
}
