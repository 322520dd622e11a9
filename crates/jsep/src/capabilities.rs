use crate::types::MediaKind;

/// A codec that we can send or receive, or forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecCapability {
    /// The payload type in our offers, if it is free there.
    pub payload_type: u8,
    /// The encoding's name.
    pub name: String,
    /// Ticks per second.
    pub clock_rate: u32,
    /// Channels of audio; `None` means 1.
    pub channels: Option<u8>,
    /// The format parameters (`a=fmtp`), empty for none.
    pub parameters: String,
    /// The feedback we use (`a=rtcp-fb`).
    pub feedback: Vec<String>,
    /// The payload type of its retransmission format in our offers, if we do that for this codec.
    pub rtx_payload_type: Option<u8>,
}

/// A header extension that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionCapability {
    /// The id in our offers, if it is free there.
    pub id: u8,
    /// Its name.
    pub uri: String,
}

/// What we can do, in the order that we prefer. The default is what the browsers of 2026 share with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaCapabilities {
    /// Audio codecs.
    pub audio: Vec<CodecCapability>,
    /// Video codecs.
    pub video: Vec<CodecCapability>,
    /// Header extensions for audio.
    pub audio_extensions: Vec<ExtensionCapability>,
    /// Header extensions for video.
    pub video_extensions: Vec<ExtensionCapability>,
}

impl MediaCapabilities {
    /// The codecs of one kind.
    pub fn codecs(&self, kind: MediaKind) -> &[CodecCapability] {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }

    /// The header extensions of one kind.
    pub fn extensions(&self, kind: MediaKind) -> &[ExtensionCapability] {
        match kind {
            MediaKind::Audio => &self.audio_extensions,
            MediaKind::Video => &self.video_extensions,
        }
    }
}

const TRANSPORT_WIDE_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(crate) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(crate) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const TOFFSET: &str = "urn:ietf:params:rtp-hdrext:toffset";
const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

impl Default for MediaCapabilities {
    fn default() -> Self {
        let audio =
            |payload_type, name: &str, clock_rate, channels, parameters: &str, feedback: &[&str]| CodecCapability {
                payload_type,
                name: name.into(),
                clock_rate,
                channels,
                parameters: parameters.into(),
                feedback: feedback.iter().map(|&value| value.into()).collect(),
                rtx_payload_type: None,
            };
        let video = |payload_type, rtx, name: &str, parameters: &str| CodecCapability {
            payload_type,
            name: name.into(),
            clock_rate: 90_000,
            channels: None,
            parameters: parameters.into(),
            feedback: ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
                .map(String::from)
                .to_vec(),
            rtx_payload_type: Some(rtx),
        };
        let h264 = |payload_type, mode, profile| {
            let parameters = format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}");
            video(payload_type, payload_type + 1, "H264", &parameters)
        };
        let extensions = |list: &[(u8, &str)]| {
            list.iter()
                .map(|&(id, uri)| ExtensionCapability { id, uri: uri.into() })
                .collect()
        };
        Self {
            audio: vec![
                audio(
                    111,
                    "opus",
                    48_000,
                    Some(2),
                    "minptime=10;useinbandfec=1",
                    &["transport-cc"],
                ),
                audio(9, "G722", 8_000, None, "", &[]),
                audio(0, "PCMU", 8_000, None, "", &[]),
                audio(8, "PCMA", 8_000, None, "", &[]),
                audio(110, "telephone-event", 48_000, None, "0-15", &[]),
                audio(126, "telephone-event", 8_000, None, "0-15", &[]),
            ],
            video: vec![
                video(96, 97, "VP8", ""),
                video(98, 99, "VP9", "profile-id=0"),
                video(100, 101, "VP9", "profile-id=2"),
                h264(102, 1, "42e01f"),
                h264(104, 0, "42e01f"),
                h264(106, 1, "42001f"),
                h264(108, 0, "42001f"),
                h264(112, 1, "4d001f"),
                h264(114, 1, "64001f"),
                video(45, 46, "AV1", "level-idx=5;profile=0;tier=0"),
            ],
            audio_extensions: extensions(&[(1, AUDIO_LEVEL), (2, ABS_SEND_TIME), (3, TRANSPORT_WIDE_CC), (4, MID)]),
            video_extensions: extensions(&[
                (14, TOFFSET),
                (2, ABS_SEND_TIME),
                (13, VIDEO_ORIENTATION),
                (3, TRANSPORT_WIDE_CC),
                (5, PLAYOUT_DELAY),
                (4, MID),
                (10, RID),
                (11, REPAIRED_RID),
            ]),
        }
    }
}
