//! `antiphon serve`: the page, the WebSocket, WHEP and WHIP, and the peers behind them.

mod chat;
mod http;
mod media;
mod metrics;
mod quota;
mod rooms;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use antiphon::room::{ClusterBus, ClusterOptions, NatsOptions, ServerOptions};
use antiphon::{Api, ApiBuilder, CandidateKind, RtcConfiguration, RtcIceServer, RtcIceTransportPolicy};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args::ServeArgs;
use crate::sources::Studio;
use crate::stop::Stop;
use crate::text::print_line;
use crate::token::SecretText;
use chat::Hall;
use http::{Identity, Shared, Web};
use media::{Setup, steer};
pub use quota::Patience;
use quota::{Door, Gate, Limits, Places};
use rooms::{Keeper, Rooms};

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A TCP address is taken or not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address that `--listen` or `--metrics` names.
        addr: SocketAddr,
        /// What the system said of it.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot serve over TLS: {0}")]
    Tls(io::Error),
    /// The certificates to trust for TURN servers cannot be used.
    #[error("cannot trust {0}")]
    Trust(io::Error),
    /// What is given as a token or as a secret is none.
    #[error("{0}")]
    Token(String),
    /// The rooms cannot be served, or this server cannot be a node of the cluster.
    #[error("cannot serve rooms: {0}")]
    Rooms(#[from] antiphon::room::Error),
    /// No peer connections can be made.
    #[error(transparent)]
    Peers(#[from] antiphon::Error),
    /// The web server stopped.
    #[error("the web server stopped: {0}")]
    Web(#[from] io::Error),
}

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    gate: Arc<Gate>,
    shared: Shared,
    stop: watch::Sender<bool>,
    metrics: Option<TcpListener>,
}

impl Server {
    /// Binds the TCP address, and the UDP port in one-port mode.
    ///
    /// # Errors
    /// [`ServeError::Listen`], [`ServeError::Tls`], [`ServeError::Trust`], [`ServeError::Token`], [`ServeError::Peers`].
    pub async fn bind(args: &ServeArgs) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen {
            addr: args.listen,
            source,
        };
        let listener = TcpListener::bind(args.listen).await.map_err(listen)?;
        let metrics = match args.metrics {
            Some(addr) => {
                let bound = TcpListener::bind(addr).await;
                Some(bound.map_err(|source| ServeError::Listen { addr, source })?)
            }
            None => None,
        };
        let identity = match (&args.tls_cert, &args.tls_key) {
            (Some(chain), Some(key)) => Some(Identity::Files(chain, key)),
            _ => args
                .tls
                .then(|| Identity::SelfSigned(args.listen.ip(), &args.allow_hosts)),
        };
        let tls = identity
            .as_ref()
            .map(http::config)
            .transpose()
            .map_err(ServeError::Tls)?;
        // Loopback candidates too: the page may well be opened on this machine, and costs nothing elsewhere.
        let mut builder = args
            .reach
            .builder(Api::builder().loopback(true))
            .map_err(ServeError::Trust)?;
        builder = builder.ice_lite(args.lite);
        let api = on_one_port(&builder, args)?;
        let secret = args.jwt_secret.as_ref().map(SecretText::read).transpose();
        let secret = secret.map_err(|why| ServeError::Token(format!("--jwt-secret: {why}")))?;
        let (stop, stopped) = watch::channel(false);
        let connections = connections(args);
        let sessions = Places::new(Limits::new(args.max_sessions, args.max_per_address));
        let setup = Setup {
            api,
            configuration: configuration(args),
            studio: Studio::new(),
            video: args.codec,
            link: args.link,
            hall: Arc::new(Hall::new(sessions.clone())),
        };
        let shared = Shared::new(
            setup,
            Rooms::new(room_options(args), Keeper::new(secret)),
            Arc::new(Door::new(args)),
            sessions,
            // Whatever they are for, WebSockets leave the page its half of the connections.
            Places::new(Limits::new(connections / 2, args.max_per_address)),
            stopped,
        );
        shared.rooms.join_cluster().await?;
        Ok(Self {
            listener,
            tls,
            gate: Gate::new(Limits::new(connections, args.max_per_address.map(connections_each))),
            shared,
            stop,
            metrics,
        })
    }

    /// Waits for strangers as long as this, instead of the default.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.shared.patience = patience;
        self
    }

    /// The TCP address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The TCP address of the figures, if they are asked for.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// `http`, or `https` with a certificate.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `shutdown` completes; then says goodbye to every peer, for as long as [`Patience::stop`] at most.
    ///
    /// # Errors
    /// [`ServeError::Web`].
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let shared = Arc::new(self.shared);
        let web = Web {
            listener: self.listener,
            tls: self.tls,
            gate: self.gate,
            patience: shared.patience,
            stop: shared.stopped.clone(),
        };
        if let Some(listener) = self.metrics {
            let web = Web {
                listener,
                tls: None,
                gate: Gate::new(Limits::new(METRICS_CONNECTIONS, None)),
                patience: shared.patience,
                stop: shared.stopped.clone(),
            };
            tokio::spawn(web.serve(http::metrics_router(shared.clone())));
        }
        let mut web = tokio::spawn(web.serve(http::router(shared.clone())));
        tokio::select! {
            ended = &mut web => return ended.map_err(|e| ServeError::Web(io::Error::other(e))),
            () = shutdown => {}
        }
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(shared.patience.stop, async {
            let ended = web.await;
            shared.emptied().await;
            ended
        });
        let ended = ended.await;
        shared.rooms.close().await;
        match ended {
            Ok(ended) => ended.map_err(|e| ServeError::Web(io::Error::other(e))),
            Err(_) => {
                tracing::warn!(
                    sessions = shared.occupied(),
                    "stopped before every peer had said goodbye"
                );
                Ok(())
            }
        }
    }
}

