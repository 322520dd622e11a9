//! Packets on their way between a router and what is not a peer of it: another router, or a program. They go in at one end and come
//! out at the other, over a bounded queue; key frames are asked for the other way, and each end learns that the other is gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use antiphon_media::Packet;
use antiphon_sfu::router::Format;
use futures_util::task::AtomicWaker;

/// Packets that may wait at a crossing: a second of a picture of 10 Mbit/s. The oldest go first, and are counted.
pub(crate) const MAX_CROSSING: usize = 1024;
/// Sources that may wait to be asked for a key frame: more than a track has.
const MAX_ASKED: usize = 8;
/// Room for so many packets is kept while none waits.
const KEPT: usize = 64;

/// What is between both ends.
struct Crossing {
    state: Mutex<State>,
    /// Programs that wait at either end.
    entry: AtomicWaker,
    exit: AtomicWaker,
}

#[derive(Default)]
struct State {
    packets: VecDeque<Packet>,
    /// What comes from now on is of this format.
    format: Option<Format>,
    asked: Vec<u32>,
    dropped: u64,
    /// The end at which packets go in, and that at which they come out.
    at_entry: Side,
    at_exit: Side,
}

/// Who is at one end.
#[derive(Default)]
struct Side {
    is_gone: bool,
    /// It knows already that there is something for it.
    is_told: bool,
    /// Tells its driver, if it is a router.
    tell: Option<Box<dyn Fn() + Send>>,
}

impl Side {
    /// Tells who is there, once until it looks.
    fn wake(&mut self, program: &AtomicWaker) {
        program.wake();
        if let Some(tell) = &self.tell
            && !std::mem::replace(&mut self.is_told, true)
        {
            tell();
        }
    }
}

impl Crossing {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A crossing: where packets go in, and where they come out.
pub(crate) fn crossing() -> (Entry, Exit) {
    let crossing = Arc::new(Crossing {
        state: Mutex::default(),
        entry: AtomicWaker::new(),
        exit: AtomicWaker::new(),
    });
    (Entry(crossing.clone()), Exit(crossing))
}

/// Where packets go in.
pub(crate) struct Entry(Arc<Crossing>);

impl Entry {
    /// From now on `tell` is called, once until it is looked, when something has come from the other end. It must not wait, nor call back.
    pub(crate) fn settle(&self, tell: impl Fn() + Send + 'static) {
        let mut state = self.0.lock();
        state.at_entry.tell = Some(Box::new(tell));
        if state.at_exit.is_gone || !state.asked.is_empty() {
            state.at_entry.wake(&self.0.entry);
        }
    }

    /// Puts packets in. The other end hears of it once they are all there.
    pub(crate) fn push(&self, packets: impl Iterator<Item = Packet>) {
        let mut state = self.0.lock();
        if state.at_exit.is_gone {
            return;
        }
        for packet in packets {
            if state.packets.len() >= MAX_CROSSING {
                state.packets.pop_front();
                state.dropped += 1;
            }
            state.packets.push_back(packet);
        }
        state.at_exit.wake(&self.0.exit);
    }

    /// What is put in from now on is of another format. What was put in before is dropped: nobody could read it.
    pub(crate) fn set_format(&self, format: Format) {
        let mut state = self.0.lock();
        state.dropped += state.packets.len() as u64;
        state.packets.clear();
        state.format = Some(format);
        state.at_exit.wake(&self.0.exit);
    }

    /// The sources that are to be asked for key frames; `None`: the other end is gone.
    pub(crate) fn take_asked(&self) -> Option<Vec<u32>> {
        let mut state = self.0.lock();
        state.at_entry.is_told = false;
        (!state.at_exit.is_gone).then(|| std::mem::take(&mut state.asked))
    }

    /// The next source that is to be asked for a key frame; `None`: the other end is gone.
    pub(crate) fn poll_asked(&self, cx: &Context<'_>) -> Poll<Option<u32>> {
        self.0.entry.register(cx.waker());
        let mut state = self.0.lock();
        match state.asked.pop() {
            Some(ssrc) => Poll::Ready(Some(ssrc)),
            None if state.at_exit.is_gone => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Whether the other end is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.0.lock().at_exit.is_gone
    }

    /// Packets that were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.at_entry.is_gone = true;
        state.at_exit.wake(&self.0.exit);
    }
}

/// Where packets come out.
pub(crate) struct Exit(Arc<Crossing>);

/// What has come out.
#[derive(Default)]
pub(crate) struct Came {
    /// What comes with these packets and after them is of another format.
    pub(crate) format: Option<Format>,
    /// The other end is gone: these are the last.
    pub(crate) is_over: bool,
}

impl Exit {
    /// From now on `tell` is called, once until it is looked, when something has come. It must not wait, nor call back.
    pub(crate) fn settle(&self, tell: impl Fn() + Send + 'static) {
        let mut state = self.0.lock();
        state.at_exit.tell = Some(Box::new(tell));
        if state.at_entry.is_gone || !state.packets.is_empty() || state.format.is_some() {
            state.at_exit.wake(&self.0.exit);
        }
    }

    /// Takes all that has come.
    pub(crate) fn take(&self, packets: &mut Vec<Packet>) -> Came {
        let mut state = self.0.lock();
        state.at_exit.is_told = false;
        packets.extend(state.packets.drain(..));
        state.packets.shrink_to(KEPT);
        Came {
            format: state.format.take(),
            is_over: state.at_entry.is_gone,
        }
    }

    /// The next packet, and the format of it and those behind it if that is another; `None`: no more come.
    pub(crate) fn poll_packet(&self, cx: &Context<'_>) -> Poll<Option<(Option<Format>, Packet)>> {
        self.0.exit.register(cx.waker());
        let mut state = self.0.lock();
        match state.packets.pop_front() {
            Some(packet) => Poll::Ready(Some((state.format.take(), packet))),
            None if state.at_entry.is_gone => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Asks the other end for a key frame of a source.
    pub(crate) fn ask(&self, ssrc: u32) {
        let mut state = self.0.lock();
        if !state.asked.contains(&ssrc) && state.asked.len() < MAX_ASKED {
            state.asked.push(ssrc);
        }
        state.at_entry.wake(&self.0.entry);
    }

    /// Packets that were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.at_exit.is_gone = true;
        let left = std::mem::take(&mut state.packets);
        state.at_entry.wake(&self.0.entry);
        drop(state);
        drop(left);
    }
}
