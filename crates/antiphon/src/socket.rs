//! UDP sockets in batches: GRO in, GSO out, through `quinn-udp`.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use antiphon_sansio::Ecn;
use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};

/// What a kernel buffer may hold at most: one GRO batch.
const BATCH_BYTES: usize = 64 * 1024;
/// Kernel buffers, asked for in both directions; the kernel may grant less.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;
/// Batches that wait for a full kernel buffer; more are dropped, as a full link would.
const MAX_BACKLOG: usize = 16;

/// What one allocation for received datagrams holds. It is used again as soon as nobody holds a part of it.
const ARENA_BYTES: usize = 32 * 1024;

/// Whether the kernel gives a batch as large as it can: fewer than asked for are all.
const RECEIVES_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Where the kernel writes, and where its batches are copied to at once; shared by all sockets of a driver.
///
/// The copy is what safe code costs: memory that the kernel may write to must be initialised, and initialising 64 KiB for each
/// GRO batch costs more than copying what came. In return nothing pins a kernel buffer, and batches lie side by side in an
/// arena that is reused, without allocation, while those who receive keep up.
pub(crate) struct Scratch {
    kernel: Vec<u8>,
    arena: BytesMut,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            kernel: vec![0; BATCH_SIZE * BATCH_BYTES],
            arena: BytesMut::new(),
        }
    }
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
    backlog: VecDeque<Waiting>,
    /// Buffers of batches that have left the backlog.
    spare: Vec<Vec<u8>>,
    /// Datagram batches that the kernel refused.
    pub(crate) send_failures: u64,
}

impl Socket {
    /// Binds `addr`; port 0 lets the system choose.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let io = tokio::net::UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        // Best effort: the limits of the system stand.
        let _ = state.set_send_buffer_size((&io).into(), KERNEL_BUFFER);
        let _ = state.set_recv_buffer_size((&io).into(), KERNEL_BUFFER);
        let addr = io.local_addr()?;
        Ok(Self {
            io,
            state,
            addr,
            backlog: VecDeque::new(),
            spare: Vec::new(),
            send_failures: 0,
        })
    }

    /// The bound address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ready when datagrams wait, or when a full kernel buffer has room again.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.io.poll_recv_ready(cx).is_ready();
        let writable = !self.backlog.is_empty() && self.io.poll_send_ready(cx).is_ready();
        if readable || writable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes one batch of datagrams. Whether more may wait.
    pub(crate) fn receive(
        &self,
        scratch: &mut Scratch,
        mut each: impl FnMut(SocketAddr, Ecn, BytesMut),
    ) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let Scratch { kernel, arena } = scratch;
        let mut chunks = kernel.chunks_mut(BATCH_BYTES);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let mut taken = 0;
        let tried = self.io.try_io(tokio::io::Interest::READABLE, || {
            taken = self.state.recv((&self.io).into(), &mut buffers, &mut metas)?;
            // That nothing is left tokio hears at once, instead of by one more call that finds nothing.
            let all = RECEIVES_ALL && taken < BATCH_SIZE;
            if all {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        let more = match tried {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        };
        let total: usize = metas[..taken].iter().map(|meta| meta.len).sum();
        // Gets the whole arena back if nobody holds a part of it.
        if arena.capacity() < total && !arena.try_reclaim(ARENA_BYTES.max(total)) {
            *arena = BytesMut::with_capacity(ARENA_BYTES.max(total));
        }
        for (buffer, meta) in buffers.iter().zip(&metas[..taken]) {
            arena.extend_from_slice(&buffer[..meta.len]);
        }
        for meta in &metas[..taken] {
            let ecn = meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8));
            let mut batch = arena.split_to(meta.len);
            while !batch.is_empty() {
                let datagram = batch.split_to(meta.stride.clamp(1, batch.len()));
                each(meta.addr, ecn, datagram);
            }
        }
        Ok(more)
    }

    /// The most datagrams that one [`Self::send`] may carry.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends one datagram, or several of `segment_size`. What a full kernel buffer refuses waits, within a bound.
    pub(crate) fn send(&mut self, remote: SocketAddr, ecn: Ecn, segment_size: Option<usize>, bytes: &[u8]) {
        if self.backlog.is_empty() && self.try_send(remote, ecn, segment_size, bytes) {
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
            if !self.try_send(first.remote, first.ecn, first.segment_size, &first.bytes) {
                self.backlog.push_front(first);
                return;
            }
            self.spare.push(first.bytes);
        }
    }

    /// `false` when the kernel has no room now. Other refusals (no route, too large) lose the datagram, as UDP may.
    fn try_send(&mut self, remote: SocketAddr, ecn: Ecn, segment_size: Option<usize>, contents: &[u8]) -> bool {
        let ecn = EcnCodepoint::from_bits(ecn.bits());
        let transmit = Transmit {
            destination: remote,
            ecn,
            contents,
            segment_size,
            src_ip: None,
        };
        let sent = self.io.try_io(tokio::io::Interest::WRITABLE, || {
            self.state.try_send((&self.io).into(), &transmit)
        });
        match sent {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.send_failures += 1;
                tracing::debug!(%remote, local = %self.addr, %error, "datagram not sent");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_holds_is_received_into_the_same_memory() {
        let mut sender = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let receiver = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        // A new socket counts as full until the system has said otherwise.
        sender.io.writable().await.unwrap();
        let mut scratch = Scratch::new();
        let mut places = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for n in 0..200u8 {
            sender.send(receiver.addr(), Ecn::NotEct, None, &[n; 1200]);
            while held.is_empty() {
                receiver.io.readable().await.unwrap();
                receiver
                    .receive(&mut scratch, |_, _, data| {
                        assert_eq!(data[..], [n; 1200]);
                        places.insert(data.as_ptr() as usize);
                        held.push(data);
                    })
                    .unwrap();
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
                receiver.receive(&mut scratch, |_, _, data| kept.push(data)).unwrap();
            }
        }
        for (n, data) in kept.iter().enumerate() {
            assert!(data.iter().all(|byte| usize::from(*byte) == n));
        }
    }

    #[tokio::test]
    async fn a_full_kernel_buffer_costs_the_newest() {
        let mut socket = Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
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
        socket.io.writable().await.unwrap();
        socket.flush();
        assert!(!socket.is_blocked());
        assert_eq!(socket.spare.len(), MAX_BACKLOG, "buffers wait to be used again");
    }
}
