//! Reading and writing big-endian fields in borrowed memory.

/// The input ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("input ends before the field does")
    }
}

impl std::error::Error for Short {}

/// Reads big-endian fields from the front of a borrowed slice. Never panics; a failed read consumes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! read_uint {
    ($($name:ident: $ty:ty, $bytes:literal;)*) => {$(
        #[doc = concat!("Reads ", stringify!($bytes), " bytes as a big-endian number.")]
        ///
        /// # Errors
        /// [`Short`] if the input ends before.
        #[inline]
        pub fn $name(&mut self) -> Result<$ty, Short> {
            let field = self.take($bytes)?;
            Ok(field.iter().fold(0, |value, byte| (value << 8) | <$ty>::from(*byte)))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Reads from the start of `input`.
    #[inline]
    pub fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Short> {
        let (first, rest) = self.rest.split_first().ok_or(Short)?;
        self.rest = rest;
        Ok(*first)
    }

    read_uint! {
        u16: u16, 2;
        u24: u32, 3;
        u32: u32, 4;
        u48: u64, 6;
        u64: u64, 8;
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes a vector that is preceded by its length in one byte (RFC 8446 §3.4 `<..2^8-1>`).
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn vec8(&mut self) -> Result<&'a [u8], Short> {
        self.prefixed(|r| r.u8().map(usize::from))
    }

    /// Takes a vector that is preceded by its length in two bytes.
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn vec16(&mut self) -> Result<&'a [u8], Short> {
        self.prefixed(|r| r.u16().map(usize::from))
    }

    /// Takes a vector that is preceded by its length in three bytes.
    ///
    /// # Errors
    /// [`Short`] if the input ends before.
    #[inline]
    pub fn vec24(&mut self) -> Result<&'a [u8], Short> {
        self.prefixed(|r| r.u24().map(|len| len as usize))
    }

    #[inline]
    fn prefixed(&mut self, length: impl FnOnce(&mut Self) -> Result<usize, Short>) -> Result<&'a [u8], Short> {
        let mut ahead = *self;
        let len = length(&mut ahead)?;
        let body = ahead.take(len)?;
        *self = ahead;
        Ok(body)
    }

    /// Everything not read yet, without consuming it.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Number of bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The output slice has no room for the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the output has no room for the field")
    }
}

impl std::error::Error for Full {}

/// Writes big-endian fields into a borrowed slice. Never panics; a failed write changes nothing.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `buffer`.
    #[inline]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Appends one byte.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_u8(&mut self, value: u8) -> Result<(), Full> {
        self.put_slice(&[value])
    }

    /// Appends two bytes, big-endian.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_u16(&mut self, value: u16) -> Result<(), Full> {
        self.put_slice(&value.to_be_bytes())
    }

    /// Appends the low three bytes of `value`, big-endian.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_u24(&mut self, value: u32) -> Result<(), Full> {
        self.put_slice(&value.to_be_bytes()[1..])
    }

    /// Appends four bytes, big-endian.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_u32(&mut self, value: u32) -> Result<(), Full> {
        self.put_slice(&value.to_be_bytes())
    }

    /// Appends eight bytes, big-endian.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn put_u64(&mut self, value: u64) -> Result<(), Full> {
        self.put_slice(&value.to_be_bytes())
    }

    /// Appends `len` bytes and hands them out to be filled; they hold whatever the buffer held.
    ///
    /// # Errors
    /// [`Full`] if the buffer ends before; nothing is written then.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], Full> {
        let end = self.len.checked_add(len).ok_or(Full)?;
        let field = self.buffer.get_mut(self.len..end).ok_or(Full)?;
        self.len = end;
        Ok(field)
    }

    /// Number of bytes written.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of bytes that still fit.
    #[inline]
    pub fn free(&self) -> usize {
        self.buffer.len() - self.len
    }

    /// Forgets everything after the first `len` bytes; does nothing if fewer are written.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Whether nothing has been written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written, for patching lengths and checksums.
    #[inline]
    pub fn written_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// What has been written, with the lifetime of the buffer.
    #[inline]
    pub fn finish(self) -> &'a mut [u8] {
        &mut self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut reader = Reader::new(&[0, 5, 1, 2]);
        assert_eq!(reader.vec16(), Err(Short));
        assert_eq!(reader.remaining(), 4);
        assert_eq!(reader.u16(), Ok(5));
        assert_eq!(reader.u24(), Err(Short));
        assert_eq!(reader.array(), Ok([1, 2]));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.put_u16(0x0102).unwrap();
        assert_eq!(writer.put_u32(9), Err(Full));
        writer.put_u8(3).unwrap();
        assert_eq!(writer.finish(), &[1, 2, 3]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u8, b: u16, c in 0u32..1 << 24, d: u32, e: u64, tail: Vec<u8>) {
            let mut buffer = vec![0; 18 + tail.len()];
            let mut w = Writer::new(&mut buffer);
            w.put_u8(a).unwrap();
            w.put_u16(b).unwrap();
            w.put_u24(c).unwrap();
            w.put_u32(d).unwrap();
            w.put_u64(e).unwrap();
            w.put_slice(&tail).unwrap();
            let mut r = Reader::new(&buffer);
            prop_assert_eq!((r.u8(), r.u16(), r.u24(), r.u32(), r.u64()), (Ok(a), Ok(b), Ok(c), Ok(d), Ok(e)));
            prop_assert_eq!(r.rest(), &tail[..]);
        }
    }
}
