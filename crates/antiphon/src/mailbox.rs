//! What a data channel's handles and the driver share: the messages that have come, and those that are to go.
//!
//! Each direction has a mutex, so that a message costs neither a command nor an answer (docs/decisions/0015-mailbox-mutex.md).
//! Whoever holds one moves a few messages and lets go: nothing is awaited, and no application code runs, under it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use antiphon_data_channel::{ChannelId, ChannelState, Message, Piece, SendError};
use antiphon_peer_connection as core;
use tokio::sync::watch;

/// Bytes of one channel that wait to be sent, in the handle and in SCTP, from which on its senders wait.
const SEND_HIGH_WATER: usize = 1024 * 1024;
/// Bytes at which senders that waited go on.
const SEND_LOW_WATER: usize = 256 * 1024;
/// Bytes, and messages, that wait in a handle; the rest stays in SCTP, whose window then closes towards the peer.
const RECEIVE_HIGH_WATER: usize = 256 * 1024;
const MAX_WAITING: usize = 1024;
/// Messages that wait to be sent: empty ones count as no bytes.
const MAX_OUTGOING: usize = 4096;

#[derive(Default)]
struct Incoming {
    /// Whole ones, but for those that are read in pieces.
    messages: VecDeque<Piece>,
    bytes: usize,
    /// The driver left messages in SCTP.
    stalled: bool,
    /// Nothing more will come.
    ended: bool,
    /// Nobody will read.
    abandoned: bool,
    reader: Option<Waker>,
}

struct Outgoing {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Bytes that SCTP had still to send when the driver last looked.
    in_machine: usize,
    /// The driver knows that something waits.
    announced: bool,
    /// Why nothing can be sent now.
    refusal: Option<SendError>,
    /// The largest message that the peer takes.
    limit: usize,
    /// Who waits, and until how few bytes are buffered.
    waiting: Vec<(usize, Waker)>,
}

impl Outgoing {
    fn buffered(&self) -> usize {
        self.bytes + self.in_machine
    }

    fn has_room(&self) -> bool {
        self.buffered() < SEND_HIGH_WATER && self.messages.len() < MAX_OUTGOING
    }

    fn wake(&mut self) {
        let (buffered, refused) = (self.buffered(), self.refusal.is_some());
        self.waiting.retain(|(until, waker)| {
            let keep = buffered > *until && !refused;
            if !keep {
                waker.wake_by_ref();
            }
            keep
        });
    }

    fn wait(&mut self, until: usize, cx: &Context<'_>) {
        // A task that gave up waiting for one amount may wait for another: the earlier wakes it, and it looks again.
        match self.waiting.iter_mut().find(|(_, waker)| waker.will_wake(cx.waker())) {
            Some((earlier, _)) => *earlier = until.max(*earlier),
            None => self.waiting.push((until, cx.waker().clone())),
        }
    }
}

/// The driver's end of a channel.
pub(crate) struct Queue {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) state: watch::Sender<ChannelState>,
    /// To be closed in the machine once all that was taken has been handed over.
    pub(crate) closing: bool,
}

impl Queue {
    /// A queue for a new channel, and the handles' end of it.
    pub(crate) fn new() -> (Self, Receiver) {
        let (state, states) = watch::channel(ChannelState::Connecting);
        let mailbox = Arc::new(Mailbox::new());
        let queue = Self {
            mailbox: mailbox.clone(),
            state,
            closing: false,
        };
        (queue, Receiver { mailbox, state: states })
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

/// The handles' end of a channel. What comes once it is dropped is dropped too.
pub(crate) struct Receiver {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) state: watch::Receiver<ChannelState>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.mailbox.abandon();
    }
}

/// Why a message was not taken at once.
pub(crate) enum Refusal {
    /// Too much waits.
    Full(Message),
    /// It cannot be sent.
    Never(SendError),
}

/// Both queues of one channel.
pub(crate) struct Mailbox {
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    fn new() -> Self {
        Self {
            incoming: Mutex::default(),
            outgoing: Mutex::new(Outgoing {
                messages: VecDeque::new(),
                bytes: 0,
                in_machine: 0,
                announced: false,
                refusal: Some(SendError::NotOpen),
                limit: 0,
                waiting: Vec::new(),
            }),
        }
    }

    // --- the handles' side

