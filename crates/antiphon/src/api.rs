//! Where peer connections come from.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use antiphon_dtls::Certificate;
use antiphon_peer_connection as core;
use antiphon_sansio::{ClockAnchor, Rng};
use core::RtcConfiguration;
use ring::rand::SecureRandom;
use tokio::sync::mpsc;

use crate::certificates::Certificates;
use crate::driver::Driver;
use crate::driver::inbox::{Sender, ToDriver, inbox};
use crate::driver::message::{PeerId, RouterId};
use crate::driver::peer::Peer;
use crate::environment::Environment;
use crate::error::Error;
use crate::events;
use crate::handle::{PeerConnection, PeerHandle};
use crate::interfaces::InterfaceFilter;
use crate::net::tcp::Trust;
use crate::router::{Router, RouterOptions};

/// Peers that may wait for a driver that takes them; who makes more waits.
const MAX_NEWCOMERS: usize = 64;
/// Requests that may wait for a driver; callers wait beyond that.
const MAX_REQUESTS: usize = 1024;
/// The same of a driver with many peers: packets that are forwarded come to each of them at once.
const MAX_SHARED_REQUESTS: usize = 16 * 1024;

/// Chooses how peer connections reach the network; see [`Api::builder`].
#[derive(Clone, Debug, Default)]
pub struct ApiBuilder {
    filter: InterfaceFilter,
    ports: Option<RangeInclusive<u16>>,
    one_port: Option<u16>,
    ice_lite: bool,
    trust: Trust,
    certificate: Option<Arc<Certificate>>,
}

impl ApiBuilder {
    /// Whether loopback addresses become candidates. Off by default, as in browsers.
    #[must_use]
    pub fn loopback(mut self, yes: bool) -> Self {
        self.filter.loopback = yes;
        self
    }

    /// Whether IPv6 addresses become candidates. On by default.
    #[must_use]
    pub fn ipv6(mut self, yes: bool) -> Self {
        self.filter.ipv6 = yes;
        self
    }

    /// Gathers these addresses and no others.
    #[must_use]
    pub fn only_addresses(mut self, only: Option<Vec<IpAddr>>) -> Self {
        self.filter.only = only;
        self
    }

    /// Gathers the addresses of the interfaces with these names and no others.
    #[must_use]
    pub fn only_interfaces(mut self, names: Vec<String>) -> Self {
        self.filter.interfaces = Some(names);
        self
    }

    /// Which of the machine's addresses become candidates, in full; the methods above set single fields of it.
    #[must_use]
    pub fn interface_filter(mut self, filter: InterfaceFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Sockets, and listeners for TCP candidates, are bound to ports of this range, for firewalls; a connection whose own settings
    /// have a range keeps it. Each peer takes a port per interface address.
    #[must_use]
    pub fn port_range(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Trusts these certificates (PEM, one or more) when a TURN or STUN server speaks TLS, besides those that the platform
    /// trusts.
    ///
    /// # Errors
    /// [`Error::TrustedCertificates`] if the text holds no certificate or a broken one.
    ///
    /// ```
    /// let not_a_certificate = antiphon::Api::builder().trusted_certificates_pem(b"nothing");
    /// assert!(matches!(not_a_certificate, Err(antiphon::Error::TrustedCertificates(_))));
    /// ```
    pub fn trusted_certificates_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        let added = Trust::parse_pem(pem).map_err(Error::TrustedCertificates)?;
        self.trust.extra.extend(added);
        Ok(self)
    }

    /// Believes every server's TLS certificate. For tests: whoever sits between learns the TURN user name, and can relay or drop
    /// what he likes. Media and data stay encrypted end to end.
    #[must_use]
    pub fn danger_accept_any_server_certificate(mut self, yes: bool) -> Self {
        self.trust.accept_any = yes;
        self
    }

    /// One-port mode: all peers of this [`Api`] share one UDP port (0: chosen by the system), one socket per interface address,
    /// and one task. Without it each peer has sockets and a task of its own.
    #[must_use]
    pub fn one_port(mut self, port: u16) -> Self {
        self.one_port = Some(port);
        self
    }

    /// ICE-lite (RFC 8445 §2.5): peers of this [`Api`] have host candidates only, answer checks and send none, and follow the other
    /// end's choice. For servers that every peer can reach at an address that the server knows; such a server sends nothing to
    /// addresses that peers merely name. Off by default. A lite peer cannot talk to another lite peer:
    /// [`set_remote_description`](PeerHandle::set_remote_description) then fails.
    #[must_use]
    pub fn ice_lite(mut self, yes: bool) -> Self {
        self.ice_lite = yes;
        self
    }

    /// Uses this certificate for every peer whose configuration names none. Without it each peer has one of its own, made ahead,
    /// so that two that it talks to cannot tell by it that it is the same (RFC 8827 §6.5).
    #[must_use]
    pub fn certificate(mut self, certificate: Arc<Certificate>) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Makes the [`Api`]; in one-port mode binds its port.
    ///
    /// # Errors
    /// [`Error::Bind`] if the port is taken; [`Error::Peer`] if no certificate could be made; [`Error::Randomness`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn build(self) -> Result<Api, Error> {
        let certificates = Certificates::new(self.certificate)?;
        let environment = Arc::new(Environment::new(self.filter, self.trust));
        let shared = match self.one_port {
            None => None,
            Some(port) => {
                let (newcomers, coming) = mpsc::channel(MAX_NEWCOMERS);
                let (sender, receiver) = inbox(MAX_SHARED_REQUESTS);
                let mut driver = Box::new(Driver::new(receiver, environment.clone()));
                driver.share(port, coming)?;
                let addresses = driver.addresses();
                tokio::spawn(driver.run());
                Some(SharedDriver {
                    newcomers,
                    sender,
                    addresses,
                })
            }
        };
        Ok(Api {
            inner: Arc::new(Inner {
                environment,
                ports: self.ports,
                lite: self.ice_lite,
                certificates,
                shared,
                next: AtomicU64::new(0),
            }),
        })
    }
}

