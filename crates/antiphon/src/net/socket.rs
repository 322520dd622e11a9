//! One UDP socket: batches in (GRO, `recvmmsg`) and out (GSO, `sendmmsg`), through `quinn-udp` and, for many addresses at once, `nix`.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Once;
use std::task::{Context, Poll};

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, UdpSocketState};
use tokio::io::Interest;

use super::run::{Run, Sent};
use super::scratch::{MESSAGE_BYTES, REFUSED, Scratch};

/// Kernel buffers of a socket that many share, in bytes, asked for in both directions; the kernel may grant less. They are bounds:
/// what is empty takes no memory.
pub(crate) const LARGE_BUFFER: usize = 32 * 1024 * 1024;
/// The same for a socket of one peer's.
pub(crate) const PEER_BUFFER: usize = 4 * 1024 * 1024;
/// The same for a socket of one client's.
pub(crate) const SMALL_BUFFER: usize = 1024 * 1024;

/// What IPv4 can carry in one message, and IPv6 a little more: 65 535, less the headers of IP and UDP.
const MAX_MESSAGE_BYTES: usize = 65_535 - 20 - 8;

/// Whether the kernel gives a batch as large as it can: fewer than asked for are all.
const RECEIVES_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What a look into the kernel's queue found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams that wait in the [`Scratch`].
    pub(crate) wanted: usize,
    /// Bytes of them.
    pub(crate) bytes: usize,
    /// Datagrams that nobody wanted.
    pub(crate) refused: usize,
    /// Whether more may wait in the kernel.
    pub(crate) more: bool,
}

/// One bound UDP socket.
pub(crate) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
}

impl Socket {
    /// Binds `addr`, with `buffer` bytes in the kernel for each direction; port 0 lets the system choose.
    ///
    /// # Errors
    /// What the system says: most often that the address is taken.
    pub(crate) fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Self> {
        let socket = Self::unbound(addr)?;
        socket.bind(&addr.into())?;
        Self::of(socket, buffer)
    }

    /// A second socket with the same address that gets what comes from `remote`, and nothing else from now on. What came from
    /// others in the moment before lies in it too.
    ///
    /// The system allows it to us alone: the first socket was bound as its port's only one, and the second must be the same user's.
    ///
    /// # Errors
    /// What the system says; always on those that have no such sockets.
    pub(crate) fn connected(&self, remote: SocketAddr) -> io::Result<Self> {
        let socket = Self::unbound(self.addr)?;
        share(&socket2::SockRef::from(&self.io))?;
        share(&socket2::SockRef::from(&socket))?;
        socket.bind(&self.addr.into())?;
        socket.connect(&remote.into())?;
        Self::of(socket, PEER_BUFFER)
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
        set_buffers(&io, &state, buffer);
        let addr = io.local_addr()?;
        #[cfg(target_os = "linux")]
        ask_for_marks_alone(&io, addr);
        Ok(Self { io, state, addr })
    }

    /// The bound address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the kernel says its receive buffer to hold, in bytes, its own bookkeeping included.
    pub(crate) fn receive_buffer(&self) -> usize {
        self.state.recv_buffer_size((&self.io).into()).unwrap_or(0)
    }

