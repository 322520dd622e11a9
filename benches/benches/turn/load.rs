//! The clients and their peers, who send all they can through a server, or at the pace of calls.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Rng, TransmitBuf};
use antiphon_turn::{CHANNEL_HEADER_LEN, Client, ClientConfig, ClientEvent};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::servers::{PASSWORD, USER};

/// Datagrams on their way in each direction, all allocations together: enough to keep a server busy, and less than the
/// kernel buffers of all of them hold.
const WINDOW: u64 = 256;
/// After so much silence nothing more is waited for. A server that the system does not let run is silent for a while,
/// too.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Ports that are tried: a server may remember one of an earlier load.
const TRIES: usize = 5;
/// A GRO batch is at most this long.
const BATCH_BYTES: usize = 64 * 1024;
const KERNEL_BUFFER: usize = 4 << 20;

/// How clients and server carry data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Channels,
    Indications,
}

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Clients; each has an allocation, and a peer of its own.
    pub(crate) allocations: usize,
    /// Bytes of each datagram of a peer.
    pub(crate) payload: usize,
    /// Datagrams that are sent at once.
    pub(crate) run: usize,
    pub(crate) way: Way,
    /// Between two such runs of one sender; `None`: as fast as the server relays.
    pub(crate) pause: Option<Duration>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Channels => "channels",
            Way::Indications => "indications",
        };
        let Self {
            allocations,
            payload,
            run,
            ..
        } = self;
        write!(f, "{way}, {payload} bytes, runs of {run}, {allocations} allocations")?;
        match self.pause {
            Some(pause) => write!(f, ", every {} ms", pause.as_millis()),
            None => Ok(()),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    pub(crate) time: Duration,
    /// Of the server.
    pub(crate) processor: Duration,
}

impl Measured {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.arrived += other.arrived;
        self.time += other.time;
        self.processor += other.processor;
    }

    pub(crate) fn per_second_of_processor(&self) -> f64 {
        self.arrived as f64 / self.processor.as_secs_f64()
    }
}

/// One socket: a client's, or a peer's.
struct End {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The server, or the relayed address.
    to: SocketAddr,
    /// A run of what it sends.
    batch: Vec<u8>,
    segment: usize,
    /// How long what it gets is, and where in it the number of the allocation is to be found.
    expects: usize,
    mark_at: Option<usize>,
    sent: u64,
    arrived: u64,
    due: Instant,
}

/// Clients and peers with an allocation each, ready to send.
pub(crate) struct Load {
    scenario: Scenario,
    /// First all clients, then all peers, in the same order.
    ends: Vec<End>,
    clients: Vec<Client>,
    server: SocketAddr,
    poll: Poll,
    kernel: Vec<u8>,
    /// What is not waited for any more, of each direction: from clients, from peers.
    given_up: [u64; 2],
    cursor: [usize; 2],
}

impl Load {
    /// Makes the allocations.
    pub(crate) fn new(scenario: &Scenario, server: SocketAddr) -> io::Result<Self> {
        let mut clients = Vec::new();
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for number in 0..scenario.allocations {
            let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let peer_addr = peer.local_addr()?;
            let (mut client, socket, relayed) = allocation(server, peer_addr, scenario.way)?;
            let mut payload = vec![0; scenario.payload];
            payload[..4].copy_from_slice(&(number as u32).to_be_bytes());
            let message = wrapped(&mut client, peer_addr, &payload);
            let mark_at = (scenario.way == Way::Channels).then_some(CHANNEL_HEADER_LEN);
            // A Data indication is as long as a Send indication, unless the server adds something.
            near.push(End::new(
                socket,
                server,
                &message,
                scenario.run,
                message.len(),
                mark_at,
            )?);
            far.push(End::new(peer, relayed, &payload, scenario.run, payload.len(), Some(0))?);
            clients.push(client);
        }
        let poll = Poll::new()?;
        let mut ends: Vec<End> = near.into_iter().chain(far).collect();
        for (at, end) in ends.iter_mut().enumerate() {
            poll.registry()
                .register(&mut end.socket, Token(at), Interest::READABLE)?;
        }
        Ok(Self {
            scenario: scenario.clone(),
            ends,
            clients,
            server,
            poll,
            kernel: vec![0; BATCH_SIZE * BATCH_BYTES],
            given_up: [0; 2],
            cursor: [0; 2],
        })
    }

