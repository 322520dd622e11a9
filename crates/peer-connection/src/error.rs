//! Why a call was refused, in words and with the W3C's names.

use antiphon_data_channel::{OpenError, SendError};
use antiphon_jsep::JsepError;

/// Why a call was refused. Nothing has changed then. What a peer does wrong on the wire is never an error: it is
/// dropped and counted, and shows in the states.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is closed.
    #[error("the peer connection is closed")]
    Closed,
    /// Signalling refused it; the reason says why.
    #[error(transparent)]
    Signaling(#[from] JsepError),
    /// A word that is no type of a description.
    #[error("{0:?} is no type of a description")]
    DescriptionType(String),
    /// The URL of a STUN or TURN server cannot be used.
    #[error("{url}: {reason}")]
    ServerUrl {
        /// The URL, as it was given.
        url: String,
        /// What is wrong with the URL.
        reason: antiphon_ice::UrlError,
    },
    /// A server has no URL.
    #[error("an ICE server needs a URL")]
    ServerWithoutUrl,
    /// There is more than one certificate, or ours could not be made or read.
    #[error("certificate: {0}")]
    Certificate(antiphon_dtls::Error),
    /// More than one certificate was given.
    #[error("only one certificate can be used")]
    TooManyCertificates,
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(&'static str),
    /// Both ends are ICE-lite: neither would ever check whether the other is there and wants to be sent to, which RFC
    /// 7675 demands of whoever sends.
    #[error("both ends are ICE-lite, so neither would ask whether the other is there")]
    BothLite,
    /// A candidate is neither for a section nor for the whole session.
    #[error("a candidate needs sdp_mid or sdp_m_line_index")]
    CandidateWithoutSection,
    /// Too many candidates came before the description that they belong to.
    #[error("too many candidates before the remote description")]
    TooManyCandidates,
    /// What is asked of an encoding cannot be.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// `get_parameters` gave none since the last `set_parameters`.
    #[error("get_parameters comes before set_parameters")]
    NoParameters,
    /// The parameters are not those that `get_parameters` gave last.
    #[error("the parameters are not those that get_parameters gave last: {0}")]
    Parameters(&'static str),
    /// The track is being sent already.
    #[error("the track has a sender already")]
    TrackInUse,
    /// A transceiver for sound cannot send pictures, nor one for pictures sound.
    #[error("the track is of another kind than the transceiver")]
    TrackKind,
    /// There are too many transceivers or data channels.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// There is no such transceiver, or it is stopped.
    #[error("no such transceiver, or it is stopped")]
    NoTransceiver,
    /// The transceiver does not send, or not yet: its negotiated direction says so.
    #[error("the transceiver does not send")]
    NotSending,
    /// The transceiver sends, but no encoding of that name: it has none, or the peer did not take it.
    #[error("no encoding of that name is sent")]
    NoEncoding,
    /// The transceiver does not receive, or not yet.
    #[error("the transceiver does not receive")]
    NotReceiving,
    /// A negotiated data channel needs an id.
    #[error("a negotiated data channel needs an id")]
    ChannelWithoutId,
    /// The data channel could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The message was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The frame or packet was not taken.
    #[error(transparent)]
    Media(#[from] antiphon_media::Error),
}

/// What is wrong with an encoding that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// It cannot be the name of a layer.
    #[error("a RID has 1 to 16 letters and digits, unlike {0:?}")]
    Rid(String),
    /// Of several encodings each needs a name.
    #[error("each of several encodings needs a RID")]
    RidMissing,
    /// Two layers have this name.
    #[error("the RID {0} stands twice")]
    RidTwice(String),
    /// Pictures can be made smaller, not larger.
    #[error("scale_resolution_down_by is below 1")]
    ScaleResolutionDownBy,
    /// There are no fewer pictures than none.
    #[error("max_framerate is negative")]
    MaxFramerate,
    /// webrtc-svc knows no mode of this name.
    #[error("no scalability mode is called {0:?}")]
    ScalabilityMode(String),
    /// There is no codec of this name.
    #[error("no codec is called {0:?}")]
    Codec(String),
}

impl EncodingError {
    /// The name that the W3C gives to this error.
    fn name(&self) -> &'static str {
        match self {
            Self::Rid(_) | Self::RidMissing | Self::RidTwice(_) => "TypeError",
            Self::ScaleResolutionDownBy | Self::MaxFramerate => "RangeError",
            Self::ScalabilityMode(_) | Self::Codec(_) => "OperationError",
        }
    }
}

impl Error {
    /// The name that the W3C gives to this error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed | Self::NoTransceiver | Self::NotSending | Self::NotReceiving => "InvalidStateError",
            Self::NoEncoding | Self::NoParameters => "InvalidStateError",
            Self::Encoding(error) => error.name(),
            Self::Signaling(error) => signaling_name(error),
            Self::ServerUrl { .. } => "SyntaxError",
            Self::ServerWithoutUrl | Self::TrackInUse | Self::BothLite => "InvalidAccessError",
            Self::Certificate(_) | Self::TooManyCertificates => "InvalidAccessError",
            Self::DescriptionType(_)
            | Self::Setting(_)
            | Self::CandidateWithoutSection
            | Self::ChannelWithoutId
            | Self::TrackKind => "TypeError",
            Self::Parameters(_) => "InvalidModificationError",
            Self::TooManyCandidates | Self::TooMany(_) => "OperationError",
            Self::Open(error) => match error {
                OpenError::TooLong | OpenError::TwoLimits | OpenError::InvalidId => "TypeError",
                OpenError::Closed => "InvalidStateError",
                _ => "OperationError",
            },
            Self::Send(error) => match error {
                SendError::NotOpen | SendError::Closed => "InvalidStateError",
                SendError::TooLarge { .. } | SendError::NotUtf8 => "TypeError",
                _ => "OperationError",
            },
            Self::Media(error) => match error {
                antiphon_media::Error::Inactive
                | antiphon_media::Error::Ceased
                | antiphon_media::Error::Closed
                | antiphon_media::Error::NoTelephoneEvents => "InvalidStateError",
                antiphon_media::Error::NotATone(_) => "InvalidCharacterError",
                antiphon_media::Error::JitterBufferTarget => "RangeError",
                _ => "OperationError",
            },
        }
    }
}

fn signaling_name(error: &JsepError) -> &'static str {
    match error {
        JsepError::InvalidState { .. } | JsepError::NoRemoteDescription | JsepError::NoTransceiver => {
            "InvalidStateError"
        }
        JsepError::Modified { .. } | JsepError::UnknownCodec { .. } => "InvalidModificationError",
        // W3C setRemoteDescription: an RTCError with errorDetail "sdp-syntax-error".
        JsepError::Syntax(_) | JsepError::TooManySections { .. } => "RTCError",
        JsepError::LocalTransport { .. }
        | JsepError::CredentialsInUse
        | JsepError::CandidateSection
        | JsepError::CandidateGeneration
        | JsepError::CandidateSyntax => "OperationError",
        _ => "InvalidAccessError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_w3c() {
        assert_eq!(Error::Closed.name(), "InvalidStateError");
        assert_eq!(Error::from(OpenError::TwoLimits).name(), "TypeError");
        assert_eq!(Error::from(OpenError::NoFreeId).name(), "OperationError");
        assert_eq!(Error::from(SendError::NotOpen).name(), "InvalidStateError");
        assert_eq!(Error::from(JsepError::NoRemoteDescription).name(), "InvalidStateError");
        assert_eq!(
            Error::from(JsepError::Modified { reason: "test" }).name(),
            "InvalidModificationError"
        );
    }
}
