//! Answers for our own `.local` names: one task for all peers of an `Api`, on the port that all responders share.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::{Packet, PacketFlag};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{GROUP_V4, GROUP_V6, Link, MAX_MESSAGE, PORT, bind, packet};
use crate::interfaces::InterfaceWatch;

/// Names answered for at once. A browser's page has a few.
const MAX_NAMES: usize = 4096;
/// Questions of one message that are looked at.
const MAX_QUESTIONS: usize = 32;
/// Requests that may wait for the task.
const MAX_REQUESTS: usize = 256;
/// RFC 6762 §6: a record is multicast at most once in this time.
const MULTICAST_INTERVAL: Duration = Duration::from_secs(1);

enum Request {
    Publish {
        name: String,
        addr: IpAddr,
        answer: oneshot::Sender<io::Result<()>>,
    },
    Withdraw {
        name: String,
    },
}

/// The handle of the responder's task, which ends with it.
#[derive(Debug)]
pub(crate) struct Responder {
    requests: mpsc::Sender<Request>,
}

impl Responder {
    pub(crate) fn start(interfaces: InterfaceWatch) -> Self {
        let (requests, received) = mpsc::channel(MAX_REQUESTS);
        tokio::spawn(run(received, interfaces));
        Self { requests }
    }

    /// Answers for `name` from now on. The name is a random UUID, so nobody is asked whether it is taken (RFC 6762 §8.1).
    pub(crate) fn publish(&self, name: String, addr: IpAddr) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let requests = self.requests.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let gone = |_| io::Error::other("the multicast responder has ended");
            let request = Request::Publish { name, addr, answer };
            requests.send(request).await.map_err(|_| gone(()))?;
            answered.await.map_err(|_| gone(()))?
        }
    }

    /// Answers for `name` no more.
    pub(crate) fn withdraw(&self, name: String) {
        // A full queue means that the task is busy; the name then goes with the last handle.
        if self.requests.try_send(Request::Withdraw { name }).is_err() {
            tracing::debug!("a name stays published: too many requests wait");
        }
    }
}

struct Published {
    /// As it was given; names compare without regard to case.
    name: String,
    addr: IpAddr,
    multicast: Option<Instant>,
}

struct State {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    joined: Vec<Link>,
    names: HashMap<String, Published>,
    interfaces: InterfaceWatch,
}

async fn run(mut requests: mpsc::Receiver<Request>, interfaces: InterfaceWatch) {
    let mut state = State {
        v4: bind(false, PORT)
            .inspect_err(|error| tracing::debug!(%error, "multicast DNS over IPv4"))
            .ok(),
        v6: bind(true, PORT)
            .inspect_err(|error| tracing::debug!(%error, "multicast DNS over IPv6"))
            .ok(),
        joined: Vec::new(),
        names: HashMap::new(),
        interfaces,
    };
    let (mut buffer_v4, mut buffer_v6) = (vec![0; MAX_MESSAGE], vec![0; MAX_MESSAGE]);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request::Publish { name, addr, answer }) => {
                    let published = state.publish(name, addr).await;
                    let _ = answer.send(published);
                }
                Some(Request::Withdraw { name }) => state.withdraw(&name).await,
                None => return state.withdraw_all().await,
            },
            Some((len, from)) = receive(state.v4.as_ref(), &mut buffer_v4) => state.asked(&buffer_v4[..len], from).await,
            Some((len, from)) = receive(state.v6.as_ref(), &mut buffer_v6) => state.asked(&buffer_v6[..len], from).await,
        }
    }
}

