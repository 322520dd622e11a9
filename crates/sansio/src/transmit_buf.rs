//! The buffer that all layers write outgoing datagrams into.

use std::ops::Range;

/// Datagrams that one [`Transmit`](crate::Transmit) holds at most, unless the owner of the buffer says less: what Linux takes in one
/// call.
pub const MAX_RUN: usize = 64;
/// Bytes that one [`Transmit`](crate::Transmit) holds at most: what IPv4 can carry (65 535), less the headers of IP and UDP.
pub const MAX_RUN_BYTES: usize = 65_535 - 20 - 8;

/// One batch of outgoing datagrams, written in place by every layer that a datagram passes.
///
/// The owner of the path says how much room the path needs in front of and behind each datagram ([`Self::set_path_room`],
/// for instance 4 bytes for TURN ChannelData). A layer that will be wrapped begins a segment with the room that the wrapping
/// layer asks for; the wrapping layer then seals the body in place, takes the front room by [`Self::prepend`] and
/// appends its tag. [`Self::rollback`] undoes an unfinished segment.
///
/// ```text
/// | finished segments | path front | layer front |   body ...    | layer back | path back |
///                     ^ segment                  ^ body (begin)
///                           <- prepend -                         - put_* ->
/// ```
#[derive(Debug)]
pub struct TransmitBuf {
    data: Vec<u8>,
    max_bytes: usize,
    max_segment: usize,
    max_run: usize,
    path_front: usize,
    path_back: usize,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where the segment's front room begins.
    segment: usize,
    /// Where the body begins now; moves towards `segment` as layers prepend.
    body: usize,
    /// No segment grows past this offset.
    limit: usize,
    /// What the sealing layers and the path will append.
    back: usize,
}

impl TransmitBuf {
    /// A buffer for at most `max_bytes` in all, and datagrams of at most `max_segment` bytes (room included).
    pub fn new(max_bytes: usize, max_segment: usize) -> Self {
        assert!(max_segment <= max_bytes, "one segment must fit the buffer");
        Self {
            data: Vec::with_capacity(max_bytes),
            max_bytes,
            max_segment,
            max_run: MAX_RUN,
            path_front: 0,
            path_back: 0,
            open: None,
        }
    }

