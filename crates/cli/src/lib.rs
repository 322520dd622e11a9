#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod args;
pub mod code;
pub mod link;
pub mod logging;
mod names;
pub mod program;
pub mod reach;
pub mod server;
pub mod sources;
mod stop;
pub mod stream;
pub mod text;
pub mod token;
pub mod transfer;
pub mod turn;
