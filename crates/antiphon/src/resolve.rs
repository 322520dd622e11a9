//! Names into addresses: DNS for servers, multicast DNS for `.local` candidates.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};

/// How long a name may take before its candidate is given up.
const DNS_PATIENCE: Duration = Duration::from_secs(5);
/// Multicast answers come at once or not at all; asked anew after each of these.
const MDNS_PATIENCE: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
];
const MDNS_GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);

/// Addresses of `host` from the system's resolver.
pub(crate) async fn dns(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(DNS_PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect())
}

/// Addresses of a `.local` name, asked by multicast on every interface given (RFC 6762 §5.1, one-shot queries).
pub(crate) async fn mdns(name: String, interfaces: Vec<IpAddr>) -> io::Result<Vec<IpAddr>> {
    let query = query(&name)?;
    let mut sockets = Vec::new();
    for interface in interfaces {
        let IpAddr::V4(interface) = interface else { continue };
        let bound = (|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_multicast_if_v4(&interface)?;
            socket.set_multicast_loop_v4(true)?;
            socket.bind(&SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0).into())?;
            tokio::net::UdpSocket::from_std(socket.into())
        })();
        match bound {
            Ok(socket) => sockets.push(socket),
            Err(error) => tracing::debug!(%interface, %error, "no multicast here"),
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("no interface carries multicast"));
    }
    for patience in MDNS_PATIENCE {
        for socket in &sockets {
            if let Err(error) = socket.send_to(&query, MDNS_GROUP).await {
                tracing::debug!(%error, "multicast query not sent");
            }
        }
        let answers = sockets.iter().map(|socket| Box::pin(first_answer(socket, &name)));
        let first = futures_util::future::select_all(answers);
        if let Ok((addresses, ..)) = tokio::time::timeout(patience, first).await {
            return Ok(addresses);
        }
    }
    Err(io::Error::from(io::ErrorKind::TimedOut))
}

fn query(name: &str) -> io::Result<Vec<u8>> {
    let name = Name::new(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let mut packet = Packet::new_query(0);
    for kind in [TYPE::A, TYPE::AAAA] {
        // The last argument asks for a unicast answer (RFC 6762 §5.4): we listen on no shared port.
        packet.questions.push(Question::new(
            name.clone(),
            QTYPE::TYPE(kind),
            QCLASS::CLASS(CLASS::IN),
            true,
        ));
    }
    packet.build_bytes_vec().map_err(io::Error::other)
}

async fn first_answer(socket: &tokio::net::UdpSocket, name: &str) -> Vec<IpAddr> {
    let mut buffer = [0; 2048];
    loop {
        let Ok((len, _)) = socket.recv_from(&mut buffer).await else {
            return std::future::pending().await;
        };
        let addresses = addresses(&buffer[..len], name);
        if !addresses.is_empty() {
            return addresses;
        }
    }
}

/// The addresses that an answer gives for `name`.
fn addresses(answer: &[u8], name: &str) -> Vec<IpAddr> {
    let Ok(packet) = Packet::parse(answer) else {
        return Vec::new();
    };
    let records = packet.answers.iter().chain(&packet.additional_records);
    records
        .filter(|record| record.name.to_string().eq_ignore_ascii_case(name))
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::V4(a.address.into())),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.address.into())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;

    #[test]
    fn takes_the_named_address_only() {
        let mut packet = Packet::new_reply(0);
        for (name, last) in [("abc.local", 1), ("other.local", 2)] {
            let rdata = RData::A(Ipv4Addr::new(192, 0, 2, last).into());
            packet
                .answers
                .push(ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, 120, rdata));
        }
        let bytes = packet.build_bytes_vec().unwrap();
        assert_eq!(addresses(&bytes, "ABC.local"), [IpAddr::from([192, 0, 2, 1])]);
        assert!(addresses(&bytes[..bytes.len() - 1], "abc.local").is_empty());
        assert!(addresses(b"nonsense", "abc.local").is_empty());
    }

    #[test]
    fn a_query_asks_for_both_families() {
        let bytes = query("0e2c3fcb-0ab5-4b9c-a3a7-8d8b4d3fd0b5.local").unwrap();
        assert_eq!(Packet::parse(&bytes).unwrap().questions.len(), 2);
    }
}
