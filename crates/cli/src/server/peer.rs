//! One session's peer connection: what it does with media and channels, whichever way it was signalled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::{
    DataChannel, Direction, Error, Event, MediaKind, MediaStreamTrack, Output, Packet, PeerConnection,
    RtcDataChannelInit, RtcIceCandidateInit, RtcPeerConnectionState, RtcRtpTransceiverInit, RtcSessionDescription,
    RtcSignalingState, TransceiverId,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::figures::{Figures, Meter};
use super::player::{self, Outlet};
use super::room::{Publisher, Room};
use super::signal::Sound;
use super::{channels, signal};
use crate::sources::AudioCodec;

/// What is left to say to a peer is said within this, or not at all.
const FAREWELL: Duration = Duration::from_secs(2);
/// A publisher that was asked for a key frame is not asked again sooner.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(500);
/// Until the path has said what it carries: enough for all frames of a modest size.
const FIRST_TARGET: u64 = 2_000_000;
/// Packets that may wait on their way back in an echo; more are dropped.
const ECHO_QUEUE: usize = 256;
/// Data channels of one session that are served.
const MAX_CHANNELS: usize = 1_100;
/// The labels of the channels that we make when we offer.
const LABELS: [&str; 3] = ["chat", "file", "echo"];

/// Why a session without a candidate of ours ends.
pub(super) const NO_WAY: &str =
    "nothing can reach this server: it could open no socket (ulimit -n, --ports), or no relay answers (--relay-only)";

/// What a peer's media is for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// It sees our pattern.
    Pattern,
    /// It gets its own media back.
    Echo,
    /// No media.
    Data,
    /// It sends to everybody (WHIP).
    Publish(Arc<Publisher>),
    /// It sees a publisher (WHEP).
    Watch(Arc<Publisher>),
}

impl Role {
    /// Whether we send; only then are tracks added.
    fn sends(&self) -> bool {
        matches!(self, Self::Pattern | Self::Echo | Self::Watch(_))
    }
}

impl From<signal::Mode> for Role {
    fn from(mode: signal::Mode) -> Self {
        match mode {
            signal::Mode::Watch => Self::Pattern,
            signal::Mode::Echo => Self::Echo,
            signal::Mode::Data => Self::Data,
        }
    }
}

/// What the signalling has to pass on.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A candidate of ours; `None`: no more.
    Candidate(Option<RtcIceCandidateInit>),
    /// An offer should be made.
    Negotiate,
    /// All candidates are gathered.
    Gathered,
    /// It is over.
    Closed,
}

/// One session's peer connection.
#[derive(Debug)]
pub(super) struct Peer {
    pc: PeerConnection,
    room: Arc<Room>,
    session: u64,
    role: Role,
    state: RtcPeerConnectionState,
    target: watch::Sender<u64>,
    /// Transceivers that have a track of ours.
    tracks: Vec<TransceiverId>,
    /// Which kind a transceiver is of, for packets on the way.
    kinds: BTreeMap<TransceiverId, MediaKind>,
    players: BTreeMap<TransceiverId, (u8, AbortHandle)>,
    /// The way back for packets, in an echo.
    returns: BTreeMap<TransceiverId, mpsc::Sender<Packet>>,
    key_frames: Option<mpsc::Receiver<()>>,
    /// A watcher waits for a key frame of this publisher: when it was last asked for one.
    asked: Option<Instant>,
    /// Players wait for this.
    connected: watch::Sender<bool>,
    negotiated: bool,
    meter: Meter,
    /// Players and channels; they end with the session.
    tasks: JoinSet<()>,
}

impl Peer {
    /// A peer connection for this role. Requests for key frames of a publisher come from `key_frames`.
    pub(super) async fn new(
        room: Arc<Room>,
        session: u64,
        role: Role,
        sound: Sound,
        key_frames: Option<mpsc::Receiver<()>>,
    ) -> Result<Self, Error> {
        let mut configuration = room.configuration.clone();
        let settings = &mut configuration.settings;
        // One video codec and two for sound: what we encode ourselves, and can pass from any publisher to any watcher.
        settings.capabilities.video.retain(|codec| codec.name == "VP8");
        settings
            .capabilities
            .audio
            .retain(|codec| ["opus", "PCMU"].contains(&codec.name.as_str()));
        if sound == Sound::Pcmu {
            settings.capabilities.audio.sort_by_key(|codec| codec.name != "PCMU");
        }
        settings.media.start_bitrate = FIRST_TARGET;
        // Nothing is decoded here: packets are passed on as they come.
        settings.receive_output = Output::Packets;
        let pc = room.api.peer_connection(configuration).await?;
        Ok(Self {
            pc,
            room,
            session,
            role,
            state: RtcPeerConnectionState::New,
            target: watch::Sender::new(FIRST_TARGET),
            tracks: Vec::new(),
            kinds: BTreeMap::new(),
            players: BTreeMap::new(),
            returns: BTreeMap::new(),
            key_frames,
            asked: None,
            connected: watch::Sender::new(false),
            negotiated: false,
            meter: Meter::default(),
            tasks: JoinSet::new(),
        })
    }

