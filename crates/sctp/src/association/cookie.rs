//! The state cookie of INIT ACK (RFC 9260 §5.1.3).

use std::time::{Duration, Instant};

use antiphon_crypto::{constant_time_eq, hmac_sha256};
use antiphon_sansio::{Reader, Serial32};

use crate::chunk::Capabilities;

/// Bytes of the MAC behind the cookie's fields.
const MAC_LEN: usize = 32;
const FIELDS_LEN: usize = 48;

/// What INIT ACK gives away and COOKIE ECHO brings back: everything that an association is made of, so that INIT alone
/// costs nothing (RFC 9260 §5.1.3). Authenticated with a key that never leaves the association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    /// Milliseconds since the association object was made.
    pub(super) created: u64,
    pub(super) local_tag: u32,
    pub(super) local_tsn: Serial32,
    pub(super) peer_tag: u32,
    pub(super) peer_tsn: Serial32,
    pub(super) peer_rwnd: u32,
    /// How many streams we may send on.
    pub(super) streams: u16,
    /// How many streams the peer may send on.
    pub(super) incoming: u16,
    pub(super) capabilities: Capabilities,
    /// The tags in use when INIT came; zero if none (RFC 9260 §5.2.2).
    pub(super) tie_local: u32,
    pub(super) tie_peer: u32,
}

/// Why a cookie was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CookieError {
    /// Not ours.
    Forged,
    /// Ours, and too old.
    Stale { by: Duration, peer_tag: u32 },
}

pub(super) fn milliseconds(epoch: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(epoch).as_millis() as u64
}

impl Cookie {
    pub(super) fn seal(&self, key: &[u8; 32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIELDS_LEN + MAC_LEN);
        bytes.extend(self.created.to_be_bytes());
        for field in [
            self.local_tag,
            self.local_tsn.get(),
            self.peer_tag,
            self.peer_tsn.get(),
            self.peer_rwnd,
            self.tie_local,
            self.tie_peer,
            self.capabilities.zero_checksum.unwrap_or(0),
        ] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(self.streams.to_be_bytes());
        bytes.extend(self.incoming.to_be_bytes());
        bytes.extend(flags(&self.capabilities).to_be_bytes());
        debug_assert_eq!(bytes.len(), FIELDS_LEN);
        let mac = hmac_sha256(key, &[&bytes]);
        bytes.extend_from_slice(mac.as_bytes());
        bytes
    }

    pub(super) fn open(
        bytes: &[u8],
        key: &[u8; 32],
        epoch: Instant,
        now: Instant,
        lifetime: Duration,
    ) -> Result<Self, CookieError> {
        if bytes.len() != FIELDS_LEN + MAC_LEN {
            return Err(CookieError::Forged);
        }
        let (fields, mac) = bytes.split_at(FIELDS_LEN);
        if !constant_time_eq(hmac_sha256(key, &[fields]).as_bytes(), mac) {
            return Err(CookieError::Forged);
        }
        let cookie = Self::parse(fields).ok_or(CookieError::Forged)?;
        let age = milliseconds(epoch, now).saturating_sub(cookie.created);
        let lifetime = lifetime.as_millis() as u64;
        if age > lifetime {
            let by = Duration::from_millis(age - lifetime);
            return Err(CookieError::Stale {
                by,
                peer_tag: cookie.peer_tag,
            });
        }
        Ok(cookie)
    }

    fn parse(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let created = reader.u64().ok()?;
        let mut word = || reader.u32().ok();
        let (local_tag, local_tsn, peer_tag, peer_tsn) = (word()?, word()?, word()?, word()?);
        let (peer_rwnd, tie_local, tie_peer, zero_checksum) = (word()?, word()?, word()?, word()?);
        let (streams, incoming) = (reader.u16().ok()?, reader.u16().ok()?);
        let flags = reader.u32().ok()?;
        Some(Self {
            created,
            local_tag,
            local_tsn: Serial32::new(local_tsn),
            peer_tag,
            peer_tsn: Serial32::new(peer_tsn),
            peer_rwnd,
            streams,
            incoming,
            capabilities: capabilities(flags, zero_checksum),
            tie_local,
            tie_peer,
        })
    }
}

/// What the peer can do, one bit each.
fn flags(capabilities: &Capabilities) -> u32 {
    [
        capabilities.forward_tsn,
        capabilities.re_config,
        capabilities.interleaving,
        capabilities.interleaved_forward_tsn,
        capabilities.extensions,
        capabilities.ecn,
    ]
    .into_iter()
    .fold(0, |flags, flag| flags << 1 | u32::from(flag))
}

fn capabilities(flags: u32, zero_checksum: u32) -> Capabilities {
    let flag = |at: u32| flags >> at & 1 != 0;
    Capabilities {
        forward_tsn: flag(5),
        re_config: flag(4),
        interleaving: flag(3),
        interleaved_forward_tsn: flag(2),
        extensions: flag(1),
        ecn: flag(0),
        zero_checksum: Some(zero_checksum).filter(|method| *method != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn forged_stale_and_genuine() {
        let epoch = Instant::now();
        let cookie = Cookie {
            created: 1000,
            local_tag: 1,
            local_tsn: Serial32::new(2),
            peer_tag: 3,
            peer_tsn: Serial32::new(4),
            peer_rwnd: 5,
            streams: 6,
            incoming: 9,
            capabilities: Capabilities {
                forward_tsn: true,
                re_config: true,
                interleaving: false,
                interleaved_forward_tsn: true,
                extensions: false,
                ecn: true,
                zero_checksum: Some(1),
            },
            tie_local: 7,
            tie_peer: 8,
        };
        let key = [9; 32];
        let open = |bytes: &[u8], key: &[u8; 32], ms| {
            let now = epoch + Duration::from_millis(ms);
            Cookie::open(bytes, key, epoch, now, Duration::from_secs(60))
        };
        let sealed = cookie.seal(&key);
        assert_eq!(open(&sealed, &key, 61_000), Ok(cookie));
        let stale = CookieError::Stale {
            by: Duration::from_millis(5),
            peer_tag: 3,
        };
        assert_eq!(open(&sealed, &key, 61_005), Err(stale));
        assert_eq!(
            open(&sealed, &[8; 32], 1000),
            Err(CookieError::Forged),
            "another endpoint's"
        );
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(open(&forged, &key, 1000), Err(CookieError::Forged));
            assert_eq!(open(&sealed[..at], &key, 1000), Err(CookieError::Forged));
        }
    }
}