    /// Ready when datagrams wait, or the socket has broken.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_recv_ready(cx).map(drop)
    }

    /// Ready when a full kernel buffer has room again, or the socket has broken.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_send_ready(cx).map(drop)
    }

    /// Takes what one system call gives. What `wanted` says no to is dropped where it lies; take the rest from the `scratch`.
    ///
    /// # Errors
    /// What the system says, which may be an ICMP error of something that was sent earlier. The socket can be used on.
    pub(crate) fn receive(
        &self,
        scratch: &mut Scratch,
        mut wanted: impl FnMut(SocketAddr, &[u8]) -> bool,
    ) -> io::Result<Received> {
        let Scratch {
            kernel, messages, left, ..
        } = scratch;
        *left = 0..0;
        let mut chunks = kernel.chunks_mut(MESSAGE_BYTES);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let (taken, more) = self.read(&mut buffers, messages)?;
        let mut received = Received {
            more,
            ..Received::default()
        };
        for (buffer, meta) in buffers.iter().zip(&mut messages[..taken]) {
            meta.stride = meta.stride.clamp(1, meta.len.max(1));
            let count = meta.len.div_ceil(meta.stride).max(1);
            let mut datagrams = buffer[..meta.len].chunks(meta.stride);
            let first = datagrams.next().unwrap_or_default();
            // A batch comes from one source. It is taken whole or not at all: the rare mixture is sorted by who reads it.
            if wanted(meta.addr, first) || datagrams.any(|datagram| wanted(meta.addr, datagram)) {
                received.wanted += count;
                received.bytes += meta.len;
            } else {
                received.refused += count;
                meta.stride = REFUSED;
            }
        }
        *left = 0..taken;
        Ok(received)
    }

    /// One system call: how many batches it gave, and whether more may wait.
    fn read(
        &self,
        buffers: &mut [IoSliceMut<'_>; BATCH_SIZE],
        metas: &mut [RecvMeta; BATCH_SIZE],
    ) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        let tried = self.io.try_io(Interest::READABLE, || {
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

    /// Sends `runs`, whose ranges are in `buffer`, in as few system calls as the system allows. Stops when the kernel has no room;
    /// [`Self::poll_writable`] then says when there is.
    pub(crate) fn send(&self, runs: &[Run], buffer: &[u8]) -> Sent {
        let mut sent = Sent::default();
        while sent.runs < runs.len() {
            match self.send_some(runs, buffer, &mut sent) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Tokio hears of it as well, and wakes us.
                    let _ = self
                        .io
                        .try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                    break;
                }
                Err(error) => {
                    let lost = self.next_part(runs, &sent);
                    tracing::debug!(remote = %lost.remote, local = %self.addr, %error, "not sent");
                    sent.lost += lost.count() as u64;
                    sent.pass(runs, &lost);
                }
            }
        }
        sent
    }

    /// What goes into one message next.
    fn next_part(&self, runs: &[Run], sent: &Sent) -> Run {
        runs[sent.runs].part(sent.bytes, self.state.max_gso_segments(), MAX_MESSAGE_BYTES)
    }

    /// One system call.
    fn send_some(&self, runs: &[Run], buffer: &[u8], sent: &mut Sent) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        match super::sendmmsg::send_together(&self.io, runs, buffer, sent, |sent| self.next_part(runs, sent)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // The first of them failed. It is tried alone: what fails with others may pass, with or without offload.
            Err(_) => {}
        }
        let part = self.next_part(runs, sent);
        let transmit = quinn_udp::Transmit {
            destination: part.remote,
            ecn: EcnCodepoint::from_bits(part.ecn.bits()),
            contents: &buffer[part.range.clone()],
            segment_size: part.is_many().then_some(part.segment),
            src_ip: None,
        };
        self.state.try_send((&self.io).into(), &transmit)?;
        sent.pass(runs, &part);
        Ok(())
    }
}

/// Of what `quinn-udp` has the kernel tell of each datagram, nobody here reads the moment and our own address. Together with the size
/// of a batch's datagrams they leave no room for its mark, which the kernel then cuts off.
#[cfg(target_os = "linux")]
fn ask_for_marks_alone(io: &tokio::net::UdpSocket, addr: SocketAddr) {
    use nix::sys::socket::{setsockopt, sockopt};

    let moment = setsockopt(io, sockopt::ReceiveTimestampns, &false);
    let address = if addr.is_ipv4() {
        setsockopt(io, sockopt::Ipv4PacketInfo, &false)
    } else {
        setsockopt(io, sockopt::Ipv6RecvPacketInfo, &false)
    };
    if let Err(error) = moment.and(address) {
        tracing::debug!(%error, "marks of batches may be lost");
    }
}

/// Asks for kernel buffers of `asked` bytes, and says once if many share less than that: they then lose datagrams in a burst.
fn set_buffers(io: &tokio::net::UdpSocket, state: &UdpSocketState, asked: usize) {
    static TOLD: Once = Once::new();
    // Best effort: the limits of the system stand, but for those who may go beyond them.
    if !set_buffers_by_privilege(io, asked) {
        let _ = state.set_send_buffer_size(io.into(), asked);
        let _ = state.set_recv_buffer_size(io.into(), asked);
    }
    let granted = state.recv_buffer_size(io.into()).unwrap_or(asked);
    if asked >= LARGE_BUFFER && granted < asked {
        TOLD.call_once(|| {
            tracing::warn!(
                asked,
                granted,
                "the system's limit for receive buffers is low (Linux: net.core.rmem_max): bursts may be lost"
            );
        });
    }
}

