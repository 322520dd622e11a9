//! The way out: messages that are taken for sending, and the packets that carry them.

use std::time::Instant;

use antiphon_sansio::{Ecn, TransmitBuf};
use bytes::Bytes;

use super::handshake::ERROR_DETECTION_DTLS;
use super::state::{Phase, Stage};
use super::{Association, Timer};
use crate::chunk::{Chunk, kind, padded, parameter_kind, put_parameter};
use crate::error::SendError;
use crate::event::{Outgoing, SendOptions};
use crate::packet::{HEADER_LEN, seal_open_segment, write_header};
use crate::rx::AckUrgency;
use crate::tx::Queued;

/// No packet is begun in less than this.
const SMALLEST_ROOM: usize = 128;

impl Association {
    /// Queues a message. It may be sent before the handshake is over, and then leaves with it.
    ///
    /// # Errors
    /// [`SendError::Closed`] while the association closes and after its end, [`SendError::Empty`] of a message without
    /// bytes, [`SendError::StreamUnavailable`] of a stream that does not exist or is being reset, and
    /// [`SendError::BufferFull`].
    pub fn send(
        &mut self,
        now: Instant,
        stream: u16,
        ppid: u32,
        data: Bytes,
        options: SendOptions,
    ) -> Result<(), SendError> {
        if !(self.phase.is_handshaking() || self.phase.stage() == Some(Stage::Open)) {
            return Err(SendError::Closed);
        }
        if data.is_empty() {
            return Err(SendError::Empty);
        }
        let does_not_exist = self.phase.peer().is_some_and(|peer| stream >= peer.streams);
        if does_not_exist || self.tx.queue.is_resetting(stream) {
            return Err(SendError::StreamUnavailable);
        }
        // The bookkeeping of many small messages is bounded as their bytes are.
        let most = self.config.send_buffer;
        if self.tx.queue.total() + data.len() > most || self.tx.queue.overhead() > most {
            return Err(SendError::BufferFull);
        }
        let message = Queued {
            data,
            ppid,
            unordered: options.unordered,
            max_retransmits: options.max_retransmits,
            expires: options.lifetime.map(|lifetime| now + lifetime),
        };
        self.tx.push(stream, message);
        Ok(())
    }

    /// Writes one packet into a new segment of `out` and leaves the segment open, for DTLS to seal; `None` if there is
    /// nothing to send or no room for a segment.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        debug_assert!(!out.is_open());
        self.prepare_reset();
        let probe = self.tx.path.due().is_some() && self.phase.sends_data();
        let control = self.has_control();
        if !(probe || control || self.may_send_data(now)) {
            self.collect_low();
            return None;
        }
        if !out.begin(0, 0) {
            return None;
        }
        let room = self.tx.packet.min(out.remaining()) & !3;
        if room < SMALLEST_ROOM {
            out.rollback();
            return None;
        }
        let (mut padding, mut has_data) = (0, false);
        let (source, destination) = (self.config.local_port, self.config.remote_port);
        let peer_tag = self.phase.peer().map_or(0, |peer| peer.tag);
        if let Some(reply) = self.replies.pop_alone() {
            write_header(out, source, destination, reply.tag.unwrap_or(peer_tag));
            if reply.bytes.len() <= out.remaining() {
                out.put_slice(&reply.bytes);
            }
        } else if let Phase::CookieWait { due: due @ true, .. } = &mut self.phase {
            *due = false;
            write_header(out, source, destination, 0);
            self.write_init(out);
        } else if probe {
            write_header(out, source, destination, peer_tag);
            let Some(bytes) = self.tx.write_path_probe(now, &mut self.rng, out) else {
                out.rollback();
                return self.poll_transmit(now, out);
            };
            padding = bytes;
        } else {
            write_header(out, source, destination, peer_tag);
            has_data = self.write_chunks(now, out, room, control);
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
        let agreed = |capabilities: Option<u32>| capabilities == Some(ERROR_DETECTION_DTLS);
        self.config.zero_checksum
            && self
                .phase
                .peer()
                .is_some_and(|peer| agreed(peer.capabilities.zero_checksum))
            && !matches!(packet[HEADER_LEN], kind::INIT | kind::INIT_ACK | kind::COOKIE_ECHO)
    }

