//! What a source keeps to bring lost packets back without asking for them: the window of its forward error correction, and when its
//! last packets were, by which RED finds the number of what it repeats.

use antiphon_rtp::extension::Map;
use antiphon_rtp::fec::{Format, Recoverer};

/// How many of the last packets are remembered by their time: more than RED reaches back.
const RECENT: usize = 8;
/// So many numbers further back the place of a repeated payload is looked for: padding in between took them.
const MAX_PADDING: u16 = 4;

/// What repairs have done for a source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RepairCount {
    /// Repair packets, and repeated payloads.
    pub(crate) packets: u64,
    /// Bytes of these.
    pub(crate) bytes: u64,
    /// Those of no use.
    pub(crate) discarded: u64,
    /// Packets that came back, by each of [`Redundant`].
    pub(crate) recovered: [u64; 3],
}

/// What a packet came back out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redundant {
    Red,
    Ulpfec,
    Flexfec,
}

impl From<Format> for Redundant {
    fn from(format: Format) -> Self {
        match format {
            Format::Ulpfec => Self::Ulpfec,
            _ => Self::Flexfec,
        }
    }
}

/// One source's repairs.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    /// Where forward error correction was negotiated.
    pub(crate) recoverer: Option<Box<Recoverer>>,
    /// Number and timestamp of the last packets, as far as they came.
    recent: [Option<(u16, u32)>; RECENT],
    next: usize,
    pub(crate) count: RepairCount,
}

impl Repairs {
    /// Forward error correction was negotiated, or is no more.
    pub(crate) fn negotiate(&mut self, ssrc: u32, format: Option<Format>) {
        match format {
            Some(_) if self.recoverer.is_some() => {}
            format => self.recoverer = format.map(|_| Box::new(Recoverer::new(ssrc))),
        }
    }

    /// The numbers of the source begin anew.
    pub(crate) fn restart(&mut self) {
        self.recent = [None; RECENT];
        if let Some(recoverer) = &mut self.recoverer {
            recoverer.restart();
        }
    }

    /// Holds a packet as it was sent, in parts.
    pub(crate) fn hold(&mut self, parts: &[&[u8]], map: &Map) {
        if let Some(recoverer) = &mut self.recoverer {
            recoverer.insert(parts, map);
        }
    }

    /// A packet with a payload came, or was recovered.
    pub(crate) fn note(&mut self, sequence: u16, timestamp: u32) {
        self.recent[self.next % RECENT] = Some((sequence, timestamp));
        self.next = self.next.wrapping_add(1);
    }

    /// The number of a repeated payload of this time, at most `newest`, of those that are missing. `None`: it has come, or
    /// has no place between what came.
    pub(crate) fn place(&self, newest: u16, timestamp: u32, mut is_missing: impl FnMut(u16) -> bool) -> Option<u16> {
        let fits = |number: u16| {
            self.recent.iter().flatten().all(|&(sequence, time)| {
                let later = (number.wrapping_sub(sequence) as i16) > 0;
                timestamp != time && later == ((timestamp.wrapping_sub(time) as i32) > 0)
            })
        };
        let numbers = (0..=MAX_PADDING).map(|back| newest.wrapping_sub(back));
        numbers.into_iter().find(|number| is_missing(*number) && fits(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_payload_finds_its_place_by_time() {
        let mut repairs = Repairs::default();
        for n in 0..3 {
            repairs.note(10 + n, 960 * u32::from(n));
        }
        let lost = |numbers: &'static [u16]| move |number: u16| numbers.contains(&number);
        // 13 is lost, and 14 repeats it.
        assert_eq!(repairs.place(13, 960 * 3, lost(&[13])), Some(13));
        // 12 came: a repetition of it is nobody's, though padding after it was lost.
        assert_eq!(repairs.place(13, 960 * 2, lost(&[13])), None);
        // 14 was padding, and 15 repeats 13.
        assert_eq!(repairs.place(14, 960 * 3, lost(&[13])), Some(13));
        // Older than all that came after it.
        assert_eq!(repairs.place(13, 100, lost(&[13])), None);
        repairs.restart();
        assert_eq!(repairs.place(13, 100, lost(&[13])), Some(13));
    }
}
