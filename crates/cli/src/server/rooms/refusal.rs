//! Why somebody does not get what was asked for in a room.

use antiphon::room::Error;

use super::bounds::{MAX_LINE, MAX_PARTICIPANTS, MAX_ROOMS, MAX_SOUND, MAX_VIDEO};
use super::names::{MAX_PERSON, MAX_ROOM};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Refusal {
    #[error("the name of a room has 1 to {MAX_ROOM} letters, digits, dashes, dots and underscores")]
    RoomName,
    #[error("a name has 1 to {MAX_PERSON} characters, all of which can be seen")]
    PersonName,
    #[error("somebody in this room has this name: take another one")]
    NameTaken,
    #[error("this server has {MAX_ROOMS} rooms, which is the most: try again later")]
    NoMoreRooms,
    #[error("this room has {MAX_PARTICIPANTS} participants, which is the most: try again later")]
    RoomFull,
    #[error("what the browser can is not understood: {0}")]
    Capabilities(Error),
    #[error("the answer is not understood, and another offer comes: {0}")]
    Answer(Error),
    #[error("no offer waits for an answer")]
    NoOffer,
    #[error("a participant sends at most {MAX_SOUND} track of sound and {MAX_VIDEO} of pictures")]
    TooManyTracks,
    #[error("a line of the chat has 1 to {MAX_LINE} characters")]
    Line,
    #[error("the room cannot go on: {0}")]
    Broken(Error),
}

impl Refusal {
    /// The word for programs.
    pub(in crate::server) fn code(&self) -> &'static str {
        match self {
            Self::RoomName => "room",
            Self::PersonName | Self::NameTaken => "name",
            Self::NoMoreRooms | Self::RoomFull => "full",
            Self::Capabilities(_) | Self::Answer(_) => "sdp",
            Self::NoOffer => "state",
            Self::TooManyTracks => "publish",
            Self::Line => "text",
            Self::Broken(_) => "broken",
        }
    }
}
