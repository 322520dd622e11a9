//! The way in: packets of the peer, and what they bring to the application.

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use super::replies::Reply;
use super::state::{Phase, Stage};
use super::{Association, Timer};
use crate::chunk::{Chunk, Fragment, Parameters, Sack, cause, kind, parameter_kind, put_parameter};
use crate::error::Error;
use crate::event::{Event, Message};
use crate::packet::{Checksum, HEADER_LEN, Packet, take_checksum};
use crate::rx::{AckUrgency, Taken};
use crate::tx::feedback::Answer;

/// Bytes of an unknown chunk that an ERROR chunk quotes.
const MAX_QUOTED: usize = 64;
/// For the receive window, while no round trip has been measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);

/// Whether the walk over a packet's chunks goes on.
#[derive(PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

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
        if !self.is_for_us(&packet, checksum) {
            self.stats.packets_dropped += 1;
            return;
        }
        self.stats.packets_received += 1;
        if self.has_ended() {
            self.answer_after_the_end(&packet);
            return;
        }
        if let Some(established) = self.phase.established() {
            established.heartbeat.heard = true;
        }
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
                Chunk::ForwardTsn(_) => {
                    had_data = true;
                    self.handle_forward(&chunk)
                }
                Chunk::InterleavedForwardTsn(_) if self.config.interleaving => {
                    had_data = true;
                    self.handle_forward(&chunk)
                }
                Chunk::Sack(sack) => self.handle_sack(now, &sack),
                Chunk::CookieEcho(cookie) => {
                    self.handle_cookie_echo(now, packet.verification_tag, cookie);
                    // What is bundled behind counts only if the cookie was good.
                    if self.local_tag == packet.verification_tag && self.phase.peer().is_some() {
                        Walk::On
                    } else {
                        Walk::Stop
                    }
                }
                other => self.handle_control(now, other),
            };
            if walk == Walk::Stop || self.has_ended() {
                break;
            }
        }
        if had_data && !self.has_ended() {
            self.after_data(now);
        }
        self.collect_events();
    }

    fn is_for_us(&self, packet: &Packet<'_>, checksum: Checksum) -> bool {
        let ports = packet.destination_port == self.config.local_port && packet.source_port == self.config.remote_port;
        let sound = match checksum {
            Checksum::Correct => true,
            // One packet in four thousand million has a checksum of zero.
            Checksum::Absent => self.does_without_checksum(packet) || packet.checksum_is_correct(),
            Checksum::Wrong => false,
        };
        ports && sound && self.tag_fits(packet)
    }

    /// RFC 9653 §5.3: zero stands for no checksum, if we said so, but not with what begins an association.
    #[inline]
    fn does_without_checksum(&self, packet: &Packet<'_>) -> bool {
        self.takes_no_checksum
            && self.phase.peer().is_some()
            && !matches!(packet.first_chunk_kind(), Some(kind::INIT | kind::COOKIE_ECHO))
    }

    /// RFC 9260 §8.5.
    fn tag_fits(&self, packet: &Packet<'_>) -> bool {
        let tag = packet.verification_tag;
        let reflected = self.phase.peer().is_some_and(|peer| peer.tag == tag);
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
        let Phase::Ended {
            peer: Some(peer),
            repeats_shutdown_ack,
        } = self.phase
        else {
            return;
        };
        let answer = match packet.chunks().next() {
            Some(Ok(Chunk::ShutdownAck)) => Chunk::ShutdownComplete { reflected_tag: false },
            Some(Ok(Chunk::Shutdown(_))) if repeats_shutdown_ack => Chunk::ShutdownAck,
            _ => return,
        };
        self.replies.push(Reply::packet(peer.tag, &answer));
    }

    fn handle_control(&mut self, now: Instant, chunk: Chunk<'_>) -> Walk {
        match chunk {
            Chunk::Init(init) => self.handle_init(now, &init),
            Chunk::InitAck(init) => self.handle_init_ack(now, &init),
            Chunk::CookieAck => self.handle_cookie_ack(now),
            Chunk::Ecne(tsn) => {
                if !(self.uses_ecn() && self.tx.handle_ecne(now, tsn)) {
                    self.stats.chunks_invalid += 1;
                }
            }
            Chunk::Cwr(tsn) => self.rx.handle_cwr(tsn),
            Chunk::Heartbeat(info) => {
                let answer = Reply::chunk(&Chunk::HeartbeatAck(info));
                if self.phase.peer().is_some() && answer.bytes.len() + HEADER_LEN <= self.config.max_packet {
                    self.replies.push(answer);
                }
            }
            Chunk::HeartbeatAck(info) => self.handle_heartbeat_ack(now, info),
            Chunk::ReConfig(re_config) => {
                if self.phase.peer().is_some() {
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
        if kind & 0x40 != 0 && self.phase.peer().is_some() {
            let value = &value[..value.len().min(MAX_QUOTED)];
            let mut quoted = Vec::new();
            Chunk::Unknown { kind, flags: 0, value }.write(&mut quoted);
            self.report(cause::UNRECOGNIZED_CHUNK, &quoted);
        }
        if kind & 0x80 != 0 { Walk::On } else { Walk::Stop }
    }

    /// ERROR with this cause goes to the peer.
    fn report(&mut self, cause: u16, value: &[u8]) {
        let mut causes = Vec::new();
        put_parameter(&mut causes, cause, &[value]);
        self.replies.push(Reply::chunk(&Chunk::Error(Parameters::new(&causes))));
    }

    /// DATA or I-DATA; `marked`: in a packet with a congestion mark.
    #[inline]
    fn handle_data(&mut self, now: Instant, marked: bool, fragment: Fragment<'_>) -> Walk {
        if !self.phase.takes_data() {
            self.stats.chunks_refused += 1;
            return Walk::On;
        }
        if fragment.payload.is_empty() {
            // RFC 9260 §6.2: DATA without user data ends the association.
            self.abort_because_of_empty_data();
            return Walk::Stop;
        }
        let (streams, stream) = (self.granted_streams(), fragment.stream);
        match self.rx.take(fragment, marked, streams) {
            Taken::Kept => {}
            Taken::Dropped => return Walk::On,
            Taken::UnknownStream => {
                // RFC 9260 §6.5: DATA for a stream that does not exist is acknowledged, reported and dropped.
                self.stats.chunks_invalid += 1;
                let [high, low] = stream.to_be_bytes();
                self.report(cause::INVALID_STREAM, &[high, low, 0, 0]);
                return Walk::On;
            }
            Taken::Breach(rule) => {
                self.abort_with(Error::ProtocolViolation(rule));
                return Walk::Stop;
            }
        }
        if let Some(established) = self.phase.established()
            && let Stage::Sent { due } = &mut established.stage
        {
            // RFC 9260 §9.2: DATA after our SHUTDOWN is answered by SACK and SHUTDOWN at once.
            *due = true;
            self.timers.set(Timer::T2, now + self.tx.rto.current());
        }
        Walk::On
    }

    /// FORWARD TSN or I-FORWARD-TSN.
    fn handle_forward(&mut self, chunk: &Chunk<'_>) -> Walk {
        if self.phase.takes_data() {
            let streams = self.granted_streams();
            match chunk {
                Chunk::ForwardTsn(forward) => self.rx.forward(forward, streams),
                Chunk::InterleavedForwardTsn(forward) => self.rx.forward_interleaved(forward, streams),
                _ => {}
            }
        }
        Walk::On
    }

    #[inline]
    fn after_data(&mut self, now: Instant) {
        self.rx.end_of_packet();
        self.perform_deferred_reset();
        self.rx.grow_for_unfinished();
        if self.rx.tracker.urgency() == AckUrgency::Delayed && self.timers.get(Timer::Ack).is_none() {
            self.timers.set(Timer::Ack, now + self.config.delayed_ack);
        }
    }

    fn handle_sack(&mut self, now: Instant, sack: &Sack<'_>) -> Walk {
        if self.phase.sends_data() {
            let answer = self.tx.handle_sack(now, sack);
            self.after_acknowledgement(now, answer);
        }
        Walk::On
    }

    /// The peer has acknowledged something, or wanted to.
    pub(super) fn after_acknowledgement(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Stale => return,
            Answer::Invalid => {
                self.stats.chunks_invalid += 1;
                return;
            }
            Answer::Taken { alive, invalid_blocks } => {
                self.stats.chunks_invalid += u64::from(invalid_blocks);
                if alive {
                    self.phase.is_alive();
                }
            }
        }
        self.collect_low();
        if self.tx.outstanding.is_empty() {
            self.advance_shutdown(now);
        }
    }

    fn handle_heartbeat_ack(&mut self, now: Instant, info: &[u8]) {
        let mut parameters = Parameters::new(info).flatten();
        let Some(nonce) = parameters.find(|p| p.kind == parameter_kind::HEARTBEAT_INFO) else {
            return;
        };
        if self.tx.handle_path_probe_ack(now, nonce.value) {
            self.phase.is_alive();
            return;
        }
        let Some(established) = self.phase.established() else {
            return;
        };
        if established
            .heartbeat
            .nonce
            .is_some_and(|expected| expected == nonce.value)
        {
            established.heartbeat.nonce = None;
            established.errors = 0;
            let sent_at = established.heartbeat.sent_at;
            self.tx.rto.measured(now.saturating_duration_since(sent_at));
            self.timers.set(Timer::Heartbeat, now + self.config.heartbeat_interval);
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match event {
            Event::Readable(stream) => self.rx.reassembly.announced(stream),
            Event::BufferedAmountLow(stream) => self.tx.queue.announced(stream),
            Event::IncomingReset(stream) => self.resets.announced(stream),
            _ => {}
        }
        Some(event)
    }

    /// Takes the stream's next message, or the next piece of one
    /// ([`Config::partial_delivery`](crate::Config::partial_delivery)), and gives its bytes back to the receive window.
    pub fn read(&mut self, now: Instant, stream: u16) -> Option<Message> {
        let message = self.take(stream)?;
        self.release(now, message.data.len());
        Some(message)
    }

    /// Takes the stream's next message; its bytes count against the receive window until [`Self::release`].
    pub fn take(&mut self, stream: u16) -> Option<Message> {
        self.rx.reassembly.take(stream)
    }

    /// Gives a message that was taken back to the receive window: `bytes` is the length of its data. Once per message.
    pub fn release(&mut self, now: Instant, bytes: usize) {
        let rtt = self.tx.rto.srtt().or(self.path_rtt).unwrap_or(UNKNOWN_RTT);
        self.rx.release(now, bytes, rtt);
    }
}
