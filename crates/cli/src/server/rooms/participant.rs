//! One participant of a room: what it asks for, what it hears, and the exchange of offers and answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon::room::{
    Events, OfferOptions, Peer, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions, SenderDelivery,
};
use antiphon::{MediaKind, RtcSessionDescription, RtcSignalingState};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::bounds::{MAX_LINE, MAX_SOUND, MAX_VIDEO};
use super::directory::{Rooms, Seat};
use super::leaving::{Leaving, tell_nodes};
use super::message::{Join, News, PictureOf, Reply, Source, TrackOf};
use super::pace::{Pace, Verdict};
use super::refusal::Refusal;
use crate::token::{Right, Rights};

/// Wrong answers in a row after which a participant is sent away.
const MAX_WRONG_ANSWERS: u32 = 5;
/// How often a page is told how its pictures do, if there is something new.
const FIGURES: Duration = Duration::from_secs(2);
/// The layers that a browser is asked for, the smallest first.
const LAYERS: [&str; 3] = ["l", "m", "h"];
/// What the offers let those send who only watch.
const NOTHING: OfferOptions = OfferOptions {
    offer_to_receive_audio: 0,
    offer_to_receive_video: 0,
};

/// A participant of a room.
#[derive(Debug)]
pub(in crate::server) struct Participant {
    seat: Seat,
    pc: RtcPeerConnection,
    events: Events<RtcPeerConnectionEvent>,
    news: broadcast::Receiver<News>,
    rights: Rights,
    /// What the next offer lets it send.
    wanted: OfferOptions,
    /// Whether an offer is due that an exchange under way holds up.
    due: bool,
    wrong_answers: u32,
    /// Of the exchanges that it asks for.
    exchanges: Pace,
    figures: Interval,
    /// What it was told of its pictures last.
    pictures: Vec<PictureOf>,
}

/// What happens to a participant.
#[derive(Debug)]
pub(in crate::server) enum Step {
    /// It is to be told this.
    News(News),
    /// It is time for [`Participant::offer`].
    Negotiate,
    /// It is time for [`Participant::pictures`].
    Figures,
    /// It is over.
    Closed,
}

impl Participant {
    /// Somebody comes in; `session` is a number that nobody else has. What the page hears first, and the participant.
    pub(in crate::server) async fn join(rooms: &Rooms, session: u64, join: Join) -> Result<(Self, Reply), Refusal> {
        let joined = Self::enter(rooms, session, join).await;
        joined.inspect_err(|refusal| rooms.joins_refused.count(refusal.cause()))
    }

    async fn enter(rooms: &Rooms, session: u64, join: Join) -> Result<(Self, Reply), Refusal> {
        let (seat, news, rights) = rooms.enter(session, &join)?;
        let mut leaving = Leaving::sit(rooms, &seat).await?;
        let peer = leaving.peer();
        let mut options = RtcPeerConnectionOptions::new(peer);
        options.simulcast = LAYERS.map(str::to_owned).into();
        options.subscribe = rights.watch;
        let pc = RtcPeerConnection::new(options).await.map_err(Refusal::Broken)?;
        let events = pc.events();
        pc.set_capabilities(join.sdp).await.map_err(Refusal::Capabilities)?;
        let joined = Reply::Joined {
            room: join.room,
            you: seat.hub.id_of(session),
            participants: seat.hub.people(),
        };
        leaving.stay();
        let mut figures = interval(FIGURES);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let participant = Self {
            seat,
            pc,
            events,
            news,
            rights,
            wanted: if rights.publish {
                OfferOptions::default()
            } else {
                NOTHING
            },
            due: false,
            wrong_answers: 0,
            exchanges: Pace::exchanges(Instant::now()),
            figures,
            pictures: Vec::new(),
        };
        Ok((participant, joined))
    }

