//! Puts packets of one source in order and finds frames. It knows no codec: each packet says what it is to its frame, and when all
//! of a frame are there, the joiner of its payload type makes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::{Depacketizer, FrameFacts, Joiner, Piece, Start};
use bytes::Bytes;

use crate::event::Contributors;

/// Most sequence numbers between the next one wanted and the newest held.
const MAX_BUFFERED: usize = 2048;
/// Before anything was delivered, packets this far before the first one still count.
const MAX_EARLY: u64 = 64;
/// How long the first packets of a stream may come in disorder.
const START_GRACE: Duration = Duration::from_millis(50);
/// Payloads shorter than this are copied, so that a slice of them does not pin a whole receive batch.
pub(crate) const SMALL: usize = 256;

/// One packet on its way into a frame.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    /// The payload; empty for padding.
    pub(crate) data: Bytes,
    /// What it is to its frame; `None`: nothing but padding, which takes a number and belongs to no frame.
    pub(crate) piece: Option<Piece>,
    pub(crate) extensions: Carried,
    pub(crate) contributors: Option<Arc<Contributors>>,
    pub(crate) received: Instant,
}

impl Part {
    /// What takes a number and belongs to no frame.
    pub(crate) fn padding(received: Instant) -> Self {
        Self {
            payload_type: 0,
            timestamp: 0,
            data: Bytes::new(),
            piece: None,
            extensions: Carried::default(),
            contributors: None,
            received,
        }
    }

    /// Whether this shows that its frame can be decoded alone.
    fn is_key(&self) -> bool {
        self.piece.is_some_and(|piece| piece.key_frame)
    }
}

/// A frame that is whole.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    pub(crate) data: Bytes,
    pub(crate) key_frame: bool,
    pub(crate) facts: FrameFacts,
    /// Those of its first packet, and of its last where the first has none.
    pub(crate) extensions: Carried,
    pub(crate) contributors: Option<Arc<Contributors>>,
    pub(crate) discontinuity: bool,
    pub(crate) arrivals: Arrivals,
}

/// When the packets of a frame came, and how many there were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) packets: u32,
    pub(crate) first: Instant,
    pub(crate) last: Instant,
}

/// What makes the frames of a source: one joiner for each payload type that came.
#[derive(Debug, Default)]
pub(crate) struct Joiners {
    joiners: Vec<(u8, Joiner)>,
}

impl Joiners {
    /// Lets a payload type have this format, with these parameters of its description. One that is known keeps what it has.
    #[inline]
    pub(crate) fn know(&mut self, payload_type: u8, format: Depacketizer, fmtp: &str) {
        if !self.joiners.iter().any(|(known, _)| *known == payload_type) {
            self.joiners.push((payload_type, Joiner::new(format, fmtp)));
        }
    }

    /// Something else was negotiated: payload types may mean something else.
    pub(crate) fn clear(&mut self) {
        self.joiners.clear();
    }

    fn get(&mut self, payload_type: u8) -> Option<&mut Joiner> {
        let mut joiners = self.joiners.iter_mut();
        joiners
            .find(|(known, _)| *known == payload_type)
            .map(|(_, joiner)| joiner)
    }
}

/// Puts packets in order and joins them to frames. A missing packet is waited for as long as the latency allows; then sound goes on at the
/// next packet, and video at the next key frame, or, if pictures say so, where the lowest temporal layer goes on without a gap.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// Of pictures, which need those before them; sound does not.
    video: bool,
    /// `parts[0]` has this number.
    next: u64,
    parts: VecDeque<Option<Part>>,
    started: bool,
    delivered: bool,
    /// Video cannot go on without a key frame.
    need_key: bool,
    layers: Layers,
    discontinuity: bool,
    /// Number and timestamp of the first packet held that shows the newest key frame.
    key_start: Option<(u64, u32)>,
    /// The packet before the next one ended a frame.
    at_end: bool,
    /// Until when the first gap is waited for.
    deadline: Option<Instant>,
    /// When the packet behind the first gap came.
    gap_since: Option<Instant>,
    /// Something was given up; only a key frame helps, until one is whole.
    pub(crate) wants_key_frame: bool,
    pub(crate) frames_dropped: u64,
    /// Of these, the frames whose packets all came, and made none.
    pub(crate) frames_malformed: u64,
    pub(crate) packets_discarded: u64,
}

