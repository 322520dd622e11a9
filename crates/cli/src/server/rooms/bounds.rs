//! How much there may be of what participants make.

/// Rooms at a time.
pub(super) const MAX_ROOMS: usize = 256;
/// Participants of one room.
pub(super) const MAX_PARTICIPANTS: usize = 50;
/// Tracks of sound that a participant sends.
pub(super) const MAX_SOUND: u8 = 1;
/// Tracks of pictures that a participant sends: the camera and the screen.
pub(super) const MAX_VIDEO: u8 = 2;
/// The longest line of the chat, in characters.
pub(super) const MAX_LINE: usize = 2_000;
