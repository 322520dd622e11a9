//! A file of any format, read.

use std::io::{Read, Seek};

use crate::error::ReadError;
use crate::format::Format;
use crate::input::Input;
use crate::track::{Sample, Track};
use crate::{annex_b, ivf, mp4, obu, ogg, webm};

/// Reads tracks and samples of a file, whatever its format.
///
/// It holds what the file's tables take and one sample, never the whole file. Bytes in memory are read through a
/// [`Cursor`](std::io::Cursor).
#[derive(Debug)]
pub struct Reader<R> {
    kind: Kind<R>,
    format: Format,
}

#[derive(Debug)]
enum Kind<R> {
    Ivf(ivf::Reader<R>),
    Ogg(ogg::Reader<R>),
    WebM(webm::Reader<R>),
    Mp4(Box<mp4::Reader<R>>),
    AnnexB(annex_b::Reader<R>),
    Obu(obu::Reader<R>),
}

/// Does the same with each kind of reader.
macro_rules! each {
    ($kind:expr, $reader:ident => $do:expr) => {
        match $kind {
            Kind::Ivf($reader) => $do,
            Kind::Ogg($reader) => $do,
            Kind::WebM($reader) => $do,
            Kind::Mp4($reader) => $do,
            Kind::AnnexB($reader) => $do,
            Kind::Obu($reader) => $do,
        }
    };
}

impl<R: Read + Seek> Reader<R> {
    /// Opens a file of the format that its first bytes tell, and reads as far as its tracks.
    ///
    /// # Errors
    /// [`ReadError`], with the byte at which the file is not what it should be.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut input = Input::new(input)?;
        let mut first = [0; 64];
        let len = input.peek(&mut first)?;
        let format = Format::of_bytes(&first[..len]).ok_or(ReadError::UnknownFormat)?;
        let kind = match format {
            Format::Ivf => Kind::Ivf(ivf::Reader::new(input)?),
            Format::Ogg => Kind::Ogg(ogg::Reader::new(input)?),
            Format::WebM => Kind::WebM(webm::Reader::new(input)?),
            Format::Mp4 => Kind::Mp4(Box::new(mp4::Reader::new(input)?)),
            Format::H264 | Format::H265 => Kind::AnnexB(annex_b::Reader::new(input)?),
            Format::Obu => Kind::Obu(obu::Reader::new(input)?),
        };
        Ok(Self { kind, format })
    }

    /// The file's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What is in the file, from one to [`MAX_TRACKS`](crate::MAX_TRACKS).
    pub fn tracks(&self) -> &[Track] {
        each!(&self.kind, reader => reader.tracks())
    }

    /// The next sample: in the order of the file, or, where the file keeps tracks apart, in that of decoding. `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]. What came before is good; nothing comes after it. [`ReadError::Truncated`] is how the file of a writer that
    /// died ends.
    pub fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        each!(&mut self.kind, reader => reader.next_sample())
    }

    /// Goes back to the first sample.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the file cannot go there.
    pub fn rewind(&mut self) -> Result<(), ReadError> {
        each!(&mut self.kind, reader => reader.rewind())
    }
}
