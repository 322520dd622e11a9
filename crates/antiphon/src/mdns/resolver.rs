//! One-shot questions by multicast (RFC 6762 §5.1).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::{Link, bind, packet};

/// Multicast answers come at once or not at all; asked anew after each of these.
const PATIENCE: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
];

/// Addresses of a `.local` name, asked on every interface given.
pub(crate) async fn resolve(name: String, interfaces: Vec<if_addrs::Interface>) -> io::Result<Vec<IpAddr>> {
    let query = packet::query(&name)?;
    let mut sockets = Vec::new();
    for link in Link::all(&interfaces) {
        let bound = bind(matches!(link, Link::V6(_)), 0).and_then(|socket| {
            link.choose(&socket2::SockRef::from(&socket))?;
            Ok(socket)
        });
        match bound {
            Ok(socket) => sockets.push((link, socket)),
            Err(error) => tracing::debug!(?link, %error, "no multicast here"),
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("no interface carries multicast"));
    }
    for patience in PATIENCE {
        for (link, socket) in &sockets {
            if let Err(error) = socket.send_to(&query, link.group()).await {
                tracing::debug!(?link, %error, "multicast query not sent");
            }
        }
        let answers = sockets.iter().map(|(_, socket)| Box::pin(first_answer(socket, &name)));
        let first = futures_util::future::select_all(answers);
        if let Ok((addresses, ..)) = tokio::time::timeout(patience, first).await {
            return Ok(addresses);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("nobody answers for {name}"),
    ))
}

async fn first_answer(socket: &UdpSocket, name: &str) -> Vec<IpAddr> {
    let mut buffer = [0; 2048];
    loop {
        let Ok((len, _)) = socket.recv_from(&mut buffer).await else {
            return std::future::pending().await;
        };
        let addresses = packet::addresses(&buffer[..len], name);
        if !addresses.is_empty() {
            return addresses;
        }
    }
}
