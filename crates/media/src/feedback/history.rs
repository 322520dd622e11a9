//! The packets that were sent, until feedback has spoken of them.

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use crate::congestion::{PacketId, PacketResult, ProbeId, Sent};
use crate::stats::StreamFeedback;

/// Most packets remembered until feedback speaks of them: at 50 Mbit/s almost a second.
pub(crate) const CAPACITY: usize = 4096;
/// So many when the first one is sent.
const FIRST: usize = 64;
/// A packet that was sent so long ago makes room for another before there are more places, ...
const KEPT: Duration = Duration::from_secs(1);
/// ... on long paths one that was sent so many round trips ago. Feedback comes each quarter of a second at the least, and a round trip
/// later.
const KEPT_ROUNDS: u32 = 3;
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

/// What is kept of a packet, in 24 bytes: with hundreds of sessions each entry comes from memory. Its id is where it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it left, in nanoseconds since [`History::began`].
    at: u64,
    /// The low bits of [`Sent::total`]: far less than all of them can be on its way.
    total: u32,
    /// The probe that it is part of, if [`Entry::PROBE`] says that there is one.
    probe: u32,
    bytes: u16,
    /// Its transport-wide number, if it bears one.
    number: u16,
    /// Its number in its stream, if it is found by that.
    sequence: u16,
    /// The bits of its mark, and those below.
    flags: u8,
}

impl Entry {
    const ECN: u8 = 0b11;
    const PADDING: u8 = 1 << 2;
    const PROBE: u8 = 1 << 3;
    const NUMBERED: u8 = 1 << 4;
    const BY_STREAM: u8 = 1 << 5;
    const REPORTED: u8 = 1 << 6;
    const LOST: u8 = 1 << 7;
    /// No packet: nothing is found by it.
    const VACANT: Self = Self {
        at: 0,
        total: 0,
        probe: 0,
        bytes: 0,
        number: 0,
        sequence: 0,
        flags: 0,
    };

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The packets of one stream by their numbers.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    ids: Vec<u64>,
    told: StreamFeedback,
}

/// What was sent, by [`PacketId`]. Each form of feedback has names of its own for packets; an index leads from them to the id.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    /// How long a packet is remembered at least, if there is room, in nanoseconds.
    kept: u64,
    /// By the low bits of the id. None, or a power of two: as many as packets are sent in [`KEPT`], up to [`CAPACITY`].
    entries: Box<[Entry]>,
    next: u64,
    /// By the low bits of the transport-wide number: the low bits of the id whose it was last. There are as many as entries.
    numbers: Box<[u32]>,
    next_number: u16,
    /// Where packets are named by stream and number (RFC 8888).
    streams: Option<Vec<Stream>>,
    /// Bytes of all packets that feedback can speak of.
    total: u64,
    /// The same up to the newest packet that was reported on.
    reported: u64,
}

