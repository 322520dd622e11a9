//! RTCP in: reports, feedback and requests of the peer.

use std::time::{Duration, Instant};

use antiphon_rtp::rtcp::{self, ReportBlock, XrBlock};

use super::Session;
use crate::capture::MediaClock;
use crate::event::{Event, SenderId};
use crate::feedback::history::CAPACITY;
use crate::outbound::{KEY_FRAME_INTERVAL, Outbound};
use crate::stats::RemoteOutboundRtp;

/// Most receiver reference times that wait for an answer.
const MAX_REFERENCE_TIMES: usize = 16;

impl Session {
    /// Takes one RTCP packet after SRTP, compound or reduced-size.
    pub fn handle_rtcp(&mut self, now: Instant, packet: antiphon_sansio::Packet) {
        if self.closed {
            return;
        }
        // An honest receiver speaks of each packet once or twice.
        let mut statuses = CAPACITY;
        for packet in rtcp::packets(&packet.data) {
            let Ok(packet) = packet else {
                self.dropped.malformed_rtcp += 1;
                continue;
            };
            match packet {
                rtcp::Packet::SenderReport(report) => {
                    self.sender_report(now, report.ssrc, report.info);
                    self.report_blocks(now, report.blocks());
                }
                rtcp::Packet::ReceiverReport(report) => self.report_blocks(now, report.blocks()),
                rtcp::Packet::Bye(bye) => bye.ssrcs().for_each(|ssrc| self.bye(ssrc)),
                rtcp::Packet::ExtendedReport(report) => {
                    let ssrc = report.ssrc;
                    report.blocks().for_each(|block| self.extended(now, ssrc, &block));
                }
                rtcp::Packet::Nack(nack) => self.nack(now, &nack),
                rtcp::Packet::Pli(pli) => {
                    if let Some((id, sender)) = self.sender_of(pli.media) {
                        sender.count.plis += 1;
                        self.key_frame_asked(now, id);
                    }
                }
                rtcp::Packet::Fir(fir) => {
                    for entry in fir.entries() {
                        let Some((id, sender)) = self.sender_of(entry.ssrc) else {
                            continue;
                        };
                        // RFC 5104 §4.3.1.1: the same number is a repetition of the same request.
                        if sender.key_frames.fir_sequence.replace(entry.sequence) != Some(entry.sequence) {
                            sender.count.firs += 1;
                            self.key_frame_asked(now, id);
                        }
                    }
                }
                rtcp::Packet::TransportFeedback(feedback) => self.transport_feedback(now, &feedback, &mut statuses),
                rtcp::Packet::Ccfb(feedback) => self.stream_feedback(now, &feedback, &mut statuses),
                rtcp::Packet::Remb(remb) => {
                    self.spoken_of();
                    self.controller.on_remb(now, remb.bitrate);
                    self.retarget(now);
                }
                rtcp::Packet::Unknown(_) => self.dropped.unknown_rtcp += 1,
                _ => {}
            }
        }
    }

    /// How many report blocks of the peer have come that speak of what we send (RFC 3550 §6.4).
    pub fn reports_received(&self) -> u64 {
        self.reports.received
    }

    fn sender_of(&mut self, ssrc: u32) -> Option<(SenderId, &mut Outbound)> {
        let id = self.senders.by_ssrc(ssrc)?;
        Some((id, self.senders.get_mut(id)?))
    }

    fn nack(&mut self, now: Instant, nack: &rtcp::Nack<'_>) {
        let ticks = self.moment(now).ticks;
        let way = self.way();
        if let Some((id, sender)) = self.sender_of(nack.media)
            && sender.sends()
        {
            sender.nack(ticks, way, nack.sequences());
            self.senders.wake(id);
            self.pacer.hurry();
        }
    }

    fn transport_feedback(&mut self, now: Instant, feedback: &rtcp::TransportFeedback<'_>, statuses: &mut usize) {
        let results = &mut self.scratch.results;
        let heard = &mut self.heard.numbers;
        heard.take(now, feedback, &mut self.history, statuses, results);
        self.feedback(now);
    }

    fn stream_feedback(&mut self, now: Instant, feedback: &rtcp::Ccfb<'_>, statuses: &mut usize) {
        let results = &mut self.scratch.results;
        let heard = &mut self.heard.streams;
        heard.take(now, feedback, &mut self.history, statuses, results);
        self.feedback(now);
    }

    /// Feedback came, in whatever form: what it says of packets is in the scratch space.
    fn feedback(&mut self, now: Instant) {
        if !self.scratch.results.is_empty() {
            self.spoken_of();
        }
        self.bursts.take(&self.scratch.results);
        if let Some(marks) = &mut self.heard.marks {
            marks.take(&self.scratch.results, self.available.total);
        }
        let mut narrow = false;
        for result in &self.scratch.results {
            narrow |= self.large.take(result);
        }
        if narrow {
            // What is refused from now on shall be heard of.
            for sender in self.senders.iter_mut() {
                sender.told_too_large = false;
            }
        }
        let rtt = self.rtt.get();
        self.history.set_rtt(rtt);
        self.controller.on_feedback(now, rtt, &self.scratch.results);
        self.retarget(now);
    }

