//! The interfaces in use, and the UDP sockets on them on which candidates are paired.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::Local;

use super::interface::{Base, Interface, PortTry};
use crate::context::Context;
use crate::io::IoRequest;

/// A UDP socket that was asked for.
#[derive(Debug)]
struct Bind {
    request: u32,
    interface: Interface,
    port: PortTry,
}

/// What became of a socket that the driver refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// It was asked for on another port.
    TriedAgain,
    /// This interface gets none.
    NoSocket(Interface),
}

#[derive(Debug, Default)]
pub(super) struct Sockets {
    interfaces: Vec<Interface>,
    binds: Vec<Bind>,
    bases: Vec<Base>,
}

impl Sockets {
    pub(super) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The sockets that stand, each with one of the interfaces that have it.
    pub(super) fn bases(&self) -> &[Base] {
        &self.bases
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.binds.is_empty()
    }

    /// Adds an interface, unless it is known. `rank` is its place in the list of the driver.
    pub(super) fn add_interface(&mut self, ip: IpAddr, rank: usize) -> Option<Interface> {
        if self.interfaces.iter().any(|known| known.ip == ip) {
            return None;
        }
        // RFC 8445 §5.1.2.1: the preference is of one address alone; those that came earlier keep theirs.
        let taken = |preference: &u16| {
            let mut known = self.interfaces.iter();
            known.any(|interface| interface.local_preference == *preference)
        };
        let local_preference = (0..u16::MAX - rank as u16)
            .rev()
            .map(|below| below + 1)
            .find(|preference| !taken(preference))
            .unwrap_or(1);
        let interface = Interface { ip, local_preference };
        self.interfaces.push(interface);
        Some(interface)
    }

    /// Forgets an interface that is gone, and names the sockets that go with it.
    pub(super) fn forget_interface(&mut self, ip: IpAddr) -> Vec<Local> {
        self.interfaces.retain(|interface| interface.ip != ip);
        self.binds.retain(|bind| bind.interface.ip != ip);
        let gone = self.bases.extract_if(.., |base| base.interface.ip == ip);
        let mut closed: Vec<Local> = gone.map(|base| base.local).collect();
        // In one-port mode another interface may have the same socket.
        closed.retain(|end| !self.bases.iter().any(|base| base.local == *end));
        closed
    }

    pub(super) fn bind(&mut self, cx: &mut Context, interface: Interface, port: PortTry) {
        let request = cx.next_request();
        cx.push_io(IoRequest::BindUdp {
            request,
            addr: port.on(interface.ip),
            exclusive: false,
        });
        self.binds.push(Bind {
            request,
            interface,
            port,
        });
    }

    fn take_bind(&mut self, request: u32) -> Option<Bind> {
        let index = self.binds.iter().position(|bind| bind.request == request)?;
        Some(self.binds.swap_remove(index))
    }

    /// A socket stands. Tells on which interface, if it was asked for here, and what it is to candidates, if it is news
    /// to them.
    pub(super) fn bound(&mut self, request: u32, local: Local, addr: SocketAddr) -> Option<(Interface, Option<Base>)> {
        let interface = self.take_bind(request)?.interface;
        let known = self.bases.iter().any(|base| base.local == local && base.addr == addr);
        if known || addr.ip().is_unspecified() {
            return Some((interface, None));
        }
        let base = Base { local, addr, interface };
        self.bases.push(base.clone());
        Some((interface, Some(base)))
    }

    /// Takes the refusal of a socket, if it is one: another port is tried.
    pub(super) fn failed(&mut self, cx: &mut Context, request: u32) -> Option<Refused> {
        let Bind { interface, port, .. } = self.take_bind(request)?;
        match port.next(&cx.config) {
            Some(port) => {
                self.bind(cx, interface, port);
                Some(Refused::TriedAgain)
            }
            None => Some(Refused::NoSocket(interface)),
        }
    }

    /// Gives back the memory that only gathering needed.
    pub(super) fn give_back(&mut self) {
        self.interfaces.shrink_to_fit();
        self.binds.shrink_to_fit();
        self.bases.shrink_to_fit();
    }

    /// A socket is gone.
    pub(super) fn forget(&mut self, local: Local) {
        self.bases.retain(|base| base.local != local);
    }
}
