//! What the owner drives: datagrams, time and the driver's answers in; datagrams, requests and events out.

mod closing;
mod input;
mod output;
pub(crate) mod run;
