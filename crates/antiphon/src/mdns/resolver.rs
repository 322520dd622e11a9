//! Questions by multicast, asked in two ways at once: from a port of our own, which wants a unicast answer (one-shot, RFC 6762
//! §5.1), and from the port that all share, where answers to everybody arrive (§5.2). Browsers answer only the second.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::{GROUP_V4, GROUP_V6, Link, PORT, bind, packet};

/// Multicast answers come at once or not at all; asked anew after each of these.
/// A responder that has just announced the name keeps silent for a second (RFC 6762 §6), so the later ones count.
const PATIENCE: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
    Duration::from_secs(3),
];

/// Addresses of a `.local` name, asked on every interface given.
pub(crate) async fn resolve(name: String, interfaces: &[if_addrs::Interface]) -> io::Result<Vec<IpAddr>> {
    let (one_shot, shared) = (packet::query(&name, true)?, packet::query(&name, false)?);
    let mut sockets = Vec::new();
    for link in Link::all(interfaces) {
        for (port, query) in [(0, &one_shot), (PORT, &shared)] {
            match open(link, port) {
                Ok(socket) => sockets.push((link, socket, query)),
                Err(error) => tracing::debug!(?link, port, %error, "no multicast here"),
            }
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("no interface carries multicast"));
    }
    for patience in PATIENCE {
        for (link, socket, query) in &sockets {
            if let Err(error) = socket.send_to(query, link.group()).await {
                tracing::debug!(?link, %error, "multicast query not sent");
            }
        }
        let answers = sockets
            .iter()
            .map(|(_, socket, _)| Box::pin(first_answer(socket, &name)));
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

/// A socket that asks on one interface; on the shared port it also hears the answers to everybody there.
fn open(link: Link, port: u16) -> io::Result<UdpSocket> {
    let socket = bind(matches!(link, Link::V6(_)), port)?;
    link.choose(&socket2::SockRef::from(&socket))?;
    if port == PORT {
        match link {
            Link::V4(ip) => socket.join_multicast_v4(GROUP_V4, ip)?,
            Link::V6(index) => socket.join_multicast_v6(&GROUP_V6, index)?,
        }
    }
    Ok(socket)
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
