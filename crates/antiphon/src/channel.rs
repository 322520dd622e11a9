//! The async handle of a data channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_data_channel::{ChannelId, ChannelState, Message};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::driver::Ask;
use crate::handle::PeerHandle;

/// Messages that wait in the handle; the rest stays in SCTP, whose window then closes towards the peer.
pub(crate) const QUEUED_MESSAGES: usize = 16;

/// The driver's end of a channel's queues.
pub(crate) struct Queue {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) state: watch::Sender<ChannelState>,
    /// The driver found the queue full and left messages in SCTP; who takes one says so to the driver.
    pub(crate) stalled: Arc<AtomicBool>,
}

/// A data channel (W3C `RTCDataChannel`).
///
/// Messages come in order of arrival from [`Self::recv`]. Until they are taken they count against the receive window, so a
/// slow reader slows the sender instead of filling memory. Dropping the handle closes nothing: call [`Self::close`].
pub struct DataChannel {
    peer: PeerHandle,
    id: ChannelId,
    label: String,
    protocol: String,
    messages: mpsc::Receiver<Message>,
    state: watch::Receiver<ChannelState>,
    stalled: Arc<AtomicBool>,
}

impl std::fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannel")
            .field("id", &self.id)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl DataChannel {
    pub(crate) fn new(peer: PeerHandle, id: ChannelId, label: String, protocol: String) -> (Self, Queue) {
        let (messages, incoming) = mpsc::channel(QUEUED_MESSAGES);
        let (state, states) = watch::channel(ChannelState::Connecting);
        let stalled = Arc::new(AtomicBool::new(false));
        let queue = Queue {
            messages,
            state,
            stalled: stalled.clone(),
        };
        (
            Self {
                peer,
                id,
                label,
                protocol,
                messages: incoming,
                state: states,
                stalled,
            },
            queue,
        )
    }

    /// The number that other calls name this channel by.
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The subprotocol; empty if none was named.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The state as last heard.
    pub fn ready_state(&self) -> ChannelState {
        *self.state.borrow()
    }

    /// Waits until the channel is open.
    ///
    /// # Errors
    /// [`Error::Closed`] if it closes first.
    pub async fn opened(&mut self) -> Result<(), Error> {
        let settled = |s: &ChannelState| *s != ChannelState::Connecting;
        let state = *self.state.wait_for(settled).await.map_err(|_| Error::Closed)?;
        if state == ChannelState::Open {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// The next message; `None` when the channel is closed and everything received has been taken.
    pub async fn recv(&mut self) -> Option<Message> {
        let message = self.messages.recv().await;
        if message.is_some() && self.stalled.swap(false, Ordering::AcqRel) {
            let id = self.id;
            self.peer.visit(move |hosted, _| hosted.pump(id)).await;
        }
        message
    }

    /// Sends a text message; waits while more than the high-water mark is buffered.
    ///
    /// # Errors
    /// [`Error::Peer`] if the channel is not open or the message exceeds what the peer takes, [`Error::Closed`].
    pub async fn send_text(&self, text: impl Into<String>) -> Result<(), Error> {
        self.send(Message::text(text)).await
    }

    /// Sends a binary message; otherwise like [`Self::send_text`].
    ///
    /// # Errors
    /// As [`Self::send_text`].
    pub async fn send_binary(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.send(Message::binary(data)).await
    }

    /// Sends a message; otherwise like [`Self::send_text`].
    ///
    /// # Errors
    /// As [`Self::send_text`].
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        self.sender().send(message).await
    }

    /// A handle that only sends, to be moved elsewhere.
    pub fn sender(&self) -> DataChannelSender {
        DataChannelSender {
            peer: self.peer.clone(),
            id: self.id,
        }
    }

    /// Bytes that are handed over and not yet sent (W3C `bufferedAmount`).
    ///
    /// # Errors
    /// [`Error::Closed`] if the peer connection is gone.
    pub async fn buffered_amount(&self) -> Result<usize, Error> {
        let id = self.id;
        self.peer.call(move |pc, _| pc.buffered_amount(id)).await
    }

    /// Starts closing; [`Self::recv`] still gives what has arrived.
    pub async fn close(&self) {
        let id = self.id;
        self.peer
            .visit(move |hosted, now| hosted.core.close_data_channel(now, id))
            .await;
    }
}

/// The sending half of a [`DataChannel`].
#[derive(Clone, Debug)]
pub struct DataChannelSender {
    peer: PeerHandle,
    id: ChannelId,
}

impl DataChannelSender {
    /// Sends a message; waits while more than the high-water mark is buffered.
    ///
    /// # Errors
    /// [`Error::Peer`] if the channel is not open or the message exceeds what the peer takes, [`Error::Closed`].
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        self.peer.ask_for(|answer| Ask::Message(self.id, message, answer)).await
    }
}
