//! A room.

use std::sync::Arc;

use antiphon_jsep::{MediaCapabilities, MediaKind};
use futures_util::FutureExt;

use super::peer::{Peer, RtpReceiver};
use crate::room::dump::RoomDump;
use crate::room::error::Error;
use crate::room::events::Events;
use crate::room::facts::{Heard, Leading, RoomFacts, RoomNews};
use crate::room::figures::RoomFigures;
use crate::room::link::Link;
use crate::room::state::State;

/// What happens in a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RoomEvent {
    /// Somebody came.
    NewPeer(Peer),
    /// The room is closed.
    Close,
}

/// How loud one track is.
#[derive(Clone, Debug)]
pub struct AudioLevel {
    /// The track that is heard.
    pub receiver: RtpReceiver,
    /// Its loudness in dBov, from -127 (silence) to 0 (RFC 6464).
    pub level: i8,
}

/// Peers who see and hear each other.
#[derive(Clone, Debug)]
pub struct Room {
    facts: Arc<RoomFacts>,
    link: Link<State>,
}

impl PartialEq for Room {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }
}

impl Eq for Room {}

impl Room {
    pub(super) fn new(facts: Arc<RoomFacts>, link: Link<State>) -> Self {
        Self { facts, link }
    }

    /// Its number, which no other object of the server has.
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// The number of the worker that it lives on, from 0.
    pub fn worker(&self) -> usize {
        self.facts.worker
    }

    /// Whether it is closed.
    pub fn closed(&self) -> bool {
        self.facts.news.closed()
    }

    /// What happens in it from now on.
    pub fn events(&self) -> Events<RoomEvent> {
        let link = self.link.clone();
        self.facts.news.listen(move |news| match news {
            RoomNews::NewPeer(facts) => RoomEvent::NewPeer(Peer::new(facts, link.clone())),
            RoomNews::Close => RoomEvent::Close,
        })
    }

    /// The codecs and header extensions that the room can negotiate, of one kind or (`None`) of both.
    pub fn capabilities(&self, kind: Option<MediaKind>) -> MediaCapabilities {
        let mut all = MediaCapabilities::clone(&self.facts.capabilities);
        if kind == Some(MediaKind::Video) {
            (all.audio, all.audio_extensions) = Default::default();
        }
        if kind == Some(MediaKind::Audio) {
            (all.video, all.video_extensions) = Default::default();
        }
        all
    }

    /// Makes a peer of this name. The room tells of it ([`RoomEvent::NewPeer`]).
    ///
    /// # Errors
    /// [`Error::EmptyName`], [`Error::NameTooLong`], [`Error::DuplicateName`], [`Error::TooMany`] peers, [`Error::Closed`];
    /// [`Error::Cluster`], with [`ClusterError::BusAway`](crate::room::ClusterError::BusAway) while other nodes could not hear of the peer:
    /// it can be tried again later.
    pub async fn peer(&self, name: impl Into<String>) -> Result<Peer, Error> {
        self.peer_with_details(name, "").await
    }

    /// The same, and says something of it to programs on all nodes ([`Peer::details`]), at most 1024 bytes.
    ///
    /// # Errors
    /// As [`Self::peer`]; [`Error::Cluster`] also if the text is too long.
    pub async fn peer_with_details(&self, name: impl Into<String>, details: impl Into<String>) -> Result<Peer, Error> {
        let (name, details) = (name.into(), details.into());
        let call = self
            .link
            .call(move |state| async move { state.add_peer(&name, &details).await }.boxed());
        let facts = call.await.unwrap_or(Err(Error::Closed("room")))?;
        Ok(Peer::new(facts, self.link.clone()))
    }

    /// The peer of this name, if it is there.
    pub async fn get_peer(&self, name: impl Into<String>) -> Option<Peer> {
        let name = name.into();
        let call = self
            .link
            .call(move |state| async move { state.peer_named(&name) }.boxed());
        Some(Peer::new(call.await??, self.link.clone()))
    }

    /// All peers, in the order in which they came.
    pub async fn peers(&self) -> Vec<Peer> {
        let call = self.link.call(|state| async { state.peers() }.boxed());
        let all = call.await.unwrap_or_default();
        all.into_iter()
            .map(|facts| Peer::new(facts, self.link.clone()))
            .collect()
    }

    /// How loud everybody is, loudest first, from now on. It is measured only while somebody listens.
    ///
    /// # Errors
    /// [`Error::Closed`] once the room is.
    pub async fn audio_levels(&self) -> Result<Events<Vec<AudioLevel>>, Error> {
        let link = self.link.clone();
        let levels = self.facts.heard.listen(move |heard| match heard {
            Heard::Levels(levels) => {
                let level = |(facts, level): &(Arc<_>, i8)| AudioLevel {
                    receiver: RtpReceiver::new(Arc::clone(facts), link.clone()),
                    level: *level,
                };
                Some(levels.iter().map(level).collect())
            }
            Heard::Close => None,
        });
        let call = self.link.call(|state| state.hear().boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))?;
        Ok(levels.while_some())
    }

    /// Who leads the talk, from now on: told when it is another, `None` when the one that did is gone. It is found out only while somebody
    /// listens.
    ///
    /// # Errors
    /// [`Error::Closed`] once the room is.
    pub async fn dominant_speaker(&self) -> Result<Events<Option<RtpReceiver>>, Error> {
        let link = self.link.clone();
        let leaders = self.facts.leading.listen(move |leading| match leading {
            Leading::Speaker(facts) => Some(facts.map(|facts| RtpReceiver::new(facts, link.clone()))),
            Leading::Close => None,
        });
        let call = self.link.call(|state| state.hear().boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))?;
        Ok(leaders.while_some())
    }

    /// All that is known of it and its peers now.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn dump(&self) -> Result<RoomDump, Error> {
        let call = self.link.call(|state| async { state.dump() }.boxed());
        call.await.ok_or(Error::Closed("room"))
    }

    /// What it has done since it began, and how many take part now.
    ///
    /// # Errors
    /// [`Error::Closed`] once it is.
    pub async fn figures(&self) -> Result<RoomFigures, Error> {
        let call = self.link.call(|state| state.figures().boxed());
        call.await.unwrap_or(Err(Error::Closed("room")))
    }

    /// Closes every peer, and then the room. Nothing happens if it is closed.
    pub async fn close(&self) {
        // What is closed stays so.
        _ = self.link.call(|state| state.close().boxed()).await;
    }
}
