//! The connections of a room to other nodes, which carry tracks as the cluster says.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_cluster::{Event, PipeId, Section, TrackId};
use antiphon_jsep::{Direction, MediaKind, TransceiverId};
use antiphon_peer_connection::{
    MediaStreamTrack, Output, Packet, RtcConfiguration, RtcIceGatheringState, RtcOfferOptions,
    RtcRtpEncodingParameters, RtcRtpTransceiverInit, RtcSessionDescription,
};

use super::State;
use super::crossing::HOME;
use super::members::{Intake, Row};
use super::span::{Lane, Pipe, PipeNotice, Waiting};
use super::streams::remove_senders;
use crate::handle::PeerHandle;
use crate::room::dump::PipeDump;
use crate::room::error::Error;
use crate::room::facts::{Received, ReceiverNews, RtpParameters};
use crate::room::log::LogTag;
use crate::room::options::TransportOptions;
use crate::router::ProduceOptions;

/// What a connection to another node is taken to carry at first, in bits a second: they stand in data centres.
const START_BITRATE: u64 = 20_000_000;

impl State {
    /// Takes what the cluster says of a pipe.
    pub(super) async fn handle_pipe_event(&mut self, event: Event) {
        let (pipe, done) = match event {
            Event::PipeOpened { pipe } => {
                let opened = self.open_pipe(&pipe).await;
                (pipe, opened)
            }
            Event::OfferWanted { pipe, exchange, tracks } => {
                let made = self.offer_pipe(&pipe, exchange, tracks).await;
                (pipe, made)
            }
            Event::Offered {
                pipe,
                exchange,
                sdp,
                sections,
            } => {
                let taken = self.answer_pipe(&pipe, exchange, sdp, sections).await;
                (pipe, taken)
            }
            Event::Answered { pipe, sdp } => {
                let taken = self.take_answer(&pipe, sdp).await;
                (pipe, taken)
            }
            Event::PipeClosed { pipe } => return self.drop_pipe(&pipe).await,
            _ => return,
        };
        if let Err(error) = done {
            self.fail_pipe(&pipe, &error.to_string()).await;
        }
    }

    /// Takes what a connection to another node tells.
    pub(super) async fn handle_pipe_notice(&mut self, id: PipeId, notice: PipeNotice) {
        let Some(pipe) = self.span.as_mut().and_then(|span| span.pipes.get_mut(&id)) else {
            return;
        };
        let done = match notice {
            PipeNotice::Gathered => self.send_waiting(&id).await,
            PipeNotice::Connected => {
                pipe.connected = true;
                self.log.step(LogTag::Cluster, || {
                    format!("room {}: the connection to node {} stands", self.facts.id, id.node)
                });
                Ok(())
            }
            PipeNotice::Failed(why) => return self.fail_pipe(&id, &why).await,
            PipeNotice::Packet(transceiver, packet) => {
                self.handle_piped_packet(&id, transceiver, packet).await;
                Ok(())
            }
        };
        if let Err(error) = done {
            self.fail_pipe(&id, &error.to_string()).await;
        }
    }

    fn pipe(&self, id: &PipeId) -> Result<&Pipe, Error> {
        let span = self.span.as_ref();
        span.and_then(|span| span.pipes.get(id)).ok_or(Error::Gone("pipe"))
    }

    fn pipe_mut(&mut self, id: &PipeId) -> Result<&mut Pipe, Error> {
        let span = self.span.as_mut();
        span.and_then(|span| span.pipes.get_mut(id)).ok_or(Error::Gone("pipe"))
    }

    /// Makes the connection. The end that offers asks whether the other is there; that one is lite, as to all its clients.
    async fn open_pipe(&mut self, id: &PipeId) -> Result<(), Error> {
        let mut configuration = RtcConfiguration {
            // The candidates are known before the first description is.
            ice_candidate_pool_size: 1,
            ..RtcConfiguration::default()
        };
        let settings = &mut configuration.settings;
        settings.capabilities = self.facts.capabilities.clone();
        settings.receive_output = Output::Packets;
        settings.media.start_bitrate = START_BITRATE;
        settings.ice.nat_mappings.clone_from(&self.home()?.mappings);
        TransportOptions { udp: true, tcp: false }.apply(&mut settings.ice);
        let api = self.home()?.api.clone();
        let Some(span) = &mut self.span else { return Ok(()) };
        let made = match span.node < id.node {
            true => api.asking_peer_connection(configuration).await?,
            false => api.peer_connection(configuration).await?,
        };
        let pipe = Pipe {
            handle: made.handle(),
            connected: false,
            waiting: None,
            lanes: BTreeMap::new(),
        };
        span.follow(id.clone(), made);
        span.pipes.insert(id.clone(), pipe);
        self.log.step(LogTag::Cluster, || {
            format!("room {}: a connection to node {}", self.facts.id, id.node)
        });
        Ok(())
    }