struct SharedDriver {
    newcomers: mpsc::Sender<(PeerId, Box<Peer>)>,
    sender: Sender,
    addresses: Vec<SocketAddr>,
}

struct Inner {
    environment: Arc<Environment>,
    ports: Option<RangeInclusive<u16>>,
    lite: bool,
    certificates: Arc<Certificates>,
    shared: Option<SharedDriver>,
    next: AtomicU64,
}

/// Makes peer connections. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("one_port", &self.inner.shared.is_some())
            .finish_non_exhaustive()
    }
}

impl Api {
    /// Sockets of its own for every peer; no loopback candidates.
    ///
    /// # Errors
    /// As [`ApiBuilder::build`].
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// For everything else.
    pub fn builder() -> ApiBuilder {
        ApiBuilder::default()
    }

    /// In one-port mode, the addresses that are bound; otherwise none.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.inner.shared.as_ref().map_or(&[], |shared| &shared.addresses)
    }

    /// Makes a router, by which peers of this [`Api`] get what others of it send: see [`crate::router`].
    ///
    /// # Errors
    /// [`Error::NotOnePort`].
    pub fn router(&self, options: RouterOptions) -> Result<Router, Error> {
        let shared = self.inner.shared.as_ref().ok_or(Error::NotOnePort)?;
        let id = RouterId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        Ok(Router::new(id, shared.sender.clone(), options))
    }

    /// Makes a peer connection (W3C `new RTCPeerConnection(configuration)`).
    ///
    /// # Errors
    /// [`Error::Peer`] if the configuration is refused; [`Error::Randomness`]; [`Error::Closed`] if the shared driver is gone.
    pub async fn peer_connection(&self, configuration: RtcConfiguration) -> Result<PeerConnection, Error> {
        self.make(configuration, self.inner.lite).await
    }

    /// The same, for a connection to a peer that is lite: of two ends one must ask.
    pub(crate) async fn asking_peer_connection(
        &self,
        configuration: RtcConfiguration,
    ) -> Result<PeerConnection, Error> {
        self.make(configuration, false).await
    }

    async fn make(&self, mut configuration: RtcConfiguration, lite: bool) -> Result<PeerConnection, Error> {
        let mut seed = [0; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| Error::Randomness)?;
        if configuration.certificates.is_empty() {
            configuration.certificates.push(self.inner.certificates.take()?);
        }
        configuration.settings.ice.include_loopback |= self.inner.environment.filter.loopback;
        configuration.settings.ice.shared_sockets |= self.inner.shared.is_some();
        configuration.settings.ice.lite |= lite;
        configuration
            .settings
            .ice
            .contacts
            .get_or_insert_with(|| self.inner.environment.contacts.clone());
        if configuration.settings.ice.port_range.is_none() {
            configuration.settings.ice.port_range.clone_from(&self.inner.ports);
        }
        let now = Instant::now();
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let machine = core::PeerConnection::new(configuration, now, ClockAnchor::new(now, unix), Rng::from_seed(seed))?;

        let id = PeerId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        let (events, incoming) = events::queue();
        let make = |inbox: Sender| {
            let driver = Arc::new(ToDriver { peer: id, inbox });
            let peer = Box::new(Peer::new(machine, Arc::downgrade(&driver), events));
            (driver, peer)
        };
        let driver = match &self.inner.shared {
            Some(shared) => {
                let (driver, peer) = make(shared.sender.clone());
                let sent = shared.newcomers.send((id, peer)).await;
                sent.map_err(|_| Error::Closed)?;
                driver
            }
            None => {
                let (sender, receiver) = inbox(MAX_REQUESTS);
                let (driver, peer) = make(sender);
                let mut own = Box::new(Driver::new(receiver, self.inner.environment.clone()));
                own.insert(id, peer);
                tokio::spawn(own.run());
                driver
            }
        };
        Ok(PeerConnection::new(PeerHandle::new(driver), incoming))
    }
}
