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

/// Where the kernel writes; shared by all sockets of a driver, because its content is copied out at once.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; BATCH_SIZE * BATCH_BYTES])
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

    /// Takes one batch of datagrams: one allocation for all of them. `Ok(0)` when none waits.
    pub(crate) fn receive(
        &self,
        scratch: &mut Scratch,
        mut each: impl FnMut(SocketAddr, Ecn, BytesMut),
    ) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut buffers: Vec<IoSliceMut<'_>> = scratch.0.chunks_mut(BATCH_BYTES).map(IoSliceMut::new).collect();
        let taken = self.io.try_io(tokio::io::Interest::READABLE, || {
            self.state.recv((&self.io).into(), &mut buffers, &mut metas)
        });
        drop(buffers);
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let total = metas[..taken].iter().map(|meta| meta.len).sum();
        let mut all = BytesMut::with_capacity(total);
        for (n, meta) in metas[..taken].iter().enumerate() {
            all.extend_from_slice(&scratch.0[n * BATCH_BYTES..n * BATCH_BYTES + meta.len]);
        }
        for meta in &metas[..taken] {
            let ecn = meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8));
            let mut batch = all.split_to(meta.len);
            while !batch.is_empty() {
                let datagram = batch.split_to(meta.stride.clamp(1, batch.len()));
                each(meta.addr, ecn, datagram);
            }
        }
        Ok(taken)
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
        self.backlog.push_back(Waiting {
            remote,
            ecn,
            segment_size,
            bytes: bytes.to_vec(),
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