    /// Sends for that long, and waits for what is on its way.
    pub(crate) fn run(&mut self, length: Duration) -> io::Result<Measured> {
        let start = Instant::now();
        let mut heard = start;
        let mut events = Events::with_capacity(1024);
        if let Some(pause) = self.scenario.pause {
            // Spread over the pause, as calls that know nothing of each other.
            let count = self.ends.len() as u32;
            for (at, end) in self.ends.iter_mut().enumerate() {
                end.due = start + pause * at as u32 / count;
            }
        }
        loop {
            let now = Instant::now();
            let over = now.saturating_duration_since(start) >= length;
            if over && self.on_their_way(0) + self.on_their_way(1) == 0 {
                break;
            }
            if now.saturating_duration_since(heard) >= SILENCE {
                for way in [0, 1] {
                    self.given_up[way] += self.on_their_way(way);
                }
                heard = now;
                continue;
            }
            let mut patience = SILENCE;
            if !over {
                match self.scenario.pause {
                    None => self.fill()?,
                    Some(pause) => patience = self.send_due(now, pause)?,
                }
            }
            self.poll.poll(&mut events, Some(patience))?;
            for event in &events {
                if self.receive(event.token().0)? {
                    heard = now;
                }
            }
        }
        Ok(Measured {
            sent: self.ends.iter().map(|end| end.sent).sum(),
            arrived: self.ends.iter().map(|end| end.arrived).sum(),
            time: start.elapsed(),
            processor: Duration::ZERO,
        })
    }

    /// Datagrams of clients (0) or of peers (1) that have not arrived.
    fn on_their_way(&self, way: usize) -> u64 {
        let (near, far) = self.ends.split_at(self.scenario.allocations);
        let (from, to) = if way == 0 { (near, far) } else { (far, near) };
        let sent: u64 = from.iter().map(|end| end.sent).sum();
        let arrived: u64 = to.iter().map(|end| end.arrived).sum();
        // What was given up may arrive all the same.
        sent.saturating_sub(arrived + self.given_up[way])
    }

    /// Sends until as much is on its way as may be, everybody in turn.
    fn fill(&mut self) -> io::Result<()> {
        let (count, run) = (self.scenario.allocations, self.scenario.run as u64);
        for way in [0, 1] {
            let mut runs = WINDOW.saturating_sub(self.on_their_way(way)) / run;
            let share = runs.div_ceil(count as u64);
            while runs > 0 {
                let at = way * count + self.cursor[way] % count;
                self.cursor[way] += 1;
                let now = share.min(runs);
                if !self.ends[at].send(self.scenario.run, now as usize)? {
                    break;
                }
                runs -= now;
            }
        }
        Ok(())
    }

    /// Sends what is due, and says how long to wait for the next.
    fn send_due(&mut self, now: Instant, pause: Duration) -> io::Result<Duration> {
        let mut next = now + pause;
        for end in &mut self.ends {
            if end.due <= now {
                end.send(self.scenario.run, 1)?;
                end.due += pause;
            }
            next = next.min(end.due);
        }
        Ok(next.saturating_duration_since(now))
    }

    /// Takes all that waits in one socket; says whether there was anything.
    fn receive(&mut self, at: usize) -> io::Result<bool> {
        let number = ((at % self.scenario.allocations) as u32).to_be_bytes();
        let end = &mut self.ends[at];
        let before = end.arrived;
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.kernel.chunks_mut(BATCH_BYTES);
            let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let taken = match end.state.recv((&end.socket).into(), &mut buffers, &mut metas) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(end.arrived > before),
                Err(error) => return Err(error),
            };
            for (buffer, meta) in buffers.iter().zip(&metas[..taken]) {
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    let marked = end.mark_at.is_none_or(|at| datagram[at..].starts_with(&number));
                    // The second half is for servers that add something to an indication.
                    if !marked
                        || datagram.len() < end.expects
                        || (end.mark_at.is_some() && datagram.len() > end.expects)
                    {
                        return Err(io::Error::other("what arrived is not what was sent"));
                    }
                    end.arrived += 1;
                }
            }
        }
    }

    /// Gives the allocations back.
    pub(crate) fn end(mut self) {
        let now = Instant::now();
        let mut out = TransmitBuf::new(2048, 1500);
        for (client, end) in self.clients.iter_mut().zip(&self.ends) {
            client.close(now);
            while client.poll_transmit(now, &mut out) {
                let range = out.finish();
                let _ = end.socket.send_to(out.bytes(range), self.server);
                out.clear();
            }
        }
    }
}

