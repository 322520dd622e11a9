//! The codecs of a room, and what a peer has of them.

use antiphon_jsep::{Codec, CodecCapability, MediaCapabilities, MediaKind, OfferedContent, OfferedSection, Rtx};

use super::error::Error;

/// The most codecs that a room is given.
pub const MAX_MEDIA_CODECS: usize = 64;

/// What a codec of a room is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RoomMediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Pictures of distances. No codec here is for them, so such an entry is passed over.
    Depth,
    /// Every kind of which there is a codec of that name (mediasoup's empty string).
    #[default]
    All,
}

impl RoomMediaKind {
    fn takes(self, kind: MediaKind) -> bool {
        match self {
            Self::Audio => kind == MediaKind::Audio,
            Self::Video => kind == MediaKind::Video,
            Self::Depth => false,
            Self::All => true,
        }
    }
}

/// One codec that may be used in a room.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RoomMediaCodec {
    /// What it is for.
    pub kind: RoomMediaKind,
    /// The encoding's name, in any case, with or without the kind before it: `opus`, `video/VP8`.
    pub name: String,
    /// The clock of its timestamps, in ticks a second.
    pub clock_rate: u32,
    /// The payload type in our offers, below 128; `None`: one is chosen.
    pub payload_type: Option<u8>,
    /// How many channels sound has; `None`: as many as the codec usually has.
    pub num_channels: Option<u8>,
    /// The format parameters, as an `a=fmtp` line has them: `packetization-mode=1;profile-level-id=42e01f`. Empty: the usual ones.
    pub parameters: String,
    /// The duration of sound in a packet that is asked for, in milliseconds, if any. The offers say the smallest of all codecs.
    pub ptime: Option<u32>,
    /// The most sound in a packet that is asked for, in milliseconds, if any. The offers say the smallest of all codecs.
    pub max_ptime: Option<u32>,
}

impl RoomMediaCodec {
    /// A codec for sound, with the usual parameters.
    pub fn audio(name: impl Into<String>, clock_rate: u32) -> Self {
        Self {
            kind: RoomMediaKind::Audio,
            name: name.into(),
            clock_rate,
            ..Self::default()
        }
    }

    /// A codec for pictures, with the usual parameters.
    pub fn video(name: impl Into<String>, clock_rate: u32) -> Self {
        Self {
            kind: RoomMediaKind::Video,
            ..Self::audio(name, clock_rate)
        }
    }

    /// The same with these format parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: impl Into<String>) -> Self {
        self.parameters = parameters.into();
        self
    }

    fn bare_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// Our codec of that name, for this kind, if there is one.
    fn matching<'a>(&self, kind: MediaKind, ours: &'a [CodecCapability]) -> Option<&'a CodecCapability> {
        let named = |own: &&CodecCapability| {
            own.name.eq_ignore_ascii_case(self.bare_name())
                && own.clock_rate == self.clock_rate
                && self
                    .num_channels
                    .is_none_or(|channels| own.channels.unwrap_or(1) == channels)
        };
        if !self.kind.takes(kind) {
            return None;
        }
        let mut candidates = ours.iter().filter(named);
        let first = candidates.clone().next()?;
        let wanted = Codec {
            parameters: self.parameters.clone(),
            ..described(first)
        };
        // The one of the same configuration gives the payload type; else the parameters stand as they are given.
        let same = |own: &&CodecCapability| described(own).decodes(&wanted) && wanted.decodes(&described(own));
        candidates.find(same).or(Some(first))
    }
}

/// How a room is set up.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RoomOptions {
    /// The name that the room has in the cluster of its server, at most 255 bytes: it is one with the rooms of this name on all other
    /// nodes, which must have the same codecs. `None`, or without a cluster: it is on this server alone.
    pub name: Option<String>,
    /// The codecs that may be used, best first. What is unknown here is passed over, and so are `rtx`, `red`, `ulpfec` and `flexfec`,
    /// which go along with others.
    pub media_codecs: Vec<RoomMediaCodec>,
    /// Whether its peers live on all workers of the server, for a room that is larger than a core: each on the one that has the fewest of
    /// them. A track crosses from one worker to another once, and while somebody there gets it. Otherwise the room lives on one
    /// worker, with nothing to cross.
    pub spread: bool,
}

impl RoomOptions {
    /// What most browsers have: Opus, VP8, and H.264 (Constrained Baseline).
    pub fn browsers() -> Self {
        let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        Self {
            name: None,
            media_codecs: vec![
                RoomMediaCodec::audio("opus", 48_000),
                RoomMediaCodec::video("VP8", 90_000),
                RoomMediaCodec::video("H264", 90_000).with_parameters(h264),
            ],
            spread: false,
        }
    }

    /// The same over all workers.
    #[must_use]
    pub fn over_all_workers(mut self) -> Self {
        self.spread = true;
        self
    }

