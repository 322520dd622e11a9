//! The line between a node and its bus: two bounded queues, whatever the bus is.

use antiphon_cluster::{Publish, Subject};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages that may wait for the bus. What is due beyond that stays in the machine, which writes it as it stands when there is room.
const MAX_OUTGOING: usize = 256;
/// Messages of the bus that may wait for the node. A bus drops beyond that, and what is missed is asked for again.
const MAX_INCOMING: usize = 4096;

/// What a node tells its bus.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Messages of this subject are for us from now on.
    Listen(Subject),
    /// They are not any more.
    Ignore(Subject),
    Publish(Publish),
}

/// What a bus tells its node.
#[derive(Debug)]
pub(super) enum Incoming {
    Connected,
    Disconnected,
    Message(Bytes),
}

/// The node's end.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) outgoing: mpsc::Sender<Outgoing>,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    /// What carries it all. It ends when everything is carried that was said before `outgoing` was dropped.
    pub(super) carrier: JoinHandle<()>,
}

/// The end of the bus.
#[derive(Debug)]
pub(super) struct BusEnd {
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) incoming: mpsc::Sender<Incoming>,
}

/// A new line, with what carries what goes over it.
pub(super) fn line<F>(carry: impl FnOnce(BusEnd) -> F) -> Line
where
    F: Future<Output = ()> + Send + 'static,
{
    let (outgoing, out) = mpsc::channel(MAX_OUTGOING);
    let (coming, incoming) = mpsc::channel(MAX_INCOMING);
    let bus = BusEnd {
        outgoing: out,
        incoming: coming,
    };
    Line {
        outgoing,
        incoming,
        carrier: tokio::spawn(carry(bus)),
    }
}