    /// ECN is used where both ends want it (RFC 9260 Appendix B).
    #[inline]
    pub(super) fn uses_ecn(&self) -> bool {
        self.config.ecn && self.phase.peer().is_some_and(|peer| peer.capabilities.ecn)
    }

    fn has_control(&self) -> bool {
        !self.replies.is_empty()
            || self.phase.chunk_is_due()
            || self.tx.has_control()
            || self.reset_is_due()
            || (self.rx.tracker.urgency() == AckUrgency::Now && self.phase.peer().is_some() && !self.has_ended())
    }

    fn reset_is_due(&self) -> bool {
        self.resets.is_due(self.tx.outstanding.cumulative_ack()) && !self.has_ended()
    }

    fn may_send_data(&mut self, now: Instant) -> bool {
        self.phase.sends_data() && self.tx.may_send(now)
    }

    /// Says whether there is DATA among them. `control`: something else is due too ([`Self::has_control`]).
    fn write_chunks(&mut self, now: Instant, out: &mut TransmitBuf, room: usize, control: bool) -> bool {
        // Only DATA finds out that large packets have stopped arriving: nothing else goes beyond the base.
        let base = room.min(self.config.max_packet);
        let left = |out: &TransmitBuf| base.saturating_sub(out.body().len());
        let mut with_cookie = false;
        if control {
            with_cookie = self.write_cookie_echo(out, left(out));
            while let Some(reply) = self.replies.pop_shared(left(out)) {
                out.put_slice(&reply.bytes);
            }
            self.tx.write_cwr(out, left(out));
        }
        if self.phase.acknowledges_data() {
            let urgency = self.rx.tracker.urgency();
            if (urgency == AckUrgency::Now || (urgency == AckUrgency::Delayed && self.may_send_data(now)))
                && self.rx.write_sack(out, left(out))
            {
                self.timers.stop(Timer::Ack);
            }
        }
        if control {
            self.tx.write_forward(now, out, left(out));
            if self.reset_is_due() && self.reset_len() <= left(out) {
                self.write_reset(now, out);
            }
            self.write_heartbeat(out, left(out));
            self.write_shutdown(out, left(out));
        }
        // DATA may ride with COOKIE ECHO, behind it (RFC 9260 §5.1): that saves a round trip.
        let established = self.phase.sends_data();
        (established || with_cookie) && self.tx.write_data(now, out, room, established)
    }

    /// Says whether the packet begins with COOKIE ECHO.
    fn write_cookie_echo(&mut self, out: &mut TransmitBuf, left: usize) -> bool {
        let Phase::CookieEchoed {
            due: due @ true,
            cookie,
            ..
        } = &mut self.phase
        else {
            return false;
        };
        *due = false;
        // If the path has no room for the cookie now, T1 asks again.
        let fits = padded(4 + cookie.len()) <= left;
        if fits {
            Chunk::CookieEcho(cookie).write(out);
        }
        fits
    }

    fn write_heartbeat(&mut self, out: &mut TransmitBuf, left: usize) {
        if let Some(established) = self.phase.established()
            && left >= 16
            && established.heartbeat.due
            && let Some(nonce) = established.heartbeat.nonce
        {
            established.heartbeat.due = false;
            let mut info = Vec::with_capacity(12);
            put_parameter(&mut info, parameter_kind::HEARTBEAT_INFO, &[&nonce]);
            Chunk::Heartbeat(&info).write(out);
        }
    }

    fn write_shutdown(&mut self, out: &mut TransmitBuf, left: usize) {
        let acknowledged = self.rx.tracker.cumulative_tsn();
        let Some(established) = self.phase.established() else {
            return;
        };
        match &mut established.stage {
            Stage::Sent { due: due @ true } if left >= 8 => {
                *due = false;
                Chunk::Shutdown(acknowledged).write(out);
            }
            Stage::AckSent { due: due @ true, .. } if left >= 4 => {
                *due = false;
                Chunk::ShutdownAck.write(out);
            }
            _ => {}
        }
    }
}
