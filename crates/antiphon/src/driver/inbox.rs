//! What handles say to their driver: requests and notices, in two lists behind one mutex, and one wake-up for all that came since the
//! driver looked.
//!
//! A channel of tokio's keeps a block of 32 places whether anything waits or not: 13 KiB a peer, where each has a driver of its own.
//! These lists hold nothing while nothing waits (docs/decisions/0032-many-peers.md). Nothing is awaited, and nobody's code runs, under
//! the mutex.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::sync::Semaphore;

use super::message::{Notice, PeerId, Request, RouterCall, RouterId, RouterMessage};
use crate::interfaces::Listener;

/// What is taken at once of each kind. Requests of many peers come packet by packet, and a packet for each: those that are taken
/// together become runs of datagrams.
const MAX_TAKEN: usize = 1024;
/// Lists that were empty so often when the driver looked give their memory back.
const MAX_UNUSED: u8 = 8;
/// Room for so many notices is kept: they are small, and come with the messages of a data channel.
const KEPT: usize = 16;

/// What waits for a driver.
struct Inbox {
    waiting: Mutex<Waiting>,
    /// Requests that still have room; who asks waits for it.
    room: Semaphore,
    driver: AtomicWaker,
}

struct Waiting {
    requests: VecDeque<(PeerId, Request)>,
    /// Unbounded, because who drops or polls cannot wait; see [`Notice`] for what bounds it.
    notices: VecDeque<Notice>,
    /// What is said of routers. Calls have a place of the room for requests each.
    routing: VecDeque<RouterMessage>,
    interfaces_changed: bool,
    /// The driver knows that something waits.
    announced: bool,
    /// How many may still say something.
    senders: usize,
    /// The driver is gone: nobody hears anything more.
    ended: bool,
    /// How often in a row nothing was there.
    unused: u8,
}

/// What was taken, and not yet served.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) requests: Vec<(PeerId, Request)>,
    pub(super) notices: Vec<Notice>,
    pub(super) routing: Vec<RouterMessage>,
    /// The machine's addresses may have changed.
    pub(super) interfaces_changed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits, and wakes the driver unless it knows already.
    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.lock();
        if waiting.ended {
            drop(waiting);
            // What is not added is dropped here: it may say something itself.
            drop(add);
            return;
        }
        add(&mut waiting);
        let known = std::mem::replace(&mut waiting.announced, true);
        drop(waiting);
        if !known {
            self.driver.wake();
        }
    }
}

impl Listener for Inbox {
    fn interfaces_changed(&self) {
        self.add(|waiting| waiting.interfaces_changed = true);
    }
}

/// An inbox in which `max_requests` may wait.
pub(crate) fn inbox(max_requests: usize) -> (Sender, Receiver) {
    let inbox = Arc::new(Inbox {
        waiting: Mutex::new(Waiting {
            requests: VecDeque::new(),
            notices: VecDeque::new(),
            routing: VecDeque::new(),
            interfaces_changed: false,
            announced: false,
            senders: 1,
            ended: false,
            unused: 0,
        }),
        room: Semaphore::new(max_requests),
        driver: AtomicWaker::new(),
    });
    (Sender(inbox.clone()), Receiver(inbox))
}

/// The way to a driver.
pub(crate) struct Sender(Arc<Inbox>);

impl Clone for Sender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.senders -= 1;
        let is_last = waiting.senders == 0;
        drop(waiting);
        if is_last {
            self.0.driver.wake();
        }
    }
}

impl Sender {
    /// Asks something; waits while too much waits. If the driver is gone the request is dropped. Cancel safe: who gives up waiting has
    /// asked nothing.
    pub(crate) async fn ask(&self, peer: PeerId, request: Request) {
        if let Ok(permit) = self.0.room.acquire().await {
            permit.forget();
            self.0.add(move |waiting| waiting.requests.push_back((peer, request)));
        }
    }

    /// Asks something if there is room now. Whether it was taken.
    pub(crate) fn try_ask(&self, peer: PeerId, request: Request) -> bool {
        let Ok(permit) = self.0.room.try_acquire() else {
            return false;
        };
        permit.forget();
        self.0.add(move |waiting| waiting.requests.push_back((peer, request)));
        true
    }

    /// Asks something of a router; waits while too much waits. Cancel safe.
    pub(crate) async fn ask_router(&self, router: RouterId, call: RouterCall) {
        if let Ok(permit) = self.0.room.acquire().await {
            permit.forget();
            let message = RouterMessage::Call(router, call);
            self.0.add(move |waiting| waiting.routing.push_back(message));
        }
    }

    /// Says that a router was made, or is gone.
    pub(crate) fn tell_router(&self, message: RouterMessage) {
        self.0.add(|waiting| waiting.routing.push_back(message));
    }

    /// The same way, which does not keep the driver alive.
    pub(crate) fn downgrade(&self) -> WeakSender {
        WeakSender(self.0.clone())
    }

    /// Whether both lead to the same driver.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Says something in passing.
    pub(crate) fn notify(&self, notice: Notice) {
        self.0.add(|waiting| waiting.notices.push_back(notice));
    }
}

/// The way to a driver, for who must not keep it alive.
#[derive(Clone)]
pub(crate) struct WeakSender(Arc<Inbox>);

impl WeakSender {
    /// Says something that has to do with a router.
    pub(crate) fn tell_router(&self, message: RouterMessage) {
        self.0.add(|waiting| waiting.routing.push_back(message));
    }
}

/// The driver's end.
pub(crate) struct Receiver(Arc<Inbox>);

