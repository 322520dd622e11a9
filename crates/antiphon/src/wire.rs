//! What a program may put between a peer and its sockets.

use std::time::Instant;

use antiphon_peer_connection as core;
use core::Datagram;

/// In which direction a datagram passes a [`Wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// From this program to the other end.
    Out,
    /// From the other end to this program.
    In,
}

/// What the UDP datagrams of a peer go through on their way out and in: a link of the program's own making, for tests and for teaching.
/// See [`PeerHandle::set_wire`](crate::PeerHandle::set_wire).
///
/// It says when datagrams have crossed, and which never do; what it changes in them is the ECN mark at most. It is called in the
/// middle of a driver's turn: it must not wait. Its owner bounds what it holds, for the other end can send it anything.
pub trait Wire: Send {
    /// A datagram comes to it.
    fn take(&mut self, now: Instant, heading: Heading, datagram: Datagram);

    /// The next datagram that has crossed by now.
    fn give(&mut self, now: Instant) -> Option<(Heading, Datagram)>;

    /// When the next one will have.
    fn next(&self) -> Option<Instant>;
}