/// Who may administer the network may exceed the system's limits.
#[cfg(target_os = "linux")]
fn set_buffers_by_privilege(io: &tokio::net::UdpSocket, asked: usize) -> bool {
    use nix::sys::socket::{setsockopt, sockopt};

    setsockopt(io, sockopt::SndBufForce, &asked).is_ok() && setsockopt(io, sockopt::RcvBufForce, &asked).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set_buffers_by_privilege(_: &tokio::net::UdpSocket, _: usize) -> bool {
    false
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

#[cfg(test)]
mod tests {
    use antiphon_sansio::Ecn;
    use bytes::BytesMut;

    use super::super::scratch::ARENA_BYTES;
    use super::*;

    fn bind() -> Socket {
        Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), PEER_BUFFER).unwrap()
    }

    /// One datagram.
    fn send(socket: &Socket, remote: SocketAddr, bytes: &[u8]) {
        let run = Run {
            remote,
            ecn: Ecn::NotEct,
            range: 0..bytes.len(),
            segment: bytes.len().max(1),
        };
        assert_eq!(socket.send(&[run], bytes).runs, 1);
    }

    /// What has come, with who sent it and how it is marked; waits for the first.
    async fn receive(socket: &Socket, scratch: &mut Scratch) -> Vec<(SocketAddr, Ecn, BytesMut)> {
        let mut all = Vec::new();
        while all.is_empty() {
            socket.io.readable().await.unwrap();
            socket.receive(scratch, |_, _| true).unwrap();
            while let Some(batch) = scratch.next_batch() {
                let (remote, ecn) = (batch.remote, batch.ecn);
                all.extend(batch.datagrams().map(|data| (remote, ecn, data)));
            }
        }
        all
    }

    #[tokio::test]
    async fn runs_to_many_addresses_arrive_whole_and_marked() {
        let sender = bind();
        let receivers: Vec<Socket> = (0..100).map(|_| bind()).collect();
        let (mut buffer, mut runs) = (Vec::new(), Vec::new());
        for (n, receiver) in receivers.iter().enumerate() {
            // One, or several of which the last is shorter; marks come in stretches.
            let (count, last) = (n % 4, 100 + n);
            let start = buffer.len();
            buffer.extend(std::iter::repeat_n(n as u8, 400 * count + last));
            runs.push(Run {
                remote: receiver.addr(),
                ecn: if n < 60 { Ecn::Ect0 } else { Ecn::NotEct },
                range: start..buffer.len(),
                segment: if count == 0 { last } else { 400 },
            });
        }
        let sent = sender.send(&runs, &buffer);
        assert_eq!((sent.runs, sent.bytes, sent.lost), (100, 0, 0));
        let mut scratch = Scratch::default();
        for (n, receiver) in receivers.iter().enumerate() {
            let mut sizes = Vec::new();
            while sizes.len() <= n % 4 {
                for (remote, ecn, data) in receive(receiver, &mut scratch).await {
                    assert_eq!(remote, sender.addr());
                    assert_eq!(ecn, if n < 60 { Ecn::Ect0 } else { Ecn::NotEct });
                    assert!(data.iter().all(|byte| usize::from(*byte) == n));
                    sizes.push(data.len());
                }
            }
            assert_eq!((sizes.pop(), sizes), (Some(100 + n), vec![400; n % 4]));
        }
    }

    #[tokio::test]
    async fn what_the_kernel_refuses_for_good_is_lost_alone() {
        let (sender, receiver) = (bind(), bind());
        // No datagram is as long as that.
        let buffer = vec![7; 70_000];
        let run = |range: std::ops::Range<usize>| Run {
            remote: receiver.addr(),
            ecn: Ecn::NotEct,
            segment: range.len(),
            range,
        };
        let sent = sender.send(&[run(0..10), run(0..70_000), run(0..20)], &buffer);
        assert_eq!((sent.runs, sent.lost), (3, 1));
        let mut scratch = Scratch::default();
        let mut sizes = Vec::new();
        while sizes.len() < 2 {
            sizes.extend(
                receive(&receiver, &mut scratch)
                    .await
                    .iter()
                    .map(|(_, _, data)| data.len()),
            );
        }
        assert_eq!(sizes, [10, 20]);
    }

    #[tokio::test]
    async fn what_nobody_holds_is_received_into_the_same_memory() {
        let (sender, receiver) = (bind(), bind());
        let mut scratch = Scratch::default();
        let mut places = std::collections::BTreeSet::new();
        for n in 0..200u8 {
            send(&sender, receiver.addr(), &[n; 1200]);
            for (_, _, data) in receive(&receiver, &mut scratch).await {
                assert_eq!(data[..], [n; 1200]);
                places.insert(data.as_ptr() as usize);
            }
        }
        // 200 datagrams of 1200 bytes, and never more than one arena.
        let (first, last) = (places.first().unwrap(), places.last().unwrap());
        assert!(last - first < ARENA_BYTES, "{places:?}");
        // What is held stays as it is, whatever comes after it.
        let mut kept = Vec::new();
        for n in 0..100u8 {
            send(&sender, receiver.addr(), &[n; 1200]);
            kept.extend(receive(&receiver, &mut scratch).await);
        }
        assert_eq!(kept.len(), 100);
        for (n, (_, _, data)) in kept.iter().enumerate() {
            assert!(data.iter().all(|byte| usize::from(*byte) == n));
        }
    }

    #[tokio::test]
    async fn mend21_what_strangers_send_is_dropped_where_the_kernel_put_it() {
        let (sender, receiver) = (bind(), bind());
        let mut scratch = Scratch::default();
        let wanted = |_: SocketAddr, datagram: &[u8]| datagram[0] == 1;
        let mut refused = 0;
        for _ in 0..100 {
            send(&sender, receiver.addr(), &[0; 1200]);
        }
        while refused < 100 {
            receiver.io.readable().await.unwrap();
            let received = receiver.receive(&mut scratch, wanted).unwrap();
            assert_eq!(received.wanted, 0);
            refused += received.refused;
        }
        assert!(scratch.next_batch().is_none());
        assert_eq!(scratch.capacity(), 0, "nothing was copied");
        // And what is wanted is found among the rest.
        for n in 0..20 {
            send(&sender, receiver.addr(), &[u8::from(n == 13); 300]);
        }
        let mut got = Vec::new();
        while got.is_empty() {
            receiver.io.readable().await.unwrap();
            receiver.receive(&mut scratch, wanted).unwrap();
            got.extend(std::iter::from_fn(|| scratch.next_batch()).flat_map(super::super::scratch::Batch::datagrams));
        }
        assert_eq!((got.len(), &got[0][..]), (1, &[1; 300][..]));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn mend21_a_known_peer_has_a_queue_of_its_own_among_strangers() {
        let shared = bind();
        let (peer, stranger) = (bind(), bind());
        let lane = shared.connected(peer.addr()).unwrap();
        assert_eq!(lane.addr(), shared.addr());
        assert!(
            Socket::bind(shared.addr(), PEER_BUFFER).is_err(),
            "the port is nobody else's"
        );
        // More than the common queue holds, so that it is full.
        for _ in 0..40_000 {
            send(&stranger, shared.addr(), &[0; 100]);
        }
        for n in 0..50 {
            send(&peer, shared.addr(), &[n; 100]);
        }
        let mut scratch = Scratch::default();
        let mut got = Vec::new();
        while got.len() < 50 {
            let came = receive(&lane, &mut scratch).await;
            got.extend(came.into_iter().map(|(remote, _, data)| (remote, data[0])));
        }
        let all: Vec<_> = (0..50).map(|n| (peer.addr(), n)).collect();
        assert_eq!(got, all, "all of it, in order, and nothing else");
        assert_eq!(receive(&shared, &mut scratch).await[0].0, stranger.addr());
    }
}
