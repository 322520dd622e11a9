//! Puts packets of one source in order and joins them to frames. It knows no codec: each packet says what it is to its frame.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::AudioLevel;
use antiphon_rtp::payload::Layout;
use bytes::{Bytes, BytesMut};

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
    /// Which bytes of `data` belong to the frame.
    pub(crate) layout: Layout,
    /// Nothing but padding: takes a number, belongs to no frame.
    pub(crate) padding: bool,
    /// Whether the frame starts here.
    pub(crate) start: bool,
    /// Whether it ends here.
    pub(crate) end: bool,
    pub(crate) key_frame: bool,
    pub(crate) audio_level: Option<AudioLevel>,
    pub(crate) received: Instant,
}

impl Part {
    /// What takes a number and belongs to no frame.
    pub(crate) fn padding(received: Instant) -> Self {
        Self {
            payload_type: 0,
            timestamp: 0,
            data: Bytes::new(),
            layout: Layout::default(),
            padding: true,
            start: false,
            end: false,
            key_frame: false,
            audio_level: None,
            received,
        }
    }
}

/// A frame that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    pub(crate) data: Bytes,
    pub(crate) key_frame: bool,
    pub(crate) audio_level: Option<AudioLevel>,
    pub(crate) discontinuity: bool,
}

/// Puts packets in order and joins them to frames. A missing packet is waited for as long as the latency allows; then video
/// goes on at the next key frame, sound at the next packet.
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
    discontinuity: bool,
    /// Start of the newest key frame held.
    key_start: Option<u64>,
    /// Until when the first gap is waited for.
    deadline: Option<Instant>,
    /// Something was given up; only a key frame helps, until one is whole.
    pub(crate) wants_key_frame: bool,
    pub(crate) frames_dropped: u64,
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
            discontinuity: false,
            key_start: None,
            deadline: None,
            wants_key_frame: false,
            frames_dropped: 0,
            packets_discarded: 0,
        }
    }

    /// Until when the first gap is waited for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
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
        let (dropped, discarded) = (self.frames_dropped, self.packets_discarded);
        *self = Self::new(self.video);
        self.discontinuity = true;
        (self.frames_dropped, self.packets_discarded) = (dropped, discarded);
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
        if part.key_frame && self.video {
            self.key_start = Some(self.key_start.map_or(sequence, |start| start.max(sequence)));
        }
        self.parts[index] = Some(part);
    }

    /// Something that cannot be recovered is missing.
    fn lose(&mut self) {
        self.discontinuity = true;
        if self.video {
            self.need_key = true;
            self.wants_key_frame = true;
        }
    }

    fn skip_to(&mut self, sequence: u64) {
        let count = (sequence - self.next) as usize;
        let dropped = self.parts.iter().take(count).flatten();
        let frames = dropped.filter(|part| part.end).count();
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
        if first.end {
            return Ok(1);
        }
        for (offset, part) in self.parts.range(index + 1..).enumerate() {
            match part {
                None => return Err(Gap::At(index + 1 + offset)),
                // A frame without a mark at its end ends where the next begins.
                Some(part) if part.start && part.timestamp != first.timestamp => return Ok(offset + 1),
                Some(part) if part.end => return Ok(offset + 2),
                Some(_) => {}
            }
        }
        Err(Gap::End)
    }

    /// The next whole frame. `patience` is how long a gap is waited for.
    pub(crate) fn poll(&mut self, now: Instant, patience: Duration) -> Option<Assembled> {
        loop {
            self.deadline = None;
            if self.parts.is_empty() {
                return None;
            }
            if let Some(Some(front)) = self.parts.front() {
                let (padding, video, start, key_frame) = (front.padding, self.video, front.start, front.key_frame);
                if padding {
                    self.skip_to(self.next + 1);
                    continue;
                }
                if video && !start {
                    // The rest of a frame whose beginning is gone, or, at the very first, comes late.
                    let until = front.received + patience.min(START_GRACE);
                    if !self.delivered && self.key_start.is_none() && until > now {
                        self.deadline = Some(until);
                        return None;
                    }
                    self.lose();
                    self.skip_to(self.next + 1);
                    continue;
                }
                if let Ok(count) = self.whole(0) {
                    if video && self.need_key && !key_frame {
                        self.wants_key_frame = true;
                        self.discontinuity = true;
                        self.skip_to(self.next + count as u64);
                        continue;
                    }
                    return self.take(count);
                }
            }
            // The front is not whole: a later key frame that is makes waiting needless.
            if let Some(start) = self.key_start.filter(|start| *start > self.next)
                && self.whole((start - self.next) as usize).is_ok()
            {
                self.discontinuity = true;
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
            let deadline = self.parts[after].as_ref().map(|part| part.received + patience)?;
            if deadline > now {
                self.deadline = Some(deadline);
                return None;
            }
            self.lose();
            self.skip_to(self.next + after as u64);
        }
    }

    /// Takes the next `count` packets as a frame; `None` if there is nothing in them but padding.
    fn take(&mut self, count: usize) -> Option<Assembled> {
        let size = self.parts.range(..count).flatten().map(|part| part.layout.len()).sum();
        let mut parts = self.parts.drain(..count).flatten().filter(|part| !part.padding);
        self.next += count as u64;
        let first = parts.next()?;
        let data = match first.layout.single() {
            Some(range) if range.len() == size && size >= SMALL => first.data.slice(range),
            _ => {
                let mut data = BytesMut::with_capacity(size);
                first.layout.write(&first.data, |piece| data.extend_from_slice(piece));
                parts.for_each(|part| part.layout.write(&part.data, |piece| data.extend_from_slice(piece)));
                data.freeze()
            }
        };
        self.delivered = true;
        if first.key_frame {
            self.need_key = false;
            self.wants_key_frame = false;
        }
        Some(Assembled {
            payload_type: first.payload_type,
            timestamp: first.timestamp,
            data,
            key_frame: first.key_frame,
            audio_level: first.audio_level,
            discontinuity: std::mem::take(&mut self.discontinuity),
        })
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
        now: Instant,
    }

    impl Video {
        #[allow(clippy::disallowed_methods)]
        fn new(video: bool) -> Self {
            Self {
                assembler: Assembler::new(video),
                now: antiphon_netsim::start(),
            }
        }

        /// `kind`: K/k start and rest of a key frame, D/d of another, upper-case with `marker` alone; P padding; A audio.
        fn put(&mut self, sequence: u64, kind: char, marker: bool) {
            let data = Bytes::from(format!("{kind}{sequence} "));
            let part = Part {
                payload_type: 96,
                timestamp: sequence as u32 / 2,
                layout: Layout::slice(0..data.len()),
                data,
                padding: kind == 'P',
                start: kind.is_ascii_uppercase(),
                end: kind == 'A' || marker && kind != 'P',
                key_frame: matches!(kind, 'K' | 'A'),
                audio_level: None,
                received: self.now,
            };
            self.assembler.insert(sequence, part);
        }

        fn take(&mut self) -> Vec<String> {
            let frames = std::iter::from_fn(|| self.assembler.poll(self.now, PATIENCE));
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
    fn sound_goes_on_after_a_gap() {
        let mut sound = Video::new(false);
        sound.put(1, 'A', false);
        sound.put(3, 'A', false);
        assert_eq!(sound.take(), ["A1"]);
        sound.now += PATIENCE;
        assert_eq!(sound.take(), ["! A3"]);
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
