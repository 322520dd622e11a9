//! What gathering and the check list tell each other. They do not know each other: each leaves notices, and the agent
//! delivers them in order.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::Local;

use crate::candidate::{Candidate, CandidateKind, TcpType};
use crate::config::ServerTransport;

/// A candidate of ours that was found.
#[derive(Debug)]
pub(crate) struct NewLocal {
    pub(crate) kind: CandidateKind,
    /// The base's socket; of TCP candidates a placeholder.
    pub(crate) local: Local,
    /// The interface: the candidate goes when that goes.
    pub(crate) interface: IpAddr,
    /// Where the peer sees it.
    pub(crate) addr: SocketAddr,
    /// The base's address.
    pub(crate) base: SocketAddr,
    pub(crate) local_preference: u16,
    pub(crate) tcp_type: Option<TcpType>,
    /// The URL of the server that told of it.
    pub(crate) url: Option<String>,
    pub(crate) relay_protocol: Option<ServerTransport>,
    /// The address of that server: a part of the foundation.
    pub(crate) server: Option<IpAddr>,
    /// The name that stands for its address.
    pub(crate) name: Option<MdnsName>,
}

impl NewLocal {
    pub(crate) fn host(
        local: Local,
        interface: IpAddr,
        base: SocketAddr,
        local_preference: u16,
        tcp_type: Option<TcpType>,
    ) -> Self {
        Self {
            kind: CandidateKind::Host,
            local,
            interface,
            addr: base,
            base,
            local_preference,
            tcp_type,
            url: None,
            relay_protocol: None,
            server: None,
            name: None,
        }
    }
}

/// A `.local` name of ours.
#[derive(Debug)]
pub(crate) struct MdnsName {
    pub(crate) name: String,
    /// Somebody answers for it, so the peer may be told.
    pub(crate) published: bool,
}

/// One notice.
#[derive(Debug)]
pub(crate) enum Notice {
    /// From gathering: a candidate was found.
    Found(NewLocal),
    /// From gathering: these ends are gone, or everything on this interface, and with it candidates.
    Gone {
        ends: Vec<Local>,
        interface: Option<IpAddr>,
    },
    /// From gathering: this name of ours is answered for.
    Published { name: String },
    /// From gathering: the name of this candidate of the peer's has this address.
    Resolved { candidate: Candidate, addr: SocketAddr },
    /// From the check list: the peer has a new generation of candidates, so names of old ones do not matter.
    ForgetLookUps,
    /// From the check list: this candidate of the peer's has only a name.
    LookUp { name: String, candidate: Candidate },
    /// From the check list: this peer is going to be checked through an allocation.
    Permit { relay: u32, peer: IpAddr },
    /// From the check list: data is going to flow to this peer through an allocation.
    BindChannel { relay: u32, peer: SocketAddr },
}
