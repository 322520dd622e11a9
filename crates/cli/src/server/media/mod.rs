//! The peer connections of the sessions, and what goes through them: the pattern, the echo, and what publishers send to
//! those who watch. It hands data channels to `chat`, and knows nothing of HTTP or of how a session was signalled.

mod figures;
mod forward;
mod outlet;
mod peer;
mod player;
mod playing;
mod role;
mod sending;
mod setup;
mod streams;
mod watching;
mod wishes;

pub(super) use figures::Figures;
pub(super) use forward::Publisher;
pub(super) use peer::Peer;
pub(super) use role::{NO_WAY, Outcome, Refused, Role};
pub(super) use sending::Sending;
pub(super) use setup::Setup;
pub(super) use streams::{Claim, DEFAULT_STREAM, Streams, is_name};
pub(super) use watching::{LayerChoice, TrackLayers};
pub(super) use wishes::{Wishes, steer};
