//! The file that is read: where we are in it, how much there is, and that nothing larger is asked for.

use std::io::{BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::error::ReadError;

/// A file, its position and its length.
#[derive(Debug)]
pub(crate) struct Input<R> {
    inner: BufReader<R>,
    position: u64,
    len: u64,
}

impl<R: Read + Seek> Input<R> {
    /// Reads from the beginning.
    pub(crate) fn new(mut inner: R) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { offset: 0, source };
        let len = inner.seek(SeekFrom::End(0)).map_err(io)?;
        inner.seek(SeekFrom::Start(0)).map_err(io)?;
        Ok(Self {
            inner: BufReader::new(inner),
            position: 0,
            len,
        })
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.len - self.position
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.remaining() == 0
    }

    fn io(&self, source: std::io::Error) -> ReadError {
        ReadError::Io {
            offset: self.position,
            source,
        }
    }

    /// Fills `buffer`, which is a part of `what`.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), ReadError> {
        if buffer.len() as u64 > self.remaining() {
            return Err(self.truncated(what));
        }
        self.inner.read_exact(buffer).map_err(|source| self.io(source))?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        self.fill(&mut array, what)?;
        Ok(array)
    }

    /// The next `len` bytes: never more than the file has, nor than `limit`.
    pub(crate) fn take(&mut self, len: u64, what: &'static str, limit: usize) -> Result<Vec<u8>, ReadError> {
        if len > self.remaining() {
            return Err(self.truncated(what));
        }
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= limit) else {
            return Err(ReadError::TooLarge {
                offset: self.position,
                what,
                limit: limit as u64,
            });
        };
        let mut bytes = vec![0; len];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// As [`Self::take`], for what is handed on.
    pub(crate) fn bytes(&mut self, len: u64, what: &'static str, limit: usize) -> Result<Bytes, ReadError> {
        self.take(len, what, limit).map(Bytes::from)
    }

    /// Up to `buffer.len()` of the bytes that follow, without moving on.
    pub(crate) fn peek(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let len = usize::try_from(self.remaining())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let at = self.position;
        self.fill(&mut buffer[..len], "the beginning")?;
        self.seek(at)?;
        Ok(len)
    }

    /// Goes to a place in the file; one behind its end is its end.
    pub(crate) fn seek(&mut self, to: u64) -> Result<(), ReadError> {
        let to = to.min(self.len);
        let result = match i64::try_from(i128::from(to) - i128::from(self.position)) {
            Ok(step) => self.inner.seek_relative(step),
            Err(_) => self.inner.seek(SeekFrom::Start(to)).map(|_| ()),
        };
        result.map_err(|source| self.io(source))?;
        self.position = to;
        Ok(())
    }

    /// Leaves out `len` bytes of `what`, which must be there.
    pub(crate) fn skip(&mut self, len: u64, what: &'static str) -> Result<(), ReadError> {
        if len > self.remaining() {
            return Err(self.truncated(what));
        }
        self.seek(self.position + len)
    }

    pub(crate) fn truncated(&self, what: &'static str) -> ReadError {
        ReadError::Truncated {
            offset: self.position,
            what,
        }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> ReadError {
        ReadError::Malformed {
            offset: self.position,
            what,
        }
    }
}
