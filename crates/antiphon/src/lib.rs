#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address_changes;
mod api;
mod byte_stream;
mod certificates;
mod channel;
mod driver;
mod environment;
mod error;
mod event;
mod events;
mod handle;
mod interfaces;
mod mailbox;
mod mdns;
mod media_file;
mod net;
mod recorder;
mod resolve;
pub mod room;
pub mod router;
pub mod turn_server;
#[cfg(feature = "whip")]
pub mod whip;
mod wire;

pub use antiphon_container as container;
pub use antiphon_ice::{AddressRange, CandidateKind, NatMapping, NetworkTypes, TcpCandidates};
pub use antiphon_peer_connection as peer_connection;
pub use antiphon_peer_connection::{
    Accepts, AlertDescription, Certificate, CertificateParams, ChannelInfo, ChannelState, CircuitBreaker, Codec,
    CodecCapability, Congestion, CongestionFeedbackPolicy, Contributors, DEFAULT_TONE, DEFAULT_TONE_GAP, DataChannelId,
    DataSettings, DecoderFigures, Direction, EncoderFigures, EncodingId, EncodingState, Ending, Extension,
    ExtensionCapability, FecAmount, Frame, FrameMetadata, FrameTransform, Front, IceSettings, MAX_ENCODINGS, MAX_TONE,
    MAX_TONES, MIN_TONE, MIN_TONE_GAP, MediaCapabilities, MediaKind, MediaSettings, MediaStreamTrack, Message,
    MessageKind, OfferedContent, OfferedSection, OutgoingEncoding, Output, Packet, PeerEnd, Piece, Play,
    QualityLimitation, RedDistance, Redundancy, Rid, RtcBundlePolicy, RtcConfiguration, RtcDataChannelInit,
    RtcDtlsTransportState, RtcIceCandidateInit, RtcIceConnectionState, RtcIceGatheringState, RtcIceServer,
    RtcIceTransportPolicy, RtcOfferOptions, RtcPeerConnectionState, RtcPriorityType, RtcRtcpParameters,
    RtcRtpEncodingParameters, RtcRtpSendParameters, RtcRtpTransceiverInit, RtcSctpTransportState,
    RtcSessionDescription, RtcSignalingState, RtcStats, RtcStatsReport, SdpType, SendRedundancy, Settings, Sound, Tone,
    TonePhase, Transceiver, TransceiverId, Transformed, extension, stats,
};

pub use api::{Api, ApiBuilder};
pub use byte_stream::ByteStream;
pub use channel::{DataChannel, DataChannelSender};
pub use error::{Error, TrySendError};
pub use event::Event;
pub use handle::{PeerConnection, PeerHandle};
pub use interfaces::InterfaceFilter;
pub use media_file::{MediaFile, MediaFileError, PlayEnd, PlayEvent, Playback};
pub use recorder::{Feed, RecordStats, Recorder, RecorderError};
pub use wire::{Heading, Wire};
