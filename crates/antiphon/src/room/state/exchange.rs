//! Offers and answers of one peer: the offers are always ours.

use std::time::Instant;

use antiphon_jsep::{Direction, MediaCapabilities, MediaKind};
use antiphon_peer_connection::{
    RtcIceGatheringState, RtcOfferOptions, RtcRtpTransceiverInit, RtcSessionDescription, RtcSignalingState,
};
use tokio::sync::oneshot;

use super::State;
use super::members::{Connection, Receiving, Transport};
use crate::room::MAX_RECEIVERS;
use crate::room::error::Error;
use crate::room::facts::ConnectionNews;
use crate::room::log::LogTag;
use crate::room::offer::Limits;

impl State {
    /// Describes what the room sends to a client, and lets it send on `audio` and `video` sections.
    pub(in crate::room) async fn create_offer(
        &mut self,
        peer: u64,
        audio: u8,
        video: u8,
    ) -> Result<RtcSessionDescription, Error> {
        if usize::from(audio) + usize::from(video) > MAX_RECEIVERS {
            return Err(Error::TooMany {
                what: "tracks of one peer",
                max: MAX_RECEIVERS,
            });
        }
        let limits = self.limits(peer)?;
        let member = self.member_mut(peer)?;
        let capabilities = member.capabilities.clone();
        let connection = member.connection_mut()?;
        connection.negotiation.check_create()?;
        let is_plan_b = connection.dialect.is_plan_b();
        let simulcast = match is_plan_b {
            true => Vec::new(), // it has no names for layers
            false => connection.settings.simulcast.clone(),
        };
        let (Some(transport), Some(capabilities)) = (&mut connection.transport, capabilities) else {
            return Err(Error::NoCapabilities);
        };
        // They come first: a client that adds its tracks after our offer takes the first sections that fit.
        for (kind, count, rids) in [
            (MediaKind::Audio, audio, Vec::new()),
            (MediaKind::Video, video, simulcast),
        ] {
            let count = match usize::from(count) {
                // One section has any number of tracks: those that it has stay.
                count if is_plan_b && count > 0 => count.max(open(transport, kind)),
                count => count,
            };
            receive(transport, &capabilities, kind, count, rids).await?;
        }
        self.place_senders(peer).await?;
        let transport = self.member(peer)?.transport()?;
        let made = transport.handle.create_offer(RtcOfferOptions::default()).await?;
        let connection = self.member_mut(peer)?.connection_mut()?;
        let shown = connection.dialect.show(&made, limits)?;
        connection.negotiation.created();
        connection.offer = Some((made, shown.clone()));
        self.log.step(LogTag::Info, || format!("peer {peer}: an offer is made"));
        Ok(shown)
    }

    /// What is given back ends when all candidates stand in our description.
    pub(super) async fn gathered(&mut self, peer: u64) -> Result<oneshot::Receiver<()>, Error> {
        let connection = self.member_mut(peer)?.connection_mut()?;
        let Some(transport) = &connection.transport else {
            return Err(Error::NoCapabilities);
        };
        let (done, waiting) = oneshot::channel();
        if transport.handle.ice_gathering_state().await? == RtcIceGatheringState::Complete {
            // Who waits may have gone away.
            _ = done.send(());
        } else {
            connection.gathering = Some(done);
        }
        Ok(waiting)
    }

    /// There is never an offer of the client to answer: says so, with the state.
    pub(in crate::room) fn create_answer(&mut self, peer: u64) -> Result<RtcSessionDescription, Error> {
        match self.member_mut(peer)?.connection_mut()?.negotiation.state() {
            RtcSignalingState::Closed => Err(Error::Closed("connection")),
            state => Err(Error::InvalidState {
                operation: "create an answer".to_owned(),
                state,
            }),
        }
    }

