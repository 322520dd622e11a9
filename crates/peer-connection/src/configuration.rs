//! How a connection is to be made: `RTCConfiguration`, and the settings that the W3C has no words for.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use antiphon_dtls::Certificate;
use antiphon_ice::{AddressRange, ContactBudget, NatMapping, NetworkTypes, TcpCandidates, Timing};
use antiphon_jsep::{CongestionFeedbackPolicy, MediaCapabilities};
use antiphon_media::SendRedundancy;
use antiphon_media::congestion::Congestion;

use crate::error::Error;

/// A STUN or TURN server (`RTCIceServer`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RtcIceServer {
    /// One server, by whichever of these addresses answers: `stun:host:port`, `turn:host:port?transport=udp`, `turns:host`.
    pub urls: Vec<String>,
    /// The TURN user name. It may be empty, as the password may: some servers ask for none.
    pub username: String,
    /// The TURN password; it stays out of logs.
    pub credential: String,
}

impl RtcIceServer {
    /// A server that needs no password.
    pub fn stun(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            ..Self::default()
        }
    }

    pub(crate) fn parse(&self) -> Result<antiphon_ice::IceServer, Error> {
        let urls = self
            .urls
            .iter()
            .map(|url| {
                url.parse::<antiphon_ice::ServerUrl>()
                    .map_err(|reason| Error::ServerUrl {
                        url: url.clone(),
                        reason,
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(Error::ServerWithoutUrl);
        }
        Ok(antiphon_ice::IceServer {
            urls,
            username: self.username.clone(),
            credential: self.credential.clone(),
        })
    }
}

impl fmt::Debug for RtcIceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtcIceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// How the other sections of an offer stand beside the first (`RTCBundlePolicy`). Everything always runs on one
/// transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcBundlePolicy {
    /// Sections may be read by a peer that does not bundle; it must still accept only the first.
    #[default]
    Balanced,
    /// All sections but the first are bundle-only.
    MaxBundle,
}

/// `RTCRtpHeaderEncryptionPolicy`: with `Require` nothing of a peer that sends header extensions in the clear is taken.
pub use antiphon_jsep::HeaderEncryptionPolicy as RtcRtpHeaderEncryptionPolicy;

/// How a connection is to be made (`RTCConfiguration`).
#[derive(Clone, Debug, Default)]
pub struct RtcConfiguration {
    /// The STUN and TURN servers that candidates are gathered from.
    pub ice_servers: Vec<RtcIceServer>,
    /// Which candidates may be used: all, or relayed ones only.
    pub ice_transport_policy: antiphon_ice::TransportPolicy,
    /// With more than 0 candidates are gathered before the first local description asks for them. There is one
    /// transport, so larger numbers do no more.
    pub ice_candidate_pool_size: u8,
    /// How the sections of an offer stand to each other.
    pub bundle_policy: RtcBundlePolicy,
    /// Whether RTP header extensions and CSRCs are encrypted (`rtpHeaderEncryptionPolicy`, RFC 9335).
    pub rtp_header_encryption_policy: RtcRtpHeaderEncryptionPolicy,
    /// Our certificate: at most one. A new one is made if there is none.
    pub certificates: Vec<Arc<Certificate>>,
    /// What the W3C has no words for.
    pub settings: Settings,
}

/// The settings beyond `RTCConfiguration`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How candidates are gathered, and how long a silent peer is believed in.
    pub ice: IceSettings,
    /// Which versions of DTLS may be negotiated.
    pub dtls_versions: antiphon_dtls::Versions,
    /// The SRTP protection profiles that may be negotiated, best first.
    pub srtp_profiles: Vec<antiphon_dtls::SrtpProfile>,
    /// How much data channels may take, and in which manner they travel.
    pub data: DataSettings,
    /// The bounds of the bandwidth estimate, and how long frames are waited for.
    pub media: MediaSettings,
    /// Codecs and header extensions that may be negotiated. Connections share them: `Arc::make_mut` to change those of
    /// one. [`MediaCapabilities::with_redundancy`] adds RED and forward error correction, which are received and
    /// undone, and sent as `media.redundancy` says.
    pub capabilities: Arc<MediaCapabilities>,
    /// What a new transceiver's receiver hands out; each can be changed by `set_receive_output`.
    pub receive_output: antiphon_media::Output,
    /// The largest UDP payload, in bytes, that is sent without asking; at least [`MIN_MTU`].
    pub mtu: usize,
    /// The largest UDP payload over IPv4, in bytes, that path MTU discovery tries for data channels (RFC 8899), and
    /// that forwarded RTP may have; over IPv6 20 less. Sockets must not fragment (DF). At most `mtu` turns it off, and
    /// so does an `mtu` below [`DEFAULT_MTU`].
    pub max_mtu: usize,
    /// Receives the secrets of DTLS, so that captures can be dissected; `None` keeps them.
    pub key_log: Option<antiphon_dtls::KeyLog>,
    /// The cryptographic library that DTLS and SRTP compute with.
    pub provider: antiphon_crypto::Provider,
}

