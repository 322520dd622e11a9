//! What the sections of a session send.

use antiphon::{Codec, CodecCapability, Direction, MediaCapabilities, MediaKind, Redundancy};
use antiphon_sfu::PayloadTypes;

use super::role::Role;
use crate::sources::{AudioCodec, VideoCodec};

/// Longer names of streams are not repeated to watchers.
const MAX_STREAM_ID: usize = 64;

/// What the studio makes: two codecs for audio, and for video those of this build, `first` before the others.
pub(in crate::server) fn studio_capabilities(first: VideoCodec) -> MediaCapabilities {
    let mut capabilities = MediaCapabilities::default();
    let voice = |codec: &CodecCapability| Voice::of(&codec.name, &codec.parameters);
    capabilities.video.retain(|codec| voice(codec).is_some());
    capabilities
        .video
        .sort_by_key(|codec| voice(codec) != Some(Voice::Video(first)));
    capabilities.audio.retain(|codec| voice(codec).is_some());
    capabilities
}

/// For the pattern, the same with what brings back losses before anybody asks: RED for the sound, FlexFEC for pictures. Sent where packets
/// are lost.
pub(in crate::server) fn with_repairs(role: &Role, capabilities: MediaCapabilities) -> MediaCapabilities {
    if !matches!(role, Role::Pattern) {
        return capabilities;
    }
    let mut capabilities = capabilities.with_redundancy(Redundancy {
        red: true,
        flexfec_03: true,
        ..Redundancy::default()
    });
    // Nothing comes in here, so none of it need stand first.
    capabilities.audio.sort_by_key(|codec| codec.name == "red");
    capabilities
}

/// What a section sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Playing {
    /// The studio's, under this payload type.
    Studio(u8, Voice),
    /// What comes in on it.
    Echo(PayloadTypes),
}

/// A codec that we have media for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Voice {
    Video(VideoCodec),
    Audio(AudioCodec),
}

impl Voice {
    /// Of what was negotiated.
    pub(in crate::server) fn of(name: &str, parameters: &str) -> Option<Self> {
        match name {
            "opus" => return Some(Self::Audio(AudioCodec::Opus)),
            "PCMU" => return Some(Self::Audio(AudioCodec::Pcmu)),
            _ => {}
        }
        let codec = VideoCodec::named(name).ok()?;
        // What is encoded as H.264 is Constrained Baseline, and its slices are larger than packets (RFC 6184 §8.1).
        let fits =
            name != "H264" || (parameters.contains("packetization-mode=1") && is_constrained_baseline(parameters));
        fits.then_some(Self::Video(codec))
    }

    /// The one to send of what a section negotiated, with its payload type: `first` if it is there, else what the section puts first.
    pub(in crate::server) fn chosen(codecs: &[Codec], first: VideoCodec) -> Option<(u8, Self)> {
        let known = || {
            codecs
                .iter()
                .filter_map(|codec| Some((codec.payload_type, Self::of(&codec.name, &codec.parameters)?)))
        };
        known()
            .find(|(_, voice)| *voice == Self::Video(first))
            .or_else(|| known().next())
    }
}

/// Whether H.264 parameters name Constrained Baseline: 42 and the second of the constraint flags (RFC 6184 §8.1, table 5).
fn is_constrained_baseline(parameters: &str) -> bool {
    let value = parameters.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("profile-level-id").then_some(value)
    });
    let number = value.and_then(|value| u32::from_str_radix(value, 16).ok());
    number.is_some_and(|number| number >> 16 == 0x42 && number >> 8 & 0x40 != 0)
}

pub(in crate::server) fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
}

pub(in crate::server) fn receives(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::RecvOnly)
}

pub(in crate::server) fn track_id(kind: MediaKind, n: usize) -> String {
    match kind {
        MediaKind::Video => format!("video{n}"),
        MediaKind::Audio => format!("audio{n}"),
    }
}

/// The streams of what is sent on, named as the publisher does, or ours if it names none.
pub(in crate::server) fn stream_ids(own: &[String]) -> Vec<String> {
    let ids: Vec<String> = own.iter().filter(|id| id.len() <= MAX_STREAM_ID).cloned().collect();
    if ids.is_empty() { vec!["antiphon".into()] } else { ids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pattern_is_sent_in() {
        let codec = |payload_type, name: &str, parameters: &str| Codec {
            payload_type,
            name: name.into(),
            clock_rate: 90_000,
            channels: None,
            parameters: parameters.into(),
            sender_parameters: String::new(),
            feedback: Vec::new(),
            rtx: None,
        };
        let h264 = |profile: &str, mode: u8| {
            codec(
                102,
                "H264",
                &format!("packetization-mode={mode};profile-level-id={profile}"),
            )
        };
        let vp8 = codec(96, "VP8", "");
        let chosen = |codecs: &[Codec]| Voice::chosen(codecs, *VideoCodec::ALL.last().unwrap());
        let of_vp8 = Some((96, Voice::Video(VideoCodec::Vp8)));
        // Baseline, High, and slices that must fit a packet: not what is encoded here.
        for other in [
            h264("42001f", 1),
            h264("640c1f", 1),
            h264("42e01f", 0),
            codec(98, "VP9", ""),
        ] {
            assert_eq!(chosen(&[other, vp8.clone()]), of_vp8);
        }
        assert_eq!(chosen(&[codec(98, "VP9", "")]), None);
        let both = [vp8, h264("42e01f", 1)];
        assert_eq!(Voice::chosen(&both, VideoCodec::Vp8), of_vp8);
        assert_eq!(
            chosen(&both).map(|(number, _)| number),
            Some(if cfg!(feature = "h264") { 102 } else { 96 })
        );
    }
}
