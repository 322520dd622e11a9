//! Which formats of two descriptions are the same codec (RFC 9429 §5.3.1, RFC 3264 §6.1).

use antiphon_sdp::{Fmtp, MediaDescription};

use crate::capabilities::CodecCapability;

/// How many feedback values of one payload type are looked at.
const MAX_FEEDBACK: usize = 32;

/// One format of a section.
#[derive(Debug, Clone)]
pub(crate) struct Format<'a> {
    pub(crate) payload_type: u8,
    pub(crate) name: &'a str,
    pub(crate) clock_rate: u32,
    pub(crate) channels: Option<u8>,
    pub(crate) parameters: &'a str,
    pub(crate) feedback: Vec<&'a str>,
}

impl<'a> Format<'a> {
    /// The formats of a section in its order. Payload types beyond 127, twice named ones, and dynamic ones without
    /// `a=rtpmap` are passed over.
    pub(crate) fn of(media: &'a MediaDescription) -> Vec<Self> {
        let mut maps = [None; 128];
        for map in media.section.rtpmaps() {
            maps[usize::from(map.payload_type)].get_or_insert(map);
        }
        let mut parameters = [""; 128];
        for fmtp in media.section.fmtps() {
            let own = &mut parameters[usize::from(fmtp.payload_type)];
            if own.is_empty() {
                *own = fmtp.parameters;
            }
        }
        let mut place = [usize::MAX; 128];
        let mut formats: Vec<Self> = Vec::new();
        for payload_type in media.line.payload_types() {
            let index = usize::from(payload_type);
            let known = match maps[index] {
                Some(map) => Some((map.encoding, map.clock_rate, map.channels)),
                None => static_format(payload_type),
            };
            let Some((name, clock_rate, channels)) = known else {
                continue;
            };
            if place[index] == usize::MAX {
                place[index] = formats.len();
                formats.push(Self {
                    payload_type,
                    name,
                    clock_rate,
                    channels,
                    parameters: parameters[index],
                    feedback: Vec::new(),
                });
            }
        }
        let mut wildcards = 0;
        for feedback in media.section.rtcp_feedback() {
            match feedback.payload_type {
                Some(payload_type) => {
                    if let Some(format) = formats.get_mut(place[usize::from(payload_type)])
                        && format.feedback.len() < MAX_FEEDBACK
                    {
                        format.feedback.push(feedback.value);
                    }
                }
                None if wildcards < MAX_FEEDBACK => {
                    wildcards += 1;
                    for format in formats.iter_mut().filter(|format| !format.is_rtx()) {
                        format.feedback.push(feedback.value);
                    }
                }
                None => {}
            }
        }
        formats
    }

    pub(crate) fn of_capability(capability: &'a CodecCapability) -> Self {
        Self {
            payload_type: capability.payload_type,
            name: &capability.name,
            clock_rate: capability.clock_rate,
            channels: capability.channels,
            parameters: &capability.parameters,
            feedback: capability.feedback.iter().map(String::as_str).collect(),
        }
    }

    pub(crate) fn is_rtx(&self) -> bool {
        self.name.eq_ignore_ascii_case("rtx")
    }

    /// For a retransmission format: what it repeats (RFC 4588 §8.1).
    pub(crate) fn apt(&self) -> Option<u8> {
        let apt = self.parameter("apt")?.parse().ok()?;
        self.is_rtx().then_some(apt)
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        let fmtp = Fmtp {
            payload_type: 0,
            parameters: self.parameters,
        };
        fmtp.get(name)
    }

    /// Whether the two are one codec: what one encodes, the other decodes.
    pub(crate) fn matches(&self, other: &Format<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.clock_rate == other.clock_rate
            && self.channels.unwrap_or(1) == other.channels.unwrap_or(1)
            && !self.is_rtx()
            && self.configuration() == other.configuration()
    }

