//! Names of servers into addresses, by the system's resolver.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a name may take before its candidate is given up.
const DNS_PATIENCE: Duration = Duration::from_secs(5);

/// Addresses of `host` from the system's resolver.
pub(crate) async fn dns(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(DNS_PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect())
}
