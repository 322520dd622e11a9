//! Both ends' credentials of one generation, with the keys that they make.

use antiphon_sansio::Rng;
use antiphon_stun::Key;

use crate::config::Credentials;

/// Credentials with the key that they make.
#[derive(Debug)]
pub(crate) struct Keyed {
    credentials: Credentials,
    key: Key,
}

impl Keyed {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let key = Key::short_term(&credentials.password);
        Self { credentials, key }
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        // RFC 8445 §5.3 asks for 24 and 128 bits; V27 for more of the former, for one-port mode finds agents by it.
        Self::new(Credentials {
            ufrag: rng.ice_chars(8),
            password: rng.ice_chars(24),
        })
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) fn ufrag(&self) -> &str {
        &self.credentials.ufrag
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

/// Both ends' credentials of one generation.
#[derive(Debug)]
pub(crate) struct Session {
    generation: u32,
    local: Keyed,
    remote: Option<Keyed>,
}

impl Session {
    pub(crate) fn new(generation: u32, local: Keyed) -> Self {
        Self {
            generation,
            local,
            remote: None,
        }
    }

    /// How many restarts came before.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn local(&self) -> &Keyed {
        &self.local
    }

    pub(crate) fn remote(&self) -> Option<&Keyed> {
        self.remote.as_ref()
    }

    pub(crate) fn set_remote(&mut self, remote: Option<Keyed>) {
        self.remote = remote;
    }
}
