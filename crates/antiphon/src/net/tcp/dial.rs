//! Opening a connection from one interface, with TLS over it where a server asks for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_ice::Framing;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::connection::{self, Outgoing};
use super::framer::Framer;
use super::{HANDSHAKE_PATIENCE, set_options, share_port};
use crate::driver::message::Report;
use crate::environment::Environment;

/// How often, and how long apart, a connection is tried that no route leads to.
const ROUTE_TRIES: u32 = 8;
const ROUTE_PAUSE: Duration = Duration::from_millis(250);

/// What to open.
pub(crate) struct Dial {
    /// Names the connection in what the driver is told.
    pub(crate) id: u32,
    /// The interface's address, and the port or 0.
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) framing: Framing,
    /// The server's name, if the connection is to be TLS.
    pub(crate) tls: Option<String>,
}

enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Dial {
    /// Opens the connection, says so, and runs it to its end.
    pub(crate) async fn run(self, environment: Arc<Environment>, outgoing: Outgoing, reports: mpsc::Sender<Report>) {
        let Self { id, framing, .. } = self;
        let patience = HANDSHAKE_PATIENCE;
        let opened = match tokio::time::timeout(patience, self.open(&environment)).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err(format!("{} did not answer within {} s", self.to, patience.as_secs())),
        };
        drop(environment);
        let (opened, addr) = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                let _ = reports.send(Report::ConnectFailed { id, reason }).await;
                return;
            }
        };
        if reports.send(Report::Connected { id, addr }).await.is_err() {
            return;
        }
        let framer = Framer::new(framing);
        match opened {
            Opened::Plain(stream) => connection::run(id, stream, framer, outgoing, reports).await,
            Opened::Tls(stream) => connection::run(id, stream, framer, outgoing, reports).await,
        }
    }

    async fn open(&self, environment: &Environment) -> Result<(Opened, SocketAddr), String> {
        let stream = self
            .connect_when_routed()
            .await
            .map_err(|e| format!("cannot connect to {} from {}: {e}", self.to, self.from.ip()))?;
        let addr = stream.local_addr().map_err(|e| e.to_string())?;
        let Some(name) = &self.tls else {
            return Ok((Opened::Plain(stream), addr));
        };
        let stream = environment.trust.connect(name, stream).await?;
        Ok((Opened::Tls(Box::new(stream)), addr))
    }

    /// An interface that comes has its address before it has its routes: what is unreachable then is not a moment later.
    async fn connect_when_routed(&self) -> io::Result<TcpStream> {
        let mut tries = 0;
        loop {
            match self.connect().await {
                Err(error)
                    if tries < ROUTE_TRIES
                        && matches!(
                            error.kind(),
                            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable
                        ) =>
                {
                    tries += 1;
                    tokio::time::sleep(ROUTE_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = if self.from.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if self.from.port() != 0 {
            share_port(&socket)?;
        }
        socket.bind(self.from)?;
        let stream = socket.connect(self.to).await?;
        set_options(&stream);
        Ok(stream)
    }
}