impl Default for Settings {
    fn default() -> Self {
        use antiphon_dtls::SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80};
        Self {
            ice: IceSettings::default(),
            dtls_versions: antiphon_dtls::Versions::Dtls12And13,
            srtp_profiles: vec![AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80],
            data: DataSettings::default(),
            media: MediaSettings::default(),
            capabilities: MediaCapabilities::shared_default(),
            receive_output: antiphon_media::Output::Frames,
            mtu: DEFAULT_MTU,
            max_mtu: DEFAULT_MAX_MTU,
            key_log: None,
            provider: antiphon_crypto::ring_provider(),
        }
    }
}

/// Settings of ICE.
#[derive(Clone, Debug)]
pub struct IceSettings {
    /// Whether we are a lite agent (RFC 8445 §2.5): host candidates only, answers but never asks. Default false.
    pub lite: bool,
    /// Whether addresses of the loopback interface become candidates. Default false.
    pub include_loopback: bool,
    /// Whether IPv6 link-local addresses become candidates. Without a scope they work on few machines. Default false.
    pub include_link_local: bool,
    /// Which transports and families host candidates have. Default: all.
    pub network_types: NetworkTypes,
    /// If there are any, only interface addresses in one of these become candidates.
    pub allowed_addresses: Vec<AddressRange>,
    /// Interface addresses in one of these do not become candidates.
    pub denied_addresses: Vec<AddressRange>,
    /// The port that every socket and listener is bound to; 0, the default, lets the driver choose.
    pub port: u16,
    /// With `port: 0`: the range that ports are drawn from; those that are taken are passed over. `None`: any.
    pub port_range: Option<RangeInclusive<u16>>,
    /// Which TCP candidates are gathered (RFC 6544).
    pub tcp: TcpCandidates,
    /// The addresses under which NATs that we know map ours.
    pub nat_mappings: Vec<NatMapping>,
    /// Whether host candidates name a random `.local` name instead of the address
    /// (draft-ietf-mmusic-mdns-ice-candidates), for whose publication the driver is asked; reflexive candidates hide
    /// their base then. Default false.
    pub hide_host_addresses: bool,
    /// Whether `.local` names of remote candidates are resolved. Default true.
    pub resolve_mdns: bool,
    /// Whether interfaces are watched: one that comes gives new candidates, even after gathering is complete, and one
    /// that goes takes its own along; the connection moves to another pair. Default true.
    pub continual_gathering: bool,
    /// Whether the controlling end may nominate again when a better pair works, if both ends say
    /// `a=ice-options:renomination` (draft-thatcher-ice-renomination). Default true.
    pub renomination: bool,
    /// Whether IPv4 allocations ask for an IPv6 address besides (RFC 8656 §7.1), and so reach peers that have nothing
    /// else. Default false.
    pub relay_both_families: bool,
    /// Whether the driver gives its sockets to several connections (one-port mode). Allocations on TURN servers then
    /// get sockets of their own. Default false.
    pub shared_sockets: bool,
    /// What all connections of a process together may send to addresses that have not shown themselves. `None`, the
    /// default: each connection keeps to its own pace.
    pub contacts: Option<ContactBudget>,
    /// How fast ICE goes about it, and how long it believes in a peer that does not answer.
    pub timing: Timing,
}

