//! Two ICE agents, and candidates as text.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_ice::{Agent, Candidate, Config, Credentials, Event, IoEvent, IoRequest, Role, TcpCandidates};
use antiphon_netsim::Machine;
use antiphon_sansio::{Datagram, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{AttributeType, Class, Key, Message, MessageBuilder};

use super::pair::{self, End};

pub(super) fn decode_candidate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(candidate) = text.parse::<Candidate>() {
        let written = candidate.to_string();
        let again: Candidate = written.parse().expect("our own candidate parses");
        assert_eq!(again.to_string(), written);
    }
}

pub(super) fn machine(data: &[u8]) {
    let now = antiphon_netsim::start();
    let mut ends = [Role::Controlling, Role::Controlled].map(|role| {
        let config = Config {
            role,
            tcp: TcpCandidates {
                active: true,
                passive: true,
                simultaneous_open: role == Role::Controlling,
            },
            hide_host_addresses: role == Role::Controlled,
            ..Config::default()
        };
        let mut agent = Agent::new(config, Rng::from_u64(role as u64));
        agent.gather(now);
        Ice {
            agent,
            remote: None,
            ended: false,
            connections: 0,
            listener: None,
        }
    });
    let credentials = [0, 1].map(|end: usize| ends[end].agent.local_credentials().clone());
    for (at, end) in ends.iter_mut().enumerate() {
        end.serve(now, at);
        while end.agent.poll_event().is_some() {}
        end.agent.set_remote_credentials(now, credentials[1 - at].clone());
        end.remote = Some(credentials[1 - at].clone());
        end.agent.add_remote_candidate(now, candidate(1 - at, 2_130_706_431, 0));
    }
    pair::run(now, ends, &|to, packet| sign(&credentials, to, packet), data);
}

fn candidate(end: usize, priority: u32, port_offset: u16) -> Candidate {
    let address = pair::address(end);
    format!(
        "1 1 udp {priority} {} {} typ host",
        address.ip(),
        address.port() + port_offset
    )
    .parse()
    .expect("a sound candidate")
}

/// The same attributes with right MESSAGE-INTEGRITY and FINGERPRINT: what an authenticated peer could send.
fn sign(credentials: &[Credentials; 2], to: usize, packet: &mut Vec<u8>) {
    let Ok(message) = Message::parse(packet) else { return };
    // A request is keyed by the password of who is asked, a response by the same (RFC 8445 §7.2.2).
    let asked = if message.class() == Class::Request { to } else { 1 - to };
    let mut buffer = vec![0; packet.len() + 64];
    let mut builder = MessageBuilder::new(&mut buffer, message.class(), message.method(), message.transaction_id());
    for attribute in message.attributes() {
        let sealed = [
            AttributeType::MESSAGE_INTEGRITY,
            AttributeType::MESSAGE_INTEGRITY_SHA256,
            AttributeType::FINGERPRINT,
        ];
        if !sealed.contains(&attribute.kind) {
            builder.put(attribute.kind, attribute.value);
        }
    }
    builder
        .integrity(&Key::short_term(&credentials[asked].password))
        .fingerprint();
    if let Ok(len) = builder.finish() {
        buffer.truncate(len);
        *packet = buffer;
    }
}

/// Where the first or second end listens.
fn tcp_address(end: usize) -> SocketAddr {
    SocketAddr::new(pair::address(end).ip(), 7000)
}

struct Ice {
    agent: Agent,
    remote: Option<Credentials>,
    ended: bool,
    /// How many TCP connections there were; the last one carries what comes framed.
    connections: u32,
    listener: Option<u32>,
}

impl Ice {
    /// Answers what the agent asks of the world; the second end has the second address.
    fn serve(&mut self, now: Instant, end: usize) {
        while let Some(request) = self.agent.poll_io() {
            let answer = match request {
                IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(vec![pair::address(end).ip()]),
                IoRequest::BindUdp { request, .. } => IoEvent::UdpBound {
                    request,
                    local: Local::Socket(0),
                    addr: pair::address(end),
                },
                IoRequest::ConnectTcp { request, .. } => {
                    self.connections += 1;
                    IoEvent::TcpConnected {
                        request,
                        local: Local::Tcp(self.connections),
                        addr: pair::address(end),
                    }
                }
                IoRequest::ListenTcp { request, .. } => {
                    self.listener = Some(request);
                    IoEvent::TcpListening {
                        request,
                        addr: tcp_address(end),
                    }
                }
                IoRequest::PublishMdns { request, .. } => IoEvent::MdnsPublished { request },
                IoRequest::Resolve { request, .. } | IoRequest::ResolveMdns { request, .. } => IoEvent::Resolved {
                    request,
                    addrs: vec![pair::address(1 - end).ip()],
                },
                other => match other.awaits() {
                    Some(request) => IoEvent::Failed {
                        request,
                        reason: "not in this network".to_owned(),
                    },
                    None => continue,
                },
            };
            self.agent.handle_io(now, answer);
        }
    }
}

