//! Accepting connections for passive candidates (RFC 6544 §4.2), from anybody, within bounds.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_ice::Framing;
use antiphon_stun::{Class, Message};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::framer::Framer;
use super::{HANDSHAKE_PATIENCE, set_options, share_port};
use crate::driver::message::{Accepted, Report};

/// Accepted connections that have said nothing yet, over all sources; more are closed at once.
const MAX_SILENT: usize = 256;
/// The same for one source address, so that nobody fills all places.
pub(super) const MAX_SILENT_PER_SOURCE: usize = 16;
/// Connections that the kernel may hold for us.
const BACKLOG: u32 = 128;
/// The first message is a Binding request, which is small.
const MAX_FIRST: usize = 2048;
/// When the system has no descriptors left, asking at once again is of no use.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A listening socket. Dropping it ends its task; connections that are handed over live on.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) addr: SocketAddr,
    task: tokio::task::AbortHandle,
}

impl Listener {
    /// Listens on `addr`, and hands each connection over once its first message is a Binding request.
    pub(crate) fn start(id: u32, addr: SocketAddr, reports: mpsc::Sender<Report>) -> io::Result<Self> {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        share_port(&socket)?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(accept(id, listener, reports)).abort_handle();
        Ok(Self { addr, task })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(id: u32, listener: TcpListener, reports: mpsc::Sender<Report>) {
    let mut silent: JoinSet<(IpAddr, Option<Accepted>)> = JoinSet::new();
    let mut sources: HashMap<IpAddr, usize> = HashMap::new();
    loop {
        tokio::select! {
            Some(done) = silent.join_next() => {
                let Ok((source, accepted)) = done else { continue };
                if let Some(count) = sources.get_mut(&source) {
                    *count -= 1;
                    if *count == 0 {
                        sources.remove(&source);
                    }
                }
                if let Some(accepted) = accepted
                    && reports.send(Report::Accepted { listener: id, accepted: Box::new(accepted) }).await.is_err()
                {
                    return;
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let count = sources.entry(remote.ip()).or_default();
                    if silent.len() >= MAX_SILENT || *count >= MAX_SILENT_PER_SOURCE {
                        if *count == 0 {
                            sources.remove(&remote.ip());
                        }
                        tracing::debug!(%remote, "too many silent connections");
                        continue;
                    }
                    *count += 1;
                    silent.spawn(async move {
                        let first = tokio::time::timeout(HANDSHAKE_PATIENCE, listen_for_request(stream, remote)).await;
                        (remote.ip(), first.ok().flatten())
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
        }
    }
}

/// Reads up to the first message; nothing if it is no Binding request (and the connection closes).
async fn listen_for_request(mut stream: TcpStream, remote: SocketAddr) -> Option<Accepted> {
    set_options(&stream);
    let mut framer = Framer::new(Framing::Rfc4571);
    let mut buffer = [0; MAX_FIRST];
    let mut taken = 0;
    loop {
        let len = stream.read(&mut buffer).await.ok()?;
        taken += len;
        if len == 0 || !framer.push(&buffer[..len]) {
            return None;
        }
        if let Some(first) = framer.next_message() {
            return requested_ufrag(&first).is_some().then_some(Accepted {
                stream,
                remote,
                framer,
                first,
            });
        }
        if taken >= MAX_FIRST {
            return None;
        }
    }
}

/// Whom a Binding request asks for: the receiver's user fragment comes first (RFC 8445 §7.2.2).
pub(crate) fn requested_ufrag(message: &[u8]) -> Option<String> {
    let message = Message::parse(message).ok()?;
    if message.class() != Class::Request {
        return None;
    }
    let (ours, _) = message.username()?.split_once(':')?;
    Some(ours.to_owned())
}