impl Default for IceSettings {
    fn default() -> Self {
        let inner = antiphon_ice::Config::default();
        Self {
            lite: inner.lite,
            include_loopback: inner.include_loopback,
            include_link_local: inner.include_link_local,
            network_types: inner.network_types,
            allowed_addresses: inner.allowed_addresses,
            denied_addresses: inner.denied_addresses,
            port: inner.port,
            port_range: inner.port_range,
            tcp: inner.tcp,
            nat_mappings: inner.nat_mappings,
            hide_host_addresses: inner.hide_host_addresses,
            resolve_mdns: inner.resolve_mdns,
            continual_gathering: inner.continual_gathering,
            renomination: inner.renomination,
            relay_both_families: inner.relay_both_families,
            shared_sockets: inner.shared_sockets,
            contacts: inner.contacts,
            timing: inner.timing,
        }
    }
}

/// Offer and answer give the role; `RTCConfiguration` gives the servers and the policy.
impl From<IceSettings> for antiphon_ice::Config {
    fn from(settings: IceSettings) -> Self {
        Self {
            lite: settings.lite,
            include_loopback: settings.include_loopback,
            include_link_local: settings.include_link_local,
            network_types: settings.network_types,
            allowed_addresses: settings.allowed_addresses,
            denied_addresses: settings.denied_addresses,
            port: settings.port,
            port_range: settings.port_range,
            tcp: settings.tcp,
            nat_mappings: settings.nat_mappings,
            hide_host_addresses: settings.hide_host_addresses,
            resolve_mdns: settings.resolve_mdns,
            continual_gathering: settings.continual_gathering,
            renomination: settings.renomination,
            relay_both_families: settings.relay_both_families,
            shared_sockets: settings.shared_sockets,
            contacts: settings.contacts,
            timing: settings.timing,
            ..Self::default()
        }
    }
}

/// Settings of data channels and of the SCTP association under them.
#[derive(Clone, Debug)]
pub struct DataSettings {
    /// The bytes that may wait for the application before the peer is told to pause. Default 16 MiB.
    pub receive_buffer: usize,
    /// The bytes that may wait for transmission, all channels together. Of messages, however small, one may wait for
    /// each 64 of them. Default 16 MiB.
    pub send_buffer: usize,
    /// The largest message, in bytes, that is taken from the peer; it is told so (`a=max-message-size`). A larger one
    /// ends the association. Default 256 KiB.
    pub max_receive_message: usize,
    /// Whether ordered messages beyond `max_receive_message` are handed out in pieces as they arrive, instead of ending
    /// the association: `read_piece` then takes messages of any size. Default false.
    pub partial_delivery: bool,
    /// Whether I-DATA is used with a peer that knows it (RFC 8260): large messages do not hold up others. Default true.
    pub interleaving: bool,
    /// How many channels may exist at once, closing ones included; at most 65535, which is the default.
    pub max_channels: usize,
}

impl Default for DataSettings {
    fn default() -> Self {
        let inner = antiphon_data_channel::Config::default();
        Self {
            receive_buffer: inner.association.receive_buffer,
            send_buffer: inner.association.send_buffer,
            max_receive_message: inner.association.max_receive_message,
            partial_delivery: inner.association.partial_delivery,
            interleaving: inner.association.interleaving,
            max_channels: inner.max_channels,
        }
    }
}

/// Ports and sizes of packets are the connection's own affair.
impl From<DataSettings> for antiphon_data_channel::Config {
    fn from(settings: DataSettings) -> Self {
        let inner = Self::default();
        Self {
            association: antiphon_sctp::Config {
                receive_buffer: settings.receive_buffer,
                send_buffer: settings.send_buffer,
                max_receive_message: settings.max_receive_message,
                partial_delivery: settings.partial_delivery,
                interleaving: settings.interleaving,
                ..inner.association
            },
            max_channels: settings.max_channels,
        }
    }
}

