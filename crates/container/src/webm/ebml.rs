//! EBML (RFC 8794): elements with their ids, sizes and simple values.

use std::io::{Read, Seek};

use crate::error::ReadError;
use crate::input::Input;

/// The header of an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) id: u32,
    /// Bytes of its contents; `None` if the writer did not know (RFC 8794 §6.2).
    pub(super) size: Option<u64>,
}

impl Element {
    pub(super) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            offset: self.offset,
            what,
        }
    }
}

/// Bytes that a variable-size integer with this first byte takes (RFC 8794 §4.1).
fn length(first: u8) -> usize {
    first.leading_zeros() as usize + 1
}

/// RFC 8794 §5, §6: the next element's header.
pub(super) fn read_header<R: Read + Seek>(input: &mut Input<R>) -> Result<Element, ReadError> {
    const WHAT: &str = "an element's header";
    let offset = input.position();
    let malformed = |what| ReadError::Malformed { offset, what };
    let mut bytes = [0; 12];
    let len = input.peek(&mut bytes)?;
    let bytes = &bytes[..len];
    let first = *bytes.first().ok_or_else(|| input.truncated(WHAT))?;
    let id_len = length(first);
    if id_len > 4 {
        return Err(malformed("an element's id has more than four bytes"));
    }
    let (id, rest) = bytes.split_at_checked(id_len).ok_or_else(|| input.truncated(WHAT))?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let (size, size_len) = parse_vint(rest).ok_or_else(|| match rest.first() {
        Some(0) => malformed("an element's size has more than eight bytes"),
        _ => input.truncated(WHAT),
    })?;
    input.skip((id_len + size_len) as u64, WHAT)?;
    Ok(Element { offset, id, size })
}

/// A variable-size integer without its marker, and how many bytes it takes. The integer is `None` if all its bits are set.
pub(super) fn parse_vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let len = length(first);
    let bytes = bytes.get(..len).filter(|_| len <= 8)?;
    let value = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = (1u64 << (7 * len)) - 1;
    let value = value & mask;
    Some(((value != mask).then_some(value), len))
}

/// An element of a parent in memory, with the place of its contents in the file.
#[derive(Clone, Copy)]
pub(super) struct Child<'a> {
    pub(super) id: u32,
    pub(super) data: &'a [u8],
    pub(super) offset: u64,
}

impl Child<'_> {
    /// RFC 8794 §7.2: big-endian, up to eight bytes, none is zero.
    pub(super) fn unsigned(&self) -> Result<u64, ReadError> {
        if self.data.len() > 8 {
            return Err(self.malformed("a number has more than eight bytes"));
        }
        Ok(self.data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// RFC 8794 §7.3: none, four or eight bytes.
    pub(super) fn float(&self) -> Result<f64, ReadError> {
        match *self.data {
            [] => Ok(0.0),
            [a, b, c, d] => Ok(f32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Ok(f64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => Err(self.malformed("a fraction has neither four nor eight bytes")),
        }
    }

    /// RFC 8794 §7.4: up to the first zero.
    pub(super) fn text(&self) -> String {
        let end = self.data.iter().position(|byte| *byte == 0).unwrap_or(self.data.len());
        String::from_utf8_lossy(&self.data[..end]).into_owned()
    }

    pub(super) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            offset: self.offset,
            what,
        }
    }
}

/// The elements within `data`, which stands at `offset` in the file.
pub(super) fn children(data: &[u8], offset: u64) -> impl Iterator<Item = Result<Child<'_>, ReadError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = data.get(at..).filter(|rest| !rest.is_empty())?;
        let here = offset + at as u64;
        let parse = || {
            let id_len = length(rest[0]);
            let (id, after) = rest.split_at_checked(id_len).filter(|_| id_len <= 4)?;
            let (size, size_len) = parse_vint(after)?;
            let start = id_len + size_len;
            let size = usize::try_from(size?).ok()?;
            let contents = rest.get(start..)?.get(..size)?;
            let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
            let child = Child {
                id,
                data: contents,
                offset: here + start as u64,
            };
            Some((child, start + size))
        };
        match parse() {
            Some((child, len)) => {
                at += len;
                Some(Ok(child))
            }
            None => {
                at = data.len();
                let what = "an element reaches past the end of its parent";
                Some(Err(ReadError::Malformed { offset: here, what }))
            }
        }
    })
}

/// The bytes of an id.
pub(super) fn put_id(id: u32, out: &mut Vec<u8>) {
    let bytes = id.to_be_bytes();
    out.extend_from_slice(&bytes[id.leading_zeros() as usize / 8..]);
}

/// A size in as few bytes as hold it.
pub(super) fn put_size(size: u64, out: &mut Vec<u8>) {
    // All bits set means that it is not known.
    let len = (1..8).find(|len| size < (1u64 << (7 * len)) - 1).unwrap_or(8);
    let bytes = (size | 1 << (7 * len)).to_be_bytes();
    out.extend_from_slice(&bytes[8 - len..]);
}

/// A size in eight bytes, so that it can be set later; `None` for one that is not known yet.
pub(super) fn long_size(size: Option<u64>) -> [u8; 8] {
    const MASK: u64 = (1 << 56) - 1;
    (size.unwrap_or(MASK).min(MASK) | 1 << 56).to_be_bytes()
}

/// An element with binary contents.
pub(super) fn put(id: u32, data: &[u8], out: &mut Vec<u8>) {
    put_id(id, out);
    put_size(data.len() as u64, out);
    out.extend_from_slice(data);
}

/// An element with a number, in as few bytes as hold it, but at least one.
pub(super) fn put_unsigned(id: u32, value: u64, out: &mut Vec<u8>) {
    let zeros = (value.leading_zeros() as usize / 8).min(7);
    put(id, &value.to_be_bytes()[zeros..], out);
}

/// An element with a fraction.
pub(super) fn put_float(id: u32, value: f64, out: &mut Vec<u8>) {
    put(id, &value.to_be_bytes(), out);
}

/// An element with others in it.
pub(super) fn put_master(id: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut contents = Vec::new();
    fill(&mut contents);
    put(id, &contents, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_read_as_they_were_written() {
        for size in [0, 126, 127, 128, 16_382, 16_383, 1 << 30, (1 << 49) - 1] {
            let mut out = Vec::new();
            put_size(size, &mut out);
            assert_eq!(parse_vint(&out), Some((Some(size), out.len())));
        }
        assert_eq!(parse_vint(&long_size(Some(5))), Some((Some(5), 8)));
        assert_eq!(parse_vint(&long_size(None)), Some((None, 8)));
        assert_eq!(parse_vint(&[0, 1]), None);
        let mut out = Vec::new();
        put_unsigned(0xd7, 0, &mut out);
        put_unsigned(0x4489, 300, &mut out);
        put_float(0xb5, 48_000.0, &mut out);
        let read: Vec<_> = children(&out, 100).map(Result::unwrap).collect();
        assert_eq!((read[0].id, read[0].unsigned().unwrap()), (0xd7, 0));
        assert_eq!((read[1].offset, read[1].unsigned().unwrap()), (106, 300));
        assert_eq!(read[2].float().unwrap(), 48_000.0);
        assert!(children(&[0xd7, 0x85, 1], 7).next().unwrap().is_err());
    }
}
