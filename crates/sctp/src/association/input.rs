use std::time::{Duration, Instant};

use antiphon_sansio::{Ecn, Serial32};

use super::{Association, Reply, Timer};
use crate::chunk::{
    Chunk, Data, ForwardTsn, InterleavedForwardTsn, Parameters, Sack, cause, kind, parameter_kind, put_parameter,
};
use crate::packet::{Checksum, Packet, take_checksum};
use crate::rx::{AckUrgency, Arrival, Fragment};
use crate::tx::congestion::{Ack, Loss};
use crate::{Error, Event, State};

/// Bytes of an unknown chunk that an ERROR chunk quotes.
const MAX_QUOTED: usize = 64;

/// Whether the walk over a packet's chunks goes on.
#[derive(PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

/// FORWARD TSN is not repeated sooner than this, however short the round trip.
const MIN_FORWARD_WAIT: Duration = Duration::from_millis(1);
/// A tail is not probed sooner than this: a peer may wake late, or acknowledge in batches.
const MIN_PROBE_WAIT: Duration = Duration::from_millis(10);

impl Association {
    /// Takes one packet from the layer below. What is malformed or out of place is dropped and counted.
    pub fn handle_packet(&mut self, now: Instant, packet: antiphon_sansio::Packet) {
        let (ecn, mut bytes) = (packet.ecn, packet.data);
        let checksum = take_checksum(&mut bytes);
        let bytes = bytes.freeze();
        let Ok(packet) = Packet::parse(&bytes) else {
            self.stats.packets_dropped += 1;
            return;
        };
        let ports = packet.destination_port == self.config.local_port && packet.source_port == self.config.remote_port;
        let sound = match checksum {
            Checksum::Correct => true,
            // One packet in four thousand million has a checksum of zero.
            Checksum::Absent => self.does_without_checksum(&packet) || packet.checksum_is_correct(),
            Checksum::Wrong => false,
        };
        if !ports || !sound || !self.tag_fits(&packet) {
            self.stats.packets_dropped += 1;
            return;
        }
        self.stats.packets_received += 1;
        if self.ended {
            self.answer_after_the_end(&packet);
            return;
        }
        self.heard_since_heartbeat = true;
        let marked = ecn == Ecn::Ce && self.uses_ecn();
        let mut had_data = false;
        for chunk in packet.chunks() {
            let Ok(chunk) = chunk else {
                self.stats.chunks_invalid += 1;
                break;
            };
            let walk = match chunk {
                Chunk::Data(data) => {
                    had_data = true;
                    self.handle_data(now, marked, Fragment::of_data(&data, &bytes))
                }
                Chunk::InterleavedData(data) if self.config.interleaving => {
                    had_data = true;
                    self.handle_data(now, marked, Fragment::of_interleaved(&data, &bytes))
                }
                Chunk::Sack(sack) => self.handle_sack(now, &sack),
                Chunk::ForwardTsn(forward) => {
                    had_data = true;
                    self.handle_forward_tsn(&forward)
                }
                Chunk::InterleavedForwardTsn(forward) if self.config.interleaving => {
                    had_data = true;
                    self.handle_i_forward_tsn(&forward)
                }
                Chunk::CookieEcho(cookie) => {
                    self.handle_cookie_echo(now, packet.verification_tag, cookie);
                    // What is bundled behind counts only if the cookie was good.
                    if self.local_tag == packet.verification_tag && self.peer.is_some() {
                        Walk::On
                    } else {
                        Walk::Stop
                    }
                }
                other => self.handle_control(now, other),
            };
            if walk == Walk::Stop || self.ended {
                break;
            }
        }
        if had_data && !self.ended {
            self.after_data(now);
        }
        self.collect_events();
    }

    /// RFC 9653 §5.3: zero stands for no checksum, if we said so, but not with what begins an association.
    #[inline]
    fn does_without_checksum(&self, packet: &Packet<'_>) -> bool {
        self.takes_no_checksum
            && self.peer.is_some()
            && !matches!(packet.first_chunk_kind(), Some(kind::INIT | kind::COOKIE_ECHO))
    }

