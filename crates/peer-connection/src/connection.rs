//! The connection itself: its parts, its making and its states.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_data_channel::DataChannels;
use antiphon_dtls::{Certificate, CertificateParams};
use antiphon_ice::Agent;
use antiphon_jsep::{Negotiator, SignalingState, TransceiverId};
use antiphon_media::{ReceiverId, SenderId, Session};
use antiphon_sansio::{ClockAnchor, Rng};

use crate::data::Data;
use crate::error::Error;
use crate::event::{Event, PeerEnd};
use crate::ice_restart::IceRestart;
use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};
use crate::transceivers::Row;
use crate::transport::Transport;
use crate::types::{MIN_MTU, RtcBundlePolicy, RtcConfiguration, RtcSessionDescription};

/// How many events wait for an application that does not ask; the oldest go first. Media and data have queues of their own.
pub const MAX_EVENTS: usize = 2048;

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// RTCP BYE and SCTP ABORT are being sent; so many datagrams so far.
    Streams(u32),
    /// The close_notify of DTLS is being sent.
    Dtls,
    /// Only what ICE has left to say, to its TURN servers.
    Ice,
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
    pub(crate) early_candidates: Vec<antiphon_jsep::IceCandidate>,
    pub(crate) negotiation_needed: bool,
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
    pub(crate) last_created: Option<RtcSessionDescription>,
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
        let mut agent = Agent::new(ice, rng.fork("ice"));
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
}
