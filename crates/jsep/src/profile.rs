//! Which configurations of one codec there are, which of them are the same, and which receiver takes which stream.

use std::borrow::Cow;

use antiphon_sdp::Fmtp;

/// The parameters that name one configuration of a codec, by the rules of its payload format. The same configuration at
/// both ends: what one encodes, the other decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Configuration {
    /// The codec has only one.
    One,
    /// RFC 6184 §8.2.2: profile and packetization mode are symmetric; the level need not be.
    H264 { profile: H264Profile, mode: u8 },
    /// RFC 9628 §6.1.
    Vp9 { profile: u8 },
    /// AV1 RTP payload format, §7.2.1: level and tier are the receiver's own.
    Av1 { profile: u8 },
    /// RFC 7798 §7.2.2: profile, tier and way of transmission are symmetric; the level need not be.
    H265 {
        space: u8,
        profile: u8,
        tier: u8,
        several: bool,
    },
    /// RFC 9328 §7.3.2: profile and tier are symmetric; the level need not be.
    H266 { profile: u8, tier: u8 },
}

impl Configuration {
    /// Reads the parameters of the codec `name`; what is not there has the value that its payload format gives it.
    pub(crate) fn of(name: &str, parameters: &str) -> Self {
        let fmtp = Fmtp {
            payload_type: 0,
            parameters,
        };
        let number = |key: &str, default: u8| match fmtp.get(key) {
            // 255 is no value that any of these parameters has: what cannot be read is the same only as its like.
            Some(text) => text.parse().unwrap_or(u8::MAX),
            None => default,
        };
        match name.to_ascii_uppercase().as_str() {
            "H264" => Self::H264 {
                profile: H264Profile::parse(fmtp.get("profile-level-id").unwrap_or(DEFAULT_PROFILE_LEVEL_ID)),
                mode: number("packetization-mode", 0),
            },
            "VP9" => Self::Vp9 {
                profile: number("profile-id", 0),
            },
            "AV1" => Self::Av1 {
                profile: number("profile", 0),
            },
            // RFC 7798 §7.1: Main profile and Main tier unless said.
            "H265" => Self::H265 {
                space: number("profile-space", 0),
                profile: number("profile-id", 1),
                tier: number("tier-flag", 0),
                several: fmtp
                    .get("tx-mode")
                    .is_some_and(|mode| !mode.eq_ignore_ascii_case("SRST")),
            },
            // RFC 9328 §7.2: Main 10 profile and Main tier unless said.
            "H266" => Self::H266 {
                profile: number("profile-id", 1),
                tier: number("tier-flag", 0),
            },
            _ => Self::One,
        }
    }

    /// Whether who receives this configuration decodes a stream of that one.
    pub(crate) fn decodes(&self, stream: &Self) -> bool {
        match (self, stream) {
            (
                Self::H264 { profile, mode },
                Self::H264 {
                    profile: sent,
                    mode: sent_mode,
                },
            ) => {
                // RFC 6184 §6.3: who takes the non-interleaved mode takes single NAL units too.
                profile.decodes(*sent) && (mode == sent_mode || (*mode == 1 && *sent_mode == 0))
            }
            // AV1 specification, annex A.2: a decoder of a profile decodes the lower ones.
            (Self::Av1 { profile }, Self::Av1 { profile: sent }) => sent <= profile && *profile <= 2,
            (own, other) => own == other,
        }
    }
}

/// The profile in a `profile-level-id` (RFC 6184 §8.1, table 5; High and Constrained High by H.264 §A.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Extended,
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
            (0x58, iop) if iop & 0xcf == 0x00 => Self::Extended,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            (0x64, 0x00) => Self::High,
            (idc, iop) => Self::Other(idc, iop),
        }
    }

    /// H.264 §A.2: which profiles a decoder of this one decodes.
    fn decodes(self, stream: Self) -> bool {
        use H264Profile::{Baseline, ConstrainedBaseline, ConstrainedHigh, Extended, High, Main};
        let below: &[Self] = match self {
            Baseline | Main | ConstrainedHigh => &[ConstrainedBaseline],
            Extended => &[ConstrainedBaseline, Baseline, Main],
            High => &[ConstrainedBaseline, Main, ConstrainedHigh],
            // High 10, High 4:2:2, High 4:4:4 Predictive.
            Self::Other(0x6e | 0x7a | 0xf4, 0) => &[ConstrainedBaseline, Main, ConstrainedHigh, High],
            _ => &[],
        };
        self == stream || below.contains(&stream)
    }
}