/// Connections beside those of sessions: pages, their parts, and who has not said yet what it wants. Each may cost some 20 KiB.
const CONNECTIONS_BESIDE: usize = 128;
/// Connections of those who read figures.
const METRICS_CONNECTIONS: usize = 16;
/// Connections for each session.
const CONNECTIONS_EACH: usize = 2;
/// Connections of one browser beside those of its sessions: they open six for a page.
const BROWSER: usize = 8;
/// Descriptors for each session: UDP sockets on some interfaces of both families, TCP, one for a relay.
const DESCRIPTORS_EACH: usize = 8;
/// Descriptors for everything else.
const DESCRIPTORS_BESIDE: usize = 64;

/// Connections of an address with so many sessions.
fn connections_each(sessions: usize) -> usize {
    sessions.saturating_mul(CONNECTIONS_EACH).saturating_add(BROWSER)
}

/// How many TCP connections there may be, so that descriptors are left for the media of the sessions.
fn connections(args: &ServeArgs) -> usize {
    let sessions = args.max_sessions;
    let wanted = sessions
        .saturating_mul(CONNECTIONS_EACH)
        .saturating_add(CONNECTIONS_BESIDE);
    let descriptors = descriptors();
    let media = sessions
        .saturating_mul(DESCRIPTORS_EACH)
        .saturating_add(DESCRIPTORS_BESIDE);
    let left = descriptors.saturating_sub(media).max(descriptors / 4).max(1);
    if left < wanted {
        tracing::debug!(descriptors, connections = left, "few descriptors: see ulimit -n");
    }
    wanted.min(left)
}

/// Ports for rooms beside that of `--udp-port`.
const ROOM_PORTS: u16 = 16;
/// Ports of `--ports` that are tried before all of them count as taken.
const MAX_TRIED: u16 = 128;
/// Threads for rooms: each has a port, and there are [`ROOM_PORTS`].
const MAX_ROOM_WORKERS: usize = ROOM_PORTS as usize;

/// How many descriptors this process may have.
#[cfg(unix)]
fn descriptors() -> usize {
    let limit = rlimit::Resource::NOFILE.get_soft();
    limit.ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(1024)
}

#[cfg(not(unix))]
fn descriptors() -> usize {
    usize::MAX
}

/// Room in a session's buffers beside the largest message.
const ROOM_BESIDE_MESSAGE: usize = 4 * 1024 * 1024;

/// What makes peer connections: all on one port, so that what one sends can go to the others within its task. It is that of
/// `--udp-port`, else the first free one of `--ports`, else as the system chooses.
fn on_one_port(builder: &ApiBuilder, args: &ServeArgs) -> Result<Api, antiphon::Error> {
    let (first, last) = match (args.udp_port, &args.reach.ports) {
        (Some(port), _) => (port, port),
        (None, Some(ports)) => (*ports.start(), *ports.end()),
        (None, None) => (0, 0),
    };
    let last = last.min(first.saturating_add(MAX_TRIED));
    let mut port = first;
    loop {
        match builder.clone().one_port(port).build() {
            Err(antiphon::Error::Bind { .. }) if port < last => port += 1,
            built => return built,
        }
    }
}

