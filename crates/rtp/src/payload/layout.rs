//! How a payload is put together: slices of a frame, nearly equal ones, and before each slice a few bytes of the format's own.

use std::ops::Range;

/// Most slices of a frame in one payload. An H.264 picture begins with four units: two parameter sets, SEI, the first slice.
pub const MAX_SLICES: usize = 4;
/// Most bytes of the payload format's own in one payload, those before all slices taken together: a VP9 descriptor that tells
/// the sizes of four layers has 22.
pub const MAX_OWN: usize = 24;

/// Where the bytes of an outgoing payload come from: bytes of the payload format, and slices of a frame.
///
/// Small and of a fixed size, so that a queue can hold it beside the frame and nothing is copied before the packet is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    own: [u8; MAX_OWN],
    parts: [Part; MAX_SLICES],
    /// How many of the own bytes stand before each slice.
    before: [u8; MAX_SLICES],
    count: u8,
    own_len: u8,
}

/// A slice of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    start: u32,
    len: u32,
}

impl Layout {
    /// One slice, with nothing before it.
    #[inline]
    pub fn slice(range: Range<usize>) -> Self {
        let mut layout = Self::default();
        layout.parts[0] = Part {
            start: range.start as u32,
            len: range.len() as u32,
        };
        layout.count = 1;
        layout
    }

    /// Appends `own` bytes and the slice `range` of the frame. Returns `false`, and changes nothing, if there is no place for
    /// another slice or for so many bytes.
    #[inline]
    pub fn push(&mut self, own: &[u8], range: Range<usize>) -> bool {
        let at = usize::from(self.own_len);
        let (Some(part), Some(place)) = (
            self.parts.get_mut(usize::from(self.count)),
            self.own.get_mut(at..at + own.len()),
        ) else {
            return false;
        };
        let (Ok(start), Ok(len)) = (u32::try_from(range.start), u32::try_from(range.len())) else {
            return false;
        };
        place.copy_from_slice(own);
        *part = Part { start, len };
        self.before[usize::from(self.count)] = own.len() as u8;
        self.count += 1;
        self.own_len += own.len() as u8;
        true
    }

    /// How many bytes there are in all.
    #[inline]
    pub fn len(&self) -> usize {
        let parts = &self.parts[..usize::from(self.count)];
        usize::from(self.own_len) + parts.iter().map(|part| part.len as usize).sum::<usize>()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The range, if it is one slice and nothing besides: then the bytes need not be put together, only cut.
    #[inline]
    pub fn single(&self) -> Option<Range<usize>> {
        let [part, ..] = self.parts;
        (self.count == 1 && self.own_len == 0).then(|| part.start as usize..(part.start + part.len) as usize)
    }

    /// Calls `put` with the bytes, piece by piece and in order. What a slice names beyond the end of `source` is left out.
    #[inline]
    pub fn write(&self, source: &[u8], mut put: impl FnMut(&[u8])) {
        let mut own = &self.own[..];
        for (part, before) in self.parts[..usize::from(self.count)].iter().zip(self.before) {
            let (before, rest) = own.split_at(usize::from(before));
            own = rest;
            if !before.is_empty() {
                put(before);
            }
            let start = part.start as usize;
            put(source.get(start..start + part.len as usize).unwrap_or(&[]));
        }
    }
}

/// Bytes that stand in the place of the first ones of a payload: what a forwarder says otherwise in a payload descriptor, without
/// a copy of what is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Front {
    bytes: [u8; Front::MAX_LEN],
    len: u8,
    replaced: u8,
}

impl Front {
    /// Most bytes: a whole descriptor of VP8, or what stands before the structure in one of VP9.
    pub const MAX_LEN: usize = 6;

    /// The first [`Self::MAX_LEN`] of `bytes`, in the place of the first `replaced` of the payload.
    pub fn new(bytes: &[u8], replaced: u8) -> Self {
        let mut front = Self {
            replaced,
            ..Self::default()
        };
        for (place, byte) in front.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            front.len += 1;
        }
        front
    }

    /// The bytes that stand there.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// How many bytes of the payload they replace.
    pub fn replaced(&self) -> usize {
        usize::from(self.replaced)
    }

    /// How a payload of so many bytes is put together then.
    pub fn layout(&self, payload: usize) -> Layout {
        let mut layout = Layout::default();
        // Six bytes and one slice fit into every layout.
        _ = layout.push(self.bytes(), self.replaced().min(payload)..payload);
        layout
    }
}

/// One packet of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What its payload is made of.
    pub layout: Layout,
    /// The marker bit of its header.
    pub marker: bool,
}

/// Whether a frame starts in a payload, as far as the payload itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It does not: the payload continues what came before.
    #[default]
    No,
    /// It does if the packet before ended a frame: the payload begins a part of one, and does not say which.
    Maybe,
    /// It does.
    Yes,
}

/// What one received payload is to its frame. Small: a forwarder needs no more, and asks for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whether the frame starts here.
    pub start: Start,
    /// Whether the frame ends here, as far as this payload says; it also ends where the timestamp changes.
    pub end: bool,
    /// Whether this shows that the frame can be decoded alone.
    pub key_frame: bool,
}

/// Cuts `len` bytes into the fewest pieces of at most `max` bytes, whose sizes differ by at most one.
///
/// ```
/// let pieces: Vec<_> = antiphon_rtp::payload::slices(10, 4).collect();
/// assert_eq!(pieces, [0..4, 4..7, 7..10]);
/// ```
pub fn slices(len: usize, max: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    Slices::new(len, max)
}

/// The slices of so many bytes.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    next: usize,
    count: usize,
    size: usize,
    larger: usize,
}

impl Slices {
    pub(super) fn new(len: usize, max: usize) -> Self {
        let count = len.div_ceil(max.max(1));
        Self {
            next: 0,
            count,
            size: len.checked_div(count).unwrap_or(0),
            larger: len.checked_rem(count).unwrap_or(0),
        }
    }
}

impl Iterator for Slices {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let index = self.next;
        if index == self.count {
            return None;
        }
        self.next += 1;
        let start = index * self.size + index.min(self.larger);
        Some(start..start + self.size + usize::from(index < self.larger))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Slices {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_together_what_was_pushed_and_refuses_the_rest() {
        let frame = b"abcdefghij";
        let mut layout = Layout::default();
        assert!(layout.is_empty());
        assert!(layout.push(&[24, 0, 2], 0..2) && layout.push(&[0, 3], 4..7));
        assert_eq!((layout.len(), layout.single()), (10, None));
        let mut bytes = Vec::new();
        layout.write(frame, |piece| bytes.extend_from_slice(piece));
        assert_eq!(bytes, [24, 0, 2, b'a', b'b', 0, 3, b'e', b'f', b'g']);
        let full = layout;
        assert!(!layout.push(&[9; MAX_OWN], 0..1) && layout == full);
        assert!(layout.push(&[], 0..1) && layout.push(&[], 1..2) && !layout.push(&[], 2..3));
        assert_eq!(Layout::slice(3..10).single(), Some(3..10));
        let mut beyond = 0;
        Layout::slice(3..11).write(frame, |piece| beyond += piece.len());
        assert_eq!(beyond, 0);
    }
}
