//! `antiphon serve`: the page, the WebSocket, WHEP and WHIP, and the peers behind them.

mod channels;
mod endpoints;
mod figures;
mod meet;
mod page;
mod peer;
mod player;
mod room;
mod sdpfrag;
mod signal;
mod tls;
mod wish;
mod ws;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use antiphon::{Api, RtcConfiguration, RtcIceServer, RtcIceTransportPolicy};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args::ServeArgs;
use room::Room;
use rustls::ServerConfig;
pub(crate) use signal::Candidate as CandidateJson;
use tls::{Identity, TlsListener};

/// The largest body or WebSocket message, in bytes.
const MAX_SIGNAL: usize = 256 * 1024;

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The TCP address is taken or not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot serve over TLS: {0}")]
    Tls(io::Error),
    /// The certificates to trust for TURN servers cannot be used.
    #[error("cannot trust {0}")]
    Trust(io::Error),
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
    room: Arc<Room>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Binds the TCP address, and the UDP port in one-port mode.
    ///
    /// # Errors
    /// [`ServeError::Listen`], [`ServeError::Peers`].
    pub async fn bind(args: &ServeArgs) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen {
            addr: args.listen,
            source,
        };
        let listener = TcpListener::bind(args.listen).await.map_err(listen)?;
        let identity = match (&args.tls_cert, &args.tls_key) {
            (Some(chain), Some(key)) => Some(Identity::Files(chain, key)),
            _ => args.tls.then(|| Identity::SelfSigned(args.listen.ip())),
        };
        let tls = identity
            .as_ref()
            .map(tls::config)
            .transpose()
            .map_err(ServeError::Tls)?;
        // Loopback candidates too: the page may well be opened on this machine, and costs nothing elsewhere.
        let mut builder = args
            .reach
            .builder(Api::builder().loopback(true))
            .map_err(ServeError::Trust)?;
        if let Some(port) = args.udp_port {
            builder = builder.one_port(port);
        }
        let (stop, stopped) = watch::channel(false);
        let room = Room::new(builder.build()?, configuration(args), args.max_sessions, stopped);
        Ok(Self {
            listener,
            tls,
            room: Arc::new(room),
            stop,
        })
    }

    /// The TCP address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// `http`, or `https` with a certificate.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `shutdown` completes; then says goodbye to every peer.
    ///
    /// # Errors
    /// [`ServeError::Web`].
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let room = self.room.clone();
        let stop = self.stop;
        let graceful = async move {
            shutdown.await;
            // Open WebSockets would hold the web server: they end with this.
            stop.send_replace(true);
        };
        let router = router(room.clone());
        match self.tls {
            None => {
                axum::serve(self.listener, router)
                    .with_graceful_shutdown(graceful)
                    .await?
            }
            Some(config) => {
                let listener = TlsListener::new(self.listener, config)?;
                axum::serve(listener, router).with_graceful_shutdown(graceful).await?;
            }
        }
        room.emptied().await;
        Ok(())
    }
}

/// Room in a session's buffers beside the largest message.
const ROOM_BESIDE_MESSAGE: usize = 4 * 1024 * 1024;

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
    let association = &mut configuration.settings.data.association;
    association.max_receive_message = args.max_message as usize;
    // A whole message, what is under way behind it, and the same on its way back.
    let buffer = association.max_receive_message + ROOM_BESIDE_MESSAGE;
    association.receive_buffer = association.receive_buffer.max(buffer);
    association.send_buffer = association.send_buffer.max(buffer);
    configuration
}

fn router(room: Arc<Room>) -> Router {
    Router::new()
        .merge(page::routes())
        .merge(ws::routes())
        .merge(meet::routes())
        .merge(endpoints::routes())
        .layer(DefaultBodyLimit::max(MAX_SIGNAL))
        .with_state(room)
}

/// Runs `antiphon serve` until Ctrl-C.
///
/// # Errors
/// Any [`ServeError`].
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let server = Server::bind(&args).await?;
    let addr = server.local_addr()?;
    println!(
        "Antiphon serves at {}://{addr}  (WHEP /whep, WHIP /whip; Ctrl-C stops)",
        server.scheme()
    );
    for addr in server.room.api.addresses() {
        println!("  media of all sessions: UDP {addr}");
    }
    server
        .serve(async {
            // Without a handler for Ctrl-C the system ends the program the hard way, which is right then.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            println!();
        })
        .await
}
