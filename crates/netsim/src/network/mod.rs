//! The network itself: hosts, their sockets, the nodes above them, the links between them, and the clock.

mod links;
mod tcp;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};

use crate::ids::{BottleneckId, HostId, NodeId, SocketId};
use crate::link::{Link, LinkConfig};
use crate::node::Node;
use crate::packet::{Packet, Transport};
use crate::start::start;
use crate::stats::Stats;
use crate::tcp::{Connection, TcpEvent};

/// First port that is given to a socket bound to port 0.
const FIRST_EPHEMERAL_PORT: u16 = 49_152;

/// A datagram that has arrived.
#[derive(Debug)]
pub struct Delivery {
    /// Whose it is.
    pub host: HostId,
    /// As the host's machine takes it.
    pub datagram: Datagram,
}

#[derive(Debug, Default)]
struct Host {
    behind: Option<NodeId>,
    down: bool,
}

#[derive(Debug)]
struct Socket {
    host: HostId,
    address: SocketAddr,
    open: bool,
}

/// Where a link ends: what is behind one node shares its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Site {
    Host(HostId),
    Node(NodeId),
}

/// Where a packet goes that is on a link.
#[derive(Clone, Copy, Debug)]
struct Hop {
    to: Site,
    /// The link behind this one.
    then: Option<BottleneckId>,
}

/// A link: from one host, or shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Own(HostId, Site),
    Shared(BottleneckId),
}

#[derive(Debug)]
struct InFlight {
    packet: Packet,
    to: Site,
}

/// Hosts, sockets and links on a virtual clock. The same seed and the same calls give the same deliveries.
#[derive(Debug)]
pub struct Network {
    now: Instant,
    rng: Rng,
    hosts: Vec<Host>,
    nodes: Vec<Box<dyn Node>>,
    /// What each node is itself behind.
    behind: Vec<Option<NodeId>>,
    /// What each node answers to [`Node::addresses`], asked once: routing looks at them for every packet.
    outside: Vec<Vec<IpAddr>>,
    sockets: Vec<Socket>,
    by_address: BTreeMap<(HostId, SocketAddr), SocketId>,
    default_link: LinkConfig,
    links: BTreeMap<(HostId, Site), Link<Hop>>,
    /// Those that several pairs of hosts share, behind their own, and who does.
    bottlenecks: Vec<Link<Hop>>,
    through: BTreeMap<(HostId, Site), BottleneckId>,
    /// When something leaves the links at which packets wait.
    departures: BTreeMap<Way, Instant>,
    /// What comes to a bottleneck.
    hops: BTreeMap<(Instant, u64), (Packet, Hop)>,
    in_flight: BTreeMap<u64, InFlight>,
    arrivals: BinaryHeap<Reverse<(Instant, u64)>>,
    next_number: u64,
    pub(crate) stats: Stats,
    pub(crate) listeners: BTreeSet<(HostId, SocketAddr)>,
    pub(crate) connections: Vec<Connection>,
    datagrams: VecDeque<Delivery>,
    tcp_events: VecDeque<(HostId, TcpEvent)>,
    /// Which host has an address, among those behind one node or in the open: private addresses are the same everywhere.
    homes: BTreeMap<(Option<NodeId>, IpAddr), HostId>,
}

impl Network {
    /// A network without hosts, whose clock begins at [`start`]; from then on time is virtual.
    pub fn new(seed: u64) -> Self {
        Self::starting_at(seed, start())
    }