    /// What the room can negotiate.
    pub(super) fn capabilities(&self) -> Result<MediaCapabilities, Error> {
        if self.media_codecs.len() > MAX_MEDIA_CODECS {
            return Err(Error::TooMany {
                what: "media codecs",
                max: MAX_MEDIA_CODECS,
            });
        }
        let ours = MediaCapabilities::forwarding();
        let mut taken = Numbers::of(&self.media_codecs)?;
        let mut room = MediaCapabilities {
            audio: Vec::new(),
            video: Vec::new(),
            ..ours.clone()
        };
        for wanted in &self.media_codecs {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                let (own, list) = match kind {
                    MediaKind::Audio => (&ours.audio, &mut room.audio),
                    MediaKind::Video => (&ours.video, &mut room.video),
                };
                let Some(own) = wanted.matching(kind, own) else {
                    continue;
                };
                let mut codec = own.clone();
                if !wanted.parameters.is_empty() {
                    codec.parameters.clone_from(&wanted.parameters);
                }
                if list
                    .iter()
                    .any(|other| other.name == codec.name && other.parameters == codec.parameters)
                {
                    continue;
                }
                let mut number = |wish| {
                    taken.take(wish).ok_or(Error::TooMany {
                        what: "payload types",
                        max: 128,
                    })
                };
                codec.payload_type = match wanted.payload_type {
                    Some(own) => own,
                    None => number(own.payload_type)?,
                };
                codec.rtx_payload_type = own.rtx_payload_type.map(&mut number).transpose()?;
                list.push(codec);
            }
        }
        Ok(room)
    }

    /// The smallest `ptime` and `max_ptime` of all codecs, in milliseconds.
    pub(super) fn packet_times(&self) -> (Option<u32>, Option<u32>) {
        let codecs = &self.media_codecs;
        let ptime = codecs.iter().filter_map(|codec| codec.ptime).min();
        let max_ptime = codecs.iter().filter_map(|codec| codec.max_ptime).min();
        (ptime, max_ptime)
    }
}

/// Payload types that are taken.
struct Numbers([bool; 128]);

impl Numbers {
    /// Those that the application gives away itself.
    fn of(codecs: &[RoomMediaCodec]) -> Result<Self, Error> {
        let mut taken = [false; 128];
        for codec in codecs {
            let Some(number) = codec.payload_type else { continue };
            let wrong = |reason: String| Error::Option {
                option: "payload_type".to_owned(),
                reason,
            };
            let slot = taken
                .get_mut(usize::from(number))
                .ok_or_else(|| wrong(format!("{number} is not below 128")))?;
            if std::mem::replace(slot, true) {
                return Err(wrong(format!("{number} stands twice")));
            }
        }
        // RFC 5761 §4: with RTCP on the same port these cannot be told from RTCP.
        taken[64..=95].fill(true);
        Ok(Self(taken))
    }

    /// The one that is wished for, else another one that is dynamic (RFC 3551 §6).
    fn take(&mut self, wish: u8) -> Option<u8> {
        let number = std::iter::once(wish)
            .chain(96..=127)
            .chain(35..=63)
            .find(|&number| !self.0[usize::from(number)])?;
        self.0[usize::from(number)] = true;
        Some(number)
    }
}

/// A capability as a description would have it.
pub(super) fn described(capability: &CodecCapability) -> Codec {
    Codec {
        payload_type: capability.payload_type,
        name: capability.name.clone(),
        clock_rate: capability.clock_rate,
        channels: capability.channels,
        parameters: capability.parameters.clone(),
        sender_parameters: String::new(),
        feedback: Vec::new(),
        rtx: capability.rtx_payload_type.map(|payload_type| Rtx {
            payload_type,
            rtx_time_ms: None,
        }),
    }
}

/// What a peer has of a room's capabilities, by the offer that it made to tell.
pub(super) fn effective(room: &MediaCapabilities, sdp: &str) -> Result<MediaCapabilities, Error> {
    let sections = OfferedSection::read(sdp).map_err(Error::Capabilities)?;
    let of = |kind: MediaKind, own: &[CodecCapability]| -> Vec<CodecCapability> {
        let offered = || {
            let sections = sections
                .iter()
                .filter(move |section| section.content == OfferedContent::Media(kind));
            sections.flat_map(|section| &section.codecs)
        };
        let take = |own: &CodecCapability| {
            let codec = described(own);
            let theirs = offered().find(|theirs| theirs.decodes(&codec))?;
            let mut taken = own.clone();
            taken.feedback.retain(|value| theirs.has_feedback(value));
            if theirs.rtx.is_none() {
                taken.rtx_payload_type = None;
            }
            Some(taken)
        };
        own.iter().filter_map(take).collect()
    };
    Ok(MediaCapabilities {
        audio: of(MediaKind::Audio, &room.audio),
        video: of(MediaKind::Video, &room.video),
        audio_extensions: room.audio_extensions.clone(),
        video_extensions: room.video_extensions.clone(),
    })
}

