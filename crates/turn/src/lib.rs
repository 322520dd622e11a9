#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod channel_data;
mod client;
mod error;
mod stream;

pub use channel_data::{CHANNEL_HEADER_LEN, CHANNEL_NUMBERS, channel_header, is_channel_data, parse_channel_data};
pub use client::{Client, ClientConfig, ClientEvent, MAX_CHANNELS, MAX_PERMISSIONS};
pub use error::AllocationError;
pub use stream::{MAX_FRAME, StreamFramer};
