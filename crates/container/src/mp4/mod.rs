//! MP4 (ISO/IEC 14496-12): plain and fragmented files are read, fragmented ones written.

mod boxes;
mod fragment;
mod movie;
mod reader;
mod sample_entry;
mod tables;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;