/// What `profile-level-id` means when it is not there: RFC 6184 §8.1 says Baseline level 1.
const DEFAULT_PROFILE_LEVEL_ID: &str = "42000a";

fn profile_level_id(text: &str) -> Option<[u8; 3]> {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = digits.then(|| u32::from_str_radix(text, 16).ok())??;
    let [_, idc, iop, level] = value.to_be_bytes();
    Some([idc, iop, level])
}

/// Level 1b stands between 1 and 1.1: it is level 11 with constraint_set3 in the Baseline family.
fn level_rank([idc, iop, level]: [u8; 3]) -> u16 {
    let is_1b = level == 11 && iop & 0x10 != 0 && idc != 0x64;
    if is_1b { 105 } else { u16::from(level) * 10 }
}

/// Our H.264 parameters in an answer: the level is the lower of the two unless both allow asymmetry (RFC 6184 §8.2.2).
pub(crate) fn with_lower_level<'a>(own: &'a str, offered: &str) -> Cow<'a, str> {
    let fmtp = |parameters| Fmtp {
        payload_type: 0,
        parameters,
    };
    let (ours, theirs) = (fmtp(own), fmtp(offered));
    let asymmetric = |fmtp: &Fmtp<'_>| fmtp.get("level-asymmetry-allowed") == Some("1");
    let read = |fmtp: &Fmtp<'_>| profile_level_id(fmtp.get("profile-level-id").unwrap_or(DEFAULT_PROFILE_LEVEL_ID));
    let (Some(own_level), Some(their_level)) = (read(&ours), read(&theirs)) else {
        return own.into();
    };
    if (asymmetric(&ours) && asymmetric(&theirs)) || level_rank(own_level) <= level_rank(their_level) {
        return own.into();
    }
    let [idc, iop, level] = their_level;
    with_value(&ours, "profile-level-id", &format!("{idc:02x}{iop:02x}{level:02x}")).into()
}

/// Level 3.1 of H.265, which holds if none is said (RFC 7798 §7.1).
pub(crate) const H265_LEVEL: &str = "93";
/// Level 3.1 of H.266, which holds if none is said (RFC 9328 §7.2).
pub(crate) const H266_LEVEL: &str = "51";

/// Our parameters of H.265 or H.266 in an answer: the level may go down from what was offered, not up (RFC 7798 §7.2.2,
/// RFC 9328 §7.3.2), unless the offer says by `max-recv-level-id` that its encoder goes higher. `default` is the level if none is said.
pub(crate) fn with_lower_level_id<'a>(own: &'a str, offered: &str, default: &str) -> Cow<'a, str> {
    let fmtp = |parameters| Fmtp {
        payload_type: 0,
        parameters,
    };
    let (ours, theirs) = (fmtp(own), fmtp(offered));
    let level = |fmtp: &Fmtp<'_>| -> Option<u8> { fmtp.get("level-id").unwrap_or(default).parse().ok() };
    match (level(&ours), level(&theirs)) {
        (Some(own_level), Some(their_level))
            if own_level > their_level && theirs.get("max-recv-level-id").is_none() =>
        {
            with_value(&ours, "level-id", &their_level.to_string()).into()
        }
        _ => own.into(),
    }
}

/// The parameters with another value of this name, which is added if it is not there.
fn with_value(parameters: &Fmtp<'_>, name: &str, value: &str) -> String {
    let mut found = false;
    let mut pairs: Vec<String> = Vec::new();
    for (key, own) in parameters.pairs() {
        let is_it = key.eq_ignore_ascii_case(name);
        found |= is_it;
        pairs.push(format!("{key}={}", if is_it { value } else { own }));
    }
    if !found {
        pairs.push(format!("{name}={value}"));
    }
    pairs.join(";")
}

