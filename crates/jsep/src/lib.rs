#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod capabilities;
mod error;
mod negotiator;
mod plan;
mod transceiver;
mod types;

pub use antiphon_sdp as sdp;
pub use capabilities::{CodecCapability, ExtensionCapability, MediaCapabilities};
pub use error::JsepError;
pub use negotiator::{Config, Negotiator};
pub use plan::{
    Codec, DataPlan, Extension, IceParameters, IceRole, Plan, ReceiveParameters, ReceiveStream, RemoteTransport, Rtx,
    SendParameters, SimulcastLayer, TrackChange, TransceiverPlan, TransportPlan,
};
pub use transceiver::{Encoding, Sender, Transceiver, TransceiverInit};
pub use types::{
    DtlsRole, Fingerprint, IceCandidate, LocalTransport, MediaKind, OfferOptions, RemoteCandidate, SdpType,
    SignalingState, TransceiverId,
};

pub use antiphon_sdp::{Direction, SessionDescription};
