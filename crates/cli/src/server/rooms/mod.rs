//! The rooms of the page: who is in which room, what they tell each other, and the offers that the server makes to each.
//! It stands on `antiphon::room`, which forwards their media; it knows no WebSocket, no HTTP, and none of the other rooms of the server.

mod about;
mod bounds;
mod directory;
mod figures;
mod hub;
mod keeper;
mod leaving;
mod message;
mod pace;
mod participant;
mod refusal;
mod single;
mod summary;
mod tally;

pub(super) use directory::Rooms;
pub(super) use figures::{OneRoom, RoomsFigures};
pub(super) use keeper::Keeper;
pub(super) use message::{Join, Reply, Request, TYPES};
pub(super) use pace::{Pace, Verdict};
pub(super) use participant::{Participant, Step};
pub(super) use refusal::Refusal;
pub(super) use single::Single;
