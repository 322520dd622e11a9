//! Memory that messages were put together in, to be used again.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Smaller messages are left to the allocator, which is good at them.
const MIN_SPARE: usize = 16 * 1024;
/// What is kept at most while nobody uses it.
const MAX_SPARE_BYTES: usize = 1024 * 1024;

/// Handles of the buffers that went out last. Large blocks that are freed go back to the system, page by page, and cost
/// more to get again than to fill: a buffer whose message its reader has dropped takes the next one.
#[derive(Debug, Default)]
pub(super) struct Spares {
    /// With what each holds, oldest first.
    handles: VecDeque<(usize, BytesMut)>,
    bytes: usize,
}

impl Spares {
    /// Room for a message of `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        if len >= MIN_SPARE
            && let Some((size, oldest)) = self.handles.front_mut()
            // A small message must not hold much more than its bytes, which are all that the window counts.
            && *size <= 2 * len
            && oldest.try_reclaim(len)
            && let Some((size, buffer)) = self.handles.pop_front()
        {
            self.bytes -= size;
            return buffer;
        }
        BytesMut::with_capacity(len)
    }

    /// The message that was put together, for its reader.
    pub(super) fn hand_out(&mut self, mut buffer: BytesMut) -> Bytes {
        let size = buffer.capacity();
        if !(MIN_SPARE..=MAX_SPARE_BYTES).contains(&size) {
            return buffer.freeze();
        }
        let message = buffer.split().freeze();
        self.bytes += size;
        self.handles.push_back((size, buffer));
        while self.bytes > MAX_SPARE_BYTES
            && let Some((size, _)) = self.handles.pop_front()
        {
            self.bytes -= size;
        }
        message
    }

    /// Gives all of it back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of so many bytes, and where it lies.
    fn message(spares: &mut Spares, len: usize) -> (Bytes, usize) {
        let mut buffer = spares.take(len);
        buffer.resize(len, 7);
        let message = spares.hand_out(buffer);
        assert_eq!(message.len(), len);
        let place = message.as_ptr() as usize;
        (message, place)
    }

    #[test]
    fn memory_is_used_again_when_the_reader_has_dropped_the_message() {
        let mut spares = Spares::default();
        let (first, place) = message(&mut spares, 65_536);
        let (second, elsewhere) = message(&mut spares, 65_536);
        assert_ne!(place, elsewhere);
        drop(first);
        let (third, again) = message(&mut spares, 65_536);
        assert_eq!(again, place);
        drop((second, third));
        // A larger one does not fit, a much smaller one would waste it, one that is a little smaller gets it.
        let (_, small) = message(&mut spares, 20_000);
        assert_ne!(small, elsewhere);
        let (_, larger) = message(&mut spares, 100_000);
        assert_ne!(larger, elsewhere);
        let (_, smaller) = message(&mut spares, 40_000);
        assert_eq!(smaller, elsewhere);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spares = Spares::default();
        let held: Vec<_> = (0..100).map(|_| message(&mut spares, 65_536)).collect();
        assert_eq!(spares.handles.len(), MAX_SPARE_BYTES / 65_536);
        drop(held);
        message(&mut spares, MAX_SPARE_BYTES + 1);
        message(&mut spares, MIN_SPARE - 1);
        assert!(spares.bytes <= MAX_SPARE_BYTES);
        assert_eq!(spares.bytes, spares.handles.iter().map(|(size, _)| size).sum());
        spares.clear();
        assert!(spares.handles.is_empty());
    }
}
