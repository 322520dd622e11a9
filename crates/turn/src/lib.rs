#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod allocation;
mod channel_data;
mod client;
mod error;
mod login;
mod nonce;
mod policy;
mod server;
mod stream;

pub use channel_data::{CHANNEL_HEADER_LEN, CHANNEL_NUMBERS, channel_header, is_channel_data, parse_channel_data};
pub use client::{Client, ClientConfig, ClientEvent, MAX_CHANNELS, MAX_PERMISSIONS};
pub use error::AllocationError;
pub use policy::PeerPolicy;
pub use server::{MAX_QUEUE, MAX_RELAYED, Server, ServerAnswer, ServerConfig, ServerCounters, ServerRequest};
pub use stream::{MAX_FRAME, StreamFramer};
