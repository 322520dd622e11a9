#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// The tests of whole peers name this crate from outside; a few must look inside.
#[cfg(test)]
extern crate self as antiphon_peer_connection;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

mod configuration;
mod connection;
mod data;
mod demux;
mod error;
mod event;
mod header_encryption;
mod ice_restart;
mod io;
mod polled;
mod signaling;
mod states;
pub mod stats;
mod transceivers;
mod transport;
mod types;

pub use antiphon_data_channel::{
    ChannelId as DataChannelId, ChannelInfo, ChannelState, Ending, Message, MessageKind, Piece, Priority,
};
pub use antiphon_dtls::{
    AlertDescription, Certificate, CertificateParams, KeyLog, SrtpProfile, Versions as DtlsVersions,
};
pub use antiphon_ice::{
    Framing as IceFraming, IoEvent, IoRequest, Timing as IceTiming, TransportPolicy as RtcIceTransportPolicy,
};
pub use antiphon_jsep::{
    Accepts, Codec, CodecCapability, CongestionFeedbackPolicy, Direction, Extension, ExtensionCapability,
    IceCandidate as RtcIceCandidateInit, MediaCapabilities, MediaKind, OfferOptions as RtcOfferOptions, OfferedContent,
    OfferedSection, Redundancy, SdpType, SignalingState as RtcSignalingState, Transceiver, TransceiverId,
};
pub use antiphon_media::congestion::Congestion;
pub use antiphon_media::{
    CircuitBreaker, Contributors, DEFAULT_TONE, DEFAULT_TONE_GAP, DecoderFigures, EncoderFigures, FecAmount, Frame,
    FrameMetadata, FrameTransform, Front, MAX_TONE, MAX_TONES, MIN_TONE, MIN_TONE_GAP, Output, Packet, Play,
    Priority as RtcPriorityType, QualityLimitation, RedDistance, Reported, Rid, SendRedundancy, Sound, Tone, TonePhase,
    Transformed, extension,
};
pub use antiphon_sansio::{Bytes, BytesMut, ClockAnchor, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
pub use configuration::{
    DEFAULT_MAX_MTU, DEFAULT_MTU, DataSettings, IceSettings, MIN_MTU, MediaSettings, RtcBundlePolicy, RtcConfiguration,
    RtcIceServer, RtcRtpHeaderEncryptionPolicy, Settings,
};
pub use connection::{MAX_EVENTS, PeerConnection};
pub use data::MAX_EARLY_SCTP_PACKETS;
pub use demux::{Protocol, classify};
pub use error::{EncodingError, Error};
pub use event::{Event, PeerEnd};
pub use signaling::MAX_EARLY_CANDIDATES;
pub use states::{
    RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState, RtcPeerConnectionState, RtcSctpTransportState,
};
pub use stats::{RtcStats, RtcStatsReport, StatValue};
pub use transceivers::{
    EncodingId, EncodingState, MAX_ENCODINGS, MAX_TRANSCEIVERS, OutgoingEncoding, RtcRtcpParameters,
    RtcRtpEncodingParameters, RtcRtpSendParameters,
};
pub use transport::{MAX_HELD_BYTES, MAX_HELD_DATAGRAMS};
pub use types::{MediaStreamTrack, RtcDataChannelInit, RtcRtpTransceiverInit, RtcSessionDescription};
