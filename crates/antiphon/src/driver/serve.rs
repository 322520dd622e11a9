//! What machines ask of the world, and what the tasks that do it answer.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use antiphon_ice::{FIRST_RESERVED_CONNECTION, IoEvent, IoRequest};
use antiphon_sansio::{Datagram, Ecn, Local, Path};

use super::{Arrival, Driver, mark};
use crate::hosted::Hosted;
use crate::interfaces;
use crate::mdns;
use crate::resolve;
use crate::router::PeerId;
use crate::socket::Socket;
use crate::tcp::{Accepted, Connection, Dial, Listener, requested_ufrag};

/// Ports that are tried when any will do, until one is free on every interface.
const PORT_TRIES: usize = 16;
/// Sockets and connections that one peer may hold: what an agent asks for by itself stays far below.
const MAX_HELD: usize = 128;
/// Accepted connections of one peer; more are closed at once.
const MAX_ACCEPTED: usize = 64;
/// Connections of all peers of one driver.
const MAX_CONNECTIONS: usize = 16 * 1024;
/// Names that one peer may publish.
const MAX_PUBLISHED: usize = 32;

impl Driver {
    /// In one-port mode: binds the port on every interface before the first peer comes.
    pub(crate) fn bind_shared(&mut self) -> Result<(), crate::Error> {
        let asked = self.shared_port;
        let mut tries = if asked == Some(0) { PORT_TRIES } else { 1 };
        loop {
            let bound = self.system.addresses().into_iter().try_for_each(|ip| {
                let addr = SocketAddr::new(ip, 0);
                let bound = self.shared_socket(addr);
                bound.map(drop).map_err(|source| crate::Error::Bind { addr, source })
            });
            tries -= 1;
            if bound.is_ok() || tries == 0 {
                return bound;
            }
            // The port that the system chose for the first address is somebody else's on another.
            self.sockets.clear();
            self.by_address.clear();
            self.shared_port = asked;
        }
    }

