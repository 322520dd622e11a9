//! The packets that were sent, until feedback has spoken of them.

use std::time::Instant;

use antiphon_sansio::Ecn;

use crate::congestion::{PacketId, PacketResult, ProbeId, Sent};

/// Packets remembered until feedback speaks of them: at 50 Mbit/s almost a second.
pub(crate) const CAPACITY: usize = 4096;
/// Packets of one stream that are found by stream and number.
const STREAM_CAPACITY: usize = 1024;
/// Most streams of which packets are found so.
const MAX_STREAMS: usize = 64;

/// A packet on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// Its size in bytes, headers included, before SRTP.
    pub(crate) bytes: usize,
    /// The mark that it bears.
    pub(crate) ecn: Ecn,
    /// Whether it bears the transport-wide number that [`History::next_number`] gave.
    pub(crate) numbered: bool,
    /// Whether it is nothing but padding.
    pub(crate) padding: bool,
    /// The probe that it is part of.
    pub(crate) probe: Option<ProbeId>,
    /// Its SSRC and its number in that stream.
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: Sent,
    /// Its transport-wide number, if it bears one.
    number: Option<u16>,
    /// Its number in its stream, if it is found by that.
    sequence: Option<u16>,
    reported: bool,
}

/// The packets of one stream by their numbers.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    ids: Vec<u64>,
}

/// What was sent, by [`PacketId`]. Each form of feedback has names of its own for packets; an index leads from them to the id.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By the low bits of the id.
    entries: Vec<Entry>,
    next: u64,
    /// By the low bits of the transport-wide number: whose it was last.
    numbers: Vec<u64>,
    next_number: u16,
    /// Where packets are named by stream and number (RFC 8888).
    streams: Option<Vec<Stream>>,
    /// Bytes of all packets that feedback can speak of.
    total: u64,
    /// The same up to the newest packet that was reported on.
    reported: u64,
}

impl History {
    /// Whether packets shall be found by stream and number.
    pub(crate) fn by_stream(&mut self, wanted: bool) {
        if wanted {
            self.streams.get_or_insert_default();
        } else {
            self.streams = None;
        }
    }

    /// Whether packets are found by stream and number: then feedback can speak of their marks.
    #[inline]
    pub(crate) fn is_by_stream(&self) -> bool {
        self.streams.is_some()
    }

    /// The transport-wide number of the next packet that bears one.
    #[inline]
    pub(crate) fn next_number(&self) -> u16 {
        self.next_number
    }

