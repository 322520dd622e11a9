//! What a server keeps for one client.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::AddressFamily;

use super::rate::Meter;
use super::request::{Asked, Caller};
use crate::client::{MAX_CHANNELS, MAX_PERMISSIONS};

/// RFC 8656 §9.
pub(super) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// RFC 8656 §12.
pub(super) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Permission {
    ip: IpAddr,
    expires: Instant,
}

#[derive(Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// A relayed socket and its address as peers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relayed {
    pub(super) local: Local,
    pub(super) addr: SocketAddr,
}

/// One allocation (RFC 8656 §6).
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) caller: Caller,
    /// One, or one of each family.
    pub(super) relays: Vec<Relayed>,
    /// The family that was asked for too and could not be had, and why.
    pub(super) missing: Option<(AddressFamily, u16)>,
    /// RESERVATION-TOKEN for the next port.
    pub(super) token: Option<[u8; 8]>,
    pub(super) expires: Instant,
    /// No refresh extends it beyond this.
    pub(super) ends: Option<Instant>,
    /// The request that made it: its repetition gets the same answer.
    pub(super) made_by: Asked,
    /// What it relayed, both directions together.
    pub(super) relayed: Meter,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// An Allocate request that waits for its sockets.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) client: Path,
    pub(super) caller: Caller,
    pub(super) asked: Asked,
    pub(super) lifetime: Duration,
    pub(super) deadline: Instant,
    /// Requests to the driver without an answer yet.
    pub(super) waiting: Vec<(u32, AddressFamily)>,
    pub(super) relays: Vec<Relayed>,
    pub(super) missing: Option<(AddressFamily, u16)>,
    pub(super) token: Option<[u8; 8]>,
}

/// A port beside an even one, kept for a second allocation of the same user.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) relay: Relayed,
    pub(super) username: String,
    pub(super) expires: Instant,
}

impl Allocation {
    pub(super) fn new(caller: Caller, relays: Vec<Relayed>, expires: Instant, made_by: Asked) -> Self {
        Self {
            caller,
            relays,
            missing: None,
            token: None,
            expires,
            ends: None,
            made_by,
            relayed: Meter::default(),
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// The relayed address that reaches this family.
    pub(super) fn relay_of(&self, family: AddressFamily) -> Option<Relayed> {
        self.relays
            .iter()
            .copied()
            .find(|relay| AddressFamily::of(relay.addr.ip()) == family)
    }

    pub(super) fn is_permitted(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.ip == ip && permission.expires > now)
    }

    /// Installs or refreshes; `false` when there are too many.
    pub(super) fn permit(&mut self, now: Instant, ip: IpAddr) -> bool {
        self.permissions.retain(|permission| permission.expires > now);
        let expires = now + PERMISSION_LIFETIME;
        if let Some(known) = self.permissions.iter_mut().find(|permission| permission.ip == ip) {
            known.expires = expires;
            return true;
        }
        if self.permissions.len() >= MAX_PERMISSIONS {
            return false;
        }
        self.permissions.push(Permission { ip, expires });
        true
    }

    /// Binds or refreshes (RFC 8656 §12.2): neither the number nor the peer may be bound otherwise.
    pub(super) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr) -> Bound {
        self.channels.retain(|channel| channel.expires > now);
        let expires = now + CHANNEL_LIFETIME;
        for channel in &mut self.channels {
            if channel.number == number && channel.peer == peer {
                channel.expires = expires;
                return Bound::Yes;
            }
            if channel.number == number || channel.peer == peer {
                return Bound::Conflict;
            }
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Bound::TooMany;
        }
        self.channels.push(Channel { number, peer, expires });
        Bound::Yes
    }

    pub(super) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels
            .iter()
            .find(|channel| channel.number == number && channel.expires > now)
            .map(|channel| channel.peer)
    }

    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels
            .iter()
            .find(|channel| channel.peer == peer && channel.expires > now)
            .map(|channel| channel.number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Yes,
    Conflict,
    TooMany,
}