    /// Sets our offer. What is given back ends when all candidates stand in it.
    pub(in crate::room) async fn set_local_description(
        &mut self,
        peer: u64,
        description: RtcSessionDescription,
    ) -> Result<oneshot::Receiver<()>, Error> {
        let connection = self.member_mut(peer)?.connection_mut()?;
        connection.negotiation.check_local(description.sdp_type)?;
        let (Some((made, shown)), Some(transport)) = (&connection.offer, &connection.transport) else {
            return Err(Error::Modified);
        };
        if !description.sdp.is_empty() && description != *shown {
            return Err(Error::Modified);
        }
        transport.handle.set_local_description(Some(made.clone())).await?;
        connection.negotiation.offered();
        let state = connection.negotiation.state();
        connection.facts.news.tell(ConnectionNews::Signaling(state));
        self.gathered(peer).await
    }

    /// Takes the client's answer: what it sends becomes receivers, and what it takes begins to be sent.
    pub(in crate::room) async fn set_remote_description(
        &mut self,
        peer: u64,
        description: RtcSessionDescription,
    ) -> Result<(), Error> {
        let connection = self.member_mut(peer)?.connection_mut()?;
        connection.negotiation.check_remote(description.sdp_type)?;
        let Some(transport) = &connection.transport else {
            return Err(Error::NoCapabilities);
        };
        let made = transport
            .handle
            .local_description()
            .await?
            .unwrap_or_else(RtcSessionDescription::rollback);
        let read = connection.dialect.read(&made, description.clone());
        let set = match read {
            Ok(read) => {
                let set = transport.handle.set_remote_description(read.answer).await;
                set.map(|()| (read.left_over, read.then)).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        let (left_over, then) = match set {
            Ok(set) => set,
            Err(error) => {
                self.log.warn(|| format!("peer {peer}: a wrong answer: {error}"));
                return Err(error);
            }
        };
        connection.dialect = then;
        connection.negotiation.answered(Instant::now());
        connection.offer = None;
        let state = connection.negotiation.state();
        connection.facts.news.tell(ConnectionNews::Signaling(state));
        if !left_over.is_empty() {
            self.take_left_over(peer, &left_over, description).await?;
        }
        self.follow_exchange(peer).await
    }

    /// A client that speaks Plan B sends more tracks than we had sections for. They get some, by an exchange of which it hears nothing.
    async fn take_left_over(
        &mut self,
        peer: u64,
        kinds: &[MediaKind],
        answer: RtcSessionDescription,
    ) -> Result<(), Error> {
        let log = self.log.clone();
        let member = self.member_mut(peer)?;
        let capabilities = member.capabilities.clone();
        let connection = member.connection_mut()?;
        let (Some(transport), Some(capabilities)) = (&mut connection.transport, capabilities) else {
            return Err(Error::NoCapabilities);
        };
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let known = open(transport, kind);
            let more = kinds.iter().filter(|own| **own == kind).count();
            let room = MAX_RECEIVERS.saturating_sub(transport.receiving.len());
            receive(transport, &capabilities, kind, known + more.min(room), Vec::new()).await?;
        }
        let made = transport.handle.create_offer(RtcOfferOptions::default()).await?;
        transport.handle.set_local_description(Some(made.clone())).await?;
        let read = connection.dialect.clone().read_again(&made, answer);
        let set = match read {
            Ok(read) => {
                let set = transport.handle.set_remote_description(read.answer).await;
                set.map(|()| read.then).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        match set {
            Ok(then) => connection.dialect = then,
            Err(error) => {
                // The client's first tracks are there all the same.
                log.warn(|| format!("peer {peer}: not all tracks are taken: {error}"));
                let rollback = Some(RtcSessionDescription::rollback());
                transport.handle.set_local_description(rollback).await?;
            }
        }
        Ok(())
    }

    /// Gives the exchange up that is under way, if one is.
    pub(in crate::room) async fn reset(&mut self, peer: u64) -> Result<(), Error> {
        // Below, the offer stays pending until the next one takes its place. A client that has answered wrongly has often taken our offer and
        // its own answer all the same: to it each section keeps its place and its mid, and a rollback would name them anew.
        let connection = self.member_mut(peer)?.connection_mut()?;
        let changed = connection.negotiation.reset(Instant::now())?;
        if let Some((made, _)) = connection.offer.take() {
            connection.dialect.give_up(&made)?;
        }
        connection.gathering = None;
        if changed {
            let state = connection.negotiation.state();
            connection.facts.news.tell(ConnectionNews::Signaling(state));
        }
        Ok(())
    }

    /// The next offer has new ICE credentials.
    pub(in crate::room) async fn restart_ice(&mut self, peer: u64) -> Result<(), Error> {
        let member = self.member_mut(peer)?;
        member.transport()?.handle.restart_ice().await?;
        member.connection_mut()?.negotiation.mark(Instant::now());
        Ok(())
    }

    /// The most that the client may send of each track, from the next offer.
    pub(in crate::room) fn set_max_bitrate(&mut self, peer: u64, max_bitrate: Option<u64>) -> Result<(), Error> {
        let connection = self.member_mut(peer)?.connection_mut()?;
        if std::mem::replace(&mut connection.settings.max_bitrate, max_bitrate) != max_bitrate {
            connection.negotiation.mark(Instant::now());
        }
        Ok(())
    }

    /// What is under way of an exchange: the state, and whether an offer waits for its answer.
    pub(in crate::room) fn signaling(&mut self, peer: u64) -> Result<(RtcSignalingState, bool), Error> {
        let negotiation = &self.member_mut(peer)?.connection_mut()?.negotiation;
        Ok((negotiation.state(), negotiation.is_busy()))
    }

    /// Our description as the client gets it, with the candidates.
    pub(in crate::room) async fn local_description(&self, peer: u64) -> Result<Option<RtcSessionDescription>, Error> {
        let limits = self.limits(peer)?;
        let Some(connection) = &self.member(peer)?.connection else {
            return Err(Error::Closed("connection"));
        };
        let Some(transport) = &connection.transport else {
            return Ok(None);
        };
        // What was given up is pending below, and here it is not.
        let made = match connection.negotiation.state() {
            RtcSignalingState::HaveLocalOffer => transport.handle.local_description().await?,
            _ => transport.handle.current_local_description().await?,
        };
        made.map(|made| connection.dialect.show(&made, limits)).transpose()
    }

    /// The client's description, as it was set last.
    pub(in crate::room) async fn remote_description(&self, peer: u64) -> Result<Option<RtcSessionDescription>, Error> {
        match self.member(peer)?.transport() {
            Ok(transport) => Ok(transport.handle.remote_description().await?),
            Err(_) => Ok(None),
        }
    }

    fn limits(&self, peer: u64) -> Result<Limits, Error> {
        let connection: Option<&Connection> = self.member(peer)?.connection.as_ref();
        let (ptime, max_ptime) = self.options.packet_times();
        Ok(Limits {
            max_bitrate: connection.and_then(|connection| connection.settings.max_bitrate),
            ptime,
            max_ptime,
        })
    }
}

/// How many sections of a kind the client may send on.
fn open(transport: &Transport, kind: MediaKind) -> usize {
    let all = transport.receiving.iter();
    all.filter(|own| own.kind == kind && own.open).count()
}

/// Has so many open sections of a kind for the client to send on; more than that stay, but closed.
async fn receive(
    transport: &mut Transport,
    capabilities: &MediaCapabilities,
    kind: MediaKind,
    count: usize,
    rids: Vec<String>,
) -> Result<(), Error> {
    if capabilities.codecs(kind).is_empty() {
        return Ok(());
    }
    let mut known = 0;
    for own in transport.receiving.iter_mut().filter(|own| own.kind == kind) {
        known += 1;
        let open = known <= count;
        if own.open != open {
            let direction = if open { Direction::RecvOnly } else { Direction::Inactive };
            transport.handle.set_direction(own.transceiver, direction).await?;
            own.open = open;
        }
    }
    for _ in known..count {
        let init = RtcRtpTransceiverInit {
            receive_rids: rids.clone(),
            ..RtcRtpTransceiverInit::new(Direction::RecvOnly)
        };
        let transceiver = transport.handle.add_transceiver(kind, init).await?;
        transport.receiving.push(Receiving {
            transceiver,
            kind,
            open: true,
        });
    }
    Ok(())
}
