//! What the types of header extensions have in common.

use antiphon_sansio::{Full, Writer};

use super::Kind;

/// A header extension that has a type of its own: one of [`Values::others`](super::Values::others).
pub trait Extension: Sized {
    /// The kinds that it reads: one, or the versions of one.
    const KINDS: &'static [Kind];

    /// Which of [`Self::KINDS`] it is written as.
    fn kind(&self) -> Kind;

    /// Reads the data of an element of `kind`; `None` if it is not of that form.
    fn parse(kind: Kind, data: &[u8]) -> Option<Self>;

    /// How many bytes [`Self::write`] writes: at least one, and at most 255 if it is to go into a header.
    fn written_len(&self) -> usize;

    /// Writes the data of an element.
    ///
    /// # Errors
    /// If there is no room for it in `out`.
    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full>;
}
