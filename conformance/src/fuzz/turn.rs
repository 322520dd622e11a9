//! A TURN client and its server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use antiphon_netsim::Machine;
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{Key, Message, MessageBuilder};
use antiphon_turn::{
    Client, ClientConfig, ClientEvent, PeerPolicy, Server, ServerAnswer, ServerConfig, ServerRequest,
    parse_channel_data,
};

use super::pair::{self, End};

/// Signs a STUN message anew, as somebody who knows the password could.
fn sign(key: &Key, packet: &mut Vec<u8>) {
    let Ok(message) = Message::parse(packet) else { return };
    let mut buffer = [0; 2048];
    let mut builder = MessageBuilder::new(&mut buffer, message.class(), message.method(), message.transaction_id());
    for attribute in message.attributes() {
        builder.put(attribute.kind, attribute.value);
    }
    if message.has_integrity() {
        builder.integrity(key);
    }
    builder.fingerprint();
    if let Ok(len) = builder.finish() {
        packet.clear();
        packet.extend_from_slice(&buffer[..len]);
    }
}

pub(super) fn machine(data: &[u8]) {
    let now = antiphon_netsim::start();
    let mut config = ServerConfig::new("r", vec![Ipv4Addr::LOCALHOST.into()]).user("alice", "secret");
    config.policy = PeerPolicy {
        allow_loopback: true,
        ..PeerPolicy::default()
    };
    let client = Client::new(ClientConfig::new("alice", "secret"), Rng::from_u64(1));
    let server = Server::new(config, now, Rng::from_u64(2));
    let ends = [Turn::Client(Box::new(client)), Turn::Server(Box::new(server), 0)];
    let key = Key::long_term("alice", "r", "secret");
    pair::run(now, ends, &|_, packet| sign(&key, packet), data);
}

#[derive(Debug)]
enum Turn {
    Client(Box<Client>),
    /// With the number of its next relayed socket.
    Server(Box<Server>, u16),
}

impl Turn {
    fn serve(&mut self, now: Instant) {
        let Self::Server(server, next) = self else { return };
        while let Some(request) = server.poll_io() {
            if let ServerRequest::BindRelay { request, ip } = request {
                *next = next.wrapping_add(1);
                let answer = match *next % 8 {
                    7 => ServerAnswer::Failed { request },
                    _ => ServerAnswer::Bound {
                        request,
                        local: Local::Relay(u32::from(*next)),
                        addr: SocketAddr::new(ip, *next | 1),
                    },
                };
                server.handle_io(now, answer);
            }
        }
    }
}

impl Machine for Turn {
    type Event = ClientEvent;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        match self {
            Self::Client(client) => {
                let _ = client.handle_message(now, datagram.data);
            }
            Self::Server(server, _) => {
                server.handle_datagram(now, datagram);
                // One client, one five-tuple.
                assert!(server.allocations() <= 1);
            }
        }
        self.serve(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Client(client) => client.handle_timeout(now),
            Self::Server(server, _) => server.handle_timeout(now),
        }
        self.serve(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        match self {
            Self::Client(client) => client.poll_transmit(now, out).then(|| pair::whole(out.finish())),
            Self::Server(server, _) => loop {
                let transmit = server.poll_transmit(out)?;
                // An empty datagram is relayed like any other; `Checked` knows no protocol that sends one.
                if !transmit.range.is_empty() {
                    break Some(transmit);
                }
            },
        }
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        match self {
            Self::Client(client) => client.poll_event(),
            Self::Server(..) => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Client(client) => client.poll_timeout(),
            Self::Server(server, _) => server.poll_timeout(),
        }
    }

    fn close(&mut self, now: Instant) {
        match self {
            Self::Client(client) => client.close(now),
            Self::Server(server, _) => server.close(),
        }
        self.serve(now);
    }
}

impl End for Turn {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let peer = SocketAddr::from((Ipv4Addr::new(127, 0, 0, argument & 7), 9));
        match (self, action % 4) {
            (Self::Client(client), 0) => client.permit(peer.ip()),
            (Self::Client(client), 1) => client.bind_channel(peer),
            (Self::Client(client), _) => {
                let mut out = TransmitBuf::new(1500, 1500);
                let (front, back) = client.room(peer);
                out.set_path_room(front, back);
                assert!(out.begin(0, 0));
                out.put_slice(&[argument; 255][..usize::from(argument)]);
                client.wrap(peer, &mut out);
                let range = out.finish();
                let message = out.bytes(range).to_vec();
                let whole = parse_channel_data(&message).is_some() || Message::parse(&message).is_ok();
                assert!(whole, "what the client wraps is a message");
                return Some(message);
            }
            (Self::Server(server, next), _) => {
                let path = Path {
                    local: Local::Relay(u32::from(*next)),
                    remote: peer,
                };
                let data = BytesMut::from(&[argument; 255][..usize::from(argument)]);
                let ecn = Ecn::NotEct;
                server.handle_datagram(now, Datagram { path, ecn, data });
            }
        }
        None
    }
}