    /// Goes on until there is something to tell. Cancel safe.
    pub(in crate::server) async fn next(&mut self) -> Step {
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(RtcPeerConnectionEvent::NegotiationNeeded) => return Step::Negotiate,
                    Some(RtcPeerConnectionEvent::Close(_)) | None => return Step::Closed,
                    Some(_) => {}
                },
                news = self.news.recv() => match news {
                    Ok(news) => return Step::News(news),
                    // It has missed something, and would go on with a wrong picture of the room.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Step::Closed,
                },
                _ = self.figures.tick() => return Step::Figures,
            }
        }
    }

    /// The next offer; `None` while the last one waits for its answer, after which it comes by [`Self::answer`].
    pub(in crate::server) async fn offer(&mut self) -> Result<Option<Reply>, Refusal> {
        let state = self.pc.signaling_state().await.map_err(Refusal::Broken)?;
        if state != RtcSignalingState::Stable {
            self.due = true;
            return Ok(None);
        }
        self.due = false;
        // There is nothing to exchange before somebody else sends something: the room tells when.
        if self.wanted == NOTHING && self.pc.peer().rtp_senders().await.map_err(Refusal::Broken)?.is_empty() {
            let described = self.pc.local_description().await.map_err(Refusal::Broken)?;
            if described.is_none() {
                return Ok(None);
            }
        }
        let made = async {
            let offer = self.pc.create_offer(self.wanted).await?;
            self.pc.set_local_description(offer).await?;
            self.pc.local_description().await
        };
        let offer = made.await.map_err(Refusal::Broken)?;
        Ok(offer.map(|offer| Reply::Offer { sdp: offer.sdp }))
    }

    /// Takes an answer; `screen` is the section that carries the screen. What the page hears: whose track is where, and an offer if one is due.
    pub(in crate::server) async fn answer(&mut self, sdp: String, screen: Option<&str>) -> Result<Vec<Reply>, Refusal> {
        let state = self.pc.signaling_state().await.map_err(Refusal::Broken)?;
        if state != RtcSignalingState::HaveLocalOffer {
            return Err(Refusal::NoOffer);
        }
        if let Err(error) = self.pc.set_remote_description(RtcSessionDescription::answer(sdp)).await {
            self.wrong_answers += 1;
            // The room says then that an offer is needed.
            self.pc.reset().await.map_err(Refusal::Broken)?;
            return Err(Refusal::Answer(error));
        }
        self.wrong_answers = 0;
        let tracks = self.tracks(screen).await.map_err(Refusal::Broken)?;
        let offer = if self.due { self.offer().await? } else { None };
        Ok([tracks].into_iter().chain(offer).collect())
    }

    /// Whether it sends nothing but wrong answers.
    pub(in crate::server) fn is_hopeless(&self) -> bool {
        self.wrong_answers >= MAX_WRONG_ANSWERS
    }

    /// So many tracks are to be sent from now on. An offer, if that is something new.
    pub(in crate::server) async fn publish(&mut self, audio: u8, video: u8) -> Result<Option<Reply>, Refusal> {
        if audio > MAX_SOUND || video > MAX_VIDEO {
            return Err(Refusal::TooManyTracks);
        }
        let wanted = OfferOptions {
            offer_to_receive_audio: audio,
            offer_to_receive_video: video,
        };
        if wanted != NOTHING && !self.rights.publish {
            return Err(Refusal::NoRight(Right::Publish));
        }
        if self.wanted == wanted {
            return Ok(None);
        }
        self.may_exchange()?;
        self.wanted = wanted;
        self.offer().await
    }

    /// How its pictures do, as far as it is not what the page was told last.
    pub(in crate::server) async fn pictures(&mut self) -> Option<Reply> {
        // Of a peer that is closed there is nothing to tell; that it is over comes by itself.
        let all = self.pc.peer().deliveries().await.unwrap_or_default();
        let now: Vec<PictureOf> = all.into_iter().filter_map(picture).collect();
        let news: Vec<PictureOf> = now.iter().filter(|own| !self.pictures.contains(own)).cloned().collect();
        self.pictures = now;
        (!news.is_empty()).then_some(Reply::Pictures { pictures: news })
    }

    /// The track in a section is to have this layer at most.
    pub(in crate::server) async fn prefer(&mut self, mid: &str, layer: Option<u8>) -> Result<(), Refusal> {
        for sender in self.pc.peer().rtp_senders().await.map_err(Refusal::Broken)? {
            // Of one that has ended meanwhile there is nothing to choose.
            let parameters = sender.rtp_parameters().await;
            if parameters.is_ok_and(|own| own.mid.as_deref() == Some(mid)) {
                let chosen = sender.set_preferred_layers(layer.unwrap_or(u8::MAX), u8::MAX);
                return chosen.await.map_err(Refusal::Broken);
            }
        }
        // It has ended while the page was choosing.
        Ok(())
    }

    /// The next offer, which is due then, has new credentials.
    pub(in crate::server) async fn restart_ice(&mut self) -> Result<(), Refusal> {
        self.may_exchange()?;
        self.pc.restart_ice().await.map_err(Refusal::Broken)
    }

    fn may_exchange(&mut self) -> Result<(), Refusal> {
        match self.exchanges.take(Instant::now()) {
            Verdict::Fits => Ok(()),
            Verdict::TooFast | Verdict::Flood => Err(Refusal::TooOften),
        }
    }

    /// Tells the others what is muted.
    pub(in crate::server) async fn mute(&mut self, audio: bool, video: bool) {
        self.seat.hub.mute(self.seat.id, audio, video);
        tell_nodes(&self.seat, self.pc.peer()).await;
    }

    /// Says something to all who are there.
    pub(in crate::server) async fn say(&mut self, text: &str) -> Result<(), Refusal> {
        let text = text.trim();
        if !(1..=MAX_LINE).contains(&text.chars().count()) {
            return Err(Refusal::Line);
        }
        self.seat.hub.say(self.seat.id, text.to_owned());
        // Those on other nodes hear it too, or the speaker hears that they do not.
        self.pc.peer().say(text).await.map_err(Refusal::of)
    }

    /// Whose tracks are in which sections, as the exchange that has just ended says.
    async fn tracks(&mut self, screen: Option<&str>) -> Result<Reply, antiphon::room::Error> {
        let peer: &Peer = self.pc.peer();
        let mut screens = BTreeMap::new();
        for receiver in peer.rtp_receivers().await? {
            let parameters = receiver.rtp_parameters().await?;
            if screen.is_some() && parameters.mid.as_deref() == screen {
                screens.insert(receiver.id(), parameters.track.clone());
            }
        }
        let hub = &self.seat.hub;
        if hub.set_screens(self.seat.id, screens) {
            tell_nodes(&self.seat, peer).await;
        }
        let mut tracks = Vec::new();
        for sender in peer.rtp_senders().await? {
            // One of those that have ended meanwhile has no section, and no receiver.
            let Ok(parameters) = sender.rtp_parameters().await else {
                continue;
            };
            let Some(mid) = parameters.mid.clone() else { continue };
            let receiver = sender.associated_rtp_receiver();
            let owner = receiver.peer();
            let is_screen = hub.is_screen(&receiver).await;
            let source = match sender.kind() {
                MediaKind::Audio => Source::Microphone,
                MediaKind::Video if is_screen => Source::Screen,
                MediaKind::Video => Source::Camera,
            };
            tracks.push(TrackOf {
                mid,
                participant: owner.name().to_owned(),
                source,
            });
        }
        Ok(Reply::Tracks { tracks })
    }
}

/// What a page is told of a track, if that is a picture.
fn picture(own: SenderDelivery) -> Option<PictureOf> {
    let mid = own.mid.filter(|_| own.kind == MediaKind::Video)?;
    let known = own
        .encodings
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    Some(PictureOf {
        mid,
        layer: own.delivery.layer.map(|layer| layer.encoding),
        score: own.delivery.score,
        layers: own.encodings[..known].iter().map(|score| score.unwrap_or(0)).collect(),
        starved: own.is_starved,
    })
}

impl Drop for Participant {
    fn drop(&mut self) {
        Leaving::of(self.pc.peer().clone());
    }
}
