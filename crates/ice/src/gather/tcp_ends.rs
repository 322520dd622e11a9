//! The ends of our TCP candidates (RFC 6544 §4): active ones, and listeners for passive and simultaneous-open ones.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::Local;

use super::interface::{Interface, PortTry};
use crate::candidate::TcpType;
use crate::context::Context;
use crate::io::IoRequest;
use crate::notice::NewLocal;
use crate::placeholder::{DISCARD, placeholder};

#[derive(Debug)]
struct Listener {
    request: u32,
    interface: Interface,
    tcp_type: TcpType,
    port: PortTry,
    /// The candidate's placeholder.
    end: Local,
    stands: bool,
}

/// The end of one TCP candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpEnd {
    /// The candidate's placeholder.
    pub(super) local: Local,
    pub(super) interface: Interface,
    pub(super) base: SocketAddr,
    pub(super) tcp_type: TcpType,
}

impl TcpEnd {
    pub(super) fn is_active(&self) -> bool {
        self.tcp_type == TcpType::Active
    }

    /// The port that connections of it come from; 0 for any.
    pub(super) fn port(&self) -> u16 {
        if self.is_active() { 0 } else { self.base.port() }
    }

    pub(super) fn host(&self) -> NewLocal {
        let Interface { ip, local_preference } = self.interface;
        NewLocal::host(self.local, ip, self.base, local_preference, Some(self.tcp_type))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct TcpEnds {
    listeners: Vec<Listener>,
    ends: Vec<TcpEnd>,
    /// How many placeholders were given away.
    count: u32,
}

impl TcpEnds {
    fn new_placeholder(&mut self) -> Local {
        self.count = self.count.wrapping_add(1);
        placeholder(self.count)
    }

    pub(super) fn add_active(&mut self, interface: Interface) -> TcpEnd {
        let end = TcpEnd {
            local: self.new_placeholder(),
            interface,
            base: SocketAddr::new(interface.ip, DISCARD),
            tcp_type: TcpType::Active,
        };
        self.ends.push(end);
        end
    }

    pub(super) fn listen(&mut self, cx: &mut Context, interface: Interface, tcp_type: TcpType, port: PortTry) {
        let request = cx.next_request();
        let end = self.new_placeholder();
        cx.push_io(IoRequest::ListenTcp {
            request,
            addr: port.on(interface.ip),
        });
        self.listeners.push(Listener {
            request,
            interface,
            tcp_type,
            port,
            end,
            stands: false,
        });
    }

    /// A listener stands. Returns its end, if it is one that was asked for.
    pub(super) fn listening(&mut self, cx: &mut Context, request: u32, addr: SocketAddr) -> Option<TcpEnd> {
        let known = self.listeners.iter_mut().find(|l| l.request == request);
        let Some(listener) = known.filter(|_| !addr.ip().is_unspecified()) else {
            cx.push_io(IoRequest::CloseListener { request });
            return None;
        };
        listener.stands = true;
        let end = TcpEnd {
            local: listener.end,
            interface: listener.interface,
            base: addr,
            tcp_type: listener.tcp_type,
        };
        if self.find(end.local).is_some() {
            return None;
        }
        self.ends.push(end);
        Some(end)
    }

    /// Takes the refusal of a listener, or its end, if it is one. Another port is tried for one that never stood.
    pub(super) fn failed(&mut self, cx: &mut Context, request: u32) -> bool {
        let Some(index) = self.listeners.iter().position(|l| l.request == request) else {
            return false;
        };
        let listener = self.listeners.swap_remove(index);
        if !listener.stands
            && let Some(port) = listener.port.next(&cx.config)
        {
            self.listen(cx, listener.interface, listener.tcp_type, port);
        }
        true
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.listeners.iter().any(|listener| !listener.stands)
    }

    /// The placeholder and the interface of this listener.
    pub(super) fn listener(&self, request: u32) -> Option<(Local, IpAddr)> {
        let listener = self.listeners.iter().find(|listener| listener.request == request)?;
        Some((listener.end, listener.interface.ip))
    }

    pub(super) fn find(&self, local: Local) -> Option<&TcpEnd> {
        self.ends.iter().find(|end| end.local == local)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TcpEnd> {
        self.ends.iter()
    }

    /// Gives back the memory that only gathering needed.
    pub(super) fn give_back(&mut self) {
        self.listeners.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Closes the listeners on these interfaces, and forgets their ends.
    pub(super) fn forget(&mut self, cx: &mut Context, gone: impl Fn(IpAddr) -> bool) {
        self.ends.retain(|end| !gone(end.interface.ip));
        for listener in self.listeners.extract_if(.., |listener| gone(listener.interface.ip)) {
            cx.push_io(IoRequest::CloseListener {
                request: listener.request,
            });
        }
    }
}