    /// Adds what the role needs before the first offer of ours.
    pub(super) async fn prepare_offer(&mut self) -> Result<(), Error> {
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
    pub(super) async fn offer(&mut self) -> Result<String, Error> {
        self.pc.set_local_description(None).await?;
        self.local_sdp().await
    }

    /// Takes an offer, makes the answer and sets it.
    pub(super) async fn answer(&mut self, sdp: String) -> Result<String, Error> {
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
                    stream_ids: vec!["antiphon".into()],
                };
                let id = self.pc.add_track(track).await?;
                self.tracks.push(id);
            }
        }
        self.pc.set_local_description(None).await?;
        self.negotiated().await?;
        self.local_sdp().await
    }

    /// Takes the answer to our offer.
    pub(super) async fn accept(&mut self, sdp: String) -> Result<(), Error> {
        self.pc
            .set_remote_description(RtcSessionDescription::answer(sdp))
            .await?;
        self.negotiated().await
    }

    /// Whether an offer of ours waits for its answer.
    pub(super) async fn is_offering(&self) -> Result<bool, Error> {
        Ok(self.pc.signaling_state().await? == RtcSignalingState::HaveLocalOffer)
    }

    /// The next offer, which will be needed now, has new ICE credentials.
    pub(super) async fn restart_ice(&self) -> Result<(), Error> {
        self.pc.restart_ice().await
    }

    /// A candidate of the far end; `None`: no more.
    pub(super) async fn add_candidate(&mut self, candidate: Option<RtcIceCandidateInit>) -> Result<(), Error> {
        self.pc.add_ice_candidate(candidate).await
    }

    /// The local description with the candidates so far.
    pub(super) async fn local_sdp(&self) -> Result<String, Error> {
        Ok(self
            .pc
            .local_description()
            .await?
            .map(|description| description.sdp)
            .unwrap_or_default())
    }

    /// Whether there is a candidate of ours that others can send to. Active TCP candidates (RFC 6544 §4.1) name no socket.
    pub(super) async fn has_way(&self) -> bool {
        let reachable = |line: &str| line.starts_with("a=candidate:") && !line.contains(" tcptype active");
        self.local_sdp().await.is_ok_and(|sdp| sdp.lines().any(reachable))
    }

    /// Starts and stops players to fit what was negotiated.
    async fn negotiated(&mut self) -> Result<(), Error> {
        self.negotiated = true;
        let mut active = Vec::new();
        for transceiver in self.pc.transceivers().await? {
            let (id, kind) = (transceiver.id(), transceiver.kind());
            self.kinds.insert(id, kind);
            let sending = transceiver.current_direction().is_some_and(sends) && !transceiver.stopped();
            let Some(parameters) = transceiver.send().filter(|_| sending) else {
                continue;
            };
            let Some((payload_type, codec)) = parameters
                .codecs
                .iter()
                .find_map(|c| Some((c.payload_type, Voice::named(&c.name)?)))
            else {
                continue;
            };
            active.push(id);
            if self
                .players
                .get(&id)
                .is_some_and(|(playing, _)| *playing == payload_type)
            {
                continue;
            }
            let outlet = Outlet {
                peer: self.pc.handle(),
                transceiver: id,
                payload_type,
                connected: self.connected.subscribe(),
            };
            let studio = self.room.studio.clone();
            let task = match (&self.role, codec) {
                (Role::Pattern, Voice::Vp8) => {
                    self.tasks
                        .spawn(player::pattern(studio, outlet, self.target.subscribe()))
                }
                (Role::Pattern, Voice::Opus) => self.tasks.spawn(player::music(studio, outlet, AudioCodec::Opus)),
                (Role::Pattern, Voice::Pcmu) => self.tasks.spawn(player::music(studio, outlet, AudioCodec::Pcmu)),
                (Role::Watch(publisher), _) => self.tasks.spawn(player::relay(publisher.clone(), kind, outlet)),
                (Role::Echo, _) => {
                    let (way_back, packets) = mpsc::channel(ECHO_QUEUE);
                    self.returns.insert(id, way_back);
                    self.tasks.spawn(player::echo(outlet, packets))
                }
                (Role::Data | Role::Publish(_), _) => continue,
            };
            if let Some((_, old)) = self.players.insert(id, (payload_type, task)) {
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

    fn serve(&mut self, channel: DataChannel) {
        if self.tasks.len() < MAX_CHANNELS {
            self.tasks
                .spawn(channels::serve(self.room.clone(), self.session, channel));
        }
    }

    /// Goes on until there is something to signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            // Tasks that have ended leave room.
            while self.tasks.try_join_next().is_some() {}
            let event = tokio::select! {
                event = self.pc.next_event() => event,
                Some(()) = wanted(&mut self.key_frames) => {
                    self.request_key_frames();
                    continue;
                }
            };
            let Some(event) = event else { return Outcome::Closed };
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
            Event::DtlsStateChange(state) if state.as_str() == "closed" => return Some(Outcome::Closed),
            Event::DataChannel(channel) => self.serve(channel),
            Event::TargetBitrate(bps) => _ = self.target.send_replace(bps),
            Event::Track { transceiver, kind, .. } => _ = self.kinds.insert(transceiver, kind),
            Event::Packet { transceiver, packet } => match &self.role {
                Role::Publish(publisher) => {
                    if let Some(&kind) = self.kinds.get(&transceiver) {
                        let key_frame = packet.key_frame;
                        publisher.forward(kind, packet);
                        if kind == MediaKind::Video {
                            self.see_video(key_frame);
                        }
                    }
                }
                Role::Echo => {
                    if let Some(way_back) = self.returns.get(&transceiver) {
                        // Full: the far end takes less than it sends, and asks for a key frame when it misses something.
                        _ = way_back.try_send(packet);
                    }
                }
                Role::Pattern | Role::Data | Role::Watch(_) => {}
            },
            Event::KeyFrameRequested(transceiver) => match &self.role {
                Role::Echo => self.request_key_frame(transceiver),
                Role::Watch(publisher) => publisher.request_key_frame(),
                // Every frame of the pattern is a key frame.
                Role::Pattern | Role::Data | Role::Publish(_) => {}
            },
            other => tracing::trace!(session = self.session, event = ?other, "event"),
        }
        None
    }

    fn request_key_frame(&mut self, transceiver: TransceiverId) {
        let peer = self.pc.handle();
        // In a task of its own: `next` must not wait half-way through an event.
        self.tasks.spawn(async move {
            if let Err(error) = peer.request_key_frame(transceiver).await {
                tracing::debug!(%error, "no key frame requested");
            }
        });
    }

    /// A packet of a publisher went by: if it is not what the watchers wait for, it is time to ask again.
    fn see_video(&mut self, key_frame: bool) {
        if key_frame {
            self.asked = None;
        } else if self.asked.is_some_and(|at| at.elapsed() >= KEY_FRAME_PATIENCE) {
            self.request_key_frames();
        }
    }

    fn request_key_frames(&mut self) {
        self.asked = Some(Instant::now());
        let video: Vec<_> = self
            .kinds
            .iter()
            .filter(|(_, kind)| **kind == MediaKind::Video)
            .map(|(id, _)| *id)
            .collect();
        for transceiver in video {
            self.request_key_frame(transceiver);
        }
    }

    /// Whether the peer is or was connected.
    pub(super) fn has_connected(&self) -> bool {
        !matches!(
            self.state,
            RtcPeerConnectionState::New | RtcPeerConnectionState::Connecting
        )
    }

    /// Figures for the page.
    pub(super) async fn figures(&mut self) -> Result<Figures, Error> {
        let report = self.pc.get_stats().await?;
        let mut figures = self.meter.read(Instant::now(), &report);
        figures.connection = self.state.as_str().to_owned();
        Ok(figures)
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        self.tasks.abort_all();
        self.pc.close().await;
        // The farewell is on its way when the driver has nothing more to tell.
        _ = tokio::time::timeout(FAREWELL, async { while self.pc.next_event().await.is_some() {} }).await;
    }
}

/// A codec that we have media for.
#[derive(Clone, Copy, Debug)]
enum Voice {
    Vp8,
    Opus,
    Pcmu,
}

impl Voice {
    fn named(name: &str) -> Option<Self> {
        match name {
            "VP8" => Some(Self::Vp8),
            "opus" => Some(Self::Opus),
            "PCMU" => Some(Self::Pcmu),
            _ => None,
        }
    }
}

fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
}

fn track_id(kind: MediaKind, n: usize) -> String {
    match kind {
        MediaKind::Video => format!("video{n}"),
        MediaKind::Audio => format!("audio{n}"),
    }
}

/// The next request; never, without a publisher.
async fn wanted(requests: &mut Option<mpsc::Receiver<()>>) -> Option<()> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}
