//! TCP and TLS: one task per connection, whole messages in both directions, everything bounded.

mod connection;
mod dial;
mod framer;
mod listener;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use connection::Connection;
pub(crate) use dial::Dial;
pub(crate) use framer::Framer;
pub(crate) use listener::{Listener, requested_ufrag};
pub(crate) use tls::Trust;

use std::time::Duration;

/// How long a connection, its TLS handshake, or the first message of an accepted one may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// A peer that takes nothing from us for this long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that wait in front of the kernel for one connection. Datagrams beyond that are dropped, newest first, as a full link
/// drops them: who sends too fast must learn it from loss, not from seconds of delay.
const MAX_QUEUED: usize = 256 * 1024;
/// The same bound in writes.
const MAX_WRITES: usize = 1024;
/// What the kernel may hold unsent (`TCP_NOTSENT_LOWAT`), so that the queue in front of it is the one that counts.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 64 * 1024;
/// Bytes taken from a stream at once.
const READ_BYTES: usize = 16 * 1024;

/// A simultaneous open (RFC 6544 §4.5) leaves from the port on which the same agent listens.
fn share_port(socket: &tokio::net::TcpSocket) -> std::io::Result<()> {
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)
}

/// Options of every connection: messages leave at once, and wait in our queue rather than in the kernel's.
fn set_options(stream: &tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT");
    }
}
