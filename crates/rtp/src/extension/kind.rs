//! The header extensions that are understood here, and the URIs that name them.

/// The header extensions that are understood here.
///
/// To be known here is not to be offered: which extensions a description offers is a matter of what the program acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Media identification (RFC 9143 §15.2).
    Mid,
    /// RTP stream id (RFC 8852 §4.3).
    Rid,
    /// The stream id that this stream repairs (RFC 8852 §4.4).
    RepairedRid,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
    TransportCc,
    /// The same with a feedback request (version 02 of the extension).
    TransportCc2,
    /// When the packet left, 6.18 seconds.
    AbsSendTime,
    /// Loudness of the sound in the packet (RFC 6464).
    AudioLevel,
    /// Loudness of each contributing source (RFC 6465).
    CsrcAudioLevel,
    /// Transmission time offset (RFC 5450).
    TransmissionOffset,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Wished bounds of the playout delay.
    PlayoutDelay,
    /// When the frame was captured, NTP.
    AbsCaptureTime,
    /// Whether the picture is a camera's or a screen's.
    VideoContentType,
    /// What the frame went through in the sender, and when.
    VideoTiming,
    /// How the numbers of the picture mean colours.
    ColorSpace,
    /// What the sender spends on which layer.
    VideoLayersAllocation,
    /// What the frame depends on (AV1 RTP specification, Appendix A).
    DependencyDescriptor,
    /// What the frame depends on, the form before that; with its version 00.
    GenericFrameDescriptor,
    /// The same, version 01.
    GenericFrameDescriptor01,
    /// Where the frame begins and ends, and its layers (RFC 9626).
    FrameMarking,
    /// A few samples of the picture, by which the receiver sees whether it decodes the same.
    CorruptionDetection,
    /// The packet is comfort noise of the codec itself.
    InbandComfortNoise,
    /// A number that a test gives each frame.
    VideoFrameTrackingId,
    /// The wall clock of the RTP timestamp, 64 bits (RFC 6051 §3.3).
    Ntp64,
    /// The same in 56 bits.
    Ntp56,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::TransportCc,
        Self::TransportCc2,
        Self::AbsSendTime,
        Self::AudioLevel,
        Self::CsrcAudioLevel,
        Self::TransmissionOffset,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::AbsCaptureTime,
        Self::VideoContentType,
        Self::VideoTiming,
        Self::ColorSpace,
        Self::VideoLayersAllocation,
        Self::DependencyDescriptor,
        Self::GenericFrameDescriptor,
        Self::GenericFrameDescriptor01,
        Self::FrameMarking,
        Self::CorruptionDetection,
        Self::InbandComfortNoise,
        Self::VideoFrameTrackingId,
        Self::Ntp64,
        Self::Ntp56,
    ];

    /// How many of [`Self::ALL`] have a field of their own in `Values`: the first ones. Those behind them are its "others".
    pub(super) const FIELDS: usize = Self::VideoContentType as usize;

    /// How many "others" there are.
    pub(super) const OTHERS: usize = Self::ALL.len() - Self::FIELDS;

    /// Its place among the "others".
    #[inline]
    pub(super) fn other(self) -> Option<usize> {
        (self as usize).checked_sub(Self::FIELDS)
    }

    /// The URI that names it in `a=extmap` (RFC 8285 §5).
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::TransportCc2 => "http://www.webrtc.org/experiments/rtp-hdrext/transport-wide-cc-02",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::CsrcAudioLevel => "urn:ietf:params:rtp-hdrext:csrc-audio-level",
            Self::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::VideoContentType => "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
            Self::VideoTiming => "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
            Self::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
            Self::VideoLayersAllocation => "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::GenericFrameDescriptor => "http://www.webrtc.org/experiments/rtp-hdrext/generic-frame-descriptor-00",
            Self::GenericFrameDescriptor01 => {
                "http://www.webrtc.org/experiments/rtp-hdrext/generic-frame-descriptor-01"
            }
            Self::FrameMarking => "urn:ietf:params:rtp-hdrext:framemarking",
            Self::CorruptionDetection => "http://www.webrtc.org/experiments/rtp-hdrext/corruption-detection",
            Self::InbandComfortNoise => "http://www.webrtc.org/experiments/rtp-hdrext/inband-cn",
            Self::VideoFrameTrackingId => "http://www.webrtc.org/experiments/rtp-hdrext/video-frame-tracking-id",
            Self::Ntp64 => "urn:ietf:params:rtp-hdrext:ntp-64",
            Self::Ntp56 => "urn:ietf:params:rtp-hdrext:ntp-56",
        }
    }

    /// The extension that a URI names, if it is one of these.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uri_names_one_kind() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::from_uri(kind.uri())), (index, Some(kind)));
        }
        assert_eq!(Kind::from_uri("urn:ietf:params:rtp-hdrext:sdes:cname"), None);
    }
}
