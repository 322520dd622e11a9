//! The names under which publishers are found: one publisher for each name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::forward::Publisher;

/// The name behind plain `/whip` and `/whep`.
pub(in crate::server) const DEFAULT_STREAM: &str = "live";
/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// Who publishes under which name; `None` while the session is being made. Bounded by the sessions.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Streams(Arc<Mutex<BTreeMap<String, Option<Arc<Publisher>>>>>);

impl Streams {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<Publisher>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the name; `None` if somebody has it.
    pub(in crate::server) fn claim(&self, name: &str) -> Option<Claim> {
        let mut streams = self.lock();
        if streams.contains_key(name) {
            return None;
        }
        streams.insert(name.to_owned(), None);
        Some(Claim {
            streams: self.clone(),
            name: name.to_owned(),
        })
    }

    /// The publisher of that name.
    pub(in crate::server) fn publisher(&self, name: &str) -> Option<Arc<Publisher>> {
        self.lock().get(name).cloned().flatten()
    }
}

/// A name that is taken; free again when dropped.
#[derive(Debug)]
pub(in crate::server) struct Claim {
    streams: Streams,
    name: String,
}

impl Claim {
    /// Watchers find the publisher from now on.
    pub(in crate::server) fn publish(&self, publisher: Arc<Publisher>) {
        tracing::info!(session = publisher.session, name = self.name, "publishes");
        if let Some(seat) = self.streams.lock().get_mut(&self.name) {
            *seat = Some(publisher);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.name);
    }
}

/// Whether this can be the name of a stream: 1 to 64 letters, digits, `-`, `_` and `.`.
pub(in crate::server) fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use antiphon::router::RouterOptions;
    use antiphon::{Api, RtcConfiguration};

    use super::*;

    #[tokio::test]
    async fn mend16_one_publisher_for_each_name() {
        let streams = Streams::default();
        let claim = streams.claim("a").unwrap();
        assert!(streams.claim("a").is_none() && streams.claim("b").is_some());
        assert!(streams.publisher("a").is_none(), "not before its session is made");
        let api = Api::builder().loopback(true).one_port(0).build().unwrap();
        let router = api.router(RouterOptions::default()).unwrap();
        let peer = api.peer_connection(RtcConfiguration::default()).await.unwrap();
        let publisher = Publisher::new(7, router, &peer.handle(), Vec::new()).await;
        claim.publish(Arc::new(publisher.unwrap()));
        assert_eq!(streams.publisher("a").unwrap().session, 7);
        assert!(streams.publisher("b").is_none());
        drop(claim);
        assert!(streams.publisher("a").is_none() && streams.claim("a").is_some());
    }

    #[test]
    fn names() {
        for name in ["live", "a", "Camera_1.main-2", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a/b", "ä", "%41", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
