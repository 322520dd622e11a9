//! What a congestion controller is told, and what it answers.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

/// Names a packet that was sent: a count over the whole transport, whatever numbers the packet has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub(crate) u64);

/// Names a [`Probe`], as its controller likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId(pub u32);

/// Packets that shall be sent together at a rate of their own, to see whether the path carries it. Where there is not enough media,
/// padding makes up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name: each of its packets bears it in [`Sent`] and [`PacketResult`].
    pub id: ProbeId,
    /// The rate at which its packets leave, in bits a second.
    pub rate: u64,
    /// How many bytes it has at least: RTP packets with their headers, before SRTP.
    pub bytes: usize,
}

/// A packet that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The name of the packet.
    pub id: PacketId,
    /// When it left.
    pub at: Instant,
    /// Its size in bytes, headers included, before SRTP.
    pub bytes: usize,
    /// The mark that it bears.
    pub ecn: Ecn,
    /// The probe that it is part of, if it is part of one.
    pub probe: Option<ProbeId>,
}

/// What feedback says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketResult {
    /// The packet as it was sent.
    pub sent: Sent,
    /// When it arrived, by the peer's clock: only differences between arrivals mean something. `None`: it is lost, as far as the
    /// peer knows by now; it may still be reported to have arrived.
    pub arrival: Option<Instant>,
    /// The mark that it arrived with; [`Ecn::NotEct`] where the feedback does not say.
    pub ecn: Ecn,
}

/// Decides how much is sent, and how fast. A rate is in bits a second, RTP packets with their headers, before SRTP.
pub trait CongestionControl: Debug + Send + Sync {
    /// A packet has left.
    fn on_sent(&mut self, packet: &Sent) {
        let _ = packet;
    }
    /// Feedback came on these packets, in the order in which they were sent. `rtt` is the smoothed round trip.
    fn on_feedback(&mut self, now: Instant, rtt: Duration, results: &[PacketResult]);
    /// A report block came that says which part of the packets was lost, 0 to 1.
    fn on_loss(&mut self, now: Instant, fraction: f64);
    /// The receiver's own estimate came (REMB), in bits a second.
    fn on_remb(&mut self, now: Instant, rate: u64);
    /// The time of [`Self::next_timeout`] has come.
    fn on_timeout(&mut self, now: Instant) {
        let _ = now;
    }
    /// When it wants to be called again, whatever the peer says.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
    /// The rate for all senders together; `None` as long as the peer has given no feedback to know by.
    fn target_rate(&self, now: Instant) -> Option<u64>;
    /// The rate at which packets leave that wait; `None` as long as nothing is known.
    fn pacing_rate(&self, now: Instant) -> Option<u64>;
    /// The next probe to send, if one is wanted. Asked after each of the calls above but the first.
    fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        let _ = now;
        None
    }
}
