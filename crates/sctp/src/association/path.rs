//! The packet size: path MTU discovery of the packetization layer (RFC 8899). A probe is a HEARTBEAT that the layer below fills up
//! to its size ([`Outgoing::padding`](crate::Outgoing::padding)): no peer of ours needs to know of it (docs/decisions/0006).

use std::time::{Duration, Instant};

use antiphon_sansio::TransmitBuf;

use super::{Association, Timer, usable_packet};
use crate::State;
use crate::chunk::{Chunk, parameter_kind, put_parameter};
use crate::tx::Next;

/// RFC 8899 §5.1.1: PROBE_TIMER is never shorter.
const MIN_PROBE_TIMER: Duration = Duration::from_secs(1);
/// PMTU_RAISE_TIMER (RFC 8899 §5.1.1).
const RAISE_TIMER: Duration = Duration::from_secs(600);

impl Association {
    /// Changes [`Config::max_packet`](crate::Config::max_packet). Chunks already sent keep their size.
    pub fn set_max_packet(&mut self, bytes: usize) {
        self.config.max_packet = usable_packet(bytes);
        self.rebound_path();
    }

    /// Changes [`Config::probe_up_to`](crate::Config::probe_up_to).
    pub fn set_probe_up_to(&mut self, bytes: usize) {
        self.config.probe_up_to = bytes.min(65_532) & !3;
        self.rebound_path();
    }

    fn rebound_path(&mut self) {
        let (base, limit) = (self.config.max_packet, self.config.probe_up_to);
        if !self.path_mtu.has_bounds(base, limit) {
            self.restart_path(base, limit);
        }
    }

    /// The layers below use another path from now on: what was found out about the size of its packets is forgotten.
    pub fn path_changed(&mut self) {
        self.restart_path(self.config.max_packet, self.config.probe_up_to);
    }

    fn restart_path(&mut self, base: usize, limit: usize) {
        self.path_mtu.restart(base, limit);
        self.path_nonce = None;
        self.timers.stop(Timer::Path);
        self.outstanding.forget_large_losses();
        self.apply_packet_size();
    }

    /// Tells everybody who counts in packets.
    fn apply_packet_size(&mut self) {
        let packet = self.path_mtu.packet();
        if packet != self.packet {
            self.packet = packet;
            self.congestion.set_max_packet(packet);
            self.pacer.set_max_packet(packet);
        }
    }

    fn is_up(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::ShutdownPending | State::ShutdownReceived
        )
    }

    /// Data has been acknowledged: the path works, and may be worth a search.
    #[inline]
    pub(super) fn consider_search(&mut self) {
        if self.path_mtu.is_idle() && self.stats.bytes_sent >= self.config.probe_after {
            self.path_mtu.start();
        }
    }

    pub(super) fn path_probe_is_due(&self) -> bool {
        self.path_mtu.due().is_some() && self.is_up()
    }

    /// Fills the open segment with the probe that is due. Says how many bytes the layer below is to add to it; `None` if the segment
    /// has no room for it.
    pub(super) fn write_path_probe(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<usize> {
        let size = self.path_mtu.due()?;
        let room = out.body().len() + out.remaining();
        if size > room {
            let next = self.path_mtu.too_large_for_us(room);
            self.after_path_step(now, next);
            return None;
        }
        let nonce = match self.path_nonce {
            Some((nonce, of)) if of == size => nonce,
            _ => self.rng.array(),
        };
        self.path_nonce = Some((nonce, size));
        let mut info = Vec::with_capacity(12);
        put_parameter(&mut info, parameter_kind::HEARTBEAT_INFO, &[&nonce]);
        Chunk::Heartbeat(&info).write(out);
        let padding = size.saturating_sub(out.body().len());
        self.path_mtu.sent();
        self.stats.path_probes += 1;
        let wait = self.rto.backed_off(0).max(MIN_PROBE_TIMER);
        self.timers.set(Timer::Path, now + wait);
        Some(padding)
    }

    /// A HEARTBEAT ACK with this nonce has come; says whether it answers a probe.
    pub(super) fn handle_path_probe_ack(&mut self, now: Instant, nonce: &[u8]) -> bool {
        if self.path_nonce.is_none_or(|(expected, _)| expected != nonce) {
            return false;
        }
        self.path_nonce = None;
        self.timers.stop(Timer::Path);
        let next = self.path_mtu.arrived();
        self.after_path_step(now, next);
        true
    }

    pub(super) fn handle_path_timer(&mut self, now: Instant) {
        let next = self.path_mtu.timed_out(self.errors > 0);
        self.after_path_step(now, next);
    }

    fn after_path_step(&mut self, now: Instant, next: Next) {
        if next == Next::Raise {
            self.timers.set(Timer::Path, now + RAISE_TIMER);
        }
        self.apply_packet_size();
    }

    /// Looks whether large packets have stopped arriving. `silent`: the retransmission timer has run out.
    #[inline]
    pub(super) fn suspect_black_hole(&mut self, silent: bool) {
        if self.path_mtu.lost_above_base(self.outstanding.large_losses(), silent) {
            self.path_nonce = None;
            self.timers.stop(Timer::Path);
            self.outstanding.forget_large_losses();
            self.apply_packet_size();
        }
    }
}
