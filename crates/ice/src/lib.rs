#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agent;
mod candidate;
mod checklist;
mod checks;
mod config;
mod consent;
mod contacts;
mod deframe;
mod error;
mod event;
mod filter;
mod gather;
mod interfaces;
mod io;
mod local;
mod mdns;
mod nomination;
mod outgoing;
mod pair;
mod relay;
mod remote;
mod servers;
mod stats;
mod tcp;
mod tls_stun;
mod view;

pub use agent::{
    Agent, MAX_EARLY_CHECKS, MAX_EVENTS, MAX_IO_REQUESTS, MAX_LOCAL_CANDIDATES, MAX_MDNS_QUERIES, MAX_REMOTE_CANDIDATES,
};
pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, MAX_CANDIDATE_LEN, MAX_EXTENSIONS, MAX_NAME_LEN, Protocol, TcpType,
};
pub use config::{Config, Credentials, IceServer, Role, ServerKind, ServerTransport, ServerUrl, TransportPolicy};
pub use contacts::{ContactBudget, MAX_CONTACTS};
pub use deframe::{Deframer, FRAME_HEADER_LEN, MAX_DEFRAME, frame_header};
pub use error::{AddressRangeError, CandidateError, CredentialsError, UrlError};
pub use event::{ConnectionState, Event, GatheringState};
pub use filter::{AddressRange, NatMapping, NetworkTypes, TcpCandidates};
pub use gather::MAX_INTERFACES;
pub use io::{Framing, IoEvent, IoRequest};
pub use outgoing::MAX_OUTGOING;
pub use pair::MAX_PAIRS;
pub use relay::MAX_ALLOCATIONS;
pub use servers::{MAX_PROBES, MAX_SERVERS};
pub use stats::{CandidateStats, Counters, PairState, PairStats, Stats, Traffic};
pub use tcp::{FIRST_RESERVED_CONNECTION, MAX_CONNECTIONS};
pub use tls_stun::MAX_STUN_CONNECTIONS;
