//! The async handles of a data channel.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antiphon_data_channel::{ChannelId, ChannelInfo, ChannelState, Ending, Message, MessageKind, Piece, SendError};
use bytes::Bytes;
use futures_util::Stream;

use crate::driver::inbox::ToDriver;
use crate::driver::message::{Notice, PeerId};
use crate::error::{Error, TrySendError};
use crate::mailbox::{Mailbox, Receiver, Refusal};

/// A data channel (W3C `RTCDataChannel`).
///
/// Messages come in order of arrival from [`Self::recv`], or from the [`Stream`] that the channel is. Those that nobody takes count
/// against the receive window but for the first 256 KiB, so a slow reader slows the sender instead of filling memory. Dropping the
/// handle closes nothing, but what comes then is dropped: call [`Self::close`].
///
/// ```no_run
/// # async fn example(mut channel: antiphon::DataChannel) -> Result<(), antiphon::Error> {
/// channel.opened().await?;
/// channel.send_text("a question").await?;            // waits while 1 MiB is buffered
/// while let Some(message) = channel.recv().await {
///     println!("{} bytes", message.data.len());
/// }
/// # Ok(())
/// # }
/// ```
pub struct DataChannel {
    sender: DataChannelSender,
    label: String,
    protocol: String,
    receiver: Receiver,
    /// A message came in pieces, to a reader of whole ones.
    refuses: bool,
}

impl std::fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannel")
            .field("id", &self.sender.id)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Drop for DataChannel {
    fn drop(&mut self) {
        if self.sender.mailbox.abandon() {
            self.sender.notify(Notice::Drained);
        }
    }
}

impl DataChannel {
    pub(crate) fn new(driver: Arc<ToDriver>, id: ChannelId, info: ChannelInfo, receiver: Receiver) -> Self {
        let mailbox = receiver.mailbox.clone();
        Self {
            sender: DataChannelSender { driver, id, mailbox },
            label: info.label,
            protocol: info.protocol,
            receiver,
            refuses: false,
        }
    }

    /// The number that other calls name this channel by.
    pub fn id(&self) -> ChannelId {
        self.sender.id
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
        *self.receiver.state.borrow()
    }

    /// Waits until the channel is open.
    ///
    /// # Errors
    /// [`Error::Closed`] if it closes first.
    pub async fn opened(&mut self) -> Result<(), Error> {
        let settled = |s: &ChannelState| *s != ChannelState::Connecting;
        let state = *self.receiver.state.wait_for(settled).await.map_err(|_| Error::Closed)?;
        if state == ChannelState::Open {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// Waits until the channel is closed. What has arrived can still be taken.
    pub async fn closed(&self) {
        let mut state = self.receiver.state.clone();
        // An error means that the connection is gone, and the channel with it.
        let _ = state.wait_for(|s| *s == ChannelState::Closed).await;
    }

    /// The next message; `None` when the channel is closed and everything received has been taken. Cancel safe.
    ///
    /// A message that comes in pieces is refused and closes the channel: see [`Self::recv_piece`].
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        while let Some(Piece {
            kind,
            data,
            begins,
            ending,
        }) = ready!(self.poll_recv_piece(cx))
        {
            if begins && ending == Ending::End && !self.refuses {
                return Poll::Ready(Some(Message { kind, data }));
            }
            if !std::mem::replace(&mut self.refuses, true) {
                tracing::warn!(label = %self.label, "a message comes in pieces, which nobody reads: the channel closes");
                self.close();
            }
        }
        Poll::Ready(None)
    }

    /// The next message, or what has come of one that is too large to wait for; `None` when the channel is closed and everything
    /// received has been taken. So messages of any size pass, and memory holds no more of them than the receive buffer. Cancel safe.
    ///
    /// Only ordered messages beyond `max_receive_message` come in pieces, and only with `partial_delivery` in the settings
    /// of data channels (`configuration.settings.data`), which also tells the peer that any size is welcome.
    pub async fn recv_piece(&mut self) -> Option<Piece> {
        poll_fn(|cx| self.poll_recv_piece(cx)).await
    }

    pub(crate) fn poll_recv_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Piece>> {
        let Some((piece, drained)) = ready!(self.sender.mailbox.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        if drained {
            self.sender.notify(Notice::Drained);
        }
        Poll::Ready(Some(piece))
    }

    /// Sends a text message; otherwise like [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_text(&self, text: impl Into<String>) -> Result<(), Error> {
        self.send(Message::text(text)).await
    }

    /// Sends a binary message; otherwise like [`Self::send`].
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_binary(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.send(Message::binary(data)).await
    }

    /// Sends a message; waits while 1 MiB or more is buffered, until 256 KiB are left.
    ///
    /// # Errors
    /// [`Error::Peer`] if the channel is not open, or the message is larger than the peer takes.
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        self.sender.send(message).await
    }

