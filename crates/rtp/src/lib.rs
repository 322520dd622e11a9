#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bitstream;
mod error;
pub mod extension;
pub mod fec;
pub mod packet;
pub mod payload;
mod rid;
pub mod rtcp;

pub use error::ParseError;
pub use rid::Rid;