    /// A network whose clock starts at `now`.
    pub fn starting_at(seed: u64, now: Instant) -> Self {
        Self {
            now,
            rng: Rng::from_u64(seed).fork("netsim"),
            hosts: Vec::new(),
            nodes: Vec::new(),
            behind: Vec::new(),
            outside: Vec::new(),
            sockets: Vec::new(),
            by_address: BTreeMap::new(),
            default_link: LinkConfig::default(),
            links: BTreeMap::new(),
            bottlenecks: Vec::new(),
            through: BTreeMap::new(),
            departures: BTreeMap::new(),
            hops: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            arrivals: BinaryHeap::new(),
            next_number: 0,
            stats: Stats::default(),
            listeners: BTreeSet::new(),
            connections: Vec::new(),
            datagrams: VecDeque::new(),
            tcp_events: VecDeque::new(),
            homes: BTreeMap::new(),
        }
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What became of the packets so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Adds a host.
    pub fn add_host(&mut self) -> HostId {
        self.hosts.push(Host::default());
        HostId(self.hosts.len() as u32 - 1)
    }

    /// Adds a node, behind which hosts may be placed.
    pub fn add_node(&mut self, node: Box<dyn Node>) -> NodeId {
        self.outside.push(node.addresses());
        self.nodes.push(node);
        self.behind.push(None);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// Places a host behind a node, or in the open. It takes its addresses along, but for those that somebody has there.
    pub fn place(&mut self, host: HostId, behind: Option<NodeId>) {
        let before = std::mem::replace(&mut self.hosts[host.0 as usize].behind, behind);
        if before == behind {
            return;
        }
        let is_his = |&(&(level, _), owner): &(&(Option<NodeId>, IpAddr), &HostId)| level == before && *owner == host;
        let his: Vec<IpAddr> = self.homes.iter().filter(is_his).map(|((_, ip), _)| *ip).collect();
        for ip in his {
            self.homes.remove(&(before, ip));
            self.homes.entry((behind, ip)).or_insert(host);
        }
    }

    /// Places a node behind another one: a NAT at home behind the provider's.
    pub fn place_node(&mut self, node: NodeId, behind: Option<NodeId>) {
        self.behind[node.0 as usize] = behind;
    }

    /// Gives a host an address. Sockets that are bound do so by themselves; what only connects or listens over TCP needs this.
    pub fn add_address(&mut self, host: HostId, address: IpAddr) {
        let level = self.hosts[host.0 as usize].behind;
        self.homes.insert((level, address), host);
    }

    /// Takes an address from a host, as when it leaves a network. Its sockets and connections there stay open but are dead, both ways
    /// and for what is on its way too, and nobody is told; when the address comes back they live again.
    pub fn remove_address(&mut self, host: HostId, address: IpAddr) {
        if self.has(host, address) {
            let level = self.hosts[host.0 as usize].behind;
            self.homes.remove(&(level, address));
        }
    }

    fn has(&self, host: HostId, address: IpAddr) -> bool {
        let level = self.hosts[host.0 as usize].behind;
        self.homes.get(&(level, address)) == Some(&host)
    }

    /// Cuts a host off: what it sends and what is sent to it vanishes until it is back.
    pub fn set_down(&mut self, host: HostId, down: bool) {
        self.hosts[host.0 as usize].down = down;
    }

    /// Binds a socket. Port 0 stands for a free one. `None` if the address is taken or unspecified: hosts may have the same address if
    /// they are behind different nodes.
    pub fn bind(&mut self, host: HostId, mut address: SocketAddr) -> Option<SocketId> {
        if address.ip().is_unspecified() {
            return None;
        }
        let level = self.hosts[host.0 as usize].behind;
        let is_anothers = |socket: &Socket| {
            let same_place = self.hosts[socket.host.0 as usize].behind == level;
            socket.open && socket.host != host && socket.address.ip() == address.ip() && same_place
        };
        if self.sockets.iter().any(is_anothers) {
            return None;
        }
        if address.port() == 0 {
            let free = (FIRST_EPHEMERAL_PORT..=u16::MAX).find(|port| {
                let candidate = (host, SocketAddr::new(address.ip(), *port));
                !self.by_address.contains_key(&candidate)
            })?;
            address.set_port(free);
        }
        if self.by_address.contains_key(&(host, address)) {
            return None;
        }
        let id = SocketId(self.sockets.len() as u32);
        self.sockets.push(Socket {
            host,
            address,
            open: true,
        });
        self.by_address.insert((host, address), id);
        self.homes.insert((level, address.ip()), host);
        Some(id)
    }

    /// The address of a socket.
    pub fn address(&self, socket: SocketId) -> SocketAddr {
        self.sockets[socket.0 as usize].address
    }

    /// The host of a socket.
    pub fn owner(&self, socket: SocketId) -> HostId {
        self.sockets[socket.0 as usize].host
    }

    /// Closes a socket; what is on its way to it vanishes.
    pub fn close(&mut self, socket: SocketId) {
        let socket = &mut self.sockets[socket.0 as usize];
        if std::mem::take(&mut socket.open) {
            self.by_address.remove(&(socket.host, socket.address));
        }
    }

    /// Sends one datagram.
    pub fn send(&mut self, from: SocketId, to: SocketAddr, ecn: Ecn, data: &[u8]) {
        self.stats.sent += 1;
        let socket = &self.sockets[from.0 as usize];
        let (host, open) = (socket.host, socket.open);
        let packet = Packet {
            source: socket.address,
            destination: to,
            ecn,
            transport: Transport::Udp,
            data: data.to_vec(),
        };
        if open {
            self.dispatch(host, packet);
        } else {
            self.stats.unroutable += 1;
        }
    }

    pub(crate) fn dispatch(&mut self, host: HostId, packet: Packet) {
        self.settle();
        let goes_out = !self.hosts[host.0 as usize].down && self.has(host, packet.source.ip());
        if !goes_out || self.route(host, packet).is_none() {
            self.stats.unroutable += 1;
        }
    }

    /// Sends what a machine wrote: one datagram, or several of the segment size. Paths that are not sockets go nowhere.
    pub fn transmit(&mut self, out: &TransmitBuf, transmit: &Transmit) {
        for datagram in transmit.datagrams(out) {
            match transmit.path.local {
                Local::Socket(id) if (id as usize) < self.sockets.len() => {
                    self.send(SocketId(id), transmit.path.remote, transmit.ecn, datagram);
                }
                Local::Tcp(_) => {
                    self.stats.sent += 1;
                    self.send_tcp(transmit.path.local, datagram);
                }
                _ => {
                    self.stats.sent += 1;
                    self.stats.unroutable += 1;
                }
            }
        }
    }

    fn route(&mut self, from: HostId, mut packet: Packet) -> Option<()> {
        // Up through what the host is behind, until somebody at that level has the address.
        let mut level = self.hosts[from.0 as usize].behind;
        let to = loop {
            if let Some(site) = self.site_at(level, packet.destination) {
                break site;
            }
            let node = level?;
            packet = self.nodes[node.0 as usize].outbound(self.now, packet)?;
            level = self.behind[node.0 as usize];
        };
        self.enter(from, to, packet);
        Some(())
    }

    /// Who has an address among those behind `level`, or in the open.
    fn site_at(&self, level: Option<NodeId>, address: SocketAddr) -> Option<Site> {
        let is_here = |node: &usize| self.behind[*node] == level && self.outside[*node].contains(&address.ip());
        if let Some(at) = (0..self.nodes.len()).find(is_here) {
            return Some(Site::Node(NodeId(at as u32)));
        }
        self.homes.get(&(level, address.ip())).copied().map(Site::Host)
    }

    /// When to look again: nothing arrives before.
    pub fn next_event(&self) -> Option<Instant> {
        if !self.datagrams.is_empty() || !self.tcp_events.is_empty() {
            return Some(self.now);
        }
        let arrival = self.arrivals.peek().map(|Reverse((at, _))| *at);
        arrival.into_iter().chain(self.next_from_queues()).min()
    }

    /// Moves the clock; never backwards.
    pub fn advance_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Moves the clock by `duration`.
    pub fn advance(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// The next datagram that has arrived by now.
    pub fn receive(&mut self) -> Option<Delivery> {
        while self.datagrams.is_empty() && self.arrive() {}
        self.datagrams.pop_front()
    }

    /// The next thing that has happened to a TCP connection by now.
    pub fn receive_tcp(&mut self) -> Option<(HostId, TcpEvent)> {
        while self.tcp_events.is_empty() && self.arrive() {}
        self.tcp_events.pop_front()
    }

    /// Lets the next packet that is due arrive; `false` if none is.
    fn arrive(&mut self) -> bool {
        self.settle();
        if self.arrivals.peek().is_none_or(|Reverse((at, _))| *at > self.now) {
            return false;
        }
        let Some(Reverse((_, number))) = self.arrivals.pop() else {
            return false;
        };
        let delivered = self
            .in_flight
            .remove(&number)
            .and_then(|flight| self.deliver(flight.packet, flight.to));
        match delivered {
            Some(()) => self.stats.delivered += 1,
            None => self.stats.unroutable += 1,
        }
        true
    }

    fn deliver(&mut self, mut packet: Packet, mut to: Site) -> Option<()> {
        // Down through NATs to the host.
        let host = loop {
            match to {
                Site::Host(host) => break host,
                Site::Node(node) => {
                    packet = self.nodes[node.0 as usize].inbound(self.now, packet)?;
                    to = self.site_at(Some(node), packet.destination)?;
                }
            }
        };
        // It may have moved, or lost the address, since this was sent.
        if self.hosts[host.0 as usize].down || !self.has(host, packet.destination.ip()) {
            return None;
        }
        if let Transport::Tcp(segment) = packet.transport {
            if let Some(event) = self.take_segment(host, segment, packet) {
                self.tcp_events.push_back((host, event));
            }
            return Some(());
        }
        let id = *self.by_address.get(&(host, packet.destination))?;
        let datagram = Datagram {
            path: Path {
                local: id.local(),
                remote: packet.source,
            },
            ecn: packet.ecn,
            data: BytesMut::from(&packet.data[..]),
        };
        self.datagrams.push_back(Delivery { host, datagram });
        Some(())
    }
}
