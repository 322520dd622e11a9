//! The index by which the frames of a superframe are told apart (VP9 bitstream annex B).

use std::ops::Range;

use crate::bitstream::vp9::FrameHeader;

/// Most spatial layers (N_S has three bits), and most frames of a superframe.
pub const MAX_LAYERS: usize = 8;

/// The frames of a superframe by the index at its end (VP9 bitstream annex B); `None` if there is none.
pub(super) fn superframe(data: &[u8]) -> Option<([Range<usize>; MAX_LAYERS], usize)> {
    let &marker = data.last()?;
    if marker & 0xe0 != 0xc0 {
        return None;
    }
    let (count, bytes) = (usize::from(marker & 7) + 1, usize::from(marker >> 3 & 3) + 1);
    let index = data.len().checked_sub(2 + count * bytes)?;
    let sizes = data
        .get(index..data.len() - 1)?
        .split_first()
        .filter(|(first, _)| **first == marker)?
        .1;
    let mut frames = [const { 0..0 }; MAX_LAYERS];
    let mut at = 0;
    for (frame, size) in frames.iter_mut().zip(sizes.chunks_exact(bytes)) {
        let size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
        *frame = at..at + size;
        at += size;
        if size == 0 {
            return None;
        }
    }
    (at == index).then_some((frames, count))
}

/// The layer frames of a picture. A superframe with a frame that is not shown is none of layers: what is hidden goes with what is
/// shown, as one.
pub(super) fn layer_frames(picture: &[u8]) -> ([Range<usize>; MAX_LAYERS], usize) {
    if let Some((frames, count)) = superframe(picture) {
        let shown = |range: &Range<usize>| {
            let header = picture.get(range.clone()).and_then(FrameHeader::parse);
            header.is_some_and(|header| header.shown)
        };
        if count > 1 && frames[..count].iter().all(shown) {
            return (frames, count);
        }
    }
    let mut frames = [const { 0..0 }; MAX_LAYERS];
    frames[0] = 0..picture.len();
    (frames, 1)
}

/// Appends the superframe index of the frames that begin there, counted from `start`.
pub(super) fn write_index(begins: &[usize], start: usize, out: &mut Vec<u8>) {
    let len = out.len() - start;
    let ends = begins[1..].iter().copied().chain([len]);
    let sizes = begins.iter().zip(ends).map(|(begin, end)| end - begin);
    let largest = sizes.clone().max().unwrap_or(0) as u32;
    let bytes = (4 - largest.leading_zeros() as usize / 8).clamp(1, 4);
    let marker = 0xc0 | (bytes as u8 - 1) << 3 | (begins.len() as u8 - 1);
    out.push(marker);
    for size in sizes {
        out.extend_from_slice(&(size as u32).to_le_bytes()[..bytes]);
    }
    out.push(marker);
}
