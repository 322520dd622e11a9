//! Error cause codes (RFC 9260 §3.3.10).
#![allow(missing_docs)]

pub const INVALID_STREAM: u16 = 1;
pub const STALE_COOKIE: u16 = 3;
pub const UNRECOGNIZED_CHUNK: u16 = 6;
pub const NO_USER_DATA: u16 = 9;
pub const USER_INITIATED_ABORT: u16 = 12;
pub const PROTOCOL_VIOLATION: u16 = 13;
