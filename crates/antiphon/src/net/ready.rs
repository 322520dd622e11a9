//! Which of many sockets have something, without asking them all: each has a waker of its own, which notes its name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use antiphon_sansio::Local;
use futures_util::task::AtomicWaker;

use super::socket::Socket;

/// Sockets of one task that have something, or may have.
#[derive(Default)]
pub(crate) struct ReadySet(Arc<Noted>);

#[derive(Default)]
struct Noted {
    names: Mutex<Vec<Local>>,
    task: AtomicWaker,
}

/// A socket's place in the set.
pub(crate) struct Place {
    mark: Arc<Mark>,
    waker: Waker,
}

struct Mark {
    name: Local,
    /// Whether the name is among those that are noted.
    is_noted: AtomicBool,
    noted: Arc<Noted>,
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_noted.swap(true, Ordering::AcqRel) {
            // Nothing panics while it is held.
            let mut names = self.noted.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.push(self.name);
            drop(names);
            self.noted.task.wake();
        }
    }
}

impl ReadySet {
    /// A place for the socket of this name; noted already, for nobody has looked yet.
    pub(crate) fn place(&self, name: Local) -> Place {
        let mark = Arc::new(Mark {
            name,
            is_noted: AtomicBool::new(false),
            noted: self.0.clone(),
        });
        mark.wake_by_ref();
        Place {
            waker: Waker::from(mark.clone()),
            mark,
        }
    }

    /// Ready when a socket is noted; moves the names to `names`. Each then has to be looked at through its [`Place`].
    pub(crate) fn poll(&self, cx: &mut Context<'_>, names: &mut Vec<Local>) -> Poll<()> {
        self.0.task.register(cx.waker());
        names.append(&mut self.0.names.lock().unwrap_or_else(PoisonError::into_inner));
        if names.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Place {
    /// Whether datagrams wait in the socket. If not, it is noted when some come.
    pub(crate) fn is_readable(&self, socket: &Socket) -> bool {
        self.mark.is_noted.store(false, Ordering::Release);
        socket.poll_readable(&mut Context::from_waker(&self.waker)).is_ready()
    }

    /// Notes it, for there is more in it than was taken.
    pub(crate) fn note(&self) {
        self.mark.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::SocketAddr;

    use super::super::scratch::Scratch;
    use super::super::socket::SMALL_BUFFER;
    use super::*;

    #[tokio::test]
    async fn a_socket_is_named_when_something_has_come_and_once() {
        let bind = || Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), SMALL_BUFFER).unwrap();
        let (set, sockets) = (ReadySet::default(), [bind(), bind()]);
        let places = [0, 1].map(|n| set.place(Local::Socket(n)));
        let mut names = Vec::new();
        poll_fn(|cx| set.poll(cx, &mut names)).await;
        assert_eq!(names, [Local::Socket(0), Local::Socket(1)], "nobody has looked yet");
        names.clear();
        for (place, socket) in places.iter().zip(&sockets) {
            assert!(!place.is_readable(socket));
        }
        let is_pending = |names: &mut Vec<Local>| {
            let mut cx = Context::from_waker(Waker::noop());
            set.poll(&mut cx, names).is_pending()
        };
        assert!(is_pending(&mut names));

        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            sender.send_to(&[7], sockets[1].addr()).unwrap();
        }
        poll_fn(|cx| set.poll(cx, &mut names)).await;
        assert_eq!(names, [Local::Socket(1)]);
        names.clear();
        assert!(is_pending(&mut names));
        assert!(
            places[1].is_readable(&sockets[1]) && is_pending(&mut names),
            "it is known"
        );
        // Who does not take all of it notes that.
        places[1].note();
        places[1].note();
        assert!(!is_pending(&mut names));
        assert_eq!(names, [Local::Socket(1)]);
        names.clear();
        let (mut scratch, mut got) = (Scratch::default(), 0);
        while places[1].is_readable(&sockets[1]) {
            got += sockets[1].receive(&mut scratch, |_, _| true).unwrap().wanted;
        }
        assert_eq!(got, 3);
        sender.send_to(&[7], sockets[1].addr()).unwrap();
        poll_fn(|cx| set.poll(cx, &mut names)).await;
        assert_eq!(names, [Local::Socket(1)], "and again");
    }
}
