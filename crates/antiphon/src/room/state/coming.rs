//! Peers that come and go: names, capabilities, connections, transports.

use std::sync::Arc;

use antiphon_jsep::MediaCapabilities;
use antiphon_peer_connection::{Output, RtcConfiguration};
use antiphon_sfu::router::FIRST_ESTIMATE;

use super::State;
use super::members::{Connection, ConnectionSettings, Member, Transport};
use crate::room::codecs::effective;
use crate::room::dialect::Dialect;
use crate::room::error::Error;
use crate::room::events::Listeners;
use crate::room::facts::{CloseReason, ConnectionFacts, Details, PeerFacts, PeerNews, RoomNews, TransportFacts};
use crate::room::log::LogTag;
use crate::room::negotiation::Negotiation;
use crate::room::{MAX_NAME, MAX_PEERS};

impl State {
    /// Makes a peer.
    pub(in crate::room) async fn add_peer(&mut self, name: &str, details: &str) -> Result<Arc<PeerFacts>, Error> {
        if self.closed {
            return Err(Error::Closed("room"));
        }
        if name.is_empty() {
            return Err(Error::EmptyName);
        }
        if name.len() > MAX_NAME {
            return Err(Error::NameTooLong(name.len()));
        }
        if self.peer_named(name).is_some() {
            return Err(Error::DuplicateName(name.to_owned()));
        }
        if self.members.len() >= MAX_PEERS {
            return Err(Error::TooMany {
                what: "peers in the room",
                max: MAX_PEERS,
            });
        }
        let id = self.ids.next();
        self.join_cluster(id, name, details).await?;
        let facts = Arc::new(PeerFacts {
            id,
            name: name.into(),
            remote: None,
            details: Details::new(details),
            news: Listeners::default(),
        });
        let site = self.emptiest_site();
        self.members.insert(facts.id, Member::new(facts.clone(), site));
        self.facts.news.tell(RoomNews::NewPeer(facts.clone()));
        self.log.step(LogTag::Info, || {
            format!("room {}: peer {} is {name:?}", self.facts.id, facts.id)
        });
        Ok(facts)
    }

    pub(in crate::room) fn peer_named(&self, name: &str) -> Option<Arc<PeerFacts>> {
        let mut all = self.members.values().map(|member| &member.facts);
        all.find(|facts| &*facts.name == name).cloned()
    }

    pub(in crate::room) fn peers(&self) -> Vec<Arc<PeerFacts>> {
        self.members.values().map(|member| member.facts.clone()).collect()
    }

    /// Closes a peer of this node. One of another node is for that node to close.
    pub(in crate::room) async fn dismiss(&mut self, peer: u64) -> Result<(), Error> {
        if let Some(id) = &self.member(peer)?.facts.remote {
            return Err(Error::Elsewhere(id.node.to_string()));
        }
        self.close_peer(peer, None).await
    }

    /// Closes a peer, and with it what it sends to others.
    pub(in crate::room) async fn close_peer(&mut self, peer: u64, reason: Option<CloseReason>) -> Result<(), Error> {
        let member = self.member(peer)?;
        let facts = member.facts.clone();
        let receivers: Vec<u64> = member.receivers.keys().copied().collect();
        for receiver in receivers {
            self.remove_receiver(peer, receiver).await;
        }
        let Some(mut member) = self.members.remove(&peer) else {
            return Err(Error::Closed("peer"));
        };
        if let Ok(transport) = member.transport() {
            transport.handle.close().await;
        }
        // What came from other sites for it alone need not come any more.
        for sender in member.senders.values() {
            self.tend_crossings(sender.facts.receiver.peer.id, sender.facts.receiver.id)
                .await;
        }
        member.end(reason);
        self.leave_cluster(&facts).await;
        self.sync_watches().await;
        self.log.step(LogTag::Info, || {
            format!("room {}: peer {peer} is closed", self.facts.id)
        });
        Ok(())
    }

