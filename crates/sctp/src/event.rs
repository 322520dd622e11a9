//! Messages, what is told of them and of the association, and its figures.

use std::time::Duration;

use antiphon_sansio::Ecn;
use bytes::Bytes;

use crate::error::Error;

/// Whether a message ends with what was handed out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It does; most messages come whole.
    #[default]
    End,
    /// The next one of the stream is its continuation ([`Config::partial_delivery`](crate::Config::partial_delivery)).
    More,
    /// The peer has given the rest up (RFC 3758). No data comes with this.
    GivenUp,
}

/// A message from or to the peer, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The stream that carries it.
    pub stream: u16,
    /// The payload protocol identifier.
    pub ppid: u32,
    /// Never empty, but for [`Ending::GivenUp`]. A message that came in one chunk is a slice of the packet that was
    /// handed in (small ones are copied).
    pub data: Bytes,
    /// Whether the message was sent unordered.
    pub unordered: bool,
    /// Whether this is all that is left of the message.
    pub ending: Ending,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The message may overtake others of its stream.
    pub unordered: bool,
    /// Give the message up after this many retransmissions of one of its chunks (RFC 7496 §3.2).
    pub max_retransmits: Option<u16>,
    /// Give the message up after this time (RFC 3758 §4.1).
    pub lifetime: Option<Duration>,
}

/// A packet that [`poll_transmit`](crate::Association::poll_transmit) wrote: what the layers below have to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// How its datagram is to be marked: ECN-capable if it carries DATA, and both ends have
    /// [`Config::ecn`](crate::Config::ecn).
    pub ecn: Ecn,
    /// Bytes of padding that DTLS is to add, zero but for a path MTU probe: that is a small packet which goes out as a
    /// large one. DTLS 1.3 has padding that every peer takes off (RFC 8446 §5.4). A layer that cannot pad leaves
    /// [`Config::probe_up_to`](crate::Config::probe_up_to) at 0: what it sent unpadded would be taken for a large
    /// packet that has arrived.
    pub padding: usize,
}

/// What happened. At most one `Readable` and one `BufferedAmountLow` per stream wait in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// The stream has gained messages.
    Readable(u16),
    /// The stream's queued bytes have fallen to its threshold.
    BufferedAmountLow(u16),
    /// The peer has reset its outgoing side of the stream: all that it sent has arrived (RFC 6525 §5.2.2).
    IncomingReset(u16),
    /// The peer has confirmed the reset that we asked for; `ok` is false if it denied it.
    OutgoingReset {
        /// The stream that we wanted to reset.
        stream: u16,
        /// Whether the peer performed it.
        ok: bool,
    },
    /// The peer has answered [`add_streams`](crate::Association::add_streams): how many streams we may send on now.
    OutgoingStreams {
        /// How many streams there are now, in all.
        streams: u16,
        /// Whether the peer granted more.
        ok: bool,
    },
    /// How many streams the peer may send on now: it has added some, or answered
    /// [`request_streams`](crate::Association::request_streams).
    IncomingStreams {
        /// How many streams there are now, in all.
        streams: u16,
        /// Whether there are more than before, or will be.
        ok: bool,
    },
    /// The association ended in an orderly way, ours or the peer's: everything has been delivered in both directions.
    /// Our last answer to the peer's SHUTDOWN may still have to be sent, so polling goes on.
    Closed,
    /// The association ended otherwise.
    Failed(Error),
}

/// Where the association stands (RFC 9260 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Before [`connect`](crate::Association::connect), or after the end.
    Closed,
    /// INIT is sent, and INIT ACK awaited.
    CookieWait,
    /// COOKIE ECHO is sent, and COOKIE ACK awaited.
    CookieEchoed,
    /// The handshake is complete: data flows both ways.
    Established,
    /// We close as soon as everything is acknowledged.
    ShutdownPending,
    /// SHUTDOWN is sent, and SHUTDOWN ACK awaited.
    ShutdownSent,
    /// The peer closes; we first finish sending.
    ShutdownReceived,
    /// SHUTDOWN ACK is sent, and SHUTDOWN COMPLETE awaited.
    ShutdownAckSent,
}

/// Figures since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets written by `poll_transmit`, whatever they hold.
    pub packets_sent: u64,
    /// Packets taken in with a correct checksum and tag.
    pub packets_received: u64,
    /// Packets dropped: checksum, tag, ports or framing wrong.
    pub packets_dropped: u64,
    /// DATA chunks written, retransmissions included.
    pub chunks_sent: u64,
    /// DATA chunks written again.
    pub chunks_retransmitted: u64,
    /// DATA chunks that arrived again.
    pub chunks_duplicate: u64,
    /// DATA chunks refused for want of buffer or because they lay outside every window.
    pub chunks_refused: u64,
    /// Chunks that broke a rule and were ignored.
    pub chunks_invalid: u64,
    /// Messages given up under partial reliability.
    pub messages_abandoned: u64,
    /// User bytes handed to [`send`](crate::Association::send).
    pub bytes_sent: u64,
    /// User bytes received of messages, or pieces of them, that could be handed out.
    pub bytes_received: u64,
    /// Expiries of T3-rtx.
    pub timeouts: u64,
    /// Tail loss probes sent.
    pub tail_probes: u64,
    /// Recoveries that turned out to be for nothing: what seemed lost was late.
    pub spurious_recoveries: u64,
    /// Smoothed round-trip time (RFC 9260 §6.3.1); `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// The last round-trip time that was measured.
    pub latest_rtt: Option<Duration>,
    /// Congestion window in bytes, chunk headers included.
    pub congestion_window: usize,
    /// Bytes sent and not acknowledged, chunk headers included.
    pub in_flight: usize,
    /// The peer's receive window less what is in flight, in bytes of user data.
    pub peer_window: usize,
    /// The largest packet that is sent now, common header included: what path MTU discovery has confirmed, or
    /// [`Config::max_packet`](crate::Config::max_packet).
    pub max_packet: usize,
    /// Packets sent to find out what the path carries.
    pub path_probes: u64,
    /// How often packets of a size that had been confirmed stopped arriving.
    pub black_holes: u64,
    /// DATA chunks that arrived in packets with a congestion mark.
    pub marks_received: u64,
    /// How often we slowed down because the peer told of marks.
    pub marks_answered: u64,
    /// Our receive window in bytes.
    pub receive_window: usize,
}
