//! The extension block of a packet: its two forms, walked and written (RFC 8285 §4).

/// Bytes before the elements: the profile and the length.
pub(super) const EXTENSION_HEADER_LEN: usize = 4;
/// The profile of the one-byte form (RFC 8285 §4.2).
pub(super) const ONE_BYTE_PROFILE: u16 = 0xbede;
/// The profile of the two-byte form, whose lower four bits may be others (RFC 8285 §4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;
/// Longest value written here; longer ones are left out (the two-byte form could carry 255).
const MAX_VALUE: usize = 255;

/// Why elements cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The one-byte form cannot carry one of them.
    Form,
    /// There is no room.
    Full,
}

/// The one-byte form; an element that does not fit it is a [`Misfit::Form`].
pub(super) const ONE_BYTE: u8 = 1;
/// The two-byte form, which fits all.
pub(super) const TWO_BYTE: u8 = 2;
/// The one-byte form; an element that does not fit it is left out.
pub(super) const ONE_BYTE_ONLY: u8 = 3;

/// An extension block that is being written: behind its header the elements so far, in one of the two forms of RFC 8285.
pub(super) struct Block<'a, const FORM: u8> {
    pub(super) room: &'a mut [u8],
    pub(super) len: usize,
}

impl<const FORM: u8> Block<'_, FORM> {
    /// The place of an element's data, behind its identifier and length; an empty one for an element that is left out.
    #[inline]
    fn place(&mut self, id: u8, len: usize) -> Result<&mut [u8], Misfit> {
        let head = if FORM == TWO_BYTE { 2 } else { 1 };
        // RFC 8285 §4.2: the one-byte form has identifiers 1 to 14 and 1 to 16 bytes of data.
        if FORM != TWO_BYTE && (id > 14 || len > 16) {
            return if FORM == ONE_BYTE_ONLY {
                Ok(&mut [])
            } else {
                Err(Misfit::Form)
            };
        }
        let end = self.len + head + len;
        let element = self.room.get_mut(self.len..end).ok_or(Misfit::Full)?;
        self.len = end;
        let (first, data) = element.split_at_mut(head);
        match first {
            [first] => *first = id << 4 | (len - 1) as u8,
            [first, second] => (*first, *second) = (id, len as u8),
            _ => {}
        }
        Ok(data)
    }

    /// An element of a length that the compiler knows.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self, id: u8, data: [u8; N]) -> Result<(), Misfit> {
        if let Some(place) = self.place(id, N)?.first_chunk_mut() {
            *place = data;
        }
        Ok(())
    }

    /// An element of any length; one that is empty, or too long for either form, is left out.
    #[inline]
    pub(super) fn bytes(&mut self, id: u8, data: &[u8]) -> Result<(), Misfit> {
        if data.is_empty() || data.len() > MAX_VALUE {
            return Ok(());
        }
        let place = self.place(id, data.len())?;
        // Identifiers of one character are what most peers use.
        match (&mut *place, data) {
            ([], _) => {}
            ([place], [data]) => *place = *data,
            (place, data) => place.copy_from_slice(data),
        }
        Ok(())
    }

    /// Pads the elements to whole words and writes the header; gives the length of all.
    #[inline]
    pub(super) fn close(self) -> Result<usize, Misfit> {
        let words = (self.len - EXTENSION_HEADER_LEN).div_ceil(4);
        let len = EXTENSION_HEADER_LEN + words * 4;
        let padding = self.room.get_mut(self.len..len).ok_or(Misfit::Full)?;
        padding.iter_mut().for_each(|byte| *byte = 0);
        let profile = if FORM == TWO_BYTE {
            TWO_BYTE_PROFILE
        } else {
            ONE_BYTE_PROFILE
        };
        let [head @ .., high, low] = self
            .room
            .first_chunk_mut::<EXTENSION_HEADER_LEN>()
            .ok_or(Misfit::Full)?;
        *head = profile.to_be_bytes();
        [*high, *low] = (words as u16).to_be_bytes();
        Ok(len)
    }
}

/// Walks the elements of an extension block: `(identifier, data)`. Padding is skipped. A broken element ends the walk, for nobody
/// knows where the next one begins; identifier 15 of the one-byte form ends it too (RFC 8285 §4.2).
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Elements<'a> {
    #[inline]
    pub(crate) fn new(profile: u16, data: &'a [u8]) -> Self {
        // RFC 8285 §4.3: 0x100 in the upper twelve bits, the lower four are "appbits" without meaning here.
        let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
        let known = two_byte || profile == ONE_BYTE_PROFILE;
        Self {
            rest: if known { data } else { &[] },
            two_byte,
        }
    }

    /// Takes the next element off `rest`; `None` ends the walk.
    #[inline]
    pub(super) fn take(rest: &mut &'a [u8], two_byte: bool) -> Option<(u8, &'a [u8])> {
        loop {
            let (&first, behind) = rest.split_first()?;
            let (id, len, behind) = if two_byte {
                if first == 0 {
                    *rest = behind;
                    continue;
                }
                let (&len, behind) = behind.split_first()?;
                (first, usize::from(len), behind)
            } else {
                (first >> 4, usize::from(first & 0xf) + 1, behind)
            };
            // One question for most elements: identifiers 1 to 14 are all that this form has.
            if !two_byte && !(1..15).contains(&id) {
                // RFC 8285 §4.2: identifier 15 stops the processing of the whole block.
                if id == 15 {
                    return None;
                }
                let skipped = if first == 0 { 0 } else { len };
                *rest = behind.get(skipped..)?;
                continue;
            }
            let (data, behind) = behind.split_at_checked(len)?;
            *rest = behind;
            return Some((id, data));
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let element = Self::take(&mut self.rest, self.two_byte);
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}
