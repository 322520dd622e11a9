use std::time::{Duration, Instant};

use antiphon_sansio::Serial32;

use super::outstanding::{NewChunk, Sent, State};
use super::rack::Rack;
use crate::chunk::{Data, InterleavedData, Put, Sack};

/// The newest transmission that a SACK acknowledges.
pub(super) struct Newest {
    pub(super) now: Instant,
    pub(super) min_rtt: Option<Duration>,
    pub(super) packet: Option<(u64, Instant)>,
    pub(super) sample: Option<(u64, Duration)>,
    /// The newest packet that was acknowledged before.
    pub(super) known: Option<u64>,
}

impl Newest {
    /// Whether what arrived must have been sent before the chunk's last transmission: the time is too short for that.
    #[inline]
    fn is_earlier(&self, sent: &Sent) -> bool {
        let elapsed = self.now.saturating_duration_since(sent.sent_at);
        sent.transmissions > 1 && self.min_rtt.is_some_and(|min| elapsed < min)
    }

    #[inline]
    pub(super) fn see(&mut self, tsn: u64, sent: &Sent, rack: &mut Rack) {
        let elapsed = self.now.saturating_duration_since(sent.sent_at);
        let first_try = sent.transmissions == 1;
        if first_try && self.known.is_some_and(|known| sent.packet < known) {
            rack.came_late(elapsed);
        }
        let was_lost = sent.state == State::Lost;
        if (first_try && was_lost) || self.is_earlier(sent) {
            rack.was_not_lost(tsn);
        }
        // The acknowledgement of a chunk that was sent twice says nothing of which one arrived (Karn), unless it comes
        // sooner than the path allows for the second.
        if (first_try || self.min_rtt.is_some_and(|min| elapsed >= min))
            && self.packet.is_none_or(|(packet, _)| packet < sent.packet)
        {
            self.packet = Some((sent.packet, sent.sent_at));
        }
        // A chunk that was already believed lost has waited for other chunks' acknowledgements: its time is not the path's.
        if first_try && !was_lost && self.sample.is_none_or(|(packet, _)| packet <= sent.packet) {
            self.sample = Some((sent.packet, elapsed));
        }
    }
}

/// Whether a tail loss probe has repaired a loss (RFC 8985 §7.4): it arrived, and what it repeated did not.
pub(super) fn probe_repaired(probe: &mut Option<u64>, tsn: u64, sent: &Sent, sack: &Sack<'_>, newest: &Newest) -> bool {
    if *probe != Some(tsn) {
        return false;
    }
    *probe = None;
    let was_sent = sent.state == State::InFlight && sent.transmissions > 1;
    let twice = sack
        .duplicate_tsns()
        .any(|duplicate| duplicate == Serial32::new(tsn as u32));
    was_sent && !twice && !newest.is_earlier(sent)
}

#[inline]
pub(super) fn write(chunk: &NewChunk, interleaved: bool, tsn: u64, out: &mut impl Put) {
    let tsn = Serial32::new(tsn as u32);
    if !interleaved {
        Data {
            flags: chunk.flags,
            tsn,
            stream: chunk.stream,
            ssn: chunk.ssn,
            ppid: chunk.ppid,
            payload: &chunk.payload,
        }
        .write(out);
        return;
    }
    let first = chunk.flags & Data::BEGIN != 0;
    InterleavedData {
        flags: chunk.flags,
        tsn,
        stream: chunk.stream,
        reserved: 0,
        message_id: Serial32::new(chunk.message_id),
        ppid_or_fsn: if first { chunk.ppid } else { chunk.fsn },
        payload: &chunk.payload,
    }
    .write(out);
}