/// Whether a stream in one of these codecs can go on to a peer with these capabilities.
pub(super) fn can_take(capabilities: &MediaCapabilities, kind: MediaKind, codecs: &[Codec]) -> bool {
    let own = match kind {
        MediaKind::Audio => &capabilities.audio,
        MediaKind::Video => &capabilities.video,
    };
    codecs
        .iter()
        .any(|codec| own.iter().any(|own| described(own).decodes(codec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[CodecCapability]) -> Vec<(&str, u8, Option<u8>)> {
        let name = |own: &'_ CodecCapability| (own.payload_type, own.rtx_payload_type);
        list.iter()
            .map(|own| (own.name.as_str(), name(own).0, name(own).1))
            .collect()
    }

    fn options(media_codecs: Vec<RoomMediaCodec>) -> RoomOptions {
        RoomOptions {
            name: None,
            media_codecs,
            spread: false,
        }
    }

    #[test]
    fn codecs_are_found_by_name_and_what_is_unknown_is_passed_over() {
        let room = options(vec![
            RoomMediaCodec::audio("audio/opus", 48_000),
            RoomMediaCodec {
                kind: RoomMediaKind::All,
                ..RoomMediaCodec::video("vp8", 90_000)
            },
            RoomMediaCodec::video("rtx", 90_000),
            RoomMediaCodec::video("red", 90_000),
            RoomMediaCodec::video("ulpfec", 90_000),
            RoomMediaCodec::video("flexfec", 90_000),
            RoomMediaCodec::video("VP10", 90_000),
            RoomMediaCodec::video("opus", 48_000),
            RoomMediaCodec::audio("opus", 44_100),
            RoomMediaCodec {
                kind: RoomMediaKind::Depth,
                ..RoomMediaCodec::video("VP8", 90_000)
            },
        ]);
        let room = room.capabilities().unwrap();
        assert_eq!(names(&room.audio), [("opus", 111, None)]);
        assert_eq!(names(&room.video), [("VP8", 96, Some(97))]);
    }

    #[test]
    fn payload_types_are_the_given_ones_and_never_stand_twice() {
        let given = |codec: RoomMediaCodec, payload_type| RoomMediaCodec {
            payload_type: Some(payload_type),
            ..codec
        };
        let room = options(vec![
            RoomMediaCodec::video("VP8", 90_000),
            given(RoomMediaCodec::video("VP9", 90_000), 96),
            given(RoomMediaCodec::audio("opus", 48_000), 97),
        ]);
        let capabilities = room.capabilities().unwrap();
        assert_eq!(names(&capabilities.audio), [("opus", 97, None)]);
        assert_eq!(
            names(&capabilities.video),
            [("VP8", 98, Some(99)), ("VP9", 96, Some(100))]
        );
        for payload_type in [128, 255] {
            let room = options(vec![given(RoomMediaCodec::audio("opus", 48_000), payload_type)]);
            assert_eq!(room.capabilities().unwrap_err().name(), "TypeError");
        }
        let twice = options(vec![
            given(RoomMediaCodec::audio("opus", 48_000), 100),
            given(RoomMediaCodec::video("VP8", 90_000), 100),
        ]);
        assert_eq!(twice.capabilities().unwrap_err().name(), "TypeError");
        let many = options(vec![RoomMediaCodec::audio("opus", 48_000); MAX_MEDIA_CODECS + 1]);
        assert!(matches!(many.capabilities(), Err(Error::TooMany { .. })));
    }

    #[test]
    fn a_peer_has_what_its_offer_names() {
        let room = RoomOptions::browsers().capabilities().unwrap();
        let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 109 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n\
            a=rtpmap:109 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 120 121 126\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\n\
            a=rtpmap:120 VP8/90000\r\na=rtcp-fb:120 nack pli\r\na=rtpmap:121 VP9/90000\r\n\
            a=rtpmap:126 H264/90000\r\na=fmtp:126 packetization-mode=0;profile-level-id=42e01f\r\n";
        let peer = effective(&room, offer).unwrap();
        assert_eq!(names(&peer.audio), [("opus", 111, None)]);
        assert_eq!(
            names(&peer.video),
            [("VP8", 96, None)],
            "no VP9 in the room, no mode 1 at the peer, no RTX"
        );
        assert_eq!(peer.video[0].feedback, ["nack pli"]);
        assert!(can_take(&peer, MediaKind::Video, &[described(&room.video[0])]));
        assert!(!can_take(&peer, MediaKind::Video, &[described(&room.video[1])]));
        let error = effective(&room, "hello").unwrap_err();
        assert!(error.to_string().starts_with("invalid capabilities SDP: "), "{error}");
    }
}
