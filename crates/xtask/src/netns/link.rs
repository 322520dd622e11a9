//! A link between two network namespaces: what comes out of a TUN interface in one goes through `antiphon-netsim`, on the clock of
//! this machine, and into one in the other. So a real link has the queues, losses and marks that the simulated ones have, without
//! netem, which not every kernel has.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_netsim::sansio::{Ecn, Local};
use antiphon_netsim::{HostId, LinkConfig, Network, SocketId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::room::Room;

/// The interface, in both namespaces.
pub(super) const INTERFACE: &str = "link";
/// No packet of an interface is larger.
const MTU: usize = 1500;
/// What the interface holds until it is read; a burst of many segments is not lost there.
const INTERFACE_QUEUE: u32 = 2000;
/// Packets taken from one end before the other has its turn.
const BATCH: usize = 64;
/// Packets that may be on the link; more are dropped, as by any router.
const MAX_UNDER_WAY: u64 = 8192;
/// How soon an order is carried out.
const ORDERS: Duration = Duration::from_millis(5);
/// So finely the bytes are counted over time.
pub(super) const SLOT: Duration = Duration::from_millis(100);
/// What a packet costs on the link besides its own bytes: it is the data of a simulated datagram, as in a tunnel.
const TUNNEL: usize = 28;
/// The same dice in every run.
const SEED: u64 = 13;

/// What the link does, from one end to the other and back. TCP has the delay alone: it carries what the two ends of a test have to say
/// to each other, which is not measured.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// From the first namespace to the second.
    pub(super) forth: LinkConfig,
    /// From the second to the first.
    pub(super) back: LinkConfig,
}

/// What has passed in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// UDP packets that have come to the link.
    pub(super) sent: u64,
    /// Packets that have left it.
    pub(super) passed: u64,
    /// The bytes of those, IP headers included.
    pub(super) passed_bytes: u64,
    /// What UDP packets that came to the link in each [`SLOT`] since it was made cost there, in bytes.
    pub(super) sent_by_slot: Vec<u64>,
    /// The same of those that left it.
    pub(super) passed_by_slot: Vec<u64>,
}

/// What has become of packets.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// From the first end to the second, and back.
    pub(super) passed: [Passed; 2],
    /// Lost by dice.
    pub(super) lost: u64,
    /// Late, and behind others that came later.
    pub(super) late: u64,
    /// Found the queue full.
    pub(super) full: u64,
}

enum Order {
    Shape(Box<Shape>),
    Cut(bool),
}

/// The link; it goes when this goes.
pub(super) struct Link {
    orders: Option<Sender<Order>>,
    counts: Arc<Mutex<Counts>>,
    thread: Option<JoinHandle<()>>,
    /// From when the slots count.
    began: Instant,
}

impl Link {
    /// Makes the interface in both namespaces, and joins them.
    pub(super) fn between(a: (&Room, Ipv4Addr), b: (&Room, Ipv4Addr), shape: Shape) -> Result<Self, String> {
        let rooms = [a.0.name().to_owned(), b.0.name().to_owned()];
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (orders, ordered) = mpsc::channel();
        let (ready, opened) = mpsc::channel();
        let began = Instant::now();
        let counted = counts.clone();
        // A namespace is one of a thread: this one goes into the one and then into the other, and nobody else notices.
        let thread = std::thread::spawn(move || match open(&rooms[0]).and_then(|a| Ok([a, open(&rooms[1])?])) {
            Ok(devices) => {
                _ = ready.send(Ok(()));
                Wire::new(devices, began, counted, shape).run(&ordered);
            }
            Err(why) => _ = ready.send(Err(why)),
        });
        let opened = opened.recv().map_err(|_| "the link's thread is gone".to_owned())?;
        let link = Self {
            orders: Some(orders),
            counts,
            thread: Some(thread),
            began,
        };
        opened?;
        for (room, address) in [a, b] {
            room.inside(&format!("ip addr add {address}/24 dev {INTERFACE}"))?;
            room.inside(&format!("ip link set dev {INTERFACE} txqueuelen {INTERFACE_QUEUE} up"))?;
            room.inside(&format!("ip route add default dev {INTERFACE}"))?;
        }
        Ok(link)
    }