impl History {
    /// Nothing was sent before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            kept: KEPT.as_nanos() as u64,
            entries: Box::default(),
            next: 0,
            numbers: Box::default(),
            next_number: 0,
            streams: None,
            total: 0,
            reported: 0,
        }
    }

    /// The round trip is known better.
    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.kept = (rtt * KEPT_ROUNDS).max(KEPT).as_nanos() as u64;
    }

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

    /// Where the entry of an id stands.
    #[inline]
    fn place(&self, id: u64) -> usize {
        id as usize & self.entries.len().wrapping_sub(1)
    }

    /// Whether another packet would take the place of one that feedback may still speak of, though there may be more places.
    #[inline]
    fn is_full(&self, at: u64) -> bool {
        let len = self.entries.len();
        let is_young = |oldest: &Entry| self.next >= len as u64 && at.saturating_sub(oldest.at) < self.kept;
        len < CAPACITY && self.entries.get(self.place(self.next)).is_none_or(is_young)
    }

    #[cold]
    fn grow(&mut self) {
        let before = std::mem::take(&mut self.entries);
        let len = (2 * before.len()).max(FIRST);
        self.entries = vec![Entry::VACANT; len].into();
        self.numbers = vec![0; len].into();
        for id in self.next.saturating_sub(before.len() as u64)..self.next {
            let entry = before[id as usize & (before.len() - 1)];
            let place = self.place(id);
            self.entries[place] = entry;
            if entry.is(Entry::NUMBERED) {
                self.numbers[usize::from(entry.number) & (len - 1)] = id as u32;
            }
        }
    }

    /// A packet left.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, leaving: &Leaving) -> Sent {
        let id = self.next;
        let at = now.saturating_duration_since(self.began).as_nanos() as u64;
        if self.is_full(at) {
            self.grow();
        }
        let place = self.place(id);
        let number = leaving.numbered.then_some(self.next_number);
        if let Some(number) = number {
            let len = self.numbers.len();
            self.numbers[usize::from(number) & (len - 1)] = id as u32;
            self.next_number = number.wrapping_add(1);
        }
        let known = self.note_stream(leaving, id);
        if leaving.numbered || known {
            self.total += leaving.bytes as u64;
        }
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let entry = Entry {
            at,
            total: self.total as u32,
            probe: leaving.probe.map_or(0, |ProbeId(probe)| probe),
            // A datagram of UDP has no more.
            bytes: leaving.bytes.min(usize::from(u16::MAX)) as u16,
            number: number.unwrap_or(0),
            sequence: leaving.sequence,
            flags: leaving.ecn.bits()
                | flag(leaving.padding, Entry::PADDING)
                | flag(leaving.probe.is_some(), Entry::PROBE)
                | flag(leaving.numbered, Entry::NUMBERED)
                | flag(known, Entry::BY_STREAM),
        };
        self.entries[place] = entry;
        self.next += 1;
        Sent {
            id: PacketId(id),
            at: now,
            bytes: leaving.bytes,
            total: self.total,
            ecn: leaving.ecn,
            probe: leaving.probe,
            padding: leaving.padding,
        }
    }

    /// The packet of an entry, as it was sent.
    fn restored(&self, id: u64, entry: &Entry) -> Sent {
        Sent {
            id: PacketId(id),
            at: self.began + Duration::from_nanos(entry.at),
            bytes: usize::from(entry.bytes),
            total: self.total - u64::from((self.total as u32).wrapping_sub(entry.total)),
            ecn: Ecn::from_bits(entry.flags & Entry::ECN),
            probe: entry.is(Entry::PROBE).then_some(ProbeId(entry.probe)),
            padding: entry.is(Entry::PADDING),
        }
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
                    told: StreamFeedback::default(),
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
        let low = *self
            .numbers
            .get(usize::from(number) & self.numbers.len().wrapping_sub(1))?;
        let id = self.next - u64::from((self.next as u32).wrapping_sub(low));
        let is_it = |entry: &Entry| entry.is(Entry::NUMBERED) && entry.number == number;
        Some(self.report(id, is_it, arrival, Ecn::NotEct)?.0)
    }

    /// Feedback speaks of a number of a stream. `None` if that packet is not remembered, or has been told to have arrived.
    pub(crate) fn report_sequence(
        &mut self,
        ssrc: u32,
        sequence: u16,
        arrival: Option<Instant>,
        ecn: Ecn,
    ) -> Option<PacketResult> {
        let streams = self.streams.as_ref()?;
        let at = streams.iter().position(|stream| stream.ssrc == ssrc)?;
        let id = streams[at].ids[usize::from(sequence) % STREAM_CAPACITY];
        let is_it = |entry: &Entry| entry.is(Entry::BY_STREAM) && entry.sequence == sequence;
        let (result, was_lost) = self.report(id, is_it, arrival, ecn)?;
        if let Some(stream) = self.streams.as_mut().and_then(|streams| streams.get_mut(at)) {
            let told = &mut stream.told;
            let came = arrival.is_some();
            told.lost += u64::from(!came && !was_lost);
            told.recovered += u64::from(came && was_lost);
            told.with_ect1 += u64::from(came && ecn == Ecn::Ect1);
            told.with_ce += u64::from(came && ecn == Ecn::Ce);
            told.bleached += u64::from(came && result.sent.ecn == Ecn::Ect1 && ecn == Ecn::NotEct);
        }
        Some(result)
    }

    /// What feedback has said of the packets of a stream so far; `None` where it does not name packets by stream.
    pub(crate) fn told(&self, ssrc: u32) -> Option<StreamFeedback> {
        let mut streams = self.streams.as_ref()?.iter();
        Some(streams.find(|stream| stream.ssrc == ssrc)?.told)
    }

    /// What feedback says of a packet, and whether it was told to be lost before.
    fn report(
        &mut self,
        id: u64,
        is_it: impl Fn(&Entry) -> bool,
        arrival: Option<Instant>,
        ecn: Ecn,
    ) -> Option<(PacketResult, bool)> {
        // What stands there is of this id, unless another has taken its place.
        if id >= self.next || self.next - id > self.entries.len() as u64 {
            return None;
        }
        let place = self.place(id);
        let entry = self.entries.get_mut(place)?;
        if !is_it(entry) || entry.is(Entry::REPORTED) {
            return None;
        }
        let was_lost = entry.is(Entry::LOST);
        // A packet told lost may still be told to have come: only an arrival is final.
        entry.flags |= match arrival {
            Some(_) => Entry::REPORTED,
            None => Entry::LOST,
        };
        let entry = *entry;
        let sent = self.restored(id, &entry);
        self.reported = self.reported.max(sent.total);
        Some((PacketResult { sent, arrival, ecn }, was_lost))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn packets_are_found_by_stream_and_number_once() {
        let now = start();
        let mut history = History::new(now);
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
        let told = history.told(1).unwrap();
        assert_eq!(
            (told.lost, told.recovered, told.with_ce, told.with_ect1, told.bleached),
            (1, 1, 1, 0, 0)
        );
        assert_eq!(history.report_sequence(1, 2999, Some(now), Ecn::Ce), None, "once only");
        assert_eq!(history.report_sequence(1, 1000, Some(now), Ecn::Ce), None, "forgotten");
        assert_eq!(history.report_sequence(3, 2999, Some(now), Ecn::Ce), None, "nobody's");
        let newest = 64_999u16.wrapping_add(3000);
        assert!(history.report_sequence(2, newest, Some(now), Ecn::Ce).is_some());
        assert_eq!(history.in_flight(), 0);
    }

    #[test]
    fn a_packet_is_told_of_as_it_was_sent_however_far_the_counts_are() {
        assert_eq!(size_of::<Entry>(), 24);
        let began = start();
        // Just before the low bits of ids and of bytes begin anew.
        let mut history = History {
            next: (1 << 32) - CAPACITY as u64,
            total: (1 << 32) - 500,
            ..History::new(began)
        };
        let mut sent = Vec::new();
        for n in 0..2 * CAPACITY {
            let leaving = Leaving {
                bytes: 100 + n % 1000,
                ecn: [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1][n % 3],
                numbered: true,
                padding: n % 5 == 0,
                probe: (n % 7 == 0).then_some(ProbeId(n as u32)),
                ssrc: 1,
                sequence: n as u16,
            };
            let now = began + Duration::from_nanos(100_003 * n as u64);
            sent.push((history.next_number(), history.sent(now, &leaving)));
        }
        for (number, sent) in &sent[..CAPACITY] {
            assert_eq!(history.report_number(*number, None), None, "{sent:?} is forgotten");
        }
        for (number, sent) in &sent[CAPACITY..] {
            let told = history.report_number(*number, Some(began)).unwrap();
            assert_eq!(told.sent, *sent);
        }
        assert_eq!(history.in_flight(), 0);
    }
    #[test]
    fn as_many_are_remembered_as_are_sent_in_a_second_or_three_round_trips() {
        let began = start();
        let mut history = History::new(began);
        let leaving = Leaving {
            bytes: 1000,
            ecn: Ecn::NotEct,
            numbered: true,
            padding: false,
            probe: None,
            ssrc: 1,
            sequence: 0,
        };
        // Slowly, then ten times as fast, over the end of the numbers, too; and then the path is found to be a long one.
        history.next_number = u16::MAX - 300;
        let (mut now, mut sent) = (began, Vec::new());
        for (count, gap, rtt, kept) in [(1000, 10, 100, 1000), (5000, 1, 100, 1000), (5000, 1, 600, 1800)] {
            history.set_rtt(Duration::from_millis(rtt));
            for _ in 0..count {
                now += Duration::from_millis(gap);
                sent.push((history.next_number(), history.sent(now, &leaving)));
            }
            let packets = kept / gap;
            assert_eq!(history.entries.len() as u64, packets.next_power_of_two());
            let young = sent.iter().rev().take(packets as usize);
            for (number, sent) in young.step_by(7) {
                assert_eq!(history.report_number(*number, Some(now)).unwrap().sent, *sent);
            }
        }
        let (number, _) = sent[sent.len() - 2049];
        assert_eq!(history.report_number(number, Some(now)), None, "forgotten");
    }
}
