//! Boxes (ISO/IEC 14496-12 §4.2): a size, a name of four characters, contents.

use std::io::{Read, Seek};

use crate::error::ReadError;
use crate::input::Input;

/// The name of a box.
pub(super) type Name = [u8; 4];

/// The header of a box in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) name: Name,
    /// Where it ends.
    pub(super) end: u64,
}

/// The next box of the file; `None` at its end.
pub(super) fn read_header<R: Read + Seek>(input: &mut Input<R>) -> Result<Option<Header>, ReadError> {
    const WHAT: &str = "a box's header";
    if input.is_at_end() {
        return Ok(None);
    }
    let offset = input.position();
    let [a, b, c, d, name @ ..] = input.array::<8>(WHAT)?;
    let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (input.len() - offset, 8),
        1 => (u64::from_be_bytes(input.array(WHAT)?), 16),
        size => (u64::from(size), 8),
    };
    let end = offset.checked_add(size).filter(|_| size >= header);
    let Some(end) = end else {
        let what = "a box is smaller than its header";
        return Err(ReadError::Malformed { offset, what });
    };
    Ok(Some(Header { offset, name, end }))
}

/// A box in memory, with the place of its contents in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) name: Name,
    pub(super) data: &'a [u8],
    pub(super) offset: u64,
}

impl<'a> Part<'a> {
    pub(super) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            offset: self.offset,
            what,
        }
    }

    /// The boxes in it, behind `skip` bytes of its own.
    pub(super) fn children(&self, skip: usize) -> impl Iterator<Item = Result<Part<'a>, ReadError>> + use<'a> {
        let (data, offset) = (self.data, self.offset);
        let mut at = skip;
        std::iter::from_fn(move || {
            // Some writers leave a few zeros at the end.
            let rest = data.get(at..).filter(|rest| rest.len() >= 8)?;
            let here = offset + at as u64;
            match split(rest) {
                Some((name, header, size)) => {
                    at += size;
                    let part = Part {
                        name,
                        data: &rest[header..size],
                        offset: here + header as u64,
                    };
                    Some(Ok(part))
                }
                None => {
                    at = data.len();
                    let what = "a box reaches past the end of the one around it";
                    Some(Err(ReadError::Malformed { offset: here, what }))
                }
            }
        })
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &Name) -> Result<Option<Part<'a>>, ReadError> {
        for part in self.children(0) {
            let part = part?;
            if part.name == *name {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// A child that must be there.
    pub(super) fn must(&self, name: &Name, what: &'static str) -> Result<Part<'a>, ReadError> {
        self.child(name)?.ok_or_else(|| self.malformed(what))
    }

    /// Fields, from the first byte on.
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields {
            part: *self,
            rest: self.data,
        }
    }
}

/// Name, bytes of the header, and bytes in all of the box that `data` begins with.
fn split(data: &[u8]) -> Option<(Name, usize, usize)> {
    let ([a, b, c, d, name @ ..], rest) = data.split_first_chunk::<8>()?;
    let (size, header) = match u32::from_be_bytes([*a, *b, *c, *d]) {
        0 => (data.len(), 8),
        1 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 16),
        size => (size as usize, 8),
    };
    (header..=data.len()).contains(&size).then_some((*name, header, size))
}

/// Fields of a box, one after another.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    part: Part<'a>,
    pub(super) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let what = "a box is shorter than its fields";
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.part.malformed(what))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number that has eight bytes in the first version of a box and later, else four.
    pub(super) fn long(&mut self, version: u8) -> Result<u64, ReadError> {
        match version {
            0 => self.u32().map(u64::from),
            _ => self.array().map(u64::from_be_bytes),
        }
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), ReadError> {
        let what = "a box is shorter than its fields";
        self.rest = self.rest.get(count..).ok_or_else(|| self.part.malformed(what))?;
        Ok(())
    }

    /// Version and flags of a full box (§4.2).
    pub(super) fn version(&mut self) -> Result<(u8, u32), ReadError> {
        let [version, flags @ ..] = self.array::<4>()?;
        let [a, b, c] = flags;
        Ok((version, u32::from_be_bytes([0, a, b, c])))
    }

    /// As many entries of `N` bytes as a count says, which must be there.
    pub(super) fn entries<const N: usize>(
        &mut self,
    ) -> Result<impl Iterator<Item = &'a [u8; N]> + use<'a, N>, ReadError> {
        let count = self.u32()? as usize;
        let (entries, _) = self.rest.as_chunks::<N>();
        let what = "a table has fewer entries than it says";
        let entries = entries.get(..count).ok_or_else(|| self.part.malformed(what))?;
        Ok(entries.iter())
    }
}

/// Writes a box.
pub(super) fn put(name: &Name, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(name);
    fill(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Writes a full box.
pub(super) fn put_full(name: &Name, version: u8, flags: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    put(name, out, |out| {
        put_u32(u32::from(version) << 24 | flags, out);
        fill(out);
    });
}

pub(super) fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Bytes that are reserved.
pub(super) fn put_zeros(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, 0);
}
