//! A server: workers, and rooms on them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::room::Room;
use crate::room::MAX_ROOMS;
use crate::room::cluster::{ClusterFigures, Node};
use crate::room::codecs::RoomOptions;
use crate::room::dump::{ServerDump, WorkerDump};
use crate::room::error::Error;
use crate::room::events::{Events, Listeners, News};
use crate::room::facts::{Ids, RoomFacts};
use crate::room::figures::{Book, ServerFigures};
use crate::room::link::{Link, link};
use crate::room::log::{Log, LogTag};
use crate::room::options::{ServerOptions, ServerSettings};
use crate::room::state::{Parts, Span, State};
use crate::room::worker::Worker;

/// How long it may take until the cluster has heard that the server is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// What happens in a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A room was made.
    NewRoom(Room),
    /// The server is closed.
    Close,
}

impl News for ServerEvent {
    const END: Self = Self::Close;

    fn is_end(&self) -> bool {
        matches!(self, Self::Close)
    }
}

/// Workers and their rooms. When the last handle is dropped, everything is closed.
#[derive(Clone, Debug)]
pub struct Server {
    news: Arc<Listeners<ServerEvent>>,
    log: Log,
    link: Link<Rooms>,
    book: Book,
}

impl Server {
    /// Starts the workers, each with its port.
    ///
    /// # Errors
    /// [`Error::Option`] for options that cannot be, [`Error::NoPort`], [`Error::NoAddress`], [`Error::Worker`].
    pub async fn new(options: ServerOptions) -> Result<Self, Error> {
        options.check()?;
        let log = Log::default();
        log.set_level(options.log_level);
        log.set_tags(&options.log_tags);
        let mut workers = Vec::new();
        for number in 0..options.workers {
            workers.push(Worker::start(&options, number).await?);
        }
        let cluster = match &options.cluster {
            Some(cluster) => Some(Node::start(cluster, log.clone())?),
            None => None,
        };
        let news = Arc::new(Listeners::default());
        let book = Book::default();
        let (link, mut calls) = link();
        let mut rooms = Rooms {
            workers,
            rooms: Vec::new(),
            ids: Ids::default(),
            news: news.clone(),
            log: log.clone(),
            book: book.clone(),
            cluster,
            closed: false,
        };
        tokio::spawn(async move {
            while !rooms.closed
                && let Some(call) = calls.recv().await
            {
                call(&mut rooms).await;
            }
            rooms.close().await;
        });
        Ok(Self { news, log, link, book })
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.news.closed()
    }

    /// What happens in it from now on.
    pub fn events(&self) -> Events<ServerEvent> {
        self.news.listen(|event| event)
    }

    /// Makes a room, on the worker that has the fewest.
    ///
    /// # Errors
    /// [`Error::Option`] or [`Error::TooMany`] for codecs that cannot be, [`Error::TooMany`] rooms, [`Error::Closed`]; in a cluster
    /// [`Error::RoomNameTaken`] and, for a name that cannot be one, [`Error::Cluster`].
    pub async fn create_room(&self, options: RoomOptions) -> Result<Room, Error> {
        let call = self.link.call(move |rooms| rooms.create(options).boxed());
        call.await.unwrap_or(Err(Error::Closed("server")))
    }

    /// Changes what may be changed while it runs.
    pub fn update_settings(&self, settings: &ServerSettings) {
        if let Some(level) = settings.log_level {
            self.log.set_level(level);
        }
        if let Some(tags) = &settings.log_tags {
            self.log.set_tags(tags);
        }
    }

