//! Chunk types.
#![allow(missing_docs)]

pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const SACK: u8 = 3;
pub const HEARTBEAT: u8 = 4;
pub const HEARTBEAT_ACK: u8 = 5;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const ERROR: u8 = 9;
pub const COOKIE_ECHO: u8 = 10;
pub const COOKIE_ACK: u8 = 11;
pub const ECNE: u8 = 12;
pub const CWR: u8 = 13;
pub const SHUTDOWN_COMPLETE: u8 = 14;
pub const I_DATA: u8 = 64;
pub const RE_CONFIG: u8 = 130;
pub const PAD: u8 = 132;
pub const FORWARD_TSN: u8 = 192;
pub const I_FORWARD_TSN: u8 = 194;
