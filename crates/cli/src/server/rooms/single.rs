//! Who takes part in a room by one offer of its own: it sends (WHIP), or gets what one participant sends (WHEP).

use std::collections::BTreeMap;

use antiphon::room::{
    Events, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions, Transport, TransportEvent,
};
use antiphon::{Direction, MediaKind, OfferedContent, OfferedSection, RtcDtlsTransportState};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::bounds::{MAX_SOUND, MAX_VIDEO};
use super::directory::{Rooms, Seat};
use super::leaving::{Leaving, tell_nodes};
use super::message::{Join, News};
use super::refusal::Refusal;
use crate::token::Right;

/// Who has made its one offer, and has its answer.
#[derive(Debug)]
pub(in crate::server) struct Single {
    /// Free again when this is dropped.
    seat: Seat,
    _peer: Leaving,
    events: Events<RtcPeerConnectionEvent>,
    transport: Option<Events<TransportEvent>>,
    has_connected: bool,
    news: broadcast::Receiver<News>,
    /// Whom it watches, by id.
    watched: Option<String>,
}

impl Single {
    /// Somebody comes to send. `session` is a number that nobody else has. What comes back is the answer too.
    pub(in crate::server) async fn publish(rooms: &Rooms, session: u64, join: Join) -> Result<(Self, String), Refusal> {
        let made = Self::begin(rooms, session, &join, None).await;
        made.inspect_err(|refusal| rooms.joins_refused.count(refusal.cause()))
    }

    /// Somebody comes to get what `participant` sends, by its name or its id.
    pub(in crate::server) async fn watch(
        rooms: &Rooms,
        session: u64,
        join: Join,
        participant: &str,
    ) -> Result<(Self, String), Refusal> {
        let made = Self::begin(rooms, session, &join, Some(participant)).await;
        made.inspect_err(|refusal| rooms.joins_refused.count(refusal.cause()))
    }

    async fn begin(
        rooms: &Rooms,
        session: u64,
        join: &Join,
        participant: Option<&str>,
    ) -> Result<(Self, String), Refusal> {
        let offered = OfferedSection::read(&join.sdp).map_err(|error| Refusal::Offer(error.to_string()))?;
        match participant {
            None => check_sent(&offered)?,
            Some(participant) => {
                // Who may not come in does not learn who is there, and nobody begins a room by watching.
                rooms.may_look(Some(&join.room), join.token.as_deref())?;
                let hub = rooms.hub(&join.room).ok_or(Refusal::NobodyThere)?;
                hub.find(participant).ok_or(Refusal::NobodyThere)?;
            }
        }
        let (seat, news, rights) = rooms.enter(session, join)?;
        match participant {
            None if !rights.publish => return Err(Refusal::NoRight(Right::Publish)),
            Some(_) if !rights.watch => return Err(Refusal::NoRight(Right::Watch)),
            _ => {}
        }
        let own = Leaving::sit(rooms, &seat).await?;
        let room = seat.hub.forwarding().ok_or(Refusal::NobodyThere)?;
        let mut options = RtcPeerConnectionOptions::new(own.peer());
        options.subscribe = false;
        let pc = RtcPeerConnection::new(options).await.map_err(Refusal::Broken)?;
        let events = pc.events();
        let watched = match participant {
            None => None,
            Some(participant) => {
                let id = seat.hub.find(participant).ok_or(Refusal::NobodyThere)?;
                Some(room.get_peer(id).await.ok_or(Refusal::NobodyThere)?)
            }
        };
        let answer = pc.answer_offer(join.sdp.as_str(), watched.as_ref()).await;
        let answer = answer.map_err(|error| Refusal::Offer(error.to_string()))?.sdp;
        check_answered(&offered, &answer, watched.is_some())?;
        if watched.is_none() {
            seat.hub.set_screens(seat.id, second_pictures(own.peer()).await?);
            tell_nodes(&seat, own.peer()).await;
        }
        let transports = own.peer().transports().await.map_err(Refusal::Broken)?;
        let single = Self {
            seat,
            _peer: own,
            events,
            transport: transports.first().map(Transport::events),
            has_connected: false,
            news,
            watched: watched.map(|peer| peer.name().to_owned()),
        };
        Ok((single, answer))
    }

