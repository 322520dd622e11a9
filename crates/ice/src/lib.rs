#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agent;
mod candidate;
mod check;
mod config;
mod contacts;
mod context;
mod deframe;
mod error;
mod event;
mod filter;
mod gather;
mod io;
mod message;
mod notice;
mod pacer;
mod paths;
mod placeholder;
mod session;
mod stats;

pub use agent::Agent;
pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, MAX_CANDIDATE_LEN, MAX_EXTENSIONS, MAX_NAME_LEN, Protocol, TcpType,
};
pub use check::{MAX_CONNECTIONS, MAX_EARLY_CHECKS, MAX_LOCAL_CANDIDATES, MAX_PAIRS, MAX_REMOTE_CANDIDATES};
pub use config::{
    Config, Credentials, IceServer, Role, ServerKind, ServerTransport, ServerUrl, Timing, TransportPolicy,
};
pub use contacts::{ContactBudget, MAX_CONTACTS};
pub use context::{MAX_EVENTS, MAX_IO_REQUESTS, MAX_OUTGOING};
pub use deframe::{Deframer, FRAME_HEADER_LEN, MAX_DEFRAME, frame_header};
pub use error::{AddressRangeError, CandidateError, CredentialsError, UrlError};
pub use event::{ConnectionState, Event, GatheringState};
pub use filter::{AddressRange, NatMapping, NetworkTypes, TcpCandidates};
pub use gather::{MAX_ALLOCATIONS, MAX_INTERFACES, MAX_MDNS_QUERIES, MAX_PROBES, MAX_SERVERS, MAX_STUN_CONNECTIONS};
pub use io::{Framing, IoEvent, IoRequest};
pub use placeholder::FIRST_RESERVED_CONNECTION;
pub use stats::{CandidateStats, Counters, PairState, PairStats, Stats, Traffic};
