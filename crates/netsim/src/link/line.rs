//! A line of packets: what a link's queue is made of, whoever decides who leaves next.

use std::collections::VecDeque;
use std::time::Instant;

use antiphon_sansio::Ecn;

use crate::packet::Packet;

/// A packet that waits, and what its network must know of it.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) packet: Packet,
    pub(crate) tag: T,
    /// When it came.
    pub(crate) since: Instant,
}

/// One line of packets.
#[derive(Debug)]
pub(crate) struct Line<T> {
    packets: VecDeque<Held<T>>,
    bytes: usize,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self {
            packets: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the one came that has waited longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.packets.front().map(|held| held.since)
    }

    pub(super) fn push(&mut self, held: Held<T>) {
        self.bytes += held.packet.ip_len();
        self.packets.push_back(held);
    }

    pub(super) fn pop(&mut self) -> Option<Held<T>> {
        let held = self.packets.pop_front()?;
        self.bytes -= held.packet.ip_len();
        Some(held)
    }
}

/// Marks a packet as having met congestion, if its ends understand (RFC 3168 §5).
pub(super) fn mark(packet: &mut Packet) -> bool {
    let capable = packet.ecn != Ecn::NotEct;
    if capable {
        packet.ecn = Ecn::Ce;
    }
    capable
}
