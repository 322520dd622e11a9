#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attribute;
mod description;
mod error;
mod grammar;
mod parser;
mod section;
mod text;

pub use attribute::{
    Attribute, Candidate, Direction, ExtMap, Fingerprint, Fmtp, Group, Msid, Rid, RidDirection, Rtcp, RtcpFeedback,
    RtpMap, Setup, Simulcast, SimulcastStream, Ssrc, SsrcGroup,
};
pub use description::{MAX_LENGTH, MediaDescription, MediaLine, Origin, SessionDescription};
pub use error::{ErrorKind, ParseError};
pub use section::{Bandwidth, Connection, Ending, Line, Section};
