//! Clients over TCP and TLS: one task for each connection.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_turn::StreamFramer;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// Messages that wait for a slow client; later ones are dropped, as a full link would.
pub(super) const MAX_WAITING: usize = 256;
/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what waits for it.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// What is read at once.
const READ_SIZE: usize = 16 * 1024;

/// What the tasks of connections tell the server's task.
pub(super) enum FromStream {
    /// Somebody connected.
    Accepted(TcpStream, SocketAddr, Option<TlsAcceptor>),
    /// A whole message.
    Message(u32, BytesMut),
    /// The connection is gone.
    Closed(u32),
}

/// Accepts until the server ends.
pub(super) async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, server: mpsc::Sender<FromStream>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.closed() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let accepted = FromStream::Accepted(stream, from, acceptor.clone());
                if server.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, for instance: others may end soon.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection until either end closes it. The server closes it by dropping the sender of `outgoing`.
pub(super) async fn serve(
    id: u32,
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    server: mpsc::Sender<FromStream>,
    outgoing: mpsc::Receiver<Bytes>,
) {
    // A relay adds no delay of its own.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => pass(id, stream, &server, outgoing).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => pass(id, stream, &server, outgoing).await,
            Ok(Err(error)) => tracing::debug!(id, %error, "TLS handshake"),
            Err(_) => tracing::debug!(id, "TLS handshake takes too long"),
        },
    }
    let _ = server.send(FromStream::Closed(id)).await;
}

async fn pass<S: AsyncRead + AsyncWrite>(
    id: u32,
    stream: S,
    server: &mpsc::Sender<FromStream>,
    mut outgoing: mpsc::Receiver<Bytes>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let mut framer = StreamFramer::default();
        let mut buffer = vec![0; READ_SIZE];
        loop {
            let Ok(len @ 1..) = reader.read(&mut buffer).await else {
                return;
            };
            if !framer.push(&buffer[..len]) {
                return;
            }
            while let Some(message) = framer.next_message() {
                if server.send(FromStream::Message(id, message)).await.is_err() {
                    return;
                }
            }
            if framer.is_broken() {
                return;
            }
        }
    };
    let write = async {
        while let Some(message) = outgoing.recv().await {
            let mut written = tokio::time::timeout(WRITE_PATIENCE, writer.write_all(&message)).await;
            if outgoing.is_empty() && matches!(written, Ok(Ok(()))) {
                written = tokio::time::timeout(WRITE_PATIENCE, writer.flush()).await;
            }
            if !matches!(written, Ok(Ok(()))) {
                return;
            }
        }
        let _ = tokio::time::timeout(WRITE_PATIENCE, writer.shutdown()).await;
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