impl Machine for Ice {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let mut datagram = datagram;
        // What was sent on a connection has its length in front; it comes in on the last connection.
        let framed = datagram
            .data
            .first_chunk()
            .is_some_and(|head| usize::from(u16::from_be_bytes(*head)) + 2 == datagram.data.len());
        if framed {
            let _ = datagram.data.split_to(2);
            datagram.path = Path {
                local: Local::Tcp(self.connections),
                remote: datagram.path.remote,
            };
        }
        let _ = self.agent.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.agent.poll_transmit(now, out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.agent.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.agent.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.agent.close(now);
        self.ended = true;
    }

    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl Ice {
    /// Something happens to its interfaces or connections.
    fn world(&mut self, now: Instant, action: u8, argument: u8) {
        let own = usize::from(self.agent.role() == Role::Controlled);
        match action {
            9 => {
                let mut list: Vec<IpAddr> = (0..argument % 4).map(|n| [10, 0, 1, argument / 4 + n].into()).collect();
                if argument & 0x80 == 0 {
                    list.push(pair::address(own).ip());
                }
                self.agent.handle_io(now, IoEvent::Interfaces(list));
            }
            10 => {
                let local = match argument {
                    0 => Local::Socket(0),
                    _ => Local::Tcp(u32::from(argument % 8)),
                };
                self.agent.handle_io(now, IoEvent::Closed { local });
            }
            11 => {
                if let Some(request) = self.listener {
                    self.connections += 1;
                    let accepted = IoEvent::TcpAccepted {
                        request,
                        local: Local::Tcp(self.connections),
                        addr: tcp_address(own),
                        remote: pair::address(1 - own),
                    };
                    self.agent.handle_io(now, accepted);
                }
            }
            _ => {
                let request = u32::from(argument);
                let reason = String::new();
                self.agent.handle_io(now, IoEvent::Failed { request, reason });
            }
        }
    }
}

/// A candidate that is reached over TCP.
fn tcp_candidate(argument: u8) -> Candidate {
    let types = ["active", "passive", "so"];
    let at = tcp_address(usize::from(argument & 1));
    let text = format!(
        "1 1 tcp {} {} {} typ host tcptype {}",
        u32::from(argument) << 16 | 0xff,
        at.ip(),
        if argument.is_multiple_of(3) { 9 } else { at.port() },
        types[usize::from(argument % 3)]
    );
    text.parse().expect("a sound candidate")
}

impl End for Ice {
    fn act(&mut self, now: Instant, action: u8, argument: u8) -> Option<Vec<u8>> {
        let own = usize::from(self.agent.role() == Role::Controlled);
        match action % 20 {
            0..=2 => {
                let priority = u32::from(argument) << 16 | 0xff;
                let offset = u16::from(argument % 5);
                self.agent
                    .add_remote_candidate(now, candidate(usize::from(argument & 1), priority, offset));
            }
            3 => self.agent.end_of_remote_candidates(now),
            4 => self.agent.set_role(if argument & 1 == 0 {
                Role::Controlling
            } else {
                Role::Controlled
            }),
            5 if argument > 200 => {
                self.agent.restart(now);
                self.agent.gather(now);
            }
            5 => {
                if let Some(remote) = self.remote.clone() {
                    self.agent.set_remote_credentials(now, remote);
                }
            }
            6 => self.agent.set_remote_lite(argument & 1 == 1),
            7 => self.serve(now, own),
            8 => {
                // What goes out on a selected path is wrapped as the path wants it.
                let path = self.agent.send_path()?;
                let mut out = TransmitBuf::new(1200, 1200);
                let (front, back) = self.agent.path_room(&path);
                out.set_path_room(front, back);
                out.begin(0, 0);
                out.put_slice(&[0x80; 20]);
                self.agent.wrap(now, path, &mut out);
                let range = out.finish();
                return Some(out.bytes(range).to_vec());
            }
            9..=12 => self.world(now, action % 20, argument),
            13 => self.agent.set_remote_renomination(argument & 1 == 1),
            14 | 15 => self.agent.add_remote_candidate(now, tcp_candidate(argument)),
            _ => {
                let _ = self.agent.stats();
            }
        }
        None
    }
}
