#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod channel_data;
mod client;
mod error;
mod indication;
mod login;
mod server;
mod stream;

pub use channel_data::{
    CHANNEL_HEADER_LEN, CHANNEL_NUMBERS, OLDER_CHANNEL_NUMBERS, channel_header, is_channel_data, parse_channel_data,
};
pub use client::{Client, ClientConfig, ClientEvent, MAX_CHANNELS, MAX_PERMISSIONS};
pub use error::AllocationError;
pub use server::{
    BehaviourSockets, MAX_GAIN_TENTHS, MAX_QUEUE, MAX_QUEUE_BYTES, MAX_RELAYED, PeerPolicy, Rate, Server, ServerAnswer,
    ServerConfig, ServerCounters, ServerRequest, TimeLimited,
};
pub use stream::{MAX_FRAME, StreamFramer};
