#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod candidate;
mod capabilities;
mod config;
mod congestion_feedback;
mod describe;
mod error;
mod format;
mod negotiation_needed;
mod negotiator;
mod offer;
mod offered;
pub mod parameter_name;
mod parameters;
mod plan;
pub mod plan_b;
mod preference;
mod profile;
mod state;
mod survey;
mod transceiver;
mod transition;
mod types;

pub use antiphon_sdp as sdp;
pub use capabilities::{Accepts, CodecCapability, ExtensionCapability, MediaCapabilities, Redundancy};
pub use config::Config;
pub use error::JsepError;
pub use negotiator::Negotiator;
pub use offered::{OfferedContent, OfferedSection};
pub use plan::{
    Codec, DataPlan, Extension, IceParameters, IceRole, Plan, ReceiveParameters, ReceiveStream, RemoteTransport, Rtx,
    SendParameters, SimulcastLayer, TrackChange, TransceiverPlan, TransportPlan,
};
pub use transceiver::{Encoding, Sender, Transceiver, TransceiverInit};
pub use types::{
    CongestionFeedbackPolicy, DtlsRole, Fingerprint, HeaderEncryptionPolicy, IceCandidate, LocalTransport, MediaKind,
    OfferOptions, RemoteCandidate, SdpType, SignalingState, TransceiverId,
};

pub use antiphon_sdp::{Direction, SessionDescription};