impl Assembler {
    /// `video`: decoding starts at a key frame.
    pub(crate) fn new(video: bool) -> Self {
        Self {
            video,
            next: 0,
            parts: VecDeque::new(),
            started: false,
            delivered: false,
            need_key: video,
            layers: Layers::default(),
            discontinuity: false,
            key_start: None,
            at_end: false,
            deadline: None,
            gap_since: None,
            wants_key_frame: false,
            frames_dropped: 0,
            frames_malformed: 0,
            packets_discarded: 0,
        }
    }

    /// Until when the first gap is waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether a key frame is to be asked for: one is needed, and none has begun to come. What is still missing of the time before
    /// `answered` may be of the one that was asked for.
    pub(crate) fn lacks_key_frame(&self, answered: Option<Instant>) -> bool {
        let may_come = answered.is_some_and(|at| self.gap_since.is_some_and(|since| since <= at));
        self.wants_key_frame && !may_come && self.key_start.is_none_or(|(start, _)| start < self.next)
    }

    /// Whether any packet came.
    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    /// The number before which nothing is of use any more.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The source restarted: its numbers mean nothing any more.
    pub(crate) fn restart(&mut self) {
        *self = Self {
            discontinuity: true,
            frames_dropped: self.frames_dropped,
            frames_malformed: self.frames_malformed,
            packets_discarded: self.packets_discarded,
            ..Self::new(self.video)
        };
    }

    /// Takes in a packet that is no duplicate.
    pub(crate) fn insert(&mut self, sequence: u64, part: Part) {
        if !self.started {
            self.started = true;
            self.next = sequence;
        }
        if sequence < self.next {
            let early = self.next - sequence;
            if self.delivered || early > MAX_EARLY || self.parts.len() + early as usize > MAX_BUFFERED {
                self.packets_discarded += 1;
                return;
            }
            for _ in 0..early {
                self.parts.push_front(None);
            }
            self.next = sequence;
        }
        if sequence - self.next >= MAX_BUFFERED as u64 {
            // Nothing was whole for so long that holding on is pointless.
            self.packets_discarded += self.parts.iter().flatten().count() as u64;
            self.parts.clear();
            self.key_start = None;
            self.next = sequence;
            self.lose();
        }
        let index = (sequence - self.next) as usize;
        if index >= self.parts.len() {
            self.parts.resize(index + 1, None);
        }
        if part.is_key() && self.video {
            self.key_start = Some(match self.key_start {
                // Several packets of one frame may show it.
                Some((start, timestamp)) if timestamp == part.timestamp => (start.min(sequence), timestamp),
                Some((start, timestamp)) if start > sequence => (start, timestamp),
                _ => (sequence, part.timestamp),
            });
        }
        self.parts[index] = Some(part);
    }

    /// Something that cannot be recovered is missing.
    fn lose(&mut self) {
        self.discontinuity = true;
        self.at_end = false;
        if self.video && (self.need_key || !self.layers.lose()) {
            self.need_key = true;
            self.wants_key_frame = true;
        }
    }

    /// Whether a frame can be decoded with what was delivered.
    fn goes_on(&mut self, frame: &Assembled) -> bool {
        if !self.video {
            return true;
        }
        let next = self.layers.take(&frame.facts, frame.key_frame);
        if next == Next::Decodable {
            return true;
        }
        self.frames_dropped += 1;
        self.discontinuity = true;
        self.need_key = next == Next::NeedsKey;
        self.wants_key_frame |= next != Next::Useless;
        false
    }

    fn skip_to(&mut self, sequence: u64) {
        let count = (sequence - self.next) as usize;
        let dropped = self.parts.iter().take(count).flatten();
        let frames = dropped.filter(|part| part.piece.is_some_and(|piece| piece.end)).count();
        self.frames_dropped += frames as u64;
        self.parts.drain(..count.min(self.parts.len()));
        self.next = sequence;
    }

