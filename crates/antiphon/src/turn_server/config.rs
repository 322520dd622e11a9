//! What the operator of a server decides.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antiphon_sansio::ClockAnchor;
use antiphon_turn::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::error::TurnServerError;

/// An address on which relayed sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The machine's own address.
    pub bind: IpAddr,
    /// The address that peers see: the same, unless a 1:1 NAT lies between.
    pub external: IpAddr,
}

/// A certificate for TURN over TLS.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The chain, in PEM.
    certificates: Vec<u8>,
    /// Its key, in PEM.
    key: Arc<zeroize::Zeroizing<Vec<u8>>>,
}

impl TlsIdentity {
    /// From PEM: the certificate chain, and the key of its first certificate. Looked at when the server starts.
    pub fn from_pem(certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self {
            certificates: certificates.into(),
            key: Arc::new(zeroize::Zeroizing::new(key.into())),
        }
    }

    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TurnServerError> {
        let wrong = |what: &str, error: &dyn fmt::Display| TurnServerError::Tls(format!("{what}: {error}"));
        let chain = CertificateDer::pem_slice_iter(&self.certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| wrong("certificate chain", &e))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|e| wrong("key", &e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("protocol versions", &e))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| wrong("certificate", &e))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(redacted)")
    }
}

/// What a [`TurnServer`](super::TurnServer) needs to know.
#[derive(Clone, Debug)]
pub struct TurnServerConfig {
    /// Where UDP is served, and TCP on the same port. A wildcard address stands for every address of the machine.
    pub listen: Vec<SocketAddr>,
    /// Whether TCP is served there too.
    pub tcp: bool,
    /// Where TLS is served; needs `identity`.
    pub tls_listen: Vec<SocketAddr>,
    /// The certificate for TLS.
    pub identity: Option<TlsIdentity>,
    /// A second address and port, both different from the first of `listen`: NAT behaviour discovery (RFC 5780).
    pub alternate: Option<SocketAddr>,
    /// Where relayed sockets are opened, at most one address of each family. Empty: the addresses that are listened on, or,
    /// for a wildcard, those of the default routes.
    pub relay: Vec<RelayAddress>,
    /// The ports of relayed sockets.
    pub relay_ports: RangeInclusive<u16>,
    /// The most TCP and TLS connections in all.
    pub max_connections: usize,
    /// The most TCP and TLS connections from one address.
    pub max_connections_per_address: usize,
    /// How long a connection may stay without an allocation.
    pub idle_connection: Duration,
    /// How long [`stop`](super::TurnServer::stop) waits for allocations to end.
    pub drain: Duration,
    /// Where Prometheus reads figures, by HTTP.
    pub metrics: Option<SocketAddr>,
    /// Users, quotas, and to whom is relayed. Its relay addresses are set when the server starts.
    pub server: ServerConfig,
}

impl TurnServerConfig {
    /// A server on port 3478 of every address, with nobody who may use it.
    pub fn new(realm: impl Into<String>) -> Self {
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 3478))],
            tcp: true,
            tls_listen: Vec::new(),
            identity: None,
            alternate: None,
            relay: Vec::new(),
            relay_ports: 49_152..=65_535,
            max_connections: 1024,
            max_connections_per_address: 64,
            idle_connection: Duration::from_secs(30),
            drain: Duration::ZERO,
            metrics: None,
            server: ServerConfig::new(realm, Vec::new()),
        }
    }

    /// Adds a user.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.server = self.server.user(name, password);
        self
    }

    /// Takes credentials that expire, made with this secret ("TURN REST API"): see `TimeLimited` of `antiphon-turn`.
    pub fn shared_secret(mut self, secret: impl Into<String>) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.server = self
            .server
            .shared_secret(secret, ClockAnchor::new(Instant::now(), unix));
        self
    }

    pub(super) fn check(&self) -> Result<(), TurnServerError> {
        let wrong = |why: &str| Err(TurnServerError::Config(why.to_owned()));
        if self.listen.is_empty() && self.tls_listen.is_empty() {
            return wrong("the server listens nowhere");
        }
        if !self.tls_listen.is_empty() && self.identity.is_none() {
            return wrong("TLS needs a certificate and its key");
        }
        if self.relay_ports.is_empty() || *self.relay_ports.start() == 0 {
            return wrong("the range of relayed ports is empty or holds port 0");
        }
        if self
            .relay
            .iter()
            .any(|relay| relay.bind.is_ipv4() != relay.external.is_ipv4())
        {
            return wrong("a relay address and the external address for it are of different families");
        }
        if let Some(alternate) = self.alternate {
            let Some(first) = self.listen.first() else {
                return wrong("behaviour discovery needs a first UDP address");
            };
            let distinct = first.ip() != alternate.ip() && first.port() != alternate.port();
            let plain = !first.ip().is_unspecified() && !alternate.ip().is_unspecified();
            if !distinct || !plain || first.is_ipv4() != alternate.is_ipv4() || alternate.port() == 0 {
                return wrong(
                    "behaviour discovery needs two addresses of one family that differ in address and port, no wildcards",
                );
            }
        }
        Ok(())
    }
}