    /// All that is known of it and its rooms now.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn dump(&self) -> Result<ServerDump, Error> {
        let call = self.link.call(|rooms| rooms.dump().boxed());
        call.await.ok_or(Error::Closed("server"))
    }

    /// What its rooms have done since it began, those that are closed too, and the rooms that there are now. Rooms do not wait for each other.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn figures(&self) -> Result<ServerFigures, Error> {
        let call = self
            .link
            .call(|rooms| async { (rooms.rooms.clone(), rooms.cluster_figures().await) }.boxed());
        let (rooms, cluster) = call.await.ok_or(Error::Closed("server"))?;
        let figures = join_all(rooms.iter().map(Room::figures)).await;
        // One that is closed meanwhile is not there.
        let rooms: Vec<_> = figures.into_iter().flatten().collect();
        let work = self.book.sum(&rooms);
        Ok(ServerFigures { rooms, cluster, work })
    }

    /// Closes every room, and then the server. Nothing happens if it is closed.
    pub async fn close(&self) {
        // What is closed stays so.
        _ = self.link.call(|rooms| rooms.close().boxed()).await;
    }
}

/// What the task of a server owns.
struct Rooms {
    workers: Vec<Worker>,
    rooms: Vec<Room>,
    ids: Ids,
    news: Arc<Listeners<ServerEvent>>,
    log: Log,
    book: Book,
    /// The server as a node of its cluster. It leaves when the last link is gone.
    cluster: Option<(Link<Node>, JoinHandle<()>)>,
    closed: bool,
}

impl Rooms {
    async fn create(&mut self, options: RoomOptions) -> Result<Room, Error> {
        let capabilities = Arc::new(options.capabilities()?);
        self.rooms.retain(|room| !room.closed());
        if self.rooms.len() >= MAX_ROOMS {
            return Err(Error::TooMany {
                what: "rooms",
                max: MAX_ROOMS,
            });
        }
        let load = |number: &usize| self.rooms.iter().filter(|room| room.worker() == *number).count();
        let number = (0..self.workers.len())
            .min_by_key(load)
            .ok_or(Error::Closed("server"))?;
        // Its own worker first.
        let all = 0..self.workers.len();
        let others = all.filter(|other| options.spread && *other != number);
        let sites = std::iter::once(number).chain(others);
        let sites: Result<Vec<_>, Error> = sites.map(|number| self.workers[number].site(number)).collect();
        let (sites, worker) = (sites?, &self.workers[number]);
        let span = match (&self.cluster, &options.name) {
            (Some((cluster, _)), Some(name)) => Some(Box::new(Span::open(cluster, name).await?)),
            _ => None,
        };
        let facts = Arc::new(RoomFacts {
            id: self.ids.next(),
            worker: number,
            capabilities,
            news: Listeners::default(),
            heard: Listeners::default(),
            leading: Listeners::default(),
        });
        let state = State::new(Parts {
            facts: facts.clone(),
            options,
            log: self.log.clone(),
            ids: self.ids.clone(),
            sites,
            book: self.book.clone(),
            span,
        });
        self.book.open(facts.id);
        let (link, calls) = link();
        worker.runtime.spawn(state.run(calls));
        let room = Room::new(facts, link);
        self.log.step(LogTag::Info, || {
            format!("room {} is made on worker {number}", room.id())
        });
        self.rooms.push(room.clone());
        self.news.tell(ServerEvent::NewRoom(room.clone()));
        Ok(room)
    }

    async fn dump(&mut self) -> ServerDump {
        let mut workers: Vec<WorkerDump> = self
            .workers
            .iter()
            .map(|worker| WorkerDump {
                addresses: worker.api.addresses().to_vec(),
                rooms: Vec::new(),
            })
            .collect();
        for room in &self.rooms {
            // One that is closed meanwhile is not there.
            if let Ok(dump) = room.dump().await {
                workers[room.worker()].rooms.push(dump);
            }
        }
        ServerDump { workers }
    }

    async fn cluster_figures(&self) -> Option<ClusterFigures> {
        let (node, _) = self.cluster.as_ref()?;
        node.call(|node| async { node.figures() }.boxed()).await
    }

    async fn close(&mut self) {
        self.closed = true;
        for room in self.rooms.drain(..) {
            room.close().await;
        }
        self.workers.clear();
        if let Some((link, node)) = self.cluster.take() {
            drop(link);
            // The others hear of it a little later by themselves.
            _ = tokio::time::timeout(FAREWELL, node).await;
        }
        self.news.tell(ServerEvent::Close);
    }
}