    /// How many packets from `index` on make up one whole frame.
    fn whole(&self, index: usize) -> Result<usize, Gap> {
        let first = match self.parts.get(index) {
            Some(Some(first)) => first,
            Some(None) => return Err(Gap::At(index)),
            None => return Err(Gap::End),
        };
        let Some(piece) = first.piece else { return Ok(1) };
        if piece.end {
            return Ok(1);
        }
        for (offset, part) in self.parts.range(index + 1..).enumerate() {
            let Some(part) = part else {
                return Err(Gap::At(index + 1 + offset));
            };
            let Some(piece) = part.piece else { continue };
            // A frame without a mark at its end ends where the next begins.
            if part.timestamp != first.timestamp || part.payload_type != first.payload_type {
                return Ok(offset + 1);
            }
            if piece.end {
                return Ok(offset + 2);
            }
        }
        Err(Gap::End)
    }

    /// The next whole frame, made by one of `joiners`. `patience` is how long a gap is waited for.
    pub(crate) fn poll(&mut self, now: Instant, patience: Duration, joiners: &mut Joiners) -> Option<Assembled> {
        loop {
            (self.deadline, self.gap_since) = (None, None);
            if self.parts.is_empty() {
                return None;
            }
            if let Some(Some(front)) = self.parts.front() {
                let Some(piece) = front.piece else {
                    self.skip_to(self.next + 1);
                    continue;
                };
                let starts = match piece.start {
                    Start::Yes => true,
                    Start::Maybe => self.at_end || front.is_key(),
                    Start::No => false,
                };
                if self.video && !starts {
                    // The rest of a frame whose beginning is gone, or, at the very first, comes late.
                    let until = front.received + patience.min(START_GRACE);
                    if !self.delivered && self.key_start.is_none() && until > now {
                        self.deadline = Some(until);
                        return None;
                    }
                    self.lose();
                    self.skip_to(self.next + 1);
                    self.at_end = piece.end;
                    continue;
                }
                if let Ok(count) = self.whole(0) {
                    // What shows a key frame need not be in its first packet.
                    let key_frame = self.parts.range(..count).flatten().any(Part::is_key);
                    self.at_end = true;
                    if self.video && self.need_key && !key_frame {
                        self.wants_key_frame = true;
                        self.discontinuity = true;
                        self.skip_to(self.next + count as u64);
                        continue;
                    }
                    if let Some(frame) = self.take(count, key_frame, joiners)
                        && self.goes_on(&frame)
                    {
                        return Some(frame);
                    }
                    continue;
                }
            }
            // The front is not whole: a later key frame that is makes waiting needless.
            if let Some((start, _)) = self.key_start.filter(|(start, _)| *start > self.next)
                && self.starts((start - self.next) as usize)
                && self.whole((start - self.next) as usize).is_ok()
            {
                self.discontinuity = true;
                self.at_end = false;
                self.skip_to(start);
                continue;
            }
            let gap = match self.parts.front() {
                Some(None) => 0,
                _ => match self.whole(0) {
                    Err(Gap::At(index)) => index,
                    _ => return None,
                },
            };
            let after = self.parts.range(gap..).position(Option::is_some)?;
            let after = gap + after;
            let since = self.parts[after].as_ref().map(|part| part.received)?;
            if since + patience > now {
                (self.deadline, self.gap_since) = (Some(since + patience), Some(since));
                return None;
            }
            self.lose();
            self.skip_to(self.next + after as u64);
        }
    }

    /// Whether a key frame can begin with the packet there: what comes before it is not waited for.
    fn starts(&self, index: usize) -> bool {
        let part = self.parts.get(index).and_then(Option::as_ref);
        part.and_then(|part| part.piece)
            .is_some_and(|piece| piece.start != Start::No)
    }

    /// Makes a frame of the next `count` packets; `None`, and counted, if they make none.
    fn take(&mut self, count: usize, key_frame: bool, joiners: &mut Joiners) -> Option<Assembled> {
        let parts = self.parts.range(..count).flatten().filter(|part| part.piece.is_some());
        let mut both = parts.clone();
        let first = both.next()?;
        let last = both.next_back().unwrap_or(first);
        let times = parts.clone().map(|part| part.received);
        let arrivals = Arrivals {
            packets: times.clone().count() as u32,
            first: times.clone().min().unwrap_or(first.received),
            last: times.max().unwrap_or(first.received),
        };
        let mut buffer = Vec::new();
        let payloads = parts.clone().map(|part| &part.data[..]);
        let joined = joiners
            .get(first.payload_type)
            .and_then(|joiner| joiner.join(payloads, &mut buffer).ok());
        let frame = joined.map(|joined| Assembled {
            payload_type: first.payload_type,
            timestamp: first.timestamp,
            data: match joined.part {
                Some(range) if range.len() >= SMALL => first.data.slice(range),
                Some(range) => Bytes::copy_from_slice(&first.data[range]),
                None => Bytes::from(buffer),
            },
            key_frame,
            facts: joined.facts,
            extensions: first.extensions.or(&last.extensions),
            contributors: first.contributors.clone(),
            discontinuity: std::mem::take(&mut self.discontinuity),
            arrivals,
        });
        self.parts.drain(..count);
        self.next += count as u64;
        if self.key_start.is_some_and(|(start, _)| start < self.next) {
            self.key_start = None;
        }
        if frame.is_none() {
            // All of it came, and it is none: what follows cannot be decoded without it.
            self.frames_dropped += 1;
            self.frames_malformed += 1;
            self.lose();
            self.at_end = true;
            return None;
        }
        self.delivered = true;
        if key_frame {
            self.need_key = false;
            self.wants_key_frame = false;
        }
        frame
    }
}

