//! Which rooms there are. A room begins with the first who comes and ends with the last who goes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon::room::{Error, RtcAddress, Server, ServerOptions};
use tokio::sync::{OnceCell, broadcast};

use super::bounds::MAX_ROOMS;
use super::hub::Hub;
use super::message::News;
use super::names;
use super::refusal::Refusal;

/// All rooms of the page.
#[derive(Debug)]
pub(in crate::server) struct Rooms {
    options: ServerOptions,
    /// Its threads and ports are taken when the first room needs them.
    server: OnceCell<Server>,
    directory: Directory,
}

/// The rooms by their names.
#[derive(Clone, Debug, Default)]
struct Directory(Arc<Mutex<BTreeMap<String, Arc<Hub>>>>);

impl Directory {
    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Hub>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, room: &str, id: u64, name: &str) -> Result<(Seat, broadcast::Receiver<News>), Refusal> {
        let mut rooms = self.lock();
        let hub = match rooms.get(room) {
            Some(hub) => hub.clone(),
            None if rooms.len() >= MAX_ROOMS => return Err(Refusal::NoMoreRooms),
            None => Arc::new(Hub::new(room)),
        };
        let news = hub.enter(id, name)?;
        rooms.entry(room.to_owned()).or_insert_with(|| hub.clone());
        let seat = Seat {
            directory: self.clone(),
            hub,
            id,
        };
        Ok((seat, news))
    }
}

impl Rooms {
    /// No room yet. `options`: what forwards the media.
    pub(in crate::server) fn new(options: ServerOptions) -> Self {
        Self {
            options,
            server: OnceCell::new(),
            directory: Directory::default(),
        }
    }

    /// Takes a seat, and the room with it if nobody is there.
    pub(super) fn enter(&self, room: &str, id: u64, name: &str) -> Result<(Seat, broadcast::Receiver<News>), Refusal> {
        if !names::is_room(room) {
            return Err(Refusal::RoomName);
        }
        let name = names::person(name).ok_or(Refusal::PersonName)?;
        self.directory.enter(room, id, &name)
    }

    /// What forwards the media of all rooms.
    pub(super) async fn server(&self) -> Result<&Server, Error> {
        self.server
            .get_or_try_init(async || match Server::new(self.options.clone()).await {
                // A machine without a network has rooms for itself.
                Err(Error::NoAddress) => {
                    let mut options = self.options.clone();
                    options.rtc_ipv4 = RtcAddress::Only(Ipv4Addr::LOCALHOST);
                    Server::new(options).await
                }
                made => made,
            })
            .await
    }
}

/// A seat in a room; free again when dropped, and the room with the last of them.
#[derive(Debug)]
pub(super) struct Seat {
    directory: Directory,
    pub(super) hub: Arc<Hub>,
    pub(super) id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.directory.lock();
        if self.hub.leave(self.id) {
            rooms.remove(&self.hub.name);
            if let Some(room) = self.hub.forwarding() {
                tokio::spawn(async move { room.close().await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_there_as_long_as_somebody_is() {
        let rooms = Rooms::new(ServerOptions::default());
        let (first, _) = rooms.enter("stage", 1, "Ada").unwrap();
        let (second, _) = rooms.enter("stage", 2, "Grace").unwrap();
        assert!(Arc::ptr_eq(&first.hub, &second.hub));
        assert!(matches!(rooms.enter("stage", 3, "ada"), Err(Refusal::NameTaken)));
        drop(first);
        assert_eq!(second.hub.people().len(), 1);
        drop(second);
        assert!(rooms.directory.lock().is_empty());
    }

    #[test]
    fn who_is_refused_leaves_no_room_behind() {
        let rooms = Rooms::new(ServerOptions::default());
        assert!(matches!(rooms.enter("no room", 1, "Ada"), Err(Refusal::RoomName)));
        assert!(matches!(rooms.enter("stage", 1, " "), Err(Refusal::PersonName)));
        assert!(rooms.directory.lock().is_empty());
    }

    #[test]
    fn there_are_so_many_rooms() {
        let rooms = Rooms::new(ServerOptions::default());
        let seats: Vec<_> = (0..MAX_ROOMS)
            .map(|n| rooms.enter(&format!("room-{n}"), n as u64, "Ada").unwrap())
            .collect();
        assert!(matches!(rooms.enter("one-more", 999, "Ada"), Err(Refusal::NoMoreRooms)));
        assert!(
            rooms.enter("room-7", 999, "Grace").is_ok(),
            "a room that is there can be entered"
        );
        drop(seats);
        assert!(rooms.enter("one-more", 999, "Ada").is_ok());
    }
}