/// Offered parameters as an answer repeats them: all but the parameter sets, which belong to the stream of who
/// describes them (RFC 6184 §8.2.2, RFC 7798 §7.2.2).
pub(crate) fn repeated(offered: &str) -> String {
    let fmtp = Fmtp {
        payload_type: 0,
        parameters: offered,
    };
    let pairs = fmtp
        .pairs()
        .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("sprop-"));
    pairs
        .map(|(name, value)| match value {
            "" => name.to_owned(),
            value => format!("{name}={value}"),
        })
        .collect::<Vec<_>>()
        .join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(parameters: &str) -> Configuration {
        Configuration::of("h264", parameters)
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
            ("profile-level-id=+2e01f;packetization-mode=1", false),
            ("packetization-mode=1", false),
        ] {
            assert_eq!(base == h264(other), same, "{other}");
        }
        // RFC 6184 §8.1: Baseline, level 1 and single NAL units if nothing is said.
        assert_eq!(h264(""), h264("profile-level-id=420014;packetization-mode=0"));
    }

    #[test]
    fn a_receiver_decodes_what_its_profile_contains() {
        let id = |profile: &str, mode: u8| h264(&format!("packetization-mode={mode};profile-level-id={profile}"));
        for (receiver, stream, decodes) in [
            (id("64001f", 1), id("640c1f", 1), true),
            (id("640c1f", 1), id("64001f", 1), false),
            (id("42001f", 1), id("42e014", 1), true),
            (id("42e01f", 1), id("420014", 1), false),
            (id("4d001f", 1), id("42e01f", 1), true),
            (id("64001f", 1), id("42001f", 1), false),
            (id("f4001f", 1), id("64001f", 1), true),
            (id("42e01f", 1), id("42e01f", 0), true),
            (id("42e01f", 0), id("42e01f", 1), false),
            (id("420014", 1), id("58001e", 1), false),
        ] {
            assert_eq!(receiver.decodes(&stream), decodes, "{receiver:?} of {stream:?}");
        }
        let av1 = |parameters| Configuration::of("AV1", parameters);
        assert!(av1("profile=1").decodes(&av1("")) && !av1("").decodes(&av1("profile=1")));
        let vp9 = |parameters| Configuration::of("VP9", parameters);
        assert!(vp9("").decodes(&vp9("profile-id=0")) && !vp9("profile-id=2").decodes(&vp9("")));
        let h265 = |parameters| Configuration::of("H265", parameters);
        assert!(h265("level-id=93").decodes(&h265("profile-id=1;tier-flag=0;level-id=180;tx-mode=SRST")));
        assert!(!h265("").decodes(&h265("tx-mode=MRST")) && !h265("").decodes(&h265("profile-id=2")));
        let h266 = |parameters| Configuration::of("H266", parameters);
        assert!(h266("level-id=51").decodes(&h266("profile-id=1;tier-flag=0;level-id=83")));
        assert!(!h266("").decodes(&h266("profile-id=33")) && !h266("").decodes(&h266("tier-flag=1")));
        assert!(Configuration::of("VP8", "max-fr=30").decodes(&Configuration::of("VP8", "")));
    }

    #[test]
    fn the_lower_h264_level_is_answered_without_asymmetry() {
        let own = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        assert_eq!(
            with_lower_level(own, "packetization-mode=1;profile-level-id=42e00c"),
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e00c"
        );
        assert!(with_lower_level(own, "packetization-mode=1;profile-level-id=42f00b").ends_with("42f00b"));
        assert!(with_lower_level(own, "packetization-mode=1;profile-level-id=42e034").ends_with("42e01f"));
        let free = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e00c";
        assert!(with_lower_level(own, free).ends_with("42e01f"));
    }

    #[test]
    fn the_lower_h265_level_is_answered() {
        let own = "profile-id=1;level-id=120";
        assert_eq!(
            with_lower_level_id(own, "level-id=93", H265_LEVEL),
            "profile-id=1;level-id=93"
        );
        assert_eq!(with_lower_level_id(own, "", H265_LEVEL), "profile-id=1;level-id=93");
        assert_eq!(with_lower_level_id(own, "level-id=150", H265_LEVEL), own);
        assert_eq!(
            with_lower_level_id(own, "level-id=60;max-recv-level-id=150", H265_LEVEL),
            own
        );
        assert_eq!(with_lower_level_id("", "level-id=60", H265_LEVEL), "level-id=60");
        assert_eq!(with_lower_level_id(own, "level-id=high", H265_LEVEL), own);
    }

    #[test]
    fn parameter_sets_of_the_offerer_are_not_repeated() {
        let offered = "packetization-mode=1; sprop-parameter-sets=Z0IA,aM4;profile-level-id=640c1f";
        assert_eq!(repeated(offered), "packetization-mode=1;profile-level-id=640c1f");
        assert_eq!(repeated("0-15"), "0-15");
    }
}