/// Frames that are left out for want of a lower layer's, before a key frame is asked for after all.
const MAX_LEFT_OUT: u8 = 100;

/// What was delivered of each temporal layer, where pictures number those of the lowest (TL0PICIDX, RFC 7741 §4.2, RFC 9628 §4.2). What is lost
/// of a higher layer costs no key frame: the lowest goes on, and higher ones from where they need nothing but that.
#[derive(Debug, Default)]
struct Layers {
    /// The number of the newest picture of the lowest layer that was delivered.
    base: Option<u8>,
    /// There are higher layers.
    several: bool,
    /// Something was given up, and it is not known yet of which layer.
    gap: bool,
    /// Up to this layer all is there, since the gap before.
    whole: u8,
    /// Frames left out since then.
    left_out: u8,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Decodable,
    /// It needs what is lost; those after it may not.
    Useless,
    /// The same, and that for so long that a key frame is better.
    WantsKey,
    /// A picture of the lowest layer is lost: only a key frame helps.
    NeedsKey,
}

impl Layers {
    /// Something is given up. Whether it may be of a higher layer alone.
    fn lose(&mut self) -> bool {
        self.gap = true;
        self.several && self.base.is_some()
    }

    /// The next whole frame, where no key frame is needed first.
    fn take(&mut self, facts: &FrameFacts, key_frame: bool) -> Next {
        if key_frame {
            *self = Self {
                base: facts.base_picture_index,
                several: self.several,
                whole: u8::MAX,
                ..Self::default()
            };
            return Next::Decodable;
        }
        let (Some(index), Some(base)) = (facts.base_picture_index, self.base) else {
            // Not numbered, or not any more.
            self.base = facts.base_picture_index;
            return if std::mem::take(&mut self.gap) {
                Next::NeedsKey
            } else {
                Next::Decodable
            };
        };
        if facts.temporal == 0 {
            if self.gap && index != base.wrapping_add(1) {
                return Next::NeedsKey;
            }
            if std::mem::take(&mut self.gap) {
                self.whole = 0;
            }
            self.base = Some(index);
            return Next::Decodable;
        }
        self.several = true;
        if self.gap {
            self.whole = 0;
        }
        if facts.temporal > self.whole {
            // The picture of the lowest layer that it needs must be there.
            if !facts.switching_point || index != base {
                self.left_out = self.left_out.saturating_add(1);
                return if self.left_out >= MAX_LEFT_OUT {
                    Next::WantsKey
                } else {
                    Next::Useless
                };
            }
            self.whole = facts.temporal;
        }
        Next::Decodable
    }
}

