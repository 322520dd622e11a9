//! What the sections of a session send.

use antiphon::{Direction, MediaCapabilities, MediaKind};

use super::forward::PayloadTypes;

/// What the studio makes: one video codec and two for audio.
pub(super) fn studio_capabilities() -> MediaCapabilities {
    let mut capabilities = MediaCapabilities::default();
    capabilities.video.retain(|codec| Voice::named(&codec.name).is_some());
    capabilities.audio.retain(|codec| Voice::named(&codec.name).is_some());
    capabilities
}

/// What a section sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Playing {
    /// The studio's, under this payload type.
    Studio(u8, Voice),
    /// A track of the publisher.
    Track(usize, PayloadTypes),
    /// What comes in on it.
    Echo(PayloadTypes),
}

/// A codec that we have media for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Vp8,
    Opus,
    Pcmu,
}

impl Voice {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "VP8" => Some(Self::Vp8),
            "opus" => Some(Self::Opus),
            "PCMU" => Some(Self::Pcmu),
            _ => None,
        }
    }
}

pub(super) fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
}

pub(super) fn receives(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::RecvOnly)
}

pub(super) fn track_id(kind: MediaKind, n: usize) -> String {
    match kind {
        MediaKind::Video => format!("video{n}"),
        MediaKind::Audio => format!("audio{n}"),
    }
}