    /// Sends a message if that can be done at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`], which gives the message back; [`TrySendError::Refused`] where [`Self::send`] fails.
    pub fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// A handle that only sends, to be moved elsewhere.
    pub fn sender(&self) -> DataChannelSender {
        self.sender.clone()
    }

    /// Bytes that were handed over and are not yet sent (W3C `bufferedAmount`).
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// The largest message in bytes that [`Self::send`] takes: what the peer announced (W3C `maxMessageSize` of its transport). 0 before
    /// the channel is open.
    pub fn max_message_size(&self) -> usize {
        self.sender.mailbox.limit()
    }

    /// Starts closing: what was handed over is still sent, and [`Self::recv`] still gives what has arrived.
    pub fn close(&self) {
        self.sender.close();
    }
}

impl Stream for DataChannel {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_recv(cx)
    }
}

/// The sending half of a [`DataChannel`].
#[derive(Clone)]
pub struct DataChannelSender {
    driver: Arc<ToDriver>,
    id: ChannelId,
    mailbox: Arc<Mailbox>,
}

impl std::fmt::Debug for DataChannelSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannelSender")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl DataChannelSender {
    /// Sends a message; waits while 1 MiB or more is buffered, until 256 KiB are left. Of several that wait any may be next.
    /// Cancel safe: a message whose future was dropped before it was ready is not sent.
    ///
    /// # Errors
    /// [`Error::Peer`] if the channel is not open, or the message is larger than the peer takes.
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        let mut message = message;
        loop {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Refused(error)) => return Err(error),
                Err(TrySendError::Full(back)) => message = back,
            }
            poll_fn(|cx| self.mailbox.poll_room(cx)).await;
        }
    }

    /// Sends a message if that can be done at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`], which gives the message back; [`TrySendError::Refused`] where [`Self::send`] fails.
    pub fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        if message.kind == MessageKind::Text && std::str::from_utf8(&message.data).is_err() {
            return Err(refused(SendError::NotUtf8));
        }
        match self.mailbox.try_send(message) {
            Ok(true) => self.notify(Notice::Outgoing),
            Ok(false) => {}
            Err(Refusal::Full(message)) => return Err(TrySendError::Full(message)),
            Err(Refusal::Never(error)) => return Err(refused(error)),
        }
        Ok(())
    }

    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        self.mailbox.poll_room(cx)
    }

    /// Waits until everything that was handed over was sent.
    ///
    /// # Errors
    /// [`Error::Peer`] if the channel closes first.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub(crate) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.mailbox.poll_sent(cx).map_err(|error| Error::Peer(error.into()))
    }

    /// Bytes that were handed over and are not yet sent (W3C `bufferedAmount`).
    pub fn buffered_amount(&self) -> usize {
        self.mailbox.buffered_amount()
    }

    /// Starts closing: what was handed over is still sent.
    pub fn close(&self) {
        if self.mailbox.refuse() {
            self.notify(Notice::Close);
        }
    }

    /// Says something to the driver, who may be gone.
    fn notify(&self, notice: impl FnOnce(PeerId, ChannelId) -> Notice) {
        self.driver.inbox.notify(notice(self.driver.peer, self.id));
    }
}

fn refused(error: SendError) -> TrySendError {
    TrySendError::Refused(Error::Peer(error.into()))
}
