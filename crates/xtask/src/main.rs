//! The chores of this repository: tests with real browsers and foreign peers.
#![forbid(unsafe_code)]

fn main() {}
