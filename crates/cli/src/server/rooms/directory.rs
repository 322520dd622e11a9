//! Which rooms there are. A room begins with the first who comes and ends with the last who goes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use antiphon::room::{Error, RtcAddress, Server, ServerOptions};
use tokio::sync::{OnceCell, broadcast};

use super::bounds::MAX_ROOMS;
use super::hub::Hub;
use super::keeper::{Admission, Keeper};
use super::message::{Join, News};
use super::refusal::Refusal;
use super::tally::Tally;
use crate::token::{Right, Rights};

/// All rooms of the page.
#[derive(Debug)]
pub(in crate::server) struct Rooms {
    options: ServerOptions,
    /// Its threads and ports are taken when the first room needs them.
    server: OnceCell<Server>,
    keeper: Keeper,
    directory: Directory,
    /// Who was not let in.
    pub(in crate::server) joins_refused: Tally,
    /// What of participants was refused.
    pub(in crate::server) messages_refused: Tally,
}

/// The rooms by their names.
#[derive(Clone, Debug, Default)]
struct Directory(Arc<Mutex<BTreeMap<String, Arc<Hub>>>>);

impl Directory {
    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Hub>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        room: &str,
        node: Option<&str>,
        (id, name): (u64, &str),
        recording: bool,
    ) -> Result<(Seat, broadcast::Receiver<News>), Refusal> {
        let mut rooms = self.lock();
        let hub = match rooms.get(room) {
            Some(hub) => hub.clone(),
            None if rooms.len() >= MAX_ROOMS => return Err(Refusal::NoMoreRooms),
            None => Arc::new(Hub::new(room, node.map(str::to_owned))),
        };
        let news = hub.enter(id, name, recording)?;
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
    /// No room yet. `options`: what forwards the media; `keeper`: who is let in.
    pub(in crate::server) fn new(options: ServerOptions, keeper: Keeper) -> Self {
        Self {
            options,
            server: OnceCell::new(),
            keeper,
            directory: Directory::default(),
            joins_refused: Tally::default(),
            messages_refused: Tally::default(),
        }
    }

    /// Takes a seat for who may come in, and the room with it if nobody is there.
    pub(super) fn enter(&self, id: u64, join: &Join) -> Result<(Seat, broadcast::Receiver<News>, Rights), Refusal> {
        let token = join.token.as_deref();
        let admitted = self.keeper.admit(&join.room, &join.name, token, SystemTime::now())?;
        let Admission { name, mut rights } = admitted;
        if join.record {
            if !rights.record {
                return Err(Refusal::NoRight(Right::Record));
            }
            // Who may record gets what it records, and sends nothing.
            rights.watch = true;
            rights.publish = false;
        }
        let (seat, news) = self
            .directory
            .enter(&join.room, self.node(), (id, &name), join.record)?;
        Ok((seat, news, rights))
    }

    /// The node of the cluster that this server is, if it is one.
    fn node(&self) -> Option<&str> {
        Some(self.options.cluster.as_ref()?.node.as_str())
    }

    /// Becomes a node of the cluster, if it is to be one.
    pub(in crate::server) async fn join_cluster(&self) -> Result<(), Error> {
        if self.options.cluster.is_some() {
            self.server().await?;
        }
        Ok(())
    }

    /// Closes what forwards the media, and leaves the cluster.
    pub(in crate::server) async fn close(&self) {
        if let Some(server) = self.started() {
            server.close().await;
        }
    }

    /// A room that there is.
    pub(super) fn hub(&self, room: &str) -> Option<Arc<Hub>> {
        self.directory.lock().get(room).cloned()
    }

    /// Whether who comes in must show a token.
    pub(in crate::server) fn asks_for_tokens(&self) -> bool {
        self.keeper.asks_for_tokens()
    }

    /// Whether somebody may be told of a room, or of all.
    pub(super) fn may_look(&self, room: Option<&str>, token: Option<&str>) -> Result<(), Refusal> {
        self.keeper.may_look(room, token, SystemTime::now())
    }

    /// All rooms that there are.
    pub(super) fn hubs(&self) -> Vec<Arc<Hub>> {
        self.directory.lock().values().cloned().collect()
    }

    /// What forwards the media of all rooms, if there ever was one.
    pub(super) fn started(&self) -> Option<&Server> {
        self.server.get()
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

    fn enter(rooms: &Rooms, room: &str, id: u64, name: &str) -> Result<(Seat, broadcast::Receiver<News>), Refusal> {
        let join = Join {
            room: room.to_owned(),
            name: name.to_owned(),
            token: None,
            record: false,
            sdp: String::new(),
        };
        rooms.enter(id, &join).map(|(seat, news, _)| (seat, news))
    }

    #[test]
    fn a_room_is_there_as_long_as_somebody_is() {
        let rooms = Rooms::new(ServerOptions::default(), Keeper::default());
        let (first, _) = enter(&rooms, "stage", 1, "Ada").unwrap();
        let (second, _) = enter(&rooms, "stage", 2, "Grace").unwrap();
        assert!(Arc::ptr_eq(&first.hub, &second.hub));
        assert!(matches!(enter(&rooms, "stage", 3, "ada"), Err(Refusal::NameTaken)));
        drop(first);
        assert_eq!(second.hub.people().len(), 1);
        drop(second);
        assert!(rooms.directory.lock().is_empty());
    }

    #[test]
    fn who_is_refused_leaves_no_room_behind() {
        let rooms = Rooms::new(ServerOptions::default(), Keeper::default());
        assert!(matches!(enter(&rooms, "no room", 1, "Ada"), Err(Refusal::RoomName)));
        assert!(matches!(enter(&rooms, "stage", 1, " "), Err(Refusal::PersonName)));
        assert!(rooms.directory.lock().is_empty());
    }

    #[test]
    fn there_are_so_many_rooms() {
        let rooms = Rooms::new(ServerOptions::default(), Keeper::default());
        let seats: Vec<_> = (0..MAX_ROOMS)
            .map(|n| enter(&rooms, &format!("room-{n}"), n as u64, "Ada").unwrap())
            .collect();
        assert!(matches!(
            enter(&rooms, "one-more", 999, "Ada"),
            Err(Refusal::NoMoreRooms)
        ));
        assert!(
            enter(&rooms, "room-7", 999, "Grace").is_ok(),
            "a room that is there can be entered"
        );
        drop(seats);
        assert!(enter(&rooms, "one-more", 999, "Ada").is_ok());
    }
}
