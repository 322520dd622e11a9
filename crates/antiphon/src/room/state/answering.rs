//! The one offer of a client that takes none of ours (WHIP, WHEP), and the answer to it.

use antiphon_jsep::{Direction, OfferedContent, OfferedSection};
use antiphon_peer_connection::{MediaStreamTrack, RtcSessionDescription};
use tokio::sync::oneshot;

use super::State;
use super::members::Receiving;
use crate::handle::PeerHandle;
use crate::room::MAX_RECEIVERS;
use crate::room::error::Error;
use crate::room::log::LogTag;

impl State {
    /// Takes the one offer that a client makes: it sends, or gets what the peer `watched` sends. What is given back ends when all
    /// candidates stand in the answer.
    pub(in crate::room) async fn answer_offer(
        &mut self,
        peer: u64,
        sdp: String,
        watched: Option<u64>,
    ) -> Result<oneshot::Receiver<()>, Error> {
        let sections = OfferedSection::read(&sdp).map_err(Error::Capabilities)?;
        let connection = self.member_mut(peer)?.connection_mut()?;
        connection.negotiation.check_create()?;
        if connection.settings.subscribe || connection.dialect.is_plan_b() {
            return Err(Error::OfferFromClient {
                state: connection.negotiation.state(),
            });
        }
        if let Some(watched) = watched {
            self.member(watched)?;
        }
        self.set_capabilities(peer, &sdp).await?;
        let handle = self.member(peer)?.transport()?.handle.clone();
        handle.set_remote_description(RtcSessionDescription::offer(sdp)).await?;
        match watched {
            Some(watched) => self.place_watched(peer, watched, &handle, &sections).await?,
            None => self.take_offered(peer, &handle).await?,
        }
        handle.set_local_description(None).await?;
        let answer = handle.local_description().await?.map(|answer| answer.sdp);
        let answered = OfferedSection::read(&answer.unwrap_or_default()).map_err(Error::Capabilities)?;
        if answered.iter().all(|section| section.rejected) {
            // There is nothing to gather candidates for, ever.
            return Err(Error::NothingInCommon);
        }
        let waiting = self.gathered(peer).await?;
        self.log
            .step(LogTag::Info, || format!("peer {peer}: its offer is answered"));
        self.follow_exchange(peer).await?;
        Ok(waiting)
    }

    /// The client may send on all sections of its offer.
    async fn take_offered(&mut self, peer: u64, handle: &PeerHandle) -> Result<(), Error> {
        for transceiver in handle.transceivers().await? {
            let receiving = &mut self.member_mut(peer)?.transport_mut()?.receiving;
            if receiving.len() >= MAX_RECEIVERS {
                return Err(Error::TooMany {
                    what: "tracks of one peer",
                    max: MAX_RECEIVERS,
                });
            }
            receiving.push(Receiving {
                transceiver: transceiver.id(),
                kind: transceiver.kind(),
                open: true,
            });
        }
        Ok(())
    }

    /// Each section on which the client receives gets the next track of its kind, as far as there are some.
    async fn place_watched(
        &mut self,
        peer: u64,
        watched: u64,
        handle: &PeerHandle,
        sections: &[OfferedSection],
    ) -> Result<(), Error> {
        let receivers = self.member(watched)?.receivers.iter();
        let mut left: Vec<_> = receivers.map(|(&id, receiver)| (id, receiver.facts.kind)).collect();
        for transceiver in handle.transceivers().await? {
            let section = transceiver.m_line_index().and_then(|index| sections.get(index));
            let receives = section.is_some_and(|section| {
                let is_media = matches!(section.content, OfferedContent::Media(_));
                is_media && !section.rejected && matches!(section.direction, Direction::RecvOnly | Direction::SendRecv)
            });
            let next = left.iter().position(|(_, kind)| *kind == transceiver.kind());
            let Some(next) = next.filter(|_| receives) else {
                handle.set_direction(transceiver.id(), Direction::Inactive).await?;
                continue;
            };
            let (receiver, kind) = left.remove(next);
            let (sender, decodable) = self.new_sender(peer, watched, receiver)?;
            if !decodable {
                handle.set_direction(transceiver.id(), Direction::Inactive).await?;
                continue;
            }
            let track = MediaStreamTrack {
                kind,
                id: format!("sender-{sender}"),
                stream_ids: self.streams_of(watched, receiver),
            };
            let id = transceiver.id();
            let streams = track.stream_ids.clone();
            handle.set_direction(id, Direction::SendOnly).await?;
            handle.replace_track(id, Some(track)).await?;
            handle.set_streams(id, streams).await?;
            if let Some(sender) = self.member_mut(peer)?.senders.get_mut(&sender) {
                sender.transceiver = Some(id);
            }
        }
        Ok(())
    }
}
