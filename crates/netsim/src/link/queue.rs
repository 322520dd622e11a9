//! The packets that wait for a link, and who of them leaves next.

use std::time::Instant;

use antiphon_sansio::Ecn;

use super::codel::CoDel;
use super::config::{Aqm, Limit};
use super::dual::DualPi2;
use super::line::{Held, Line, mark};

/// All that waits in front of a link.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// Those that wait alike.
    classic: Line<T>,
    /// Those that a dual queue keeps apart.
    low: Line<T>,
    codel: CoDel,
    dual: DualPi2,
}

impl<T> Queue<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            classic: Line::new(),
            low: Line::new(),
            codel: CoDel::new(now),
            dual: DualPi2::new(now),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classic.len() + self.low.len() == 0
    }

    /// Takes a packet, if there is room beside those here and what is `leaving` (packets, bytes), of which `rate` bits leave in a second.
    pub(super) fn push(
        &mut self,
        held: Held<T>,
        limit: Limit,
        aqm: Aqm,
        leaving: (usize, usize),
        rate: u64,
    ) -> Result<(), Held<T>> {
        let packets = self.classic.len() + self.low.len() + leaving.0;
        let bytes = self.classic.bytes() + self.low.bytes() + leaving.1;
        let size = held.packet.ip_len();
        let takes = bytes as f64 * 8.0 / rate.max(1) as f64;
        let full = packets > 0
            && (packets >= limit.packets
                || bytes.saturating_add(size) > limit.bytes
                || takes > limit.time.as_secs_f64());
        if full {
            return Err(held);
        }
        let apart = matches!(aqm, Aqm::DualPi2 { .. }) && matches!(held.packet.ecn, Ecn::Ect1 | Ecn::Ce);
        let line = if apart { &mut self.low } else { &mut self.classic };
        line.push(held);
        Ok(())
    }

    /// Who leaves now. Who is dropped instead goes to `dropped`.
    pub(super) fn pop(&mut self, now: Instant, aqm: Aqm, dropped: &mut Vec<Held<T>>) -> Option<Held<T>> {
        match aqm {
            Aqm::DualPi2 { target, step } => {
                return self
                    .dual
                    .pop(now, (target, step), &mut self.low, &mut self.classic, dropped);
            }
            // Left from a dual queue that was here before.
            _ if self.low.len() > 0 => return self.low.pop(),
            Aqm::CoDel { target, interval } => {
                return self.codel.pop(now, (target, interval), &mut self.classic, dropped);
            }
            Aqm::DropTail | Aqm::Threshold(_) => {}
        }
        let mut held = self.classic.pop()?;
        if let Aqm::Threshold(limit) = aqm
            && now.saturating_duration_since(held.since) > limit
        {
            mark(&mut held.packet);
        }
        Some(held)
    }
}