    fn sender_report(&mut self, now: Instant, ssrc: u32, info: rtcp::SenderInfo) {
        let Some(source) = self.routing.by_ssrc(ssrc).and_then(|id| self.routing.source_mut(id)) else {
            return;
        };
        source.reception.sender_report(now, (info.ntp >> 16) as u32);
        let moment = self.peer_clock.moment(now, info.ntp);
        source.clock = Some(MediaClock::new(info.rtp_timestamp, moment));
        let remote = source.remote.get_or_insert_default();
        *remote = RemoteOutboundRtp {
            packets_sent: info.packet_count,
            bytes_sent: info.octet_count,
            reports_sent: remote.reports_sent + 1,
            ntp: info.ntp,
            rtp_timestamp: info.rtp_timestamp,
            ..*remote
        };
        self.routing.keep_in_step(now);
    }

    fn report_blocks(&mut self, now: Instant, blocks: impl Iterator<Item = ReportBlock>) {
        let ntp_middle = self.anchor.ntp_middle(now);
        let mut any = false;
        for block in blocks {
            let Some((_, sender)) = self.sender_of(block.ssrc) else {
                continue;
            };
            if let Some(rtt) = sender.report(&block, ntp_middle) {
                self.rtt.sample(rtt);
            }
            self.reports.received += 1;
            let lost = f64::from(block.fraction_lost) / 256.0;
            let (rtt, burst) = (self.rtt.get(), self.bursts.mean());
            if let Some((sender, outbound)) = self.sender_of(block.ssrc)
                && let Some(percent) = outbound.choose_redundancy(lost, rtt, burst)
            {
                self.events.push(Event::InBandFec { sender, percent });
            }
            self.reports.lost.report(lost);
            self.controller.on_loss(now, lost);
            self.judge(now, &block);
            any = true;
        }
        if any {
            self.spoken_of();
            self.retarget(now);
        }
    }

    fn extended(&mut self, now: Instant, ssrc: u32, block: &XrBlock<'_>) {
        match block {
            XrBlock::ReceiverReferenceTime { ntp } => {
                self.reports.reference_times.retain(|(from, ..)| *from != ssrc);
                if self.reports.reference_times.len() < MAX_REFERENCE_TIMES {
                    self.reports.reference_times.push((ssrc, (ntp >> 16) as u32, now));
                }
            }
            XrBlock::DelaySinceLast(entries) => {
                let reporter = self.reporter();
                for entry in entries
                    .clone()
                    .filter(|entry| entry.ssrc == reporter && entry.last_rr != 0)
                {
                    let middle = self.anchor.ntp_middle(now);
                    let round = middle.wrapping_sub(entry.last_rr).wrapping_sub(entry.delay);
                    if round > 60 << 16 {
                        continue;
                    }
                    let rtt = Duration::from_micros(u64::from(round) * 1_000_000 / 65_536);
                    self.rtt.sample(rtt);
                    let source = self.routing.by_ssrc(ssrc).and_then(|id| self.routing.source_mut(id));
                    if let Some(remote) = source.and_then(|source| source.remote.as_mut()) {
                        remote.round_trip_time = Some(rtt);
                        remote.total_round_trip_time += rtt;
                        remote.round_trip_time_measurements += 1;
                    }
                }
            }
            _ => {}
        }
    }

    fn bye(&mut self, ssrc: u32) {
        let Some(id) = self.routing.by_ssrc(ssrc) else {
            return;
        };
        let Some(source) = self.routing.source_mut(id) else {
            return;
        };
        if !source.announced || std::mem::replace(&mut source.left, true) {
            return;
        }
        source.key_frames.wanted = false;
        let receiver = source.section.id;
        self.events.push(Event::Bye { receiver, ssrc });
        self.routing.reschedule(id);
    }

    /// A key frame is asked for: tells the application at once, or when the last request is old enough.
    pub(super) fn key_frame_asked(&mut self, now: Instant, id: SenderId) {
        let Some(sender) = self.senders.get_mut(id) else {
            return;
        };
        let due = sender.key_frames.asked.map_or(now, |at| at + KEY_FRAME_INTERVAL);
        if due > now {
            sender.key_frames.due = Some(due);
        } else {
            sender.key_frames.asked = Some(now);
            sender.key_frames.due = None;
            self.events.push(Event::KeyFrameRequested { sender: id });
        }
        self.senders.reschedule();
    }

    /// Tells the application of the requests that have waited long enough.
    pub(super) fn ask_for_key_frames(&mut self, now: Instant) {
        while let Some(id) = self.senders.first_key_frame_due(now) {
            self.key_frame_asked(now, id);
        }
    }
}