    /// The parameters that cannot differ within one codec, by the payload format's own rules.
    fn configuration(&self) -> Configuration<'a> {
        let given = |name, default| self.parameter(name).unwrap_or(default);
        match self.name.to_ascii_uppercase().as_str() {
            // RFC 6184 §8.2.2: profile and packetization mode are symmetric; the level need not be.
            "H264" => Configuration::H264 {
                profile: H264Profile::parse(given("profile-level-id", DEFAULT_PROFILE_LEVEL_ID)),
                mode: given("packetization-mode", "0"),
            },
            // RFC 9628 §6.1: profile 0 unless said.
            "VP9" => Configuration::Profile(given("profile-id", "0")),
            // AV1 RTP payload format, §7.2.1: profile 0 unless said; level and tier are the receiver's own.
            "AV1" => Configuration::Profile(given("profile", "0")),
            // RFC 7798 §7.1: Main unless said.
            "H265" => Configuration::Profile(given("profile-id", "1")),
            _ => Configuration::Any,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Configuration<'a> {
    Any,
    Profile(&'a str),
    H264 { profile: H264Profile, mode: &'a str },
}

/// What `profile-level-id` means when it is not there: RFC 6184 §8.1 says Baseline level 1.
const DEFAULT_PROFILE_LEVEL_ID: &str = "42000a";

/// The profile in a `profile-level-id` (RFC 6184 §8.1, table 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    /// Any other, by its first two bytes.
    Other(u8, u8),
    Unreadable,
}

impl H264Profile {
    fn parse(text: &str) -> Self {
        let Some([idc, iop, _]) = profile_level_id(text) else {
            return Self::Unreadable;
        };
        // The masks are the patterns of table 5, in which `x` stands for a bit that does not matter.
        match (idc, iop) {
            (0x42, iop) if iop & 0x4f == 0x40 => Self::ConstrainedBaseline,
            (0x4d, iop) if iop & 0x8f == 0x80 => Self::ConstrainedBaseline,
            (0x58, iop) if iop & 0xcf == 0xc0 => Self::ConstrainedBaseline,
            (0x42, iop) if iop & 0x4f == 0x00 => Self::Baseline,
            (0x58, iop) if iop & 0xcf == 0x80 => Self::Baseline,
            (0x4d, iop) if iop & 0xaf == 0x00 => Self::Main,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            (0x64, 0x00) => Self::High,
            (idc, iop) => Self::Other(idc, iop),
        }
    }
}

fn profile_level_id(text: &str) -> Option<[u8; 3]> {
    let value = (text.len() == 6).then(|| u32::from_str_radix(text, 16).ok())??;
    let [_, idc, iop, level] = value.to_be_bytes();
    Some([idc, iop, level])
}

/// Our format parameters in an answer to `offered`. They are our own, but an H.264 level is the lower of the two unless
/// both allow asymmetry (RFC 6184 §8.2.2).
pub(crate) fn answer_parameters(capability: &CodecCapability, offered: &Format<'_>) -> String {
    let own = Format::of_capability(capability);
    let asymmetric = |format: &Format<'_>| format.parameter("level-asymmetry-allowed") == Some("1");
    if !own.name.eq_ignore_ascii_case("H264") || (asymmetric(&own) && asymmetric(offered)) {
        return capability.parameters.clone();
    }
    let read = |format: &Format<'_>| {
        profile_level_id(format.parameter("profile-level-id").unwrap_or(DEFAULT_PROFILE_LEVEL_ID))
    };
    let (Some(ours), Some(theirs)) = (read(&own), read(offered)) else {
        return capability.parameters.clone();
    };
    let lower = if level_rank(theirs) < level_rank(ours) {
        theirs
    } else {
        ours
    };
    let fmtp = Fmtp {
        payload_type: 0,
        parameters: own.parameters,
    };
    let pairs = fmtp.pairs().map(|(name, value)| {
        if name.eq_ignore_ascii_case("profile-level-id") {
            let [idc, iop, level] = lower;
            format!("{name}={idc:02x}{iop:02x}{level:02x}")
        } else {
            format!("{name}={value}")
        }
    });
    pairs.collect::<Vec<_>>().join(";")
}

/// Level 1b stands between 1 and 1.1: it is level 11 with constraint_set3 in the Baseline family.
fn level_rank([idc, iop, level]: [u8; 3]) -> u16 {
    let is_1b = level == 11 && iop & 0x10 != 0 && idc != 0x64;
    if is_1b { 105 } else { u16::from(level) * 10 }
}

/// The payload types of RFC 3551 that we know without `a=rtpmap`.
fn static_format(payload_type: u8) -> Option<(&'static str, u32, Option<u8>)> {
    match payload_type {
        0 => Some(("PCMU", 8000, None)),
        8 => Some(("PCMA", 8000, None)),
        9 => Some(("G722", 8000, None)),
        13 => Some(("CN", 8000, None)),
        _ => None,
    }
}

/// Whether `preference` (`name`, or `name parameters`) means this codec.
pub(crate) fn is_preferred(preference: &str, format: &Format<'_>) -> bool {
    let (name, parameters) = preference.split_once(' ').unwrap_or((preference, ""));
    let wanted = Fmtp {
        payload_type: 0,
        parameters,
    };
    name.eq_ignore_ascii_case(format.name)
        && wanted
            .pairs()
            .all(|(key, value)| format.parameter(key).is_some_and(|own| own.eq_ignore_ascii_case(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(parameters: &str) -> Format<'_> {
        Format {
            payload_type: 96,
            name: "H264",
            clock_rate: 90_000,
            channels: None,
            parameters,
            feedback: Vec::new(),
        }
    }

    #[test]
    fn h264_matches_by_profile_and_mode_not_by_level() {
        let base = h264("packetization-mode=1;profile-level-id=42e01f");
        for (other, same) in [
            ("profile-level-id=42e034;packetization-mode=1", true),
            ("profile-level-id=42C00B;packetization-mode=1", true),
            ("profile-level-id=4d801f;packetization-mode=1", true),
            ("profile-level-id=42e01f", false),
            ("profile-level-id=42001f;packetization-mode=1", false),
            ("profile-level-id=4d001f;packetization-mode=1", false),
            ("profile-level-id=64001f;packetization-mode=1", false),
            ("profile-level-id=zz;packetization-mode=1", false),
            ("packetization-mode=1", false),
        ] {
            assert_eq!(base.matches(&h264(other)), same, "{other}");
        }
    }

    #[test]
    fn the_lower_h264_level_is_answered_without_asymmetry() {
        let capability = |parameters: &str| CodecCapability {
            payload_type: 102,
            name: "H264".into(),
            clock_rate: 90_000,
            channels: None,
            parameters: parameters.into(),
            feedback: Vec::new(),
            rtx_payload_type: None,
        };
        let own = capability("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
        let lower = h264("packetization-mode=1;profile-level-id=42e00c");
        let answered = answer_parameters(&own, &lower);
        assert_eq!(
            answered,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e00c"
        );
        let one_b = h264("packetization-mode=1;profile-level-id=42f00b");
        assert!(answer_parameters(&own, &one_b).ends_with("42f00b"));
        let higher = h264("packetization-mode=1;profile-level-id=42e034");
        assert!(answer_parameters(&own, &higher).ends_with("42e01f"));
        let free = h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e00c");
        assert!(answer_parameters(&own, &free).ends_with("42e01f"));
    }

    #[test]
    fn preferences_name_codecs() {
        let format = h264("packetization-mode=1;profile-level-id=42e01f");
        assert!(is_preferred("h264", &format));
        assert!(is_preferred("H264 packetization-mode=1", &format));
        assert!(!is_preferred("H264 packetization-mode=0", &format));
        assert!(!is_preferred("VP8", &format));
    }
}
