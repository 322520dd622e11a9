//! Names of format parameters: as `a=fmtp` has them (`useinbandfec`, `packetization-mode`), and as programs in the
//! manner of mediasoup write them (`useInbandFec`, `packetizationMode`).

/// Names that are several words without anything between them.
const TOGETHER: [(&str, &str); 8] = [
    ("useinbandfec", "useInbandFec"),
    ("usedtx", "useDtx"),
    ("minptime", "minPtime"),
    ("maxptime", "maxPtime"),
    ("maxplaybackrate", "maxPlaybackRate"),
    ("maxaveragebitrate", "maxAverageBitrate"),
    ("maxframerate", "maxFrameRate"),
    ("sprop-maxcapturerate", "spropMaxCaptureRate"),
];

/// The name as a program writes it: words are joined, and all but the first begin with a capital letter.
///
/// ```
/// use antiphon_jsep::parameter_name::{from_sdp, to_sdp};
///
/// assert_eq!(from_sdp("useinbandfec"), "useInbandFec");
/// assert_eq!(from_sdp("profile-level-id"), "profileLevelId");
/// assert_eq!(to_sdp("profileLevelId"), "profile-level-id");
/// ```
pub fn from_sdp(name: &str) -> String {
    if let Some((_, joined)) = TOGETHER.iter().find(|(sdp, _)| name.eq_ignore_ascii_case(sdp)) {
        return (*joined).to_owned();
    }
    let mut joined = String::with_capacity(name.len());
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied().filter(char::is_ascii_lowercase);
        match next {
            Some(next) if letter == '-' && !joined.is_empty() => {
                joined.push(next.to_ascii_uppercase());
                letters.next();
            }
            _ => joined.push(letter),
        }
    }
    joined
}

/// The name as `a=fmtp` has it: the opposite of [`from_sdp`] for every name in small letters.
pub fn to_sdp(name: &str) -> String {
    if let Some((sdp, _)) = TOGETHER.iter().find(|(_, joined)| *joined == name) {
        return (*sdp).to_owned();
    }
    let mut parted = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !parted.is_empty() {
            parted.push('-');
        }
        parted.push(letter.to_ascii_lowercase());
    }
    parted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{from_sdp, to_sdp};

    #[test]
    fn m17_parameters_have_two_names() {
        for (sdp, joined) in [
            ("useinbandfec", "useInbandFec"),
            ("UseInbandFEC", "useInbandFec"),
            ("usedtx", "useDtx"),
            ("sprop-stereo", "spropStereo"),
            ("sprop-maxcapturerate", "spropMaxCaptureRate"),
            ("packetization-mode", "packetizationMode"),
            ("profile-level-id", "profileLevelId"),
            ("level-asymmetry-allowed", "levelAsymmetryAllowed"),
            ("x-google-start-bitrate", "xGoogleStartBitrate"),
            ("max-fs", "maxFs"),
            ("apt", "apt"),
            ("0-15", "0-15"),
        ] {
            assert_eq!(from_sdp(sdp), joined);
            assert_eq!(to_sdp(joined), sdp.to_ascii_lowercase());
        }
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_name(name in "[a-z0-9-]{0,20}") {
            prop_assert_eq!(to_sdp(&from_sdp(&name)), name);
        }

        #[test]
        fn any_text_has_a_name(name: String) {
            let _ = (from_sdp(&name), to_sdp(&name));
        }
    }
}