impl Receiver {
    /// Moves what waits to `taken`, and has the task woken when more comes. `None`: nobody is left who could say anything, and nothing
    /// waits. Otherwise whether there is anything to do.
    pub(super) fn poll_take(&self, cx: &Context<'_>, taken: &mut Taken) -> Option<bool> {
        self.0.driver.register(cx.waker());
        let mut waiting = self.0.lock();
        let Waiting {
            requests,
            notices,
            routing,
            interfaces_changed,
            ..
        } = &mut *waiting;
        let mut asked = requests.len().min(MAX_TAKEN);
        taken.requests.extend(requests.drain(..asked));
        let said = routing.len().min(MAX_TAKEN);
        for message in routing.drain(..said) {
            asked += usize::from(matches!(message, RouterMessage::Call(..)));
            taken.routing.push(message);
        }
        let told = notices.len().min(MAX_TAKEN);
        taken.notices.extend(notices.drain(..told));
        taken.interfaces_changed |= std::mem::take(interfaces_changed);
        let is_empty = requests.is_empty() && notices.is_empty() && routing.is_empty();
        let something = asked > 0 || told > 0 || said > 0 || taken.interfaces_changed;
        waiting.announced = !is_empty;
        if something {
            waiting.unused = 0;
        } else if waiting.unused < MAX_UNUSED {
            waiting.unused += 1;
            if waiting.unused == MAX_UNUSED {
                waiting.requests = VecDeque::new();
                waiting.routing = VecDeque::new();
                if waiting.notices.capacity() > KEPT {
                    waiting.notices = VecDeque::new();
                }
            }
        }
        let is_over = waiting.senders == 0 && is_empty && !something;
        drop(waiting);
        if asked > 0 {
            self.0.room.add_permits(asked);
        }
        (!is_over).then_some(something)
    }

    /// Who is to be told of changing interfaces, as long as the driver runs.
    pub(super) fn listener(&self) -> Weak<dyn Listener> {
        let listener: Weak<Inbox> = Arc::downgrade(&self.0);
        listener
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.ended = true;
        let left = (
            std::mem::take(&mut waiting.requests),
            std::mem::take(&mut waiting.notices),
            std::mem::take(&mut waiting.routing),
        );
        drop(waiting);
        self.0.room.close();
        // What they hold may say something when it goes: not under the lock.
        drop(left);
    }
}

/// The way from all handles of one peer to its driver. Dropping the last one closes the peer.
pub(crate) struct ToDriver {
    pub(crate) peer: PeerId,
    pub(crate) inbox: Sender,
}

impl Drop for ToDriver {
    fn drop(&mut self) {
        self.inbox.notify(Notice::Dropped(self.peer));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn notice() -> Notice {
        Notice::Dropped(PeerId(1))
    }

    #[tokio::test]
    async fn all_that_comes_before_the_driver_looks_wakes_it_once() {
        let (sender, receiver) = inbox(2);
        let (count, mut taken) = (Arc::new(Count::default()), Taken::default());
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        assert_eq!(receiver.poll_take(&cx, &mut taken), Some(false));
        assert!(sender.try_ask(PeerId(1), Request::Close) && sender.try_ask(PeerId(2), Request::Close));
        assert!(!sender.try_ask(PeerId(3), Request::Close), "no room");
        sender.notify(notice());
        receiver.listener().upgrade().unwrap().interfaces_changed();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let other = sender.clone();
        let waits = tokio::spawn(async move { other.ask(PeerId(3), Request::Close).await });
        tokio::task::yield_now().await;
        assert_eq!(receiver.poll_take(&cx, &mut taken), Some(true));
        assert_eq!(
            (taken.requests.len(), taken.notices.len(), taken.interfaces_changed),
            (2, 1, true)
        );
        waits.await.unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "and again for what comes after");
        assert_eq!(receiver.poll_take(&cx, &mut taken), Some(true));
        assert_eq!(taken.requests.len(), 3);
    }

    #[test]
    fn it_holds_nothing_while_nothing_waits_and_ends_with_its_ends() {
        let (sender, receiver) = inbox(10_000);
        let (cx, mut taken) = (Context::from_waker(Waker::noop()), Taken::default());
        for _ in 0..3 * MAX_TAKEN {
            assert!(sender.try_ask(PeerId(1), Request::Close));
        }
        drop(sender.clone());
        for n in 1..=3 {
            assert_eq!(receiver.poll_take(&cx, &mut taken), Some(true));
            assert_eq!(taken.requests.len(), n * MAX_TAKEN);
        }
        for _ in 0..MAX_UNUSED {
            assert_eq!(receiver.poll_take(&cx, &mut taken), Some(false));
        }
        let waiting = receiver.0.lock();
        assert_eq!(waiting.requests.capacity(), 0);
        assert!(waiting.notices.capacity() <= KEPT);
        drop(waiting);
        sender.notify(notice());
        drop(sender);
        assert_eq!(
            receiver.poll_take(&cx, &mut taken),
            Some(true),
            "what was said is heard"
        );
        assert_eq!(receiver.poll_take(&cx, &mut taken), None);
    }

    #[tokio::test]
    async fn who_asks_a_driver_that_is_gone_is_not_kept() {
        let (sender, receiver) = inbox(1);
        assert!(sender.try_ask(PeerId(1), Request::Close));
        let other = sender.clone();
        let waits = tokio::spawn(async move { other.ask(PeerId(1), Request::Close).await });
        tokio::task::yield_now().await;
        drop(receiver);
        waits.await.unwrap();
        assert!(!sender.try_ask(PeerId(1), Request::Close));
        sender.notify(notice());
        assert!(sender.0.lock().notices.is_empty());
    }
}
