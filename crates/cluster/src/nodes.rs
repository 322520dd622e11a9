//! Which other nodes there are: who was heard lately.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::names::NodeName;

/// Other nodes of a cluster.
pub const MAX_NODES: usize = 64;

#[derive(Debug)]
struct Node {
    run: u64,
    heard: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Nodes(BTreeMap<NodeName, Node>);

/// What a message says of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is there as before.
    Known,
    /// It was not there before.
    New,
    /// It was started anew: what was known of it is over.
    Again,
    /// The message is of a start that is over.
    Stale,
    /// There are too many others.
    TooMany,
}

impl Nodes {
    pub(crate) fn hear(&mut self, now: Instant, name: &NodeName, run: u64) -> Heard {
        if let Some(node) = self.0.get_mut(name) {
            if run < node.run {
                return Heard::Stale;
            }
            let again = run > node.run;
            *node = Node { run, heard: now };
            return if again { Heard::Again } else { Heard::Known };
        }
        if self.0.len() >= MAX_NODES {
            return Heard::TooMany;
        }
        self.0.insert(name.clone(), Node { run, heard: now });
        Heard::New
    }

    pub(crate) fn remove(&mut self, name: &NodeName) -> bool {
        self.0.remove(name).is_some()
    }

    /// Who was not heard for `silence` although the bus worked at `now`.
    pub(crate) fn silent(&self, now: Instant, silence: Duration) -> Vec<NodeName> {
        let silent = self.0.iter().filter(|(_, node)| node.heard + silence <= now);
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// Everybody counts as heard at `at`, which may be still to come.
    pub(crate) fn excuse(&mut self, at: Instant) {
        for node in self.0.values_mut() {
            node.heard = node.heard.max(at);
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.0.keys()
    }
}
