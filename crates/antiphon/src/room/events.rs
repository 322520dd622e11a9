//! Events of one object for any number of listeners. Nothing is kept while nobody listens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Events that may wait for one listener; it loses the oldest beyond that.
const MAX_WAITING: usize = 64;

/// What happened to an object. The last that happens is its end.
pub(super) trait News: Clone + Send + 'static {
    /// The end for which no other reason is known.
    const END: Self;

    /// Whether nothing comes after it.
    fn is_end(&self) -> bool;
}

/// Who listens to an object.
#[derive(Debug)]
pub(super) struct Listeners<N: News> {
    sender: OnceLock<broadcast::Sender<N>>,
    closed: AtomicBool,
    /// The end was told.
    ended: AtomicBool,
}

impl<N: News> Default for Listeners<N> {
    fn default() -> Self {
        Self {
            sender: OnceLock::new(),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }
}

impl<N: News> Listeners<N> {
    /// Whether it is closed.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// It is closed, and its end will be told: where several objects end together, all are closed before anybody hears of one.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether somebody would hear.
    pub(super) fn any(&self) -> bool {
        self.sender.get().is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Tells all who listen. Nothing is told after the end.
    pub(super) fn tell(&self, news: N) {
        if news.is_end() {
            self.close();
        }
        let ended = match news.is_end() {
            true => self.ended.swap(true, Ordering::AcqRel),
            false => self.ended.load(Ordering::Acquire),
        };
        if ended {
            return;
        }
        if let Some(sender) = self.sender.get() {
            // Without a receiver it is for nobody.
            _ = sender.send(news);
        }
    }

    /// Listens from now on; `name` says what the application sees of it.
    pub(super) fn listen<E>(&self, name: impl FnMut(N) -> E + Send + 'static) -> Events<E> {
        let receiver = self
            .sender
            .get_or_init(|| broadcast::channel(MAX_WAITING).0)
            .subscribe();
        // Whoever is late hears nothing, and that it is over: the end was told before this, or will be heard.
        let ended = self.closed();
        let missed = Arc::new(AtomicU64::new(0));
        let news = stream::unfold((receiver, ended, missed.clone()), next);
        Events {
            stream: news.map(name).boxed(),
            missed,
        }
    }
}

impl<N: News> Drop for Listeners<N> {
    fn drop(&mut self) {
        self.tell(N::END);
    }
}

type Reading<N> = (broadcast::Receiver<N>, bool, Arc<AtomicU64>);

async fn next<N: News>((mut receiver, ended, missed): Reading<N>) -> Option<(N, Reading<N>)> {
    loop {
        let taken = if ended {
            receiver.try_recv().map_err(|error| match error {
                TryRecvError::Lagged(count) => RecvError::Lagged(count),
                TryRecvError::Empty | TryRecvError::Closed => RecvError::Closed,
            })
        } else {
            receiver.recv().await
        };
        match taken {
            Ok(news) => {
                let ended = ended || news.is_end();
                return Some((news, (receiver, ended, missed)));
            }
            Err(RecvError::Lagged(count)) => _ = missed.fetch_add(count, Ordering::Relaxed),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// What happens to an object from the moment at which its `events` was called. Listen before you call what causes something.
pub struct Events<E> {
    stream: BoxStream<'static, E>,
    missed: Arc<AtomicU64>,
}

impl<E> std::fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl<E> Events<E> {
    /// The next event; `None` once the object is closed and everything was told. Cancel safe.
    ///
    /// Of the events that nobody takes 64 wait; then the oldest goes: see [`Self::missed`].
    pub async fn next(&mut self) -> Option<E> {
        self.stream.next().await
    }

    /// How many events were lost because they were not taken in time.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl<T: Send + 'static> Events<Option<T>> {
    /// Ends with the first `None`.
    pub(super) fn while_some(self) -> Events<T> {
        Events {
            stream: self
                .stream
                .take_while(|item| std::future::ready(item.is_some()))
                .filter_map(std::future::ready)
                .boxed(),
            missed: self.missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Told {
        Number(u32),
        End,
    }

    impl News for Told {
        const END: Self = Self::End;

        fn is_end(&self) -> bool {
            *self == Self::End
        }
    }

    #[tokio::test]
    async fn each_listener_hears_everything_from_its_first_moment_to_the_end() {
        let listeners = Listeners::default();
        assert!(!listeners.any());
        listeners.tell(Told::Number(1));
        let mut first = listeners.listen(|told| told);
        listeners.tell(Told::Number(2));
        let mut second = listeners.listen(|told| told);
        assert!(listeners.any());
        listeners.tell(Told::Number(3));
        listeners.tell(Told::End);
        listeners.tell(Told::Number(4));
        listeners.tell(Told::End);
        for expected in [Told::Number(2), Told::Number(3), Told::End] {
            assert_eq!(first.next().await, Some(expected));
        }
        assert_eq!(first.next().await, None);
        assert_eq!(second.next().await, Some(Told::Number(3)));
        assert_eq!(second.next().await, Some(Told::End));
        assert_eq!(second.next().await, None);
        assert_eq!(listeners.listen(|told| told).next().await, None, "too late");
    }

    #[tokio::test]
    async fn who_takes_nothing_loses_the_oldest_and_is_told_how_many() {
        let listeners = Listeners::default();
        let mut events = listeners.listen(|told| told);
        let extra = 5;
        for number in 0..MAX_WAITING as u32 + extra {
            listeners.tell(Told::Number(number));
        }
        assert_eq!(events.next().await, Some(Told::Number(extra)));
        assert_eq!(events.missed(), u64::from(extra));
        drop(listeners);
        let mut last = None;
        while let Some(told) = events.next().await {
            last = Some(told);
        }
        assert_eq!(last, Some(Told::End), "an object that is gone is closed");
    }
}
