//! The dictionaries of webrtc-pc, and what else a connection is told once.

use std::fmt;
use std::sync::Arc;

use antiphon_dtls::Certificate;
use antiphon_jsep::{Direction, MediaCapabilities, SdpType};

use crate::error::Error;

/// A STUN or TURN server (`RTCIceServer`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RtcIceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`, ...
    pub urls: Vec<String>,
    /// The TURN user name. It may be empty, as the password may: some servers ask for none.
    pub username: String,
    /// The TURN password.
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

/// How the other sections of an offer stand beside the first (`RTCBundlePolicy`). Everything always runs on one transport.
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
    /// STUN and TURN servers.
    pub ice_servers: Vec<RtcIceServer>,
    /// Which candidates may be used.
    pub ice_transport_policy: antiphon_ice::TransportPolicy,
    /// With more than 0 candidates are gathered before the first local description asks for them. There is one transport, so
    /// larger numbers do no more.
    pub ice_candidate_pool_size: u8,
    /// How sections are offered.
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
    /// ICE: lite, timers, filters, TCP, mDNS, address mappings. Its `role`, `servers` and `transport_policy` are not looked at.
    pub ice: antiphon_ice::Config,
    /// Which versions of DTLS may be negotiated.
    pub dtls_versions: antiphon_dtls::Versions,
    /// SRTP protection profiles, best first.
    pub srtp_profiles: Vec<antiphon_dtls::SrtpProfile>,
    /// Data channels and SCTP.
    pub data: antiphon_data_channel::Config,
    /// RTP: bitrates, latency. Its `cname` and sizes are not looked at.
    pub media: antiphon_media::Config,
    /// Codecs and header extensions that we negotiate.
    pub capabilities: MediaCapabilities,
    /// What a new transceiver's receiver hands out; each can be changed by `set_receive_output`.
    pub receive_output: antiphon_media::Output,
    /// The largest UDP payload, in bytes.
    pub mtu: usize,
    /// The largest UDP payload over IPv4, in bytes, that path MTU discovery tries for data channels (RFC 8899), and that forwarded
    /// RTP may have; over IPv6 20 less. Sockets must not fragment (DF). At most `mtu` turns it off, and so does an `mtu` below
    /// [`DEFAULT_MTU`].
    pub max_mtu: usize,
    /// Receives the DTLS secrets, for the dissection of captures.
    pub key_log: Option<antiphon_dtls::KeyLog>,
    /// Who computes.
    pub provider: antiphon_crypto::Provider,
}

impl Default for Settings {
    fn default() -> Self {
        use antiphon_dtls::SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80};
        Self {
            ice: antiphon_ice::Config::default(),
            dtls_versions: antiphon_dtls::Versions::Dtls12And13,
            srtp_profiles: vec![AeadAes128Gcm, AeadAes256Gcm, Aes128CmSha1_80],
            data: antiphon_data_channel::Config::default(),
            media: antiphon_media::Config::default(),
            capabilities: MediaCapabilities::default(),
            receive_output: antiphon_media::Output::Frames,
            mtu: DEFAULT_MTU,
            max_mtu: DEFAULT_MAX_MTU,
            key_log: None,
            provider: antiphon_crypto::ring_provider(),
        }
    }
}

/// The largest UDP payload by default: 1280, which IPv6 carries everywhere, less its headers and a margin for tunnels, as
/// browsers have it.
pub const DEFAULT_MTU: usize = 1200;

/// The largest UDP payload that path MTU discovery tries by default: what Ethernet carries, less the headers of IPv4 and UDP.
pub const DEFAULT_MAX_MTU: usize = 1500 - 28;

/// The smallest [`Settings::mtu`] that is honoured.
pub const MIN_MTU: usize = 576;

/// A description (`RTCSessionDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcSessionDescription {
    /// `type`.
    pub sdp_type: SdpType,
    /// The text. For a rollback it is not looked at.
    pub sdp: String,
}

impl RtcSessionDescription {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self::new(SdpType::Offer, sdp)
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self::new(SdpType::Answer, sdp)
    }

    /// Takes the pending description back.
    pub fn rollback() -> Self {
        Self::new(SdpType::Rollback, "")
    }

    /// A description of this type.
    pub fn new(sdp_type: SdpType, sdp: impl Into<String>) -> Self {
        Self {
            sdp_type,
            sdp: sdp.into(),
        }
    }
}

/// How a transceiver begins (`RTCRtpTransceiverInit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcRtpTransceiverInit {
    /// The direction that we prefer.
    pub direction: Direction,
    /// The ids of the streams that its outgoing track belongs to.
    pub streams: Vec<String>,
    /// The id of its outgoing track, if it has one; shown to the peer in `a=msid`.
    pub track_id: Option<String>,
}

impl Default for RtcRtpTransceiverInit {
    fn default() -> Self {
        Self::new(Direction::SendRecv)
    }
}

impl RtcRtpTransceiverInit {
    /// A transceiver without a track.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            streams: Vec::new(),
            track_id: None,
        }
    }
}

/// A source of media, as far as signalling is concerned (`MediaStreamTrack` and its streams).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaStreamTrack {
    /// Audio or video.
    pub kind: antiphon_jsep::MediaKind,
    /// Its id. One id may be sent once.
    pub id: String,
    /// The ids of the streams that it belongs to.
    pub stream_ids: Vec<String>,
}

/// How a data channel begins (`RTCDataChannelInit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcDataChannelInit {
    /// Whether messages arrive in order.
    pub ordered: bool,
    /// Milliseconds during which a message is (re)transmitted. Not together with `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is retransmitted. Not together with `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// A subprotocol's name; may be empty.
    pub protocol: String,
    /// Both applications open the channel with the same `id`; the peer is not told.
    pub negotiated: bool,
    /// The id of a negotiated channel. Ignored for others, whose ids follow from the DTLS role.
    pub id: Option<u16>,
    /// Announced to the peer (RFC 8831 §6.4).
    pub priority: antiphon_data_channel::Priority,
}

impl Default for RtcDataChannelInit {
    fn default() -> Self {
        Self {
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
            priority: antiphon_data_channel::Priority::default(),
        }
    }
}

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
