//! The antiphon program: serves a page with live video, sound and data.
#![forbid(unsafe_code)]

fn main() {}