    /// RFC 9260 §8.5.
    fn tag_fits(&self, packet: &Packet<'_>) -> bool {
        let tag = packet.verification_tag;
        let reflected = self.peer.is_some_and(|peer| peer.tag == tag);
        match packet.chunks().next() {
            Some(Ok(Chunk::Init(_))) => tag == 0 && packet.chunks().nth(1).is_none(),
            // The cookie knows the tag.
            Some(Ok(Chunk::CookieEcho(_))) => tag != 0,
            Some(Ok(Chunk::Abort { reflected_tag: t, .. } | Chunk::ShutdownComplete { reflected_tag: t })) => {
                if t {
                    reflected
                } else {
                    tag == self.local_tag
                }
            }
            Some(_) => tag == self.local_tag,
            None => false,
        }
    }

    /// RFC 9260 §8.4 5): our SHUTDOWN COMPLETE was lost; or all of our SHUTDOWN ACKs were.
    fn answer_after_the_end(&mut self, packet: &Packet<'_>) {
        let answer = match packet.chunks().next() {
            Some(Ok(Chunk::ShutdownAck)) => Chunk::ShutdownComplete { reflected_tag: false },
            Some(Ok(Chunk::Shutdown(_))) if self.shutdown_acks > 0 => Chunk::ShutdownAck,
            _ => return,
        };
        if let Some(peer) = self.peer {
            let mut bytes = Vec::new();
            answer.write(&mut bytes);
            self.reply(Reply {
                tag: Some(peer.tag),
                bytes,
                alone: true,
            });
        }
    }

    fn handle_control(&mut self, now: Instant, chunk: Chunk<'_>) -> Walk {
        match chunk {
            Chunk::Init(init) => self.handle_init(now, &init),
            Chunk::InitAck(init) => self.handle_init_ack(now, &init),
            Chunk::CookieAck => self.handle_cookie_ack(now),
            Chunk::Ecne(tsn) => self.handle_ecne(now, tsn),
            Chunk::Cwr(tsn) => self.handle_cwr(tsn),
            Chunk::Heartbeat(info) => {
                let mut bytes = Vec::with_capacity(info.len() + 4);
                Chunk::HeartbeatAck(info).write(&mut bytes);
                if self.peer.is_some() && bytes.len() + crate::packet::HEADER_LEN <= self.config.max_packet {
                    self.reply(Reply {
                        tag: None,
                        bytes,
                        alone: false,
                    });
                }
            }
            Chunk::HeartbeatAck(info) => self.handle_heartbeat_ack(now, info),
            Chunk::ReConfig(re_config) => {
                if self.peer.is_some() {
                    self.handle_re_config(now, &re_config);
                }
            }
            Chunk::Abort { causes, .. } => {
                let cause = causes.flatten().next().map(|cause| cause.kind);
                self.end(Event::Failed(Error::AbortedByPeer { cause }));
                return Walk::Stop;
            }
            Chunk::Error(causes) => {
                for cause in causes.flatten() {
                    if cause.kind == cause::STALE_COOKIE {
                        self.handle_stale_cookie(now);
                    }
                }
            }
            Chunk::Shutdown(tsn) => self.handle_shutdown(now, tsn),
            Chunk::ShutdownAck => self.handle_shutdown_ack(),
            Chunk::ShutdownComplete { .. } => self.handle_shutdown_complete(),
            Chunk::InterleavedData(_) => return self.handle_unknown(kind::I_DATA, &[]),
            Chunk::InterleavedForwardTsn(_) => return self.handle_unknown(kind::I_FORWARD_TSN, &[]),
            Chunk::Unknown { kind, value, .. } => return self.handle_unknown(kind, value),
            Chunk::Pad(_) | Chunk::Data(_) | Chunk::Sack(_) | Chunk::ForwardTsn(_) | Chunk::CookieEcho(_) => {}
        }
        Walk::On
    }

