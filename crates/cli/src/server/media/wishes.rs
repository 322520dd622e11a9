//! What a client may ask for when its session begins, and what that means for its connection.

use antiphon::{Congestion, CongestionFeedbackPolicy, MediaSettings};

use crate::sources::AudioCodec;

/// What the client may ask for when a session begins.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Wishes {
    /// The audio codec that we put first in our offers.
    pub(in crate::server) audio: AudioCodec,
    /// The congestion controller of what we send; `None`: as the server was started.
    pub(in crate::server) congestion: Option<Congestion>,
}

/// Sets the controller. One that is not the browsers' own heeds marks of ECN, of which RFC 8888 alone tells: it is offered then.
pub(in crate::server) fn steer(media: &mut MediaSettings, congestion: Congestion) {
    media.congestion = congestion;
    media.congestion_feedback = if congestion == Congestion::default() {
        CongestionFeedbackPolicy::Accept
    } else {
        CongestionFeedbackPolicy::Negotiate
    };
}
