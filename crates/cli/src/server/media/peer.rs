//! One session's peer connection: what it does with media and channels, whichever way it was signalled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::router::{RouterEvent, RouterEvents, RouterOptions};
use antiphon::{
    Congestion, DataChannel, Direction, Error, Event, MediaCapabilities, MediaKind, MediaStreamTrack, OfferedSection,
    Output, Packet, PeerConnection, RtcDataChannelInit, RtcIceCandidateInit, RtcPeerConnectionState,
    RtcRtpTransceiverInit, RtcSessionDescription, RtcSignalingState, Transceiver, TransceiverId,
};
use antiphon_sfu::PayloadTypes;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::figures::{Figures, Meter};
use super::forward::{self, Described, Playable, Publisher};
use super::outlet::{self, Outlet};
use super::player::{self, Stage};
use super::playing::{Playing, Voice, receives, sends, stream_ids, studio_capabilities, track_id, with_repairs};
use super::role::{Outcome, Refused, Role};
use super::setup::Setup;
use super::watching::{LayerChoice, TrackLayers, Watching};
use super::wishes::{Wishes, steer};
use crate::link::{Control, LinkSpec};
use crate::server::chat;
use crate::sources::AudioCodec;

/// What is left to say to a peer is said within this, or not at all.
const FAREWELL: Duration = Duration::from_secs(2);
/// Until the path has said what it carries: enough for all frames of a modest size.
const FIRST_TARGET: u64 = 2_000_000;
/// Packets that may wait on their way back in an echo; more are dropped.
const ECHO_QUEUE: usize = 256;
/// Data channels of one session that are served.
const MAX_CHANNELS: usize = 1_100;
/// The labels of the channels that we make when we offer.
const LABELS: [&str; 3] = ["chat", "file", "echo"];

/// One session's peer connection.
#[derive(Debug)]
pub(in crate::server) struct Peer {
    pub(super) pc: PeerConnection,
    setup: Arc<Setup>,
    session: u64,
    role: Role,
    state: RtcPeerConnectionState,
    /// What each transceiver with a pattern may send, bits a second.
    pub(super) targets: BTreeMap<TransceiverId, watch::Sender<u64>>,
    /// How often the peer has asked for a key frame of the pattern.
    pub(super) key_frame_requests: watch::Sender<u64>,
    /// Transceivers that have a track of ours.
    tracks: Vec<TransceiverId>,
    /// Which track of the publisher each section of a watcher's offer gets; `None`: every section gets what its kind is sent.
    assigned: Option<Vec<Option<usize>>>,
    /// What a transceiver sends now.
    players: BTreeMap<TransceiverId, (Playing, AbortHandle)>,
    /// What this session publishes.
    published: Option<Arc<Publisher>>,
    /// The way back for packets, in an echo.
    returns: BTreeMap<TransceiverId, mpsc::Sender<Packet>>,
    /// What this watcher wishes and has of the tracks that it watches.
    watching: Watching,
    /// Players wait for this.
    connected: watch::Sender<bool>,
    negotiated: bool,
    meter: Meter,
    /// The emulated link that its datagrams go through.
    link: Option<Control>,
    /// Players and channels; they end with the session.
    tasks: JoinSet<()>,
}

impl Peer {
    /// A peer connection for this role, for offers that come and go.
    pub(in crate::server) async fn new(
        setup: Arc<Setup>,
        session: u64,
        role: Role,
        wishes: Wishes,
    ) -> Result<Self, Error> {
        let mut capabilities = match role {
            // Whatever it is, it goes back as it came.
            Role::Echo => MediaCapabilities::forwarding(),
            _ => studio_capabilities(setup.video),
        };
        if wishes.audio == AudioCodec::Pcmu {
            capabilities.audio.sort_by_key(|codec| codec.name != "PCMU");
        }
        let congestion = wishes.congestion;
        Self::with_capabilities(setup, session, role, capabilities, congestion).await
    }

