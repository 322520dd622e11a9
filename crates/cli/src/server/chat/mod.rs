//! What people say and give to each other through the server: the chat, the files and the echo of data channels, and the
//! codes at which two ends meet. It touches data channels and counts places; of HTTP and media it knows nothing.

mod channels;
mod file_space;
mod hall;
mod meetings;

pub(super) use channels::serve;
pub(super) use hall::Hall;
pub(super) use meetings::{Meetings, Side};
