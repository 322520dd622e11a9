//! Blocks (RFC 9559 §10): whose they are, when, and the frames in them, of which there may be several.

use super::ebml::parse_vint;

/// A block without its frames.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) track: u64,
    /// From the cluster's time, in its ticks.
    pub(super) time: i16,
    /// Of a simple block: whether it can be decoded alone.
    pub(super) key_frame: bool,
    pub(super) frames: Vec<&'a [u8]>,
}

/// RFC 9559 §10.1, §10.2; `None` if its lengths do not fit.
pub(super) fn parse(data: &[u8]) -> Option<Block<'_>> {
    let (track, len) = parse_vint(data)?;
    let ([a, b, flags], rest) = data.get(len..)?.split_first_chunk::<3>()?;
    let frames = match flags >> 1 & 3 {
        0 => vec![rest],
        lacing => {
            let (count, rest) = rest.split_first()?;
            laced(lacing, usize::from(*count) + 1, rest)?
        }
    };
    Some(Block {
        track: track?,
        time: i16::from_be_bytes([*a, *b]),
        key_frame: flags & 0x80 != 0,
        frames,
    })
}

/// RFC 9559 §10.3: `count` frames, the last of which takes what is left.
fn laced(lacing: u8, count: usize, mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    const XIPH: u8 = 1;
    const FIXED: u8 = 2;
    let mut sizes: Vec<usize> = Vec::with_capacity(count);
    for _ in 1..count {
        let size = match lacing {
            XIPH => {
                let ones = rest.iter().take_while(|byte| **byte == 255).count();
                let last = *rest.get(ones)?;
                rest = &rest[ones + 1..];
                ones * 255 + usize::from(last)
            }
            FIXED => rest.len().is_multiple_of(count).then_some(rest.len() / count)?,
            _ => {
                // RFC 9559 §10.3.3: the first as it is, the others by how they differ from the one before.
                let (value, len) = parse_vint(rest)?;
                rest = &rest[len..];
                let value = i64::try_from(value?).ok()?;
                match sizes.last() {
                    None => usize::try_from(value).ok()?,
                    Some(before) => {
                        let middle = (1i64 << (7 * len - 1)) - 1;
                        usize::try_from(i64::try_from(*before).ok()?.checked_add(value - middle)?).ok()?
                    }
                }
            }
        };
        sizes.push(size);
    }
    let mut frames = Vec::with_capacity(count);
    for size in sizes {
        let (frame, after) = rest.split_at_checked(size)?;
        frames.push(frame);
        rest = after;
    }
    frames.push(rest);
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laced_frames_are_told_apart() {
        let frames = |data: &'static [u8]| parse(data).unwrap().frames;
        assert_eq!(frames(&[0x81, 0, 1, 0x80, 9, 8]), [[9, 8]]);
        // Xiph: 1, then what is left.
        assert_eq!(frames(&[0x81, 0, 1, 0x02, 1, 1, 9, 8, 7]), [&[9][..], &[8, 7]]);
        assert_eq!(frames(&[0x81, 0, 1, 0x04, 1, 9, 8]), [[9], [8]]);
        // EBML: 2, one fewer, what is left.
        assert_eq!(
            frames(&[0x81, 0, 1, 0x06, 2, 0x82, 0xbe, 1, 2, 3, 4]),
            [&[1, 2][..], &[3], &[4]]
        );
        assert_eq!(parse(&[0x81, 0, 1, 0x04, 1, 9]), None);
        assert_eq!(parse(&[0x81, 0, 1, 0x02, 1, 9, 8]), None);
        assert_eq!(parse(&[0x81, 0]), None);
        let block = parse(&[0x82, 0xff, 0xfe, 0]).unwrap();
        assert_eq!((block.track, block.time, block.key_frame), (2, -2, false));
    }
}
