//! Ogg encapsulation of Opus (RFC 7845).

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;
