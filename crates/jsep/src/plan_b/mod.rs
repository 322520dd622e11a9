//! Plan B: descriptions with one section for each kind of media and all tracks in it, as Chromium wrote them before
//! version 72 and mediasoup 1.x did, to and from those with one section for each track, which this crate speaks.

mod error;
mod layout;
mod lines;
mod merge;
mod split;
mod tracks;

use antiphon_sdp::SessionDescription;

pub use error::PlanBError;
pub use layout::PlanBStyle;
pub use split::PlanBAnswer;
pub use tracks::{MAX_SOURCES, MAX_TRACKS};

use layout::Layout;

/// Translates between us and one peer that speaks Plan B.
///
/// It remembers which section each track of the peer has, by its sources and its msid, so that the tracks that stay
/// stay where they are. After an error nothing has changed.
#[derive(Clone, Debug)]
pub struct PlanB {
    layout: Layout,
}

impl PlanB {
    /// Nothing is negotiated yet.
    pub fn new(style: PlanBStyle) -> Self {
        Self {
            layout: Layout::new(style),
        }
    }

    /// Our offer as the peer reads it. Each has a version that is one more than that of the offer before.
    ///
    /// # Errors
    /// If the sections of a kind do not fit into one: see [`PlanBError`].
    pub fn local_offer(&mut self, offer: &SessionDescription) -> Result<SessionDescription, PlanBError> {
        let mut layout = self.layout.clone();
        layout.take_ours(offer)?;
        layout.version += 1;
        let merged = merge::merge(&layout, offer)?;
        self.layout = layout;
        Ok(merged)
    }

    /// The peer's answer as an answer to this offer, of which it had [`Self::local_offer`].
    ///
    /// # Errors
    /// If the answer has other sections than the offer, or more tracks than are handled: see [`PlanBError`].
    pub fn remote_answer(
        &mut self,
        offer: &SessionDescription,
        answer: &SessionDescription,
    ) -> Result<PlanBAnswer, PlanBError> {
        let mut layout = self.layout.clone();
        layout.take_ours(offer)?;
        let split = split::answer(&mut layout, offer, answer)?;
        self.layout = layout;
        Ok(split)
    }

    /// The peer's offer with a section for each of its tracks. A section whose track is gone stays, and the next track
    /// of its kind has it.
    ///
    /// # Errors
    /// If the offer has other sections than before, or more tracks than are handled: see [`PlanBError`].
    pub fn remote_offer(&mut self, offer: &SessionDescription) -> Result<SessionDescription, PlanBError> {
        let mut layout = self.layout.clone();
        let split = split::offer(&mut layout, offer)?;
        self.layout = layout;
        Ok(split)
    }

    /// Our answer to [`Self::remote_offer`] as the peer reads it.
    ///
    /// # Errors
    /// If the sections of a kind do not fit into one: see [`PlanBError`].
    pub fn local_answer(&mut self, answer: &SessionDescription) -> Result<SessionDescription, PlanBError> {
        let mut layout = self.layout.clone();
        layout.take_ours(answer)?;
        let merged = merge::merge(&layout, answer)?;
        self.layout = layout;
        Ok(merged)
    }
}
