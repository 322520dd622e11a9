//! The packet size: path MTU discovery of the packetization layer (RFC 8899). A probe is a HEARTBEAT that the layer
//! below fills up to its size ([`Outgoing::padding`](crate::Outgoing::padding)): no peer of ours needs to know of it
//! (docs/decisions/0006).

use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, TransmitBuf};

use super::path_mtu::Next;
use super::{Tx, TxTimer};
use crate::chunk::{Chunk, parameter_kind, put_parameter};

/// RFC 8899 §5.1.1: PROBE_TIMER is never shorter.
const MIN_PROBE_TIMER: Duration = Duration::from_secs(1);
/// PMTU_RAISE_TIMER (RFC 8899 §5.1.1).
const RAISE_TIMER: Duration = Duration::from_secs(600);

impl Tx {
    /// Packets have at most `base` bytes before a search, and at most `limit` after one. If that is new the search
    /// begins anew.
    pub(crate) fn set_packet_bounds(&mut self, base: usize, limit: usize) {
        if !self.path.has_bounds(base, limit) {
            self.restart_path(base, limit);
        }
    }

    /// What was found out about the size of packets is forgotten.
    pub(crate) fn restart_path(&mut self, base: usize, limit: usize) {
        self.path.restart(base, limit);
        self.forget_probe();
        self.apply_packet_size();
    }

    fn forget_probe(&mut self) {
        self.path_nonce = None;
        self.timers.stop(TxTimer::Path);
        self.outstanding.forget_large_losses();
    }

    /// Tells everybody who counts in packets.
    fn apply_packet_size(&mut self) {
        let packet = self.path.packet();
        if packet != self.packet {
            self.packet = packet;
            self.congestion.set_max_packet(packet);
            self.pacer.set_max_packet(packet);
        }
    }

    /// Data has been acknowledged: the path works, and may be worth a search.
    #[inline]
    pub(super) fn consider_search(&mut self) {
        if self.path.is_idle() && self.counts.bytes >= self.probe_after {
            self.path.start();
        }
    }

    /// Fills the open segment with the probe that is due. Says how many bytes the layer below is to add to it; `None`
    /// if the segment has no room for it.
    pub(crate) fn write_path_probe(&mut self, now: Instant, rng: &mut Rng, out: &mut TransmitBuf) -> Option<usize> {
        let size = self.path.due()?;
        let room = out.body().len() + out.remaining();
        if size > room {
            let next = self.path.too_large_for_us(room);
            self.after_path_step(now, next);
            return None;
        }
        let nonce = match self.path_nonce {
            Some((nonce, of)) if of == size => nonce,
            _ => rng.array(),
        };
        self.path_nonce = Some((nonce, size));
        let mut info = Vec::with_capacity(12);
        put_parameter(&mut info, parameter_kind::HEARTBEAT_INFO, &[&nonce]);
        Chunk::Heartbeat(&info).write(out);
        let padding = size.saturating_sub(out.body().len());
        self.path.sent();
        self.counts.path_probes += 1;
        let wait = self.rto.backed_off(0).max(MIN_PROBE_TIMER);
        self.timers.set(TxTimer::Path, now + wait);
        Some(padding)
    }

    /// A HEARTBEAT ACK with this nonce has come; says whether it answers a probe.
    pub(crate) fn handle_path_probe_ack(&mut self, now: Instant, nonce: &[u8]) -> bool {
        if self.path_nonce.is_none_or(|(expected, _)| expected != nonce) {
            return false;
        }
        self.path_nonce = None;
        self.timers.stop(TxTimer::Path);
        let next = self.path.arrived();
        self.after_path_step(now, next);
        true
    }

    /// `silent`: nothing else comes back from the path either.
    pub(crate) fn handle_path_timer(&mut self, now: Instant, silent: bool) {
        let next = self.path.timed_out(silent);
        self.after_path_step(now, next);
    }

    fn after_path_step(&mut self, now: Instant, next: Next) {
        if next == Next::Raise {
            self.timers.set(TxTimer::Path, now + RAISE_TIMER);
        }
        self.apply_packet_size();
    }

    /// Looks whether large packets have stopped arriving. `silent`: the retransmission timer has run out.
    #[inline]
    pub(super) fn suspect_black_hole(&mut self, silent: bool) {
        if self.path.lost_above_base(self.outstanding.large_losses(), silent) {
            self.forget_probe();
            self.apply_packet_size();
        }
    }
}
