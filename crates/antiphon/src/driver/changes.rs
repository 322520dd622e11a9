//! Addresses that come and go.

use std::net::IpAddr;
use std::time::Instant;

use antiphon_ice::IoEvent;

use super::Driver;
use super::message::PeerId;
use crate::interfaces;

impl Driver {
    /// Asks to be told when the addresses change: this peer wants to know.
    pub(super) fn watch(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.watches = true;
        }
        if std::mem::replace(&mut self.watching, true) {
            return;
        }
        self.environment.interfaces().tell(self.inbox.listener());
    }

    /// Closes what was bound to addresses that are gone, and tells those who watch what there is now.
    pub(super) fn interfaces_changed(&mut self, now: Instant) {
        let found = self.environment.interfaces().list();
        let exists = |ip: IpAddr| found.iter().any(|interface| interface.ip() == ip);
        for local in self.net.without_address(exists) {
            tracing::debug!(%local, "its address is gone");
            let owner = self.net.owner(local);
            self.net.close(local);
            self.peers.wake_where(|id, peer| {
                let concerned = owner.is_none_or(|owner| owner == id);
                if concerned {
                    peer.holds.retain(|held| *held != local);
                    peer.core.handle_io(now, IoEvent::Closed { local });
                }
                concerned
            });
        }
        for listener in self.net.listeners_without_address(exists) {
            self.net.drop_listener(listener);
            self.peers.wake_where(|_, peer| {
                let at = peer.listens.iter().position(|(_, held)| *held == listener);
                let Some(at) = at else { return false };
                let (request, _) = peer.listens.remove(at);
                let reason = "the interface's address is gone".to_owned();
                peer.core.handle_io(now, IoEvent::Failed { request, reason });
                true
            });
        }
        let addresses = interfaces::select(&self.environment.filter, &found);
        if addresses == self.told {
            return;
        }
        tracing::debug!(?addresses, "the interfaces have changed");
        self.told = addresses;
        let told = &self.told;
        self.peers.wake_where(|_, peer| {
            if peer.watches {
                peer.core.handle_io(now, IoEvent::Interfaces(told.clone()));
            }
            peer.watches
        });
    }
}
