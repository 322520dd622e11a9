//! UDP sockets in batches, through `quinn-udp`: GRO in, GSO out. Peers and the TURN server share it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::task::{Context, Poll};

use antiphon_sansio::{Ecn, Local, Path, Transmit};
use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};

/// What a kernel buffer may hold at most: one GRO batch.
const BATCH_BYTES: usize = 64 * 1024;
/// Kernel buffers of a socket that many may share, in bytes, asked for in both directions; the kernel may grant less.
pub(crate) const LARGE_BUFFER: usize = 4 * 1024 * 1024;
/// The same for a socket of one client's.
pub(crate) const SMALL_BUFFER: usize = 1024 * 1024;
/// Batches that wait for a full kernel buffer; more are dropped, as a full link would.
const MAX_BACKLOG: usize = 16;

/// What one allocation for received datagrams holds. It is used again as soon as nobody holds a part of it.
const ARENA_BYTES: usize = 32 * 1024;

/// The stride of a batch that nobody wants: no datagrams lie that close.
const REFUSED: usize = 0;

/// Whether the kernel gives a batch as large as it can: fewer than asked for are all.
const RECEIVES_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

thread_local! {
    /// Where the kernel writes. It is empty again before anybody else of the thread has a turn, so all drivers share it.
    static KERNEL: RefCell<Vec<u8>> = RefCell::new(vec![0; BATCH_SIZE * BATCH_BYTES]);
}

/// Where batches are copied to out of the kernel's hands; shared by all sockets of a driver.
///
/// The copy is what safe code costs: memory that the kernel may write to must be initialised, and initialising 64 KiB for each
/// GRO batch costs more than copying what came. In return nothing pins a kernel buffer, and batches lie side by side in an
/// arena that is reused, without allocation, while those who receive keep up. What nobody wants is not copied.
#[derive(Default)]
pub(crate) struct Scratch {
    arena: BytesMut,
    /// What was copied last: in order, its source, ECN bits, length, and the length of each datagram in it.
    batches: VecDeque<(SocketAddr, Ecn, usize, usize)>,
}

impl Scratch {
    /// The next datagram of those that were received last.
    pub(crate) fn next_datagram(&mut self) -> Option<(SocketAddr, Ecn, BytesMut)> {
        let (remote, ecn, left, stride) = self.batches.front_mut()?;
        let datagram = (*remote, *ecn, self.arena.split_to((*stride).min(*left)));
        *left -= datagram.2.len();
        if *left == 0 {
            self.batches.pop_front();
        }
        Some(datagram)
    }
}

/// What a look into the kernel's queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams that wait in the [`Scratch`].
    pub(crate) wanted: usize,
    /// Datagrams that nobody wanted.
    pub(crate) refused: usize,
    /// Whether more may wait in the kernel.
    pub(crate) more: bool,
}

struct Waiting {
    remote: SocketAddr,
    ecn: Ecn,
    segment_size: Option<usize>,
    bytes: Vec<u8>,
}

/// One bound UDP socket.
pub(crate) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
}