    /// Forgets everything written; keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.open = None;
    }

    /// The largest datagram, room included.
    pub fn max_segment(&self) -> usize {
        self.max_segment
    }

    /// Changes the largest datagram for the segments that follow; one that is open keeps its own. At most the buffer's size is used.
    #[inline]
    pub fn set_max_segment(&mut self, bytes: usize) {
        self.max_segment = bytes.min(self.max_bytes);
    }

    /// How many datagrams one run may hold; see [`Self::set_max_run`].
    pub fn max_run(&self) -> usize {
        self.max_run
    }

    /// Bounds the runs that follow to this many datagrams, one at least: an owner that sends them one by one, or that wants to serve
    /// somebody else soon, asks for fewer than [`MAX_RUN`].
    pub fn set_max_run(&mut self, datagrams: usize) {
        self.max_run = datagrams.max(1);
    }

    /// The room that the path needs around each of the segments that follow.
    #[inline]
    pub fn set_path_room(&mut self, front: usize, back: usize) {
        self.path_front = front;
        self.path_back = back;
    }

    /// Whether another segment of the largest size fits.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.open.is_none() && self.data.len() + self.max_segment <= self.max_bytes
    }

    /// Opens a segment with `front` and `back` bytes for the layers that will wrap it, besides the path's room.
    ///
    /// Returns `false`, and opens nothing, when the buffer has no space for a segment of the largest size. The owner sends
    /// what is there, clears, and asks again.
    ///
    /// # Panics
    /// If a segment is open: a layer forgot to finish or roll back.
    #[inline]
    pub fn begin(&mut self, front: usize, back: usize) -> bool {
        assert!(self.open.is_none(), "a segment is open already");
        if !self.has_room() {
            return false;
        }
        let segment = self.data.len();
        let body = segment + self.path_front + front;
        let limit = segment + self.max_segment;
        let back = back + self.path_back;
        if body + back > limit {
            return false;
        }
        if body > segment {
            self.data.resize(body, 0);
        }
        self.open = Some(Open {
            segment,
            body,
            limit,
            back,
        });
        true
    }

    /// Whether a segment is open.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    #[track_caller]
    #[inline]
    fn open(&self) -> Open {
        self.open.expect("no segment is open")
    }

    /// What the open segment holds so far, its rooms not counted.
    #[inline]
    pub fn body(&self) -> &[u8] {
        &self.data[self.open().body..]
    }

    /// What the open segment holds so far, to be changed in place.
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8] {
        let body = self.open().body;
        &mut self.data[body..]
    }

    /// How many bytes the body may still grow, the rooms that were asked for left free.
    #[inline]
    pub fn remaining(&self) -> usize {
        let open = self.open();
        (open.limit - open.back).saturating_sub(self.data.len())
    }

    /// Appends `bytes` to the open segment.
    ///
    /// # Panics
    /// If no segment is open, or the datagram would exceed its largest size: sizes are computed before writing.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        assert!(
            self.data.len() + bytes.len() <= self.open().limit,
            "segment exceeds the path's largest datagram"
        );
        self.data.extend_from_slice(bytes);
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, value: u8) {
        self.put_slice(&[value]);
    }

    /// Appends two bytes, big-endian.
    #[inline]
    pub fn put_u16(&mut self, value: u16) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Appends four bytes, big-endian.
    #[inline]
    pub fn put_u32(&mut self, value: u32) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Appends eight bytes, big-endian.
    #[inline]
    pub fn put_u64(&mut self, value: u64) {
        self.put_slice(&value.to_be_bytes());
    }

    /// Appends `len` zero bytes and hands them out to be filled.
    #[inline]
    pub fn put_zeros(&mut self, len: usize) -> &mut [u8] {
        let start = self.data.len();
        assert!(
            start + len <= self.open().limit,
            "segment exceeds the path's largest datagram"
        );
        self.data.resize(start + len, 0);
        &mut self.data[start..]
    }

    /// Appends `bytes` behind the body, into the back room, the path's included: for the layers that wrap an open segment
    /// (an SRTP or DTLS tag). What they append may not exceed the rooms that were asked for in all.
    ///
    /// # Panics
    /// If no segment is open, or the datagram would exceed its largest size.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(
            self.data.len() + bytes.len() <= self.open().limit,
            "segment exceeds the path's largest datagram"
        );
        self.data.extend_from_slice(bytes);
    }

    /// Takes `len` bytes of the front room into the body and hands them out to be filled.
    ///
    /// # Panics
    /// If less room was asked for when the segment began.
    pub fn prepend(&mut self, len: usize) -> &mut [u8] {
        let mut open = self.open();
        assert!(open.body - open.segment >= len, "the segment has less room in front");
        open.body -= len;
        self.open = Some(open);
        &mut self.data[open.body..open.body + len]
    }

    /// Closes the open segment and says where its bytes are. Front room that no layer took stays unsent.
    #[inline]
    pub fn finish(&mut self) -> Range<usize> {
        let open = self.open();
        self.open = None;
        open.body..self.data.len()
    }

    /// Moves the segment that was finished last, at `range`, to `end`, where the one before it ended: front room that no layer took lay
    /// between. Returns where it is now.
    ///
    /// # Panics
    /// If `range` is not the last of the buffer, or `end` lies behind its start.
    pub fn close_gap(&mut self, end: usize, range: Range<usize>) -> Range<usize> {
        assert!(self.open.is_none() && range.end == self.data.len() && end <= range.start);
        let moved = end..end + range.len();
        if moved != range {
            self.data.copy_within(range, end);
            self.data.truncate(moved.end);
        }
        moved
    }

    /// Takes the segment that was finished last, at `range`, out of the buffer.
    ///
    /// # Panics
    /// If `range` is not the last of the buffer.
    pub fn take_last(&mut self, range: Range<usize>) -> Vec<u8> {
        assert!(self.open.is_none() && range.end == self.data.len());
        self.data.split_off(range.start)
    }

    /// Undoes the open segment, if there is one.
    #[inline]
    pub fn rollback(&mut self) {
        if let Some(open) = self.open.take() {
            self.data.truncate(open.segment);
        }
    }

    /// The bytes of a finished segment or batch.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.data[range]
    }

    /// The bytes of a finished segment or batch, to be changed in place.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.data[range]
    }

    /// Number of bytes in use, rooms and the open segment included.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_segments_lie_side_by_side() {
        let mut out = TransmitBuf::new(100, 10);
        let mut ranges = Vec::new();
        for n in 0..3u8 {
            assert!(out.begin(1, 2));
            assert_eq!(out.remaining(), 7);
            out.put_slice(&[n; 4]);
            out.prepend(1)[0] = 0xaa;
            out.put_u16(0xbbbb);
            ranges.push(out.finish());
        }
        assert_eq!(ranges, [0..7, 7..14, 14..21]);
        assert_eq!(out.bytes(7..14), [0xaa, 1, 1, 1, 1, 0xbb, 0xbb]);
    }

    #[test]
    fn an_open_segment_keeps_its_largest_size() {
        let mut out = TransmitBuf::new(40, 10);
        out.set_max_segment(20);
        out.set_path_room(2, 4);
        assert!(out.begin(0, 0));
        out.put_slice(&[1; 14]);
        // For those that follow, while this one is wrapped.
        out.set_max_segment(10);
        out.append(&[2; 4]);
        out.prepend(2).fill(3);
        assert_eq!(out.finish(), 0..20);
        assert!(out.begin(0, 0));
        assert_eq!(out.remaining(), 4);
    }

    #[test]
    fn a_full_body_still_takes_what_the_path_asked_room_for() {
        let mut out = TransmitBuf::new(20, 10);
        out.set_path_room(2, 4);
        assert!(out.begin(0, 0));
        out.put_slice(&[1; 4]);
        assert_eq!(out.remaining(), 0);
        out.append(&[2; 4]);
        out.prepend(2).fill(3);
        assert_eq!(out.finish(), 0..10);
    }

    #[test]
    fn rollback_leaves_no_trace() {
        let mut out = TransmitBuf::new(40, 20);
        assert!(out.begin(0, 0));
        out.put_u64(1);
        let first = out.finish();
        assert!(out.begin(4, 4));
        out.put_u8(1);
        out.rollback();
        assert_eq!(out.len(), first.end);
        assert!(out.begin(0, 0));
        out.rollback();
        out.rollback();
    }

    #[test]
    fn room_that_was_not_taken_is_closed_between_neighbours() {
        let mut out = TransmitBuf::new(100, 10);
        let mut write = |front, byte| {
            assert!(out.begin(front, 0));
            out.put_slice(&[byte; 3]);
            let range = out.finish();
            (out.bytes(range.clone()) == [byte; 3]).then_some(range)
        };
        assert_eq!(write(2, 1), Some(2..5));
        let second = write(4, 2).unwrap();
        assert_eq!(second, 9..12);
        assert_eq!(out.close_gap(5, second), 5..8);
        assert_eq!(out.bytes(2..8), [1, 1, 1, 2, 2, 2]);
        assert_eq!(out.close_gap(5, 5..8), 5..8, "none there");
        assert_eq!(out.take_last(5..8), [2, 2, 2]);
        assert_eq!(out.len(), 5);
    }

    #[test]
    fn a_layer_below_may_use_the_room_of_the_path() {
        let mut out = TransmitBuf::new(32, 16);
        out.set_path_room(2, 3);
        assert!(out.begin(0, 0));
        let room = out.remaining();
        assert_eq!(room, 11);
        out.put_zeros(room);
        assert_eq!(out.remaining(), 0);
        out.prepend(2);
        out.put_slice(&[9; 3]);
        assert_eq!(out.finish(), 0..16);
    }

    #[test]
    fn a_full_buffer_refuses_and_path_room_is_kept() {
        let mut out = TransmitBuf::new(16, 10);
        out.set_path_room(4, 0);
        assert!(out.begin(0, 0));
        assert_eq!(out.remaining(), 6);
        out.put_slice(&[1; 6]);
        assert_eq!(out.remaining(), 0);
        let range = out.finish();
        assert_eq!(range, 4..10);
        assert!(!out.begin(0, 0), "six bytes are left, a segment needs ten");
        out.clear();
        assert!(!out.begin(8, 0), "rooms larger than the segment");
    }
}
