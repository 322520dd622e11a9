//! A peer's datagrams on their way through the [`Wire`] that its program has put there.

use std::time::Instant;

use antiphon_sansio::{Datagram, Local, Transmit, TransmitBuf};

use super::message::PeerId;
use super::net::Net;
use super::peer::Peer;
use super::router::Router;
use crate::net::run::Run;
use crate::wire::{Heading, Wire};

impl Peer {
    /// Puts a wire there, or takes it away. What was on the old one is lost, as when a cable is changed.
    pub(super) fn set_wire(&mut self, wire: Option<Box<dyn Wire>>) {
        self.wire = wire;
    }

    /// A datagram has come to one of its sockets.
    pub(super) fn arrived(&mut self, now: Instant, datagram: Datagram) {
        match &mut self.wire {
            Some(wire) if is_wired(datagram.path.local) => wire.take(now, Heading::In, datagram),
            _ => self.core.handle_datagram(now, datagram),
        }
    }

    /// Whether the wire takes what the machine wrote; then it leaves later.
    pub(super) fn wires(&mut self, now: Instant, transmit: &Transmit, buffer: &TransmitBuf) -> bool {
        let Some(wire) = self.wire.as_mut().filter(|_| is_wired(transmit.path.local)) else {
            return false;
        };
        for data in transmit.datagrams(buffer) {
            let datagram = Datagram {
                path: transmit.path,
                ecn: transmit.ecn,
                data: data.into(),
            };
            wire.take(now, Heading::Out, datagram);
        }
        true
    }

    /// When something has crossed next.
    pub(super) fn next_on_wire(&self) -> Option<Instant> {
        self.wire.as_ref().and_then(|wire| wire.next())
    }

    /// Lets go on what has crossed: out into the net, and in to the machine. `id` is this peer's.
    pub(super) fn let_through(&mut self, now: Instant, net: &mut Net, id: PeerId, router: &mut Router) {
        while let Some((heading, datagram)) = self.wire.as_mut().and_then(|wire| wire.give(now)) {
            let Datagram { path, ecn, data } = datagram;
            match heading {
                Heading::In => {
                    self.core.handle_datagram(now, Datagram { path, ecn, data });
                    // Now it is known whose the five-tuple is: nobody could say so when this arrived.
                    if let Local::Socket(socket) = path.local
                        && net.is_shared(path.local)
                        && router.owner(socket, path.remote) != Some(id)
                        && self.core.is_authenticated(&path)
                    {
                        router.learn(socket, path.remote, id);
                    }
                }
                Heading::Out => {
                    let Local::Socket(id) = path.local else { continue };
                    // A socket that is gone by now sends nothing more.
                    if let Some(socket) = net.socket_mut(id) {
                        let run = Run {
                            remote: path.remote,
                            ecn,
                            range: 0..data.len(),
                            segment: data.len().max(1),
                        };
                        socket.send(&[run], &data);
                    }
                }
            }
        }
    }
}

/// Streams have a pace of their own.
fn is_wired(local: Local) -> bool {
    matches!(local, Local::Socket(_))
}
