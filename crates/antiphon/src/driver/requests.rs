//! What machines ask of the world.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_ice::{IoEvent, IoRequest};
use antiphon_sansio::Local;

use super::Driver;
use super::message::{PeerId, Report};
use crate::interfaces::Interfaces;
use crate::mdns;
use crate::net::tcp::{Connection, Dial};
use crate::resolve;

/// Sockets and connections that one peer may hold: what an agent asks for by itself stays far below.
const MAX_HELD: usize = 128;
/// Names that one peer may publish.
const MAX_PUBLISHED: usize = 32;

impl Driver {
    /// Serves one request of a machine. Its answer comes now or later.
    pub(super) fn serve(&mut self, id: PeerId, request: IoRequest, now: Instant) {
        match request {
            IoRequest::ListInterfaces { watch } => {
                let addresses = self.environment.addresses();
                if watch {
                    self.watch(id);
                    self.told.clone_from(&addresses);
                }
                self.peers.tell(id, IoEvent::Interfaces(addresses), now);
            }
            IoRequest::BindUdp {
                request,
                addr,
                exclusive,
            } => {
                let event = match self.bind_udp(id, addr, exclusive) {
                    Ok((socket, addr)) => IoEvent::UdpBound {
                        request,
                        local: Local::Socket(socket),
                        addr,
                    },
                    Err(error) => failed(request, format!("cannot bind {addr}: {error}")),
                };
                self.peers.tell(id, event, now);
            }
            IoRequest::ConnectTcp {
                request,
                from,
                from_port,
                to,
                framing,
                tls,
            } => {
                let from = SocketAddr::new(from, from_port);
                let dial = |id| Dial {
                    id,
                    from,
                    to,
                    framing,
                    tls,
                };
                if !self.connect_tcp(id, request, to, dial) {
                    let reason = format!("cannot connect to {to}: too many connections");
                    self.peers.tell(id, failed(request, reason), now);
                }
            }
            IoRequest::ListenTcp { request, addr } => {
                let event = match self.listen_tcp(id, request, addr) {
                    Ok(addr) => IoEvent::TcpListening { request, addr },
                    Err(error) => failed(request, format!("cannot listen on {addr}: {error}")),
                };
                self.peers.tell(id, event, now);
            }
            IoRequest::CloseListener { request } => self.close_listener(id, request),
            IoRequest::Resolve { request, host, port } => self.answer_later(id, resolved(request, host, port)),
            IoRequest::ResolveMdns { request, name } => {
                let interfaces = self.environment.interfaces().list();
                self.answer_later(id, mdns_resolved(request, name, interfaces));
            }
            IoRequest::PublishMdns { request, name, addr } => {
                if !self.publish(id, request, name, addr) {
                    let reason = "too many names are published".to_owned();
                    self.peers.tell(id, failed(request, reason), now);
                }
            }
            IoRequest::WithdrawMdns { name } => self.withdraw(id, name),
            IoRequest::Close(local) => self.close(id, local),
            other => {
                if let Some(request) = other.awaits() {
                    let reason = "this driver does not serve requests of this kind".to_owned();
                    self.peers.tell(id, failed(request, reason), now);
                }
            }
        }
    }

    fn bind_udp(&mut self, id: PeerId, addr: SocketAddr, exclusive: bool) -> io::Result<(u32, SocketAddr)> {
        if self.net.shared_port.is_some() && !exclusive {
            return self.net.shared_socket(addr);
        }
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.holds.len() < MAX_HELD) else {
            return Err(io::Error::other("too many sockets"));
        };
        let bound = self.net.bind(id, addr)?;
        peer.holds.push(Local::Socket(bound.0));
        Ok(bound)
    }

    /// Starts to open a connection. `false` if the peer, or all together, have too many.
    fn connect_tcp(&mut self, id: PeerId, request: u32, to: SocketAddr, dial: impl FnOnce(u32) -> Dial) -> bool {
        let reporting = self.reporting();
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.holds.len() < MAX_HELD) else {
            return false;
        };
        let Some(number) = self.net.new_connection_id() else {
            return false;
        };
        let (mut connection, outgoing) = Connection::new(id, to);
        connection.request = Some(request);
        let dialing = dial(number).run(self.environment.clone(), outgoing, reporting);
        connection.set_task(tokio::spawn(dialing).abort_handle());
        self.net.add_connection(number, connection);
        peer.holds.push(Local::Tcp(number));
        true
    }

    fn listen_tcp(&mut self, id: PeerId, request: u32, addr: SocketAddr) -> io::Result<SocketAddr> {
        let reporting = self.reporting();
        let (listener, addr) = self.net.listen(addr, &reporting)?;
        if let Some(peer) = self.peers.get_mut(id) {
            peer.listens.push((request, listener));
        }
        Ok(addr)
    }

    fn close_listener(&mut self, id: PeerId, request: u32) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(at) = peer.listens.iter().position(|(asked, _)| *asked == request) {
            let (_, listener) = peer.listens.remove(at);
            self.net.stop_listening(listener);
        }
    }

    /// Starts to answer for a name. `false` if the peer has too many.
    fn publish(&mut self, id: PeerId, request: u32, name: String, addr: IpAddr) -> bool {
        let Some(peer) = self
            .peers
            .get_mut(id)
            .filter(|peer| peer.published.len() < MAX_PUBLISHED)
        else {
            return false;
        };
        peer.published.push(name.clone());
        let publishing = self.environment.responder().publish(name, addr);
        self.answer_later(id, async move {
            match publishing.await {
                Ok(()) => IoEvent::MdnsPublished { request },
                Err(error) => failed(request, format!("cannot hide {addr} behind a name: {error}")),
            }
        });
        true
    }

    fn withdraw(&mut self, id: PeerId, name: String) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(at) = peer.published.iter().position(|published| *published == name) {
            peer.published.remove(at);
            self.environment.responder().withdraw(name);
        }
    }

    fn close(&mut self, id: PeerId, local: Local) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        // A shared socket stays for the others: nobody holds it.
        if let Some(at) = peer.holds.iter().position(|held| *held == local) {
            peer.holds.swap_remove(at);
            self.net.close(local);
        }
    }

    fn answer_later(&mut self, id: PeerId, work: impl Future<Output = IoEvent> + Send + 'static) {
        let reporting = self.reporting();
        tokio::spawn(async move {
            let event = work.await;
            let _ = reporting.send(Report::Io(id, event)).await;
        });
    }
}

async fn resolved(request: u32, host: String, port: u16) -> IoEvent {
    match resolve::dns(host.clone(), port).await {
        Ok(found) => IoEvent::Resolved {
            request,
            addrs: found.iter().map(SocketAddr::ip).collect(),
        },
        Err(error) => failed(request, format!("cannot resolve {host}: {error}")),
    }
}

async fn mdns_resolved(request: u32, name: String, interfaces: Interfaces) -> IoEvent {
    match mdns::resolve(name, &interfaces).await {
        Ok(addrs) => IoEvent::Resolved { request, addrs },
        Err(error) => failed(request, error.to_string()),
    }
}

/// The answer to a request that nothing came of.
pub(super) fn failed(request: u32, reason: String) -> IoEvent {
    IoEvent::Failed { request, reason }
}
