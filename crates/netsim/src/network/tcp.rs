//! TCP on the network: connections that open, carry bytes, and close.

use std::net::SocketAddr;

use antiphon_sansio::{BytesMut, Ecn, Local};

use super::Network;
use crate::ids::HostId;
use crate::packet::{Packet, Segment, SegmentKind, Transport};
use crate::tcp::{Connection, End, TcpEvent};

impl Network {
    /// Listens on an address. Port 0 stands for a free one. `None` if it is taken.
    pub fn listen_tcp(&mut self, host: HostId, mut addr: SocketAddr) -> Option<SocketAddr> {
        if addr.port() == 0 {
            let free = |port: &u16| !self.listeners.contains(&(host, SocketAddr::new(addr.ip(), *port)));
            addr.set_port((40_000..=u16::MAX).find(free)?);
        }
        self.listeners.insert((host, addr)).then_some(addr)
    }

    /// Stops listening.
    pub fn close_listener(&mut self, host: HostId, addr: SocketAddr) {
        self.listeners.remove(&(host, addr));
    }

    /// Starts to connect; the host's machine hears of it in [`crate::Machine::handle_tcp`]. Where a node drops the first packet nothing
    /// is ever heard.
    pub fn connect_tcp(&mut self, host: HostId, from: SocketAddr, to: SocketAddr) -> (Local, SocketAddr) {
        let number = self.connections.len() as u32;
        let from = match from.port() {
            0 => SocketAddr::new(from.ip(), 30_000 + (number % 10_000) as u16),
            _ => from,
        };
        let end = End {
            host,
            addr: from,
            remote: to,
            open: true,
        };
        self.connections.push(Connection {
            ends: [Some(end), None],
            established: false,
            crossed: None,
        });
        self.send_segment(number, 0, SegmentKind::Syn, Vec::new());
        (Local::Tcp(2 * number), from)
    }

    /// Sends bytes; before the connection stands, or after it was closed, they go nowhere.
    pub fn send_tcp(&mut self, connection: Local, bytes: &[u8]) {
        let Local::Tcp(id) = connection else { return };
        let (number, side) = (id / 2, (id % 2) as usize);
        if self.connections.get(number as usize).is_some_and(|c| c.established) {
            self.send_segment(number, side, SegmentKind::Data, bytes.to_vec());
        } else {
            self.stats.unroutable += 1;
        }
    }

    /// Closes our end and tells the other.
    pub fn close_tcp(&mut self, connection: Local) {
        let Local::Tcp(id) = connection else { return };
        let (number, side) = (id / 2, (id % 2) as usize);
        self.send_segment(number, side, SegmentKind::Fin, Vec::new());
        if let Some(end) = self.end_mut(number, side) {
            end.open = false;
        }
    }

    /// The address of our end.
    pub fn tcp_address(&self, connection: Local) -> Option<SocketAddr> {
        let Local::Tcp(id) = connection else { return None };
        Some(
            self.connections.get(id as usize / 2)?.ends[id as usize % 2]
                .as_ref()?
                .addr,
        )
    }

    fn end_mut(&mut self, number: u32, side: usize) -> Option<&mut End> {
        self.connections.get_mut(number as usize)?.ends[side].as_mut()
    }

    fn send_segment(&mut self, number: u32, side: usize, kind: SegmentKind, data: Vec<u8>) {
        let Some(end) = self.end_mut(number, side) else { return };
        if !end.open {
            return;
        }
        let (host, source, destination) = (end.host, end.addr, end.remote);
        self.send_as(host, source, destination, number, kind, data);
    }

    fn send_as(
        &mut self,
        host: HostId,
        source: SocketAddr,
        destination: SocketAddr,
        number: u32,
        kind: SegmentKind,
        data: Vec<u8>,
    ) {
        let transport = Transport::Tcp(Segment {
            connection: number,
            kind,
        });
        let packet = Packet {
            source,
            destination,
            ecn: Ecn::NotEct,
            transport,
            data,
        };
        self.dispatch(host, packet);
    }

