#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod allocation;
mod assembler;
mod breaker;
mod capture;
mod config;
pub mod congestion;
mod deadlines;
mod dtmf;
mod error;
mod event;
mod events;
mod feedback;
mod frame_count;
mod inbound;
mod key_frames;
mod keypad;
mod limitation;
mod lip_sync;
mod nack;
mod outbound;
mod pacer;
mod playout;
mod reception;
mod redundancy;
mod repairs;
mod ring;
mod routing;
mod section;
mod senders;
mod session;
mod share;
mod stats;
mod transform;

pub use allocation::Priority;
pub use antiphon_rtp::bitstream::Resolution;
pub use antiphon_rtp::payload::{FrameFacts, Front};
pub use antiphon_rtp::{Rid, extension};
pub use breaker::CircuitBreaker;
pub use config::{
    Bounds, Codec, Config, FecAmount, Feedback, Kind, MAX_JITTER_BUFFER_TARGET, Output, ReceiverConfig, RedDistance,
    RemoteSource, SAFE_PACKET, SendRedundancy, SenderConfig,
};
pub use dtmf::{DEFAULT_TONE, DEFAULT_TONE_GAP, MAX_TONE, MAX_TONES, MIN_TONE, MIN_TONE_GAP};
pub use error::Error;
pub use event::{
    Contributors, Event, Frame, Outgoing, Packet, PacketKind, Play, ReceiverId, SenderId, Sound, Tone, TonePhase,
};
pub use frame_count::FrameRate;
pub use limitation::{QualityLimitation, QualityLimitations};
pub use session::Session;
pub use stats::{
    CongestionStats, DecoderFigures, Dropped, EcnStats, EncoderFigures, FramesReceived, FramesSent, InboundRtp,
    MarkingEnd, MarksReceived, OutboundRtp, Played, PlayoutFigures, RemoteInboundRtp, RemoteOutboundRtp, Repaired,
    RepairsSent, Reported, SoundFigures, Stats, StreamFeedback, UsedCodec,
};
pub use transform::{FrameMetadata, FrameTransform, Transformed};