    /// Makes an offer with a section for each of these tracks.
    async fn offer_pipe(&mut self, id: &PipeId, exchange: u64, tracks: Vec<TrackId>) -> Result<(), Error> {
        let wanted: BTreeSet<&TrackId> = tracks.iter().collect();
        for transceiver in self.drop_lanes(id, |track| !wanted.contains(track)).await {
            // One that the other end has refused is stopped already.
            _ = self.pipe(id)?.handle.stop_transceiver(transceiver).await;
        }
        let handle = self.pipe(id)?.handle.clone();
        for track in tracks {
            if self.pipe(id)?.lanes.contains_key(&track) {
                continue;
            }
            // Of one that is gone meanwhile another offer says so.
            let Some((kind, rids)) = self.described_track(&track) else {
                continue;
            };
            let init = match track.node == id.node {
                true => RtcRtpTransceiverInit {
                    receive_rids: rids,
                    ..RtcRtpTransceiverInit::new(Direction::RecvOnly)
                },
                // All encodings go, so that each peer there gets the one that its own connection carries.
                false => RtcRtpTransceiverInit {
                    send_encodings: rids.into_iter().map(RtcRtpEncodingParameters::layer).collect(),
                    ..RtcRtpTransceiverInit::new(Direction::SendOnly)
                },
            };
            match handle.add_transceiver(kind, init).await {
                Ok(transceiver) => {
                    let consumer = None;
                    let lane = Lane { transceiver, consumer };
                    self.pipe_mut(id)?.lanes.insert(track, lane);
                }
                Err(crate::Error::Peer(antiphon_peer_connection::Error::TooMany(what))) => {
                    self.log
                        .error(|| format!("node {} gets no more tracks: too many {what}", id.node));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if self.pipe(id)?.lanes.is_empty() && handle.local_description().await?.is_none() {
            // All are gone, and there is nothing to connect for.
            return Err(Error::Gone("track"));
        }
        let offer = handle.create_offer(RtcOfferOptions::default()).await?;
        handle.set_local_description(Some(offer)).await?;
        self.wait(id, Waiting::Offer(exchange)).await
    }

    /// Takes an offer, and answers it.
    async fn answer_pipe(
        &mut self,
        id: &PipeId,
        exchange: u64,
        sdp: String,
        sections: Vec<Section>,
    ) -> Result<(), Error> {
        let handle = self.pipe(id)?.handle.clone();
        handle.set_remote_description(RtcSessionDescription::offer(sdp)).await?;
        let transceivers = handle.transceivers().await?;
        let place = |mid: &str| transceivers.iter().find(|own| own.mid() == Some(mid));
        let mut placed = BTreeMap::new();
        for Section { mid, track } in &sections {
            if let Some(transceiver) = place(mid) {
                placed.insert(track.clone(), transceiver.id());
            }
        }
        let lanes = &self.pipe(id)?.lanes;
        let moved = |track: &TrackId| {
            let lane = lanes.get(track).map(|lane| lane.transceiver);
            placed.get(track).copied() != lane
        };
        let moved: BTreeSet<TrackId> = lanes.keys().filter(|track| moved(track)).cloned().collect();
        self.drop_lanes(id, |track| moved.contains(track)).await;
        for (track, transceiver) in placed {
            if self.pipe(id)?.lanes.contains_key(&track) {
                continue;
            }
            if track.node != id.node {
                self.offer_to_send(&handle, &track, transceiver).await?;
            }
            let consumer = None;
            let lane = Lane { transceiver, consumer };
            self.pipe_mut(id)?.lanes.insert(track, lane);
        }
        handle.set_local_description(None).await?;
        self.wait(id, Waiting::Answer(exchange)).await?;
        self.follow_pipe(id).await
    }

    /// One of our tracks is sent on a section that the other node has offered to take it on.
    async fn offer_to_send(
        &self,
        handle: &PeerHandle,
        track: &TrackId,
        transceiver: TransceiverId,
    ) -> Result<(), Error> {
        let Some((kind, _)) = self.described_track(track) else {
            return Ok(());
        };
        let own = MediaStreamTrack {
            kind,
            id: format!("{}-{}", track.peer, track.track),
            stream_ids: Vec::new(),
        };
        handle.set_direction(transceiver, Direction::SendOnly).await?;
        handle.replace_track(transceiver, Some(own)).await?;
        Ok(())
    }

    /// What a track is, and its encodings.
    fn described_track(&self, track: &TrackId) -> Option<(MediaKind, Vec<String>)> {
        let (peer, receiver) = self.place_of(track)?;
        let receiver = self.members.get(&peer)?.receivers.get(&receiver)?;
        Some((receiver.facts.kind, receiver.parameters.rids.clone()))
    }

    /// The peer and the receiver of a track, by our numbers.
    fn place_of(&self, track: &TrackId) -> Option<(u64, u64)> {
        let span = self.span.as_ref()?;
        match span.node == track.node {
            true => Some((track.peer, track.track)),
            false => span.tracks.get(track).map(|known| (known.peer, known.receiver)),
        }
    }

    /// Our description goes to the other node when all candidates stand in it.
    async fn wait(&mut self, id: &PipeId, waiting: Waiting) -> Result<(), Error> {
        let pipe = self.pipe_mut(id)?;
        pipe.waiting = Some(waiting);
        match pipe.handle.ice_gathering_state().await? {
            RtcIceGatheringState::Complete => self.send_waiting(id).await,
            _ => Ok(()),
        }
    }

    async fn send_waiting(&mut self, id: &PipeId) -> Result<(), Error> {
        let pipe = self.pipe_mut(id)?;
        let Some(waiting) = pipe.waiting.take() else {
            return Ok(());
        };
        let handle = pipe.handle.clone();
        let sdp = handle.local_description().await?.map(|own| own.sdp).unwrap_or_default();
        let mids: BTreeMap<TransceiverId, String> = handle
            .transceivers()
            .await?
            .into_iter()
            .filter_map(|own| Some((own.id(), own.mid()?.to_owned())))
            .collect();
        let Some(span) = &self.span else { return Ok(()) };
        let own = id.clone();
        match waiting {
            Waiting::Offer(exchange) => {
                let lanes = self.pipe(id)?.lanes.iter();
                let section = |(track, lane): (&TrackId, &Lane)| {
                    let (mid, track) = (mids.get(&lane.transceiver)?.clone(), track.clone());
                    Some(Section { mid, track })
                };
                let sections = lanes.filter_map(section).collect();
                span.ask(move |cluster, now| cluster.offer(now, &own, exchange, sdp, sections))
                    .await?;
            }
            Waiting::Answer(exchange) => {
                span.ask(move |cluster, _| cluster.answer(&own, exchange, sdp)).await?;
            }
        }
        Ok(())
    }

    async fn take_answer(&mut self, id: &PipeId, sdp: String) -> Result<(), Error> {
        let answer = RtcSessionDescription::answer(sdp);
        self.pipe(id)?.handle.set_remote_description(answer).await?;
        self.follow_pipe(id).await
    }

    /// An exchange has ended: our tracks begin to be sent, and theirs to come in.
    async fn follow_pipe(&mut self, id: &PipeId) -> Result<(), Error> {
        let handle = self.pipe(id)?.handle.clone();
        let rows: Vec<Row> = handle.with(|pc, _| pc.transceivers().map(Row::of).collect()).await?;
        let mut rows: BTreeMap<TransceiverId, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
        let lanes: Vec<(TrackId, TransceiverId)> = self
            .pipe(id)?
            .lanes
            .iter()
            .map(|(track, lane)| (track.clone(), lane.transceiver))
            .collect();
        for (track, transceiver) in lanes {
            let Some(row) = rows.remove(&transceiver) else { continue };
            if track.node != id.node {
                if row.sends.is_some() {
                    self.send_out(id, &handle, &track, transceiver).await?;
                }
            } else if let Some(parameters) = row.receives {
                self.take_in(&handle, &track, transceiver, parameters).await?;
            }
        }
        Ok(())
    }

    /// One of our tracks goes to the other node from now on.
    async fn send_out(
        &mut self,
        id: &PipeId,
        handle: &PeerHandle,
        track: &TrackId,
        transceiver: TransceiverId,
    ) -> Result<(), Error> {
        let Some(Lane { consumer: None, .. }) = self.pipe(id)?.lanes.get(track) else {
            return Ok(());
        };
        let Some(producer) = self.producer_at(track.peer, track.track, HOME).await? else {
            return Ok(());
        };
        let made = self.home()?.router.pipe(producer, handle, transceiver).await;
        match made {
            Ok(consumer) => {
                if let Some(lane) = self.pipe_mut(id)?.lanes.get_mut(track) {
                    lane.consumer = Some(consumer);
                }
            }
            Err(error) => {
                let receiver = track.track;
                self.log
                    .warn(|| format!("receiver {receiver} cannot go to node {}: {error}", id.node));
            }
        }
        Ok(())
    }

    /// Whether one of our tracks goes to another node.
    pub(super) fn goes_out(&self, receiver: u64) -> bool {
        let pipes = self.span.iter().flat_map(|span| span.pipes.iter());
        let mut lanes = pipes.flat_map(|(id, pipe)| pipe.lanes.iter().map(move |(track, lane)| (id, track, lane)));
        lanes.any(|(id, track, lane)| track.node != id.node && track.track == receiver && lane.consumer.is_some())
    }

    /// A track of the other node comes in from now on.
    async fn take_in(
        &mut self,
        handle: &PeerHandle,
        track: &TrackId,
        transceiver: TransceiverId,
        negotiated: RtpParameters,
    ) -> Result<(), Error> {
        let Some((peer, id)) = self.place_of(track) else {
            return Ok(());
        };
        let router = self.home()?.router.clone();
        let known = self
            .members
            .get_mut(&peer)
            .and_then(|member| member.receivers.get_mut(&id));
        let Some(receiver) = known.filter(|receiver| receiver.intake.is_none()) else {
            return Ok(());
        };
        let producer = router.produce(handle, transceiver, ProduceOptions::default()).await?;
        if receiver.tapped {
            producer.set_copied(true).await?;
        }
        receiver.intake = Some(Intake {
            handle: handle.clone(),
            transceiver,
            producer,
        });
        receiver.parameters = RtpParameters {
            track: receiver.parameters.track.clone(),
            streams: receiver.parameters.streams.clone(),
            ..negotiated
        }
        .into();
        let told = ReceiverNews::Parameters(receiver.parameters.clone());
        receiver.facts.news.tell(told);
        for (peer, sender) in self.senders_of(id) {
            self.begin_sending(peer, sender).await?;
        }
        Ok(())
    }

    /// Who gets a receiver, and by which sender.
    fn senders_of(&self, receiver: u64) -> Vec<(u64, u64)> {
        let all = self.members.iter();
        all.flat_map(|(&peer, member)| {
            let own = member.senders.iter();
            let own = own.filter(move |(_, sender)| sender.facts.receiver.id == receiver);
            own.map(move |(&sender, _)| (peer, sender))
        })
        .collect()
    }

    /// A track of another node does not come in any more. Who got it gets another sender, since what comes later is another stream.
    async fn take_out(&mut self, track: &TrackId) {
        let Some((peer, id)) = self.place_of(track) else { return };
        let known = self
            .members
            .get_mut(&peer)
            .and_then(|member| member.receivers.get_mut(&id));
        let Some(receiver) = known else { return };
        // What crossed to other workers ends with its producer.
        receiver.crossed.clear();
        let Some(intake) = receiver.intake.take() else { return };
        // It may have gone with its connection.
        _ = intake.producer.close().await;
        for (to, sender) in self.senders_of(id) {
            let Some(member) = self.members.get_mut(&to) else {
                continue;
            };
            if member.senders.get(&sender).is_some_and(|own| own.consumer.is_some()) {
                remove_senders(member, id).await;
                // It had one, so it has capabilities; and it is told to exchange already.
                _ = self.add_sender(to, peer, id);
            }
        }
    }

    /// Forgets what a pipe has for some tracks. Returns their transceivers.
    async fn drop_lanes(&mut self, id: &PipeId, gone: impl Fn(&TrackId) -> bool) -> Vec<TransceiverId> {
        let Ok(pipe) = self.pipe_mut(id) else {
            return Vec::new();
        };
        let gone: Vec<TrackId> = pipe.lanes.keys().filter(|track| gone(track)).cloned().collect();
        let mut transceivers = Vec::new();
        for track in gone {
            let lane = self.pipe_mut(id).ok().and_then(|pipe| pipe.lanes.remove(&track));
            let Some(lane) = lane else { continue };
            transceivers.push(lane.transceiver);
            if let Some(consumer) = lane.consumer {
                // Its producer may have taken it along.
                _ = consumer.close().await;
            }
            match track.node == id.node {
                true => self.take_out(&track).await,
                false => self.tend_crossings(track.peer, track.track).await,
            }
        }
        transceivers
    }

    /// A pipe is over.
    async fn drop_pipe(&mut self, id: &PipeId) {
        self.drop_lanes(id, |_| true).await;
        let span = self.span.as_mut();
        if let Some(pipe) = span.and_then(|span| span.pipes.remove(id)) {
            pipe.handle.close().await;
            self.log.step(LogTag::Cluster, || {
                format!("room {}: the connection to node {} is closed", self.facts.id, id.node)
            });
        }
    }

    /// A pipe has failed: the cluster says what comes of it.
    async fn fail_pipe(&mut self, id: &PipeId, why: &str) {
        self.log.warn(|| {
            format!(
                "room {}: the connection to node {} has failed: {why}",
                self.facts.id, id.node
            )
        });
        self.drop_pipe(id).await;
        if let Some(span) = &self.span {
            let id = id.clone();
            span.tell(move |cluster, now| cluster.pipe_failed(now, &id)).await;
        }
    }

    /// A packet of another node's track that somebody listens to.
    async fn handle_piped_packet(&mut self, id: &PipeId, transceiver: TransceiverId, packet: Packet) {
        let Ok(pipe) = self.pipe(id) else { return };
        let mut lanes = pipe.lanes.iter();
        let lane = lanes.find(|(track, lane)| lane.transceiver == transceiver && track.node == id.node);
        let Some((peer, receiver)) = lane.and_then(|(track, _)| self.place_of(track)) else {
            return;
        };
        let own = self
            .members
            .get(&peer)
            .and_then(|member| member.receivers.get(&receiver));
        let Some(own) = own else { return };
        if own.facts.packets.any() {
            own.facts.packets.tell(Received::Packet(packet));
        } else {
            // Whoever listened does no more. It is there.
            _ = self.tap(peer, receiver).await;
        }
    }

    /// Closes all connections to other nodes.
    pub(super) async fn close_pipes(&mut self) {
        let Some(span) = &mut self.span else { return };
        for pipe in std::mem::take(&mut span.pipes).into_values() {
            pipe.handle.close().await;
        }
        span.close().await;
    }

    /// What there is of connections to other nodes.
    pub(super) fn dump_pipes(&self) -> Vec<PipeDump> {
        let pipes = self.span.iter().flat_map(|span| &span.pipes);
        pipes
            .map(|(id, pipe)| {
                let mut dump = PipeDump {
                    node: id.node.to_string(),
                    number: id.number,
                    connected: pipe.connected,
                    ..PipeDump::default()
                };
                for (track, lane) in &pipe.lanes {
                    let Some((peer, receiver)) = self.place_of(track) else {
                        continue;
                    };
                    let own = self
                        .members
                        .get(&peer)
                        .and_then(|member| member.receivers.get(&receiver));
                    let comes_in = own.is_some_and(|own| own.transceiver() == Some(lane.transceiver));
                    if track.node != id.node && lane.consumer.is_some() {
                        dump.sends.push(receiver);
                    } else if track.node == id.node && comes_in {
                        dump.receives.push(receiver);
                    }
                }
                dump
            })
            .collect()
    }
}
