#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod candidate;
mod config;
mod error;
mod event;
mod io;
mod stats;

pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, MAX_CANDIDATE_LEN, MAX_EXTENSIONS, MAX_NAME_LEN, Protocol, TcpType,
};
pub use config::{Config, Credentials, IceServer, Role, ServerKind, ServerTransport, ServerUrl, TransportPolicy};
pub use error::{CandidateError, CredentialsError, UrlError};
pub use event::{ConnectionState, Event, GatheringState};
pub use io::{IoEvent, IoRequest};
pub use stats::{CandidateStats, Counters, PairState, PairStats, Stats};
