//! The connection itself: its parts, its making and its states.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_data_channel::DataChannels;
use antiphon_dtls::{Certificate, CertificateParams};
use antiphon_ice::{Agent, IceServer, ServerKind};
use antiphon_jsep::{IceRole, Negotiator, SignalingState};
use antiphon_media::Session;
use antiphon_sansio::{ClockAnchor, Path, Queue, Rng};

use crate::configuration::{MIN_MTU, RtcBundlePolicy, RtcConfiguration, RtcIceServer, Settings};
use crate::data::Data;
use crate::error::Error;
use crate::event::{Event, PeerEnd};
use crate::ice_restart::IceRestart;
use crate::io::run::Ahead;
use crate::polled::Polled;
use crate::signaling::Signaling;
use crate::states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
    States,
};
use crate::stats::playout::AudioPlayoutFigures;
use crate::transceivers::Transceivers;
use crate::transport::Transport;

/// How many events wait for an application that does not ask; the oldest go first. Media and data have queues of their
/// own.
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
/// [`handle_timeout`](Self::handle_timeout), [`handle_io`](Self::handle_io)) and the calls of the application. After
/// each of these it polls until nothing is left: [`poll_transmit`](Self::poll_transmit), [`poll_io`](Self::poll_io),
/// [`poll_event`](Self::poll_event); and calls [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says.
// What each packet looks at comes first, side by side.
#[derive(Debug)]
#[repr(C)]
pub struct PeerConnection {
    pub(crate) closing: Option<Closing>,
    /// Whether data goes before media the next time.
    pub(crate) data_turn: bool,
    /// A datagram that was written and did not fit the run before it.
    pub(crate) ahead: Option<Box<Ahead>>,
    pub(crate) sizes: Sizes,
    pub(crate) events: Queue<Event>,
    pub(crate) transceivers: Transceivers,
    pub(crate) signaling: Signaling,
    pub(crate) transport: Transport,
    pub(crate) data: Data,
    pub(crate) media: Polled<Session>,
    pub(crate) ice_restart: IceRestart,
    pub(crate) states: States,
    pub(crate) anchor: ClockAnchor,
    pub(crate) rng: Rng,
    /// The role that signalling gave ICE last; a conflict may have changed it since.
    pub(crate) planned_role: Option<IceRole>,
    /// Our candidates of this generation, for descriptions made later.
    pub(crate) local_candidates: Vec<String>,
    /// What was gathered ahead of the first local description, with an `ice_candidate_pool_size`.
    pub(crate) pool: Option<Vec<antiphon_ice::Event>>,
    /// How the peer ended the connection, if the application was told that it did.
    pub(crate) peer_end: Option<PeerEnd>,
    /// The round trip that the layers above ICE were told last.
    pub(crate) rtt: Option<Duration>,
    /// What the application told of how sound is played.
    pub(crate) playout: Option<Box<AudioPlayoutFigures>>,
}

/// How large datagrams may be, in bytes of UDP payload.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// What is sent without asking.
    pub(crate) mtu: usize,
    /// What path MTU discovery tries over IPv4.
    pub(crate) max_mtu: usize,
    /// Whether the path may become a relayed one.
    pub(crate) relays: bool,
    /// The largest of all on the path in use.
    pub(crate) largest: usize,
}