    /// Our own attempt to open what the SYN of another opens: between the same two addresses, and not answered yet.
    fn crossing(&self, host: HostId, number: u32, packet: &Packet) -> Option<u32> {
        let same = |end: &End| end.host == host && end.addr == packet.destination && end.remote == packet.source;
        let index = self.connections.iter().position(|connection| {
            let ours = connection.ends[0].as_ref().is_some_and(|end| end.open && same(end));
            let free = connection.ends[1].is_none() && connection.crossed.is_none_or(|crossed| crossed == number);
            ours && free
        });
        index.map(|index| index as u32).filter(|index| *index != number)
    }

    /// What comes over a connection that both ends opened is for our own attempt.
    fn take_crossed(&mut self, ours: u32, kind: SegmentKind, packet: &Packet) -> Option<TcpEvent> {
        let connection = &mut self.connections[ours as usize];
        let local = Local::Tcp(2 * ours);
        let end = connection.ends[0].as_mut().filter(|end| end.open)?;
        match kind {
            SegmentKind::Syn | SegmentKind::SynAck => {
                let first = !std::mem::replace(&mut connection.established, true);
                first.then_some(TcpEvent::Connected { connection: local })
            }
            SegmentKind::Data => Some(TcpEvent::Data {
                connection: local,
                remote: end.remote,
                bytes: BytesMut::from(&packet.data[..]),
            }),
            SegmentKind::Fin | SegmentKind::Reset => {
                end.open = false;
                Some(TcpEvent::Closed { connection: local })
            }
        }
    }

    /// A segment has come to `host`.
    pub(crate) fn take_segment(&mut self, host: HostId, segment: Segment, packet: Packet) -> Option<TcpEvent> {
        let number = segment.connection;
        if segment.kind == SegmentKind::Syn
            && let Some(ours) = self.crossing(host, number, &packet)
        {
            for (one, other) in [(ours, number), (number, ours)] {
                self.connections[one as usize].crossed = Some(other);
            }
            self.send_segment(ours, 0, SegmentKind::SynAck, Vec::new());
            return self.take_crossed(ours, segment.kind, &packet);
        }
        if let Some(ours) = self.connections.get(number as usize)?.crossed {
            return self.take_crossed(ours, segment.kind, &packet);
        }
        let connection = self.connections.get_mut(number as usize)?;
        let from_opener = connection.ends[1]
            .as_ref()
            .is_none_or(|end| end.addr == packet.destination && end.host == host);
        let side = usize::from(from_opener);
        let local = Local::Tcp(2 * number + side as u32);
        match segment.kind {
            SegmentKind::Syn => {
                let addr = packet.destination;
                let remote = packet.source;
                if !self.listeners.contains(&(host, addr)) {
                    self.send_as(host, addr, remote, number, SegmentKind::Reset, Vec::new());
                    return None;
                }
                connection.ends[1] = Some(End {
                    host,
                    addr,
                    remote,
                    open: true,
                });
                connection.established = true;
                self.send_segment(number, 1, SegmentKind::SynAck, Vec::new());
                Some(TcpEvent::Accepted {
                    connection: local,
                    addr,
                    remote,
                })
            }
            SegmentKind::SynAck => Some(TcpEvent::Connected {
                connection: Local::Tcp(2 * number),
            }),
            SegmentKind::Reset => {
                connection.ends[0].as_mut()?.open = false;
                Some(TcpEvent::Refused {
                    connection: Local::Tcp(2 * number),
                })
            }
            SegmentKind::Data => {
                let end = connection.ends[side].as_ref().filter(|end| end.open)?;
                let bytes = BytesMut::from(&packet.data[..]);
                Some(TcpEvent::Data {
                    connection: local,
                    remote: end.remote,
                    bytes,
                })
            }
            SegmentKind::Fin => {
                let end = connection.ends[side].as_mut().filter(|end| end.open)?;
                end.open = false;
                Some(TcpEvent::Closed { connection: local })
            }
        }
    }
}