    /// Bytes that were sent after the newest packet that was reported on, of those that feedback can speak of.
    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        self.total - self.reported
    }

    /// A packet left.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, leaving: &Leaving) -> Sent {
        let id = self.next;
        let number = leaving.numbered.then_some(self.next_number);
        if let Some(number) = number {
            put(&mut self.numbers, usize::from(number), CAPACITY, id);
            self.next_number = number.wrapping_add(1);
        }
        let known = self.note_stream(leaving, id);
        if leaving.numbered || known {
            self.total += leaving.bytes as u64;
        }
        let sent = Sent {
            id: PacketId(id),
            at: now,
            bytes: leaving.bytes,
            total: self.total,
            ecn: leaving.ecn,
            probe: leaving.probe,
            padding: leaving.padding,
        };
        let entry = Entry {
            sent,
            number,
            sequence: known.then_some(leaving.sequence),
            reported: false,
        };
        put(&mut self.entries, id as usize, CAPACITY, entry);
        self.next += 1;
        sent
    }

    /// Remembers a packet by its stream, if that is wanted. Returns whether it can be found so.
    #[inline]
    fn note_stream(&mut self, leaving: &Leaving, id: u64) -> bool {
        let Some(streams) = &mut self.streams else {
            return false;
        };
        let stream = match streams.iter().position(|stream| stream.ssrc == leaving.ssrc) {
            Some(at) => &mut streams[at],
            None if streams.len() < MAX_STREAMS => {
                streams.push(Stream {
                    ssrc: leaving.ssrc,
                    ids: vec![u64::MAX; STREAM_CAPACITY],
                });
                let last = streams.len() - 1;
                &mut streams[last]
            }
            None => return false,
        };
        stream.ids[usize::from(leaving.sequence) % STREAM_CAPACITY] = id;
        true
    }

    /// Feedback speaks of a transport-wide number. `None` if that packet is not remembered, or has been told to have arrived.
    pub(crate) fn report_number(&mut self, number: u16, arrival: Option<Instant>) -> Option<PacketResult> {
        let id = *self.numbers.get(usize::from(number) % CAPACITY)?;
        self.report(id, |entry| entry.number == Some(number), arrival, Ecn::NotEct)
    }

    /// Feedback speaks of a number of a stream. `None` if that packet is not remembered, or has been told to have arrived.
    pub(crate) fn report_sequence(
        &mut self,
        ssrc: u32,
        sequence: u16,
        arrival: Option<Instant>,
        ecn: Ecn,
    ) -> Option<PacketResult> {
        let mut streams = self.streams.as_ref()?.iter();
        let stream = streams.find(|stream| stream.ssrc == ssrc)?;
        let id = stream.ids[usize::from(sequence) % STREAM_CAPACITY];
        self.report(id, |entry| entry.sequence == Some(sequence), arrival, ecn)
    }

    fn report(
        &mut self,
        id: u64,
        is_it: impl Fn(&Entry) -> bool,
        arrival: Option<Instant>,
        ecn: Ecn,
    ) -> Option<PacketResult> {
        let entry = self.entries.get_mut(id as usize % CAPACITY)?;
        if entry.sent.id.0 != id || !is_it(entry) || entry.reported {
            return None;
        }
        // A packet told lost may still be told to have come: only an arrival is final.
        entry.reported = arrival.is_some();
        self.reported = self.reported.max(entry.sent.total);
        Some(PacketResult {
            sent: entry.sent,
            arrival,
            ecn,
        })
    }
}

/// Puts `value` where the low bits of `index` say. The first round fills the list from the front.
fn put<T: Copy>(list: &mut Vec<T>, index: usize, capacity: usize, value: T) {
    match list.get_mut(index % capacity) {
        Some(place) => *place = value,
        None => list.push(value),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn packets_are_found_by_stream_and_number_once() {
        let now = start();
        let mut history = History::default();
        history.by_stream(true);
        let leaving = |ssrc, sequence| Leaving {
            bytes: 100,
            ecn: Ecn::Ect1,
            numbered: false,
            padding: false,
            probe: None,
            ssrc,
            sequence,
        };
        for n in 0..3000u16 {
            history.sent(now, &leaving(1, n));
            history.sent(now, &leaving(2, n.wrapping_add(65_000)));
        }
        assert_eq!(history.in_flight(), 600_000);
        let lost = history.report_sequence(1, 2999, None, Ecn::NotEct).unwrap();
        assert_eq!((lost.sent.id, lost.arrival), (PacketId(5998), None));
        let came = history.report_sequence(1, 2999, Some(now), Ecn::Ce).unwrap();
        assert_eq!((came.ecn, came.sent.ecn), (Ecn::Ce, Ecn::Ect1));
        assert_eq!(history.report_sequence(1, 2999, Some(now), Ecn::Ce), None, "once only");
        assert_eq!(history.report_sequence(1, 1000, Some(now), Ecn::Ce), None, "forgotten");
        assert_eq!(history.report_sequence(3, 2999, Some(now), Ecn::Ce), None, "nobody's");
        let newest = 64_999u16.wrapping_add(3000);
        assert!(history.report_sequence(2, newest, Some(now), Ecn::Ce).is_some());
        assert_eq!(history.in_flight(), 0);
    }
}
