//! What a forwarder carries on of a packet's extensions.

use super::{AbsCaptureTime, AudioLevel, OwnedOthers, PlayoutDelay, Values, VideoOrientation};

/// The extensions of a packet that speak of its media, not of the hop that it came by: what a forwarder carries on, under the
/// identifiers of the next hop, if that hop has negotiated them. Identification (MID, RID), numbering and send times are
/// each hop's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How loud the sound is ([`Kind::AudioLevel`](super::Kind::AudioLevel)).
    pub audio_level: Option<AudioLevel>,
    /// How the picture is to be turned ([`Kind::VideoOrientation`](super::Kind::VideoOrientation)).
    pub video_orientation: Option<VideoOrientation>,
    /// When the picture is to be shown ([`Kind::PlayoutDelay`](super::Kind::PlayoutDelay)).
    pub playout_delay: Option<PlayoutDelay>,
    /// [`Kind::AbsCaptureTime`](super::Kind::AbsCaptureTime), the capture time alone: the clock offset beside it is that of the sender before us to the
    /// capturer, which says nothing of ours.
    pub capture_time: Option<u64>,
    /// All that have no field in [`Values`], as they came. Take out what shall not go on, for instance
    /// [`Kind::DependencyDescriptor`](super::Kind::DependencyDescriptor), on which Chromium freezes where the path loses packets.
    pub others: OwnedOthers,
}

impl Carried {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.audio_level.is_none()
            && self.video_orientation.is_none()
            && self.playout_delay.is_none()
            && self.capture_time.is_none()
            && self.others.is_empty()
    }

    /// These, and of `later` what is not among them: what the first and the last packet of a frame say of it. Of those without a
    /// field, all that the first has, or else all that the last has.
    #[must_use]
    pub fn or(&self, later: &Self) -> Self {
        let others = if self.others.is_empty() {
            &later.others
        } else {
            &self.others
        };
        Self {
            audio_level: self.audio_level.or(later.audio_level),
            video_orientation: self.video_orientation.or(later.video_orientation),
            playout_delay: self.playout_delay.or(later.playout_delay),
            capture_time: self.capture_time.or(later.capture_time),
            others: others.clone(),
        }
    }

    /// What of `values` goes on.
    #[inline]
    pub fn of(values: &Values<'_>) -> Self {
        Self {
            audio_level: values.audio_level,
            video_orientation: values.video_orientation,
            playout_delay: values.playout_delay,
            capture_time: values.abs_capture_time.map(|time| time.capture),
            others: OwnedOthers::of(&values.others),
        }
    }

    /// Sets these in `values`.
    #[inline]
    pub fn put<'a>(&'a self, values: &mut Values<'a>) {
        values.audio_level = self.audio_level;
        values.video_orientation = self.video_orientation;
        values.playout_delay = self.playout_delay;
        values.abs_capture_time = self.capture_time.map(|capture| AbsCaptureTime {
            capture,
            clock_offset: None,
        });
        if !self.others.is_empty() {
            values.others = self.others.borrow();
        }
    }
}
