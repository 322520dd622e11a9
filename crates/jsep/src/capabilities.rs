//! Which codecs and header extensions we can negotiate.

use std::sync::{Arc, LazyLock};

use crate::plan::Codec;
use crate::types::MediaKind;

/// A codec that we can send or receive, or forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecCapability {
    /// The payload type in our offers, below 128, if it is free there.
    pub payload_type: u8,
    /// The encoding's name: `opus`, `VP8`, ...
    pub name: String,
    /// The clock of its timestamps, in ticks a second.
    pub clock_rate: u32,
    /// How many channels audio has; `None` means 1.
    pub channels: Option<u8>,
    /// The format parameters (`a=fmtp`), empty for none.
    pub parameters: String,
    /// The feedback that we use, as the values of `a=rtcp-fb`.
    pub feedback: Vec<String>,
    /// The payload type of its retransmission format in our offers, if we do that for this codec.
    pub rtx_payload_type: Option<u8>,
    /// Which configurations (profile, packetization mode) of it are taken when the peer offers them.
    pub accepts: Accepts,
}

/// Which of the offered configurations of a codec are taken: its H.264 profile and packetization mode, its VP9, AV1 or
/// H.265 profile. Codecs without such parameters have one configuration, and it makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Accepts {
    /// The same as ours, by the rules of the payload format (RFC 6184 §8.2.2): for an end that encodes or decodes. The
    /// level may be another one.
    #[default]
    Same,
    /// Every one, and the answer repeats its parameters: for who forwards or records what comes.
    Any,
    /// Every one with which the peer decodes a stream of ours that was made elsewhere, as
    /// [`CodecCapability::parameters`] describe it; the answer repeats the offered parameters. A stream of Constrained
    /// High goes to who offers High. For who forwards to a watcher.
    Decoders,
}

impl CodecCapability {
    /// The capability to send on a stream that came in as `stream`, to whoever decodes it ([`Accepts::Decoders`]), with
    /// the feedback and the numbers of `like`.
    pub fn forwarding(stream: &Codec, like: &Self) -> Self {
        Self {
            name: stream.name.clone(),
            clock_rate: stream.clock_rate,
            channels: stream.channels,
            parameters: stream.parameters.clone(),
            accepts: Accepts::Decoders,
            ..like.clone()
        }
    }
}

/// Which redundancy may be received and sent: packets sent again before anybody asks for them. When and how much of what was
/// negotiated is sent is the sender's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Redundancy {
    /// RED of Opus (RFC 2198, `red/48000/2`): each packet repeats some before it.
    pub red: bool,
    /// RED and ULPFEC for video (RFC 5109, `red/90000` and `ulpfec/90000`).
    pub ulpfec: bool,
    /// FlexFEC as Chromium speaks it (`flexfec-03/90000`).
    pub flexfec_03: bool,
    /// FlexFEC of RFC 8627 (`flexfec/90000`).
    pub flexfec: bool,
}

impl Redundancy {
    /// All kinds that there are.
    pub const ALL: Self = Self {
        red: true,
        ulpfec: true,
        flexfec_03: true,
        flexfec: true,
    };
}

/// A header extension that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionCapability {
    /// The identifier in our offers, 1 to 14, or another of these if it is taken there. 0, or one above 14: it is answered where a
    /// peer offers it, and never offered.
    pub id: u8,
    /// The URI that names the extension (RFC 8285 §5).
    pub uri: String,
}

/// What we can do, in the order that we prefer. The default is what the browsers of 2026 share with us, and no header
/// extension that nobody here reads or writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaCapabilities {
    /// The audio codecs, best first.
    pub audio: Vec<CodecCapability>,
    /// The video codecs, best first.
    pub video: Vec<CodecCapability>,
    /// The header extensions that audio may have.
    pub audio_extensions: Vec<ExtensionCapability>,
    /// The header extensions that video may have.
    pub video_extensions: Vec<ExtensionCapability>,
}