impl Socket {
    /// Binds `addr`, with `buffer` bytes in the kernel for each direction; port 0 lets the system choose.
    pub(crate) fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = Self::unbound(addr)?;
        socket.bind(&addr.into())?;
        Self::of(socket, buffer)
    }

    /// A second socket with the same address that gets what comes from `remote`, and nothing else from now on. What came from
    /// others in the moment before lies in it too.
    ///
    /// The system allows it to us alone: the first socket was bound as its port's only one, and the second must be the same user's.
    pub(crate) fn connected(&self, remote: SocketAddr) -> io::Result<Self> {
        let socket = Self::unbound(self.addr)?;
        share(&socket2::SockRef::from(&self.io))?;
        share(&socket2::SockRef::from(&socket))?;
        socket.bind(&self.addr.into())?;
        socket.connect(&remote.into())?;
        Self::of(socket, LARGE_BUFFER)
    }

    fn unbound(addr: SocketAddr) -> io::Result<socket2::Socket> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn of(socket: socket2::Socket, buffer: usize) -> io::Result<Self> {
        let io = tokio::net::UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        // Best effort: the limits of the system stand.
        let _ = state.set_send_buffer_size((&io).into(), buffer);
        let _ = state.set_recv_buffer_size((&io).into(), buffer);
        let addr = io.local_addr()?;
        Ok(Self { io, state, addr })
    }

    /// The bound address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ready when datagrams wait, or the socket has broken.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_recv_ready(cx).map(drop)
    }

    /// Takes what one system call gives. What `wanted` says no to is dropped where it lies; take the rest from the `scratch`.
    pub(crate) fn receive(
        &self,
        scratch: &mut Scratch,
        mut wanted: impl FnMut(SocketAddr, &[u8]) -> bool,
    ) -> io::Result<Received> {
        KERNEL.with_borrow_mut(|kernel| {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = kernel.chunks_mut(BATCH_BYTES);
            let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let (taken, more) = self.read(&mut buffers, &mut metas)?;
            let mut received = Received {
                more,
                ..Received::default()
            };
            let mut total = 0;
            for (buffer, meta) in buffers.iter().zip(&mut metas[..taken]) {
                meta.stride = meta.stride.clamp(1, meta.len.max(1));
                let count = meta.len.div_ceil(meta.stride).max(1);
                let mut datagrams = buffer[..meta.len].chunks(meta.stride);
                let first = datagrams.next().unwrap_or_default();
                // A batch comes from one source. It is taken whole or not at all: the rare mixture is sorted by who reads it.
                if wanted(meta.addr, first) || datagrams.any(|datagram| wanted(meta.addr, datagram)) {
                    received.wanted += count;
                    total += meta.len;
                } else {
                    received.refused += count;
                    meta.stride = REFUSED;
                }
            }
            let Scratch { arena, batches } = scratch;
            // Gets the whole arena back if nobody holds a part of it.
            if arena.capacity() < total && !arena.try_reclaim(ARENA_BYTES.max(total)) {
                *arena = BytesMut::with_capacity(ARENA_BYTES.max(total));
            }
            for (buffer, meta) in buffers.iter().zip(&metas[..taken]) {
                if meta.stride == REFUSED {
                    continue;
                }
                arena.extend_from_slice(&buffer[..meta.len]);
                let ecn = meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8));
                batches.push_back((meta.addr, ecn, meta.len, meta.stride));
            }
            Ok(received)
        })
    }

    /// One system call: how many batches it gave, and whether more may wait.
    fn read(
        &self,
        buffers: &mut [IoSliceMut<'_>; BATCH_SIZE],
        metas: &mut [RecvMeta; BATCH_SIZE],
    ) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        let tried = self.io.try_io(tokio::io::Interest::READABLE, || {
            taken = self.state.recv((&self.io).into(), buffers, metas)?;
            // That nothing is left tokio hears at once, instead of by one more call that finds nothing.
            let all = RECEIVES_ALL && taken < BATCH_SIZE;
            if all {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        match tried {
            Ok(()) => Ok((taken, true)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((taken, false)),
            Err(error) => Err(error),
        }
    }

    /// The most datagrams that one [`Self::send`] may carry.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends one datagram, or several of `segment_size` bytes, in one system call.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel has no room now. Others (no route, too large) lose the datagrams, as UDP may.
    pub(crate) fn send(
        &self,
        remote: SocketAddr,
        ecn: Ecn,
        segment_size: Option<usize>,
        contents: &[u8],
    ) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: remote,
            ecn: EcnCodepoint::from_bits(ecn.bits()),
            contents,
            segment_size,
            src_ip: None,
        };
        self.io.try_io(tokio::io::Interest::WRITABLE, || {
            self.state.try_send((&self.io).into(), &transmit)
        })
    }
}

/// A socket, and what waits because its kernel buffer is full.
pub(crate) struct QueuedSocket {
    pub(crate) socket: Socket,
    backlog: VecDeque<Waiting>,
    /// Buffers of batches that have left the backlog.
    spare: Vec<Vec<u8>>,
    /// Batches that were lost: the kernel refused them, or too many waited.
    send_failures: u64,
}

impl QueuedSocket {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            backlog: VecDeque::new(),
            spare: Vec::new(),
            send_failures: 0,
        }
    }

    /// The bound address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.addr
    }

    /// Ready when datagrams wait, or when a full kernel buffer has room again.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.socket.poll_readable(cx).is_ready();
        let writable = !self.backlog.is_empty() && self.socket.io.poll_send_ready(cx).is_ready();
        if readable || writable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Sends as [`Socket::send`] does. What a full kernel buffer refuses waits, within a bound.
    pub(crate) fn send(&mut self, remote: SocketAddr, ecn: Ecn, segment_size: Option<usize>, bytes: &[u8]) {
        if self.backlog.is_empty() && self.send_now(remote, ecn, segment_size, bytes) {
            return;
        }
        if self.backlog.len() == MAX_BACKLOG {
            self.send_failures += 1;
            return;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.backlog.push_back(Waiting {
            remote,
            ecn,
            segment_size,
            bytes: buffer,
        });
    }

    /// Whether batches wait for room in the kernel: the driver then polls no machine for more.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) {
        while let Some(first) = self.backlog.pop_front() {
            if !self.send_now(first.remote, first.ecn, first.segment_size, &first.bytes) {
                self.backlog.push_front(first);
                return;
            }
            self.spare.push(first.bytes);
        }
    }

    /// `false` when the kernel has no room now.
    fn send_now(&mut self, remote: SocketAddr, ecn: Ecn, segment_size: Option<usize>, contents: &[u8]) -> bool {
        match self.socket.send(remote, ecn, segment_size, contents) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.send_failures += 1;
                tracing::debug!(%remote, local = %self.addr(), %error, "datagram not sent");
                true
            }
        }
    }
}

