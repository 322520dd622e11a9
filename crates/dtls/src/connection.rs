use std::fmt;
use std::time::{Duration, Instant};

use antiphon_crypto::NamedGroup;
use antiphon_sansio::{Rng, TransmitBuf};
use bytes::{Bytes, BytesMut};

use crate::certificate::Fingerprint;
use crate::config::{CipherSuite, Config, ProtocolVersion, Role, SrtpKeys};
use crate::error::Error;
use crate::stats::Stats;

/// What a completed handshake has agreed on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The version.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The group of the key exchange.
    pub group: NamedGroup,
    /// Profile and master keys for SRTP, if use_srtp was agreed on.
    pub srtp: Option<SrtpKeys>,
    /// The peer's certificate, DER.
    pub peer_certificate: Bytes,
    /// Its fingerprint, by the hash function that signalling used.
    pub peer_fingerprint: Fingerprint,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete and the peer's certificate has a signalled fingerprint. Comes once, before any data.
    Connected(Box<Connected>),
    /// One record of application data, decrypted in place and cut from its datagram.
    ApplicationData(BytesMut),
    /// The connection ended by close_notify, the peer's or ours. Nothing follows.
    Closed,
    /// The connection failed. Nothing follows.
    Failed(Error),
}

/// One DTLS connection: either end, either version. Knows no address, no socket and no clock.
pub struct Connection {
    config: Config,
    role: Role,
    stats: Stats,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that has not begun. A client writes its ClientHello at the first [`Self::poll_transmit`].
    pub fn new(config: Config, role: Role, _now: Instant, _rng: Rng) -> Self {
        Self {
            config,
            role,
            stats: Stats::default(),
        }
    }

    /// Names the fingerprints, one of which the peer's certificate must have. The handshake may run before; until one of
    /// them is found to match, nothing is connected and nothing delivered.
    pub fn set_remote_fingerprints(&mut self, _now: Instant, _fingerprints: Vec<Fingerprint>) {}

    /// Takes one datagram from the peer. It is decrypted in place.
    pub fn handle_datagram(&mut self, _now: Instant, datagram: BytesMut) {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.len() as u64;
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Writes the next datagram of the handshake into a segment that it begins and leaves open.
    pub fn poll_transmit(&mut self, _now: Instant, _out: &mut TransmitBuf) -> bool {
        false
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Room that [`Self::seal`] needs in front of and behind the data, in bytes. The same before and after the handshake.
    pub fn overhead(&self) -> (usize, usize) {
        (21, 17)
    }

    /// Turns the body of the open segment into one record of application data, in place. The segment must have been begun
    /// with the room of [`Self::overhead`].
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`Event::Connected`] and after the end; the body is then unchanged.
    pub fn seal(&mut self, _out: &mut TransmitBuf) -> Result<(), Error> {
        Err(Error::NotConnected)
    }

    /// Tells the path's round-trip time, from which retransmission timers follow.
    pub fn set_rtt(&mut self, _rtt: Duration) {}

    /// Changes the largest datagram of the handshake.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.config.mtu = mtu.max(crate::config::MIN_MTU);
    }

    /// Keying material for another protocol (RFC 5705), `len` bytes.
    ///
    /// # Errors
    /// [`Error::NotConnected`] before [`Event::Connected`].
    pub fn export_keying_material(
        &self,
        _label: &str,
        _context: Option<&[u8]>,
        _len: usize,
    ) -> Result<antiphon_crypto::Secret, Error> {
        Err(Error::NotConnected)
    }

    /// Ends the connection with close_notify, which the next [`Self::poll_transmit`] writes.
    pub fn close(&mut self, _now: Instant) {}

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
