//! What comes in: datagrams, the time and the driver's answers; and the events that the application gets for it.

use std::time::Instant;

use antiphon_data_channel::{ChannelId, Event as DataEvent, Message, Piece};
use antiphon_dtls::{Error as DtlsError, Event as DtlsEvent};
use antiphon_ice::{Event as IceEvent, IoEvent};
use antiphon_media::Event as MediaEvent;
use antiphon_sansio::{Datagram, Packet, Path, earliest};

use crate::connection::PeerConnection;
use crate::demux::{Protocol, classify};
use crate::event::{Event, PeerEnd};
use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};

/// The most events of gathering ahead that are kept for the local description.
const MAX_POOLED_EVENTS: usize = 512;

impl PeerConnection {
    /// Takes a datagram from the network. Whatever is wrong with it shows in the statistics only.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        if self.closing.is_some() {
            return;
        }
        match classify(&datagram.data) {
            Some(Protocol::Stun | Protocol::TurnChannel) => {
                let relayed = self.transport.agent.handle_datagram(now, datagram);
                self.transport.paths_changed();
                self.update_rtt();
                if let Some(datagram) = relayed {
                    let authenticated = self.transport.agent.is_authenticated(&datagram.path);
                    self.take(now, datagram, authenticated);
                }
            }
            Some(Protocol::Rtp) => {
                let authenticated = self.count_received(now, &datagram);
                self.take_media(now, datagram, authenticated, false);
                return;
            }
            _ => {
                let authenticated = self.count_received(now, &datagram);
                self.take(now, datagram, authenticated);
            }
        }
        self.pump(now);
    }

    /// Whether a datagram may be for this connection: a quick look, for drivers that would not even copy what strangers
    /// send. A refusal is counted.
    pub fn expects(&mut self, path: &Path, datagram: &[u8]) -> bool {
        if self.transport.agent.expects(*path, datagram) {
            return true;
        }
        // A ClientHello may be faster than the check that will vouch for it.
        let held = classify(datagram) == Some(Protocol::Dtls) && self.transport.is_handshaking();
        if !held {
            self.transport.counters.unauthenticated += 1;
        }
        held
    }

    /// Says whether the datagram's path is authenticated (law 5).
    #[inline]
    fn count_received(&mut self, now: Instant, datagram: &Datagram) -> bool {
        let len = datagram.data.len();
        self.transport.agent.aside().count_received(now, &datagram.path, len)
    }

    /// Takes a datagram of the application's: what is not ICE's own.
    fn take(&mut self, now: Instant, datagram: Datagram, authenticated: bool) {
        match classify(&datagram.data) {
            Some(Protocol::Dtls) => self.take_dtls(now, datagram, authenticated),
            Some(Protocol::Rtp) => self.take_media(now, datagram, authenticated, false),
            Some(Protocol::Rtcp) => self.take_media(now, datagram, authenticated, true),
            _ => self.transport.counters.unknown += 1,
        }
    }

    fn take_dtls(&mut self, now: Instant, datagram: Datagram, authenticated: bool) {
        // Law 5, and V1: a handshake begins, and goes on, only with whom ICE knows. The first ClientHello may be faster
        // than the check that will vouch for it, so it is held for a while.
        if !authenticated {
            if self.transport.is_handshaking() {
                self.transport.hold(datagram);
            } else {
                self.transport.counters.unauthenticated += 1;
            }
        } else if let Err(datagram) = self.transport.handle_dtls(now, datagram) {
            self.transport.hold(datagram);
        }
    }

    #[inline]
    fn take_media(&mut self, now: Instant, mut datagram: Datagram, authenticated: bool, rtcp: bool) {
        if !authenticated {
            self.transport.counters.unauthenticated += 1;
            return;
        }
        if self.transport.srtp.is_none() {
            // The peer's last flight and its first media may change places on the way.
            if self.transport.is_handshaking() {
                self.transport.hold(datagram);
            } else {
                self.transport.counters.unauthenticated += 1;
            }
            return;
        }
        self.transport.count_received(datagram.data.len());
        if !self.transport.unprotect(rtcp, &mut datagram.data) {
            return;
        }
        self.transport.agent.aside().heard(now);
        let packet = Packet {
            ecn: datagram.ecn,
            data: datagram.data,
        };
        if rtcp {
            self.media.handle_rtcp(now, packet);
        } else {
            self.media.handle_rtp(now, packet);
        }
    }

    /// Takes the driver's answer to a request of [`Self::poll_io`].
    pub fn handle_io(&mut self, now: Instant, event: IoEvent) {
        self.transport.agent.handle_io(now, event);
        self.pump(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.transport.agent.handle_timeout(now);
        if self.closing.is_none() {
            if self.transport.path().is_some()
                && let Some(dtls) = &mut self.transport.dtls
            {
                dtls.handle_timeout(now);
            }
            if self.is_writable() {
                self.data.channels.handle_timeout(now);
            }
            if self.is_media_live() {
                self.media.handle_timeout(now);
            }
        }
        self.pump(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ice = self.transport.agent.poll_timeout();
        if self.closing.is_some() {
            return ice;
        }
        // Without a path nothing above ICE could act on its timers, and they would be due for ever.
        let dtls = match (&self.transport.dtls, self.transport.path()) {
            (Some(dtls), Some(_)) => dtls.poll_timeout(),
            _ => None,
        };
        let data = (self.data.started && self.is_writable())
            .then(|| self.data.channels.poll_timeout())
            .flatten();
        let media = self.is_media_live().then(|| self.media.poll_timeout()).flatten();
        earliest([ice, dtls, media, data])
    }

    /// Whether SCTP can be sent.
    fn is_writable(&self) -> bool {
        self.transport.dtls_state == RtcDtlsTransportState::Connected && self.transport.path().is_some()
    }

    /// Whether RTP flows: a peer may have agreed on DTLS, but on no SRTP profile. What only receives has its timers
    /// too, for packets that are waited for; what it has to say goes nowhere.
    fn is_media_live(&self) -> bool {
        self.transport.srtp.is_some() && (self.is_writable() || self.only_receives())
    }

    /// Whether the peer still sends, and may not be sent to (RFC 7675 §5.1).
    pub(crate) fn only_receives(&self) -> bool {
        self.transport.dtls_state == RtcDtlsTransportState::Connected && self.transport.agent.only_receives()
    }

    /// Moves along what one layer has for another, until nothing moves.
    pub(crate) fn pump(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        loop {
            let mut moved = false;
            while let Some(event) = self.transport.agent.aside().poll_event() {
                moved = true;
                self.on_ice(now, event);
            }
            if self.transport.start_dtls() {
                self.push(Event::DtlsStateChange(self.transport.dtls_state));
                moved = true;
            }
            while let Some(event) = self.transport.poll_dtls_event() {
                moved = true;
                self.on_dtls(now, event);
            }
            for datagram in self.transport.take_held() {
                moved = true;
                let authenticated = self.transport.agent.is_authenticated(&datagram.path);
                self.take(now, datagram, authenticated);
            }
            if !moved {
                break;
            }
        }
        self.update_states();
    }

    fn update_states(&mut self) {
        let connection = RtcPeerConnectionState::aggregate(false, self.states.ice, self.transport.dtls_state);
        if connection != self.states.connection {
            self.states.connection = connection;
            self.push(Event::ConnectionStateChange(connection));
        }
        self.update_sctp_state();
    }

    pub(crate) fn update_sctp_state(&mut self) {
        let sctp = self.data.state();
        if sctp != self.states.sctp {
            self.states.sctp = sctp;
            if let Some(state) = sctp {
                self.push(Event::SctpStateChange(state));
                if state == RtcSctpTransportState::Closed
                    && let Some(end) = self.end_by_association()
                {
                    self.tell_end(end);
                }
            }
        }
    }

    /// Another pair of candidates was selected. Between other sockets or hosts lies another network, of which nothing is known; the same
    /// two with another port are the same network.
    fn path_selected(&mut self, now: Instant) {
        let route = self
            .transport
            .agent
            .selected_path()
            .map(|path| (path.local, path.remote.ip()));
        if route.is_none() || route == self.transport.route {
            return;
        }
        if std::mem::replace(&mut self.transport.route, route).is_some() {
            self.media.route_changed(now);
        }
    }

    pub(crate) fn on_ice(&mut self, now: Instant, event: IceEvent) {
        if let Some(pool) = &mut self.pool
            && matches!(
                event,
                IceEvent::LocalCandidate(_) | IceEvent::LocalCandidateGone(_) | IceEvent::GatheringState(_)
            )
        {
            if pool.len() < MAX_POOLED_EVENTS {
                pool.push(event);
            }
            return;
        }
        match event {
            IceEvent::LocalCandidateGone(candidate) => {
                let text = candidate.to_string();
                self.local_candidates.retain(|known| *known != text);
            }
            IceEvent::LocalCandidate(candidate) => {
                let text = candidate.to_string();
                let ufrag = self.local_ufrag().to_owned();
                let signalled = self.signaling.negotiator.add_local_candidate(&text, &ufrag);
                self.local_candidates.push(text);
                if let Some(candidate) = signalled {
                    self.push(Event::IceCandidate(Some(candidate)));
                }
            }
            IceEvent::GatheringState(state) => {
                let state = RtcIceGatheringState::from(state);
                if state == self.states.gathering {
                    return;
                }
                self.states.gathering = state;
                self.push(Event::IceGatheringStateChange(state));
                if state == RtcIceGatheringState::Complete {
                    let ufrag = self.local_ufrag().to_owned();
                    let _ = self.signaling.negotiator.end_of_local_candidates(&ufrag);
                    self.push(Event::IceCandidate(None));
                }
            }
            IceEvent::State(state) => {
                let state = RtcIceConnectionState::from(state);
                if state != self.states.ice {
                    self.states.ice = state;
                    self.push(Event::IceConnectionStateChange(state));
                    self.watch_for_silence(state);
                }
            }
            IceEvent::SelectedPair { local, remote, .. } => {
                self.transport.counters.pair_changes += 1;
                self.update_sizes();
                self.data.channels.path_changed();
                self.path_selected(now);
                self.update_rtt();
                self.push(Event::SelectedCandidatePairChange {
                    local: local.to_string(),
                    remote: remote.to_string(),
                });
            }
            IceEvent::ConsentExpired { still_heard: true } => tracing::warn!(
                "the peer answers no checks, but goes on sending: what it sends is taken, and nothing is sent to it any more"
            ),
            IceEvent::CandidateError {
                url,
                address,
                code,
                text,
            } => self.push(Event::IceCandidateError {
                url,
                address,
                code,
                text,
            }),
            // Offer and answer have given the role; that a conflict has changed it is ICE's own business.
            _ => {}
        }
    }

    fn on_dtls(&mut self, now: Instant, event: DtlsEvent) {
        match event {
            DtlsEvent::Connected(connected) => {
                self.transport.dtls_connected(connected);
                self.start_media();
                self.start_data(now);
                self.push(Event::DtlsStateChange(self.transport.dtls_state));
            }
            DtlsEvent::ApplicationData(packet) => {
                self.transport.agent.aside().heard(now);
                self.data.handle_packet(now, packet);
            }
            DtlsEvent::Closed => self.end_dtls(now, RtcDtlsTransportState::Closed, Some(PeerEnd::CloseNotify)),
            DtlsEvent::Failed(error) => {
                tracing::debug!(%error, "DTLS failed");
                let end = match error {
                    DtlsError::PeerAlert(description) => Some(PeerEnd::Alert(description)),
                    _ => None,
                };
                self.end_dtls(now, RtcDtlsTransportState::Failed, end);
            }
            _ => {}
        }
    }

    /// Media is protected as soon as there is a transceiver for it.
    pub(crate) fn start_media(&mut self) {
        if !self.transceivers.rows().is_empty() {
            self.transport.start_srtp();
        }
        self.update_sizes();
    }

    pub(crate) fn start_data(&mut self, now: Instant) {
        if self.transport.dtls_state == RtcDtlsTransportState::Connected
            && let Some(role) = self.transport.role()
        {
            let [max_packet, probe_up_to] = self.sctp_packets();
            self.data.start(now, role, max_packet, probe_up_to);
        }
    }

    /// The round trip that ICE measures is a hint for every timer above.
    fn update_rtt(&mut self) {
        let rtt = self.transport.agent.rtt();
        if rtt == self.rtt {
            return;
        }
        self.rtt = rtt;
        if let Some(rtt) = rtt {
            if let Some(dtls) = &mut self.transport.dtls {
                dtls.set_rtt(rtt);
            }
            self.data.channels.set_rtt(rtt);
            self.media.set_rtt(rtt);
        }
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        if self.signaling.take_due() {
            return Some(Event::NegotiationNeeded);
        }
        while let Some(event) = self.data.channels.aside().poll_event() {
            let event = match event {
                DataEvent::Incoming(id) => Event::DataChannel(id),
                DataEvent::Open(id) => Event::DataChannelOpen(id),
                DataEvent::Readable(id) => Event::DataChannelReadable(id),
                DataEvent::BufferedAmountLow(id) => Event::DataChannelBufferedAmountLow(id),
                DataEvent::Closing(id) => Event::DataChannelClosing(id),
                DataEvent::Closed(id) => Event::DataChannelClosed(id),
                // The association's own; `update_states` has told of them.
                _ => continue,
            };
            return Some(event);
        }
        while let Some(event) = self.media.aside().poll_event() {
            if let Some(event) = self.media_event(event) {
                return Some(event);
            }
        }
        None
    }

    /// The event in terms of transceivers; `None` if it is of one that is gone.
    fn media_event(&self, event: MediaEvent) -> Option<Event> {
        Some(match event {
            MediaEvent::Frame {
                receiver,
                ssrc,
                discontinuity,
                frame,
            } => Event::Frame {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                ssrc,
                discontinuity,
                frame,
            },
            MediaEvent::Sound { receiver, ssrc, sound } => Event::Sound {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                ssrc,
                sound,
            },
            MediaEvent::Packet { receiver, packet } => Event::Packet {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                packet,
            },
            MediaEvent::NewSource {
                receiver,
                ssrc,
                rid,
                layer,
            } => Event::TrackUnmuted {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                ssrc,
                rid,
                layer,
            },
            MediaEvent::Bye { receiver, ssrc } => Event::SourceEnded {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                ssrc,
            },
            MediaEvent::Tone { receiver, ssrc, tone } => Event::Tone {
                transceiver: *self.transceivers.by_receiver.get(&receiver)?,
                ssrc,
                tone,
            },
            MediaEvent::ToneChange { sender, tone } => Event::ToneChange {
                transceiver: self.transceivers.encoding(sender)?.transceiver,
                tone,
            },
            MediaEvent::KeyFrameRequested { sender } => Event::KeyFrameRequested(self.transceivers.encoding(sender)?),
            MediaEvent::PacketTooLarge { sender, bytes, limit } => Event::PacketTooLarge {
                encoding: self.transceivers.encoding(sender)?,
                bytes,
                limit,
            },
            MediaEvent::Ceased { sender, cause } => Event::SendingCeased {
                encoding: self.transceivers.encoding(sender)?,
                cause,
            },
            MediaEvent::Restarted { sender } => Event::SendingRestarted(self.transceivers.encoding(sender)?),
            MediaEvent::InBandFec { sender, percent } => Event::InBandFec {
                encoding: self.transceivers.encoding(sender)?,
                percent,
            },
            MediaEvent::TargetBitrate { sender, bps } => Event::TargetBitrate {
                encoding: self.transceivers.encoding(sender)?,
                bps,
            },
            _ => return None,
        })
    }

    /// The channel's next message. Until it is read it counts against the peer's send window.
    pub fn read(&mut self, now: Instant, channel: ChannelId) -> Option<Message> {
        self.data.channels.read(now, channel)
    }

    /// The channel's next message, or the next piece of one that is too large to wait for: with `partial_delivery` in
    /// the settings of the association. [`Self::read`] would refuse that and close the channel.
    pub fn read_piece(&mut self, now: Instant, channel: ChannelId) -> Option<Piece> {
        self.data.channels.read_piece(now, channel)
    }
}