impl PeerConnection {
    /// A connection. `anchor` gives the wall clock's time at some `Instant`; everything random comes from `rng`, but a
    /// new certificate and the keys of key exchanges, which the crypto provider draws.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(configuration: RtcConfiguration, now: Instant, anchor: ClockAnchor, rng: Rng) -> Result<Self, Error> {
        let settings = configuration.settings;
        if settings.mtu < MIN_MTU {
            return Err(Error::Setting("the MTU is below 576 bytes"));
        }
        let certificate = certificate(&configuration.certificates)?;
        let servers: Vec<IceServer> = configuration
            .ice_servers
            .iter()
            .map(RtcIceServer::parse)
            .collect::<Result<_, _>>()?;
        let mut urls = servers.iter().flat_map(|server| &server.urls);
        let relays = urls.any(|url| url.kind == ServerKind::Turn);
        let encryption = configuration.rtp_header_encryption_policy;
        let bundle_only = configuration.bundle_policy == RtcBundlePolicy::MaxBundle;
        let dtls = dtls_config(&settings, certificate);
        let data = antiphon_data_channel::Config::from(settings.data);
        let jsep = antiphon_jsep::Config {
            capabilities: settings.capabilities,
            // Read in pieces, messages may have any size (RFC 8841 §6.1).
            max_message_size: match data.association.partial_delivery {
                true => 0,
                false => data.association.max_receive_message as u64,
            },
            sctp_port: data.association.local_port,
            cname: String::new(),
            bundle_only,
            header_encryption: encryption,
            congestion_feedback: settings.media.congestion_feedback,
        };
        let negotiator = Negotiator::new(jsep, rng.fork("jsep"));
        let media = antiphon_media::Config {
            cname: negotiator.config().cname.clone(),
            ..settings.media.into()
        };
        let ice = antiphon_ice::Config {
            servers,
            transport_policy: configuration.ice_transport_policy,
            ..settings.ice.into()
        };
        let mut agent = Agent::new(ice, rng.fork("ice"));
        let gathers_ahead = configuration.ice_candidate_pool_size > 0;
        if gathers_ahead {
            agent.gather(now);
        }
        let mut connection = Self {
            signaling: Signaling::new(negotiator),
            ice_restart: IceRestart::default(),
            transport: Transport::new(agent, dtls, encryption, rng.fork("dtls")),
            transceivers: Transceivers::new(settings.receive_output),
            media: Polled::new(Session::new(media, now, anchor, rng.fork("media"))),
            data: Data::new(DataChannels::new(data, now, rng.fork("data"))),
            events: Queue::default(),
            states: States::default(),
            sizes: Sizes {
                mtu: settings.mtu,
                max_mtu: settings.max_mtu,
                relays,
                largest: settings.mtu,
            },
            anchor,
            rng: rng.fork("peer-connection"),
            planned_role: None,
            local_candidates: Vec::new(),
            pool: gathers_ahead.then(Vec::new),
            peer_end: None,
            closing: None,
            data_turn: false,
            ahead: None,
            rtt: None,
            playout: None,
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
        self.signaling.negotiator.signaling_state()
    }

    /// `iceGatheringState`.
    pub fn ice_gathering_state(&self) -> RtcIceGatheringState {
        self.states.gathering
    }

    /// `iceConnectionState`.
    pub fn ice_connection_state(&self) -> RtcIceConnectionState {
        self.states.ice
    }

    /// `connectionState`.
    pub fn connection_state(&self) -> RtcPeerConnectionState {
        self.states.connection
    }

    /// The state of the DTLS transport.
    pub fn dtls_state(&self) -> RtcDtlsTransportState {
        self.transport.dtls_state
    }

    /// Whether RTP header extensions and CSRCs are sent encrypted (`rtpHeaderEncryptionNegotiated`): for all
    /// transceivers or for none, for they share the transport. It ends, unless it is required, if the peer sends no
    /// report of what goes out so.
    pub fn rtp_header_encryption_negotiated(&self) -> bool {
        self.transport.header_encryption_negotiated()
    }

    /// The state of the SCTP transport; `None` while no data section is negotiated.
    pub fn sctp_state(&self) -> Option<RtcSctpTransportState> {
        self.states.sctp
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.closing.is_some()
    }

    /// The user name fragment by which the peer's checks name us: in one-port mode the driver finds us by it. It
    /// changes with an ICE restart, when a local description is set.
    pub fn local_ufrag(&self) -> &str {
        &self.transport.agent.local_credentials().ufrag
    }

    /// Whether a Binding message with valid MESSAGE-INTEGRITY came from `path`: the driver may route the path to us.
    pub fn is_authenticated(&self, path: &Path) -> bool {
        self.transport.agent.is_authenticated(path)
    }
}

/// Ours: the one that was given, or a new one.
fn certificate(given: &[Arc<Certificate>]) -> Result<Arc<Certificate>, Error> {
    match given {
        [] => Certificate::generate(&CertificateParams::default())
            .map(Arc::new)
            .map_err(Error::Certificate),
        [certificate] => Ok(Arc::clone(certificate)),
        _ => Err(Error::TooManyCertificates),
    }
}

fn dtls_config(settings: &Settings, certificate: Arc<Certificate>) -> antiphon_dtls::Config {
    let mut config = antiphon_dtls::Config::new(certificate);
    config.srtp_profiles.clone_from(&settings.srtp_profiles);
    config.versions = settings.dtls_versions;
    config.mtu = settings.mtu;
    config.key_log.clone_from(&settings.key_log);
    config.provider = settings.provider;
    config
}

#[cfg(test)]
mod tests;