/// The next message; nothing, ever, without a socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return Some(received),
            // ICMP errors of earlier answers surface here.
            Err(error) => {
                tracing::debug!(%error, "multicast DNS");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

impl State {
    async fn publish(&mut self, name: String, addr: IpAddr) -> io::Result<()> {
        if self.names.len() >= MAX_NAMES {
            return Err(io::Error::other("too many names are published"));
        }
        self.join();
        if self.joined.is_empty() {
            return Err(io::Error::other("no interface carries multicast"));
        }
        let announcement = packet::announcement(&name, addr, packet::TTL)?;
        self.multicast(&announcement).await;
        let published = Published {
            name: name.clone(),
            addr,
            multicast: Some(Instant::now()),
        };
        self.names.insert(name.to_ascii_lowercase(), published);
        Ok(())
    }

    async fn withdraw(&mut self, name: &str) {
        if let Some(gone) = self.names.remove(&name.to_ascii_lowercase())
            && let Ok(goodbye) = packet::announcement(&gone.name, gone.addr, 0)
        {
            self.multicast(&goodbye).await;
        }
    }

    async fn withdraw_all(&mut self) {
        for name in self.names.keys().cloned().collect::<Vec<_>>() {
            self.withdraw(&name).await;
        }
    }

    /// Joins the group on interfaces that are new.
    fn join(&mut self) {
        let links = Link::all(&self.interfaces.list());
        self.joined.retain(|link| links.contains(link));
        for link in links {
            if self.joined.contains(&link) {
                continue;
            }
            let joined = match (link, &self.v4, &self.v6) {
                (Link::V4(ip), Some(v4), _) => v4.join_multicast_v4(GROUP_V4, ip),
                (Link::V6(index), _, Some(v6)) => v6.join_multicast_v6(&GROUP_V6, index),
                _ => continue,
            };
            match joined {
                Ok(()) => self.joined.push(link),
                // Two addresses of one interface, or an address that came back.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => self.joined.push(link),
                Err(error) => tracing::debug!(?link, %error, "no multicast here"),
            }
        }
    }

    fn socket(&self, ipv6: bool) -> Option<&UdpSocket> {
        if ipv6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    async fn multicast(&self, message: &[u8]) {
        for link in &self.joined {
            let Some(socket) = self.socket(matches!(link, Link::V6(_))) else {
                continue;
            };
            let sent = match link.choose(&socket2::SockRef::from(socket)) {
                Ok(()) => socket.send_to(message, link.group()).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(?link, %error, "multicast DNS message not sent");
            }
        }
    }

    /// A message came.
    async fn asked(&mut self, message: &[u8], from: SocketAddr) {
        if self.names.is_empty() {
            return;
        }
        let Ok(packet) = Packet::parse(message) else { return };
        if packet.has_flags(PacketFlag::RESPONSE) {
            return;
        }
        // Decided before anything is listed or sent, so that other people's questions cost little.
        let asked: Vec<(String, bool)> = packet
            .questions
            .iter()
            .take(MAX_QUESTIONS)
            .filter_map(|question| {
                let key = question.qname.to_string().to_ascii_lowercase();
                let published = self.names.get(&key)?;
                packet::wants(question, published.addr).then_some((key, question.unicast_response))
            })
            .collect();
        // RFC 6762 §11: only who is on one of our own links gets an answer. Nobody can use us to flood somebody else.
        if asked.is_empty() || !self.is_on_link(from.ip()) {
            return;
        }
        let legacy = from.port() != PORT;
        for (key, unicast) in asked {
            let Some(published) = self.names.get_mut(&key) else {
                continue;
            };
            if legacy || unicast {
                let Ok(answer) = packet::answer(&packet, &published.name, published.addr, legacy) else {
                    continue;
                };
                if let Some(socket) = self.socket(from.is_ipv6())
                    && let Err(error) = socket.send_to(&answer, from).await
                {
                    tracing::debug!(%from, %error, "multicast DNS answer not sent");
                }
                continue;
            }
            // RFC 6762 §7.1: who knows the answer gets none.
            let addr = published.addr;
            let known = packet.answers.iter().any(|record| {
                record.ttl >= packet::TTL / 2
                    && packet::address(&record.rdata) == Some(addr)
                    && record.name.to_string().eq_ignore_ascii_case(&published.name)
            });
            let now = Instant::now();
            let recent = published.multicast.is_some_and(|at| now < at + MULTICAST_INTERVAL);
            if known || recent {
                continue;
            }
            published.multicast = Some(now);
            if let Ok(answer) = packet::announcement(&published.name, addr, packet::TTL) {
                self.multicast(&answer).await;
            }
        }
    }

    fn is_on_link(&mut self, from: IpAddr) -> bool {
        if let IpAddr::V6(v6) = from
            && v6.is_unicast_link_local()
        {
            return true;
        }
        self.interfaces
            .list()
            .iter()
            .any(|network| match (&network.addr, from) {
                (if_addrs::IfAddr::V4(ours), IpAddr::V4(from)) => {
                    let mask = u32::from(ours.netmask);
                    u32::from(ours.ip) & mask == u32::from(from) & mask
                }
                (if_addrs::IfAddr::V6(ours), IpAddr::V6(from)) => {
                    let mask = u128::from(ours.netmask);
                    u128::from(ours.ip) & mask == u128::from(from) & mask
                }
                _ => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::resolve;

    #[tokio::test]
    async fn what_is_published_is_found_until_it_is_withdrawn() {
        let interfaces = InterfaceWatch::start();
        let responder = Responder::start(interfaces.clone());
        let name = "6f1e2c3f-0ab5-4b9c-a3a7-8d8b4d3fd0b5.local";
        let addr = IpAddr::from([192, 0, 2, 77]);
        responder.publish(name.to_owned(), addr).await.unwrap();
        let found = resolve(name.to_ascii_uppercase(), &interfaces.list()).await.unwrap();
        assert_eq!(found, [addr]);
        responder.withdraw(name.to_owned());
        let error = resolve(name.to_owned(), &interfaces.list()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn strangers_get_no_answer() {
        let mut state = State {
            v4: None,
            v6: None,
            joined: Vec::new(),
            names: HashMap::new(),
            interfaces: InterfaceWatch::start(),
        };
        assert!(state.is_on_link(IpAddr::from([127, 0, 0, 1])));
        assert!(!state.is_on_link(IpAddr::from([198, 51, 100, 1])));
        assert!(state.is_on_link("fe80::1".parse().unwrap()));
    }
}