impl Drop for QueuedSocket {
    fn drop(&mut self) {
        if self.send_failures > 0 {
            tracing::debug!(local = %self.addr(), batches = self.send_failures, "datagrams were not sent");
        }
    }
}

/// Lets another socket of this user have the same address, where the system then gives each datagram to the one that is connected to
/// its source.
fn share(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.set_reuse_port(true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Datagrams that lie side by side in the buffer and go the same way.
pub(crate) struct Batch {
    pub(crate) path: Path,
    pub(crate) ecn: Ecn,
    start: usize,
    end: usize,
    /// The size of every datagram but the last, which may be shorter.
    pub(crate) segment: usize,
}

impl Batch {
    pub(crate) fn new(transmit: Transmit) -> Self {
        let segment = transmit.segment_size.unwrap_or(transmit.range.len());
        Self {
            path: transmit.path,
            ecn: transmit.ecn,
            start: transmit.range.start,
            end: transmit.range.end,
            segment: segment.max(1),
        }
    }

    /// Where its bytes are in the buffer.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Takes `next` in, if the kernel can send both in one call, of at most `limit` datagrams. Returns whether it did.
    pub(crate) fn join(&mut self, next: &Self, limit: usize) -> bool {
        if self.path != next.path || self.end != next.start {
            return false;
        }
        let len = self.end - self.start;
        // A stream knows no datagrams: their framing is in the bytes.
        let joins = matches!(self.path.local, Local::Tcp(_))
            || (self.ecn == next.ecn
                && len.is_multiple_of(self.segment)
                && next.segment <= self.segment
                && next.end - next.start <= self.segment
                && len / self.segment < limit);
        if joins {
            self.end = next.end;
        }
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind() -> Socket {
        Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), LARGE_BUFFER).unwrap()
    }

    #[tokio::test]
    async fn what_nobody_holds_is_received_into_the_same_memory() {
        let (mut sender, receiver) = (QueuedSocket::new(bind()), bind());
        // A new socket counts as full until the system has said otherwise.
        sender.socket.io.writable().await.unwrap();
        let mut scratch = Scratch::default();
        let mut places = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for n in 0..200u8 {
            sender.send(receiver.addr(), Ecn::NotEct, None, &[n; 1200]);
            while held.is_empty() {
                receiver.io.readable().await.unwrap();
                receiver.receive(&mut scratch, |_, _| true).unwrap();
                while let Some((_, _, data)) = scratch.next_datagram() {
                    assert_eq!(data[..], [n; 1200]);
                    places.insert(data.as_ptr() as usize);
                    held.push(data);
                }
            }
            held.clear();
        }
        // 200 datagrams of 1200 bytes, and never more than one arena.
        let (first, last) = (places.first().unwrap(), places.last().unwrap());
        assert!(last - first < ARENA_BYTES, "{places:?}");
        // What is held stays as it is, whatever comes after it.
        let mut kept = Vec::new();
        for n in 0..100u8 {
            sender.send(receiver.addr(), Ecn::NotEct, None, &[n; 1200]);
            while kept.len() <= usize::from(n) {
                receiver.io.readable().await.unwrap();
                receiver.receive(&mut scratch, |_, _| true).unwrap();
                kept.extend(std::iter::from_fn(|| scratch.next_datagram()).map(|(_, _, data)| data));
            }
        }
        for (n, data) in kept.iter().enumerate() {
            assert!(data.iter().all(|byte| usize::from(*byte) == n));
        }
    }

    #[tokio::test]
    async fn mend21_what_strangers_send_is_dropped_where_the_kernel_put_it() {
        let (mut sender, receiver) = (QueuedSocket::new(bind()), bind());
        sender.socket.io.writable().await.unwrap();
        let mut scratch = Scratch::default();
        let wanted = |_: SocketAddr, datagram: &[u8]| datagram[0] == 1;
        let mut refused = 0;
        for _ in 0..100 {
            sender.send(receiver.addr(), Ecn::NotEct, None, &[0; 1200]);
        }
        while refused < 100 {
            receiver.io.readable().await.unwrap();
            let received = receiver.receive(&mut scratch, wanted).unwrap();
            assert_eq!(received.wanted, 0);
            refused += received.refused;
        }
        assert!(scratch.next_datagram().is_none());
        assert_eq!(scratch.arena.capacity(), 0, "nothing was copied");
        // And what is wanted is found among the rest.
        for n in 0..20 {
            sender.send(receiver.addr(), Ecn::NotEct, None, &[u8::from(n == 13); 300]);
        }
        let mut got = Vec::new();
        while got.is_empty() {
            receiver.io.readable().await.unwrap();
            receiver.receive(&mut scratch, wanted).unwrap();
            got.extend(std::iter::from_fn(|| scratch.next_datagram()));
        }
        let (remote, _, data) = &got[0];
        assert_eq!((got.len(), *remote, &data[..]), (1, sender.addr(), &[1; 300][..]));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn mend21_a_known_peer_has_a_queue_of_its_own_among_strangers() {
        let shared = bind();
        let (mut peer, mut stranger) = (QueuedSocket::new(bind()), QueuedSocket::new(bind()));
        peer.socket.io.writable().await.unwrap();
        stranger.socket.io.writable().await.unwrap();
        let lane = shared.connected(peer.addr()).unwrap();
        assert_eq!(lane.addr(), shared.addr());
        assert!(
            Socket::bind(shared.addr(), LARGE_BUFFER).is_err(),
            "the port is nobody else's"
        );
        // More than the common queue holds, so that it is full.
        for _ in 0..40_000 {
            stranger.send(shared.addr(), Ecn::NotEct, None, &[0; 100]);
        }
        for n in 0..50 {
            peer.send(shared.addr(), Ecn::NotEct, None, &[n; 100]);
        }
        let mut scratch = Scratch::default();
        let mut got = Vec::new();
        while got.len() < 50 {
            lane.io.readable().await.unwrap();
            lane.receive(&mut scratch, |_, _| true).unwrap();
            got.extend(std::iter::from_fn(|| scratch.next_datagram()).map(|(remote, _, data)| (remote, data[0])));
        }
        let all: Vec<_> = (0..50).map(|n| (peer.addr(), n)).collect();
        assert_eq!(got, all, "all of it, in order, and nothing else");
        shared.receive(&mut scratch, |_, _| true).unwrap();
        assert_eq!(scratch.next_datagram().unwrap().0, stranger.addr());
    }

    #[tokio::test]
    async fn a_full_kernel_buffer_costs_the_newest() {
        let mut socket = QueuedSocket::new(bind());
        let remote = socket.addr();
        for n in 0..=MAX_BACKLOG {
            // As if the kernel had refused the first.
            socket.backlog.push_back(Waiting {
                remote,
                ecn: Ecn::NotEct,
                segment_size: None,
                bytes: vec![1],
            });
            if n == 0 {
                assert!(socket.is_blocked());
            }
        }
        socket.backlog.truncate(MAX_BACKLOG);
        socket.send(remote, Ecn::NotEct, None, &[2]);
        assert_eq!((socket.backlog.len(), socket.send_failures), (MAX_BACKLOG, 1));
        socket.socket.io.writable().await.unwrap();
        socket.flush();
        assert!(!socket.is_blocked());
        assert_eq!(socket.spare.len(), MAX_BACKLOG, "buffers wait to be used again");
    }

    fn batch(local: Local, start: usize, len: usize) -> Batch {
        let path = Path {
            local,
            remote: "192.0.2.1:9".parse().unwrap(),
        };
        Batch {
            path,
            ecn: Ecn::NotEct,
            start,
            end: start + len,
            segment: len,
        }
    }

    #[test]
    fn equal_neighbours_join_and_a_shorter_one_ends_the_run() {
        let batch = |start, len| batch(Local::Socket(1), start, len);
        let mut run = batch(0, 100);
        assert!(run.join(&batch(100, 100), 64), "equal neighbours join");
        assert!(run.join(&batch(200, 60), 64), "a shorter last one joins");
        assert_eq!((run.start, run.end, run.segment), (0, 260, 100));
        assert!(!run.join(&batch(260, 60), 64), "nothing follows a shorter one");
        assert!(!batch(0, 100).join(&batch(100, 101), 64), "a longer one cannot follow");
        assert!(!batch(0, 100).join(&batch(104, 100), 64), "a gap");
        assert!(!batch(0, 100).join(&batch(100, 100), 1), "the kernel's limit");
    }

    #[test]
    fn in_a_stream_all_neighbours_join() {
        let batch = |start, len| batch(Local::Tcp(1), start, len);
        let mut run = batch(0, 100);
        assert!(run.join(&batch(100, 60), 1) && run.join(&batch(160, 900), 1));
        assert_eq!((run.start, run.end), (0, 1060));
        assert!(!run.join(&batch(1064, 10), 1), "a gap");
    }
}
