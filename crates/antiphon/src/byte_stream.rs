//! A data channel as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antiphon_data_channel::{Ending, Message};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::channel::{DataChannel, DataChannelSender};
use crate::error::{Error, TrySendError};

/// The largest message that a write becomes: what every peer takes (RFC 8841 §6.1: 64 K bytes unless it says otherwise; the W3C's
/// examples and older browsers keep to 16 K).
const MAX_WRITE: usize = 16 * 1024;

/// A data channel as `tokio::io::AsyncRead` and `AsyncWrite`: what is written goes out as binary messages of at most 16 KiB, and what
/// comes, in messages of any size and kind, is read as one stream; with `partial_delivery` in the association's settings a message need
/// not even be whole before it is read. The channel should be reliable and ordered.
///
/// Flushing waits until everything was sent; shutting down does, and then closes the channel. The end of the stream is the peer's
/// closing of the channel.
///
/// ```no_run
/// # async fn example(channel: antiphon::DataChannel, mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
/// let mut channel = channel.into_byte_stream();
/// tokio::io::copy_bidirectional(&mut channel, &mut stream).await?;      // a tunnel
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ByteStream {
    channel: DataChannel,
    sender: DataChannelSender,
    unread: Bytes,
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl DataChannel {
    /// The channel as a stream of bytes, where messages have no bounds: `tokio::io::AsyncRead` and `AsyncWrite`.
    pub fn into_byte_stream(self) -> ByteStream {
        ByteStream {
            sender: self.sender(),
            channel: self,
            unread: Bytes::new(),
        }
    }
}

impl ByteStream {
    /// The channel. Bytes that were read from it and not from here are lost.
    pub fn into_inner(self) -> DataChannel {
        self.channel
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            // An empty message would look like the end.
            match ready!(this.channel.poll_recv_piece(cx)) {
                Some(piece) if piece.ending == Ending::GivenUp => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Some(piece) => this.unread = piece.data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread[..len]);
        this.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let len = buf.len().min(MAX_WRITE);
        loop {
            // Nothing is copied for a channel that has no room.
            ready!(self.sender.poll_room(cx));
            match self
                .sender
                .try_send(Message::binary(Bytes::copy_from_slice(&buf[..len])))
            {
                Ok(()) => return Poll::Ready(Ok(len)),
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Refused(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A channel that is closed already has nothing to wait for.
        let _ = ready!(self.sender.poll_flush(cx));
        self.sender.close();
        Poll::Ready(Ok(()))
    }
}
