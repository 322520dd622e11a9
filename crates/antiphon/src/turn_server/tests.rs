//! Whole servers on loopback.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, TransmitBuf};
use antiphon_turn::{Client, ClientConfig, ClientEvent, StreamFramer};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::*;

/// A bound that keeps a broken test finite.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server(change: impl FnOnce(&mut TurnServerConfig)) -> TurnServer {
    let mut config = TurnServerConfig::new("example.org").user("alice", "secret");
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.server.policy = PeerPolicy {
        allow_loopback: true,
        ..PeerPolicy::default()
    };
    change(&mut config);
    TurnServer::start(config).await.unwrap()
}

/// How a client reaches its server.
enum Link<S> {
    Udp(UdpSocket),
    Stream(S, StreamFramer),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    async fn send(&mut self, message: &[u8]) {
        match self {
            Self::Udp(socket) => _ = socket.send(message).await.unwrap(),
            Self::Stream(stream, _) => stream.write_all(message).await.unwrap(),
        }
    }

    async fn receive(&mut self) -> BytesMut {
        let mut buffer = vec![0; 2048];
        match self {
            Self::Udp(socket) => {
                let len = socket.recv(&mut buffer).await.unwrap();
                BytesMut::from(&buffer[..len])
            }
            Self::Stream(stream, framer) => loop {
                if let Some(message) = framer.next_message() {
                    return message;
                }
                let len = stream.read(&mut buffer).await.unwrap();
                assert!(len > 0, "the server closed the connection");
                assert!(framer.push(&buffer[..len]));
            },
        }
    }
}

struct User<S> {
    client: Client,
    link: Link<S>,
    out: TransmitBuf,
}

impl<S: AsyncRead + AsyncWrite + Unpin> User<S> {
    fn new(link: Link<S>) -> Self {
        let mut config = ClientConfig::new("alice", "secret");
        if matches!(link, Link::Stream(..)) {
            config = config.over_stream();
        }
        Self {
            client: Client::new(config, Rng::from_u64(1)),
            link,
            out: TransmitBuf::new(4096, 1500),
        }
    }

    async fn flush(&mut self) {
        while self.client.poll_transmit(Instant::now(), &mut self.out) {
            let range = self.out.finish();
            let message = self.out.bytes(range).to_vec();
            self.out.clear();
            self.link.send(&message).await;
        }
    }

    /// Data from a peer, or nothing once `done` says so.
    async fn until(&mut self, mut done: impl FnMut(ClientEvent) -> bool) -> Option<(SocketAddr, BytesMut)> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                self.flush().await;
                while let Some(event) = self.client.poll_event() {
                    if done(event) {
                        return None;
                    }
                }
                let message = self.link.receive().await;
                if let Some(data) = self.client.handle_message(Instant::now(), message) {
                    return Some(data);
                }
            }
        })
        .await
        .expect("an answer")
    }

    async fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let (front, back) = self.client.room(peer);
        self.out.set_path_room(front, back);
        assert!(self.out.begin(0, 0));
        self.out.put_slice(data);
        self.client.wrap(peer, &mut self.out);
        let range = self.out.finish();
        let message = self.out.bytes(range).to_vec();
        self.out.clear();
        self.link.send(&message).await;
    }

    /// Allocates, lets the peer in, and sends to and fro: by indication, then by channel.
    async fn relays(mut self) -> Self {
        let mut relayed = None;
        let early = self
            .until(|event| match event {
                ClientEvent::Allocated { relayed: addr, .. } => {
                    relayed = Some(addr);
                    true
                }
                other => panic!("{other:?}"),
            })
            .await;
        assert!(early.is_none());
        let relayed = relayed.unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        for channel in [false, true] {
            if channel {
                self.client.bind_channel(peer_addr);
            } else {
                self.client.permit(peer_addr.ip());
            }
            self.flush().await;
            let answer = self.link.receive().await;
            assert!(self.client.handle_message(Instant::now(), answer).is_none());
            // Of lengths that need padding over a stream.
            for len in 1..6 {
                self.send(peer_addr, &vec![7; len]).await;
                let mut buffer = [0; 100];
                let (got, from) = tokio::time::timeout(PATIENCE, peer.recv_from(&mut buffer))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!((&buffer[..got], from), (&vec![7; len][..], relayed));
                peer.send_to(&vec![9; len], relayed).await.unwrap();
                let (from, data) = self.until(|event| panic!("{event:?}")).await.unwrap();
                assert_eq!((from, &data[..]), (peer_addr, &vec![9; len][..]));
            }
        }
        self
    }
}

#[tokio::test]
async fn relays_over_udp_and_counts() {
    let server = server(|config| config.metrics = Some("127.0.0.1:0".parse().unwrap())).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.udp_addrs()[0]).await.unwrap();
    let user = User::<TcpStream>::new(Link::Udp(socket)).relays().await;
    let stats = server.stats().await.unwrap();
    assert_eq!((stats.allocations, stats.connections, stats.unsent), (1, 0, 0));
    assert_eq!((stats.counters.to_peers, stats.counters.to_clients), (10, 10));

    let mut http = TcpStream::connect(server.metrics_addr().unwrap()).await.unwrap();
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    http.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\nantiphon_turn_allocations 1\n"), "{text}");
    drop(user);
    server.stop().await;
}

