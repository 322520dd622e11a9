//! The connection itself: its making, its states and its signalling.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_data_channel::DataChannels;
use antiphon_dtls::{Certificate, CertificateParams, HashAlgorithm};
use antiphon_ice::{Agent, CandidateError, Credentials};
use antiphon_jsep::{
    JsepError, LocalTransport, Negotiator, OfferOptions, RemoteTransport, SdpType, SessionDescription, SignalingState,
    TransceiverId,
};
use antiphon_media::{ReceiverId, SenderId, Session};
use antiphon_sansio::{ClockAnchor, Rng};

use crate::data::Data;
use crate::ending::Closing;
use crate::error::Error;
use crate::event::{Event, PeerEnd};
use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};
use crate::transceiver::Row;
use crate::transport::Transport;
use crate::types::{MIN_MTU, RtcBundlePolicy, RtcConfiguration, RtcIceCandidateInit, RtcSessionDescription};

/// How many candidates are kept that come before the remote description.
pub const MAX_EARLY_CANDIDATES: usize = 64;

/// How many events wait for an application that does not ask; the oldest go first. Media and data have queues of their own.
pub const MAX_EVENTS: usize = 2048;

/// What is between two generations of ICE.
#[derive(Debug, Default)]
pub(crate) struct IceRestart {
    /// Credentials that a description was made with, but not set yet.
    pub(crate) next: Option<Credentials>,
    /// Our user name fragment when the last exchange ended.
    pub(crate) stable: Option<String>,
    /// The peer's new generation, which waits for ours: its offer restarts ICE, our answer is not set.
    pub(crate) remote: Option<RemoteTransport>,
    /// The candidates of that generation.
    pub(crate) candidates: Vec<antiphon_ice::Candidate>,
    /// Whether it has no more.
    pub(crate) end_of_candidates: bool,
}

impl IceRestart {
    pub(crate) fn forget_remote(&mut self) {
        self.remote = None;
        self.candidates.clear();
        self.end_of_candidates = false;
    }
}

/// `RTCPeerConnection`, without sockets, clocks and threads.
///
/// Whoever owns it hands in what happens ([`handle_datagram`](Self::handle_datagram),
/// [`handle_timeout`](Self::handle_timeout), [`handle_io`](Self::handle_io)) and the calls of the application. After each of
/// these it polls until nothing is left: [`poll_transmit`](Self::poll_transmit), [`poll_io`](Self::poll_io),
/// [`poll_event`](Self::poll_event); and calls [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says.
#[derive(Debug)]
pub struct PeerConnection {
    pub(crate) negotiator: Negotiator,
    pub(crate) transport: Transport,
    pub(crate) media: Session,
    pub(crate) data: Data,
    pub(crate) rows: Vec<Row>,
    pub(crate) by_sender: BTreeMap<SenderId, TransceiverId>,
    pub(crate) by_receiver: BTreeMap<ReceiverId, TransceiverId>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) anchor: ClockAnchor,
    pub(crate) rng: Rng,
    pub(crate) receive_output: antiphon_media::Output,
    pub(crate) mtu: usize,
    pub(crate) max_mtu: usize,
    pub(crate) relays: bool,
    pub(crate) restart: IceRestart,
    /// The role that signalling gave ICE last; a conflict may have changed it since.
    pub(crate) planned_role: Option<antiphon_jsep::IceRole>,
    /// Our candidates of this generation, for descriptions made later.
    pub(crate) local_candidates: Vec<String>,
    /// What was gathered ahead of the first local description, with an `ice_candidate_pool_size`.
    pub(crate) pool: Option<Vec<antiphon_ice::Event>>,
    early_candidates: Vec<antiphon_jsep::IceCandidate>,
    negotiation_needed: bool,
    pub(crate) negotiation_event: bool,
    pub(crate) ice_state: RtcIceConnectionState,
    pub(crate) gathering_state: RtcIceGatheringState,
    pub(crate) connection_state: RtcPeerConnectionState,
    pub(crate) sctp_state: Option<RtcSctpTransportState>,
    /// How the peer ended the connection, if the application was told that it did.
    pub(crate) peer_end: Option<PeerEnd>,
    pub(crate) closing: Option<Closing>,
    pub(crate) data_turn: bool,
    /// The round trip that the layers above ICE were told last.
    pub(crate) rtt: Option<Duration>,
    last_created: Option<RtcSessionDescription>,
}

