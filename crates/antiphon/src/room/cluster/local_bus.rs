//! A bus within one process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_cluster::Subject;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::line::{BusEnd, Incoming, Line, Outgoing, line};

/// A bus within this process: servers that are given clones of it are nodes of one cluster. It can be stopped, to see what programs do
/// while the bus is away.
#[derive(Clone, Debug)]
pub struct LocalBus(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    works: bool,
    next: u64,
    nodes: BTreeMap<u64, Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    incoming: mpsc::Sender<Incoming>,
    subjects: BTreeSet<Subject>,
}

impl Default for LocalBus {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            works: true,
            next: 0,
            nodes: BTreeMap::new(),
        })))
    }
}

impl LocalBus {
    /// Carries nothing from now on, and tells all nodes so.
    pub fn stop(&self) {
        self.lock().set_works(false);
    }

    /// Works again, and tells all nodes so.
    pub fn start(&self) {
        self.lock().set_works(true);
    }

    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for one more node.
    pub(super) fn open(&self) -> Line {
        line(|end| self.clone().carry(end))
    }

    async fn carry(self, BusEnd { mut outgoing, incoming }: BusEnd) {
        let id = self.lock().admit(incoming);
        while let Some(said) = outgoing.recv().await {
            self.lock().hear(id, said);
        }
        self.lock().nodes.remove(&id);
    }
}

impl State {
    /// The number of one more node.
    fn admit(&mut self, incoming: mpsc::Sender<Incoming>) -> u64 {
        if self.works {
            // It is empty.
            _ = incoming.try_send(Incoming::Connected);
        }
        let id = self.next;
        self.next += 1;
        let subjects = BTreeSet::new();
        self.nodes.insert(id, Subscriber { incoming, subjects });
        id
    }

    fn set_works(&mut self, works: bool) {
        if std::mem::replace(&mut self.works, works) == works {
            return;
        }
        for node in self.nodes.values() {
            let told = if works {
                Incoming::Connected
            } else {
                Incoming::Disconnected
            };
            // A node that takes nothing hears by its heartbeats that nothing comes.
            _ = node.incoming.try_send(told);
        }
    }

    fn hear(&mut self, id: u64, said: Outgoing) {
        match said {
            Outgoing::Listen(subject) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.subjects.insert(subject);
                }
            }
            Outgoing::Ignore(subject) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.subjects.remove(&subject);
                }
            }
            Outgoing::Publish(message) if self.works => {
                let payload = Bytes::from(message.payload);
                for node in self.nodes.values() {
                    if node.subjects.contains(&message.subject) {
                        // A node that takes nothing misses it, and asks for it later.
                        _ = node.incoming.try_send(Incoming::Message(payload.clone()));
                    }
                }
            }
            Outgoing::Publish(_) => {}
        }
    }
}
