//! Forwarding. A publisher is a list of tracks, one for each media section that it sends on; the sections of a watcher's offer are
//! matched to tracks, section by section and codec by codec; packets then go from track to section under the section's own payload
//! types. Knows nothing of HTTP, of the studio and of the sessions around it.

mod matching;
mod offer;
mod published;
mod relay;
mod track;

pub(super) use matching::{Playable, assign, repeated};
pub(super) use offer::{check_answer, has_descriptors, playing, publishing};
pub(super) use published::Published;
pub(super) use relay::{Has, Outlet, Seat, Steering, echo, relay};
pub(in crate::server) use track::Publisher;
pub(super) use track::{Described, Track};