/// The servers and the policy that the flags name.
fn configuration(args: &ServeArgs) -> RtcConfiguration {
    let server = |url: &String| RtcIceServer {
        urls: vec![url.clone()],
        // A STUN server asks for neither.
        username: args.ice_username.clone().unwrap_or_default(),
        credential: args.ice_password.clone().unwrap_or_default(),
    };
    let mut configuration = RtcConfiguration {
        ice_servers: args.ice_servers.iter().map(server).collect(),
        ice_transport_policy: if args.relay_only {
            RtcIceTransportPolicy::Relay
        } else {
            RtcIceTransportPolicy::All
        },
        ..RtcConfiguration::default()
    };
    args.reach.configure(&mut configuration);
    if args.lite {
        // RFC 8445 §5.2: a lite agent has host candidates only. Who reaches us through the NAT knows no other address of ours.
        for mapping in &mut configuration.settings.ice.nat_mappings {
            mapping.kind = CandidateKind::Host;
        }
    }
    steer(&mut configuration.settings.media, args.congestion);
    let data = &mut configuration.settings.data;
    data.max_receive_message = args.max_message as usize;
    // A whole message, what is under way behind it, and the same on its way back.
    let buffer = data.max_receive_message + ROOM_BESIDE_MESSAGE;
    data.receive_buffer = data.receive_buffer.max(buffer);
    data.send_buffer = data.send_buffer.max(buffer);
    configuration
}

/// How the rooms are reached: on ports of their own, next to that of `--udp-port`, of `--ports`, or as the system chooses.
fn room_options(args: &ServeArgs) -> ServerOptions {
    let ports = match (&args.reach.ports, args.udp_port) {
        (Some(ports), _) => (*ports.start(), *ports.end()),
        (None, Some(port)) if port > 0 => (port.saturating_add(1), port.saturating_add(ROOM_PORTS)),
        _ => (0, 0),
    };
    let announced = &args.reach.nat_addresses;
    ServerOptions {
        workers: std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_ROOM_WORKERS),
        min_port: ports.0,
        max_port: ports.1,
        announced_ipv4: announced.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        }),
        announced_ipv6: announced.iter().find_map(|address| match address {
            IpAddr::V6(v6) => Some(*v6),
            IpAddr::V4(_) => None,
        }),
        cluster: args
            .span
            .cluster
            .as_ref()
            .map(|url| cluster_options(args, url.as_str())),
        ..ServerOptions::default()
    }
}

/// How the server becomes a node of the cluster.
fn cluster_options(args: &ServeArgs, url: &str) -> ClusterOptions {
    let mut nats = NatsOptions::new(url);
    nats.root_certificates.clone_from(&args.span.cluster_ca);
    // The hashers of the standard library have a random seed.
    let random = || format!("node-{:08x}", RandomState::new().hash_one(std::process::id()) as u32);
    ClusterOptions {
        node: args.span.node.clone().unwrap_or_else(random),
        bus: ClusterBus::Nats(nats),
    }
}

/// Runs `antiphon serve` until SIGINT or SIGTERM.
///
/// # Errors
/// Any [`ServeError`].
pub async fn run(mut args: ServeArgs) -> Result<(), ServeError> {
    args.read_tokens(|name| std::env::var_os(name))
        .map_err(ServeError::Token)?;
    let stop = Stop::new()?;
    // As many descriptors as the system grants: the soft limit is often 1024, for programs that use select(2).
    #[cfg(unix)]
    if let Err(error) = rlimit::increase_nofile_limit(MAX_DESCRIPTORS) {
        tracing::debug!(%error, "the limit of descriptors stays as it was");
    }
    let server = Server::bind(&args).await?;
    let addr = server.local_addr()?;
    print_line(format_args!(
        "Antiphon serves at {}://{addr}  (WHEP /whep, WHIP /whip; Ctrl-C stops)",
        server.scheme()
    ));
    if let Some(addr) = server.metrics_addr() {
        print_line(format_args!("  figures for Prometheus: http://{addr}/metrics"));
    }
    for addr in server.shared.setup.api.addresses() {
        print_line(format_args!("  media of all sessions: UDP {addr}"));
    }
    server
        .serve(async { stop.asked("stopping: saying goodbye to everybody").await })
        .await
}

/// More than this is no use, and some systems say that there is no limit.
#[cfg(unix)]
const MAX_DESCRIPTORS: u64 = 65_536;
