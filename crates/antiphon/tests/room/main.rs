//! Rooms, row by row of what programs for mediasoup 1.x expect: `m01` to `m17`. The browser is a connection of our own that answers.

mod client;
mod cluster;
mod descriptions;
mod exchanges;
mod peers;
mod rooms;
mod spread;
