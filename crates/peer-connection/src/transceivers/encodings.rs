//! The streams that a transceiver sends, as who has an encoder for each sees them.

use antiphon_jsep::{Codec, TransceiverId};
use antiphon_media::Rid;

/// Names one stream that a transceiver sends: the transceiver, and the RID where it has several. A [`TransceiverId`] alone stands for
/// the first that is sent, so who has one encoding need not think of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodingId {
    /// The transceiver whose sender it is.
    pub transceiver: TransceiverId,
    /// The name of the simulcast layer; `None`: the only one, or the first of those that are sent.
    pub rid: Option<Rid>,
}

impl From<TransceiverId> for EncodingId {
    fn from(transceiver: TransceiverId) -> Self {
        Self { transceiver, rid: None }
    }
}

impl From<(TransceiverId, Rid)> for EncodingId {
    fn from((transceiver, rid): (TransceiverId, Rid)) -> Self {
        Self {
            transceiver,
            rid: Some(rid),
        }
    }
}

impl PartialEq<TransceiverId> for EncodingId {
    /// Whether it is the only encoding of this transceiver.
    fn eq(&self, transceiver: &TransceiverId) -> bool {
        *self == Self::from(*transceiver)
    }
}

/// One of the streams that a transceiver sends: what its encoder has to know.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingEncoding {
    /// Its name, for `send_frame` and `send_rtp`, and in events.
    pub id: EncodingId,
    /// Whether frames of it are wanted now, and if not, why not.
    pub state: EncodingState,
    /// What may be sent of it, in bits a second, payload and RTP headers; `None` before the peer's first feedback, and while nothing is
    /// sent.
    pub target_bitrate: Option<u64>,
    /// The most pictures a second, by our parameters and the peer's; `None`: as many as there are.
    pub max_framerate: Option<f64>,
    /// The largest width that the peer takes, in pixels (RFC 8851 §5), if it says so.
    pub max_width: Option<u32>,
    /// The largest height that the peer takes, in pixels, if it says so.
    pub max_height: Option<u32>,
    /// By how much its pictures are smaller in each direction than those of the track: 1.0 or more; `None` of sound.
    pub scale_resolution_down_by: Option<f64>,
    /// The layers within it, as webrtc-svc names them; `None`: as the encoder likes.
    pub scalability_mode: Option<String>,
    /// The codec to send it with, its payload type among the rest; `None` while none is negotiated.
    pub codec: Option<Codec>,
}

impl OutgoingEncoding {
    /// Whether frames of it are wanted now.
    pub fn is_wanted(&self) -> bool {
        self.state == EncodingState::Wanted
    }
}

/// Whether frames of an encoding are wanted, and if not, why not. Of several reasons the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodingState {
    /// It is sent: make frames.
    Wanted,
    /// It is not negotiated that the transceiver sends.
    NotNegotiated,
    /// The peer did not take this layer: it takes fewer, or no simulcast at all. The next exchange may change that.
    NotTaken,
    /// The sender has no track: `replace_track` took it.
    NoTrack,
    /// The application has made it inactive, by its parameters.
    Inactive,
    /// The peer has taken it, but paused (`~` before its RID in `a=simulcast`, RFC 8853 §5.1).
    Paused,
    /// A circuit breaker has stopped it (RFC 8083); `SendingRestarted` tells when it goes on.
    Ceased,
    /// There is too little bandwidth for it; `TargetBitrate` tells when there is more.
    NoBandwidth,
}
