//! Congestion control feedback of RFC 8888: who says it, when both ends use it, and what it takes the place of.

use antiphon_sdp::{Attribute, RtcpFeedback, Section, SessionDescription};

use crate::capabilities::TRANSPORT_WIDE_CC;
use crate::plan::Codec;
use crate::survey::{Content, any_copied};

/// The value of `a=rtcp-fb`.
const VALUE: &str = "ack ccfb";
/// What it takes the place of.
const TRANSPORT_CC: &str = "transport-cc";

/// Whether all sections for media among `members` say it. It concerns the whole transport: with a section that does not say it, it is
/// not used at all.
///
/// RFC 8888 §6 has it for all payload types at once. Chromium and Pion name it for each; one of them is enough for us.
pub(crate) fn says(description: &SessionDescription, members: &[usize]) -> bool {
    let section = |section: &Section| section.rtcp_feedback().any(|feedback| feedback.value == VALUE);
    let mut media = members
        .iter()
        .filter_map(|&index| description.media.get(index))
        .filter(|media| matches!(Content::of(media), Content::Media(_)))
        .peekable();
    media.peek().is_some() && media.all(|media| section(&media.section))
}

/// Whether both ends say it, and the peer for itself: what it has copied from us it need not understand. `members`: the sections that
/// run on the transport at both ends.
pub(crate) fn is_agreed(local: &SessionDescription, remote: &SessionDescription, members: &[usize]) -> bool {
    says(local, members) && says(remote, members) && !any_copied(local, remote)
}

/// Writes it.
pub(crate) fn write(section: &mut Section) {
    // RFC 8888 §6: for all payload types of the section, and in no other way.
    section.add(&Attribute::RtcpFeedback(RtcpFeedback {
        payload_type: None,
        value: VALUE,
    }));
}

/// Whether it is asked for beside it: an answer with the one leaves the other away.
pub(crate) fn is_replaced(feedback: &str) -> bool {
    feedback == TRANSPORT_CC
}

/// Where it is agreed, every codec has it, and none transport-wide feedback; where it is not, none has it.
pub(crate) fn settle_codec(codec: &mut Codec, agreed: bool) {
    codec
        .feedback
        .retain(|value| value != VALUE && !(agreed && is_replaced(value)));
    if agreed {
        codec.feedback.push(VALUE.to_owned());
    }
}

/// Whether an extension is of use, as it was agreed: nobody looks at numbers for feedback that is not given.
pub(crate) fn is_used(uri: &str, agreed: bool) -> bool {
    !agreed || uri != TRANSPORT_WIDE_CC
}
