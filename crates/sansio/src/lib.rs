#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod cursor;
mod datagram;
mod queue;
mod rng;
mod serial;
mod timer;
mod transmit_buf;

pub use clock::ClockAnchor;
pub use cursor::{Full, Reader, Short, Writer};
pub use datagram::{Datagram, Ecn, Local, Packet, Path, Transmit};
pub use queue::Queue;
pub use rng::Rng;
pub use serial::{Serial16, Serial32, Unwrapper16, Unwrapper32};
pub use timer::{TimerTable, earliest};
pub use transmit_buf::{MAX_RUN, MAX_RUN_BYTES, TransmitBuf};

pub use bytes::{Bytes, BytesMut};