impl PeerConnection {
    /// A connection. `anchor` gives the wall clock's time at some `Instant`; everything random comes from `rng`, but a new
    /// certificate and the keys of key exchanges, which the crypto provider draws.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(configuration: RtcConfiguration, now: Instant, anchor: ClockAnchor, rng: Rng) -> Result<Self, Error> {
        let RtcConfiguration {
            ice_servers,
            ice_transport_policy,
            ice_candidate_pool_size,
            bundle_policy,
            rtp_header_encryption_policy,
            certificates,
            settings,
        } = configuration;
        if settings.mtu < MIN_MTU {
            return Err(Error::Setting("the MTU is below 576 bytes"));
        }
        let certificate = match certificates.as_slice() {
            [] => Arc::new(Certificate::generate(&CertificateParams::default()).map_err(Error::Certificate)?),
            [certificate] => Arc::clone(certificate),
            _ => return Err(Error::TooManyCertificates),
        };
        let servers = ice_servers
            .iter()
            .map(|server| server.parse())
            .collect::<Result<Vec<_>, _>>()?;
        let relays = servers
            .iter()
            .flat_map(|server| &server.urls)
            .any(|url| url.kind == antiphon_ice::ServerKind::Turn);
        let ice = antiphon_ice::Config {
            servers,
            transport_policy: ice_transport_policy,
            ..settings.ice
        };
        let mut dtls = antiphon_dtls::Config::new(certificate);
        dtls.srtp_profiles = settings.srtp_profiles;
        dtls.versions = settings.dtls_versions;
        dtls.mtu = settings.mtu;
        dtls.key_log = settings.key_log;
        dtls.provider = settings.provider;
        let jsep = antiphon_jsep::Config {
            capabilities: settings.capabilities,
            // Read in pieces, messages may have any size (RFC 8841 §6.1).
            max_message_size: match settings.data.association.partial_delivery {
                true => 0,
                false => settings.data.association.max_receive_message as u64,
            },
            sctp_port: settings.data.association.local_port,
            cname: String::new(),
            bundle_only: bundle_policy == RtcBundlePolicy::MaxBundle,
            header_encryption: rtp_header_encryption_policy,
        };
        let negotiator = Negotiator::new(jsep, rng.fork("jsep"));
        let media = antiphon_media::Config {
            cname: negotiator.config().cname.clone(),
            ..settings.media
        };
        let mut agent = Agent::new(ice, now, rng.fork("ice"));
        if ice_candidate_pool_size > 0 {
            agent.gather(now);
        }
        let mut connection = Self {
            negotiator,
            transport: Transport::new(agent, dtls, rtp_header_encryption_policy, rng.fork("dtls")),
            media: Session::new(media, now, anchor, rng.fork("media")),
            data: Data::new(DataChannels::new(settings.data, now, rng.fork("data"))),
            rows: Vec::new(),
            by_sender: BTreeMap::new(),
            by_receiver: BTreeMap::new(),
            events: VecDeque::new(),
            anchor,
            rng: rng.fork("peer-connection"),
            receive_output: settings.receive_output,
            mtu: settings.mtu,
            max_mtu: settings.max_mtu,
            relays,
            restart: IceRestart::default(),
            planned_role: None,
            local_candidates: Vec::new(),
            pool: (ice_candidate_pool_size > 0).then(Vec::new),
            early_candidates: Vec::new(),
            negotiation_needed: false,
            negotiation_event: false,
            ice_state: RtcIceConnectionState::New,
            gathering_state: RtcIceGatheringState::New,
            connection_state: RtcPeerConnectionState::New,
            sctp_state: None,
            peer_end: None,
            closing: None,
            data_turn: false,
            rtt: None,
            last_created: None,
        };
        connection.update_sizes();
        Ok(connection)
    }

    pub(crate) fn open(&self) -> Result<(), Error> {
        match self.closing {
            None => Ok(()),
            Some(_) => Err(Error::Closed),
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// `signalingState`.
    pub fn signaling_state(&self) -> SignalingState {
        self.negotiator.signaling_state()
    }

    /// `iceGatheringState`.
    pub fn ice_gathering_state(&self) -> RtcIceGatheringState {
        self.gathering_state
    }

    /// `iceConnectionState`.
    pub fn ice_connection_state(&self) -> RtcIceConnectionState {
        self.ice_state
    }

    /// `connectionState`.
    pub fn connection_state(&self) -> RtcPeerConnectionState {
        self.connection_state
    }

    /// The state of the DTLS transport.
    pub fn dtls_state(&self) -> RtcDtlsTransportState {
        self.transport.dtls_state
    }

    /// Whether RTP header extensions and CSRCs are sent encrypted (`rtpHeaderEncryptionNegotiated`): for all transceivers or for
    /// none, for they share the transport. It ends, unless it is required, if the peer sends no report of what goes out so.
    pub fn rtp_header_encryption_negotiated(&self) -> bool {
        self.transport.header_encryption_negotiated()
    }

    /// The state of the SCTP transport; `None` while no data section is negotiated.
    pub fn sctp_state(&self) -> Option<RtcSctpTransportState> {
        self.sctp_state
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.closing.is_some()
    }

    /// The user name fragment by which the peer's checks name us: in one-port mode the driver finds us by it. It changes with
    /// an ICE restart, when a local description is set.
    pub fn local_ufrag(&self) -> &str {
        &self.transport.agent.local_credentials().ufrag
    }

    /// Whether a Binding message with valid MESSAGE-INTEGRITY came from `path`: the driver may route the path to us.
    pub fn is_authenticated(&self, path: &antiphon_sansio::Path) -> bool {
        self.transport.agent.is_authenticated(path)
    }

    /// `localDescription`: the pending one, else the current one.
    pub fn local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.local_description().map(described)
    }

    /// `remoteDescription`: the pending one, else the current one.
    pub fn remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.remote_description().map(described)
    }

    /// `currentLocalDescription`.
    pub fn current_local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.current_local_description().map(described)
    }

    /// `pendingLocalDescription`.
    pub fn pending_local_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.pending_local_description().map(described)
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.current_remote_description().map(described)
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<RtcSessionDescription> {
        self.negotiator.pending_remote_description().map(described)
    }

    /// `canTrickleIceCandidates`: whether the peer said that it takes candidates later. `None` before its description.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        let (_, description) = self.negotiator.remote_description()?;
        let mut sections = description.media.iter().map(|media| &media.section);
        let said = |section: &antiphon_jsep::sdp::Section| section.ice_options().any(|word| word == "trickle");
        Some(said(&description.session) || sections.any(said))
    }

    /// What a description made now says of our end.
    fn local_transport(&mut self, new_credentials: bool) -> LocalTransport {
        let fingerprint = self.transport.certificate().fingerprint(HashAlgorithm::Sha256);
        let fingerprints = antiphon_jsep::Fingerprint::parse(&fingerprint.to_string());
        let mut transport = LocalTransport {
            lite: self.transport.agent.is_lite(),
            fingerprints: fingerprints.into_iter().collect(),
            ..LocalTransport::default()
        };
        if self.transport.agent.renominates() {
            transport.ice_options = ["trickle", "ice2", "renomination"].map(str::to_owned).into();
        }
        let credentials = if new_credentials {
            let rng = &mut self.rng;
            // As the agent draws its first: enough for one-port mode to tell connections apart by the fragment.
            self.restart.next.get_or_insert_with(|| Credentials {
                ufrag: rng.ice_chars(8),
                password: rng.ice_chars(24),
            })
        } else {
            transport.candidates = self.local_candidates.clone();
            transport.end_of_candidates = self.gathering_state == RtcIceGatheringState::Complete;
            self.transport.agent.local_credentials()
        };
        transport.ufrag.clone_from(&credentials.ufrag);
        transport.pwd.clone_from(&credentials.password);
        transport
    }

    /// `createOffer`. `ice_restart` asks for new ICE credentials.
    ///
    /// # Errors
    /// `InvalidStateError` while the peer's offer waits for an answer, and when closed.
    pub fn create_offer(&mut self, options: OfferOptions) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let described = self.negotiator.local_description().is_some();
        let restart = options.ice_restart || self.negotiator.ice_restart_wanted();
        let transport = self.local_transport(restart && described && !self.restarted());
        let offer = self.negotiator.create_offer(&options, &transport)?;
        Ok(self.created(SdpType::Offer, &offer))
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// `InvalidStateError` unless an offer of the peer waits for an answer.
    pub fn create_answer(&mut self) -> Result<RtcSessionDescription, Error> {
        self.open()?;
        let restart = self.negotiator.answer_needs_new_credentials();
        let transport = self.local_transport(restart && !self.restarted());
        let answer = self.negotiator.create_answer(&transport)?;
        Ok(self.created(SdpType::Answer, &answer))
    }

    fn created(&mut self, sdp_type: SdpType, description: &SessionDescription) -> RtcSessionDescription {
        let description = RtcSessionDescription::new(sdp_type, description.to_text());
        self.last_created = Some(description.clone());
        description
    }

    /// `setLocalDescription`. `None` makes the description that fits the state first, and sets it; a description with an
    /// empty text is the one that was made last. Candidates are gathered from now on.
    ///
    /// # Errors
    /// `InvalidStateError` or `InvalidModificationError`; nothing has changed then.
    pub fn set_local_description(
        &mut self,
        now: Instant,
        description: Option<RtcSessionDescription>,
    ) -> Result<(), Error> {
        self.open()?;
        let description = match description {
            Some(description) if description.sdp.is_empty() && description.sdp_type != SdpType::Rollback => {
                let made = match description.sdp_type {
                    SdpType::Offer => SdpType::Offer,
                    _ => SdpType::Answer,
                };
                match self.last_created.as_ref().filter(|last| last.sdp_type == made) {
                    Some(last) => RtcSessionDescription::new(description.sdp_type, last.sdp.clone()),
                    None => self.create_fitting(made)?,
                }
            }
            Some(description) => description,
            None => self.create_fitting(self.negotiator.implicit_type())?,
        };
        let kind = description.sdp_type;
        let parsed = parse(&description)?;
        let plan = self.negotiator.set_local(kind, &parsed)?;
        self.apply(now, plan);
        Ok(())
    }

    fn create_fitting(&mut self, kind: SdpType) -> Result<RtcSessionDescription, Error> {
        match kind {
            SdpType::Offer => self.create_offer(OfferOptions::default()),
            _ => self.create_answer(),
        }
    }

    /// `setRemoteDescription`. An offer that meets our own takes ours back (W3C "perfect negotiation", the polite side).
    ///
    /// # Errors
    /// What is wrong with the description, or that it does not fit the state; nothing has changed then.
    pub fn set_remote_description(&mut self, now: Instant, description: RtcSessionDescription) -> Result<(), Error> {
        self.open()?;
        let kind = description.sdp_type;
        let parsed = parse(&description)?;
        if self.transport.agent.is_lite() && says_lite(&parsed) {
            return Err(Error::BothLite);
        }
        let plan = self.negotiator.set_remote(kind, &parsed)?;
        self.apply(now, plan);
        for candidate in std::mem::take(&mut self.early_candidates) {
            // Judged only now; what does not fit is passed over, for the call that brought it has long returned.
            if self.judge_candidate(now, candidate).is_err() {
                self.transport.agent.ignore_remote_candidate();
            }
        }
        self.pump(now);
        Ok(())
    }

    /// `addIceCandidate`. `None`, or an empty candidate: the peer has no more. What comes before the description that it
    /// belongs to, be it the first or one that restarts ICE, is kept for it, up to [`MAX_EARLY_CANDIDATES`]. A candidate of a
    /// transport or type that nobody here knows is counted and ignored (RFC 8839 §5.1).
    ///
    /// # Errors
    /// `TypeError` or `OperationError` for a candidate that cannot be read or placed. It leaves no trace then.
    pub fn add_ice_candidate(&mut self, now: Instant, candidate: Option<RtcIceCandidateInit>) -> Result<(), Error> {
        self.open()?;
        let candidate = antiphon_jsep::IceCandidate::from(candidate.unwrap_or_default());
        // Read as ICE reads it, before any description has it.
        match candidate.candidate.parse::<antiphon_ice::Candidate>() {
            Err(CandidateError::Unknown(_)) => {
                self.transport.agent.ignore_remote_candidate();
                return Ok(());
            }
            Err(_) if !candidate.is_end() => return Err(Error::Signaling(JsepError::CandidateSyntax)),
            _ => {}
        }
        let candidate = candidate.normalized()?;
        let unplaced = candidate.sdp_mid.is_none() && candidate.sdp_m_line_index.is_none();
        if unplaced && !candidate.is_end() {
            return Err(Error::CandidateWithoutSection);
        }
        if self.negotiator.remote_description().is_none() {
            if self.early_candidates.len() >= MAX_EARLY_CANDIDATES {
                return Err(Error::TooManyCandidates);
            }
            self.early_candidates.push(candidate);
            return Ok(());
        }
        self.judge_candidate(now, candidate)?;
        self.pump(now);
        Ok(())
    }

    fn judge_candidate(&mut self, now: Instant, candidate: antiphon_jsep::IceCandidate) -> Result<(), Error> {
        match self.negotiator.add_remote_candidate(&candidate) {
            Ok(Some(remote)) => self
                .add_remote_candidate(now, &remote)
                .map_err(|_| Error::Signaling(JsepError::CandidateSyntax)),
            Ok(None) => Ok(()),
            // Faster than the offer that restarts ICE (RFC 8838 §11). Nobody knows whether that will come: of too many the
            // oldest go.
            Err(JsepError::CandidateGeneration) => {
                if self.early_candidates.len() >= MAX_EARLY_CANDIDATES {
                    self.early_candidates.remove(0);
                    self.transport.agent.ignore_remote_candidate();
                }
                self.early_candidates.push(candidate);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `restartIce`: the next offer has new ICE credentials. DTLS and everything above live on.
    pub fn restart_ice(&mut self) {
        if self.closing.is_none() {
            self.negotiator.restart_ice();
            self.check_negotiation_needed();
        }
    }

    /// W3C "update the negotiation-needed flag": one event until the next exchange, and only in `stable`.
    pub(crate) fn check_negotiation_needed(&mut self) {
        if self.closing.is_some() || self.signaling_state() != SignalingState::Stable {
            return;
        }
        let needed = self.negotiator.negotiation_needed();
        if needed && !self.negotiation_needed {
            self.negotiation_event = true;
        }
        if !needed {
            self.negotiation_event = false;
        }
        self.negotiation_needed = needed;
    }

    /// An exchange has moved on: whatever was needed is asked anew when it ends.
    pub(crate) fn forget_negotiation_needed(&mut self) {
        self.negotiation_needed = false;
        self.negotiation_event = false;
    }
}

/// RFC 8839 §5.3; some write it into sections.
fn says_lite(description: &SessionDescription) -> bool {
    description.session.ice_lite() || description.media.iter().any(|media| media.section.ice_lite())
}

fn described((kind, description): (SdpType, &SessionDescription)) -> RtcSessionDescription {
    RtcSessionDescription::new(kind, description.to_text())
}

fn parse(description: &RtcSessionDescription) -> Result<SessionDescription, Error> {
    // What is taken back is not looked at.
    let text = match description.sdp_type {
        SdpType::Rollback => "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        _ => &description.sdp,
    };
    SessionDescription::parse(text).map_err(|error| Error::Signaling(error.into()))
}