    /// Takes what the client has, by the offer that it made to tell.
    pub(in crate::room) async fn set_capabilities(
        &mut self,
        peer: u64,
        sdp: &str,
    ) -> Result<Arc<MediaCapabilities>, Error> {
        let room = self.facts.capabilities.clone();
        let member = self.member_mut(peer)?;
        if let Some(id) = &member.facts.remote {
            return Err(Error::Elsewhere(id.node.to_string()));
        }
        if member.capabilities.is_some() {
            return Err(Error::CapabilitiesSet);
        }
        let capabilities = Arc::new(effective(&room, sdp)?);
        member.capabilities = Some(capabilities.clone());
        if let Err(error) = self.equip(peer).await {
            self.member_mut(peer)?.capabilities = None;
            return Err(error);
        }
        self.add_senders_of_room(peer)?;
        let news = &self.member(peer)?.facts.news;
        news.tell(PeerNews::Capabilities(capabilities.clone()));
        Ok(capabilities)
    }

    /// Gives a peer its connection.
    pub(in crate::room) async fn connect(
        &mut self,
        peer: u64,
        settings: ConnectionSettings,
    ) -> Result<Arc<ConnectionFacts>, Error> {
        let member = self.member_mut(peer)?;
        if let Some(id) = &member.facts.remote {
            return Err(Error::Elsewhere(id.node.to_string()));
        }
        if member.connection.is_some() {
            return Err(Error::SecondConnection);
        }
        let facts = Arc::new(ConnectionFacts {
            news: Listeners::default(),
        });
        member.connection = Some(Connection {
            facts: facts.clone(),
            negotiation: Negotiation::default(),
            dialect: Dialect::new(settings.use_plan_b),
            settings,
            transport: None,
            offer: None,
            gathering: None,
        });
        if let Err(error) = self.equip(peer).await {
            self.member_mut(peer)?.connection = None;
            return Err(error);
        }
        Ok(facts)
    }

    /// Makes the transport, once there are both a connection and the client's capabilities.
    async fn equip(&mut self, peer: u64) -> Result<(), Error> {
        let member = self.member(peer)?;
        let (Some(capabilities), Some(connection)) = (&member.capabilities, &member.connection) else {
            return Ok(());
        };
        let mut configuration = RtcConfiguration {
            // The candidates are known before the first offer is.
            ice_candidate_pool_size: 1,
            ..RtcConfiguration::default()
        };
        let settings = &mut configuration.settings;
        settings.capabilities = match connection.dialect.is_plan_b() {
            true => Arc::new(without_names(capabilities)),
            false => capabilities.clone(),
        };
        settings.receive_output = Output::Packets;
        // The router begins with the smallest pictures, and no path is asked for more than it has said.
        settings.media.start_bitrate = FIRST_ESTIMATE;
        let site = self.site(member.site)?;
        settings.ice.nat_mappings.clone_from(&site.mappings);
        connection.settings.transport.apply(&mut settings.ice);
        let made = site.api.peer_connection(configuration).await?;
        let transport = Transport {
            facts: Arc::new(TransportFacts {
                id: self.ids.next(),
                peer: member.facts.clone(),
                news: Listeners::default(),
            }),
            handle: made.handle(),
            receiving: Vec::new(),
        };
        let facts = transport.facts.clone();
        self.follow(peer, made);
        let member = self.member_mut(peer)?;
        member.connection_mut()?.transport = Some(transport);
        member.facts.news.tell(PeerNews::NewTransport(facts));
        Ok(())
    }
}

/// The same without the header extensions that name sections and layers: in Plan B many tracks have one section, and are told by their
/// SSRCs alone.
fn without_names(capabilities: &MediaCapabilities) -> MediaCapabilities {
    let mut own = capabilities.clone();
    for list in [&mut own.audio_extensions, &mut own.video_extensions] {
        list.retain(|extension| !extension.uri.starts_with("urn:ietf:params:rtp-hdrext:sdes:"));
    }
    own
}