impl MediaCapabilities {
    /// The default, of which the whole program has one.
    pub fn shared_default() -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<MediaCapabilities>> = LazyLock::new(Arc::default);
        Arc::clone(&DEFAULT)
    }

    /// Every codec that has a payload format here, in the order of the default, and behind its own what it leaves out: H.265 and
    /// H.266, which few encode; L16, which is large; and comfort noise, which is for who decodes G.711 or G.722 himself. Take those
    /// that are wanted by `retain`, or by `set_codec_preferences`.
    pub fn all() -> Self {
        let mut all = Self::default();
        if let Some(last) = all.video.last().cloned() {
            let newer = |payload_type, name: &str, parameters: &str| CodecCapability {
                payload_type,
                name: name.into(),
                parameters: parameters.into(),
                rtx_payload_type: Some(payload_type + 1),
                ..last.clone()
            };
            // Main and Main 10, level 3.1 (RFC 7798 §7.1).
            let h265 = [(118, 1), (120, 2)].map(|(number, profile)| {
                let parameters = format!("level-id=93;profile-id={profile};tier-flag=0;tx-mode=SRST");
                newer(number, "H265", &parameters)
            });
            all.video.extend(h265);
            // RFC 9328 §7.2: without parameters Main 10.
            all.video.push(newer(47, "H266", ""));
        }
        let plain = [
            (10, "L16", 44_100, Some(2)),
            (11, "L16", 44_100, None),
            (35, "L16", 48_000, Some(2)),
            (36, "L16", 48_000, None),
            (13, "CN", 8000, None),
            (37, "CN", 16_000, None),
            (38, "CN", 32_000, None),
            (39, "CN", 48_000, None),
        ];
        all.audio
            .extend(plain.map(|(number, name, clock_rate, channels)| CodecCapability {
                payload_type: number,
                name: name.into(),
                clock_rate,
                channels,
                parameters: String::new(),
                feedback: Vec::new(),
                rtx_payload_type: None,
                accepts: Accepts::Same,
            }));
        all
    }

    /// What a recorder can take, and a player of its files send: [every](Self::all) codec, in every configuration
    /// ([`Accepts::Any`]), and how the picture is to be turned, which files can say too.
    pub fn recording() -> Self {
        let mut all = Self::all();
        for codec in all.audio.iter_mut().chain(&mut all.video) {
            codec.accepts = Accepts::Any;
        }
        all.video_extensions.push(extension(13, VIDEO_ORIENTATION));
        all
    }

    /// What a forwarder can take: all of [`Self::recording`], and every header extension that speaks of the media and not of
    /// the hop. They are to be handed on with the packets, to whoever negotiated them.
    ///
    /// Left out are the descriptions of dependencies ([`Self::with_dependency_descriptor`]), and the clock of RFC 6051 §3.3, which
    /// is that of the sender reports before us.
    pub fn forwarding() -> Self {
        let mut all = Self::recording();
        let new = |known: &[ExtensionCapability], list: &[(u8, &str)]| -> Vec<ExtensionCapability> {
            let missing = list.iter().filter(|(_, uri)| known.iter().all(|own| own.uri != *uri));
            missing.map(|&(id, uri)| extension(id, uri)).collect()
        };
        all.audio_extensions.extend(new(&all.audio_extensions, &CARRIED_AUDIO));
        all.video_extensions.extend(new(&all.video_extensions, &CARRIED_VIDEO));
        all
    }

    /// Negotiates the AV1 dependency descriptor for video too, which every codec can have: for who chooses layers by it, and
    /// hands it on to receivers whose path is good. Chromium as a receiver freezes for long where it has it and loses packets,
    /// and does not without it: leave it away towards such.
    #[must_use]
    pub fn with_dependency_descriptor(mut self) -> Self {
        self.video_extensions.push(extension(14, DEPENDENCY_DESCRIPTOR));
        self
    }

    /// Negotiates NACK for Opus too: lost sound is asked for again, and worth it where a round trip is short. Browsers do so only if their
    /// descriptions are changed by hand; the default does not.
    #[must_use]
    pub fn with_audio_nack(mut self) -> Self {
        let opus = |codec: &&mut CodecCapability| codec.name.eq_ignore_ascii_case("opus");
        for codec in self.audio.iter_mut().filter(opus) {
            codec.feedback.push("nack".into());
        }
        self
    }

    /// Has redundancy too: it is answered where it is offered, and offered; what both sides have may go both ways. RED of Opus stands
    /// first, since Chromium sends it only to who prefers it; an answer follows the offer, so that it needs codec preferences with
    /// `audio/red` in front for that. The default has none.
    #[must_use]
    pub fn with_redundancy(mut self, which: Redundancy) -> Self {
        let codec = |payload_type, name: &str, parameters: &str, feedback: &[&str]| CodecCapability {
            payload_type,
            name: name.into(),
            clock_rate: 90_000,
            channels: None,
            parameters: parameters.into(),
            feedback: feedback.iter().map(|&value| value.into()).collect(),
            rtx_payload_type: None,
            accepts: Accepts::Same,
        };
        if which.red {
            let red = CodecCapability {
                clock_rate: 48_000,
                channels: Some(2),
                ..codec(63, "red", "", &[])
            };
            self.audio.insert(0, red);
        }
        if which.ulpfec {
            let red = CodecCapability {
                rtx_payload_type: Some(121),
                ..codec(120, "red", "", &[])
            };
            self.video.extend([red, codec(122, "ulpfec", "", &[])]);
        }
        // A window of ten seconds, as Chromium has it: longer than any.
        let window = "repair-window=10000000";
        let feedback = ["goog-remb", "transport-cc"];
        if which.flexfec_03 {
            self.video.push(codec(49, "flexfec-03", window, &feedback));
        }
        if which.flexfec {
            self.video.push(codec(50, "flexfec", window, &feedback));
        }
        self
    }

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

