//! What a router has done since it began, with what is gone: sums for statistics, which never fall.

use std::ops::AddAssign;

use super::consuming::Consuming;
use super::producing::Producing;
use super::switches::Switches;
use crate::producer::Dropped;

/// What a router has done since it began, all producers and consumers together, those that are closed among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets that came.
    pub packets: u64,
    /// Bytes of payload that came.
    pub bytes: u64,
    /// Packets that nobody was shown, by reason.
    pub dropped: Dropped,
    /// Packets of sound that did not go on because others are louder.
    pub quieter: u64,
    /// Packets that went on, counted once for each connection that took one.
    pub sent: u64,
    /// Bytes of payload that went on, counted likewise.
    pub sent_bytes: u64,
    /// Packets that connections did not take.
    pub refused: u64,
    /// Packets of pictures that did not go on to a consumer because it has another layer.
    pub left_out: u64,
    /// Packets of pictures that came after they could be placed.
    pub late: u64,
    /// Key frames that sources were asked for.
    pub key_frames_asked: u64,
    /// Key frames that receivers asked for more often than they are heard.
    pub key_frames_unheard: u64,
    /// How often consumers changed from one layer to another, by cause.
    pub switches: Switches,
}

/// What the peers of a router share of their connections, in bits a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Peers of whose connections it is known how much they carry.
    pub peers: u64,
    /// How much these connections carry together.
    pub estimate: u64,
    /// How much the pictures are given that go on to these peers.
    pub given: u64,
    /// How much those pictures would take if there were enough.
    pub desired: u64,
}

impl AddAssign for Shares {
    fn add_assign(&mut self, other: Self) {
        self.peers += other.peers;
        self.estimate += other.estimate;
        self.given += other.given;
        self.desired += other.desired;
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        self.quieter += other.quieter;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.refused += other.refused;
        self.left_out += other.left_out;
        self.late += other.late;
        self.key_frames_asked += other.key_frames_asked;
        self.key_frames_unheard += other.key_frames_unheard;
        self.switches += other.switches;
    }
}

impl Totals {
    pub(super) fn of_producer(own: &Producing) -> Self {
        Self {
            packets: own.packets,
            bytes: own.bytes,
            dropped: own.dropped(),
            quieter: own.quieter,
            key_frames_asked: own.key_frames_asked,
            ..Self::default()
        }
    }

    pub(super) fn of_consumer(own: &Consuming) -> Self {
        let counts = own.counts();
        Self {
            sent: own.sent,
            sent_bytes: own.bytes,
            refused: own.refused + own.unfetched(),
            left_out: counts.left_out,
            late: counts.late,
            key_frames_unheard: own.unheard,
            switches: own.followed.switches,
            ..Self::default()
        }
    }
}