    /// A publisher's or watcher's peer connection: takes the one offer that its session has, whole or not at all. A watcher has at
    /// most the layers of `choice` at first.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(in crate::server) async fn answering(
        setup: Arc<Setup>,
        session: u64,
        role: Role,
        choice: LayerChoice,
        offer: String,
    ) -> Result<Self, Refused> {
        let sections = OfferedSection::read(&offer).map_err(|error| Refused::Offer(error.to_string()))?;
        let assign = |playables: &[Playable]| forward::assign(&sections, playables).map_err(Refused::Offer);
        let (capabilities, assigned) = match &role {
            Role::Publish => (forward::publishing(&sections).map_err(Refused::Offer)?, None),
            Role::Watch(publisher) => {
                let assigned = assign(&publisher.playables().await)?;
                let tracks = assigned
                    .iter()
                    .flatten()
                    .filter_map(|&index| publisher.tracks().get(index));
                let codecs = tracks.flat_map(|track| track.codecs().iter().map(|codec| (track.kind(), codec)));
                (forward::playing(codecs), Some(assigned))
            }
            Role::Pattern | Role::Echo | Role::Data => {
                let capabilities = studio_capabilities(setup.video);
                // Any number of sections can have it.
                let assigned = assign(&forward::repeated(&capabilities, &sections))?;
                (capabilities, Some(assigned))
            }
        };
        let mut peer = Self::with_capabilities(setup, session, role, capabilities, None).await?;
        peer.assigned = assigned;
        peer.watching = Watching::new(choice);
        let answer = peer.answer(offer).await.map_err(|error| match error {
            Error::Closed => Refused::Broken(error),
            error => Refused::Offer(error.to_string()),
        })?;
        let answer = OfferedSection::read(&answer).map_err(|error| Refused::Offer(error.to_string()))?;
        let must = |index: usize| match &peer.assigned {
            Some(assigned) => assigned.get(index).is_some_and(Option::is_some),
            None => true,
        };
        forward::check_answer(&sections, &answer, must).map_err(Refused::Offer)?;
        if matches!(peer.role, Role::Publish) {
            peer.make_publisher(&sections).await?;
        }
        Ok(peer)
    }

    async fn with_capabilities(
        setup: Arc<Setup>,
        session: u64,
        role: Role,
        capabilities: MediaCapabilities,
        congestion: Option<Congestion>,
    ) -> Result<Self, Error> {
        let mut configuration = setup.configuration.clone();
        let settings = &mut configuration.settings;
        if let Some(congestion) = congestion {
            steer(&mut settings.media, congestion);
        }
        settings.capabilities = with_repairs(&role, capabilities).into();
        settings.media.start_bitrate = FIRST_TARGET;
        // Nothing is decoded here: packets are passed on as they come.
        settings.receive_output = Output::Packets;
        let pc = setup.api.peer_connection(configuration).await?;
        let link = setup.link;
        let mut peer = Self {
            pc,
            setup,
            session,
            role,
            state: RtcPeerConnectionState::New,
            targets: BTreeMap::new(),
            key_frame_requests: watch::Sender::new(0),
            tracks: Vec::new(),
            assigned: None,
            players: BTreeMap::new(),
            published: None,
            returns: BTreeMap::new(),
            watching: Watching::default(),
            connected: watch::Sender::new(false),
            negotiated: false,
            meter: Meter::default(),
            link: None,
            tasks: JoinSet::new(),
        };
        if link.is_some() {
            peer.set_link(link).await?;
        }
        Ok(peer)
    }

    /// Puts an emulated link between us and the peer, changes the one that is there, or takes it away.
    pub(in crate::server) async fn set_link(&mut self, spec: Option<LinkSpec>) -> Result<(), Error> {
        match (&self.link, spec) {
            (Some(link), Some(spec)) => link.set(spec),
            (None, Some(spec)) => {
                let (control, wire) = Control::new(Instant::now(), spec);
                self.pc.set_wire(Some(wire)).await?;
                self.link = Some(control);
            }
            (_, None) => {
                self.pc.set_wire(None).await?;
                self.link = None;
            }
        }
        Ok(())
    }

    /// Adds what the role needs before the first offer of ours.
    pub(in crate::server) async fn prepare_offer(&mut self) -> Result<(), Error> {
        if self.role.sends() {
            let direction = if matches!(self.role, Role::Echo) {
                Direction::SendRecv
            } else {
                Direction::SendOnly
            };
            for kind in [MediaKind::Video, MediaKind::Audio] {
                let mut init = RtcRtpTransceiverInit::new(direction);
                init.streams = vec!["antiphon".into()];
                init.track_id = Some(track_id(kind, self.tracks.len()));
                let id = self.pc.add_transceiver(kind, init).await?;
                self.tracks.push(id);
            }
        }
        for label in LABELS {
            let channel = self
                .pc
                .create_data_channel(label, RtcDataChannelInit::default())
                .await?;
            self.serve(channel);
        }
        Ok(())
    }

    /// Makes an offer and sets it.
    pub(in crate::server) async fn offer(&mut self) -> Result<String, Error> {
        self.pc.set_local_description(None).await?;
        self.local_sdp().await
    }

    /// Takes an offer, makes the answer and sets it.
    pub(in crate::server) async fn answer(&mut self, sdp: String) -> Result<String, Error> {
        self.pc
            .set_remote_description(RtcSessionDescription::offer(sdp))
            .await?;
        if self.role.sends() {
            for transceiver in self.pc.transceivers().await? {
                let id = transceiver.id();
                if transceiver.mid().is_none() || transceiver.stopped() || self.tracks.contains(&id) {
                    continue;
                }
                let track = MediaStreamTrack {
                    kind: transceiver.kind(),
                    id: track_id(transceiver.kind(), self.tracks.len()),
                    stream_ids: self.streams_of(&transceiver),
                };
                // Sections come in order, and each of those before has its track: this one takes it.
                let id = self.pc.add_track(track).await?;
                self.tracks.push(id);
                if self.assigned.is_some() && self.assignment(&transceiver).is_none() {
                    self.pc.set_direction(id, Direction::Inactive).await?;
                }
            }
        }
        self.pc.set_local_description(None).await?;
        self.negotiated().await?;
        self.local_sdp().await
    }

    /// Takes the answer to our offer.
    pub(in crate::server) async fn accept(&mut self, sdp: String) -> Result<(), Error> {
        self.pc
            .set_remote_description(RtcSessionDescription::answer(sdp))
            .await?;
        self.negotiated().await
    }

    /// Whether an offer of ours waits for its answer.
    pub(in crate::server) async fn is_offering(&self) -> Result<bool, Error> {
        Ok(self.pc.signaling_state().await? == RtcSignalingState::HaveLocalOffer)
    }

    /// The next offer, which will be needed now, has new ICE credentials.
    pub(in crate::server) async fn restart_ice(&self) -> Result<(), Error> {
        self.pc.restart_ice().await
    }

    /// A candidate of the far end; `None`: no more.
    pub(in crate::server) async fn add_candidate(&mut self, theirs: Option<RtcIceCandidateInit>) -> Result<(), Error> {
        self.pc.add_ice_candidate(theirs).await
    }

    /// The local description with the candidates so far.
    pub(in crate::server) async fn local_sdp(&self) -> Result<String, Error> {
        Ok(self
            .pc
            .local_description()
            .await?
            .map(|description| description.sdp)
            .unwrap_or_default())
    }

    /// Whether there is a candidate of ours that others can send to. Active TCP candidates (RFC 6544 §4.1) name no socket.
    pub(in crate::server) async fn has_way(&self) -> bool {
        let reachable = |line: &str| line.starts_with("a=candidate:") && !line.contains(" tcptype active");
        self.local_sdp().await.is_ok_and(|sdp| sdp.lines().any(reachable))
    }

    /// Starts and stops players to fit what was negotiated.
    async fn negotiated(&mut self) -> Result<(), Error> {
        self.negotiated = true;
        let mut active = Vec::new();
        for transceiver in self.pc.transceivers().await? {
            let id = transceiver.id();
            let sending = transceiver.current_direction().is_some_and(sends) && !transceiver.stopped();
            let Some(parameters) = transceiver.send().filter(|_| sending) else {
                continue;
            };
            let playing = match &self.role {
                Role::Watch(publisher) => {
                    let track = self.assignment(&transceiver);
                    let track = track.and_then(|index| publisher.tracks().get(index).cloned());
                    if let Some(track) = track.filter(|_| !self.watching.has(id)) {
                        let place = (&self.pc.handle(), id);
                        self.watching.sit(publisher, track, place).await?;
                    }
                    continue;
                }
                Role::Pattern => Voice::chosen(&parameters.codecs, self.setup.video)
                    .map(|(payload_type, voice)| Playing::Studio(payload_type, voice)),
                Role::Echo => transceiver
                    .receive()
                    .map(|receive| Playing::Echo(PayloadTypes::between(&receive.codecs, &parameters.codecs))),
                Role::Data | Role::Publish => None,
            };
            let Some(playing) = playing else { continue };
            active.push(id);
            if self.players.get(&id).is_some_and(|(own, _)| *own == playing) {
                continue;
            }
            let outlet = Outlet {
                peer: self.pc.handle(),
                transceiver: id,
                connected: self.connected.subscribe(),
                session: self.session,
            };
            let task = self.play(playing, outlet);
            if let Some((_, old)) = self.players.insert(id, (playing, task)) {
                old.abort();
            }
        }
        self.players.retain(|id, (_, task)| {
            let keep = active.contains(id);
            if !keep {
                task.abort();
            }
            keep
        });
        Ok(())
    }

    /// Starts the task that sends.
    fn play(&mut self, playing: Playing, outlet: Outlet) -> AbortHandle {
        let studio = self.setup.studio.clone();
        match playing {
            Playing::Studio(payload_type, voice) => {
                let transceiver = outlet.transceiver;
                let stage = Stage { outlet, payload_type };
                match voice {
                    Voice::Video(codec) => {
                        let key_frames = self.key_frame_requests.subscribe();
                        let target = self.targets.entry(transceiver);
                        let target = target.or_insert_with(|| watch::Sender::new(FIRST_TARGET)).subscribe();
                        self.tasks
                            .spawn(player::pattern(studio, stage, codec, target, key_frames))
                    }
                    Voice::Audio(codec) => self.tasks.spawn(player::music(studio, stage, codec)),
                }
            }
            Playing::Echo(types) => {
                let (way_back, packets) = mpsc::channel(ECHO_QUEUE);
                self.returns.insert(outlet.transceiver, way_back);
                self.tasks.spawn(outlet::echo(outlet, types, packets))
            }
        }
    }

    /// The publisher that this session is, once its offer is answered.
    pub(in crate::server) fn publisher(&self) -> Option<Arc<Publisher>> {
        self.published.clone()
    }

    /// Makes a track of each section that the peer sends on.
    async fn make_publisher(&mut self, offered: &[OfferedSection]) -> Result<(), Error> {
        let mut sections = Vec::new();
        for transceiver in self.pc.transceivers().await? {
            let receiving = transceiver.current_direction().is_some_and(receives) && !transceiver.stopped();
            let Some(receive) = transceiver.receive().filter(|_| receiving) else {
                continue;
            };
            let section = transceiver.m_line_index().and_then(|index| offered.get(index));
            // As the publisher describes what it sends, as far as the answer has it.
            let codecs = section.map_or(&[][..], |section| &section.codecs).iter();
            let codecs = codecs
                .filter(|codec| receive.codecs.iter().any(|own| own.payload_type == codec.payload_type))
                .cloned()
                .collect();
            let described = Described {
                kind: transceiver.kind(),
                codecs,
                streams: transceiver.remote_streams().to_vec(),
                mid: transceiver.mid().unwrap_or_default().to_owned(),
            };
            sections.push((transceiver.id(), described));
        }
        let router = self.setup.api.router(RouterOptions::default())?;
        self.tasks.spawn(tell_foreign(self.session, router.events()));
        let publisher = Publisher::new(self.session, router, &self.pc.handle(), sections).await?;
        self.published = Some(Arc::new(publisher));
        Ok(())
    }

    /// The track that a watcher's section gets.
    fn assignment(&self, transceiver: &Transceiver) -> Option<usize> {
        let assigned = self.assigned.as_ref()?;
        *assigned.get(transceiver.m_line_index()?)?
    }

    /// The streams of what is sent: those of the track that goes on, so that what was in step stays so.
    fn streams_of(&self, transceiver: &Transceiver) -> Vec<String> {
        let track = match &self.role {
            Role::Watch(publisher) => self
                .assignment(transceiver)
                .and_then(|index| publisher.tracks().get(index)),
            _ => None,
        };
        stream_ids(track.map_or(&[], |track| track.streams()))
    }

    fn serve(&mut self, channel: DataChannel) {
        if self.tasks.len() < MAX_CHANNELS {
            self.tasks
                .spawn(chat::serve(self.setup.hall.clone(), self.session, channel));
        }
    }

    /// Goes on until there is something to signal. Cancel safe.
    pub(in crate::server) async fn next(&mut self) -> Outcome {
        loop {
            // Tasks that have ended leave room.
            while self.tasks.try_join_next().is_some() {}
            let Some(event) = self.pc.next_event().await else {
                return Outcome::Closed;
            };
            if let Some(outcome) = self.handle(event) {
                return outcome;
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::IceCandidate(candidate) => return Some(Outcome::Candidate(candidate)),
            Event::NegotiationNeeded if self.negotiated => return Some(Outcome::Negotiate),
            Event::IceGatheringStateChange(state) if state.as_str() == "complete" => return Some(Outcome::Gathered),
            Event::ConnectionStateChange(state) => {
                tracing::info!(session = self.session, state = state.as_str(), "connection");
                self.state = state;
                if state == RtcPeerConnectionState::Connected {
                    self.connected.send_replace(true);
                }
                if matches!(state, RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed) {
                    return Some(Outcome::Closed);
                }
            }
            Event::PeerEnded(end) => {
                tracing::info!(session = self.session, %end, "the peer has ended the connection");
                return Some(Outcome::Closed);
            }
            Event::DataChannel(channel) => self.serve(channel),
            Event::SendingCeased { cause, .. } => {
                tracing::warn!(session = self.session, ?cause, "a circuit breaker stops what is sent");
            }
            Event::SendingRestarted(_) => tracing::info!(session = self.session, "what was stopped is sent again"),
            Event::TargetBitrate { encoding, bps } => {
                if let Some(target) = self.targets.get(&encoding.transceiver) {
                    target.send_replace(bps);
                }
            }
            Event::Packet { transceiver, packet } => {
                if let Some(way_back) = self.returns.get(&transceiver) {
                    // Full: the far end takes less than it sends, and asks for a key frame when it misses something.
                    _ = way_back.try_send(packet);
                }
            }
            Event::PacketTooLarge { bytes, limit, .. } => tracing::warn!(
                session = self.session,
                bytes,
                limit,
                "packets of the publisher are larger than the path to this watcher carries: they are dropped, and counted as \
                 packetsTooLarge"
            ),
            Event::KeyFrameRequested(encoding) => match &self.role {
                Role::Echo => self.request_key_frame(encoding.transceiver),
                Role::Pattern => self.key_frame_requests.send_modify(|count| *count += 1),
                Role::Data | Role::Publish | Role::Watch(_) => {}
            },
            other => tracing::trace!(session = self.session, event = ?other, "event"),
        }
        None
    }

    /// Asks the peer for a key frame of all that it sends on a transceiver.
    fn request_key_frame(&mut self, transceiver: TransceiverId) {
        let peer = self.pc.handle();
        // In a task of its own: `next` must not wait half-way through an event.
        self.tasks.spawn(async move {
            if let Err(error) = peer.request_key_frame(transceiver).await {
                tracing::debug!(%error, "no key frame requested");
            }
        });
    }

    /// What this watcher wishes of the pictures that it watches, at most.
    pub(in crate::server) async fn choose(&mut self, choice: LayerChoice) {
        self.watching.choose(choice).await;
    }

    /// Which layers there are: of what a watcher watches, with what it has; or of what a publisher publishes.
    pub(in crate::server) async fn layers(&self) -> Vec<TrackLayers> {
        match &self.published {
            Some(publisher) => TrackLayers::of_publisher(publisher).await,
            None => self.watching.layers().await,
        }
    }

    /// Whether the peer is or was connected.
    pub(in crate::server) fn has_connected(&self) -> bool {
        !matches!(
            self.state,
            RtcPeerConnectionState::New | RtcPeerConnectionState::Connecting
        )
    }

    /// Figures for the page.
    pub(in crate::server) async fn figures(&mut self) -> Result<Figures, Error> {
        let report = self.pc.get_stats().await?;
        let mut figures = self.meter.read(Instant::now(), &report);
        figures.connection = self.state.as_str().to_owned();
        figures.link = self.link.as_ref().map(|link| (link.spec(), link.figures()).into());
        Ok(figures)
    }

    /// Says goodbye.
    pub(in crate::server) async fn close(mut self) {
        self.tasks.abort_all();
        self.pc.close().await;
        // The farewell is on its way when the driver has nothing more to tell.
        _ = tokio::time::timeout(FAREWELL, async { while self.pc.next_event().await.is_some() {} }).await;
    }
}

/// Says for the log who sees nothing because the publisher has changed to a codec that it does not take.
async fn tell_foreign(session: u64, mut events: RouterEvents) {
    while let Some(event) = events.next().await {
        if let RouterEvent::CodecForeign { consumer, payload_type } = event {
            tracing::warn!(
                session,
                ?consumer,
                payload_type,
                "the publisher has changed to a codec that this watcher does not take: it sees nothing"
            );
        }
    }
}