    /// RFC 9260 §3.2: the two high bits of an unknown type say whether to go on and whether to report it.
    fn handle_unknown(&mut self, kind: u8, value: &[u8]) -> Walk {
        if kind & 0x40 != 0 && self.peer.is_some() {
            let value = &value[..value.len().min(MAX_QUOTED)];
            let mut quoted = Vec::new();
            Chunk::Unknown { kind, flags: 0, value }.write(&mut quoted);
            let mut causes = Vec::new();
            put_parameter(&mut causes, cause::UNRECOGNIZED_CHUNK, &[&quoted]);
            let mut bytes = Vec::new();
            Chunk::Error(Parameters::new(&causes)).write(&mut bytes);
            self.reply(Reply {
                tag: None,
                bytes,
                alone: false,
            });
        }
        if kind & 0x80 != 0 { Walk::On } else { Walk::Stop }
    }

    fn takes_data(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownSent
        )
    }

    /// DATA or I-DATA; `marked`: in a packet with a congestion mark.
    #[inline]
    fn handle_data(&mut self, now: Instant, marked: bool, mut fragment: Fragment<'_>) -> Walk {
        if !self.takes_data() {
            self.stats.chunks_refused += 1;
            return Walk::On;
        }
        if fragment.payload.is_empty() {
            // RFC 9260 §6.2: DATA without user data ends the association.
            self.abort_because_of_empty_data();
            return Walk::Stop;
        }
        fragment.tsn = self.tracker.extend(fragment.wire_tsn);
        let arrival = self.tracker.classify(fragment.tsn);
        let held = self.reassembly.held() + fragment.payload.len();
        let limit = match arrival {
            Arrival::Duplicate => {
                self.stats.chunks_duplicate += 1;
                self.tracker.note_duplicate(fragment.wire_tsn);
                return Walk::On;
            }
            Arrival::OutOfWindow => 0,
            // What brings the cumulative TSN forward is taken as long as a whole message fits beyond the window: only so can
            // a buffer full of fragments become messages that can be read. If all of it can be read, the peer has to wait.
            Arrival::InOrder if self.reassembly.has_incomplete() => {
                self.config.receive_buffer + self.config.max_receive_message
            }
            Arrival::InOrder | Arrival::AboveHole => self.config.receive_buffer,
        };
        if held > limit {
            if arrival == Arrival::InOrder && self.reassembly.unfinished() > self.config.receive_buffer {
                // Nothing of it can be read, and nothing more can be taken: that never ends by itself.
                self.abort_with(Error::ProtocolViolation("unfinished messages fill the receive buffer"));
                return Walk::Stop;
            }
            self.stats.chunks_refused += 1;
            self.tracker.acknowledge_now();
            return Walk::On;
        }
        if marked {
            self.note_mark(fragment.wire_tsn);
        }
        self.tracker.record(fragment.tsn);
        if fragment.flags & Data::IMMEDIATE != 0 {
            self.tracker.acknowledge_now();
        }
        if fragment.stream >= self.granted_streams() {
            self.refuse_stream(fragment.stream);
            return Walk::On;
        }
        if self.reassembly.insert(&fragment).is_err() {
            self.abort_with(Error::ProtocolViolation("a message exceeds the announced size"));
            return Walk::Stop;
        }
        if self.state == State::ShutdownSent {
            // RFC 9260 §9.2: DATA after our SHUTDOWN is answered by SACK and SHUTDOWN at once.
            self.send_shutdown = true;
            self.timers.set(Timer::T2, now + self.rto.current());
        }
        Walk::On
    }

    /// RFC 9260 §6.5: DATA for a stream that does not exist is acknowledged, reported and dropped.
    fn refuse_stream(&mut self, stream: u16) {
        self.stats.chunks_invalid += 1;
        let [high, low] = stream.to_be_bytes();
        let mut causes = Vec::new();
        put_parameter(&mut causes, cause::INVALID_STREAM, &[&[high, low, 0, 0]]);
        let mut bytes = Vec::new();
        Chunk::Error(Parameters::new(&causes)).write(&mut bytes);
        self.reply(Reply {
            tag: None,
            bytes,
            alone: false,
        });
    }

    fn handle_forward_tsn(&mut self, forward: &ForwardTsn<'_>) -> Walk {
        if !self.takes_data() {
            return Walk::On;
        }
        let tsn = self.tracker.extend(forward.new_cumulative_tsn);
        if tsn > self.tracker.cumulative() {
            let streams = self.granted_streams();
            self.reassembly
                .forward(tsn, forward.skipped().filter(|skipped| skipped.stream < streams));
        }
        // An old one is acknowledged, so that the peer learns where we are (RFC 3758 §3.6).
        self.tracker.forward(tsn);
        Walk::On
    }

    fn handle_i_forward_tsn(&mut self, forward: &InterleavedForwardTsn<'_>) -> Walk {
        if !self.takes_data() {
            return Walk::On;
        }
        let tsn = self.tracker.extend(forward.new_cumulative_tsn);
        if tsn > self.tracker.cumulative() {
            let streams = self.granted_streams();
            self.reassembly
                .forward_interleaved(forward.skipped().filter(|skipped| skipped.stream < streams));
        }
        self.tracker.forward(tsn);
        Walk::On
    }

    #[inline]
    fn after_data(&mut self, now: Instant) {
        self.tracker.end_of_packet();
        self.reassembly.sweep(self.tracker.cumulative());
        self.perform_deferred_reset();
        self.grow_window_for_unfinished();
        if self.tracker.urgency() == AckUrgency::Delayed && self.timers.get(Timer::Ack).is_none() {
            self.timers.set(Timer::Ack, now + self.config.delayed_ack);
        }
    }

    fn handle_sack(&mut self, now: Instant, sack: &Sack<'_>) -> Walk {
        if !matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        ) {
            return Walk::On;
        }
        let time = self.path_time();
        let queue = &mut self.queue;
        let acked = self.outstanding.handle_sack(now, sack, time, |key| {
            queue.abandon_begun(key);
        });
        let Ok(acked) = acked else {
            self.stats.chunks_invalid += 1;
            return Walk::On;
        };
        if acked.stale {
            return Walk::On;
        }
        if acked.invalid_blocks {
            self.stats.chunks_invalid += 1;
        }
        self.collect_low();
        if let Some(rtt) = acked.rtt {
            self.rto.measured(rtt);
        }
        let window = sack.a_rwnd as usize;
        self.peer_window = window.saturating_sub(self.outstanding.payload_in_flight());
        // RFC 9260 §6.1 A: a peer that answers with a closed window is alive.
        if acked.cumulative_advanced || acked.bytes > 0 || window == 0 {
            self.errors = 0;
        }
        let was_in_recovery = self.recovery.is_some();
        if self
            .recovery
            .is_some_and(|end| self.outstanding.cumulative_ack() >= end)
        {
            self.recovery = None;
        }
        if acked.spurious {
            self.stats.spurious_recoveries += 1;
            self.congestion.on_spurious_loss(now);
            self.recovery = None;
            self.outstanding.revive();
        } else if acked.lost {
            self.respond_to_loss(now);
        }
        let lost = self.outstanding.take_lost_bytes();
        if acked.bytes > 0 || lost > 0 {
            self.congestion.on_ack(&Ack {
                now,
                bytes: acked.bytes,
                lost,
                in_flight: self.outstanding.in_flight(),
                cumulative_advanced: acked.cumulative_advanced,
                window_limited: self.window_limited || self.pace_limited,
                in_recovery: was_in_recovery || self.recovery.is_some(),
                rtt: acked.rtt,
                srtt: self.rto.srtt(),
                round_start: acked.round_start,
                sample: acked.sample,
            });
        }
        self.suspect_black_hole(false);
        if acked.bytes > 0 {
            self.consider_search();
            self.rto.progress();
            self.probing = false;
            self.schedule_probe(now);
        }
        // Anything that arrives shows that the path lives, and finds what is lost by itself, lost retransmissions included: T3
        // is for silence.
        if acked.cumulative_advanced || acked.bytes > 0 {
            self.timers.set(Timer::T3, now + self.rto.current());
        }
        if self.outstanding.is_empty() {
            self.timers.stop(Timer::T3);
            self.timers.stop(Timer::Probe);
            self.advance_shutdown(now);
        }
        self.schedule_verdict();
        self.update_pace(now);
        self.schedule_forward(now);
        Walk::On
    }

    /// The congestion controller answers the first loss of a window.
    pub(super) fn respond_to_loss(&mut self, now: Instant) {
        if self.recovery.is_none() {
            self.congestion.on_loss(&Loss {
                now,
                in_flight: self.outstanding.in_flight(),
            });
            self.recovery = Some(self.outstanding.next_tsn() - 1);
            self.outstanding.recovery_begins(false);
            self.fast_retransmit = self.outstanding.has_lost();
        }
        self.timers.stop(Timer::Probe);
        self.update_pace(now);
    }

    pub(super) fn schedule_verdict(&mut self) {
        match self.outstanding.verdict_due() {
            Some(at) => self.timers.set(Timer::Reorder, at),
            None => self.timers.stop(Timer::Reorder),
        }
    }

    /// RFC 8985 §7.2: the tail is probed two round trips after the last sign of life, if T3-rtx does not come first.
    pub(super) fn schedule_probe(&mut self, now: Instant) {
        let (Some(srtt), false) = (self.rto.srtt(), self.probing) else {
            return;
        };
        if self.recovery.is_some() || self.outstanding.has_lost() || self.outstanding.in_flight() == 0 {
            self.timers.stop(Timer::Probe);
            return;
        }
        self.timers.set(Timer::Probe, now + (srtt * 2).max(MIN_PROBE_WAIT));
    }

    pub(super) fn update_pace(&mut self, now: Instant) {
        let rate = self.congestion.pacing_rate(self.rto.srtt());
        self.pacer.set_rate(now, rate, self.rto.min_rtt());
    }

    /// FORWARD TSN is told when it has news, and again after a round trip without an answer (RFC 3758 §3.5 F).
    pub(super) fn schedule_forward(&mut self, now: Instant) {
        if !self.outstanding.wants_forward() {
            return;
        }
        let news = self.outstanding.advanced() > self.forward_told;
        // A round trip of nothing would make it due again within the same poll, for ever.
        let wait = self
            .rto
            .srtt()
            .unwrap_or_else(|| self.rto.current())
            .max(MIN_FORWARD_WAIT);
        if news || self.forward_sent.is_none_or(|sent| sent + wait <= now) {
            self.forward_due = true;
        }
    }

    /// SHUTDOWN acknowledges like a SACK without blocks.
    pub(super) fn handle_cumulative_ack(&mut self, now: Instant, tsn: Serial32) {
        let window = self.peer_window + self.outstanding.payload_in_flight();
        let sack = Sack::cumulative(tsn, u32::try_from(window).unwrap_or(u32::MAX));
        self.handle_sack(now, &sack);
    }

    fn handle_heartbeat_ack(&mut self, now: Instant, info: &[u8]) {
        let mut parameters = Parameters::new(info).flatten();
        let Some(nonce) = parameters.find(|p| p.kind == parameter_kind::HEARTBEAT_INFO) else {
            return;
        };
        if self.handle_path_probe_ack(now, nonce.value) {
            self.errors = 0;
        } else if self.heartbeat.is_some_and(|expected| expected == nonce.value) {
            self.heartbeat = None;
            self.errors = 0;
            self.rto.measured(now.saturating_duration_since(self.heartbeat_sent));
            self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
        }
    }
}