    /// The next message, and whether the driver must hear that there is room again.
    pub(crate) fn poll_recv(&self, cx: &Context<'_>) -> Poll<Option<(Piece, bool)>> {
        let mut incoming = lock(&self.incoming);
        let Some(message) = incoming.messages.pop_front() else {
            if incoming.ended {
                return Poll::Ready(None);
            }
            incoming.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        incoming.bytes -= message.data.len();
        let drained =
            incoming.stalled && incoming.bytes <= RECEIVE_HIGH_WATER / 2 && incoming.messages.len() <= MAX_WAITING / 2;
        if drained {
            incoming.stalled = false;
        }
        Poll::Ready(Some((message, drained)))
    }

    /// Nobody will read any more. Whether the driver must hear of it.
    pub(crate) fn abandon(&self) -> bool {
        let mut incoming = lock(&self.incoming);
        incoming.abandoned = true;
        incoming.messages.clear();
        incoming.bytes = 0;
        std::mem::take(&mut incoming.stalled)
    }

    /// Takes a message to be sent. `Ok(true)`: the driver must hear of it.
    pub(crate) fn try_send(&self, message: Message) -> Result<bool, Refusal> {
        let mut outgoing = lock(&self.outgoing);
        if let Some(refusal) = &outgoing.refusal {
            return Err(Refusal::Never(*refusal));
        }
        let size = message.data.len();
        if size > outgoing.limit {
            let limit = outgoing.limit;
            return Err(Refusal::Never(SendError::TooLarge { size, limit }));
        }
        if !outgoing.has_room() {
            return Err(Refusal::Full(message));
        }
        outgoing.bytes += size;
        outgoing.messages.push_back(message);
        Ok(!std::mem::replace(&mut outgoing.announced, true))
    }

    /// Ready when there is room, or will never be.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.has_room() || outgoing.refusal.is_some() {
            return Poll::Ready(());
        }
        outgoing.wait(SEND_LOW_WATER, cx);
        Poll::Pending
    }

    /// Ready when everything was sent, or never will be.
    pub(crate) fn poll_sent(&self, cx: &Context<'_>) -> Poll<Result<(), SendError>> {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.buffered() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(refusal) = &outgoing.refusal {
            return Poll::Ready(Err(*refusal));
        }
        outgoing.wait(0, cx);
        Poll::Pending
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        lock(&self.outgoing).buffered()
    }

    /// Refuses whatever comes after what was taken. Whether it is the first to do so.
    pub(crate) fn refuse(&self) -> bool {
        let mut outgoing = lock(&self.outgoing);
        let first = outgoing.refusal != Some(SendError::Closed);
        outgoing.refusal = Some(SendError::Closed);
        outgoing.wake();
        first
    }

    // --- the driver's side

    /// The largest message that the peer takes; 0 before the channel is open.
    pub(crate) fn limit(&self) -> usize {
        lock(&self.outgoing).limit
    }

    /// The channel is open, and its peer takes messages of up to `limit` bytes.
    pub(crate) fn open(&self, limit: usize) {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.refusal == Some(SendError::NotOpen) {
            outgoing.refusal = None;
        }
        outgoing.limit = limit;
    }

    /// Moves messages that have come from the machine while there is room, or `all` of them: the receive buffer bounds them, and a
    /// channel that is closed is about to be forgotten there. Whether a reader waited and got one: several are a stream, which
    /// nobody answers one by one.
    pub(crate) fn pump(&self, all: bool, mut read: impl FnMut() -> Option<Piece>) -> bool {
        let mut incoming = lock(&self.incoming);
        if incoming.abandoned {
            // What comes is dropped, so that the peer is not held up for ever.
            while read().is_some() {}
            return false;
        }
        let before = incoming.messages.len();
        loop {
            let full = incoming.bytes >= RECEIVE_HIGH_WATER || incoming.messages.len() >= MAX_WAITING;
            if full && !all {
                incoming.stalled = true;
                break;
            }
            let Some(message) = read() else { break };
            incoming.bytes += message.data.len();
            incoming.messages.push_back(message);
        }
        let came = incoming.messages.len() - before;
        let reader = incoming.reader.take_if(|_| came > 0);
        drop(incoming);
        reader.map(Waker::wake).is_some() && came == 1
    }

    /// Hands over to the machine what it has room for. Whether something waits still, here or there.
    pub(crate) fn hand_over(&self, now: Instant, id: ChannelId, core: &mut core::PeerConnection) -> Waiting {
        let mut outgoing = lock(&self.outgoing);
        let mut amount = core.buffered_amount(id);
        while amount < SEND_HIGH_WATER
            && let Some(message) = outgoing.messages.front().cloned()
        {
            let size = message.data.len();
            match core.send(now, id, message) {
                // All channels together fill the association's buffer; they go on when it has drained.
                Err(core::Error::Send(SendError::BufferFull)) => break,
                // The channel was closed meanwhile, by the peer or with the connection.
                Err(error) => tracing::debug!(?id, %error, "a message that was taken is not sent"),
                Ok(()) => {}
            }
            outgoing.messages.pop_front();
            outgoing.bytes -= size;
            amount = core.buffered_amount(id);
        }
        outgoing.in_machine = amount;
        outgoing.announced = !outgoing.messages.is_empty();
        outgoing.wake();
        match (outgoing.announced, amount) {
            (true, _) => Waiting::Here,
            (false, 0) => Waiting::Nowhere,
            (false, _) => Waiting::InMachine,
        }
    }

    /// The channel is gone.
    pub(crate) fn end(&self) {
        {
            let mut outgoing = lock(&self.outgoing);
            outgoing.refusal = Some(SendError::Closed);
            outgoing.wake();
        }
        let mut incoming = lock(&self.incoming);
        incoming.ended = true;
        if let Some(reader) = incoming.reader.take() {
            reader.wake();
        }
    }
}

/// Where messages that are to be sent wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// In the mailbox, for SCTP has no room.
    Here,
    /// In the machine, whose SCTP has not sent them all.
    InMachine,
    /// Nothing waits.
    Nowhere,
}