enum Gap {
    /// The packet at this index is missing.
    At(usize),
    /// The rest has not come yet.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    struct Video {
        assembler: Assembler,
        joiners: Joiners,
        video: bool,
        now: Instant,
    }

    impl Video {
        #[allow(clippy::disallowed_methods)]
        fn new(video: bool) -> Self {
            let mut joiners = Joiners::default();
            let codec = if video { Depacketizer::Vp8 } else { Depacketizer::Opus };
            joiners.know(96, codec, "");
            Self {
                assembler: Assembler::new(video),
                joiners,
                video,
                now: antiphon_netsim::start(),
            }
        }

        /// `kind`: K/k start and rest of a key frame, D/d of another, upper-case with `marker` alone; U perhaps a start; x what cannot
        /// go on; P padding; A audio.
        fn put(&mut self, sequence: u64, kind: char, marker: bool) {
            // A descriptor of VP8 that begins a frame or does not, and a text.
            let descriptor = match (self.video, kind) {
                (false, _) => "",
                (true, 'x') => "\u{10}",
                (true, kind) if kind.is_ascii_uppercase() => "\u{10}",
                (true, _) => "\0",
            };
            let data = Bytes::from(format!("{descriptor}{kind}{sequence} "));
            let piece = Piece {
                start: match kind {
                    'U' => Start::Maybe,
                    kind if kind.is_ascii_uppercase() => Start::Yes,
                    _ => Start::No,
                },
                end: kind == 'A' || marker,
                key_frame: matches!(kind, 'K' | 'A'),
            };
            let part = Part {
                payload_type: 96,
                timestamp: sequence as u32 / 2,
                data,
                piece: (kind != 'P').then_some(piece),
                extensions: Carried::default(),
                contributors: None,
                received: self.now,
            };
            self.assembler.insert(sequence, part);
        }

        fn take(&mut self) -> Vec<String> {
            let frames = std::iter::from_fn(|| self.assembler.poll(self.now, PATIENCE, &mut self.joiners));
            frames
                .map(|frame| {
                    let mark = if frame.discontinuity { "! " } else { "" };
                    format!("{mark}{}", std::str::from_utf8(&frame.data).unwrap().trim())
                })
                .collect()
        }
    }

    #[test]
    fn reordered_packets_make_frames_in_order() {
        let mut video = Video::new(true);
        video.put(11, 'k', true);
        assert!(video.take().is_empty());
        video.put(10, 'K', false);
        assert_eq!(video.take(), ["K10 k11"]);
        video.put(14, 'D', true);
        video.put(13, 'P', false);
        assert!(video.take().is_empty());
        video.put(12, 'D', true);
        assert_eq!(video.take(), ["D12", "D14"]);
        video.put(12, 'D', true);
        assert_eq!(video.assembler.packets_discarded, 1);
    }

    #[test]
    fn a_gap_is_waited_for_then_a_key_frame_is_wanted() {
        let mut video = Video::new(true);
        video.put(10, 'K', true);
        video.put(12, 'D', true);
        assert_eq!(video.take(), ["K10"]);
        let deadline = video.assembler.deadline().unwrap();
        assert_eq!(deadline, video.now + PATIENCE);
        assert!(!video.assembler.wants_key_frame);
        video.now = deadline;
        assert!(video.take().is_empty());
        assert!(video.assembler.wants_key_frame);
        assert_eq!(video.assembler.deadline(), None);
        video.put(13, 'D', true);
        assert!(video.take().is_empty());
        video.put(14, 'K', false);
        video.put(15, 'k', true);
        assert_eq!(video.take(), ["! K14 k15"]);
        assert_eq!(video.assembler.frames_dropped, 2);
    }

    #[test]
    fn a_whole_key_frame_ends_the_waiting() {
        let mut video = Video::new(true);
        video.put(10, 'K', true);
        video.put(12, 'D', true);
        video.put(13, 'K', true);
        assert_eq!(video.take(), ["K10", "! K13"]);
    }

    #[test]
    fn video_starts_with_a_key_frame() {
        let mut video = Video::new(true);
        video.put(10, 'D', true);
        assert!(video.take().is_empty());
        assert!(video.assembler.wants_key_frame);
        video.put(11, 'K', true);
        assert_eq!(video.take(), ["! K11"]);
    }

    #[test]
    fn a_key_frame_that_has_begun_to_come_is_not_asked_for() {
        let mut video = Video::new(true);
        video.put(10, 'D', true);
        assert!(video.take().is_empty());
        assert!(video.assembler.lacks_key_frame(None));
        video.put(11, 'K', false);
        video.put(13, 'D', true);
        assert!(video.take().is_empty());
        assert!(!video.assembler.lacks_key_frame(None));
        // Its rest is lost for good.
        video.now += PATIENCE;
        assert!(video.take().is_empty());
        assert!(video.assembler.lacks_key_frame(None));
    }

    #[test]
    fn what_is_missing_may_be_the_key_frame_that_was_asked_for() {
        let mut video = Video::new(true);
        video.put(10, 'D', true);
        assert!(video.take().is_empty());
        let answered = video.now + PATIENCE;
        assert!(video.assembler.lacks_key_frame(Some(answered)), "nothing is missing");
        video.put(12, 'D', true);
        assert!(video.take().is_empty());
        assert!(!video.assembler.lacks_key_frame(Some(answered)));
        // It was none, and what is missing now is of later than any answer.
        video.put(11, 'D', true);
        video.now = answered + PATIENCE;
        video.put(14, 'D', true);
        assert!(video.take().is_empty());
        assert!(video.assembler.lacks_key_frame(Some(answered)));
    }

    #[test]
    fn sound_goes_on_after_a_gap() {
        let mut sound = Video::new(false);
        sound.put(1, 'A', false);
        sound.put(3, 'A', false);
        assert_eq!(sound.take(), ["A1"]);
        sound.now += PATIENCE;
        assert_eq!(sound.take(), ["! A3"]);
    }

    #[test]
    fn what_may_be_a_start_is_one_behind_an_end() {
        let mut video = Video::new(true);
        for (sequence, kind) in [(10, 'K'), (12, 'U'), (14, 'U')] {
            video.put(sequence, kind, true);
        }
        video.put(11, 'P', false);
        assert_eq!(video.take(), ["K10", "U12"]);
        // Behind a gap it need not be.
        video.now += PATIENCE;
        assert!(video.take().is_empty());
        assert!(video.assembler.wants_key_frame);
    }

    #[test]
    fn a_frame_without_a_mark_ends_with_its_timestamp() {
        let mut video = Video::new(true);
        for (sequence, kind) in [(10, 'K'), (11, 'k'), (12, 'D')] {
            video.put(sequence, kind, false);
        }
        assert_eq!(video.take(), ["K10 k11"]);
    }

    #[test]
    fn what_makes_no_frame_is_dropped_and_counted() {
        let mut video = Video::new(true);
        video.put(10, 'K', false);
        video.put(11, 'x', true);
        video.put(12, 'D', true);
        assert!(video.take().is_empty());
        assert_eq!(
            (video.assembler.frames_malformed, video.assembler.frames_dropped),
            (1, 2)
        );
        assert!(video.assembler.wants_key_frame);
        video.put(13, 'K', true);
        assert_eq!(video.take(), ["! K13"]);
    }

    #[test]
    fn what_is_lost_of_a_higher_layer_costs_no_key_frame() {
        let facts = |temporal, index, switching_point| FrameFacts {
            temporal,
            base_picture_index: Some(index),
            switching_point,
            ..FrameFacts::default()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.take(&facts(0, 254, false), true), Next::Decodable);
        assert!(!layers.lose(), "it is not known that there are several layers");
        layers.take(&facts(0, 254, false), true);
        assert_eq!(layers.take(&facts(2, 254, true), false), Next::Decodable);
        assert_eq!(layers.take(&facts(1, 254, false), false), Next::Decodable);
        assert!(layers.lose());
        assert_eq!(layers.take(&facts(2, 254, false), false), Next::Useless);
        assert_eq!(layers.take(&facts(0, 255, false), false), Next::Decodable);
        assert_eq!(layers.take(&facts(2, 255, false), false), Next::Useless);
        assert_eq!(layers.take(&facts(1, 255, true), false), Next::Decodable);
        assert_eq!(layers.take(&facts(2, 255, false), false), Next::Useless);
        assert_eq!(layers.take(&facts(2, 255, true), false), Next::Decodable);
        assert_eq!(layers.take(&facts(0, 0, false), false), Next::Decodable);
        assert!(layers.lose());
        assert_eq!(
            layers.take(&facts(1, 1, true), false),
            Next::Useless,
            "it needs a base that is lost"
        );
        assert_eq!(layers.take(&facts(0, 2, false), false), Next::NeedsKey);
        // One that never can be shown again is not waited for for ever.
        layers.take(&facts(0, 9, false), true);
        layers.lose();
        let waits = (0..200).position(|_| layers.take(&facts(1, 9, false), false) == Next::WantsKey);
        assert_eq!(waits, Some(usize::from(MAX_LEFT_OUT) - 1));
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut video = Video::new(true);
        for n in 0..20_000 {
            video.put(10 + n * 7, 'd', false);
            assert!(video.assembler.parts.len() <= MAX_BUFFERED);
        }
    }
}
