//! The handle of a running server.

use std::net::SocketAddr;

use antiphon_sansio::Rng;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::config::{TlsIdentity, TurnServerConfig};
use super::core::{Command, Core};
use super::error::TurnServerError;
use super::metrics;
use super::stats::TurnServerStats;

/// A running server. Dropping it ends the server at once; [`stop`](Self::stop) lets calls finish first.
#[derive(Debug)]
pub struct TurnServer {
    commands: mpsc::Sender<Command>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
}

impl TurnServer {
    /// Binds every socket and starts to serve on the current tokio runtime.
    ///
    /// # Errors
    /// Any [`TurnServerError`].
    pub async fn start(config: TurnServerConfig) -> Result<Self, TurnServerError> {
        let mut seed = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
            .map_err(|_| TurnServerError::Randomness)?;
        let rng = Rng::from_seed(seed);
        config.check()?;
        let acceptor = config.identity.as_ref().map(TlsIdentity::acceptor).transpose()?;
        let (commands, from_handles) = mpsc::channel(16);
        let mut core = Core::new(&config, rng, from_handles)?;

        let mut tcp = Vec::new();
        for &addr in &config.listen {
            let port = core.listen_udp(addr)?;
            if config.tcp {
                let listener = listen("tcp", SocketAddr::new(addr.ip(), port)).await?;
                tcp.push(bound("tcp", addr, &listener)?);
                core.accept(listener, None);
            }
        }
        if let Some(alternate) = config.alternate {
            core.listen_alternate(alternate)?;
        }
        let mut tls = Vec::new();
        for &addr in &config.tls_listen {
            let listener = listen("tls", addr).await?;
            tls.push(bound("tls", addr, &listener)?);
            core.accept(listener, acceptor.clone());
        }
        let udp = core.udp_addrs();
        let mut metrics = None;
        if let Some(addr) = config.metrics {
            let listener = listen("metrics", addr).await?;
            metrics = Some(bound("metrics", addr, &listener)?);
            tokio::spawn(metrics::serve(listener, commands.downgrade()));
        }
        tokio::spawn(core.run());
        Ok(Self {
            commands,
            udp,
            tcp,
            tls,
            metrics,
        })
    }

    /// Where UDP is served. A wildcard address of the configuration became one socket for each address of the machine.
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where TCP is served.
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// Where TLS is served.
    pub fn tls_addrs(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// Where the metrics are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// What it did so far; `None` once it has ended.
    pub async fn stats(&self) -> Option<TurnServerStats> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Stats(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Refuses new allocations, waits until those that exist are gone or the configured time to drain is over, and ends.
    /// Cancelling the wait (dropping this future) ends the server at once.
    pub async fn stop(self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

async fn listen(transport: &'static str, addr: SocketAddr) -> Result<TcpListener, TurnServerError> {
    TcpListener::bind(addr).await.map_err(|source| TurnServerError::Bind {
        transport,
        addr,
        source,
    })
}

fn bound(transport: &'static str, addr: SocketAddr, listener: &TcpListener) -> Result<SocketAddr, TurnServerError> {
    listener.local_addr().map_err(|source| TurnServerError::Bind {
        transport,
        addr,
        source,
    })
}
