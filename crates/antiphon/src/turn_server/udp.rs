//! UDP sockets of the server, in batches.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;

use antiphon_sansio::Ecn;
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::sync::Notify;

/// What one receive buffer holds at most: one GRO batch.
const BATCH_BYTES: usize = 64 * 1024;
/// Kernel buffers of a socket that clients share, asked for in both directions; the kernel may grant less.
const LISTEN_BUFFER: usize = 4 * 1024 * 1024;
/// Kernel buffers of a relayed socket.
const RELAY_BUFFER: usize = 1024 * 1024;

/// Where the kernel writes; shared by all sockets, because its content is copied out at once.
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH_SIZE * BATCH_BYTES])
    }
}

/// One bound socket.
pub(super) struct Udp {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    port: u16,
    closed: Notify,
}

impl Udp {
    pub(super) fn bind(addr: SocketAddr, shared: bool) -> io::Result<Arc<Self>> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let io = tokio::net::UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        let buffer = if shared { LISTEN_BUFFER } else { RELAY_BUFFER };
        // Best effort: the limits of the system stand.
        let _ = state.set_send_buffer_size((&io).into(), buffer);
        let _ = state.set_recv_buffer_size((&io).into(), buffer);
        let port = io.local_addr()?.port();
        Ok(Arc::new(Self {
            port,
            io,
            state,
            closed: Notify::new(),
        }))
    }

    pub(super) fn addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the wait of [`Self::readable`], so that the system's socket goes away.
    pub(super) fn close(&self) {
        self.closed.notify_one();
    }

    /// Waits until datagrams are there; `None` when the socket was closed instead.
    pub(super) fn readable<T: Copy + Send + 'static>(
        self: Arc<Self>,
        name: T,
    ) -> BoxFuture<'static, Option<(T, Arc<Self>)>> {
        Box::pin(async move {
            let open = tokio::select! {
                biased;
                () = self.closed.notified() => false,
                ready = self.io.readable() => ready.is_ok(),
            };
            open.then_some((name, self))
        })
    }

    /// Takes one batch. Returns how many kernel messages it was; 0 when none waits.
    pub(super) fn receive(
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
        let mut all = BytesMut::with_capacity(metas[..taken].iter().map(|meta| meta.len).sum());
        for (n, meta) in metas[..taken].iter().enumerate() {
            all.extend_from_slice(&scratch.0[n * BATCH_BYTES..n * BATCH_BYTES + meta.len]);
        }
        for meta in &metas[..taken] {
            let ecn = meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8));
            let mut batch = all.split_to(meta.len);
            if batch.is_empty() {
                // An empty datagram is relayed like any other.
                each(meta.addr, ecn, batch);
                continue;
            }
            while !batch.is_empty() {
                let datagram = batch.split_to(meta.stride.clamp(1, batch.len()));
                each(meta.addr, ecn, datagram);
            }
        }
        Ok(taken)
    }

    /// Sends one datagram, or several of `segment_size`. `false`: the system did not take it, and it is lost, as on any link.
    pub(super) fn send(&self, remote: SocketAddr, segment_size: Option<usize>, contents: &[u8]) -> bool {
        let transmit = Transmit {
            destination: remote,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        };
        self.io
            .try_io(tokio::io::Interest::WRITABLE, || {
                self.state.try_send((&self.io).into(), &transmit)
            })
            .is_ok()
    }
}
