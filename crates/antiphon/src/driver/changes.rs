//! Addresses that come and go.

use std::net::IpAddr;
use std::time::Instant;

use antiphon_ice::IoEvent;
use antiphon_sansio::Local;

use super::{Arrival, Driver, mark};
use crate::interfaces;

impl Driver {
    /// Has a task tell us when the addresses may have changed.
    pub(super) fn watch(&mut self) {
        if self.watching {
            return;
        }
        self.watching = true;
        let (arriving, mut changes) = (self.arriving.clone(), self.system.changes());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = arriving.closed() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                if arriving.send(Arrival::InterfacesChanged).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Closes what was bound to addresses that are gone, and tells those who watch what there is now.
    pub(super) fn interfaces_changed(&mut self, now: Instant) {
        let found = interfaces::list();
        let exists = |ip: IpAddr| found.iter().any(|interface| interface.ip() == ip);
        let gone: Vec<Local> = self
            .sockets
            .iter()
            .filter(|(_, socket)| !exists(socket.addr().ip()))
            .map(|(id, _)| Local::Socket(*id))
            .chain(
                self.connections
                    .iter()
                    .filter(|(_, connection)| connection.addr.is_some_and(|addr| !exists(addr.ip())))
                    .map(|(id, _)| Local::Tcp(*id)),
            )
            .collect();
        for local in gone {
            let owner = match local {
                Local::Socket(id) => self.owners.get(&id).copied(),
                Local::Tcp(id) => self.connections.get(&id).map(|connection| connection.owner),
                Local::Relay(_) => None,
            };
            tracing::debug!(%local, "its address is gone");
            self.let_go(local);
            for (id, peer) in &mut self.peers {
                if owner.is_none_or(|owner| owner == *id) {
                    peer.holds.retain(|held| *held != local);
                    peer.core.handle_io(now, IoEvent::Closed { local });
                    mark(&mut self.busy, *id, peer);
                }
            }
        }
        let silenced: Vec<u32> = self
            .listeners
            .iter()
            .filter(|(_, listener)| !exists(listener.addr.ip()))
            .map(|(id, _)| *id)
            .collect();
        for listener in silenced {
            self.drop_listener(listener);
            for (id, peer) in &mut self.peers {
                let Some(at) = peer.listens.iter().position(|(_, held)| *held == listener) else {
                    continue;
                };
                let (request, _) = peer.listens.remove(at);
                let reason = "the interface's address is gone".to_owned();
                peer.core.handle_io(now, IoEvent::Failed { request, reason });
                mark(&mut self.busy, *id, peer);
            }
        }
        let addresses = interfaces::select(&self.system.filter, &found);
        if addresses == self.told {
            return;
        }
        tracing::debug!(?addresses, "the interfaces have changed");
        self.told = addresses;
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.watches) {
            peer.core.handle_io(now, IoEvent::Interfaces(self.told.clone()));
            mark(&mut self.busy, *id, peer);
        }
    }
}
