//! The server's UDP sockets, each with a future that says when something has come.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use antiphon_sansio::Local;
use futures_util::task::AtomicWaker;

use crate::net::socket::Socket;

/// One bound socket.
pub(super) struct Udp {
    pub(super) socket: Socket,
    closed: AtomicBool,
    /// Who waits in [`Readable`].
    waiting: AtomicWaker,
}

impl Udp {
    pub(super) fn bind(addr: SocketAddr, buffer: usize) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            socket: Socket::bind(addr, buffer)?,
            closed: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }))
    }

    /// Ends the wait of [`Self::readable`], so that the system's socket goes away.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Waits until datagrams are there.
    pub(super) fn readable(self: Arc<Self>, local: Local) -> Readable {
        Readable { local, udp: self }
    }
}

/// Gives the socket back when it has something to read; `None` when it was closed instead.
pub(super) struct Readable {
    local: Local,
    udp: Arc<Udp>,
}

impl Future for Readable {
    type Output = Option<(Local, Arc<Udp>)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.udp.waiting.register(cx.waker());
        if self.udp.closed.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let found = || Some((self.local, self.udp.clone()));
        self.udp.socket.poll_readable(cx).map(|()| found())
    }
}