    /// The addresses that are bound now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.values().map(Socket::addr).collect()
    }

    /// Serves one request of a machine.
    pub(super) fn serve(&mut self, id: PeerId, peer: &mut Hosted, request: IoRequest, now: Instant) {
        match request {
            IoRequest::ListInterfaces { watch } => {
                let addresses = self.system.addresses();
                if watch {
                    peer.watches = true;
                    self.watch();
                    self.told.clone_from(&addresses);
                }
                peer.core.handle_io(now, IoEvent::Interfaces(addresses));
            }
            IoRequest::BindUdp {
                request,
                addr,
                exclusive,
            } => {
                let bound = self.bind_udp(id, peer, addr, exclusive);
                let event = match bound {
                    Ok(socket) => IoEvent::UdpBound {
                        request,
                        local: Local::Socket(socket),
                        addr: self.sockets[&socket].addr(),
                    },
                    Err(error) => failed(request, format!("cannot bind {addr}: {error}")),
                };
                peer.core.handle_io(now, event);
            }
            IoRequest::ConnectTcp {
                request,
                from,
                from_port,
                to,
                framing,
                tls,
            } => {
                if peer.holds.len() >= MAX_HELD || self.connections.len() >= MAX_CONNECTIONS {
                    let reason = format!("cannot connect to {to}: too many connections");
                    return peer.core.handle_io(now, failed(request, reason));
                }
                let connection = self.new_connection_id();
                let (mut end, outgoing) = Connection::new(id, to);
                end.request = Some(request);
                let dial = Dial {
                    id: connection,
                    from: SocketAddr::new(from, from_port),
                    to,
                    framing,
                    tls,
                };
                let dialing = dial.run(self.system.clone(), outgoing, self.arriving.clone());
                end.set_task(tokio::spawn(dialing).abort_handle());
                self.connections.insert(connection, end);
                peer.holds.push(Local::Tcp(connection));
            }
            IoRequest::ListenTcp { request, addr } => {
                let event = match self.listen(addr) {
                    Ok(listener) => {
                        peer.listens.push((request, listener));
                        IoEvent::TcpListening {
                            request,
                            addr: self.listeners[&listener].addr,
                        }
                    }
                    Err(error) => failed(request, format!("cannot listen on {addr}: {error}")),
                };
                peer.core.handle_io(now, event);
            }
            IoRequest::CloseListener { request } => {
                if let Some(at) = peer.listens.iter().position(|(asked, _)| *asked == request) {
                    let (_, listener) = peer.listens.remove(at);
                    self.stop_listening(listener);
                }
            }
            IoRequest::Resolve { request, host, port } => {
                self.answer_later(id, async move {
                    match resolve::dns(host.clone(), port).await {
                        Ok(found) => IoEvent::Resolved {
                            request,
                            addrs: found.iter().map(SocketAddr::ip).collect(),
                        },
                        Err(error) => failed(request, format!("cannot resolve {host}: {error}")),
                    }
                });
            }
            IoRequest::ResolveMdns { request, name } => {
                self.answer_later(id, async move {
                    match mdns::resolve(name, interfaces::list()).await {
                        Ok(addrs) => IoEvent::Resolved { request, addrs },
                        Err(error) => failed(request, error.to_string()),
                    }
                });
            }
            IoRequest::PublishMdns { request, name, addr } => {
                if peer.published.len() >= MAX_PUBLISHED {
                    let reason = "too many names are published".to_owned();
                    return peer.core.handle_io(now, failed(request, reason));
                }
                peer.published.push(name.clone());
                let publishing = self.system.responder().publish(name, addr);
                self.answer_later(id, async move {
                    match publishing.await {
                        Ok(()) => IoEvent::MdnsPublished { request },
                        Err(error) => failed(request, format!("cannot hide {addr} behind a name: {error}")),
                    }
                });
            }
            IoRequest::WithdrawMdns { name } => {
                if let Some(at) = peer.published.iter().position(|published| *published == name) {
                    peer.published.remove(at);
                    self.system.responder().withdraw(name);
                }
            }
            IoRequest::Close(local) => {
                // A shared socket stays for the others: nobody holds it.
                if let Some(at) = peer.holds.iter().position(|held| *held == local) {
                    peer.holds.swap_remove(at);
                    self.let_go(local);
                }
            }
            other => {
                if let Some(request) = other.awaits() {
                    let reason = "this driver does not serve requests of this kind".to_owned();
                    peer.core.handle_io(now, failed(request, reason));
                }
            }
        }
    }

    /// Takes the word of a task.
    pub(super) fn arrived(&mut self, arrival: Arrival, now: Instant) {
        match arrival {
            Arrival::Io(id, event) => self.tell(id, event, now),
            Arrival::Connected { id, addr } => {
                let Some(connection) = self.connections.get_mut(&id) else {
                    return;
                };
                connection.addr = Some(addr);
                let (owner, request) = (connection.owner, connection.request.take());
                if let Some(request) = request {
                    let local = Local::Tcp(id);
                    self.tell(owner, IoEvent::TcpConnected { request, local, addr }, now);
                }
            }
            Arrival::ConnectFailed { id, reason } => {
                let Some(mut connection) = self.connections.remove(&id) else {
                    return;
                };
                if let Some(peer) = self.peers.get_mut(&connection.owner) {
                    peer.holds.retain(|held| *held != Local::Tcp(id));
                }
                if let Some(request) = connection.request.take() {
                    self.tell(connection.owner, failed(request, reason), now);
                }
            }
            Arrival::Accepted { listener, accepted } => self.accepted(listener, *accepted, now),
            Arrival::Message { id, data } => {
                let Some(connection) = self.connections.get(&id) else {
                    return;
                };
                let (owner, remote) = (connection.owner, connection.remote);
                let Some(peer) = self.peers.get_mut(&owner) else { return };
                let path = Path {
                    local: Local::Tcp(id),
                    remote,
                };
                let datagram = Datagram {
                    path,
                    ecn: Ecn::NotEct,
                    data,
                };
                peer.core.handle_datagram(now, datagram);
                mark(&mut self.busy, owner, peer);
            }
            Arrival::Ended { id } => {
                let Some(connection) = self.connections.remove(&id) else {
                    return;
                };
                let local = Local::Tcp(id);
                if let Some(peer) = self.peers.get_mut(&connection.owner) {
                    peer.holds.retain(|held| *held != local);
                }
                self.tell(connection.owner, IoEvent::Closed { local }, now);
            }
            Arrival::InterfacesChanged => self.interfaces_changed(now),
        }
    }

    fn tell(&mut self, id: PeerId, event: IoEvent, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.core.handle_io(now, event);
            mark(&mut self.busy, id, peer);
        }
    }

    fn answer_later(&self, id: PeerId, work: impl Future<Output = IoEvent> + Send + 'static) {
        let arriving = self.arriving.clone();
        tokio::spawn(async move {
            let event = work.await;
            let _ = arriving.send(Arrival::Io(id, event)).await;
        });
    }

    /// Somebody connected and asks for one of our peers, who decides whether to believe it.
    fn accepted(&mut self, listener: u32, accepted: Accepted, now: Instant) {
        let Some(ufrag) = requested_ufrag(&accepted.first) else {
            return;
        };
        let owner = if self.shared_port.is_some() {
            self.router.by_ufrag(&ufrag)
        } else {
            self.peers
                .iter()
                .find(|(_, peer)| peer.core.local_ufrag() == ufrag)
                .map(|(id, _)| *id)
        };
        let remote = accepted.remote;
        let connection = self.new_connection_id();
        let Some((id, peer)) = owner.and_then(|id| self.peers.get_mut(&id).map(|peer| (id, peer))) else {
            tracing::debug!(%remote, "a connection for nobody");
            return;
        };
        let listens = peer.listens.iter().find(|(_, held)| *held == listener);
        let (Some((request, _)), Ok(addr)) = (listens.copied(), accepted.stream.local_addr()) else {
            return;
        };
        let held = peer.holds.iter().filter(|held| matches!(held, Local::Tcp(_))).count();
        if held >= MAX_ACCEPTED || self.connections.len() >= MAX_CONNECTIONS {
            tracing::debug!(%remote, "too many connections");
            return;
        }
        let local = Local::Tcp(connection);
        let (mut end, outgoing) = Connection::new(id, remote);
        end.addr = Some(addr);
        end.start(
            connection,
            accepted.stream,
            accepted.framer,
            outgoing,
            self.arriving.clone(),
        );
        self.connections.insert(connection, end);
        peer.holds.push(local);
        let event = IoEvent::TcpAccepted {
            request,
            local,
            addr,
            remote,
        };
        peer.core.handle_io(now, event);
        let datagram = Datagram {
            path: Path { local, remote },
            ecn: Ecn::NotEct,
            data: accepted.first,
        };
        peer.core.handle_datagram(now, datagram);
        mark(&mut self.busy, id, peer);
    }

    fn new_connection_id(&mut self) -> u32 {
        let id = self.next_connection;
        self.next_connection = (id + 1) % FIRST_RESERVED_CONNECTION;
        id
    }

    fn bind_udp(&mut self, id: PeerId, peer: &mut Hosted, addr: SocketAddr, exclusive: bool) -> io::Result<u32> {
        if self.shared_port.is_some() && !exclusive {
            return self.shared_socket(addr);
        }
        if peer.holds.len() >= MAX_HELD {
            return Err(io::Error::other("too many sockets"));
        }
        let socket = self.new_socket(addr)?;
        self.owners.insert(socket, id);
        peer.holds.push(Local::Socket(socket));
        Ok(socket)
    }

    fn shared_socket(&mut self, addr: SocketAddr) -> io::Result<u32> {
        if let Some(socket) = self.by_address.get(&addr.ip()) {
            return Ok(*socket);
        }
        let port = self.shared_port.unwrap_or(0);
        let socket = self.new_socket(SocketAddr::new(addr.ip(), port))?;
        self.shared_port = Some(self.sockets[&socket].addr().port());
        self.by_address.insert(addr.ip(), socket);
        Ok(socket)
    }

    fn new_socket(&mut self, addr: SocketAddr) -> io::Result<u32> {
        let socket = Socket::bind(addr)?;
        let id = self.next_socket;
        self.next_socket = self.next_socket.wrapping_add(1);
        self.sockets.insert(id, socket);
        Ok(id)
    }

    /// In one-port mode one listener per interface serves all peers, on the port that UDP has if nobody else has it.
    fn listen(&mut self, addr: SocketAddr) -> io::Result<u32> {
        if self.shared_port.is_some()
            && let Some(listener) = self.listening_on.get(&addr.ip())
        {
            return Ok(*listener);
        }
        let id = self.next_listener;
        let start = |addr| Listener::start(id, addr, self.arriving.clone());
        let listener = match self.shared_port {
            Some(port) => start(SocketAddr::new(addr.ip(), port)).or_else(|_| start(addr)),
            None => start(addr),
        }?;
        self.next_listener = self.next_listener.wrapping_add(1);
        self.listeners.insert(id, listener);
        if self.shared_port.is_some() {
            self.listening_on.insert(addr.ip(), id);
        }
        Ok(id)
    }

    /// A peer listens no more. Others may.
    pub(super) fn stop_listening(&mut self, listener: u32) {
        if self.shared_port.is_none() {
            self.drop_listener(listener);
        }
    }

    pub(super) fn drop_listener(&mut self, listener: u32) {
        if self.listeners.remove(&listener).is_some() {
            self.listening_on.retain(|_, held| *held != listener);
        }
    }

    /// Closes a socket or a connection.
    pub(super) fn let_go(&mut self, local: Local) {
        match local {
            Local::Socket(id) => {
                self.lanes.close(id);
                let owned = self.owners.remove(&id).is_some();
                if let Some(socket) = self.sockets.remove(&id)
                    && !owned
                {
                    self.by_address.remove(&socket.addr().ip());
                }
            }
            Local::Tcp(id) => _ = self.connections.remove(&id),
            Local::Relay(_) => {}
        }
    }
}

fn failed(request: u32, reason: String) -> IoEvent {
    IoEvent::Failed { request, reason }
}
