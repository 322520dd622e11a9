//! Why somebody does not get what was asked for in a room.

use antiphon::room::{ClusterError, Error};

use super::bounds::{MAX_LINE, MAX_PARTICIPANTS, MAX_ROOMS, MAX_SOUND, MAX_VIDEO};
use crate::names::{MAX_PERSON, MAX_ROOM};
use crate::token::{Right, TokenError};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Refusal {
    #[error("the name of a room has 1 to {MAX_ROOM} letters, digits, dashes, dots and underscores")]
    RoomName,
    #[error("a name has 1 to {MAX_PERSON} characters, all of which can be seen")]
    PersonName,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("your token does not let you {0}")]
    NoRight(Right),
    #[error("somebody in this room has this name: take another one")]
    NameTaken,
    #[error("this server has {MAX_ROOMS} rooms, which is the most: try again later")]
    NoMoreRooms,
    #[error("this room has {MAX_PARTICIPANTS} participants, which is the most: try again later")]
    RoomFull,
    #[error("what the browser can is not understood: {0}")]
    Capabilities(Error),
    #[error("the offer cannot be taken: {0}")]
    Offer(String),
    #[error("nobody of that name is in that room")]
    NobodyThere,
    #[error("this participant sends nothing that the offer takes")]
    NothingToWatch,
    #[error("the answer is not understood, and another offer comes: {0}")]
    Answer(Error),
    #[error("no offer waits for an answer")]
    NoOffer,
    #[error("a participant sends at most {MAX_SOUND} track of sound and {MAX_VIDEO} of pictures")]
    TooManyTracks,
    #[error("too many exchanges in a short time: this wish was passed over")]
    TooOften,
    #[error("a line of the chat has 1 to {MAX_LINE} characters")]
    Line,
    #[error(transparent)]
    Away(ClusterError),
    #[error("the room cannot go on: {0}")]
    Broken(Error),
}

impl Refusal {
    /// Why a room does not take somebody.
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Cluster(error @ ClusterError::BusAway) => Self::Away(error),
            error => Self::Broken(error),
        }
    }

    /// The word for figures: of tokens what is wrong with them.
    pub(in crate::server) fn cause(&self) -> &'static str {
        match self {
            Self::Token(error) => error.cause(),
            _ => self.code(),
        }
    }

    /// The word for programs.
    pub(in crate::server) fn code(&self) -> &'static str {
        match self {
            Self::RoomName => "room",
            Self::PersonName | Self::NameTaken => "name",
            Self::Token(_) => "token",
            Self::NoRight(_) => "right",
            Self::NoMoreRooms | Self::RoomFull => "full",
            Self::Capabilities(_) | Self::Answer(_) | Self::Offer(_) | Self::NothingToWatch => "sdp",
            Self::NobodyThere => "participant",
            Self::NoOffer => "state",
            Self::TooManyTracks => "publish",
            Self::Line => "text",
            Self::TooOften => "rate",
            Self::Away(_) => "away",
            Self::Broken(_) => "broken",
        }
    }
}