    /// It is so from now on; what is on its way stays so.
    pub(super) fn shape(&self, shape: Shape) {
        self.order(Order::Shape(Box::new(shape)));
    }

    /// Nothing comes through any more, or everything again.
    pub(super) fn cut(&self, cut: bool) {
        self.order(Order::Cut(cut));
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Its thread lives as long as this.
            _ = orders.send(order);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// In which slot `at` is.
    pub(super) fn slot(&self, at: Instant) -> usize {
        slot(self.began, at)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The thread ends with its orders, and its interfaces with it.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn slot(began: Instant, at: Instant) -> usize {
    (at.saturating_duration_since(began).as_millis() / SLOT.as_millis()) as usize
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves this thread into the namespace, and makes the interface there.
fn open(room: &str) -> Result<SyncDevice, String> {
    let path = format!("/run/netns/{room}");
    let named = |what: &str, error: io::Error| format!("{what}: {error}");
    let namespace = std::fs::File::open(&path).map_err(|error| named(&path, error))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| named(&path, error.into()))?;
    let device = DeviceBuilder::new().name(INTERFACE).layer(Layer::L3).enable(false);
    let device = device.build_sync().map_err(|error| named("/dev/net/tun", error))?;
    device.set_nonblocking(true).map_err(|error| named(INTERFACE, error))?;
    Ok(device)
}

/// What runs on the link's thread. Each end is two hosts of the simulated network: one for UDP, one for all else.
struct Wire {
    devices: [SyncDevice; 2],
    network: Network,
    udp: [(HostId, SocketId); 2],
    other: [(HostId, SocketId); 2],
    /// At which end a packet leaves, and whether it is of UDP.
    exits: BTreeMap<u32, (usize, bool)>,
    began: Instant,
    counts: Arc<Mutex<Counts>>,
    cut: bool,
}

impl Wire {
    fn new(devices: [SyncDevice; 2], began: Instant, counts: Arc<Mutex<Counts>>, shape: Shape) -> Self {
        let mut network = Network::starting_at(SEED, began);
        let mut end = |last: u8| {
            let host = network.add_host();
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 1);
            let socket = network.bind(host, address).expect("an address of its own");
            (host, socket)
        };
        let (udp, other) = ([end(1), end(2)], [end(3), end(4)]);
        let exits = [udp, other].into_iter().enumerate().flat_map(|(kind, ends)| {
            let numbered = ends.into_iter().enumerate();
            numbered.map(move |(end, (_, socket))| (socket.0, (end, kind == 0)))
        });
        let mut wire = Self {
            devices,
            exits: exits.collect(),
            network,
            udp,
            other,
            began,
            counts,
            cut: false,
        };
        wire.shape(shape);
        wire
    }

    fn shape(&mut self, shape: Shape) {
        let Self {
            udp, other, network, ..
        } = self;
        for (from, config) in [(0, shape.forth), (1, shape.back)] {
            let to = 1 - from;
            let calm = LinkConfig {
                delay: config.delay,
                ..LinkConfig::loopback()
            };
            network.set_link(other[from].0, other[to].0, calm);
            // What is too large for the interface does not come here, and a packet is data with a header more to the simulation.
            let mtu = 2 * MTU;
            network.set_link(udp[from].0, udp[to].0, LinkConfig { mtu, ..config });
        }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Shape(shape)) => {
                        self.network.advance_to(Instant::now());
                        self.shape(*shape);
                    }
                    Ok(Order::Cut(cut)) => self.cut = cut,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let now = Instant::now();
            let until = self.network.next_event();
            let until = until.map_or(ORDERS, |at| at.saturating_duration_since(now).min(ORDERS));
            if wait(self.devices.each_ref().map(AsFd::as_fd), until).is_err() {
                return;
            }
            self.network.advance_to(Instant::now());
            self.let_out();
            for end in 0..2 {
                self.take_in(end);
            }
        }
    }

