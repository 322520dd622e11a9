//! Lists of entries that are all of one length.

use std::fmt;

use antiphon_sansio::{Full, Writer};

/// One entry of a list.
pub trait Entry: Copy {
    /// Bytes of an entry.
    const LEN: usize;

    /// Reads one of [`Self::LEN`] bytes; `None` if there are fewer.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Writes one.
    ///
    /// # Errors
    /// If there is no room for it in `out`.
    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full>;
}

/// A list of entries, as it came or as it is to be written.
#[derive(Clone)]
pub struct Entries<'a, T>(Source<'a, T>);

#[derive(Clone)]
enum Source<'a, T> {
    Wire(&'a [u8]),
    Values(&'a [T]),
}

impl<'a, T: Entry> Entries<'a, T> {
    /// The entries of a slice.
    pub fn of(values: &'a [T]) -> Self {
        Self(Source::Values(values))
    }

    /// Those that came; bytes behind the last whole one are left alone.
    #[inline]
    pub(super) fn wire(bytes: &'a [u8]) -> Self {
        Self(Source::Wire(bytes))
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        self.clone().try_for_each(|entry| entry.write(out))
    }
}

impl<T: Entry> Iterator for Entries<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::Wire(bytes) => {
                let (first, rest) = bytes.split_at_checked(T::LEN)?;
                *bytes = rest;
                T::read(first)
            }
            Source::Values(values) => {
                let (first, rest) = values.split_first()?;
                *values = rest;
                Some(*first)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match &self.0 {
            Source::Wire(bytes) => bytes.len() / T::LEN,
            Source::Values(values) => values.len(),
        };
        (len, Some(len))
    }
}

impl<T: Entry> ExactSizeIterator for Entries<'_, T> {}

impl<T: Entry + PartialEq> PartialEq for Entries<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl<T: Entry + fmt::Debug> fmt::Debug for Entries<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// An SSRC, or another number of 32 bits.
impl Entry for u32 {
    const LEN: usize = 4;

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| Self::from_be_bytes(*bytes))
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u32(*self)
    }
}
