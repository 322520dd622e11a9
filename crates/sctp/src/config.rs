//! What an association is told before it starts.

use std::time::Duration;

use crate::tx::congestion::Congestion;
use crate::tx::schedule::Scheduler;

/// What an association is told before it starts. Every value may be changed; the defaults suit WebRTC.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our SCTP port: `a=sctp-port` of the local description (RFC 8841 §5).
    pub local_port: u16,
    /// The peer's SCTP port: `a=sctp-port` of its description.
    pub remote_port: u16,
    /// The largest SCTP packet in bytes, common header included, what carries it (DTLS, UDP, IP) not. At least
    /// [`MIN_PACKET`]; values are rounded down to a multiple of four.
    pub max_packet: usize,
    /// The largest SCTP packet that path MTU discovery tries (RFC 8899); at most `max_packet`, or 0: it is off, and
    /// nothing larger than `max_packet` is ever sent. A probe is small, and the layer below pads it: see
    /// [`Outgoing::padding`](crate::Outgoing::padding). Fragmentation must be off there (DF), or it finds nothing out.
    /// No chunk is larger than
    /// `max_packet` allows, so that what has been sent already still fits when the path shrinks.
    pub probe_up_to: usize,
    /// The search begins when so many bytes of user data were handed over: a few small messages gain nothing from it.
    pub probe_after: u64,
    /// Bytes that wait for the application before the peer is told to pause: the largest a_rwnd. The window begins at
    /// [`INITIAL_WINDOW`] and grows up to here as the application keeps reading what the path brings.
    pub receive_buffer: usize,
    /// Bytes that may wait for transmission, all streams together. Of messages, however small, one may wait for each 64
    /// of them.
    pub send_buffer: usize,
    /// The largest message in bytes that is taken from the peer. A larger one ends the association.
    pub max_receive_message: usize,
    /// Whether an ordered message that grows beyond a certain size is handed out in pieces as it arrives, instead of
    /// being held until it is whole (RFC 9260 §6.9, the partial delivery of RFC 6458 §6.1.7). That size is
    /// `max_receive_message`, at most a quarter of `receive_buffer`; smaller messages still come whole. Ordered
    /// messages then have no largest size, and memory holds no more of them than the receive buffer. Off by default.
    pub partial_delivery: bool,
    /// How many streams we ask for, and grant, in each direction.
    pub streams: u16,
    /// RTO.Initial (RFC 9260 §16): the retransmission timeout before the first measurement.
    pub rto_initial: Duration,
    /// RTO.Min: no retransmission timeout is shorter. Also the least that is added to the smoothed round-trip time.
    pub rto_min: Duration,
    /// RTO.Max: no retransmission timeout, measured or backed off, is longer.
    pub rto_max: Duration,
    /// Repeated timeouts double the wait up to here only: over a bad radio link a minute of silence helps nobody, and
    /// whether the path lives is ICE's business (RFC 7675). As in libwebrtc.
    pub max_backoff: Duration,
    /// How long a SACK may wait for company (RFC 9260 §6.2).
    pub delayed_ack: Duration,
    /// HB.interval: how long an idle association waits before it asks whether the peer is there.
    pub heartbeat_interval: Duration,
    /// Association.Max.Retrans: consecutive unanswered timeouts before the peer counts as gone. More than the RFC's
    /// ten, because `max_backoff` makes each one short; about two minutes in all.
    pub max_retransmits: u32,
    /// Max.Init.Retransmits: how often INIT, and then COOKIE ECHO, is sent again before the handshake has failed.
    pub max_init_retransmits: u32,
    /// Valid.Cookie.Life: a state cookie that comes back later than this is refused.
    pub cookie_lifetime: Duration,
    /// Which congestion controller decides how much may be in flight.
    pub congestion: Congestion,
    /// How streams that have something to send take turns.
    pub scheduler: Scheduler,
    /// Whether to use I-DATA with a peer that knows it (RFC 8260): large messages do not hold up others.
    pub interleaving: bool,
    /// Whether to offer ECN (RFC 9260 Appendix B), and to use it with a peer that offers it too. The layers below must
    /// then pass on the marks of both directions, in [`Packet::ecn`](antiphon_sansio::Packet::ecn) and
    /// [`Outgoing::ecn`](crate::Outgoing::ecn). Off by default: browsers do not know it, and some old paths drop
    /// packets that could be marked.
    pub ecn: bool,
    /// Up to how many streams a peer may add to those that it sends on (RFC 6525 §5.2.5).
    pub max_added_streams: u16,
    /// Whether packets without a checksum are taken, and sent to a peer that takes them (RFC 9653). Only over DTLS,
    /// which protects every byte better.
    pub zero_checksum: bool,
}

/// The receive window of a new association, if [`Config::receive_buffer`] allows so much.
pub const INITIAL_WINDOW: usize = 1024 * 1024;

/// The smallest [`Config::max_packet`] that is honoured.
pub const MIN_PACKET: usize = 512;

/// What a message costs against the buffers besides its bytes, in bytes: our bookkeeping. So does a fragment out of
/// order. Without it a peer could fill memory with messages of one byte.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

impl Default for Config {
    fn default() -> Self {
        Self {
            local_port: 5000,
            remote_port: 5000,
            max_packet: 1188,
            probe_up_to: 0,
            probe_after: 64 * 1024,
            receive_buffer: 16 * 1024 * 1024,
            send_buffer: 16 * 1024 * 1024,
            max_receive_message: 256 * 1024,
            partial_delivery: false,
            streams: u16::MAX,
            rto_initial: Duration::from_millis(500),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(60),
            max_backoff: Duration::from_secs(3),
            delayed_ack: Duration::from_millis(200),
            heartbeat_interval: Duration::from_secs(30),
            max_retransmits: 40,
            max_init_retransmits: 20,
            cookie_lifetime: Duration::from_secs(60),
            congestion: Congestion::default(),
            scheduler: Scheduler::default(),
            interleaving: true,
            ecn: false,
            max_added_streams: u16::MAX,
            zero_checksum: true,
        }
    }
}
