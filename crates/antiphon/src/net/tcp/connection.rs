//! One TCP or TLS connection: the driver's end, and the task that reads and writes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::framer::Framer;
use super::{MAX_QUEUED, MAX_WRITES, READ_BYTES, WRITE_PATIENCE};
use crate::driver::message::PeerId;
use crate::driver::message::Report;

/// The task's end of a connection's queue.
pub(crate) struct Outgoing {
    writes: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// The driver's end of a connection. Dropping it closes the connection after what is queued was written.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) owner: PeerId,
    pub(crate) remote: SocketAddr,
    /// Our end's address, once the connection stands.
    pub(crate) addr: Option<SocketAddr>,
    /// The request to connect that waits for an answer.
    pub(crate) request: Option<u32>,
    writes: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    /// What is written is cut from here; the allocation comes back when the task has written it.
    staging: BytesMut,
    task: Option<AbortHandle>,
    /// Datagrams, or batches of them, that found the queue full.
    pub(crate) dropped: u64,
}

impl Connection {
    pub(crate) fn new(owner: PeerId, remote: SocketAddr) -> (Self, Outgoing) {
        let (writes, taken) = mpsc::channel(MAX_WRITES);
        let queued = Arc::new(AtomicUsize::new(0));
        let outgoing = Outgoing {
            writes: taken,
            queued: queued.clone(),
        };
        let connection = Self {
            owner,
            remote,
            addr: None,
            request: None,
            writes,
            queued,
            staging: BytesMut::new(),
            task: None,
            dropped: 0,
        };
        (connection, outgoing)
    }

    /// The task to be ended if the connection is given up before it stands.
    pub(crate) fn set_task(&mut self, task: AbortHandle) {
        self.task = Some(task);
    }

    /// Runs a connection that stands already.
    pub(crate) fn start(
        &mut self,
        id: u32,
        stream: TcpStream,
        framer: Framer,
        outgoing: Outgoing,
        reports: mpsc::Sender<Report>,
    ) {
        tokio::spawn(run(id, stream, framer, outgoing, reports));
    }

    /// Queues whole messages in their framing, or drops them if too much waits.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.queued.load(Ordering::Relaxed) + bytes.len() > MAX_QUEUED {
            self.dropped += 1;
            return;
        }
        self.staging.extend_from_slice(bytes);
        let write = self.staging.split().freeze();
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.writes.try_send(write).is_err() {
            self.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
            self.dropped += 1;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::debug!(remote = %self.remote, dropped = self.dropped, "the connection was too slow for what was sent");
        }
        if self.addr.is_none()
            && let Some(task) = &self.task
        {
            task.abort();
        }
    }
}

/// Reads and writes until either end closes; then says so to the driver.
pub(crate) async fn run(
    id: u32,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut framer: Framer,
    mut outgoing: Outgoing,
    reports: mpsc::Sender<Report>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            while let Some(data) = framer.next_message() {
                if reports.send(Report::Message { id, data }).await.is_err() {
                    return Ok(());
                }
            }
            if framer.is_broken() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the stream has no framing"));
            }
            buffer.clear();
            if reader.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            framer.push(&buffer);
        }
    };
    let writing = async {
        while let Some(write) = outgoing.writes.recv().await {
            outgoing.queued.fetch_sub(write.len(), Ordering::Relaxed);
            tokio::time::timeout(WRITE_PATIENCE, writer.write_all(&write)).await??;
            // TLS may hold a record back.
            if outgoing.writes.is_empty() {
                tokio::time::timeout(WRITE_PATIENCE, writer.flush()).await??;
            }
        }
        // The driver let go of the connection.
        let _ = tokio::time::timeout(super::HANDSHAKE_PATIENCE, writer.shutdown()).await;
        Ok::<(), io::Error>(())
    };
    let outcome = tokio::select! {
        outcome = reading => outcome,
        outcome = writing => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(connection = id, %error, "TCP connection");
    }
    let _ = reports.send(Report::Ended { id }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_ice::{Framing, frame_header};

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = frame_header(message.len()).to_vec();
        bytes.extend_from_slice(message);
        bytes
    }

    fn connection() -> (Connection, Outgoing) {
        Connection::new(PeerId(1), SocketAddr::from(([192, 0, 2, 1], 9)))
    }

    #[tokio::test]
    async fn messages_both_ways_and_the_end() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut connection, outgoing) = connection();
        let (reports, mut arrived) = mpsc::channel(4);
        let task = tokio::spawn(run(7, near, Framer::new(Framing::Rfc4571), outgoing, reports));
        connection.addr = Some(SocketAddr::from(([192, 0, 2, 2], 9)));
        far.write_all(&framed(b"hello")).await.unwrap();
        let Some(Report::Message { id: 7, data }) = arrived.recv().await else {
            panic!("a message")
        };
        assert_eq!(&data[..], b"hello");
        connection.write(&framed(b"world"));
        drop(connection);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, framed(b"world"), "what was queued is written before the end");
        assert!(matches!(arrived.recv().await, Some(Report::Ended { id: 7 })));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn who_reads_nothing_loses_the_newest() {
        let (near, mut far) = tokio::io::duplex(16);
        let (mut connection, outgoing) = connection();
        let (reports, _arrived) = mpsc::channel(4);
        connection.addr = Some(SocketAddr::from(([192, 0, 2, 2], 9)));
        let message = framed(&[7; 1000]);
        let fit = MAX_QUEUED / message.len();
        for _ in 0..fit + 10 {
            connection.write(&message);
        }
        assert_eq!(connection.dropped, 10);
        let task = tokio::spawn(run(7, near, Framer::new(Framing::Rfc4571), outgoing, reports));
        drop(connection);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), fit * message.len(), "whole messages only");
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_without_framing_ends() {
        let (near, mut far) = tokio::io::duplex(64);
        let (_connection, outgoing) = connection();
        let (reports, mut arrived) = mpsc::channel(4);
        let task = tokio::spawn(run(7, near, Framer::new(Framing::Turn), outgoing, reports));
        far.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(arrived.recv().await, Some(Report::Ended { id: 7 })));
        task.await.unwrap();
    }
}
