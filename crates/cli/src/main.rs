//! The program `antiphon`.
#![forbid(unsafe_code)]

fn main() {}
