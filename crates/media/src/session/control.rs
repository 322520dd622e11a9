use std::time::{Duration, Instant};

use antiphon_rtp::rtcp::{self, ReportBlock, XrBlock};

use super::Session;
use crate::event::{Event, SenderId};
use crate::history::CAPACITY;
use crate::outbound::KEY_FRAME_INTERVAL;
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
                rtcp::Packet::Nack(nack) => {
                    let rtt = self.rtt();
                    let mut senders = self.senders.values_mut();
                    if let Some(sender) = senders.find(|sender| sender.config.ssrc == nack.media && sender.active) {
                        sender.nack(now, rtt, nack.sequences());
                    }
                }
                rtcp::Packet::Pli(pli) => {
                    if let Some(id) = self.sender_of(pli.media) {
                        if let Some(sender) = self.senders.get_mut(&id) {
                            sender.count.plis += 1;
                        }
                        self.key_frame_asked(now, id);
                    }
                }
                rtcp::Packet::Fir(fir) => {
                    for entry in fir.entries() {
                        let Some(id) = self.sender_of(entry.ssrc) else { continue };
                        let Some(sender) = self.senders.get_mut(&id) else {
                            continue;
                        };
                        // RFC 5104 §4.3.1.1: the same number is a repetition of the same request.
                        if sender.fir_sequence.replace(entry.sequence) != Some(entry.sequence) {
                            sender.count.firs += 1;
                            self.key_frame_asked(now, id);
                        }
                    }
                }
                rtcp::Packet::TransportFeedback(feedback) => {
                    self.history
                        .feedback(&feedback, &mut statuses, &mut self.scratch.results);
                    let mut narrow = false;
                    for result in &self.scratch.results {
                        narrow |= self.large.take(result);
                    }
                    if narrow {
                        // What is refused from now on shall be heard of.
                        for sender in self.senders.values_mut() {
                            sender.told_too_large = false;
                        }
                    }
                    let rtt = self.rtt();
                    self.estimator.feedback(now, rtt, self.scratch.results.iter().copied());
                    self.retarget(now);
                }
                rtcp::Packet::Remb(remb) => {
                    self.estimator.remb(now, remb.bitrate);
                    self.retarget(now);
                }
                _ => {}
            }
        }
    }

    /// How many report blocks of the peer have come that speak of what we send (RFC 3550 §6.4).
    pub fn reports_received(&self) -> u64 {
        self.reports
    }

    fn sender_of(&self, ssrc: u32) -> Option<SenderId> {
        let mut senders = self.senders.iter();
        senders
            .find(|(_, sender)| sender.config.ssrc == ssrc)
            .map(|(id, _)| *id)
    }

    fn sender_report(&mut self, now: Instant, ssrc: u32, info: rtcp::SenderInfo) {
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        source.reception.sender_report(now, (info.ntp >> 16) as u32);
        let before = source.remote;
        source.remote = Some(RemoteOutboundRtp {
            packets_sent: info.packet_count,
            bytes_sent: info.octet_count,
            reports_sent: before.map_or(0, |remote| remote.reports_sent) + 1,
            ntp: info.ntp,
            round_trip_time: before.and_then(|remote| remote.round_trip_time),
        });
    }

    fn report_blocks(&mut self, now: Instant, blocks: impl Iterator<Item = ReportBlock>) {
        let ntp_middle = self.anchor.ntp_middle(now);
        for block in blocks {
            let mut senders = self.senders.values_mut();
            let Some(sender) = senders.find(|sender| sender.config.ssrc == block.ssrc) else {
                continue;
            };
            self.reports += 1;
            let rtt = sender.report(&block, ntp_middle);
            if let Some(rtt) = rtt {
                self.measured_rtt(rtt);
            }
            self.estimator.report(now, block.fraction_lost);
            self.retarget(now);
        }
    }

    fn extended(&mut self, now: Instant, ssrc: u32, block: &XrBlock<'_>) {
        match block {
            XrBlock::ReceiverReferenceTime { ntp } => {
                self.reference_times.retain(|(from, ..)| *from != ssrc);
                if self.reference_times.len() < MAX_REFERENCE_TIMES {
                    self.reference_times.push((ssrc, (ntp >> 16) as u32, now));
                }
            }
            XrBlock::DelaySinceLast(entries) => {
                let reporter = self.reporter();
                for entry in entries
                    .iter()
                    .filter(|entry| entry.ssrc == reporter && entry.last_rr != 0)
                {
                    let middle = self.anchor.ntp_middle(now);
                    let round = middle.wrapping_sub(entry.last_rr).wrapping_sub(entry.delay);
                    if round > 60 << 16 {
                        continue;
                    }
                    let rtt = Duration::from_micros(u64::from(round) * 1_000_000 / 65_536);
                    self.measured_rtt(rtt);
                    if let Some(remote) = self.sources.get_mut(&ssrc).and_then(|source| source.remote.as_mut()) {
                        remote.round_trip_time = Some(rtt);
                    }
                }
            }
            _ => {}
        }
    }

    fn bye(&mut self, ssrc: u32) {
        let Some(source) = self.sources.get_mut(&ssrc) else {
            return;
        };
        if !source.announced || std::mem::replace(&mut source.left, true) {
            return;
        }
        source.key_frame_wanted = false;
        let receiver = source.receiver;
        self.push_event(Event::Bye { receiver, ssrc });
    }

    /// A key frame is asked for: tells the application at once, or when the last request is old enough.
    pub(super) fn key_frame_asked(&mut self, now: Instant, id: SenderId) {
        let Some(sender) = self.senders.get_mut(&id) else {
            return;
        };
        let due = sender.key_frame_asked.map_or(now, |at| at + KEY_FRAME_INTERVAL);
        if due > now {
            sender.key_frame_due = Some(due);
            return;
        }
        sender.key_frame_asked = Some(now);
        sender.key_frame_due = None;
        self.push_event(Event::KeyFrameRequested { sender: id });
    }
}
