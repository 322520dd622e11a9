use std::time::Instant;

use antiphon_sansio::{Ecn, TransmitBuf};

use super::handshake::ERROR_DETECTION_DTLS;
use super::{Association, Timer};
use crate::chunk::{
    Capabilities, Chunk, Data, Sack, kind, padded, parameter_kind, put_cwr, put_ecne, put_parameter, write_forward_tsn,
    write_i_forward_tsn, write_sack,
};
use crate::packet::{HEADER_LEN, seal_open_segment, write_header};
use crate::rx::AckUrgency;
use crate::tx::Cut;
use crate::{Outgoing, State};

/// Chunks in flight at once: a gap block cannot report more (RFC 9260 §3.3.4), and the receiver would refuse them.
const MAX_OUTSTANDING: usize = 60_000;

/// No packet is begun in less than this.
const SMALLEST_ROOM: usize = 128;

impl Association {
    /// Writes one packet into a new segment of `out` and leaves the segment open, for DTLS to seal; `None` if there is
    /// nothing to send or no room for a segment.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        debug_assert!(!out.is_open());
        self.prepare_reset();
        let alone = self.replies.front().is_some_and(|reply| reply.alone);
        let probe = self.path_probe_is_due();
        if !(alone || self.send_init || probe || self.has_control() || self.may_send_data(now)) {
            self.collect_low();
            return None;
        }
        if !out.begin(0, 0) {
            return None;
        }
        let room = self.packet.min(out.remaining()) & !3;
        if room < SMALLEST_ROOM {
            out.rollback();
            return None;
        }
        let (mut padding, mut has_data) = (0, false);
        let (source, destination) = (self.config.local_port, self.config.remote_port);
        let peer_tag = self.peer.map_or(0, |peer| peer.tag);
        if alone {
            let reply = self.replies.pop_front().expect("seen above");
            write_header(out, source, destination, reply.tag.unwrap_or(peer_tag));
            if reply.bytes.len() <= out.remaining() {
                out.put_slice(&reply.bytes);
            }
        } else if self.send_init {
            self.send_init = false;
            write_header(out, source, destination, 0);
            self.write_init(out);
        } else if probe {
            write_header(out, source, destination, peer_tag);
            let Some(bytes) = self.write_path_probe(now, out) else {
                out.rollback();
                return self.poll_transmit(now, out);
            };
            padding = bytes;
        } else {
            write_header(out, source, destination, peer_tag);
            has_data = self.write_chunks(now, out, room);
        }
        self.collect_low();
        if out.body().len() <= HEADER_LEN {
            out.rollback();
            return None;
        }
        if !self.omits_checksum(out.body()) {
            seal_open_segment(out);
        }
        self.stats.packets_sent += 1;
        let capable = has_data && self.uses_ecn();
        let ecn = if capable { Ecn::Ect0 } else { Ecn::NotEct };
        Some(Outgoing { ecn, padding })
    }

    /// RFC 9653 §5.2: the peer takes packets without a checksum, but not those that begin an association.
    #[inline]
    fn omits_checksum(&self, packet: &[u8]) -> bool {
        self.config.zero_checksum
            && self
                .peer
                .is_some_and(|peer| peer.capabilities.zero_checksum == Some(ERROR_DETECTION_DTLS))
            && !matches!(packet[HEADER_LEN], kind::INIT | kind::INIT_ACK | kind::COOKIE_ECHO)
    }

    fn has_control(&self) -> bool {
        !self.replies.is_empty()
            || self.send_echo
            || self.send_shutdown
            || self.send_shutdown_ack
            || self.heartbeat_due
            || self.forward_due
            || self.ecn.to_answer.is_some()
            || self.resets.is_due(self.outstanding.cumulative_ack())
            || (self.peer.is_some() && !self.ended && self.tracker.urgency() == AckUrgency::Now)
    }

    /// Whether there is DATA, and the windows and the pacer let a chunk pass.
    fn may_send_data(&mut self, now: Instant) -> bool {
        let state = matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        );
        let ready = state
            && ((self.outstanding.has_lost() && self.congestion_allows())
                || (!self.queue.is_empty() && (self.congestion_allows() || !self.window_limited)));
        ready && self.pace_allows(now)
    }

    fn pace_allows(&mut self, now: Instant) -> bool {
        if self.fast_retransmit || self.outstanding.in_flight() == 0 {
            return true;
        }
        match self.pacer.check(now) {
            Ok(()) => true,
            Err(at) => {
                self.pace_limited = true;
                self.timers.set(Timer::Pace, at);
                false
            }
        }
    }

    fn congestion_allows(&self) -> bool {
        let in_flight = self.outstanding.in_flight();
        in_flight == 0 || in_flight < self.congestion.window() || self.fast_retransmit
    }

    /// Says whether there is DATA among them.
    fn write_chunks(&mut self, now: Instant, out: &mut TransmitBuf, room: usize) -> bool {
        // Only DATA finds out that large packets have stopped arriving: nothing else goes beyond the base.
        let base = room.min(self.config.max_packet);
        let left = |out: &TransmitBuf| base.saturating_sub(out.body().len());
        // If the path has no room for the cookie now, T1 asks again.
        let echo = std::mem::take(&mut self.send_echo) && padded(4 + self.echo.len()) <= left(out);
        if echo {
            Chunk::CookieEcho(&self.echo).write(out);
        }
        while let Some(reply) = self.replies.front()
            && !reply.alone
            && reply.bytes.len() <= left(out)
        {
            out.put_slice(&reply.bytes);
            self.replies.pop_front();
        }
        if let Some(tsn) = self.ecn.to_answer
            && left(out) >= 8
        {
            self.ecn.to_answer = None;
            put_cwr(out, tsn);
        }
        if self.tracks_peer_data() {
            let urgency = self.tracker.urgency();
            if urgency == AckUrgency::Now || (urgency == AckUrgency::Delayed && self.may_send_data(now)) {
                self.write_sack(out, left(out));
            }
        }
        if self.forward_due && left(out) >= 16 {
            self.forward_due = false;
            let room = left(out).saturating_sub(8);
            if self.outstanding.wants_forward() {
                if self.outstanding.is_interleaved() {
                    let (tsn, skipped) = self.outstanding.forward_interleaved(room / 8);
                    write_i_forward_tsn(out, tsn, skipped.into_iter());
                } else {
                    let (tsn, skipped) = self.outstanding.forward(room / 4);
                    write_forward_tsn(out, tsn, skipped.into_iter());
                }
                self.forward_told = self.outstanding.advanced();
                self.forward_sent = Some(now);
                self.start_t3(now);
            }
        }
        if self.resets.is_due(self.outstanding.cumulative_ack()) && self.reset_len() <= left(out) {
            self.write_reset(now, out);
        }
        if self.heartbeat_due
            && left(out) >= 16
            && let Some(nonce) = self.heartbeat
        {
            self.heartbeat_due = false;
            let mut info = Vec::with_capacity(12);
            put_parameter(&mut info, parameter_kind::HEARTBEAT_INFO, &[&nonce]);
            Chunk::Heartbeat(&info).write(out);
        }
        if self.send_shutdown && left(out) >= 8 {
            self.send_shutdown = false;
            Chunk::Shutdown(self.tracker.cumulative_tsn()).write(out);
        }
        if self.send_shutdown_ack && left(out) >= 4 {
            self.send_shutdown_ack = false;
            Chunk::ShutdownAck.write(out);
        }
        // DATA may ride with COOKIE ECHO, behind it (RFC 9260 §5.1): that saves a round trip.
        let established = matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        );
        (established || (echo && self.state == State::CookieEchoed)) && self.write_data(now, out, room)
    }

    /// Whether the peer knows the chunk that tells of messages that were given up.
    fn can_be_told_of_skipped(&self, peer: &Capabilities) -> bool {
        if self.outstanding.is_interleaved() {
            peer.interleaved_forward_tsn
        } else {
            peer.forward_tsn
        }
    }

    fn tracks_peer_data(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownSent | State::ShutdownReceived
        )
    }

    fn write_sack(&mut self, out: &mut TransmitBuf, left: usize) {
        // RFC 9260 Appendix B: the mark is told beside every SACK until CWR answers.
        let mark = self.ecn.to_tell.filter(|_| left >= Sack::FIXED_LEN + 16);
        let left = left - if mark.is_some() { 8 } else { 0 };
        let Some(blocks) = left.checked_sub(Sack::FIXED_LEN).map(|bytes| bytes / 4) else {
            return;
        };
        if let Some(tsn) = mark {
            put_ecne(out, tsn);
        }
        let window = self.receive_window();
        let gaps = self.tracker.gap_blocks(blocks);
        let duplicates = self.tracker.duplicates();
        let duplicates = &duplicates[..duplicates.len().min(blocks - gaps.len())];
        let a_rwnd = u32::try_from(window).unwrap_or(u32::MAX);
        write_sack(out, self.tracker.cumulative_tsn(), a_rwnd, gaps, duplicates);
        self.advertised = window;
        self.tracker.acknowledged();
        self.timers.stop(Timer::Ack);
    }

    fn start_t3(&mut self, now: Instant) {
        if self.timers.get(Timer::T3).is_none() {
            self.timers.set(Timer::T3, now + self.rto.current());
        }
    }

    fn write_data(&mut self, now: Instant, out: &mut TransmitBuf, room: usize) -> bool {
        let header = self.outstanding.header_len();
        // Every chunk fits a packet of the base size, for it can never be cut again; larger packets hold several.
        let base = room.min(self.config.max_packet) - HEADER_LEN;
        let chunks = (room - HEADER_LEN).div_ceil(base);
        let cut = Cut {
            whole: base - header,
            piece: (((room - HEADER_LEN) / chunks) & !3) - header,
        };
        if self.outstanding.has_lost() {
            let queue = &mut self.queue;
            self.outstanding.drop_spent(now, |key| {
                queue.abandon_begun(key);
            });
            self.schedule_forward(now);
        }
        if !self.pace_allows(now) {
            return false;
        }
        self.pace_limited = false;
        let before = out.body().len();
        let mut wrote = false;
        loop {
            if !self.congestion_allows() {
                self.window_limited = true;
                break;
            }
            let used = out.body().len();
            let payload_room = room.saturating_sub(used + header);
            if let Some(len) = self.outstanding.next_lost_len() {
                // A chunk from before the packets became smaller goes alone, if the path can carry it at all.
                let oversized = used == HEADER_LEN && self.outstanding.wire_len(len) <= out.remaining();
                if len > payload_room && !oversized {
                    break;
                }
                if !wrote {
                    self.outstanding.begin_packet(now);
                }
                let first = self.outstanding.retransmit(now, out);
                if first && self.state != State::CookieEchoed {
                    // RFC 9260 §7.2.4 4): the timer covers the earliest chunk's last transmission.
                    self.timers.set(Timer::T3, now + self.rto.current());
                }
                self.peer_window = self.peer_window.saturating_sub(len);
                wrote = true;
                self.stats.chunks_sent += 1;
                continue;
            }
            if self.queue.is_empty() || self.outstanding.len() >= MAX_OUTSTANDING {
                self.window_limited = false;
                self.outstanding.app_limited();
                break;
            }
            // A closed window is probed with one chunk at a time (RFC 9260 §6.1 A).
            let allowed = if self.outstanding.is_empty() {
                usize::MAX
            } else {
                self.peer_window
            };
            self.rest_after_idleness(now);
            let Some(mut chunk) = self.queue.next_chunk(now, payload_room, cut, allowed) else {
                self.window_limited = false;
                break;
            };
            let len = chunk.payload.len();
            if !self
                .peer
                .is_some_and(|peer| self.can_be_told_of_skipped(&peer.capabilities))
            {
                // Without FORWARD TSN nothing can be given up.
                chunk.max_retransmits = None;
                chunk.expires = None;
            }
            // RFC 7053: the last chunk before a pause asks for its acknowledgement, instead of waiting for a delayed one.
            let in_flight = self.outstanding.in_flight() + self.outstanding.wire_len(len);
            if self.queue.is_empty() || in_flight >= self.congestion.window() {
                chunk.flags |= Data::IMMEDIATE;
            }
            if !wrote {
                self.outstanding.begin_packet(now);
            }
            self.outstanding.send(now, chunk, out);
            self.peer_window = self.peer_window.saturating_sub(len);
            wrote = true;
            self.stats.chunks_sent += 1;
        }
        if wrote {
            if out.body().len() > self.config.max_packet {
                self.outstanding.packet_was_large();
            }
            self.pacer.sent(out.body().len() - before);
            self.fast_retransmit = false;
            self.last_data_sent = Some(now);
            if self.state != State::CookieEchoed {
                self.start_t3(now);
                self.schedule_probe(now);
            }
        }
        wrote
    }

    /// RFC 9260 §7.2.1: a window that was not used for an RTO has grown old.
    fn rest_after_idleness(&mut self, now: Instant) {
        if !self.outstanding.is_empty() {
            return;
        }
        let Some(last) = self.last_data_sent else { return };
        let idle = now.saturating_duration_since(last);
        let rto = self.rto.current();
        if idle >= rto {
            let rtos = (idle.as_nanos() / rto.as_nanos().max(1)).min(31);
            self.congestion.on_idle(rtos as u32);
            self.last_data_sent = Some(now);
        }
    }
}