    /// What has crossed goes into the interfaces.
    fn let_out(&mut self) {
        let mut counts = lock(&self.counts);
        while let Some(delivery) = self.network.receive() {
            let Local::Socket(socket) = delivery.datagram.path.local else {
                continue;
            };
            let Some(&(end, is_udp)) = self.exits.get(&socket) else {
                continue;
            };
            let mut packet = delivery.datagram.data;
            mark(&mut packet, delivery.datagram.ecn);
            // An interface that is not up yet, or no more, takes nothing.
            if self.devices[end].send(&packet).is_ok() {
                let passed = &mut counts.passed[1 - end];
                passed.passed += 1;
                passed.passed_bytes += packet.len() as u64;
                if is_udp {
                    add(
                        &mut passed.passed_by_slot,
                        slot(self.began, self.network.now()),
                        packet.len(),
                    );
                }
            }
        }
        let stats = self.network.stats();
        counts.lost = stats.lost;
        counts.late = stats.reordered;
        counts.full = stats.queue_dropped;
    }

    fn take_in(&mut self, end: usize) {
        let mut packet = [0; MTU];
        for _ in 0..BATCH {
            let Ok(len) = self.devices[end].recv(&mut packet) else {
                return;
            };
            let Some(packet) = packet.get(..len) else { return };
            let stats = self.network.stats();
            let under_way = stats.sent - stats.delivered - stats.lost - stats.queue_dropped;
            if self.cut || under_way >= MAX_UNDER_WAY {
                continue;
            }
            let is_udp = is_udp(packet);
            if is_udp {
                let mut counts = lock(&self.counts);
                let passed = &mut counts.passed[end];
                passed.sent += 1;
                add(&mut passed.sent_by_slot, slot(self.began, self.network.now()), len);
            }
            let ends = if is_udp { &self.udp } else { &self.other };
            let (from, to) = (ends[end].1, self.network.address(ends[1 - end].1));
            self.network.send(from, to, mark_of(packet), packet);
        }
    }
}

/// Waits until an interface has something, or for so long.
fn wait(ends: [BorrowedFd<'_>; 2], until: Duration) -> io::Result<()> {
    let mut ends = ends.map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
    let until = Timespec {
        tv_sec: 0,
        tv_nsec: until.subsec_nanos().into(),
    };
    match poll(&mut ends, Some(&until)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether this is UDP over IPv4.
fn is_udp(packet: &[u8]) -> bool {
    matches!(packet, [head, _, _, _, _, _, _, _, _, 17, ..] if head >> 4 == 4)
}

/// What the packet's second byte says (RFC 3168 §5), where it is IPv4.
fn mark_of(packet: &[u8]) -> Ecn {
    match packet {
        [head, service, ..] if head >> 4 == 4 => Ecn::from_bits(service & 3),
        _ => Ecn::NotEct,
    }
}

/// Gives the packet this mark, where it has another.
fn mark(packet: &mut [u8], ecn: Ecn) {
    if mark_of(packet) == ecn {
        return;
    }
    let length = packet.first().map_or(0, |head| usize::from(head & 15) * 4);
    let Some(header) = packet.get_mut(..length.max(20)) else {
        return;
    };
    header[1] = header[1] & !3 | ecn.bits();
    header[10..12].fill(0);
    // RFC 791 §3.1: the sum of all words in ones' complement.
    let words = header
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn add(slots: &mut Vec<u64>, slot: usize, bytes: usize) {
    if slots.len() <= slot {
        slots.resize(slot + 1, 0);
    }
    slots[slot] += (bytes + TUNNEL) as u64;
}
