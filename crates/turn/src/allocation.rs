//! What a server keeps for one client.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Key, TransactionId};

use crate::client::{MAX_CHANNELS, MAX_PERMISSIONS};

/// RFC 8656 §9.
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// RFC 8656 §12.
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Permission {
    ip: IpAddr,
    expires: Instant,
}

#[derive(Debug)]
pub(crate) struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// One allocation (RFC 8656 §6).
#[derive(Debug)]
pub(crate) struct Allocation {
    /// The client's five-tuple.
    pub(crate) client: Path,
    pub(crate) username: String,
    pub(crate) key: Key,
    /// The relayed socket and its address.
    pub(crate) relay: Local,
    pub(crate) relayed: SocketAddr,
    pub(crate) expires: Instant,
    /// The request that made it: its repetition gets the same answer.
    pub(crate) made_by: TransactionId,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

impl Allocation {
    pub(crate) fn new(
        client: Path,
        username: String,
        key: Key,
        relay: Local,
        relayed: SocketAddr,
        expires: Instant,
        made_by: TransactionId,
    ) -> Self {
        Self {
            client,
            username,
            key,
            relay,
            relayed,
            expires,
            made_by,
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    pub(crate) fn is_permitted(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.ip == ip && permission.expires > now)
    }

    /// Installs or refreshes; `false` when there are too many.
    pub(crate) fn permit(&mut self, now: Instant, ip: IpAddr) -> bool {
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
    pub(crate) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr) -> Bound {
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

    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels
            .iter()
            .find(|channel| channel.number == number && channel.expires > now)
            .map(|channel| channel.peer)
    }

    pub(crate) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels
            .iter()
            .find(|channel| channel.peer == peer && channel.expires > now)
            .map(|channel| channel.number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Yes,
    Conflict,
    TooMany,
}
