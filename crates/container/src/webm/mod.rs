//! WebM and Matroska (RFC 9559) over EBML (RFC 8794).

mod codecs;
mod ebml;
mod ids;
mod lacing;
mod reader;
mod tracks;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;