    /// Goes on until it is over. Cancel safe.
    pub(in crate::server) async fn ended(&mut self) {
        loop {
            tokio::select! {
                event = self.events.next() => {
                    if matches!(event, Some(RtcPeerConnectionEvent::Close(_)) | None) {
                        return;
                    }
                }
                event = next(&mut self.transport) => match event {
                    Some(TransportEvent::DtlsStateChange(RtcDtlsTransportState::Connected)) => self.has_connected = true,
                    Some(_) => {}
                    None => self.transport = None,
                },
                news = self.news.recv() => match news {
                    // Who watches somebody who has left has nothing more to see.
                    Ok(News::Left { id }) if Some(&id) == self.watched.as_ref() => return,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        // That it has left may be among what was missed.
                        if self.watched.as_ref().is_some_and(|id| !self.seat.hub.is_here(id)) {
                            return;
                        }
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Whether it is or was connected.
    pub(in crate::server) fn has_connected(&self) -> bool {
        self.has_connected
    }
}

async fn next(events: &mut Option<Events<TransportEvent>>) -> Option<TransportEvent> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn sends(section: &OfferedSection) -> Option<MediaKind> {
    let OfferedContent::Media(kind) = section.content else {
        return None;
    };
    let sends = !section.rejected && matches!(section.direction, Direction::SendOnly | Direction::SendRecv);
    sends.then_some(kind)
}

/// Whether an offer sends something, and not more than a participant may.
fn check_sent(offered: &[OfferedSection]) -> Result<(), Refusal> {
    let count = |kind| offered.iter().filter(|section| sends(section) == Some(kind)).count();
    let (sound, pictures) = (count(MediaKind::Audio), count(MediaKind::Video));
    if sound > usize::from(MAX_SOUND) || pictures > usize::from(MAX_VIDEO) {
        return Err(Refusal::TooManyTracks);
    }
    if sound + pictures == 0 {
        return Err(Refusal::Offer("no section of it sends audio or video".to_owned()));
    }
    Ok(())
}

/// An offer to send is taken whole (RFC 9725 §4.2); of one to watch something is to come.
fn check_answered(offered: &[OfferedSection], answer: &str, watches: bool) -> Result<(), Refusal> {
    let answered = OfferedSection::read(answer).map_err(|error| Refusal::Offer(error.to_string()))?;
    if watches {
        return match answered.iter().any(|section| sends(section).is_some()) {
            true => Ok(()),
            false => Err(Refusal::NothingToWatch),
        };
    }
    for (theirs, ours) in offered.iter().zip(&answered) {
        if sends(theirs).is_some() && ours.rejected {
            return Err(Refusal::Offer(format!(
                "section {} has none of the codecs of rooms, which are Opus, VP8 and H.264",
                theirs.label
            )));
        }
    }
    Ok(())
}

/// What sends two pictures sends the screen second, as the page does.
async fn second_pictures(peer: &antiphon::room::Peer) -> Result<BTreeMap<u64, Option<String>>, Refusal> {
    let receivers = peer.rtp_receivers().await.map_err(Refusal::Broken)?;
    let pictures = receivers.iter().filter(|receiver| receiver.kind() == MediaKind::Video);
    let mut screens = BTreeMap::new();
    for receiver in pictures.skip(1) {
        let parameters = receiver.rtp_parameters().await.map_err(Refusal::Broken)?;
        screens.insert(receiver.id(), parameters.track.clone());
    }
    Ok(screens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sections: &str) -> Vec<OfferedSection> {
        let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
        OfferedSection::read(&format!("{head}{sections}")).unwrap()
    }

    #[test]
    fn who_sends_sends_something_and_not_too_much() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n";
        assert!(check_sent(&read(&format!("{audio}{video}{video}"))).is_ok());
        assert!(matches!(
            check_sent(&read(&audio.repeat(2))),
            Err(Refusal::TooManyTracks)
        ));
        assert!(matches!(
            check_sent(&read(&video.repeat(3))),
            Err(Refusal::TooManyTracks)
        ));
        let receives = video.replace("sendonly", "recvonly");
        assert!(matches!(check_sent(&read(&receives)), Err(Refusal::Offer(_))));
    }
}
