//! A reader of any input behind one type.

use std::io::{Read, Seek};

use antiphon_container::{Format, ReadError, Reader, Sample, Track};

/// What a file gives.
pub(super) trait Source: Send {
    fn format(&self) -> Format;
    fn tracks(&self) -> &[Track];
    fn next_sample(&mut self) -> Result<Option<Sample>, ReadError>;
    fn rewind(&mut self) -> Result<(), ReadError>;
}

impl<R: Read + Seek + Send> Source for Reader<R> {
    fn format(&self) -> Format {
        self.format()
    }

    fn tracks(&self) -> &[Track] {
        self.tracks()
    }

    fn next_sample(&mut self) -> Result<Option<Sample>, ReadError> {
        self.next_sample()
    }

    fn rewind(&mut self) -> Result<(), ReadError> {
        self.rewind()
    }
}
