//! Transceivers: the table of what is sent and received, and the calls of the application.

mod calls;
mod dtmf;
mod encodings;
mod parameters;
mod row;
mod table;
mod transform;

pub use encodings::{EncodingId, EncodingState, OutgoingEncoding};
pub(crate) use parameters::plain_encoding;
pub use parameters::{MAX_ENCODINGS, RtcRtcpParameters, RtcRtpEncodingParameters, RtcRtpSendParameters};
pub(crate) use row::Encoding;
pub use table::MAX_TRANSCEIVERS;
pub(crate) use table::Transceivers;