pub(crate) const TRANSPORT_WIDE_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(crate) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(crate) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// What a forwarder carries on of sound. The numbers to 14 are for what comes with many packets, for they fit the one-byte form.
const CARRIED_AUDIO: [(u8, &str); 4] = [
    (1, AUDIO_LEVEL),
    (9, ABS_CAPTURE_TIME),
    (12, "urn:ietf:params:rtp-hdrext:csrc-audio-level"),
    (0, "http://www.webrtc.org/experiments/rtp-hdrext/inband-cn"),
];

/// What a forwarder carries on of video. Those without an identifier are hardly anybody's: they are answered, not offered.
const CARRIED_VIDEO: [(u8, &str); 9] = [
    (5, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
    (6, "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"),
    (7, "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"),
    (8, "http://www.webrtc.org/experiments/rtp-hdrext/color-space"),
    (9, ABS_CAPTURE_TIME),
    (13, VIDEO_ORIENTATION),
    (0, "urn:ietf:params:rtp-hdrext:framemarking"),
    (
        0,
        "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
    ),
    (0, "http://www.webrtc.org/experiments/rtp-hdrext/corruption-detection"),
];

fn extension(id: u8, uri: &str) -> ExtensionCapability {
    ExtensionCapability { id, uri: uri.into() }
}

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
                accepts: Accepts::Same,
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
            accepts: Accepts::Same,
        };
        let h264 = |payload_type, mode, profile| {
            let parameters = format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}");
            video(payload_type, payload_type + 1, "H264", &parameters)
        };
        let extensions = |list: &[(u8, &str)]| list.iter().map(|&(id, uri)| extension(id, uri)).collect();
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
                h264(116, 1, "640c1f"),
                video(45, 46, "AV1", "level-idx=5;profile=0;tier=0"),
            ],
            audio_extensions: extensions(&[(1, AUDIO_LEVEL), (2, ABS_SEND_TIME), (3, TRANSPORT_WIDE_CC), (4, MID)]),
            video_extensions: extensions(&[
                (2, ABS_SEND_TIME),
                (3, TRANSPORT_WIDE_CC),
                (4, MID),
                (10, RID),
                (11, REPAIRED_RID),
            ]),
        }
    }
}
