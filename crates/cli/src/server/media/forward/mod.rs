//! Who watches a publisher gets what. A publisher is a list of tracks, one for each media section that it sends on; the sections of a
//! watcher's offer are matched to tracks, section by section and codec by codec. The packets go from track to section by a router,
//! within the driver. Knows nothing of HTTP, of the studio and of the sessions around it.

mod matching;
mod offer;
mod track;

pub(super) use matching::{Playable, assign, repeated};
pub(super) use offer::{check_answer, playing, publishing};
pub(in crate::server) use track::Publisher;
pub(super) use track::{Described, Track};