#[tokio::test]
async fn relays_over_tcp_and_frees_the_allocation_with_the_connection() {
    let server = server(|_| {}).await;
    let stream = TcpStream::connect(server.tcp_addrs()[0]).await.unwrap();
    assert_eq!(server.tcp_addrs()[0], server.udp_addrs()[0]);
    let user = User::new(Link::Stream(stream, StreamFramer::default())).relays().await;
    assert_eq!(server.stats().await.unwrap().allocations, 1);
    drop(user);
    tokio::time::timeout(PATIENCE, async {
        while server.stats().await.unwrap().allocations > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the allocation goes with its connection");
    server.stop().await;
}

#[tokio::test]
async fn relays_over_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let identity = TlsIdentity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let server = server(|config| {
        config.identity = Some(identity);
        config.tls_listen = vec!["127.0.0.1:0".parse().unwrap()];
    })
    .await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.tls_addrs()[0]).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    User::new(Link::Stream(stream, StreamFramer::default())).relays().await;
    server.stop().await;
}

#[tokio::test]
async fn what_contradicts_itself_does_not_start() {
    let mut config = TurnServerConfig::new("r");
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.tls_listen = config.listen.clone();
    assert!(matches!(
        TurnServer::start(config.clone()).await,
        Err(TurnServerError::Config(_))
    ));
    config.identity = Some(TlsIdentity::from_pem("no PEM", "neither"));
    assert!(matches!(TurnServer::start(config).await, Err(TurnServerError::Tls(_))));
}

#[tokio::test]
async fn a_stream_of_nonsense_and_too_many_connections_are_closed() {
    let server = server(|config| config.max_connections_per_address = 2).await;
    let addr = server.tcp_addrs()[0];
    let mut talker = TcpStream::connect(addr).await.unwrap();
    talker.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let ended = tokio::time::timeout(PATIENCE, talker.read(&mut byte))
        .await
        .expect("closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
    tokio::time::timeout(PATIENCE, async {
        while server.stats().await.unwrap().connections > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("forgotten");
    let _two = (
        TcpStream::connect(addr).await.unwrap(),
        TcpStream::connect(addr).await.unwrap(),
    );
    let mut third = TcpStream::connect(addr).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, third.read(&mut byte))
        .await
        .expect("closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert_eq!(server.stats().await.unwrap().refused_connections, 1);
    server.stop().await;
}

#[tokio::test]
async fn draining_ends_with_the_last_allocation() {
    let server = server(|config| config.drain = Duration::from_secs(3600)).await;
    let stream = TcpStream::connect(server.tcp_addrs()[0]).await.unwrap();
    let user = User::new(Link::Stream(stream, StreamFramer::default())).relays().await;
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    drop(user);
    tokio::time::timeout(PATIENCE, stopping).await.expect("ended").unwrap();
}

#[tokio::test]
async fn who_waits_no_longer_for_the_end_has_it_at_once() {
    let server = server(|config| config.drain = Duration::from_secs(3600)).await;
    let stream = TcpStream::connect(server.tcp_addrs()[0]).await.unwrap();
    let mut user = User::new(Link::Stream(stream, StreamFramer::default())).relays().await;
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    stopping.abort();
    let Link::Stream(stream, _) = &mut user.link else {
        unreachable!("it is one")
    };
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0]))
        .await
        .expect("closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn what_many_send_at_once_reaches_each_peer_whole_and_in_order() {
    /// Of each user, one way: more than a system call takes.
    const DATAGRAMS: u8 = 50;
    let server = server(|_| {}).await;
    let mut users = Vec::new();
    for _ in 0..4 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server.udp_addrs()[0]).await.unwrap();
        let mut user = User::<TcpStream>::new(Link::Udp(socket));
        let mut relayed = None;
        let allocated =
            |event| matches!(event, ClientEvent::Allocated { relayed: addr, .. } if relayed.replace(addr).is_none());
        assert!(user.until(allocated).await.is_none());
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        user.client.bind_channel(peer_addr);
        user.flush().await;
        let answer = user.link.receive().await;
        assert!(user.client.handle_message(Instant::now(), answer).is_none());
        users.push((user, peer, peer_addr, relayed.unwrap()));
    }
    for n in 0..DATAGRAMS {
        for (user, peer, peer_addr, relayed) in &mut users {
            // Of two lengths, so that runs end.
            user.send(*peer_addr, &vec![n; 100 + usize::from(n / 7)]).await;
            peer.send_to(&vec![n; 100 + usize::from(n / 5)], *relayed)
                .await
                .unwrap();
        }
    }
    for (user, peer, peer_addr, relayed) in &mut users {
        for n in 0..DATAGRAMS {
            let mut buffer = [0; 200];
            let received = tokio::time::timeout(PATIENCE, peer.recv_from(&mut buffer));
            let (len, from) = received.await.expect("relayed").unwrap();
            assert_eq!(
                (&buffer[..len], from),
                (&vec![n; 100 + usize::from(n / 7)][..], *relayed)
            );
            let (from, data) = user.until(|event| panic!("{event:?}")).await.unwrap();
            assert_eq!((from, &data[..]), (*peer_addr, &vec![n; 100 + usize::from(n / 5)][..]));
        }
    }
    let stats = server.stats().await.unwrap();
    assert_eq!(
        (stats.counters.to_peers, stats.counters.to_clients, stats.unsent),
        (200, 200, 0)
    );
}
