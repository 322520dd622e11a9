//! What an offer asks for, read before it is answered: for who must know whether it can be served at all.

use antiphon_sdp::{Direction, SessionDescription};

use crate::error::JsepError;
use crate::format::Format;
use crate::parameters::rtx_of;
use crate::plan::Codec;
use crate::survey::{self, Content, label};
use crate::types::MediaKind;

/// An m-section of an offer.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedSection {
    /// Its mid, or its index as `#0`: a name for people.
    pub label: String,
    /// What the section carries.
    pub content: OfferedContent,
    /// Whether the offerer itself does not use it: port 0, and not because it is bundled (RFC 9143 §6).
    pub rejected: bool,
    /// The direction from where the offerer stands.
    pub direction: Direction,
    /// The codecs in the offerer's order, known here or not, without the retransmission formats, which stand in
    /// [`Codec::rtx`] of what they repeat.
    pub codecs: Vec<Codec>,
}

/// What an m-section carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferedContent {
    /// Sound or pictures.
    Media(MediaKind),
    /// Data channels.
    Data,
    /// Nothing that is known here.
    Unknown,
}

impl OfferedSection {
    /// The m-sections of a description, in order.
    ///
    /// # Errors
    /// When it is not SDP, or larger than is handled.
    pub fn read(sdp: &str) -> Result<Vec<Self>, JsepError> {
        let description = SessionDescription::parse(sdp)?;
        survey::check(&description)?;
        let read = |index: usize| {
            let media = &description.media[index];
            let formats = Format::of(media);
            let codec = |format: &Format<'_>| Codec {
                payload_type: format.payload_type,
                name: format.name.to_owned(),
                clock_rate: format.clock_rate,
                channels: format.channels,
                parameters: format.parameters.to_string(),
                sender_parameters: format.parameters.to_string(),
                feedback: format.feedback.iter().map(|&value| value.to_owned()).collect(),
                rtx: rtx_of(&formats, format),
            };
            let content = match Content::of(media) {
                Content::Media(kind) => OfferedContent::Media(kind),
                Content::Data => OfferedContent::Data,
                Content::Unknown => OfferedContent::Unknown,
            };
            Self {
                label: label(&description, index),
                content,
                rejected: media.is_rejected(),
                direction: description.direction_of(media),
                codecs: formats.iter().filter(|format| !format.is_rtx()).map(codec).collect(),
            }
        };
        Ok((0..description.media.len()).map(read).collect())
    }
}
