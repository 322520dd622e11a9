//! What a congestion controller is told, and what it answers.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

/// Names a packet that was sent: a count over the whole transport, whatever numbers the packet has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

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
    /// Bytes of all packets that feedback can speak of, from the first one up to and with this one.
    pub total: u64,
    /// The mark that it bears.
    pub ecn: Ecn,
    /// The probe that it is part of, if it is part of one.
    pub probe: Option<ProbeId>,
    /// Whether it is nothing but padding.
    pub padding: bool,
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

/// What all senders together would do with more, or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The most that they can use, in bits a second; `None`: whatever there is.
    pub wanted: Option<u64>,
    /// What was given to them out of the target, in bits a second.
    pub allocated: u64,
}

/// How a controller is doing, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// How long packets wait in queues of the path, as far as it can be known; `None` before there was feedback.
    pub queue_delay: Option<Duration>,
    /// The part of the packets that is lost, smoothed, 0 to 1.
    pub loss: f64,
    /// The part of the packets that the path marks instead of dropping them, smoothed, 0 to 1.
    pub marked: f64,
    /// Probes that were asked for.
    pub probes: u64,
    /// Probes of which feedback showed what the path carries.
    pub probes_accepted: u64,
    /// The largest rate that the path has been seen to carry, in bits a second.
    pub proven: u64,
}

/// Decides how much is sent, and how fast. A rate is in bits a second, RTP packets with their headers, before SRTP.
///
/// What concerns every packet ([`Self::on_sent`] and the answers that the pacer asks for) has a constant cost and allocates nothing.
pub trait CongestionControl: Debug + Send + Sync {
    /// Its name, for people and statistics.
    fn name(&self) -> &'static str {
        "custom"
    }
    /// A packet has left.
    fn on_sent(&mut self, packet: &Sent) {
        let _ = packet;
    }
    /// Feedback came on these packets, in the order in which they were sent. `rtt` is the smoothed round trip, by reports.
    fn on_feedback(&mut self, now: Instant, rtt: Duration, results: &[PacketResult]);
    /// A report block came that says which part of the packets was lost, 0 to 1.
    fn on_loss(&mut self, now: Instant, fraction: f64);
    /// The receiver's own estimate came (REMB), in bits a second.
    fn on_remb(&mut self, now: Instant, rate: u64);
    /// What media wants, or was given, has changed.
    fn on_demand(&mut self, now: Instant, demand: Demand) {
        let _ = (now, demand);
    }
    /// Packets go another way from now on: what was learned of the old one says nothing of it.
    fn on_route_change(&mut self, now: Instant) {
        let _ = now;
    }
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
    /// How many bytes may be on their way without having been reported on; pictures wait at more. `None`: there is no limit.
    fn congestion_window(&self) -> Option<u64> {
        None
    }
    /// The least rate at which something shall leave: padding makes up for media that is not there.
    fn padding_rate(&self, now: Instant) -> u64 {
        let _ = now;
        0
    }
    /// The next probe to send, if one is wanted. Asked after each of the calls above that tells it something, but the first.
    fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        let _ = now;
        None
    }
    /// The mark that it wants on what is sent, if the path carries marks.
    fn mark(&self) -> Ecn {
        Ecn::NotEct
    }
    /// How it is doing.
    fn figures(&self) -> Figures {
        Figures::default()
    }
}