/// Settings of RTP.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// The congestion controller that decides how much is sent. Default: GoogCC.
    pub congestion: Congestion,
    /// Whether congestion control feedback of RFC 8888 is offered or accepted. A controller that heeds ECN marks hears of them by this
    /// feedback alone: offer it there. Default: it is only accepted.
    pub congestion_feedback: CongestionFeedbackPolicy,
    /// The first estimate of the bandwidth, in bits a second. Default 1 Mbit/s.
    pub start_bitrate: u64,
    /// The estimate never goes below this, in bits a second. Default 30 kbit/s.
    pub min_bitrate: u64,
    /// The estimate never goes above this, in bits a second. Default 50 Mbit/s.
    pub max_bitrate: u64,
    /// How long after a burst of video began the next one begins, if fewer than 12 kB wait: packets that come in between leave, and are
    /// received, together, which costs both ends much less. What comes after a pause leaves at once, and so do repairs that were asked
    /// for, and packets that are forwarded. Default 4 ms; 0: nothing waits for others.
    pub gather: Duration,
    /// How long a receiver that assembles frames waits for a missing packet at most; it goes on sooner when nothing can bring it any more.
    /// Default 2 s.
    pub max_latency: Duration,
    /// How senders use redundancy that was negotiated ([`MediaCapabilities::with_redundancy`]). Default: by the losses and the round
    /// trip that the peer's reports show.
    pub redundancy: SendRedundancy,
    /// Whether streams cease of which the peer says nothing, that do not arrive, or that take ten times what TCP would (RFC 8083). Default:
    /// yes, as RFC 8834 §7.1 asks of everybody.
    pub circuit_breakers: bool,
}

impl Default for MediaSettings {
    fn default() -> Self {
        let inner = antiphon_media::Config::default();
        Self {
            congestion: inner.congestion,
            congestion_feedback: CongestionFeedbackPolicy::default(),
            start_bitrate: inner.start_bitrate,
            min_bitrate: inner.min_bitrate,
            max_bitrate: inner.max_bitrate,
            gather: inner.gather,
            max_latency: inner.max_latency,
            redundancy: inner.redundancy,
            circuit_breakers: inner.circuit_breakers,
        }
    }
}

/// The name in RTCP and the sizes of packets are the connection's own affair, and what RTCP carries is negotiated.
impl From<MediaSettings> for antiphon_media::Config {
    fn from(settings: MediaSettings) -> Self {
        Self {
            congestion: settings.congestion,
            start_bitrate: settings.start_bitrate,
            min_bitrate: settings.min_bitrate,
            max_bitrate: settings.max_bitrate,
            gather: settings.gather,
            max_latency: settings.max_latency,
            redundancy: settings.redundancy,
            circuit_breakers: settings.circuit_breakers,
            ..Self::default()
        }
    }
}

/// The largest UDP payload by default: 1280, which IPv6 carries everywhere, less its headers and a margin for tunnels,
/// as browsers have it.
pub const DEFAULT_MTU: usize = 1200;

/// The largest UDP payload that path MTU discovery tries by default: what Ethernet carries, less the headers of IPv4
/// and UDP.
pub const DEFAULT_MAX_MTU: usize = 1500 - 28;

/// The smallest [`Settings::mtu`] that is honoured.
pub const MIN_MTU: usize = 576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend12_urls_with_blanks_and_empty_credentials_are_read() {
        for url in [
            "turn: turn.example.org",
            " turn:turn.example.org:3478?transport=udp\n",
            "TURN:turn.example.org",
        ] {
            let server = RtcIceServer::stun(url).parse().unwrap();
            assert_eq!(server.urls[0].to_string(), "turn:turn.example.org:3478?transport=udp");
        }
        for url in ["turn:turn example.org", "turn://turn.example.org", "turn: "] {
            let error = RtcIceServer::stun(url).parse().unwrap_err();
            assert!(error.to_string().contains("without slashes or blanks"), "{error}");
        }
    }

    #[test]
    fn servers_are_checked() {
        assert!(RtcIceServer::stun("stun:stun.example.org:19302").parse().is_ok());
        assert!(matches!(
            RtcIceServer::stun("http://example.org").parse(),
            Err(Error::ServerUrl { .. })
        ));
        assert!(matches!(RtcIceServer::default().parse(), Err(Error::ServerWithoutUrl)));
        let server = RtcIceServer {
            urls: vec!["turn:turn.example.org".into()],
            username: "user".into(),
            credential: "secret".into(),
        };
        assert!(server.parse().is_ok());
        assert!(!format!("{server:?}").contains("secret"));
    }
}