impl End {
    fn new(
        socket: std::net::UdpSocket,
        to: SocketAddr,
        message: &[u8],
        run: usize,
        expects: usize,
        mark_at: Option<usize>,
    ) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), KERNEL_BUFFER)?;
        state.set_send_buffer_size((&socket).into(), KERNEL_BUFFER)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            state,
            to,
            batch: message.repeat(run),
            segment: message.len(),
            expects,
            mark_at,
            sent: 0,
            arrived: 0,
            due: Instant::now(),
        })
    }

    /// Sends so many runs; `false` if the kernel has no room.
    fn send(&mut self, run: usize, runs: usize) -> io::Result<bool> {
        let taken = if run > 1 {
            (0..runs).try_for_each(|_| self.send_run(run))
        } else {
            self.send_alone(runs)
        };
        match taken {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send_run(&mut self, run: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.to,
            ecn: None,
            contents: &self.batch,
            segment_size: Some(self.segment),
            src_ip: None,
        };
        self.state.try_send((&self.socket).into(), &transmit)?;
        self.sent += run as u64;
        Ok(())
    }

    /// Datagrams that no kernel joins.
    fn send_alone(&mut self, count: usize) -> io::Result<()> {
        let to = self.to.into();
        let parts = [IoSlice::new(&self.batch)];
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            (0..count).map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> = controls
            .iter_mut()
            .map(|control| MMsgHdr::new_with_addr(&to, &parts, control))
            .collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() {
            let taken = sendmmsg(&self.socket, rest, SendFlags::empty())?;
            self.sent += taken as u64;
            rest = &mut rest[taken..];
        }
        Ok(())
    }
}

/// A message of the client's that carries `payload` to the peer.
fn wrapped(client: &mut Client, peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut out = TransmitBuf::new(4096, 4096);
    let (front, back) = client.room(peer);
    out.set_path_room(front, back);
    assert!(out.begin(0, 0), "a message fits");
    out.put_slice(payload);
    client.wrap(peer, &mut out);
    let range = out.finish();
    out.bytes(range).to_vec()
}

/// Makes one allocation that lets `peer` in: its client, the client's socket, and the relayed address.
fn allocation(server: SocketAddr, peer: SocketAddr, way: Way) -> io::Result<(Client, std::net::UdpSocket, SocketAddr)> {
    let start = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let seed = u64::from(socket.local_addr()?.port()) << 32 | u64::from(start.elapsed().subsec_nanos());
        let mut client = Client::new(ClientConfig::new(USER, PASSWORD), Rng::from_u64(seed));
        match allocate(&mut client, &socket, server, peer, way) {
            Ok(relayed) => return Ok((client, socket, relayed)),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => {}
        }
    }
}

fn allocate(
    client: &mut Client,
    socket: &std::net::UdpSocket,
    server: SocketAddr,
    peer: SocketAddr,
    way: Way,
) -> io::Result<SocketAddr> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut out = TransmitBuf::new(2048, 1500);
    let mut buffer = [0; 2048];
    let mut relayed = None;
    let mut asked = false;
    loop {
        let mut waits = false;
        while client.poll_transmit(Instant::now(), &mut out) {
            let range = out.finish();
            socket.send_to(out.bytes(range), server)?;
            out.clear();
            waits = true;
        }
        if let (Some(relayed), true, false) = (relayed, asked, waits) {
            return Ok(relayed);
        }
        let len = socket.recv(&mut buffer)?;
        let _ = client.handle_message(Instant::now(), BytesMut::from(&buffer[..len]));
        match client.poll_event() {
            Some(ClientEvent::Allocated { relayed: addr, .. }) => {
                relayed = Some(addr);
                match way {
                    // Which lets the peer in, too.
                    Way::Channels => client.bind_channel(peer),
                    Way::Indications => client.permit(peer.ip()),
                }
            }
            Some(event) => return Err(io::Error::other(format!("{event:?}"))),
            None => asked = relayed.is_some() && (way == Way::Indications || client.room(peer).0 == CHANNEL_HEADER_LEN),
        }
    }
}
