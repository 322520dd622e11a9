//! A server, and whoever asks it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_netsim::{Checked, Machine, start};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType as A, Class, Key, Message, MessageBuilder, Method, TransactionId};
use antiphon_turn::{ServerAnswer, ServerConfig, ServerRequest};

use crate::checked::{ServerMachine, server};

pub(crate) const CLIENT: &str = "203.0.113.1:1111";
pub(crate) const PEER: &str = "9.9.9.9:7777";
pub(crate) const REALM: &str = "example.org";
/// RFC 8489 §18.5.1: SHA-256, then MD5, as the server offers them.
pub(crate) const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn udp(client: &str) -> Path {
    Path {
        local: Local::Socket(0),
        remote: addr(client),
    }
}

pub(crate) fn config() -> ServerConfig {
    ServerConfig::new(REALM, vec!["8.8.4.4".parse().unwrap(), "2600::1".parse().unwrap()]).user("alice", "secret")
}

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    pub(crate) fn code(&self) -> u16 {
        match self.message().class() {
            Class::Success => 200,
            _ => self.message().error_code().unwrap().code,
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) server: Checked<ServerMachine>,
    pub(crate) opened: Vec<(Local, SocketAddr)>,
    pub(crate) closed: Vec<Local>,
    pub(crate) next_id: u8,
}

impl World {
    pub(crate) fn new(config: ServerConfig) -> Self {
        let now = start();
        Self {
            now,
            server: server(config, now, Rng::from_u64(2)),
            opened: Vec::new(),
            closed: Vec::new(),
            next_id: 0,
        }
    }

    pub(crate) fn deliver(&mut self, path: Path, data: &[u8]) {
        let data = BytesMut::from(data);
        let ecn = Ecn::NotEct;
        self.server.handle_datagram(self.now, Datagram { path, ecn, data });
        self.serve();
    }

    pub(crate) fn serve(&mut self) {
        while let Some(request) = self.server.poll_io() {
            let port = 50_000 + 2 * self.opened.len() as u16;
            let local = Local::Relay(self.opened.len() as u32);
            let answer = match request {
                ServerRequest::BindRelay { request, ip } => {
                    let addr = SocketAddr::new(ip, port);
                    self.opened.push((local, addr));
                    ServerAnswer::Bound { request, local, addr }
                }
                ServerRequest::BindEven { request, ip, and_next } => {
                    let even = (local, SocketAddr::new(ip, port));
                    self.opened.push(even);
                    if and_next {
                        let next = (Local::Relay(self.opened.len() as u32), SocketAddr::new(ip, port + 1));
                        self.opened.push(next);
                        ServerAnswer::BoundPair { request, even, next }
                    } else {
                        let (local, addr) = even;
                        ServerAnswer::Bound { request, local, addr }
                    }
                }
                ServerRequest::Close(local) => {
                    self.closed.push(local);
                    continue;
                }
                _ => unreachable!(),
            };
            self.server.handle_io(self.now, answer);
        }
    }

    /// What leaves, one datagram after the other.
    pub(crate) fn sent(&mut self) -> Vec<(Path, Vec<u8>)> {
        let mut out = TransmitBuf::new(4096, 2048);
        let mut sent = Vec::new();
        while let Some(transmit) = self.server.poll_transmit(self.now, &mut out) {
            sent.extend(
                transmit
                    .datagrams(&out)
                    .map(|datagram| (transmit.path, datagram.to_vec())),
            );
            out.clear();
        }
        self.server.drained();
        sent
    }

    /// Sends a request and takes the one answer that it may get.
    pub(crate) fn ask(
        &mut self,
        path: Path,
        method: Method,
        key: Option<&Key>,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Option<Answer> {
        self.next_id = self.next_id.wrapping_add(1);
        let mut buffer = [0; 1024];
        let id = TransactionId([self.next_id; 12]);
        let mut builder = MessageBuilder::new(&mut buffer, Class::Request, method, id);
        fill(&mut builder);
        if let Some(key) = key {
            builder.integrity(key);
        }
        let len = builder.finish().unwrap();
        self.deliver(path, &buffer[..len]);
        let mut sent = self.sent();
        assert!(sent.len() <= 1, "{sent:?}");
        let (to, answer) = sent.pop()?;
        assert_eq!(to, path);
        assert_eq!(Message::parse(&answer).unwrap().transaction_id(), id);
        Some(Answer(answer))
    }

    /// The nonce of a challenge that announces nothing, as a short request gets it.
    pub(crate) fn nonce(&mut self, path: Path) -> Vec<u8> {
        self.challenge(path, |builder| _ = builder.requested_transport(17))
    }

    /// The nonce of one with PASSWORD-ALGORITHMS.
    pub(crate) fn announcing_nonce(&mut self, path: Path) -> Vec<u8> {
        self.challenge(path, |builder| {
            _ = builder.requested_transport(17).software("long enough")
        })
    }

    fn challenge(&mut self, path: Path, ask: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        let answer = self.ask(path, Method::ALLOCATE, None, ask).unwrap();
        assert_eq!(answer.code(), 401);
        assert_eq!(answer.message().realm(), Some(REALM));
        answer.message().nonce().unwrap().to_vec()
    }

    /// A request with credentials.
    pub(crate) fn login(
        &mut self,
        path: Path,
        (name, password): (&str, &str),
        method: Method,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Option<Answer> {
        let nonce = self.nonce(path);
        let key = Key::long_term(name, REALM, password);
        self.ask(path, method, Some(&key), |builder| {
            builder.username(name).realm(REALM).nonce(&nonce);
            fill(builder);
        })
    }

    pub(crate) fn alice(&mut self, path: Path, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Answer {
        self.login(path, ("alice", "secret"), method, fill).unwrap()
    }

    pub(crate) fn allocate(&mut self, path: Path) -> Answer {
        self.alice(path, Method::ALLOCATE, |builder| {
            builder.requested_transport(17);
        })
    }

    pub(crate) fn permit(&mut self, path: Path, peer: SocketAddr) -> u16 {
        self.alice(path, Method::CREATE_PERMISSION, |builder| {
            builder.xor_address(A::XOR_PEER_ADDRESS, peer);
        })
        .code()
    }

    pub(crate) fn send(&mut self, path: Path, peer: SocketAddr, data: &[u8]) -> Vec<(Path, Vec<u8>)> {
        let mut buffer = [0; 2048];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([9; 12]));
        builder.xor_address(A::XOR_PEER_ADDRESS, peer).put(A::DATA, data);
        let len = builder.finish().unwrap();
        self.deliver(path, &buffer[..len]);
        self.sent()
    }
}
